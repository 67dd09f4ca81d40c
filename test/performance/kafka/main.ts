/**
 * `npm run bench -- kafka`: ours on memory and on synced LevelDB beside Apache Kafka (one KRaft node, which syncs when it
 * likes), with one native client (librdkafka): interleaved rounds, medians and ratios. The server has core 0, the load
 * core 1, where there are two.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs, promisify } from 'node:util'
import { provideKafkaForJava } from '../../clients/kafka-java.ts'
import { debian } from '../../clients/suite.ts'
import { thisMachine } from '../../support/debian-tools.ts'
import { pinTo } from '../brokers.ts'
import { buildLoadProgram } from '../load-program.ts'
import { median } from '../report.ts'
import { SERVERS, type Server, type ServerName, startServer } from './servers.ts'

const USAGE = `usage: npm run bench -- kafka [options]

  --rounds N       rounds; the figures are medians (default 3)
  --seconds S      counted seconds of each part (default 3)
  --only a,b       of ${SERVERS.join(', ')}
  -o json          figures as JSON`

const run = promisify(execFile)

const FIGURES = {
  produce1k: 'produce, 1 KiB, MB/s',
  produce100: 'produce, 100 B, records/s',
  consume: 'consume, 1 KiB, MB/s',
  single: 'a record of 100 B in each request, requests/s',
  p50: 'end-to-end latency at 1,000/s, p50, µs',
  p99: 'the same, p99, µs',
  start: 'start, ms',
  idle: 'memory after the start, MiB',
  loaded: 'memory after the load, MiB',
  cpu1: 'CPU of produce, 1 partition, ms/MB',
  cpu100: 'the same, 100 partitions',
  cpu2000: 'the same, 2,000 partitions',
} as const
type Figure = keyof typeof FIGURES
type Figures = Partial<Record<Figure, number>>

interface Loaded {
  readonly perSecond: number
  readonly mbPerSecond: number
  readonly records: number
}

type Load = <Result = Loaded>(
  part: string,
  ...words: readonly (string | number)[]
) => Promise<Result>

export async function benchKafka(args: readonly string[]): Promise<number> {
  const text = { type: 'string' } as const
  const options = { rounds: text, seconds: text, only: text, help: { type: 'boolean' } } as const
  const { values } = parseArgs({
    args: [...args],
    options: { ...options, output: { type: 'string', short: 'o' } },
  })
  if (values.help === true) {
    console.log(USAGE)
    return 0
  }
  const names = SERVERS.filter((name) => values.only?.split(',').includes(name) ?? true)
  const missing = provide()
  if (missing !== undefined) {
    console.error(`missing: ${missing}`)
    return 1
  }
  const program = await buildLoadProgram('kafka/load.c', 'rdkafka pthread')
  const found = new Map<ServerName, Figures[]>(names.map((name) => [name, []]))
  for (let round = 0; round < Number(values.rounds ?? 3); round++) {
    for (const name of names) {
      const figures = await measure(name, program, Number(values.seconds ?? 3))
      found.get(name)?.push(figures)
      const load = loadavg()[0]?.toFixed(1)
      process.stderr.write(`${name}, load average ${load}: ${JSON.stringify(figures)}\n`)
    }
  }
  if (values.output === 'json') console.log(JSON.stringify(Object.fromEntries(found), null, 2))
  else console.log(table(found))
  return 0
}

function provide(): string | undefined {
  const machine = thisMachine('bench')
  const compiles = (): boolean => {
    try {
      machine.run('sh', ['-c', 'test -e /usr/include/librdkafka/rdkafka.h && cc --version'])
      return true
    } catch {
      return false
    }
  }
  return (
    debian(machine, ['gcc', 'libc6-dev', 'librdkafka-dev'], compiles) ??
    provideKafkaForJava(machine)
  )
}

/** A server for throughput, and a fresh one for many partitions: what memory holds is given back between them. */
async function measure(name: ServerName, program: string, seconds: number): Promise<Figures> {
  const first = await withServer(name, program, (server, load) => flow(server, load, seconds))
  const second = await withServer(name, program, (server, load) => manyPartitions(server, load))
  return { ...first, ...second }
}

async function withServer(
  name: ServerName,
  program: string,
  work: (server: Server, load: Load) => Promise<Figures>,
): Promise<Figures> {
  const data = mkdtempSync(join(tmpdir(), 'robust-bench-kafka-'))
  const server = await startServer(name, data)
  try {
    return await work(server, async (part, ...words) => {
      const [file = '', ...rest] = [...pinTo(1), program, part, server.address]
      const { stdout } = await run(file, [...rest, ...words.map(String)], { timeout: 120_000 })
      return JSON.parse(stdout)
    })
  } finally {
    await server.stop()
    rmSync(data, { recursive: true, force: true })
  }
}

/** Records of a batch at most, unless there is one. */
const MOST = 10_000

async function flow(server: Server, load: Load, seconds: number): Promise<Figures> {
  const figures: Figures = { start: server.startMs, idle: server.residentMib() }
  for (const topic of ['kib', 'small', 'single']) await load('topic', topic, 4)
  await load('topic', 'latency', 1)
  const latency = await load<{ p50Us: number; p99Us: number }>(
    'latency',
    'latency',
    1_000,
    1 + seconds,
  )
  const kib = await load('produce', 'kib', 4, 1_024, seconds, MOST)
  const consumed = await load('consume', 'kib', 4, 2 * seconds)
  const small = await load('produce', 'small', 4, 100, seconds, MOST)
  const single = await load('produce', 'single', 4, 100, seconds, 1)
  return {
    ...figures,
    ...{ produce1k: kib.mbPerSecond, consume: consumed.mbPerSecond },
    ...{ produce100: small.perSecond, single: single.perSecond },
    ...{ p50: latency.p50Us, p99: latency.p99Us, loaded: server.residentMib() },
  }
}

async function manyPartitions(server: Server, load: Load): Promise<Figures> {
  const figures: Figures = {}
  // What is compiled when it is first needed is no part of the difference.
  await load('topic', 'warm', 4)
  await load('produce', 'warm', 4, 1_024, 1, MOST)
  for (const partitions of [1, 100, 2_000] as const) {
    const topic = `of-${partitions}`
    await load('topic', topic, partitions)
    const before = server.cpuMs()
    const { records } = await load('produce', topic, partitions, 1_024, 1, MOST)
    figures[`cpu${partitions}`] = (server.cpuMs() - before) / ((records * 1_024) / 1e6)
  }
  return figures
}

function table(found: ReadonlyMap<ServerName, readonly Figures[]>): string {
  const names = [...found.keys()]
  const ours = names.filter((name) => name !== 'apache')
  const heads = [...names, ...ours.map((name) => `${name}/apache`)]
  const lines = [`| figure | ${heads.join(' | ')} |`, `| --- |${' --- |'.repeat(heads.length)}`]
  for (const [figure, title] of Object.entries(FIGURES) as [Figure, string][]) {
    const of = (name: ServerName): number =>
      median((found.get(name) ?? []).map((figures) => figures[figure] ?? Number.NaN))
    const values = names.map((name) => formatted(of(name)))
    const ratios = ours.map((name) => `${(of(name) / of('apache')).toFixed(2)}×`)
    lines.push(`| ${title} | ${[...values, ...ratios].join(' | ')} |`)
  }
  return lines.join('\n')
}

function formatted(value: number): string {
  return value < 100 ? value.toPrecision(3) : Math.round(value).toLocaleString('en-US')
}
