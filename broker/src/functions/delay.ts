/**
 * Messages that wait for their time: keys of the shard that sort by it. Only those that are due soon are in memory, so
 * that millions may wait; when its time comes a message moves to its lane, and to who waits for it, in one commit.
 * Nothing is early, lost or twice when the owner changes.
 */
import {
  decodeRecordBatch,
  encodeRecordBatch,
  type NewRecord,
  type StorageAdapter,
} from '@robust/storage-adapters'
import { REPLY_BYTES } from '../core/limits.ts'
import type { Delayed } from '../core/queues/queue-requests.ts'
import type { ShardWriter } from '../core/shard-writer.ts'
import { SortedList } from '../core/sorted-list.ts'
import { padded, rangeOf } from './queue-keys.ts'

export interface DelayOptions {
  readonly prefix: string
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
}

interface Waiting {
  readonly key: string
  readonly dueAtMs: number
  /** The record as it is stored: one object, where a record is many to the garbage collector. */
  readonly batch: Uint8Array
}

const WINDOW_MAX = 4_096
const WINDOW_BYTES_MAX = 8 * 1024 * 1024
const LISTED_MAX = 512
/** Read at once: while they are taken over nobody is served. */
const PAGE = 128

export class Delay {
  readonly #options: DelayOptions
  /** Everything that waits and sorts before `#horizon`. */
  readonly #window = new SortedList<Waiting>((a, b) => (a.key < b.key ? -1 : a.key > b.key ? 1 : 0))
  #windowBytes = 0
  /** Keys from this on are in storage only; undefined: none is. */
  #horizon: string | undefined
  #sequence = 0
  #loading: Promise<void> | undefined
  /** What was added behind the window while it is being filled: the search may not have seen it. */
  #added: Map<string, Waiting> | undefined
  #cancelling: Promise<unknown> = Promise.resolve()
  count = 0

  constructor(options: DelayOptions) {
    this.#options = options
  }

  /** `count`: as it was stored. */
  async load(count: number): Promise<void> {
    this.count = count
    this.#horizon = this.#options.prefix
    await this.#fill()
  }

  /** When the next message is due; undefined: none waits. Wall clock, ms. */
  get nextDueAtMs(): number | undefined {
    const first = this.#window.first
    if (first !== undefined) return first.dueAtMs
    return this.#horizon === undefined ? undefined : dueOf(this.#horizon, this.#options.prefix)
  }

  get inMemory(): number {
    return this.#window.size
  }

  /** Stages it. Returns what it can be cancelled by. */
  add(record: NewRecord, dueAtMs: number): string {
    const { writer, prefix } = this.#options
    const suffix = `${padded(Math.max(0, Math.round(dueAtMs)))}/${padded(writer.epoch)}${padded(this.#sequence++)}`
    const key = `${prefix}${suffix}`
    const batch = encodeRecordBatch([record], { baseOffset: 0, leaderEpoch: 0 })
    writer.put(key, batch)
    this.count++
    if (this.#isInWindow(key)) {
      this.#remember({ key, dueAtMs, batch })
      this.#shrink()
    } else {
      this.#added?.set(key, { key, dueAtMs, batch })
    }
    return suffix
  }

  /** Stages the removal of everything that is due; the records, the earliest first. */
  takeDue(nowMs: number, max: number): NewRecord[] {
    return this.startDue(nowMs, max).map(({ handle, record }) => {
      this.finishDue(handle)
      return record
    })
  }

