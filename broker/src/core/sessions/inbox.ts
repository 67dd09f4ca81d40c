/**
 * The messages that wait for one durable session: a log, and how far its client has acknowledged it.
 * Offsets below `acknowledged` are done; above it, single offsets may be done or released (the client has
 * the message of an exactly-once delivery and owes the completion).
 *
 * Nothing is pushed before it is committed. Acknowledgements are committed a little later: a crash in
 * between redelivers, it never loses. A release is committed before its push is answered.
 */

import type { StorageAdapter } from '@robust/storage-adapters'
import { decodeRecordBatch } from '@robust/storage-adapters'
import {
  CURSOR_FLUSH_MS,
  INBOX_CACHED_MAX,
  INBOX_READ_BYTES,
  INBOX_TRIM_RECORDS,
  INFLIGHT_BYTES_MAX,
  INFLIGHT_SPAN_MAX,
  REPLY_BYTES,
  TOKENS_REMEMBERED_MAX,
} from '../limits.ts'
import { type Message, ownCopy } from '../message.ts'
import { OffsetRing } from '../offset-ring.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { Delivery } from '../ports/connections.ts'
import { fromRecord, type InboxEntry, toRecord } from '../record.ts'
import type { CommitOutcome, ShardWriter } from '../shard-writer.ts'
import { decodeJson, encodeJson } from '../stored.ts'
import { cursorKey, inboxLog } from './session-keys.ts'
import type { SessionLosses } from './session-losses.ts'

export interface InboxOptions {
  readonly session: string
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
  readonly clock: Clock
  /** Hands deliveries to the broker that has the socket. */
  readonly push: (deliveries: readonly Delivery[]) => void
  readonly losses: SessionLosses
  readonly onError: (error: Error) => void
}

interface StoredCursor {
  acknowledged: number
  done: number[]
  released: number[]
  sent: number
  /** Expired ones that are not told of yet. */
  expired?: number[]
}

const PUSH_MESSAGES_MAX = 256
/** Sent messages that the cache still holds. */
const CACHE_SENT_MAX = 128
const READ_RETRY_MS = 500
/** Expired messages that are told of at once. */
const TOLD_AT_ONCE_MAX = 256

export class Inbox {
  readonly #options: InboxOptions
  readonly #log: string
  #acknowledged = 0
  readonly #done = new Set<number>()
  readonly #released = new Set<number>()
  /** Expired before any connection was sent them, and not told of yet; they are done when they are. */
  readonly #expired = new Set<number>()
  readonly #tellingOf = new Set<number>()
  /** Next offset for the present connection. */
  #next = 0
  /** One past the highest offset that any connection was sent. */
  #sent = 0
  /** One past the last committed offset. */
  #committed = 0
  #staged = 0
  #trimmed = 0
  #inFlight = 0
  /** Bytes of messages that are in flight, by offset. */
  readonly #sizes = new OffsetRing()
  #bytesInFlight = 0
  #window = 0
  #ready = false
  /** Grows with each attach and detach: what was begun for an earlier connection is dropped. */
  #generation = 0
  #reading = false
  #isPumpDue = false
  #stopped = false
  #cache: InboxEntry[] = []
  /** Of it, how many were sent. */
  #cacheFrom = 0
  #flush: Timer | undefined
  readonly #tokens = new Set<string>()

  constructor(options: InboxOptions) {
    this.#options = options
    this.#log = inboxLog(options.session)
    this.#committed = options.writer.endOf(this.#log)
  }

  /** Records that are not acknowledged. */
  get depth(): number {
    return this.#committed - this.#acknowledged - this.#done.size
  }

  restore(value: Uint8Array): void {
    const cursor = decodeJson<StoredCursor>(value)
    this.#acknowledged = cursor.acknowledged
    this.#trimmed = Math.max(0, cursor.acknowledged - TOKENS_REMEMBERED_MAX)
    this.#next = cursor.acknowledged
    this.#sent = cursor.sent
    for (const offset of cursor.done) this.#done.add(offset)
    for (const offset of cursor.released) this.#released.add(offset)
    for (const offset of cursor.expired ?? []) this.#expired.add(offset)
  }

