import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { makeFolder } from './folders.ts'

let folder = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'robust-folders-'))
})

afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('makeFolder makes all that is above, and minds nothing that is there', () => {
  const path = join(folder, 'a', 'b', 'c')
  makeFolder(path, 'data folder')
  makeFolder(path, 'data folder')
  expect(existsSync(path)).toBe(true)
})

test('makeFolder says what cannot be made, also where the system has no such place', () => {
  writeFileSync(join(folder, 'file'), '')
  for (const path of [join(folder, 'file', 'a'), '/proc/nowhere/a']) {
    expect(() => makeFolder(path, 'data folder')).toThrow(`the data folder ${path} cannot be made`)
  }
})
