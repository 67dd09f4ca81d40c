/**
 * What a log knows of its producers: the newest batches of each, so that a retry is recognised and a gap is
 * seen, and the transactions that are open or were aborted. Kept beside the log, so it moves with it.
 * Rules: Kafka's idempotent producer (KIP-98) and transactions (KIP-98, KIP-890). No I/O.
 */
import {
  attributes,
  baseOffset,
  baseSequence,
  batchAttribute,
  decodeRecordBatch,
  encodeRecordBatch,
  maxTimestamp,
  nextOffset,
  producerEpoch,
  producerId,
  type RecordHeader,
  recordCount,
} from '@robust/storage-adapters'

export type ProducerVerdict =
  | { readonly kind: 'new' }
  /** The very batch is in the log already. */
  | { readonly kind: 'duplicate'; readonly baseOffset: number }
  | { readonly kind: 'out-of-order' }
  /** A newer producer of the same id has written. */
  | { readonly kind: 'fenced' }

interface SeenBatch {
  readonly first: number
  readonly last: number
  readonly baseOffset: number
}

interface Producer {
  epoch: number
  /** Newest last. */
  batches: SeenBatch[]
  timestamp: number
  /** Number of its last transaction that ended here, see `core/transactions`. */
  ended?: number
  /** Of the coordinator that ended it. */
  coordinatorEpoch?: number
}

/** What ends a producer's transaction in a log. */
export interface Marker {
  readonly producerId: number
  readonly epoch: number
  readonly commit: boolean
  /** Undefined: whatever transaction is open. */
  readonly sequence: number | undefined
  readonly coordinatorEpoch: number
}

/** A producer as operators see it. */
export interface ProducerReport {
  readonly producerId: number
  readonly epoch: number
  /** -1: none. */
  readonly lastSequence: number
  readonly lastTimestamp: number
  readonly coordinatorEpoch: number
  /** -1: no transaction is open. */
  readonly firstOpenOffset: number
}

export interface AbortedTransaction {
  readonly producerId: number
  readonly firstOffset: number
  /** Of its marker. */
  readonly lastOffset: number
}

interface StoredProducers {
  readonly offset: number
  readonly producers: readonly (readonly [number, Producer])[]
  readonly open: readonly (readonly [number, number])[]
}

/** Kafka remembers as many, and lets a producer have as many on their way. */
const BATCHES_REMEMBERED = 5

/** Producers of one log that are remembered; the longest silent ones are forgotten. */
const PRODUCERS_MAX = 10_000

/** Sequence numbers are 31 bits and begin again at 0. */
const SEQUENCES = 0x8000_0000

export class Producers {
  readonly #producers = new Map<number, Producer>()
  /** First offset of each open transaction, by producer. */
  readonly #open = new Map<number, number>()
  #aborted: AbortedTransaction[] = []

  get isEmpty(): boolean {
    return this.#producers.size === 0 && this.#open.size === 0
  }

  get aborted(): readonly AbortedTransaction[] {
    return this.#aborted
  }

  /** Nothing from here on may be shown to readers of committed records; undefined: no transaction is open. */
  get firstOpenOffset(): number | undefined {
    return this.#open.size === 0 ? undefined : Math.min(...this.#open.values())
  }

  /** Whether the batch may be appended. Changes nothing. */
  check(batch: Uint8Array): ProducerVerdict {
    const id = producerId(batch)
    const sequence = baseSequence(batch)
    if (id < 0 || sequence < 0) return NEW
    const known = this.#producers.get(id)
    if (known === undefined) return NEW
    const epoch = producerEpoch(batch)
    if (epoch < known.epoch) return { kind: 'fenced' }
    if (epoch > known.epoch) return sequence === 0 ? NEW : { kind: 'out-of-order' }
    const last = lastSequence(batch)
    const same = known.batches.find((seen) => seen.first === sequence && seen.last === last)
    if (same !== undefined) return { kind: 'duplicate', baseOffset: same.baseOffset }
    const newest = known.batches[known.batches.length - 1]
    const expected = newest === undefined ? 0 : (newest.last + 1) % SEQUENCES
    return sequence === expected ? NEW : { kind: 'out-of-order' }
  }

  /** The producer has written to a transaction that goes on. */
  isOpen(id: number, epoch: number): boolean {
    return this.#open.has(id) && this.#producers.get(id)?.epoch === epoch
  }

  /** Some epoch of the producer has a transaction that goes on. */
  hasOpen(id: number): boolean {
    return this.#open.has(id)
  }

  /** False: of a producer that is fenced. A marker that is here already has nothing to end any more. */
  takes({ producerId: id, epoch, sequence }: Marker): 'new' | 'repeated' | 'fenced' {
    const known = this.#producers.get(id)
    if (known === undefined) return 'new'
    if (epoch < known.epoch) return 'fenced'
    return sequence !== undefined && sequence <= (known.ended ?? 0) ? 'repeated' : 'new'
  }

