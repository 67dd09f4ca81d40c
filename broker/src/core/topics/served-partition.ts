/** A partition of a topic that is owned here, as its owner serves it to dialects that bring whole batches. */
import {
  attributes,
  batchAttribute,
  batchBytes,
  checkBatch,
  lastOffsetDelta,
  nextOffset,
  openRecordBatch,
  producerEpoch,
  producerId,
  RecordBatchError,
  recordCount,
} from '@robust/storage-adapters'
import type { AppendResult, PartitionLog } from '../logs/partition-log.ts'
import type { AbortedTransaction, Marker, ProducerReport } from '../logs/producers.ts'
import { newestRecord, offsetForTime } from '../logs/time-lookup.ts'
import type { Clock } from '../ports/clock.ts'
import type { CommitOutcome } from '../shard-writer.ts'
import type { StoragePressure } from '../storage-pressure.ts'
import type { ProducerIdentity, TransactionFault } from '../transactions/transaction.ts'
import type { JoinOutcome } from '../transactions/transaction-requests.ts'
import type { Topic } from './topic.ts'

export interface ServedPartitionOptions {
  readonly topic: Topic
  readonly log: PartitionLog
  readonly epoch: number
  readonly isServed: () => boolean
  /** A batch is staged, in this turn. */
  readonly appended: (batchOffset: number) => void
  readonly pressure: StoragePressure
  readonly clock: Clock
}

/** Why nothing was appended. */
export type AppendFault =
  /** Bytes that are no batch, or another checksum. */
  | 'corrupt'
  | 'old-format'
  | 'too-large'
  /** Counts that do not fit together, no records, or no key where keys are needed. */
  | 'invalid'
  /** Only the log may say that it gave the time. */
  | 'timestamp'
  /** In no transaction though one is open, or in one that nobody coordinates. */
  | 'transactional'
  | 'out-of-order'
  | 'fenced'
  | 'full'
  /** The partition is owned by somebody else: the outcome is unknown to the producer. */
  | 'lost'

export interface Refusal {
  readonly fault: AppendFault
  /** Positions in the batch of the records that are at fault. */
  readonly records?: readonly number[]
}

export type Appended =
  | {
      readonly baseOffset: number
      readonly records: number
      /** Given by the log, ms; undefined: the records keep theirs. */
      readonly timestamp: number | undefined
    }
  | Refusal
  /** By the coordinator of the transaction. */
  | { readonly refusedBy: TransactionFault }

/** Asks the coordinator whether the producer's transaction goes on and has this partition in it. */
export type VerifyTransaction = (producer: ProducerIdentity) => Promise<JoinOutcome>

export interface PartitionRead {
  readonly batches: readonly Uint8Array[]
  readonly bytes: number
  readonly records: number
  /** Offset after the last batch. */
  readonly nextOffset: number
}

export class ServedPartition {
  readonly #options: ServedPartitionOptions

  constructor(options: ServedPartitionOptions) {
    this.#options = options
  }

  /** Grows with each owner. */
  get epoch(): number {
    return this.#options.epoch & 0x7fff_ffff
  }

  get isServed(): boolean {
    return this.#options.isServed()
  }

  get startOffset(): number {
    return this.#options.log.startOffset
  }

  /** Of the record after the last committed one. */
  get endOffset(): number {
    return this.#options.log.endOffset
  }

  /** Readers of committed transactions see nothing from here on. */
  get stableOffset(): number {
    return this.#options.log.stableOffset
  }

  /**
   * Appends the batches in their order, all or none; their offsets are set in place, so that the bytes belong to
   * the log from now on. They are staged before this returns, but for the first ones of a transaction; it resolves
   * when they are durable.
   */
  append(bytes: Uint8Array, verify?: VerifyTransaction): Promise<Appended> {
    const { log, pressure } = this.#options
    if (pressure.isFull) return Promise.resolve({ fault: 'full' })
    const batches = this.#split(bytes)
    if (!Array.isArray(batches)) return Promise.resolve(batches)
    const [first] = batches
    if (first === undefined) return Promise.resolve({ fault: 'invalid' })
    const isTransactional = (attributes(first) & batchAttribute.transactional) !== 0
    if (isTransactional && verify !== undefined) return this.#appendVerified(first, verify)
    if (isTransactional || log.producers.hasOpen(producerId(first))) {
      return Promise.resolve({ fault: 'transactional' })
    }
    return this.#appendAll(batches)
  }