  /** What is due, taken by one who says when each is done: until then it stays stored. */
  startDue(nowMs: number, max: number): { readonly handle: string; readonly record: NewRecord }[] {
    const due: { handle: string; record: NewRecord }[] = []
    for (let first = this.#window.first; first !== undefined; first = this.#window.first) {
      if (first.dueAtMs > nowMs || due.length >= max) break
      const record = recordOf(first.batch)
      this.#forget(first)
      due.push({ handle: first.key.slice(this.#options.prefix.length), record })
    }
    return due
  }

  /** Stages the removal of what was taken so. */
  finishDue(handle: string): void {
    this.#options.writer.delete(`${this.#options.prefix}${handle}`)
    this.count--
  }

  /** Resolves when everything that is due soon is in memory. Rejects with a StorageError. */
  refill(): Promise<void> {
    if (this.#horizon === undefined || this.#window.size > WINDOW_MAX / 2) return Promise.resolve()
    this.#loading ??= this.#fill().finally(() => {
      this.#loading = undefined
    })
    return this.#loading
  }

  /** Stages it. False: there is none, or its time has come. */
  cancel(handle: string): Promise<boolean> {
    const cancelled = this.#cancelling.then(() => this.#cancel(handle))
    this.#cancelling = cancelled.catch(() => undefined)
    return cancelled
  }

  async #cancel(handle: string): Promise<boolean> {
    if (!/^\d{16}\/\d{32}$/.test(handle)) return false
    const { prefix, writer, storage } = this.#options
    const key = `${prefix}${handle}`
    await this.#loading
    if (!this.#isInWindow(key)) {
      await this.#committed()
      if ((await storage.get(writer.shard, key)) === undefined) return false
      await this.#loading
    }
    if (this.#isInWindow(key)) {
      const waiting = this.#find(key)
      if (waiting === undefined) return false
      this.#forget(waiting)
    }
    writer.delete(key)
    this.count--
    return true
  }

  /** As many as fit in one answer. */
  async list(after: string, max: number): Promise<Delayed[]> {
    const { prefix, writer, storage } = this.#options
    const { to } = rangeOf(prefix)
    const from = after === '' ? prefix : `${prefix}${after}\0`
    const limit = Math.min(max, LISTED_MAX)
    const found = await storage.scan({ shard: writer.shard, from, to, limit })
    const listed: Delayed[] = []
    let bytes = 0
    for (const { key, value } of found) {
      if (bytes >= REPLY_BYTES) break
      bytes += value.byteLength
      const place = { handle: key.slice(prefix.length), dueAtMs: dueOf(key, prefix) }
      listed.push({ ...place, record: recordOf(value) })
    }
    return listed
  }

  /** Stages the removal of all. */
  purge(): void {
    const { from, to } = rangeOf(this.#options.prefix)
    this.#options.writer.deleteRange(from, to)
    this.#window.clear()
    this.#windowBytes = 0
    this.#horizon = undefined
    this.#added?.clear()
    this.count = 0
  }

  /** Reads what comes after the window, until it is full or nothing is left. */
  async #fill(): Promise<void> {
    const { prefix, writer, storage } = this.#options
    const { to } = rangeOf(prefix)
    this.#added = new Map()
    // What left the window before it was stored would not be found.
    await this.#committed()
    while (this.#horizon !== undefined) {
      if (this.#window.size >= WINDOW_MAX || this.#windowBytes >= WINDOW_BYTES_MAX) break
      const from = this.#horizon
      const page = await storage.scan({ shard: writer.shard, from, to, limit: PAGE })
      // Moved meanwhile by what came before it, or all was purged: look again.
      if (this.#horizon !== from) continue
      for (const { key, value } of page) {
        this.#remember({ key, dueAtMs: dueOf(key, prefix), batch: value })
      }
      const last = page[page.length - 1]
      this.#horizon = page.length < PAGE || last === undefined ? undefined : `${last.key}\0`
    }
    for (const waiting of this.#added.values()) {
      if (this.#isInWindow(waiting.key)) this.#remember(waiting)
    }
    this.#added = undefined
    this.#shrink()
  }

  #committed(): Promise<void> {
    return new Promise((resolve) => this.#options.writer.onCommit(() => resolve()))
  }

  #isInWindow(key: string): boolean {
    return this.#horizon === undefined || key < this.#horizon
  }

  #remember(waiting: Waiting): void {
    if (this.#find(waiting.key) !== undefined) return
    this.#window.add(waiting)
    this.#windowBytes += waiting.batch.byteLength
  }

  #forget(waiting: Waiting): void {
    this.#window.delete(waiting)
    this.#added?.delete(waiting.key)
    this.#windowBytes -= waiting.batch.byteLength
  }

  /** What is due last leaves memory when there is too much of it. */
  #shrink(): void {
    while (this.#window.size > WINDOW_MAX || this.#windowBytes > WINDOW_BYTES_MAX) {
      const last = this.#window.at(this.#window.size - 1)
      if (last === undefined || this.#window.size === 1) return
      this.#forget(last)
      this.#horizon = last.key
      this.#added?.set(last.key, last)
    }
  }

  #find(key: string): Waiting | undefined {
    const probe = { key, dueAtMs: 0, batch: EMPTY }
    return this.#window.get(probe)
  }
}

const EMPTY = new Uint8Array(0)

/** Throws what the codec throws of damage. */
function recordOf(batch: Uint8Array): NewRecord {
  const [record] = decodeRecordBatch(batch)
  if (record === undefined) throw new Error('a delayed message has no record')
  return record
}

function dueOf(key: string, prefix: string): number {
  return Number(key.slice(prefix.length, prefix.length + 16))
}