  reports(): ProducerReport[] {
    return [...this.#producers].map(([id, { epoch, batches, timestamp, coordinatorEpoch }]) => ({
      ...{ producerId: id, epoch, lastTimestamp: timestamp },
      lastSequence: batches[batches.length - 1]?.last ?? -1,
      coordinatorEpoch: coordinatorEpoch ?? -1,
      firstOpenOffset: this.#open.get(id) ?? -1,
    }))
  }

  /** The batch is in the log, with its offsets. Returns the transaction that it aborts. */
  note(batch: Uint8Array): AbortedTransaction | undefined {
    const id = producerId(batch)
    if (id < 0) return undefined
    const epoch = producerEpoch(batch)
    const producer = this.#producer(id, epoch)
    producer.timestamp = maxTimestamp(batch)
    const bits = attributes(batch)
    if (bits & batchAttribute.control) return this.#close(id, producer, batch)
    const sequence = baseSequence(batch)
    if (sequence >= 0) {
      const seen = { first: sequence, last: lastSequence(batch), baseOffset: baseOffset(batch) }
      producer.batches.push(seen)
      if (producer.batches.length > BATCHES_REMEMBERED) producer.batches.shift()
    }
    if (bits & batchAttribute.transactional && !this.#open.has(id)) {
      this.#open.set(id, baseOffset(batch))
    }
    return undefined
  }

  restoreAborted(aborted: readonly AbortedTransaction[]): void {
    this.#aborted = [...aborted]
  }

  /** Those that a reader of [from, to) must pass over, by their first offsets. */
  abortedWithin(from: number, to: number): AbortedTransaction[] {
    let low = 0
    let high = this.#aborted.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#aborted[middle] as AbortedTransaction).lastOffset < from) low = middle + 1
      else high = middle
    }
    return this.#aborted
      .slice(low)
      .filter(({ firstOffset }) => firstOffset < to)
      .sort((one, other) => one.firstOffset - other.firstOffset)
  }

  isAborted(id: number, offset: number): boolean {
    return this.#aborted.some(
      (aborted) =>
        aborted.producerId === id && aborted.firstOffset <= offset && offset < aborted.lastOffset,
    )
  }

  /** Forgets transactions whose marker lies before the offset; returns them. */
  trim(beforeOffset: number): readonly AbortedTransaction[] {
    const gone = this.#aborted.filter(({ lastOffset }) => lastOffset < beforeOffset)
    if (gone.length > 0) {
      this.#aborted = this.#aborted.filter(({ lastOffset }) => lastOffset >= beforeOffset)
    }
    return gone
  }

  /** Producers that were last heard before this time and have nothing open are forgotten. */
  expire(beforeMs: number): void {
    for (const [id, { timestamp }] of this.#producers) {
      if (timestamp < beforeMs && !this.#open.has(id)) this.#producers.delete(id)
    }
  }

  /** Everything up to `offset`, but for the aborted transactions, which have keys of their own. */
  checkpoint(offset: number): StoredProducers {
    return { offset, producers: [...this.#producers], open: [...this.#open] }
  }

  /** Returns the offset from which batches must be noted again. */
  restore(stored: StoredProducers): number {
    for (const [id, producer] of stored.producers) this.#producers.set(id, producer)
    for (const [id, offset] of stored.open) this.#open.set(id, offset)
    return stored.offset
  }

  #producer(id: number, epoch: number): Producer {
    let producer = this.#producers.get(id)
    if (producer === undefined || producer.epoch !== epoch) {
      producer = { ...producer, epoch, batches: [], timestamp: 0 }
    }
    // Newest last, so that the first of the map is the longest silent.
    this.#producers.delete(id)
    this.#producers.set(id, producer)
    if (this.#producers.size > PRODUCERS_MAX) {
      for (const oldest of this.#producers.keys()) {
        if (!this.#open.has(oldest)) {
          this.#producers.delete(oldest)
          break
        }
      }
    }
    return producer
  }

  #close(id: number, producer: Producer, batch: Uint8Array): AbortedTransaction | undefined {
    const firstOffset = this.#open.get(id)
    this.#open.delete(id)
    const { commit, sequence, coordinatorEpoch } = markerOf(batch)
    if (sequence !== undefined) producer.ended = sequence
    if (coordinatorEpoch !== undefined) producer.coordinatorEpoch = coordinatorEpoch
    if (firstOffset === undefined || commit) return undefined
    const aborted = { producerId: id, firstOffset, lastOffset: nextOffset(batch) - 1 }
    this.#aborted.push(aborted)
    return aborted
  }
}

const NEW: ProducerVerdict = { kind: 'new' }

function lastSequence(batch: Uint8Array): number {
  return (baseSequence(batch) + Math.max(0, recordCount(batch) - 1)) % SEQUENCES
}

/** Of the number of the transaction. */
const SEQUENCE_HEADER = 'transaction'

/**
 * A control batch as clients know it. The record's key is int16 version, int16 type (0 abort, 1 commit), its value
 * int16 version, int32 epoch of the coordinator. To its number only brokers look.
 */
export function encodeMarker(marker: Marker, timestamp: number): Uint8Array {
  const { producerId: id, epoch, commit, sequence, coordinatorEpoch } = marker
  const key = Uint8Array.of(0, 0, 0, commit ? 1 : 0)
  const value = Buffer.alloc(6)
  value.writeInt32BE(coordinatorEpoch & 0x7fff_ffff, 2)
  const number: RecordHeader = [SEQUENCE_HEADER, Buffer.from(String(sequence))]
  const headers = sequence === undefined ? [] : [number]
  return encodeRecordBatch([{ timestamp, key, value, headers }], {
    ...{ baseOffset: 0, leaderEpoch: 0, producerId: id, producerEpoch: epoch },
    attributes: batchAttribute.transactional | batchAttribute.control,
  })
}

function markerOf(batch: Uint8Array): Partial<Marker> {
  const record = decodeRecordBatch(batch)[0]
  const { key, value } = record ?? {}
  const number = record?.headers.find(([name]) => name === SEQUENCE_HEADER)?.[1]
  return {
    commit: key?.[3] === 1,
    sequence: number === undefined ? undefined : Number(Buffer.from(number).toString()),
    ...(value?.length === 6 && { coordinatorEpoch: Buffer.from(value).readInt32BE(2) }),
  }
}
