/**
 * The messages of a queue of one priority: a log, how far it has been looked through, and what is known of
 * the messages before that.
 *
 * Stored are: `next`, below which every message is done unless there is an entry for it, and the entries. So a
 * message that is taken and acknowledged in order costs no key at all, one that is leased for sure costs one,
 * and what was not looked at yet is only in the log, however much it is.
 */
import {
  decodeRecordBatch,
  encodeRecordBatch,
  type NewRecord,
  type Operation,
  type StorageAdapter,
} from '@robust/storage-adapters'
import type { ShardWriter } from '../core/shard-writer.ts'
import { SortedList } from '../core/sorted-list.ts'
import { compareEntries, type Entry, encodeEntry } from './entry.ts'
import type { QueueKeys } from './queue-keys.ts'
import { RecordCache } from './record-cache.ts'

export interface LaneOptions {
  readonly level: number
  readonly keys: QueueKeys
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
}

const READ_BYTES = 256 * 1024
const CACHE_BYTES = 2 * 1024 * 1024
/** Done messages before the log is trimmed: one delete for many. */
const TRIM_RECORDS = 256
/** A log that is held up by no more messages than these, over so many that are done, goes on without them. */
const KEPT_MAX = 256
const KEPT_SPAN_MIN = 16_384

export class Lane {
  readonly level: number
  readonly log: string
  /** Offset of the first message that was not looked at. */
  next = 0
  /** Of the message after the last one that may be given out. */
  end = 0
  readonly entries = new Map<number, Entry>()
  readonly ready = new SortedList<Entry>(compareEntries)
  /** Messages from `next` on that are done. */
  readonly gone = new Set<number>()
  readonly #options: LaneOptions
  readonly #cache = new RecordCache(CACHE_BYTES)
  readonly #changed = new Set<Entry>()
  readonly #deletions: string[] = []
  readonly #additions: Operation[] = []
  /** Entries from `next` on: what expired or leaves before its turn, or was leased by the owner before. */
  readonly #ahead = new Set<Entry>()
  /** Offsets of entries below `next`, in order, from `#orderHead` on: who holds up the log. */
  #order: number[] = []
  #orderHead = 0
  /** Position in it before which every entry has a key. */
  #checkedTo = 0
  #storedNext = 0
  #doneTo = 0
  #trimmedTo = 0
  #storedEnd = 0
  #asked: { readonly offset: number; readonly timestamp: number } | undefined

  constructor(options: LaneOptions) {
    this.#options = options
    this.level = options.level
    this.log = options.keys.log(options.level)
    this.end = options.writer.endOf(this.log)
    this.#storedEnd = this.end
  }

  /** What is stored of it, the entries in order. */
  restore(next: number, entries: readonly Entry[], gone: readonly number[]): void {
    this.next = next
    this.#storedNext = next
    this.#doneTo = next
    for (const entry of entries) {
      this.entries.set(entry.offset, entry)
      if (entry.offset < next) this.#order.push(entry.offset)
      else this.#ahead.add(entry)
    }
    for (const offset of gone) this.gone.add(offset)
  }

  get storedNext(): number {
    return this.#storedNext
  }

