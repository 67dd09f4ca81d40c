import { execFileSync, spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { buildFaultLibrary } from './fault-library.ts'
import { processFaults } from './process-faults.ts'

const hasCompiler = spawnSync('cc', ['--version']).status === 0
const home = mkdtempSync(join(tmpdir(), 'robust-faults-'))
afterAll(() => rmSync(home, { recursive: true, force: true }))

let count = 0

function made() {
  const root = join(home, `data-${++count}`)
  mkdirSync(root)
  const library = buildFaultLibrary(home)
  const faults = processFaults({ library, controls: join(home, `controls-${count}`), root })
  /** What a Node with it prints. */
  const run = (script: string): string =>
    execFileSync(process.execPath, ['-e', `const fs = require('node:fs');${script}`], {
      env: { PATH: process.env['PATH'], ROOT: root, ...faults.environment },
      encoding: 'utf8',
    }).trim()
  return { faults, root, run }
}

const WRITE = `
const at = (name, flags) => fs.openSync(process.env.ROOT + '/' + name, flags);
const { O_RDWR, O_CREAT, O_DSYNC } = fs.constants;
const synced = at('synced', 'w'); fs.writeSync(synced, 'x'.repeat(10)); fs.fsyncSync(synced);
fs.writeSync(synced, 'y'.repeat(5));
fs.writeSync(at('by-write', O_RDWR | O_CREAT | O_DSYNC), 'x'.repeat(7));
fs.writeSync(at('never', 'w'), 'x'.repeat(3));
`

describe.skipIf(!hasCompiler)('what breaks under a process', () => {
  test('power takes what was not synced, by a sync or by a write that is one', () => {
    const { faults, root, run } = made()
    run(WRITE)
    expect(faults.losePower(() => 1)).toBe(5 + 3)
    expect(readFileSync(join(root, 'synced'), 'utf8')).toBe('x'.repeat(10))
    expect(statSync(join(root, 'by-write')).size).toBe(7)
    expect(statSync(join(root, 'never')).size).toBe(0)
  })

  test('what was there before the process began is not taken', () => {
    const { faults, root, run } = made()
    run(WRITE)
    faults.settle()
    expect(faults.losePower(() => 1)).toBe(0)
    expect(statSync(join(root, 'never')).size).toBe(3)
  })

  test('a disk that fails syncs, and one that is full, say so, and are well again', () => {
    const { faults, run } = made()
    const tried = `
const outcome = (act) => { try { act(); return 'ok' } catch (error) { return error.code } };
const { O_RDWR, O_CREAT, O_DSYNC } = fs.constants;
const file = fs.openSync(process.env.ROOT + '/a', 'w');
const synced = fs.openSync(process.env.ROOT + '/b', O_RDWR | O_CREAT | O_DSYNC);
const free = fs.statfsSync(process.env.ROOT).bavail > 0;
console.log([
  outcome(() => fs.writeSync(file, 'x')), outcome(() => fs.fsyncSync(file)),
  outcome(() => fs.writeSync(synced, 'x')), free ? 'room' : 'no room',
].join())`
    expect(run(tried)).toBe('ok,ok,ok,room')
    faults.disk('fsync')
    expect(run(tried)).toBe('ok,EIO,EIO,room')
    faults.disk('full')
    expect(run(tried)).toBe('ENOSPC,ok,ENOSPC,no room')
    faults.disk(undefined)
    expect(run(tried)).toBe('ok,ok,ok,room')
  })

  test.each([3_600_000, -3_600_000])('the time of day is %d ms ahead, while it lasts', (ms) => {
    const { faults, run } = made()
    const hours = () =>
      Math.round((Number(run('console.log(Date.now())')) - Date.now()) / 3_600_000)
    faults.clock(ms)
    expect(hours()).toBe(Math.sign(ms))
    faults.clock(0)
    expect(Math.abs(hours())).toBe(0)
  })
})

test('without a compiler it says what to install', () => {
  const path = process.env['PATH']
  process.env['PATH'] = home
  try {
    expect(() => buildFaultLibrary(join(home, 'none'))).toThrow(
      expect.objectContaining({
        id: 'NO_COMPILER',
        failure: expect.objectContaining({ hint: expect.stringContaining('gcc') }),
      }),
    )
  } finally {
    process.env['PATH'] = path
  }
})
