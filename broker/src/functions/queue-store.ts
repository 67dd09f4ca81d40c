/**
 * What a queue holds, on its shard and in memory: its lanes, what waits, what was seen. Every change of it is
 * made here, in a transaction of the shard's writer, so that the next owner finds all of a change or nothing.
 */
import type { NewRecord, Operation, StorageAdapter } from '@robust/storage-adapters'
import { DueHeap } from '../core/due-heap.ts'
import type { Clock } from '../core/ports/clock.ts'
import { HEADER, recordBytes, textHeader } from '../core/queues/headers.ts'
import type { QueuePolicy } from '../core/queues/queue-policy.ts'
import type { Lease } from '../core/queues/receipt.ts'
import type { CommitOutcome, ShardWriter } from '../core/shard-writer.ts'
import { decodeJson, encodeJson, scanAll } from '../core/stored.ts'
import { Deduplication } from './deduplication.ts'
import { Delay } from './delay.ts'
import { compareEntries, decodeEntry, type Entry, type LeavingReason, newEntry } from './entry.ts'
import { Expiring, expiresAtMs } from './expiry.ts'
import { Fairness } from './fairness.ts'
import { Lane } from './lane.ts'
import { Ordering } from './ordering.ts'
import { placeOf, QueueKeys, rangeOf } from './queue-keys.ts'

export interface QueueStoreOptions {
  /** Of the queue's creation. */
  readonly id: number
  /** Of its keys and logs. */
  readonly prefix: string
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
  readonly clock: Clock
  readonly policy: () => QueuePolicy
}

interface StoredState {
  /** Level and how far it was looked through. */
  readonly lanes: readonly (readonly [level: number, next: number])[]
  readonly bytes: number
  readonly delayed: number
  readonly sequence: number
  /** Some messages had an expiry of their own. */
  readonly expiring: boolean
}

export interface LeaseTerms {
  readonly lease: Lease
  /** Infinity: while the consumer is there. */
  readonly untilMs: number
  readonly consumer: string | undefined
  /** Has several messages of an ordered group at once. */
  readonly receiver: object
  /** Stored before the message is given out, so that it holds whatever becomes of this owner. */
  readonly isDurable: boolean
}

export class QueueStore {
  readonly keys: QueueKeys
  readonly ordering = new Ordering()
  readonly fairness = new Fairness()
  readonly deduplication: Deduplication
  readonly delay: Delay
  readonly expiring = new Expiring()
  /** Messages on their way to other queues. */
  readonly leaving = new Set<Entry>()
  readonly #options: QueueStoreOptions
  /** Highest priority first. */
  readonly #lanes: Lane[] = []
  /** Ends of leases and of waits. */
  readonly #due = new DueHeap<Entry>()
  #bytes = 0
  #leased = 0
  #waiting = 0
  #parked = 0
  #staged = 0
  #sequence = 0
  #closed = false
  #discarded = false

  constructor(options: QueueStoreOptions) {
    this.#options = options
    const { writer, storage } = options
    this.keys = new QueueKeys(options.prefix)
    this.deduplication = new Deduplication(this.keys.deduplication)
    this.delay = new Delay({ prefix: this.keys.delayed, writer, storage })
  }