  /** Messages that nobody has looked at. */
  get unseen(): number {
    return Math.max(0, this.end - this.next - this.gone.size - this.#ahead.size)
  }

  /** Stages it; `end` moves when that is committed. */
  append(record: NewRecord): number {
    const offset = this.#options.writer.append(this.log, record)
    // Behind what nobody has looked at yet it would only be in the way.
    if (offset - this.next < 4_096) this.#cache.add(offset, record)
    return offset
  }

  /** The last one that was staged may be given out before it is stored. False: then it could not be read. */
  offer(offset: number): boolean {
    if (offset !== this.end || this.#cache.get(offset) === undefined) return false
    this.end++
    return true
  }

  /** The message at the offset is stored, and all before it. */
  stored(offset: number): void {
    this.#storedEnd = Math.max(this.#storedEnd, offset + 1)
    this.end = Math.max(this.end, this.#storedEnd)
  }

  isStored(offset: number): boolean {
    return offset < this.#storedEnd
  }

  /** Undefined: there is none at the offset. Rejects with a StorageError. */
  async record(offset: number): Promise<NewRecord | undefined> {
    const cached = this.#cache.get(offset)
    if (cached !== undefined) return cached
    const { storage, writer, keys } = this.#options
    if (this.entries.get(offset)?.kept) {
      const kept = await storage.get(writer.shard, keys.keptRecord(this.level, offset))
      return kept && decodeRecordBatch(kept)[0]
    }
    const request = { shard: writer.shard, log: this.log, fromOffset: offset, bytesMax: READ_BYTES }
    const { batches } = await storage.read(request)
    let found: NewRecord | undefined
    for (const batch of batches) {
      for (const record of decodeRecordBatch(batch)) {
        if (record.offset === offset) found = record
        else if (record.offset > offset && record.offset >= this.next) {
          this.#cache.add(record.offset, record)
        }
      }
    }
    return found
  }

  /**
   * When the message was stored, wall clock, ms; undefined: there is none at the offset. The one that was asked for last
   * is not read again: that is the oldest, at each look at the figures. Rejects with a StorageError.
   */
  async timestampOf(offset: number): Promise<number | undefined> {
    if (this.#asked?.offset === offset) return this.#asked.timestamp
    const timestamp = (await this.record(offset))?.timestamp
    if (timestamp !== undefined) this.#asked = { offset, timestamp }
    return timestamp
  }

  /** Goes past the message at `next`, which is done or has an entry now. */
  advance(entry?: Entry): void {
    const offset = this.next
    this.next++
    const known = this.entries.get(offset)
    if (entry !== undefined || known !== undefined) {
      if (known !== undefined) this.#ahead.delete(known)
      if (entry !== undefined) this.entries.set(offset, entry)
      this.#order.push(offset)
      return
    }
    if (this.gone.delete(offset)) {
      this.#deletions.push(this.#options.keys.goneOffset(this.level, offset))
    }
    this.#done(offset)
  }

  /** An entry for a message that was not looked at yet. */
  addAhead(entry: Entry): void {
    this.entries.set(entry.offset, entry)
    this.#ahead.add(entry)
    this.change(entry)
  }

  /** A message that was not looked at is done. */
  skip(offset: number): void {
    this.gone.add(offset)
    this.#cache.delete(offset)
    const key = this.#options.keys.goneOffset(this.level, offset)
    this.#additions.push({ kind: 'put', key, value: new Uint8Array(0) })
  }

  /** The entry must be stored as it is now. */
  change(entry: Entry): void {
    this.#changed.add(entry)
  }

  /** The message is done. */
  remove(entry: Entry): void {
    this.entries.delete(entry.offset)
    this.ready.delete(entry)
    this.#changed.delete(entry)
    this.#cache.delete(entry.offset)
    const { keys } = this.#options
    if (entry.stored) this.#deletions.push(keys.entry(this.level, entry.offset))
    if (entry.kept) this.#deletions.push(keys.keptRecord(this.level, entry.offset))
    if (entry.offset < this.next) {
      this.#done(entry.offset)
    } else {
      this.#ahead.delete(entry)
      this.skip(entry.offset)
    }
  }

  /** Everything that is committed is done. */
  purge(): void {
    for (const entry of [...this.entries.values()]) {
      if (entry.state === 'leaving') continue
      this.remove(entry)
    }
    const { keys } = this.#options
    for (const offset of this.gone) this.#deletions.push(keys.goneOffset(this.level, offset))
    this.gone.clear()
    this.#cache.clear()
    this.next = Math.max(this.next, this.end)
    if (this.next > 0) this.#done(this.next - 1)
  }

  /** What must be stored so that the next owner knows what this one knows. */
  flush(): Operation[] {
    const operations = this.#additions.splice(0)
    for (const key of this.#deletions.splice(0)) operations.push({ kind: 'delete', key })
    this.#storedNext = Math.max(this.#storedNext, this.#doneTo)
    this.#storeHeldUp()
    for (const entry of this.#changed) operations.push(this.#put(entry))
    this.#changed.clear()
    const floor = this.#floor()
    if (
      floor - this.#trimmedTo >= TRIM_RECORDS ||
      (floor === this.end && floor > this.#trimmedTo)
    ) {
      this.#trimmedTo = floor
      operations.push({ kind: 'trim', log: this.log, beforeOffset: floor })
    }
    return operations
  }

  /** Entries below `storedNext` need a key, since without one they would count as done. */
  #storeHeldUp(): void {
    for (let at = this.#unstoredFrom(); at < this.#order.length; at++) {
      const offset = this.#order[at] as number
      if (offset >= this.#storedNext) break
      const entry = this.entries.get(offset)
      if (entry !== undefined && !entry.stored) this.#changed.add(entry)
    }
  }

  /** Position in `#order` from which entries may have no key. */
  #unstoredFrom(): number {
    let at = Math.max(this.#orderHead, this.#checkedTo)
    while (at < this.#order.length) {
      const offset = this.#order[at] as number
      const entry = this.entries.get(offset)
      if (entry !== undefined && !entry.stored) break
      at++
    }
    this.#checkedTo = at
    return at
  }

  #put(entry: Entry): Operation {
    entry.stored = true
    const key = this.#options.keys.entry(this.level, entry.offset)
    return { kind: 'put', key, value: encodeEntry(entry) }
  }

  #done(offset: number): void {
    this.#cache.delete(offset)
    if (offset >= this.#doneTo) this.#doneTo = offset + 1
  }

  /** Offset of the first message whose place in the log is still needed. */
  #floor(): number {
    while (this.#orderHead < this.#order.length) {
      const entry = this.entries.get(this.#order[this.#orderHead] as number)
      if (entry !== undefined && !entry.kept) break
      this.#orderHead++
    }
    if (this.#orderHead > 4_096 && this.#orderHead * 2 > this.#order.length) {
      this.#order = this.#order.slice(this.#orderHead)
      this.#checkedTo = Math.max(0, this.#checkedTo - this.#orderHead)
      this.#orderHead = 0
    }
    const first = this.#order[this.#orderHead]
    return Math.min(first ?? this.next, this.next, this.#storedNext, this.#storedEnd)
  }

  /** Messages that hold up the log while almost everything after them is done. */
  stragglers(): Entry[] {
    const floor = this.#floor()
    if (this.next - floor < KEPT_SPAN_MIN) return []
    const found: Entry[] = []
    const until = floor + (this.next - floor) / 2
    for (let at = this.#orderHead; at < this.#order.length; at++) {
      const offset = this.#order[at] as number
      if (offset >= until) break
      const entry = this.entries.get(offset)
      if (entry === undefined || entry.kept) continue
      found.push(entry)
      if (found.length > KEPT_MAX) return []
    }
    return found
  }

  /** Its record goes to a key, so that the log can be trimmed past it. */
  keep(entry: Entry, record: NewRecord): void {
    if (this.entries.get(entry.offset) !== entry) return
    entry.kept = true
    const key = this.#options.keys.keptRecord(this.level, entry.offset)
    const value = encodeRecordBatch([record], { baseOffset: 0, leaderEpoch: 0 })
    this.#additions.push({ kind: 'put', key, value })
    this.change(entry)
  }
}
