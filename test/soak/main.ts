/**
 * `npm run soak -- --hours N`: a cluster of three brokers, three Placement Center nodes and storage under steady load of
 * every dialect. Load comes in rounds, each judged by the checkers of `robust chaos` and taken away again; beside it
 * connections, a session and a log with retention last from the beginning to the end. Exit code 1 when a checker found
 * something, a process ended, or something grew.
 *
 *   --hours N        how long (1); parts of an hour are possible
 *   --storage URL    as of `robust cluster up` (LevelDB)
 *   --round SECONDS  of one round (300, or a twelfth of the whole, whichever is less)
 *   --report FILE    all samples and what they say, as JSON (soak-report.json)
 */
import { spawn } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import type { Report as Round } from '@robust/chaos'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { startBackground } from './background.ts'
import { findingsOf, formatTable, judge, roundFindings, type SoakReport } from './report.ts'
import { type Sample, sampleCluster } from './sampler.ts'

const ROBUST = resolve(import.meta.dirname, '../../cli/bin/robust.js')
const STEADY = resolve(import.meta.dirname, 'steady.yaml')
const HOUR_MS = 3_600_000
const ROUND_SECONDS = 300
const ROUNDS_MIN = 12
const SAMPLES = 1_000
const SAMPLE_MS_MIN = 2_000
const CLIENTS = 2

const { values } = parseArgs({
  options: {
    hours: { type: 'string', default: '1' },
    storage: { type: 'string' },
    round: { type: 'string' },
    report: { type: 'string', default: 'soak-report.json' },
  },
})
const durationMs = Number(values.hours) * HOUR_MS
if (!(durationMs > 0)) throw new RangeError(`--hours ${values.hours} is no time`)
const roundSeconds = Number(
  values.round ?? Math.min(ROUND_SECONDS, Math.max(5, durationMs / 1_000 / ROUNDS_MIN)),
)
if (!(roundSeconds > 0)) throw new RangeError(`--round ${values.round} is no time`)

const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}

class Soak {
  readonly samples: Sample[] = []
  readonly latencies: Record<string, number[]> = {}
  readonly findings = new Set<string>()
  acknowledged = 0
  readonly #cluster: TestCluster
  readonly #startMs = performance.now()

  constructor(cluster: TestCluster) {
    this.#cluster = cluster
  }

  get atMs(): number {
    return Math.round(performance.now() - this.#startMs)
  }

  async sample(): Promise<void> {
    const { samples, ended } = await sampleCluster(this.#cluster.home, this.atMs)
    this.samples.push(...samples)
    for (const node of ended) this.findings.add(`${node} does not run`)
  }

  async round(seed: number): Promise<void> {
    const file = join(this.#cluster.home, 'round.json')
    const report = await runRound(this.#cluster.home, { file, seed })
    if (report === undefined) {
      this.findings.add(`round ${seed} was not judged`)
      return
    }
    for (const finding of roundFindings(report)) this.findings.add(finding)
    const slowest: string[] = []
    for (const [name, { p99Ms }] of Object.entries(report.latencies)) {
      this.latencies[name] = [...(this.latencies[name] ?? []), p99Ms]
      slowest.push(`${name} ${p99Ms.toFixed(0)} ms`)
      this.acknowledged += report.verdicts[name]?.acknowledged ?? 0
    }
    const minutes = (this.atMs / 60_000).toFixed(1).padStart(6)
    say(`${minutes} min  ${this.acknowledged} acknowledged, p99 ${slowest.join(', ')}`)
  }
}

/** Undefined: it wrote no report. */
function runRound(
  home: string,
  { file, seed }: { readonly file: string; readonly seed: number },
): Promise<Round | undefined> {
  rmSync(file, { force: true })
  const flags = ['--duration', `${roundSeconds}s`, '--report', file, '--seed', String(seed)]
  const args = [ROBUST, 'chaos', 'run', STEADY, ...flags, '--clients', String(CLIENTS)]
  const child = spawn(process.execPath, args, {
    env: { ...process.env, ROBUST_HOME: home },
    stdio: ['ignore', 'ignore', 'inherit'],
  })
  return new Promise((done) => {
    child.once('close', () => {
      try {
        done(JSON.parse(readFileSync(file, 'utf8')) as Round)
      } catch {
        done(undefined)
      }
    })
  })
}

async function soak(cluster: TestCluster, isStopped: () => boolean): Promise<SoakReport> {
  const startedAt = new Date().toISOString()
  const run = new Soak(cluster)
  const background = await startBackground(cluster)
  const sampling = setInterval(
    () => void run.sample(),
    Math.max(SAMPLE_MS_MIN, durationMs / SAMPLES),
  )
  for (let round = 1; run.atMs < durationMs && !isStopped(); round++) await run.round(round)
  clearInterval(sampling)
  await run.sample()
  for (const finding of await background.stop()) run.findings.add(finding)
  for (const { name, figures } of background.streams) say(`${name}: ${JSON.stringify(figures)}`)
  const judged = judge(run.samples, run.latencies)
  const { samples, latencies, acknowledged } = run
  return {
    ...{ version: 1, startedAt, storage: values.storage ?? 'leveldb', judged },
    ...{ hours: run.atMs / HOUR_MS, acknowledged, samples, latencies },
    findings: [...run.findings, ...findingsOf(judged)],
  }
}

let isStopped = false
for (const signal of ['SIGINT', 'SIGTERM'] as const) {
  process.once(signal, () => {
    isStopped = true
    say('stops after this round ...')
  })
}
const storage = values.storage === undefined ? [] : ['--storage', values.storage]
const cluster = await startCluster('--nodes', '3', ...storage)
try {
  const report = await soak(cluster, () => isStopped)
  writeFileSync(values.report, `${JSON.stringify(report)}\n`)
  say(`\n${formatTable(report.judged)}\n`)
  for (const finding of report.findings) say(`FOUND ${finding}`)
  const result = report.findings.length === 0 ? 'nothing found' : `${report.findings.length} found`
  say(`${result}; ${report.samples.length} samples in ${values.report}`)
  process.exitCode = report.findings.length === 0 ? 0 : 1
} finally {
  await cluster.purge()
}
