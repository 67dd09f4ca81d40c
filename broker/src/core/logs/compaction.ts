/**
 * Compaction by key of a piece of a log, batch by batch: of each key the newest record is kept, offsets stay
 * as they are, and what an aborted transaction wrote goes. No I/O.
 */
import {
  attributes,
  baseOffset,
  batchAttribute,
  batchHeaderBytes,
  encodeCompactedBatch,
  leaderEpoch,
  maxTimestamp,
  nextOffset,
  openRecordBatch,
  producerId,
  RecordBatchError,
  type StoredRecord,
} from '@robust/storage-adapters'

/** The newest offset of each key. Bounded: when it is full, a compaction ends where it got to. */
export class NewestOffsets {
  readonly #offsets = new Map<string, number>()
  readonly #keysMax: number

  constructor(keysMax: number) {
    this.#keysMax = keysMax
  }

  /** False: full, the batch has not been taken in. */
  add(batch: Uint8Array, isAborted: IsAborted): boolean {
    if (this.#offsets.size >= this.#keysMax) return false
    if (attributes(batch) & batchAttribute.control || aborted(batch, isAborted)) return true
    for (const { key, offset } of decodable(batch) ?? []) {
      if (key !== null) this.#offsets.set(textOf(key), offset)
    }
    return true
  }

  isSuperseded(record: StoredRecord): boolean {
    if (record.key === null) return false
    const newest = this.#offsets.get(textOf(record.key))
    return newest !== undefined && newest > record.offset
  }
}

export type IsAborted = (producerId: number, offset: number) => boolean

export interface CleanOptions {
  readonly newest: NewestOffsets
  readonly isAborted: IsAborted
  /** Tombstones and markers below this offset have been kept long enough. */
  readonly tombstonesBefore: number
  /** Batches grow to this size when neighbours are merged. */
  readonly batchBytesMax: number
}

export interface Cleaned {
  /** Cover all the offsets of what came in. */
  readonly batches: readonly Uint8Array[]
  readonly removedRecords: number
  /** Some of what is left may go later: tombstones and markers. */
  readonly tombstones: boolean
}

/** What is left of neighbouring batches, which are added in order. Merges them where it rewrites them. */
export class Cleaner {
  readonly #options: CleanOptions
  readonly #merger: Merger
  #removedRecords = 0
  #tombstones = false

  constructor(options: CleanOptions) {
    this.#options = options
    this.#merger = new Merger(options.batchBytesMax)
  }

  add(batch: Uint8Array): void {
    const records = decodable(batch)
    if (records === undefined) {
      this.#merger.keep(batch)
      return
    }
    const control = (attributes(batch) & batchAttribute.control) !== 0
    const of = { batch, control, options: this.#options }
    const left = records.filter((record) => isKept(record, of))
    this.#tombstones ||= left.some((record) => control || isTombstone(record))
    this.#removedRecords += records.length - left.length
    // A marker's meaning is in its header, so it is kept as it is or not at all.
    const isWhole = left.length === records.length
    const isCompressed = (attributes(batch) & batchAttribute.compressionMask) !== 0
    if (control && left.length > 0) this.#merger.keep(batch)
    // What is written anew is not compressed: what needs not be is kept as its producer made it.
    else if (isCompressed && isWhole) this.#merger.keep(batch)
    else this.#merger.add(batch, left, isWhole)
  }

  /** What comes next shares no batch with what came before. */
  cut(): void {
    this.#merger.cut()
  }

  finish(): Cleaned {
    const batches = this.#merger.finish()
    return { batches, removedRecords: this.#removedRecords, tombstones: this.#tombstones }
  }
}

function isKept(
  record: StoredRecord,
  of: { batch: Uint8Array; control: boolean; options: CleanOptions },
): boolean {
  const { newest, isAborted, tombstonesBefore } = of.options
  const expired = record.offset < tombstonesBefore
  if (of.control) return !expired
  if (aborted(of.batch, isAborted) || newest.isSuperseded(record)) return false
  return !(expired && isTombstone(record))
}

function isTombstone({ key, value }: StoredRecord): boolean {
  return key !== null && value === null
}

function aborted(batch: Uint8Array, isAborted: IsAborted): boolean {
  if ((attributes(batch) & batchAttribute.transactional) === 0) return false
  return isAborted(producerId(batch), baseOffset(batch))
}

/** A batch that cannot be looked into is kept whole, so its keys are never superseded by it. */
function decodable(batch: Uint8Array): StoredRecord[] | undefined {
  try {
    return openRecordBatch(batch)
  } catch (error) {
    if (error instanceof RecordBatchError) return undefined
    throw error
  }
}

function textOf(key: Uint8Array): string {
  return Buffer.from(key.buffer, key.byteOffset, key.byteLength).toString('latin1')
}

interface Open {
  readonly base: number
  next: number
  epoch: number
  newest: number
  logAppendTime: number
  bytes: number
  /** The one batch that this is so far, while nothing of it is missing. */
  untouched: Uint8Array | undefined
  readonly records: StoredRecord[]
}

/** Rewrites neighbours into one batch while they fit and say the same about time. */
class Merger {
  readonly #bytesMax: number
  readonly #done: Uint8Array[] = []
  #open: Open | undefined

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  keep(batch: Uint8Array): void {
    this.#flush()
    this.#done.push(batch)
  }

  /** `whole`: no record of the batch is missing. */
  add(batch: Uint8Array, records: readonly StoredRecord[], whole: boolean): void {
    const logAppendTime = attributes(batch) & batchAttribute.logAppendTime
    const bytes = records.length === 0 ? 0 : batch.byteLength - batchHeaderBytes
    if (!this.#takes(bytes, records.length > 0 ? logAppendTime : undefined)) this.#flush()
    const base = baseOffset(batch)
    const isFirst = this.#open === undefined
    this.#open ??= {
      base,
      next: base,
      epoch: 0,
      newest: 0,
      logAppendTime,
      bytes: 0,
      untouched: undefined,
      records: [],
    }
    const target = this.#open
    if (records.length > 0) target.logAppendTime = logAppendTime
    target.untouched = isFirst && whole ? batch : undefined
    target.next = nextOffset(batch)
    target.epoch = Math.max(target.epoch, leaderEpoch(batch))
    target.newest = Math.max(target.newest, maxTimestamp(batch))
    target.bytes += bytes
    target.records.push(...records)
  }

  cut(): void {
    this.#flush()
  }

  finish(): readonly Uint8Array[] {
    this.#flush()
    return this.#done
  }

  /** Of records with the broker's time the batch holds the one time for all of them. */
  #takes(bytes: number, logAppendTime: number | undefined): boolean {
    const open = this.#open
    if (open === undefined || open.bytes + bytes > this.#bytesMax) return false
    if (open.records.length === 0 || logAppendTime === undefined) return true
    return open.logAppendTime === 0 && logAppendTime === 0
  }

  #flush(): void {
    const open = this.#open
    if (open === undefined) return
    this.#open = undefined
    if (open.untouched !== undefined) {
      this.#done.push(open.untouched)
      return
    }
    this.#done.push(
      encodeCompactedBatch(open.records, {
        baseOffset: open.base,
        nextOffset: open.next,
        leaderEpoch: open.epoch,
        maxTimestamp: open.newest,
        attributes: open.logAppendTime,
      }),
    )
  }
}
