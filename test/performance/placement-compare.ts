// The Placement Center beside etcd, three nodes each, on this machine, in one run; and what brokers wait for
// it. Rounds of the two take turns, so that a machine that gets slower meanwhile does so for both. Exits 1
// when a goal is missed, 64 for a wrong command line.

import { parseArgs } from 'node:util'
import { provideTools, thisMachine } from '../support/debian-tools.ts'
import { UsageError } from './options.ts'
import { measureBrokers } from './placement-brokers.ts'
import { failoverMs, writeRates } from './placement-writes.ts'
import { median } from './report.ts'
import { type StoreName, ThreeMembers } from './three-members.ts'

const IN_FLIGHT = [1, 64, 256] as const
const RATIO_MIN = [1, 1.3, 1.3] as const
const STORES: readonly StoreName[] = ['ours', 'etcd']
const FAILOVER_MS_MAX = 2_500
/** The time-out of the `dev` preset and one second. */
const KILLED_MS_MAX = 4_000
const GAP_MS_MAX = 300
const BROKER_TRIES = 5

const PARTS = ['writes', 'failover', 'brokers'] as const
type Part = (typeof PARTS)[number]

interface Options {
  readonly rounds: number
  readonly seconds: number
  readonly tries: number
  readonly parts: readonly Part[]
}

interface Line {
  readonly text: string
  readonly isMissed: boolean
}

export async function placementCompare(args: readonly string[]): Promise<number> {
  const options = parseCompareOptions(args)
  const lines: Line[] = []
  if (options.parts.some((part) => part !== 'brokers')) {
    const missing = provideTools(thisMachine('bench'), [
      { command: 'etcd', packages: ['etcd-server', 'etcd-client'], service: 'etcd' },
    ])
    if (missing.length > 0) return 1
    lines.push(...(await compareStores(options)))
  }
  if (options.parts.includes('brokers')) lines.push(...(await brokers()))
  console.log(lines.map(({ text, isMissed }) => text + (isMissed ? '  MISSED' : '')).join('\n'))
  return lines.some(({ isMissed }) => isMissed) ? 1 : 0
}

function parseCompareOptions(args: readonly string[]): Options {
  const { rounds, seconds, tries, only } = parse(args)
  const parts = only === undefined ? PARTS : only.split(',').map(partOf)
  return {
    rounds: whole(rounds ?? '3', '--rounds'),
    seconds: whole(seconds ?? '2', '--seconds'),
    tries: whole(tries ?? '20', '--tries'),
    parts,
  }
}

function parse(args: readonly string[]) {
  const text = { type: 'string' } as const
  try {
    const options = { rounds: text, seconds: text, tries: text, only: text }
    return parseArgs({ args: [...args], options }).values
  } catch (error) {
    throw new UsageError(error instanceof Error ? error.message : String(error), { cause: error })
  }
}

function partOf(name: string): Part {
  const part = PARTS.find((each) => each === name)
  if (part === undefined) throw new UsageError(`--only takes ${PARTS.join(', ')}`)
  return part
}

function whole(text: string, option: string): number {
  const value = Number(text)
  if (Number.isInteger(value) && value > 0) return value
  throw new UsageError(`${option} takes a whole number above 0`)
}

interface Measured {
  /** For each number in flight, of each round. */
  readonly rates: number[][]
  readonly failovers: number[]
}

async function compareStores(options: Options): Promise<readonly Line[]> {
  const measured: Record<StoreName, Measured> = {
    ours: { rates: IN_FLIGHT.map(() => []), failovers: [] },
    etcd: { rates: IN_FLIGHT.map(() => []), failovers: [] },
  }
  for (let round = 0; round < options.rounds; round++) {
    const from = Math.round((options.tries * round) / options.rounds)
    const tries = Math.round((options.tries * (round + 1)) / options.rounds) - from
    for (const name of STORES) {
      process.stderr.write(`round ${round + 1} of ${options.rounds}: ${name}\n`)
      await measureRound(name, { options, tries, into: measured[name] })
    }
  }
  const { parts } = options
  return [
    ...(parts.includes('writes') ? IN_FLIGHT.map((_, at) => rateLine(measured, at)) : []),
    ...(parts.includes('failover') ? [failoverLine(measured)] : []),
  ]
}

async function measureRound(
  name: StoreName,
  { options, tries, into }: { options: Options; tries: number; into: Measured },
): Promise<void> {
  const store = await ThreeMembers.start(name)
  try {
    if (options.parts.includes('writes')) {
      const rates = await writeRates(store, { inFlight: IN_FLIGHT, seconds: options.seconds })
      for (const [at, rate] of rates.entries()) into.rates[at]?.push(rate)
      say(rates)
    }
    if (!options.parts.includes('failover')) return
    for (let attempt = 0; attempt < tries; attempt++) into.failovers.push(await failoverMs(store))
    say(into.failovers.slice(-tries))
  } finally {
    await store.stop()
  }
}

function rateLine({ ours, etcd }: Record<StoreName, Measured>, at: number): Line {
  const [mine, theirs] = [median(ours.rates[at] ?? []), median(etcd.rates[at] ?? [])]
  const [ratio, least] = [mine / theirs, RATIO_MIN[at] ?? 1]
  const figures = `${mine.toFixed(0)}/s, etcd ${theirs.toFixed(0)}/s, ${ratio.toFixed(2)}x`
  const text = `writes, ${IN_FLIGHT[at]} in flight: ${figures} (at least ${least}x)`
  return { text, isMissed: ratio < least }
}

function failoverLine({ ours, etcd }: Record<StoreName, Measured>): Line {
  const [mine, theirs] = [ours.failovers, etcd.failovers]
  const most = Math.min(FAILOVER_MS_MAX, p95(theirs))
  const figures = `p50 ${ms(median(mine))}, p95 ${ms(p95(mine))}`
  const other = `etcd p50 ${ms(median(theirs))}, p95 ${ms(p95(theirs))}, ${mine.length} times each`
  const text = `leader killed, until the next write: ${figures}; ${other} (p95 at most ${ms(most)})`
  return { text, isMissed: p95(mine) > most }
}

async function brokers(): Promise<readonly Line[]> {
  process.stderr.write('brokers of a cluster\n')
  const { killedMs, drain } = await measureBrokers(BROKER_TRIES)
  say(killedMs)
  const killed = `median ${ms(median([...killedMs]))}, latest ${ms(Math.max(...killedMs))}`
  const times = `${killedMs.length} times (at most ${ms(KILLED_MS_MAX)})`
  const { shards, gapMs, acknowledged, lost, failed } = drain
  const messages = `${acknowledged} acknowledged, ${lost} lost, ${failed} failed`
  const gap = `${shards} shards away for at most ${ms(gapMs)} (at most ${ms(GAP_MS_MAX)})`
  return [
    {
      text: `broker killed, until all shards are open elsewhere: ${killed}, ${times}`,
      isMissed: Math.max(...killedMs) > KILLED_MS_MAX,
    },
    {
      text: `broker drained under load: ${messages}; ${gap}`,
      isMissed: lost > 0 || failed > 0 || shards === 0 || !(gapMs <= GAP_MS_MAX),
    },
  ]
}

/** The second highest of 20. */
function p95(values: readonly number[]): number {
  const sorted = [...values].sort((left, right) => left - right)
  return sorted[Math.max(0, Math.ceil(sorted.length * 0.95) - 1)] ?? Number.NaN
}

function ms(value: number): string {
  return `${value.toFixed(0)} ms`
}

function say(values: readonly number[]): void {
  process.stderr.write(`  ${values.map((value) => value.toFixed(0)).join(' ')}\n`)
}
