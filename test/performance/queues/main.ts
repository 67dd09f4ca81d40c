/**
 * `npm run bench -- queues`: our broker with many messages in one queue. Pending until later: what they take of its
 * memory, and how punctual others are meanwhile. Ready: whether a deep queue is served as fast as a shallow one. The
 * broker has core 0, the load core 1, where there are two. Exits 1 when a bar is missed.
 */
import { execFile } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs, promisify } from 'node:util'
import { pinTo } from '../brokers.ts'
import { UsageError } from '../options.ts'
import { median } from '../report.ts'
import { ourCommand, ROOT, startServer } from '../sqs/server.ts'

const USAGE = `usage: npm run bench -- queues [options]

  --messages N     pending, and deep in the queue (default 100000)
  --bytes N        of a body (default 256)
  --connections N  that each have one request on its way (default 64)
  --rate N         messages that fall due a second (default 5000)
  --seconds S      how long they do (default 15)
  --rounds N       of the deep beside the shallow queue; medians (default 5)
  --storage URL    leveldb, or memory: (default leveldb)
  --only NAME      delayed or deep
  --profile DIR    CPU profiles of the broker go there`

const MEMORY_MAX_MIB = 400
const LATENESS_MAX_MS = 20
const DEEP_SHARE_MIN = 0.8
/** The longest that SQS has. */
const PENDING_SECONDS = 900
const SETTLE_MS = 3_000
const TAKEN = 20_000
/** More than is taken, so that nobody finds the queue empty. */
const SHALLOW = TAKEN + 2_000
const MESSAGES_MIN = 2 * TAKEN

const run = promisify(execFile)

interface Options {
  readonly messages: string
  readonly bytes: string
  readonly connections: string
  readonly rate: string
  readonly seconds: string
  readonly rounds: string
  readonly storage: string
  readonly profile: string | undefined
}

interface Broker {
  readonly pid: number
  load<Figures>(part: string, ...args: readonly (string | number)[]): Promise<Figures>
}

interface Line {
  readonly figure: string
  readonly value: string
  /** What it should be; nothing where it is only told. */
  readonly bar?: string
  readonly missed?: boolean
}

interface Rate {
  readonly perSecond: number
}

interface Schedule {
  readonly messages: number
  readonly minMs: number
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
  /** Of each second, sorted. */
  readonly p99OfSecondsMs: readonly number[]
}

export async function benchQueues(args: readonly string[]): Promise<number> {
  const text = { type: 'string' } as const
  const { values } = parseArgs({
    args: [...args],
    options: {
      ...{ messages: text, bytes: text, connections: text, rate: text, seconds: text },
      ...{ rounds: text, storage: text, only: text, profile: text },
      help: { type: 'boolean' },
    },
  })
  if (values.help === true) {
    console.log(USAGE)
    return 0
  }
  const { only, messages = '100000', bytes = '256', connections = '64', rate = '5000' } = values
  const { seconds = '15', rounds = '5', storage = 'leveldb', profile } = values
  if (!(Number(messages) >= MESSAGES_MIN)) {
    throw new UsageError(`--messages takes ${MESSAGES_MIN} or more`)
  }
  const given = { messages, bytes, connections, rate, seconds, rounds, storage, profile }
  const lines: Line[] = []
  if (only !== 'deep') lines.push(...(await withBroker(given, delayed)))
  if (only !== 'delayed') lines.push(...(await withBroker(given, deep)))
  console.log(`| figure, ${storage} | measured | bar |\n| --- | --- | --- |`)
  for (const { figure, value, bar = '' } of lines) console.log(`| ${figure} | ${value} | ${bar} |`)
  return lines.some(({ missed }) => missed) ? 1 : 0
}

