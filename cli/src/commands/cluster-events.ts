/** `robust cluster events`: what the Placement Center decided, when and why. */
import { setTimeout as sleep } from 'node:timers/promises'
import type { placement } from '@robust/proto'
import { placementEvents } from '../clients.ts'
import { placementOf } from '../cluster/launch.ts'
import { clockTime } from '../cluster/log-files.ts'
import { type Context, requireCluster } from '../context.ts'
import { CliError, interrupted } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { type Paint, table } from '../output.ts'

export interface EventsOptions {
  readonly name?: string
  readonly limit: number
  readonly follow?: boolean
}

const pollMs = 300

export async function showEvents(context: Context, options: EventsOptions): Promise<number> {
  const { output, format, signal } = context
  const addresses = placementOf(requireCluster(context, options.name))
  const all = await eventsAfter(addresses, 0)
  if (all === undefined) throw unreachable(addresses)
  const shown = options.limit === 0 ? all : all.slice(-options.limit)
  if (options.follow !== true) {
    if (format === 'json') output.json(shown.map(eventJson))
    else output.print(formatEvents(shown, output.paint))
    return exitCodes.ok
  }
  let last = all.at(-1)?.sequence ?? 0
  let fresh: readonly placement.DecisionEvent[] = shown
  let isFirst = true
  while (!signal.aborted) {
    if (format === 'json') {
      for (const event of fresh) output.print(JSON.stringify(eventJson(event)))
    } else if (fresh.length > 0 || isFirst) {
      const text = formatEvents(fresh, output.paint)
      output.print(isFirst ? text : text.slice(text.indexOf('\n') + 1))
      isFirst = false
    }
    await sleep(pollMs, undefined, { signal }).catch(() => undefined)
    fresh = (await eventsAfter(addresses, last)) ?? []
    last = fresh.at(-1)?.sequence ?? last
  }
  throw interrupted(signal.reason)
}

/** From the node that has applied most; undefined when none answers. */
async function eventsAfter(
  addresses: readonly string[],
  after: number,
): Promise<readonly placement.DecisionEvent[] | undefined> {
  const replies = await Promise.all(
    addresses.map((address) => placementEvents(address, { after, limit: 0 })),
  )
  return replies
    .flatMap((reply) => (reply === undefined ? [] : [reply.events]))
    .sort((one, other) => (other.at(-1)?.sequence ?? 0) - (one.at(-1)?.sequence ?? 0))[0]
}

export function formatEvents(events: readonly placement.DecisionEvent[], paint: Paint): string {
  const columns = [
    { title: 'TIME (UTC)' },
    { title: 'KIND' },
    { title: 'SUBJECT' },
    { title: 'SHARDS' },
    { title: 'REASON' },
  ]
  const rows = events.map(({ timeMs, kind, subject, shards, reason }) => [
    clockTime(timeMs),
    kind,
    subject || '-',
    formatShards(shards),
    reason,
  ])
  return table(columns, rows, paint)
}

/** `22: 0-20,33`: how many, and which. */
export function formatShards(shards: readonly number[]): string {
  if (shards.length === 0) return '-'
  const sorted = shards.toSorted((one, other) => one - other)
  const ranges: string[] = []
  let first = sorted[0] ?? 0
  for (const [at, shard] of sorted.entries()) {
    if (sorted[at + 1] === shard + 1) continue
    ranges.push(first === shard ? `${shard}` : `${first}-${shard}`)
    first = sorted[at + 1] ?? 0
  }
  const shown = ranges.length > RANGES_SHOWN ? [...ranges.slice(0, RANGES_SHOWN), '...'] : ranges
  return `${shards.length}: ${shown.join(',')}`
}

const RANGES_SHOWN = 8

function eventJson(event: placement.DecisionEvent) {
  const { sequence, index, timeMs, kind, subject, reason, shards } = event
  return { sequence, index, time: new Date(timeMs).toISOString(), kind, subject, reason, shards }
}

function unreachable(addresses: readonly string[]): CliError {
  return new CliError('UNREACHABLE', {
    message: `no Placement Center node answers at ${addresses.join(', ')}`,
    hint: 'robust cluster status',
    exit: exitCodes.unreachable,
  })
}
