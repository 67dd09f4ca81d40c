import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import picocolors from 'picocolors'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { followLog, formatLogLine, lastLines } from './log-files.ts'

let folder = ''
let path = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'robust-log-'))
  path = join(folder, 'broker-1.log')
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe('lastLines', () => {
  test('lastLines gives the end of a file, from a position on', () => {
    writeFileSync(path, 'one\ntwo\nthree\n')
    expect(lastLines(path, 2)).toEqual(['two', 'three'])
    expect(lastLines(path, 20, 4)).toEqual(['two', 'three'])
    expect(lastLines(path, 0)).toEqual([])
    expect(lastLines(join(folder, 'none'), 5)).toEqual([])
  })

  test('lastLines shows whole lines only of a file that is too long to read', () => {
    writeFileSync(path, `${'x'.repeat(3_000_000)}\nlast\n`)
    expect(lastLines(path, 5)).toEqual(['last'])
  })
})

describe('followLog', () => {
  test('followLog gives whole new lines, and begins again with a shorter file', () => {
    writeFileSync(path, 'old\n')
    const follower = followLog(path)
    expect(follower.next()).toEqual([])
    appendFileSync(path, 'a\nb')
    expect(follower.next()).toEqual(['a'])
    appendFileSync(path, 'c\n')
    expect(follower.next()).toEqual(['bc'])
    writeFileSync(path, 'x\n')
    expect(follower.next()).toEqual(['x'])
  })
})

describe('formatLogLine', () => {
  const paint = picocolors.createColors(false)

  test('formatLogLine makes one line for people of a JSON line', () => {
    const entry = { level: 40, time: '2026-01-02T03:04:05.678Z', pid: 1, node: 'b', msg: 'slow' }
    const line = JSON.stringify({ ...entry, shard: 3, err: { message: 'late' } })
    expect(formatLogLine(line, paint)).toBe('03:04:05.678 warn  slow shard=3 err=late')
  })

  test.each(['error[PORT_IN_USE] x', '{"no":"level"}', '{broken', ''])(
    'formatLogLine leaves %s as it is',
    (line) => {
      expect(formatLogLine(line, paint)).toBe(line)
    },
  )
})