  /** Rejects with a StorageError. */
  async load(): Promise<void> {
    const { storage, writer } = this.#options
    const value = await storage.get(writer.shard, this.keys.state)
    const state: StoredState = value === undefined ? EMPTY : decodeJson(value)
    this.#bytes = state.bytes
    this.#sequence = state.sequence
    const entries = new Map<number, Entry[]>()
    for await (const { key, value: stored } of this.#scan(this.keys.entries)) {
      const place = placeOf(key, this.keys.entries)
      listOf(entries, place.level).push(decodeEntry(place, stored))
    }
    for await (const { key } of this.#scan(this.keys.kept)) {
      const { level, offset } = placeOf(key, this.keys.kept)
      const entry = entries.get(level)?.find((each) => each.offset === offset)
      if (entry !== undefined) entry.kept = true
    }
    const gone = new Map<number, number[]>()
    for await (const { key } of this.#scan(this.keys.gone)) {
      const { level, offset } = placeOf(key, this.keys.gone)
      listOf(gone, level).push(offset)
    }
    for await (const { key, value: seen } of this.#scan(this.keys.deduplication)) {
      this.deduplication.restore(key, seen)
    }
    for (const [level, next] of state.lanes) {
      this.lane(level).restore(next, entries.get(level) ?? [], gone.get(level) ?? [])
    }
    await this.delay.load(state.delayed)
    this.expiring.resume(state.expiring, this.#lanes)
    this.#resume()
  }

  /** Every key with the prefix. Rejects with a StorageError. */
  async each(prefix: string, visit: (key: string, value: Uint8Array) => void): Promise<void> {
    for await (const { key, value } of this.#scan(prefix)) visit(key, value)
  }

  /** Of a block that keeps keys of its own. Within a transaction. */
  write(operation: Operation): void {
    const { writer } = this.#options
    if (operation.kind === 'put') writer.put(operation.key, operation.value)
    else if (operation.kind === 'delete') writer.delete(operation.key)
    else if (operation.kind === 'delete-range') writer.deleteRange(operation.from, operation.to)
    else throw new Error(`a block does not write ${operation.kind}`)
  }

  #scan(prefix: string) {
    const { storage, writer } = this.#options
    return scanAll(storage, writer.shard, rangeOf(prefix))
  }

  /** Puts every entry where its state says. */
  #resume(): void {
    const all = this.#lanes.flatMap((lane) => [...lane.entries.values()]).sort(compareEntries)
    const { order } = this.policy
    for (const entry of all) {
      if (entry.state === 'leaving') {
        this.leaving.add(entry)
        continue
      }
      if (order === 'group' && entry.group !== '') this.ordering.enter(entry)
      if (entry.state === 'leased') {
        this.#leased++
        this.fairness.taken(entry.group)
      } else if (entry.state === 'waiting') this.#waiting++
      if (entry.state !== 'ready') this.#due.push(entry.untilMs, entry)
    }
    for (const entry of all) {
      if (entry.state !== 'ready') continue
      const mayGo = order !== 'group' || this.ordering.mayGo(entry)
      this.#place(entry, mayGo ? 'ready' : 'parked')
    }
  }

  get policy(): QueuePolicy {
    return this.#options.policy()
  }

  get nowMs(): number {
    return this.#options.clock.wallMs()
  }

  get lanes(): readonly Lane[] {
    return this.#lanes
  }

  get leased(): number {
    return this.#leased
  }

  get bytes(): number {
    return this.#bytes
  }