  /**
   * Reads the tokens of the records that are kept, acknowledged ones included: a publisher may still send
   * such a message again.
   */
  async recoverTokens(): Promise<void> {
    const { storage, writer } = this.#options
    let fromOffset = this.#trimmed
    while (fromOffset < this.#committed) {
      const request = {
        shard: writer.shard,
        log: this.#log,
        fromOffset,
        bytesMax: INBOX_READ_BYTES,
      }
      const { batches, startOffset } = await storage.read(request)
      this.#trimmed = Math.max(this.#trimmed, startOffset)
      if (batches.length === 0) return
      for (const record of batches.flatMap((batch) => decodeRecordBatch(batch))) {
        const { token } = fromRecord(record).message
        if (token !== '') this.#remember(token)
        fromOffset = Math.max(fromOffset, record.offset + 1)
      }
    }
  }

  /** Offsets whose release is owed to the client. */
  released(): number[] {
    return [...this.#released]
  }

  /** Of messages that came when there was no room, those that are owed a dead letter. */
  append(message: Message, identifiers: readonly number[]): Promise<void> | undefined {
    const { writer, losses, session } = this.#options
    if (message.token !== '' && this.#tokens.has(message.token)) return undefined
    if (this.depth + this.#staged >= losses.messagesMax()) {
      return losses.lost(message, { reason: 'inbox-full', session })
    }
    if (message.token !== '') this.#remember(message.token)
    this.#staged++
    const offset = writer.append(this.#log, toRecord(message, identifiers))
    if (this.#ready && this.#cached < INBOX_CACHED_MAX && this.#joins(offset)) {
      this.#cache.push({ offset, message: ownCopy(message), identifiers })
    }
    writer.onCommit((outcome) => {
      this.#staged--
      if (outcome === 'lost') return
      if (offset >= this.#committed) this.#committed = offset + 1
      this.#pumpSoon()
    })
    return undefined
  }

  /** Tells of every message that its client is not done with; resolves when all are told of. Nothing may come. */
  async loseAll(): Promise<void> {
    const { losses, session, writer } = this.#options
    let fromOffset = this.#acknowledged
    while (!this.#stopped && fromOffset < writer.endOf(this.#log)) {
      await new Promise<void>((resolve) => writer.onCommit(() => resolve()))
      const entries = await this.#entriesSurely(fromOffset)
      fromOffset = (entries.at(-1)?.offset ?? writer.endOf(this.#log) - 1) + 1
      const owed = entries
        .filter(({ offset }) => !this.#done.has(offset) && !this.#released.has(offset))
        .map(({ message }) => {
          const reason = this.#isExpired(message) ? 'expired' : 'session-ended'
          return losses.lost(message, { reason, session })
        })
      await Promise.all(owed)
    }
  }

  async #entriesSurely(fromOffset: number): Promise<InboxEntry[]> {
    const { onError, clock } = this.#options
    while (!this.#stopped) {
      try {
        return await this.#entries(fromOffset)
      } catch (error) {
        onError(error instanceof Error ? error : new Error(String(error)))
        await new Promise<void>((resolve) => clock.after(READ_RETRY_MS, resolve))
      }
    }
    return []
  }

  attach(window: number): void {
    this.#generation++
    this.#ready = false
    this.#window = window
    this.#next = this.#acknowledged
    this.#inFlight = this.#released.size
    this.#sizes.clear()
    this.#bytesInFlight = 0
    this.#setCache([])
  }

  /** The connection has been told about the session and takes messages from now on. */
  start(): void {
    this.#ready = true
    const owed = [...this.#released].map((offset) => releaseOf(offset))
    if (owed.length > 0) this.#options.push(owed)
    this.#pump()
  }

  detach(): void {
    this.#generation++
    this.#ready = false
    this.#setCache([])
  }

  /** The client is done with these offsets. Unknown and repeated ones are ignored. */
  acknowledge(offsets: readonly number[]): void {
    let changed = false
    for (const offset of offsets) {
      if (offset < this.#acknowledged || offset >= this.#committed || this.#done.has(offset))
        continue
      const counted = offset < this.#next || this.#released.has(offset)
      // In order, as nearly always: it need not be noted.
      if (offset === this.#acknowledged) this.#acknowledged++
      else this.#done.add(offset)
      if (this.#released.size > 0) this.#released.delete(offset)
      if (counted) this.#inFlight--
      this.#landed(offset)
      changed = true
    }
    if (!changed) return
    this.#passDone()
    this.#scheduleFlush()
    this.#pump()
  }

  /** The client has the message of an exactly-once delivery; resolves when that is durable. */
  release(offset: number): Promise<CommitOutcome> {
    if (offset >= this.#acknowledged && offset < this.#committed && !this.#done.has(offset)) {
      this.#released.add(offset)
      // The client has it; only the release is owed.
      this.#landed(offset)
      this.#writeCursor()
    }
    return new Promise((resolve) => this.#options.writer.onCommit(resolve))
  }

  /** Stages the removal of everything. */
  drop(): void {
    this.detach()
    this.#flush?.cancel()
    this.#options.writer.dropLog(this.#log)
    this.#options.writer.delete(cursorKey(this.#options.session))
  }

  stop(): void {
    this.#stopped = true
    this.detach()
    this.#flush?.cancel()
  }

  /** Stages the cursor now, for an orderly hand-over. */
  flush(): void {
    if (this.#flush === undefined) return
    this.#flush.cancel()
    this.#flush = undefined
    this.#writeCursor()
  }

  get #cached(): number {
    return this.#cache.length - this.#cacheFrom
  }

  get #cacheFirst(): InboxEntry | undefined {
    return this.#cache[this.#cacheFrom]
  }

  #dropCacheFirst(): void {
    this.#cacheFrom++
    // What was sent is let go of: all at once, or in pieces while more comes.
    if (this.#cacheFrom === this.#cache.length) this.#setCache([])
    else if (this.#cacheFrom >= CACHE_SENT_MAX) this.#setCache(this.#cache.slice(this.#cacheFrom))
  }

  #setCache(entries: InboxEntry[]): void {
    this.#cache = entries
    this.#cacheFrom = 0
  }

  #joins(offset: number): boolean {
    const last = this.#cached > 0 ? this.#cache[this.#cache.length - 1] : undefined
    return last === undefined ? offset === this.#next : last.offset === offset - 1
  }

  #remember(token: string): boolean {
    if (this.#tokens.has(token)) return false
    this.#tokens.add(token)
    if (this.#tokens.size > TOKENS_REMEMBERED_MAX) {
      for (const oldest of this.#tokens) {
        this.#tokens.delete(oldest)
        break
      }
    }
    return true
  }

  /** Once for everything that is committed together. */
  #pumpSoon(): void {
    if (this.#isPumpDue) return
    this.#isPumpDue = true
    this.#options.clock.defer(() => {
      this.#isPumpDue = false
      this.#pump()
    })
  }

  #pump(): void {
    if (!this.#ready || this.#reading) return
    const deliveries: Delivery[] = []
    let bytes = 0
    while (this.#mayPush(deliveries.length) && bytes < REPLY_BYTES) {
      const offset = this.#next
      if (this.#done.has(offset) || this.#released.has(offset)) {
        this.#next++
        if (this.#cacheFirst?.offset === offset) this.#dropCacheFirst()
        continue
      }
      const entry = this.#cacheFirst
      if (entry === undefined || entry.offset !== offset) {
        this.#setCache([])
        void this.#read(offset)
        break
      }
      this.#dropCacheFirst()
      this.#next++
      const redelivered = offset < this.#sent && !this.#expired.has(offset)
      if (!redelivered) this.#sent = Math.max(this.#sent, this.#next)
      // What was begun is brought to its end: the client may hold the packet id. [MQTT-3.3.2-5]
      if (!redelivered && this.#isExpired(entry.message)) {
        this.#expire(entry)
        continue
      }
      this.#inFlight++
      const size = entry.message.payload.byteLength
      this.#sizes.set(offset, size)
      this.#bytesInFlight += size
      bytes += size
      const { message, identifiers } = entry
      deliveries.push({ offset, message, identifiers, redelivered, released: false })
    }
    this.#passDone()
    if (deliveries.length === 0) return
    this.#options.push(deliveries)
    if (this.#mayPush(0)) this.#pumpSoon()
  }

  #passDone(): void {
    while (this.#done.size > 0 && this.#done.delete(this.#acknowledged)) this.#acknowledged++
  }

  #landed(offset: number): void {
    this.#bytesInFlight -= this.#sizes.delete(offset) ?? 0
  }

  #mayPush(count: number): boolean {
    return (
      this.#next < this.#committed &&
      this.#inFlight < this.#window &&
      this.#bytesInFlight < INFLIGHT_BYTES_MAX &&
      this.#next - this.#acknowledged < INFLIGHT_SPAN_MAX &&
      this.#tellingOf.size < TOLD_AT_ONCE_MAX &&
      count < PUSH_MESSAGES_MAX
    )
  }

  /** Done when it is told of, so that an owner that dies before leaves it to the next one. */
  #expire({ offset, message }: InboxEntry): void {
    const { losses, session } = this.#options
    this.#expired.add(offset)
    if (this.#tellingOf.has(offset)) return
    const owed = losses.lost(message, { reason: 'expired', session })
    const done = (): void => {
      this.#expired.delete(offset)
      this.#tellingOf.delete(offset)
      if (offset < this.#acknowledged) return
      this.#done.add(offset)
      this.#passDone()
      this.#scheduleFlush()
    }
    if (owed === undefined) {
      done()
      return
    }
    this.#tellingOf.add(offset)
    const told = (): void => {
      if (this.#stopped) return
      done()
      this.#pump()
    }
    owed.then(told, this.#options.onError)
  }

  #isExpired(message: Message): boolean {
    return message.expiresAtMs !== 0 && message.expiresAtMs <= this.#options.clock.wallMs()
  }

  async #read(offset: number): Promise<void> {
    const { onError, clock } = this.#options
    const generation = this.#generation
    this.#reading = true
    try {
      const entries = await this.#entries(offset)
      if (generation === this.#generation) {
        const first = entries[0]?.offset ?? this.#next
        if (first > this.#next) this.#next = first
        this.#setCache(entries.filter((entry) => entry.offset >= this.#next))
      }
    } catch (error) {
      onError(error instanceof Error ? error : new Error(String(error)))
      // Storage is away: try again, for whichever connection there is then.
      clock.after(READ_RETRY_MS, () => this.#pump())
      this.#reading = false
      return
    }
    this.#reading = false
    if (this.#cacheFirst !== undefined || generation !== this.#generation) this.#pump()
  }

  async #entries(fromOffset: number): Promise<InboxEntry[]> {
    const { storage, writer } = this.#options
    const request = { shard: writer.shard, log: this.#log, fromOffset, bytesMax: INBOX_READ_BYTES }
    const { batches } = await storage.read(request)
    return batches
      .flatMap((batch) => decodeRecordBatch(batch))
      .filter((record) => record.offset >= fromOffset)
      .map((record) => fromRecord(record))
  }

  #scheduleFlush(): void {
    if (this.#flush !== undefined) return
    this.#flush = this.#options.clock.after(CURSOR_FLUSH_MS, () => {
      this.#flush = undefined
      this.#writeCursor()
    })
  }

  #writeCursor(): void {
    const { writer, session } = this.#options
    const cursor: StoredCursor = {
      acknowledged: this.#acknowledged,
      done: [...this.#done],
      released: [...this.#released],
      sent: this.#sent,
      ...(this.#expired.size > 0 && { expired: [...this.#expired] }),
    }
    writer.put(cursorKey(session), encodeJson(cursor))
    this.#trim()
  }

  /** Exactly-once messages stay a while after their acknowledgement, for the sake of their tokens. */
  #trim(): void {
    const { writer } = this.#options
    const kept = this.#tokens.size > 0 ? TOKENS_REMEMBERED_MAX : 0
    const before = this.#acknowledged - kept
    const empty = kept === 0 && this.#acknowledged === writer.endOf(this.#log)
    if (before - this.#trimmed >= INBOX_TRIM_RECORDS || (empty && before > this.#trimmed)) {
      this.#trimmed = before
      writer.trim(this.#log, before)
    }
  }
}

function releaseOf(offset: number): Delivery {
  return { offset, message: RELEASED, identifiers: [], redelivered: true, released: true }
}

const NO_BYTES = new Uint8Array(0)

const RELEASED: Message = {
  address: '',
  guarantee: 2,
  retain: false,
  payload: NO_BYTES,
  dialect: '',
  properties: NO_BYTES,
  timestampMs: 0,
  expiresAtMs: 0,
  publisher: '',
  token: '',
}