async function delayed(broker: Broker, options: Options): Promise<Line[]> {
  const before = residentMib(broker.pid)
  const filled = await broker.load<Rate>('fill', 'delayed', options.messages, PENDING_SECONDS)
  await sleep(SETTLE_MS)
  const after = residentMib(broker.pid)
  const due = await broker.load<Schedule>('schedule', 'delayed', options.rate, options.seconds)
  if (due.minMs < 0) throw new Error(`a message was received ${-due.minMs} ms too early`)
  return [
    {
      figure: `${count(options.messages)} delayed messages sent`,
      value: `${count(filled.perSecond)}/s`,
    },
    {
      figure: 'memory of the broker meanwhile (of its own; at most)',
      value: `${mib(before.now)} to ${mib(after.now)} MiB (${mib(before.own)} to ${mib(after.own)}; ${mib(after.most)})`,
      bar: `${MEMORY_MAX_MIB} MiB more`,
      missed: after.now - before.now > MEMORY_MAX_MIB,
    },
    {
      figure: `${count(due.messages)} others due at ${options.rate}/s, received late by, p50, p99, at most`,
      value: `${due.p50Ms}, ${due.p99Ms}, ${due.maxMs} ms`,
      bar: `p99 ≤ ${LATENESS_MAX_MS} ms`,
      missed: due.p99Ms > LATENESS_MAX_MS,
    },
    {
      figure: 'p99 of each second, best, median, worst',
      value: `${at(due.p99OfSecondsMs, 0)}, ${median([...due.p99OfSecondsMs])}, ${at(due.p99OfSecondsMs, -1)} ms`,
    },
  ]
}

async function deep(broker: Broker, options: Options): Promise<Line[]> {
  const filled = await broker.load<Rate>('fill', 'deep', options.messages, 0)
  const rates = { shallow: [] as number[], deep: [] as number[] }
  for (let round = 0; round < Number(options.rounds); round++) {
    await broker.load('fill', 'shallow', SHALLOW, 0)
    for (const queue of ['shallow', 'deep'] as const) {
      const { perSecond } = await broker.load<Rate>('take', queue, TAKEN)
      rates[queue].push(perSecond)
    }
    await broker.load('fill', 'deep', TAKEN, 0)
  }
  const share = median(rates.deep) / median(rates.shallow)
  const rounds = (of: readonly number[]) => of.map(count).join(', ')
  process.stderr.write(`shallow ${rounds(rates.shallow)}; deep ${rounds(rates.deep)}\n`)
  return [
    { figure: `${count(options.messages)} messages sent`, value: `${count(filled.perSecond)}/s` },
    {
      figure: `received and deleted from ${count(SHALLOW)} messages`,
      value: `${count(median(rates.shallow))}/s`,
    },
    {
      figure: `received and deleted from ${count(options.messages)} messages`,
      value: `${count(median(rates.deep))}/s, ${share.toFixed(2)}×`,
      bar: `≥ ${DEEP_SHARE_MIN}×`,
      missed: share < DEEP_SHARE_MIN,
    },
  ]
}

/** A fresh one for each. */
async function withBroker(
  options: Options,
  work: (broker: Broker, options: Options) => Promise<Line[]>,
): Promise<Line[]> {
  const { connections, bytes, storage, profile } = options
  const data = mkdtempSync(join(tmpdir(), 'robust-bench-queues-'))
  const port = 20_000 + Math.floor(Math.random() * 10_000)
  const profiling = profile === undefined ? [] : ['--cpu-prof', '--cpu-prof-dir', profile]
  const command = [process.execPath, ...profiling, ...ourCommand(port, data, storage)]
  const server = await startServer(command, port)
  const program = ['--import', 'tsx', join(ROOT, 'test/performance/queues/load.ts')]
  const [file = '', ...before] = [...pinTo(1), process.execPath, ...program]
  const terms = [String(port), connections, bytes]
  const load: Broker['load'] = async (...part) => {
    const { stdout } = await run(file, [...before, ...terms, ...part.map(String)])
    process.stderr.write(`${part.join(' ')}: ${stdout}\n`)
    return JSON.parse(stdout)
  }
  try {
    return await work({ pid: server.pid, load }, options)
  } finally {
    await server.stop()
    rmSync(data, { recursive: true, force: true })
  }
}

/** Resident memory, MiB: all of it, without mapped files, and the most that it was. */
function residentMib(pid: number): { now: number; own: number; most: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const of = (name: string) => Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)?.[1]) / 1_024
  return { now: of('VmRSS'), own: of('RssAnon'), most: of('VmHWM') }
}

function at(values: readonly number[], index: number): number {
  return values.at(index) ?? 0
}

function mib(value: number): string {
  return value.toFixed(0)
}

function count(value: number | string): string {
  return Math.round(Number(value)).toLocaleString('en-US')
}