  /** What would open a transaction here is only taken while its coordinator knows of it (KIP-890). */
  #appendVerified(batch: Uint8Array, verify: VerifyTransaction): Promise<Appended> {
    const { producers } = this.#options.log
    const producer = { producerId: producerId(batch), epoch: producerEpoch(batch) }
    if (producers.isOpen(producer.producerId, producer.epoch)) return this.#appendAll([batch])
    return this.#appendWhenVerified(batch, producer, verify)
  }

  async #appendWhenVerified(
    batch: Uint8Array,
    producer: ProducerIdentity,
    verify: VerifyTransaction,
  ): Promise<Appended> {
    const { verifications } = this.#options.log
    const about = String(producer.epoch)
    const asked = verifications.begin(producer.producerId, about, () => verify(producer))
    try {
      const outcome = await asked.outcome
      if ('fault' in outcome) return { refusedBy: outcome.fault }
      if (asked.isOver) return { refusedBy: 'busy' }
      if (!this.isServed) return { fault: 'lost' }
      return this.#appendAll([batch])
    } finally {
      verifications.done(producer.producerId, about, asked)
    }
  }

  /** They are staged before this returns. */
  #appendAll(batches: readonly Uint8Array[]): Promise<Appended> {
    const { log } = this.#options
    const durable: Promise<CommitOutcome>[] = []
    let first: { readonly baseOffset: number; readonly timestamp?: number | undefined } | undefined
    for (const batch of batches) {
      const { result, outcome } = appendOne(log, batch)
      if (!('baseOffset' in result)) {
        return Promise.resolve({ fault: result.kind === 'fenced' ? 'fenced' : 'out-of-order' })
      }
      first ??= result
      durable.push(outcome)
    }
    const { baseOffset = 0, timestamp } = first ?? {}
    this.#options.appended(baseOffset)
    const kept = { baseOffset, timestamp, records: recordsIn(batches) }
    return Promise.all(durable).then((outcomes) =>
      this.#heldUp(outcomes.includes('lost') ? { fault: 'lost' } : kept),
    )
  }

  /** Ends what a producer has open, whatever its coordinator says. False: the producer is fenced, or the shard is lost. */
  async mark(marker: Marker): Promise<boolean> {
    const { log } = this.#options
    let isTaken = true
    const outcome = await new Promise<CommitOutcome>((resolve) => {
      isTaken = log.appendMarker(marker, resolve)
    })
    return isTaken && outcome === 'committed'
  }

  producers(): readonly ProducerReport[] {
    return this.#options.log.producers.reports()
  }

  /** Those that a reader of [from, to) of committed transactions must pass over. */
  abortedWithin(from: number, to: number): readonly AbortedTransaction[] {
    return this.#options.log.producers.abortedWithin(from, to)
  }

  /** Where storage is nearly full, producers are held up. */
  #heldUp(appended: Appended): Appended | Promise<Appended> {
    const { pressure, clock } = this.#options
    const { delayMs } = pressure
    if (delayMs === 0) return appended
    return new Promise((resolve) => clock.after(delayMs, () => resolve(appended)))
  }

  /** Whole batches from the one that holds the offset on; at least one, if there is one before `endOffset`. */
  async read(
    fromOffset: number,
    { bytesMax, endOffset }: { bytesMax: number; endOffset: number },
  ): Promise<PartitionRead> {
    if (fromOffset >= endOffset)
      return { batches: [], bytes: 0, records: 0, nextOffset: fromOffset }
    const found = await this.#options.log.read(fromOffset, Math.max(1, bytesMax))
    const batches = found.batches.filter((batch) => nextOffset(batch) <= endOffset)
    const bytes = batches.reduce((sum, { byteLength }) => sum + byteLength, 0)
    const last = batches[batches.length - 1]
    const next = last === undefined ? fromOffset : nextOffset(last)
    return { batches, bytes, records: recordsIn(batches), nextOffset: next }
  }

  /** Of the owner in whose time the record was appended; -1 unknown. */
  epochAt(offset: number): number {
    return this.#options.log.epochAt(offset)
  }

  /** Where the epoch ended, or the newest before it that has records; undefined: it has not been here. */
  endOfEpoch(epoch: number): ReturnType<PartitionLog['endOfEpoch']> {
    return this.#options.log.endOfEpoch(epoch)
  }

  get bytes(): number {
    return this.#options.log.segments.bytes
  }

  /** Records before the offset are gone for readers at once. False: the shard is lost, the outcome unknown. */
  deleteBefore(offset: number): Promise<boolean> {
    const { log } = this.#options
    log.deleteBefore(offset)
    return log.committed()
  }

  /** The first record whose time is this or later; undefined: there is none. */
  offsetForTime(timestamp: number): ReturnType<typeof offsetForTime> {
    return offsetForTime(this.#options.log, timestamp)
  }

  /** The first of the records with the highest time; undefined: there is none. */
  newest(): ReturnType<typeof newestRecord> {
    return newestRecord(this.#options.log)
  }

  /** `tell` runs when there is more to read, or the shard is lost, until the returned function is called. */
  onGrowth(tell: () => void): () => void {
    return this.#options.log.onGrowth(tell)
  }

  #split(bytes: Uint8Array): Uint8Array[] | Refusal {
    const batches: Uint8Array[] = []
    try {
      for (let at = 0; at < bytes.byteLength; ) {
        const length = batchBytes(bytes, at)
        if (length > this.#options.topic.policy.batchBytesMax) return { fault: 'too-large' }
        if (length < 1 || at + length > bytes.byteLength) return { fault: 'corrupt' }
        const batch = bytes.subarray(at, at + length)
        checkBatch(batch)
        const refusal = this.#refusalOf(batch)
        if (refusal !== undefined) return refusal
        batches.push(batch)
        at += length
      }
    } catch (error) {
      if (!(error instanceof RecordBatchError)) throw error
      return { fault: error.fault === 'BAD_MAGIC' ? 'old-format' : 'corrupt' }
    }
    // Of several batches of an idempotent producer some could be refused when others are in the log already.
    const isOne = batches.length === 1 || batches.every((batch) => producerId(batch) < 0)
    return batches.length > 0 && isOne ? batches : { fault: 'invalid' }
  }

  #refusalOf(batch: Uint8Array): Refusal | undefined {
    const bits = attributes(batch)
    if (bits & batchAttribute.control) return { fault: 'invalid' }
    if (bits & batchAttribute.logAppendTime) return { fault: 'timestamp' }
    if (bits & batchAttribute.transactional && producerId(batch) < 0) return { fault: 'invalid' }
    const count = recordCount(batch)
    if (count < 1 || lastOffsetDelta(batch) !== count - 1) return { fault: 'invalid' }
    return this.#options.topic.policy.compact ? keylessIn(batch) : undefined
  }
}

/** Where the newest record of each key is kept, each needs a key. */
function keylessIn(batch: Uint8Array): Refusal | undefined {
  try {
    const records = openRecordBatch(batch).flatMap(({ key }, at) => (key === null ? [at] : []))
    return records.length === 0 ? undefined : { fault: 'invalid', records }
  } catch (error) {
    if (!(error instanceof RecordBatchError)) throw error
    return { fault: error.fault === 'TOO_LARGE' ? 'too-large' : 'corrupt' }
  }
}

/** Of a batch that is in the log already the outcome may be told before the result is. */
function appendOne(log: PartitionLog, batch: Uint8Array) {
  let result: AppendResult = { kind: 'out-of-order' }
  const outcome = new Promise<CommitOutcome>((resolve) => {
    result = log.appendBatch(batch, resolve)
  })
  return { result: result as AppendResult, outcome }
}

function recordsIn(batches: readonly Uint8Array[]): number {
  return batches.reduce((sum, batch) => sum + recordCount(batch), 0)
}
