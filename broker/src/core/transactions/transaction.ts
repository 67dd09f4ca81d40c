/**
 * One transactional producer as its coordinator knows it, and what each request makes of that: pure decisions, in the
 * terms of KIP-98, KIP-360 and KIP-890. A transaction has a number of its own: what is repeated late, after the next one
 * has begun, is told from it.
 */

/** A producer of a transactional id: whoever has an older epoch is fenced. */
export interface ProducerIdentity {
  readonly producerId: number
  readonly epoch: number
}

export interface TransactionPartition {
  readonly topic: string
  readonly partition: number
  readonly log: string
  readonly shard: number
}

/** What takes part in a transaction. Groups are those whose offsets are committed with it. */
export interface Participants {
  readonly partitions: readonly TransactionPartition[]
  readonly groups: readonly string[]
}

export type TransactionState =
  | 'empty'
  | 'ongoing'
  /** Decided, durably; not yet told to everybody who takes part. */
  | 'committing'
  | 'aborting'
  | 'committed'
  | 'aborted'

export interface Transaction extends ProducerIdentity, Participants {
  readonly id: string
  /** Of the request that made the epoch what it is; -1 none. A repeat of it is answered as it was. */
  readonly lastEpoch: number
  /** The producer id before this one; -1 none. */
  readonly lastProducerId: number
  readonly timeoutMs: number
  readonly state: TransactionState
  /** Number of the last transaction that was begun. */
  readonly sequence: number
  /** Wall clock, ms; 0: none has begun. */
  readonly startedAtMs: number
  readonly changedAtMs: number
  /** The producer's identity once the transaction has ended, when its epochs are used up. */
  readonly next?: ProducerIdentity
}

export type TransactionFault =
  /** The transactional id, or its producer id, is another one. */
  | 'unknown-producer'
  /** A newer epoch of the producer is there. */
  | 'fenced'
  /** The transaction before is being ended. */
  | 'busy'
  | 'wrong-state'
  /** The transaction has not been told of the partition or group. */
  | 'not-in-it'
  /** There are too many transactional ids. */
  | 'full'
  /** The coordinator is not here, or the outcome is not known. */
  | 'lost'

export type Decision<T extends object = object> =
  | { readonly fault: TransactionFault }
  | ({ readonly transaction: Transaction; readonly changed: boolean } & T)

/** Epochs have 15 bits; the last one is for fencing. */
const EPOCH_MAX = 0x7ffe

export interface Now {
  readonly nowMs: number
  readonly newProducerId: () => number
}

export interface InitRequest {
  readonly timeoutMs: number
  /** What the producer was before: it goes on with the next epoch (KIP-360). */
  readonly expected: ProducerIdentity | undefined
}

/** Of an id that is not known yet. */
export function newTransaction(id: string, timeoutMs: number, now: Now): Transaction {
  return {
    ...{ id, producerId: now.newProducerId(), epoch: 0, lastEpoch: -1, lastProducerId: -1 },
    ...{ timeoutMs, state: 'empty', sequence: 0, partitions: [], groups: [] },
    ...{ startedAtMs: 0, changedAtMs: now.nowMs },
  }
}

/** An ongoing transaction is `aborting` first; the request is decided again when that is done. */
export function decideInit(known: Transaction, request: InitRequest, now: Now): Decision {
  const { timeoutMs, expected } = request
  if (expected !== undefined && !isFamiliar(known, expected)) return { fault: 'fenced' }
  if (isEnding(known)) return { fault: 'busy' }
  const isCurrent = expected === undefined || expected.epoch === known.epoch
  if (known.state === 'ongoing') {
    if (!isCurrent) return { fault: 'fenced' }
    const fenced = { ...known, epoch: known.epoch + 1, lastEpoch: expected?.epoch ?? -1 }
    return changed({ ...fenced, state: 'aborting' }, now)
  }
  if (!isCurrent) {
    // The answer was lost.
    const isRepeat = expected.epoch === known.lastEpoch
    return isRepeat ? { transaction: known, changed: false } : { fault: 'fenced' }
  }
  const lastEpoch = expected?.epoch ?? -1
  const fresh = { ...known, ...NO_PARTICIPANTS, state: 'empty' as const, timeoutMs, lastEpoch }
  if (known.epoch >= EPOCH_MAX) {
    const lastProducerId = expected === undefined ? -1 : known.producerId
    return changed({ ...fresh, lastProducerId, producerId: now.newProducerId(), epoch: 0 }, now)
  }
  return changed({ ...fresh, epoch: known.epoch + 1, lastProducerId: -1 }, now)
}

function isFamiliar(known: Transaction, { producerId, epoch }: ProducerIdentity): boolean {
  if (producerId === known.producerId) return true
  return producerId === known.lastProducerId && epoch >= EPOCH_MAX
}

export interface JoinRequest extends ProducerIdentity, Participants {
  /** Else it is only asked whether they are in it. */
  readonly adds: boolean
}

