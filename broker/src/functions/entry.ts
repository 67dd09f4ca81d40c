/** A message that a queue has looked at and that is not done yet. What was not looked at costs no memory. */
import type { Lease } from '../core/queues/receipt.ts'

export type EntryState =
  /** It may be given to a consumer. */
  | 'ready'
  /** It may not yet: its group is busy. */
  | 'parked'
  | 'leased'
  /** Put off until `untilMs`, as after a failure. */
  | 'waiting'
  /** On its way to another queue. */
  | 'leaving'

export type LeavingReason = 'deliveries' | 'expired' | 'rejected' | 'overflow' | 'redrive'

export interface Entry {
  readonly level: number
  readonly offset: number
  readonly group: string
  readonly bytes: number
  /** Wall clock, ms; 0 never. */
  readonly expiresAtMs: number
  state: EntryState
  deliveries: number
  firstDeliveredAtMs: number
  /** The last one that was given. It has ended unless the state is `leased`. */
  lease: Lease | undefined
  /** End of the lease, or of the wait; wall clock, ms. Infinity: while the consumer is there. */
  untilMs: number
  /** Whose lease it is; for receivers that come and go, undefined. */
  consumer: string | undefined
  reason: LeavingReason | undefined
  /** There is a key for it. */
  stored: boolean
  /** Its record is in that key, since the log was trimmed past it. */
  kept: boolean
}

export function newEntry(
  place: Pick<Entry, 'level' | 'offset' | 'group' | 'bytes' | 'expiresAtMs'>,
): Entry {
  // Field by field: a spread costs several times as much, for each message.
  return {
    level: place.level,
    offset: place.offset,
    group: place.group,
    bytes: place.bytes,
    expiresAtMs: place.expiresAtMs,
    state: 'ready',
    deliveries: 0,
    firstDeliveredAtMs: 0,
    lease: undefined,
    untilMs: 0,
    consumer: undefined,
    reason: undefined,
    stored: false,
    kept: false,
  }
}

/** In the order in which they are given out: higher priority first, then as they came. */
export function compareEntries(a: Entry, b: Entry): number {
  return b.level - a.level || a.offset - b.offset
}

interface StoredEntry {
  readonly g?: string
  readonly b: number
  readonly x?: number
  readonly d?: number
  readonly f?: number
  readonly l?: readonly [epoch: number, number: number]
  readonly u?: number
  readonly w?: 1
  readonly r?: LeavingReason
}

export function encodeEntry(entry: Entry): Uint8Array {
  const { group, bytes, expiresAtMs, deliveries, firstDeliveredAtMs, lease, untilMs, reason } =
    entry
  const holds = (entry.state === 'leased' || entry.state === 'waiting') && untilMs < Infinity
  const stored: StoredEntry = {
    b: bytes,
    ...(group !== '' && { g: group }),
    ...(expiresAtMs > 0 && { x: expiresAtMs }),
    ...(deliveries > 0 && { d: deliveries, f: firstDeliveredAtMs }),
    ...(lease !== undefined && { l: [lease.epoch, lease.number] as const }),
    ...(holds && { u: untilMs }),
    ...(entry.state === 'waiting' && { w: 1 as const }),
    ...(reason !== undefined && { r: reason }),
  }
  return Buffer.from(JSON.stringify(stored))
}

/** A lease that was bound to a consumer is over: the owner that knew the consumer is gone. */
export function decodeEntry(
  { level, offset }: Pick<Entry, 'level' | 'offset'>,
  value: Uint8Array,
): Entry {
  const stored = JSON.parse(Buffer.from(value).toString()) as StoredEntry
  const entry = newEntry({
    level,
    offset,
    group: stored.g ?? '',
    bytes: stored.b,
    expiresAtMs: stored.x ?? 0,
  })
  entry.deliveries = stored.d ?? 0
  entry.firstDeliveredAtMs = stored.f ?? 0
  if (stored.l !== undefined) entry.lease = { epoch: stored.l[0], number: stored.l[1] }
  entry.untilMs = stored.u ?? 0
  entry.reason = stored.r
  entry.stored = true
  if (stored.r !== undefined) entry.state = 'leaving'
  else if (stored.u !== undefined) entry.state = stored.w === 1 ? 'waiting' : 'leased'
  return entry
}