  /** Messages that are to be given out, now or when others of their group are done. */
  get ready(): number {
    let count = this.#parked
    for (const lane of this.#lanes) count += lane.unseen + lane.ready.size
    return count
  }

  /** Those that are not stored yet included. */
  get length(): number {
    return this.ready + this.#staged
  }

  /** Not yet due, and put off after a failure. */
  get delayed(): number {
    return this.delay.count + this.#waiting
  }

  /** Messages that were looked at and wait for their group. */
  get parked(): number {
    return this.#parked
  }

  /** When something falls due next: a lease, a wait or a delayed message. */
  get nextDueAtMs(): number | undefined {
    const [a, b] = [this.#due.earliest, this.delay.nextDueAtMs]
    if (a === undefined || b === undefined) return a ?? b
    return Math.min(a, b)
  }

  lane(level: number): Lane {
    const known = this.#lanes.find((lane) => lane.level === level)
    if (known !== undefined) return known
    const { writer, storage } = this.#options
    const lane = new Lane({ level, keys: this.keys, writer, storage })
    this.#lanes.push(lane)
    this.#lanes.sort((a, b) => b.level - a.level)
    return lane
  }

  /** Whoever has the queue still changes nothing any more: it may be gone, and another one in its place. */
  close(): void {
    this.#closed = true
  }

  /** What it has is about to be removed: nothing of it is stored any more. */
  discard(): void {
    this.#closed = true
    this.#discarded = true
  }

  /** All that `change` does is stored together. `done` runs when it is, or when the shard is lost. */
  transact(change: () => void, done?: (outcome: CommitOutcome) => void): void {
    const { writer } = this.#options
    if (this.#closed) {
      done?.('lost')
      return
    }
    writer.transact(() => {
      writer.late(this, () => this.#flush())
      change()
    })
    if (done !== undefined) writer.onCommit(done)
  }

  #flush(): Operation[] {
    if (this.#discarded) return []
    // Of what an owner before gave out the sizes are not always known.
    if (this.length + this.#leased + this.delayed + this.leaving.size === 0) this.#bytes = 0
    const operations = this.#lanes.flatMap((lane) => lane.flush())
    const state: StoredState = {
      lanes: this.#lanes.map(({ level, storedNext }) => [level, storedNext] as const),
      bytes: this.#bytes,
      delayed: this.delay.count,
      sequence: this.#sequence,
      expiring: this.expiring.isUsed,
    }
    operations.push({ kind: 'put', key: this.keys.state, value: encodeJson(state) })
    return operations
  }

  nextSequence(): number {
    return ++this.#sequence
  }

  /** Within a transaction. It is seen from the commit on. */
  append(record: NewRecord, level: number): number {
    const offset = this.#append(record, level)
    this.#staged++
    this.#options.writer.onCommit((outcome) => {
      this.#staged--
      if (outcome === 'committed') this.lane(level).stored(offset)
    })
    return offset
  }

  /**
   * Of a message whose time has come. Within a transaction. It is stored where it waited, and so may be leased in the
   * commit that moves it: nobody is told of it before.
   */
  appendDue(record: NewRecord, level: number): void {
    const offset = this.#append(record, level)
    const isOffered = this.lane(level).offer(offset)
    if (!isOffered) this.#staged++
    this.#options.writer.onCommit((outcome) => {
      if (!isOffered) this.#staged--
      if (outcome === 'committed') this.lane(level).stored(offset)
    })
  }