export function decideJoin(known: Transaction, request: JoinRequest, now: Now): Decision {
  if (request.producerId !== known.producerId) return { fault: 'unknown-producer' }
  if (request.epoch !== known.epoch) return { fault: 'fenced' }
  if (isEnding(known)) return { fault: 'busy' }
  const isOngoing = known.state === 'ongoing'
  const before = isOngoing ? known : { ...known, ...NO_PARTICIPANTS }
  const logs = new Set(before.partitions.map(({ log }) => log))
  const partitions = request.partitions.filter(({ log }) => !logs.has(log))
  const groups = request.groups.filter((group) => !before.groups.includes(group))
  const isAll = isOngoing && partitions.length === 0 && groups.length === 0
  if (isAll) return { transaction: known, changed: false }
  if (!request.adds) return { fault: 'not-in-it' }
  const joined = {
    ...before,
    partitions: [...before.partitions, ...partitions],
    groups: [...before.groups, ...groups],
    state: 'ongoing' as const,
  }
  if (isOngoing) return changed(joined, now)
  return changed({ ...joined, sequence: known.sequence + 1, startedAtMs: now.nowMs }, now)
}

export interface EndRequest extends ProducerIdentity {
  readonly commit: boolean
  /** The producer goes on with the next epoch (transactions of version 2). */
  readonly bumps: boolean
}

/** What is not `changed` has been ended so before. */
export function decideEnd(known: Transaction, request: EndRequest, now: Now): Decision {
  const { commit, bumps } = request
  const isRepeat = bumps && isRepeatOf(known, request)
  if (request.producerId !== known.producerId && !isRepeat) return { fault: 'unknown-producer' }
  if (request.epoch !== known.epoch && !isRepeat) return { fault: 'fenced' }
  switch (known.state) {
    case 'ongoing':
      return isRepeat ? { fault: 'fenced' } : changed(endingOf(known, request, now), now)
    case 'committing':
    case 'aborting':
      return { fault: commit === (known.state === 'committing') ? 'busy' : 'wrong-state' }
    case 'committed':
    case 'aborted': {
      if (bumps && !isRepeat) return endNothing(known, request, now)
      const isSame = commit === (known.state === 'committed')
      return isSame ? { transaction: known, changed: false } : { fault: 'wrong-state' }
    }
    case 'empty':
      return bumps && !isRepeat ? endNothing(known, request, now) : { fault: 'wrong-state' }
    default:
      return known.state satisfies never
  }
}

function isRepeatOf(known: Transaction, { producerId, epoch }: ProducerIdentity): boolean {
  if (epoch !== known.lastEpoch) return false
  return producerId === (known.lastProducerId < 0 ? known.producerId : known.lastProducerId)
}

/**
 * Java's producer may ask to commit before it has sent what it was given, when the transaction before has ended just
 * then: told to ask again, it sends that first. Of nothing that is given at all it is told so after this time, ms.
 */
const HASTY_MS = 1_000

/** A producer that has sent nothing may abort that, and is given its next epoch. */
function endNothing(known: Transaction, request: EndRequest, now: Now): Decision {
  if (request.commit) {
    const isHasty = now.nowMs - known.changedAtMs < HASTY_MS
    return { fault: isHasty ? 'busy' : 'wrong-state' }
  }
  return changed({ ...endingOf(known, request, now), ...NO_PARTICIPANTS }, now)
}

function endingOf(known: Transaction, { commit, bumps, epoch }: EndRequest, now: Now): Transaction {
  const state = commit ? 'committing' : 'aborting'
  if (!bumps) return { ...known, state }
  const ending = {
    ...known,
    state,
    epoch: epoch + 1,
    lastEpoch: epoch,
    lastProducerId: -1,
  } as const
  if (epoch < EPOCH_MAX) return ending
  return { ...ending, next: { producerId: now.newProducerId(), epoch: 0 } }
}

/** It has taken too long, or an operator wants it so: its producer is fenced. */
export function abortedFor(known: Transaction, nowMs: number): Transaction {
  const fenced = { ...known, epoch: known.epoch + 1, lastEpoch: -1 }
  return { ...fenced, state: 'aborting', changedAtMs: nowMs }
}

/** Everybody who takes part knows. */
export function endedOf(known: Transaction, nowMs: number): Transaction {
  const state = known.state === 'committing' ? 'committed' : 'aborted'
  const { next, ...rest } = known
  const ended: Transaction = { ...rest, ...NO_PARTICIPANTS, state, changedAtMs: nowMs }
  if (next === undefined) return ended
  return { ...ended, ...next, lastProducerId: known.producerId }
}

/** Who the producer is, or will be when what is decided is done. */
export function identityOf({ producerId, epoch, next }: Transaction): ProducerIdentity {
  return next ?? { producerId, epoch }
}

export function isEnding({ state }: Transaction): boolean {
  return state === 'committing' || state === 'aborting'
}

const NO_PARTICIPANTS: Participants = { partitions: [], groups: [] }

function changed(transaction: Transaction, { nowMs }: Now): Decision {
  return { transaction: { ...transaction, changedAtMs: nowMs }, changed: true }
}
