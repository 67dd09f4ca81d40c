import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { replacePredecessor } from './node-process.ts'

let folder: string

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'robust-process-'))
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

describe('replacePredecessor', () => {
  test('names nobody in a new folder, and without one', () => {
    expect(replacePredecessor(folder, 'first')).toBe('')
    expect(replacePredecessor(undefined, 'first')).toBe('')
  })

  test('names nobody who is alive', async () => {
    const child = spawn('sleep', ['60'])
    try {
      replacePredecessor(folder, 'first')
      pretend({ pid: child.pid, startedAt: startOf(child.pid) })
      expect(replacePredecessor(folder, 'second')).toBe('')
    } finally {
      const ended = new Promise((resolve) => child.once('exit', resolve))
      child.kill('SIGKILL')
      await ended
    }
  })

  test('names the one before when it has ended, and only that', async () => {
    const child = spawn('sleep', ['60'])
    replacePredecessor(folder, 'first')
    pretend({ pid: child.pid, startedAt: startOf(child.pid) })
    const ended = new Promise((resolve) => child.once('exit', resolve))
    child.kill('SIGKILL')
    await ended
    expect(replacePredecessor(folder, 'second')).toBe('first')
    expect(replacePredecessor(folder, 'third')).toBe('')
  })

  test('takes a process with the same number and another start for another one', () => {
    replacePredecessor(folder, 'first')
    pretend({ startedAt: '1' })
    expect(replacePredecessor(folder, 'second')).toBe('first')
  })

  test.each(['', 'another boot, or another container'])(
    'names nobody of a place that cannot be seen (%j)',
    (place) => {
      replacePredecessor(folder, 'first')
      pretend({ pid: 2 ** 22 + 1, place })
      expect(replacePredecessor(folder, 'second')).toBe('')
    },
  )

  test.each(['', '{', '[]', 'null', '{"incarnation":1,"pid":"2"}'])(
    'names nobody by a file with %j in it',
    (content) => {
      writeFileSync(join(folder, 'process.json'), content)
      expect(replacePredecessor(folder, 'next')).toBe('')
    },
  )
})

function pretend(changes: object): void {
  const path = join(folder, 'process.json')
  const kept = JSON.parse(readFileSync(path, 'utf8'))
  writeFileSync(path, JSON.stringify({ ...kept, ...changes }))
}

function startOf(pid: number | undefined): string {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return fields[19] ?? ''
}