  #append(record: NewRecord, level: number): number {
    const offset = this.lane(level).append(record)
    this.#bytes += recordBytes(record)
    this.expiring.note(record, { level, offset })
    return offset
  }

  /** The message at the lane's `next` has been looked at. */
  enter(lane: Lane, record: NewRecord): Entry {
    const { policy } = this
    const entry = newEntry({
      level: lane.level,
      offset: lane.next,
      group: textHeader(record, HEADER.group) ?? '',
      bytes: recordBytes(record),
      expiresAtMs: expiresAtMs(record, policy),
    })
    lane.advance(entry)
    if (policy.order === 'group' && entry.group !== '') this.ordering.enter(entry)
    return entry
  }

  /** It is not given out now. */
  park(entry: Entry): void {
    this.#place(entry, 'parked')
  }

  makeReady(entry: Entry): void {
    this.#place(entry, 'ready')
  }

  /** Given out, for the time of the terms. Within a transaction when the lease is durable. */
  lease(entry: Entry, terms: LeaseTerms): void {
    this.#place(entry, 'leased')
    entry.deliveries++
    if (entry.firstDeliveredAtMs === 0) entry.firstDeliveredAtMs = this.nowMs
    entry.lease = terms.lease
    entry.consumer = terms.consumer
    entry.untilMs = terms.untilMs
    this.ordering.taken(entry, terms.receiver)
    this.fairness.taken(entry.group)
    if (terms.untilMs < Infinity) this.#due.push(terms.untilMs, entry)
    if (terms.isDurable) this.lane(entry.level).change(entry)
  }

  /** Within a transaction. */
  extend(entry: Entry, untilMs: number): void {
    entry.untilMs = untilMs
    this.#due.push(untilMs, entry)
    this.lane(entry.level).change(entry)
  }

  /** The lease has ended without an acknowledgement. `untilMs` 0: to be given out again at once. Within a transaction. */
  giveBack(entry: Entry, options: { readonly untilMs: number; readonly failed: boolean }): void {
    this.#endLease(entry)
    if (!options.failed) entry.deliveries--
    entry.untilMs = options.untilMs
    if (options.untilMs > this.nowMs) {
      this.#place(entry, 'waiting')
      this.#due.push(options.untilMs, entry)
    } else {
      this.#place(entry, 'parked')
    }
    this.lane(entry.level).change(entry)
    const next = this.ordering.returned(entry)
    if (next !== undefined) this.makeReady(next)
    else if (entry.state === 'parked' && this.ordering.mayGo(entry)) this.makeReady(entry)
  }

  /** Done with. Within a transaction. */
  finish(entry: Entry): void {
    this.#part(entry)
    this.leaving.delete(entry)
    this.#bytes -= entry.bytes
    this.lane(entry.level).remove(entry)
  }

  /** On its way to another queue; nobody here gets it any more. Within a transaction. */
  leave(entry: Entry, reason: LeavingReason): void {
    this.#part(entry)
    entry.state = 'leaving'
    entry.reason = reason
    this.leaving.add(entry)
    this.lane(entry.level).change(entry)
  }

  /** Could not leave: back to the others. Within a transaction. */
  stay(entry: Entry): void {
    this.leaving.delete(entry)
    entry.reason = undefined
    entry.state = 'ready'
    if (this.policy.order === 'group' && entry.group !== '') this.ordering.enter(entry)
    this.#place(entry, this.ordering.mayGo(entry) ? 'ready' : 'parked')
    this.lane(entry.level).change(entry)
  }

  /** Everything but what is leaving. Within a transaction. */
  purge(): void {
    for (const lane of this.#lanes) lane.purge()
    if (this.delay.count > 0) this.delay.purge()
    this.ordering.clear()
    this.fairness.clear()
    this.#due.clear()
    this.#bytes = [...this.leaving].reduce((sum, { bytes }) => sum + bytes, 0)
    this.#leased = 0
    this.#waiting = 0
    this.#parked = 0
  }

  /** Leases and waits that have ended now. */
  takeDue(): Entry[] {
    const due: Entry[] = []
    const now = this.nowMs
    for (let entry = this.#due.pop(now); entry !== undefined; entry = this.#due.pop(now)) {
      const isCurrent = entry.state === 'leased' || entry.state === 'waiting'
      // What was extended or given again has another place in the heap.
      if (isCurrent && entry.untilMs <= now && this.isHere(entry)) due.push(entry)
    }
    return due
  }

  /** A wait is over. */
  endWait(entry: Entry): void {
    this.#place(entry, 'parked')
    if (this.ordering.mayGo(entry)) this.makeReady(entry)
  }

  isHere(entry: Entry): boolean {
    return this.lane(entry.level).entries.get(entry.offset) === entry
  }

  /** Takes it out of its state and of its group. */
  #part(entry: Entry): void {
    const wasLeased = entry.state === 'leased'
    if (wasLeased) this.#endLease(entry)
    this.#place(entry, 'leaving')
    const next = this.ordering.left(entry, wasLeased)
    if (next !== undefined) this.makeReady(next)
  }

  #endLease(entry: Entry): void {
    this.fairness.returned(entry.group)
    entry.consumer = undefined
  }

  #place(entry: Entry, state: Entry['state']): void {
    const lane = this.lane(entry.level)
    if (entry.state === 'leased' && state !== 'leased') this.#leased--
    if (entry.state === 'waiting' && state !== 'waiting') this.#waiting--
    if (entry.state === 'parked' && state !== 'parked') this.#parked--
    if (state !== 'ready') lane.ready.delete(entry)
    if (state === 'leased' && entry.state !== 'leased') this.#leased++
    if (state === 'waiting' && entry.state !== 'waiting') this.#waiting++
    if (state === 'parked' && entry.state !== 'parked') this.#parked++
    if (state === 'ready') lane.ready.add(entry)
    entry.state = state
  }
}

const EMPTY: StoredState = { lanes: [], bytes: 0, delayed: 0, sequence: 0, expiring: false }

function listOf<T>(lists: Map<number, T[]>, key: number): T[] {
  let list = lists.get(key)
  if (list === undefined) {
    list = []
    lists.set(key, list)
  }
  return list
}
