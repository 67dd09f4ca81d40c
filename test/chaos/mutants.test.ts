// Part of `npm run test:chaos`: the suite is worth what it finds. Faults are planted in copies of the product, each of a
// kind that has been in brokers that people use; every one must be found, and the product itself be clean.
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Report } from '@robust/chaos'
import { expect, test } from 'vitest'
import { randomOffset } from '../support/cluster.ts'
import { type Mutation, plant } from './mutants.ts'

const PRODUCT = resolve(import.meta.dirname, '../../cli/bin/robust.js')

/** Storage stands still while clients are served, if they are; then the brokers are gone. */
const BROKERS_WITHOUT_STORAGE = `
name: brokers are killed while storage is paused
workloads: [mqtt-qos1, kafka]
calm: 500ms
faults: [{ in-turn: [{ pause: storage-1, for: 1s }, { kill: brokers }] }]
`
const LATE_WRITES = `
name: what a broker writes arrives when another has its shards
workloads: [mqtt-qos1, mqtt-qos2, kafka]
calm: 500ms
faults:
  - for: 8s
    in-turn:
      - { slow: broker-1, to: storage-1, delay: 6s, one-way: true }
      - { cut: broker-1, from: placements }
`
const KILLED = `
name: brokers are killed
workloads: [mqtt-qos1, mqtt-qos2]
calm: 500ms
faults: [{ kill: broker, for: 1s }]
`

const SHARD_WRITER = 'broker/dist/core/shard-writer.js'
const SESSIONS = 'broker/dist/core/sessions/session-shard.js'

const PLANTED: readonly (readonly [string, Mutation, string])[] = [
  [
    'acknowledges before the commit',
    [[SHARD_WRITER, 'last.done.push(done);', "done('committed');"]],
    BROKERS_WITHOUT_STORAGE,
  ],
  [
    'drops the inbox when it takes a shard over',
    [[SESSIONS, '            if (hasInbox) {', '            if (hasInbox && false) {']],
    KILLED,
  ],
]

test.each(PLANTED)('a broker that %s is found', async (_what, mutation, scenario) => {
  const mutant = plant(mutation)
  try {
    const { verdicts } = await runOn(mutant.program, scenario)
    const kinds = Object.values(verdicts).flatMap(({ findings }) =>
      findings.map(({ kind }) => kind),
    )
    process.stdout.write(`[mutants] ${[...new Set(kinds)].join(', ')}: ${kinds.length}\n`)
    expect(kinds.length).toBeGreaterThan(0)
  } finally {
    mutant.remove()
  }
})

test.each([BROKERS_WITHOUT_STORAGE, LATE_WRITES, KILLED])(
  'the product keeps its promises: %s',
  async (scenario) => {
    const { verdicts } = await runOn(PRODUCT, scenario)
    expect(Object.values(verdicts).flatMap(({ findings }) => findings)).toEqual([])
  },
)

const DURATION = '20s'

async function runOn(program: string, scenario: string): Promise<Report> {
  const home = mkdtempSync(join(tmpdir(), 'robust-mutants-'))
  const robust = (...args: string[]): Promise<{ code: number; stdout: string }> =>
    new Promise((done) => {
      const env = { ...process.env, ROBUST_HOME: home, NO_COLOR: '1' }
      const options = { env, timeout: 240_000, maxBuffer: 2 ** 26 }
      execFile(process.execPath, [program, ...args], options, (error, stdout, stderr) => {
        done({ code: Number(error?.code ?? 0), stdout: `${stdout}${stderr}` })
      })
    })
  const file = join(home, 'scenario.yaml')
  const report = join(home, 'report.json')
  writeFileSync(file, scenario)
  try {
    const up = await robust(
      'cluster',
      'up',
      '--nodes',
      '3',
      '--breakable',
      '--port-offset',
      String(randomOffset()),
    )
    expect(up).toMatchObject({ code: 0 })
    const ran = await robust(
      'chaos',
      'run',
      file,
      '--seed',
      '1',
      '--duration',
      DURATION,
      '--report',
      report,
    )
    expect(ran.stdout).toContain('whole again')
    return JSON.parse(readFileSync(report, 'utf8')) as Report
  } finally {
    await robust('cluster', 'down', '--purge')
    rmSync(home, { recursive: true, force: true })
  }
}
