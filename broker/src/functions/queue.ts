/**
 * A queue as its owner serves it: many senders and receivers, leases, delays, order, dead letters, each by its own
 * block, composed here. It knows no protocol. What must survive the owner is in `QueueStore`.
 */
import type { NewRecord } from '@robust/storage-adapters'
import { Alarm } from '../core/alarm.ts'
import { BrokerError } from '../core/errors.ts'
import type { Clock } from '../core/ports/clock.ts'
import {
  HEADER,
  numberHeader,
  recordBytes,
  textHeader,
  withHeaders,
} from '../core/queues/headers.ts'
import type { AppendOutcome, QueueCounts } from '../core/queues/hosted-queues.ts'
import type {
  QueueFigures,
  QueueReply,
  QueueRequest,
  SendOutcome,
} from '../core/queues/queue-requests.ts'
import type { CommitOutcome } from '../core/shard-writer.ts'
import type { Consumer } from './consumers.ts'
import { deduplicationKey } from './deduplication.ts'
import { Departures, type Forward } from './departures.ts'
import { type Entry, type LeavingReason, newEntry } from './entry.ts'
import { expiresAtMs } from './expiry.ts'
import { admission, mustDropHead } from './limits.ts'
import { levelOf } from './priority.ts'
import { QueuePicker } from './queue-picker.ts'
import { peek, redrive } from './queue-queries.ts'
import { QueueStore, type QueueStoreOptions } from './queue-store.ts'
import { Receivers } from './receivers.ts'
import { Redrives } from './redrive.ts'
import { retryDelayMs } from './retry.ts'
import { settle } from './settling.ts'
import { type PreparedMessage, Transactions } from './transactions.ts'

export interface QueueOptions extends QueueStoreOptions {
  readonly name: string
  readonly clock: Clock
  readonly forward: Forward
  /** From 0 to 1. */
  readonly random: () => number
  /** Asks the sender of a half message what has become of it. */
  readonly check: (queue: string, prepared: PreparedMessage) => void
  readonly onError: (error: Error) => void
  readonly counts: QueueCounts
}

const DUE_MAX = 1_000

export class Queue {
  readonly name: string
  readonly id: number
  readonly store: QueueStore
  readonly receivers: Receivers
  readonly redrives: Redrives
  readonly counts: QueueCounts
  readonly #options: QueueOptions
  readonly #picker: QueuePicker
  readonly #transactions: Transactions
  readonly #departures: Departures
  readonly #alarm: Alarm
  #stopped = false
  #caring = false

  constructor(options: QueueOptions) {
    this.#options = options
    this.name = options.name
    this.id = options.id
    this.counts = options.counts
    this.store = new QueueStore(options)
    const { store } = this
    this.#transactions = new Transactions(store.keys.prepared)
    this.redrives = new Redrives(store.keys.redrives)
    this.#picker = new QueuePicker({
      store,
      dismiss: (entry, reason) => this.dismiss(entry, reason),
    })
    this.receivers = new Receivers({
      ...options,
      store,
      picker: this.#picker,
      onLease: (untilMs) => this.#alarm.set(untilMs),
    })
    this.#departures = new Departures({
      ...options,
      queue: options.name,
      store,
      redriveTo: () => this.redrives.to,
      onDone: (entry, outcome) => this.#departed(entry, outcome),
    })
    this.#alarm = new Alarm(options.clock, () => this.#due())
  }

  /** Rejects with a StorageError, and may be tried again. */
  async load(): Promise<void> {
    await this.store.load()
    await this.store.each(this.store.keys.prepared, (key, value) =>
      this.#transactions.restore(key, value),
    )
    const tasks: Uint8Array[] = []
    await this.store.each(this.store.keys.redrives, (_key, value) => tasks.push(value))
    this.redrives.restore(tasks.map((value) => JSON.parse(Buffer.from(value).toString())))
    this.#due()
  }

  /** Rejects with BrokerError: UNAVAILABLE when the shard is lost meanwhile, REFUSED. */
  async handle(request: QueueRequest, signal?: AbortSignal): Promise<QueueReply> {
    switch (request.kind) {
      case 'send':
        return { kind: 'sent', outcomes: await this.send(request.records) }
      case 'receive':
        return this.receivers.receive(request, signal)
      case 'settle':
        return { kind: 'settled', outcomes: await settle(this, request.settlements) }
      case 'peek':
        return { kind: 'peeked', messages: await peek(this.store, request) }
      case 'figures':
        return { kind: 'figures', figures: await this.figures() }
      case 'purge':
        await this.change(() => this.store.purge())
        return { kind: 'done', existed: true }
      case 'cancel':
        return { kind: 'done', existed: await this.#cancel(request.handle) }
      case 'delayed':
        return {
          kind: 'delayed',
          messages: await this.store.delay.list(request.after, request.max),
        }
      case 'prepare':
        await this.#prepare(request.transaction, request.record)
        return { kind: 'done', existed: true }
      case 'decide':
        return { kind: 'done', existed: await this.#decide(request.transaction, request.commit) }
      case 'redrive':
        return { kind: 'redrives', tasks: await redrive(this, request.redrive) }
      default:
        return request satisfies never
    }
  }

  /** All of them are stored together. */
  async send(records: readonly NewRecord[]): Promise<readonly SendOutcome[]> {
    const outcomes: SendOutcome[] = []
    await this.change(() => {
      for (const record of records) outcomes.push(this.#admit(record))
    })
    return outcomes
  }

  /** In the order of the calls; `done` runs when it is stored, or the shard is lost. */
  append(record: NewRecord, done: (outcome: AppendOutcome) => void): void {
    let isFull = false
    this.store.transact(
      () => {
        isFull = this.#admit(record).kind === 'full'
      },
      (outcome) => {
        done(isFull && outcome === 'committed' ? 'full' : outcome)
        this.wake()
      },
    )
  }

  /** Resolves when what `run` changes is stored. */
  async change(run: () => void): Promise<void> {
    const outcome = await new Promise<CommitOutcome>((resolve) => this.store.transact(run, resolve))
    this.wake()
    if (outcome === 'lost') throw new BrokerError('UNAVAILABLE', 'the queue has moved')
  }

  /** Something may be given out, or fall due, that could not before. */
  wake(): void {
    if (this.#stopped) return
    this.receivers.run()
    this.#departures.start()
    this.#arm()
  }

  /** Not to be given out any more. Within a transaction. */
  dismiss(entry: Entry, reason: Exclude<LeavingReason, 'redrive'>): void {
    const { policy } = this.store
    const keeps = reason !== 'expired' || policy.deadLetterExpired
    if (policy.deadLetterQueue !== undefined && keeps) {
      this.store.leave(entry, reason)
      this.counts.deadLettered++
    } else this.store.finish(entry)
    this.#options.clock.defer(() => this.wake())
  }

  /** A lease has ended without an acknowledgement. Within a transaction. */
  giveBack(entry: Entry, options: { delayMs: number | undefined; failed: boolean }): void {
    const { store } = this
    const { deliveriesMax, retry } = store.policy
    if (options.failed && deliveriesMax !== undefined && entry.deliveries >= deliveriesMax) {
      this.dismiss(entry, 'deliveries')
      return
    }
    const delayMs = options.delayMs ?? (options.failed ? retryDelayMs(retry, entry.deliveries) : 0)
    store.giveBack(entry, {
      untilMs: delayMs > 0 ? store.nowMs + delayMs : 0,
      failed: options.failed,
    })
  }

  /** What it had is given to others, when that is stored; what is its own goes with it. */
  async removeConsumer(
    consumer: Consumer,
    isItsOwn: (entry: Entry) => boolean = () => false,
  ): Promise<void> {
    this.receivers.consumers.remove(consumer)
    if (consumer.inFlight.size === 0) return
    await this.change(() => {
      for (const entry of consumer.inFlight) {
        if (entry.state !== 'leased' || entry.consumer !== consumer.id) continue
        if (isItsOwn(entry)) this.store.finish(entry)
        else this.giveBack(entry, { delayMs: 0, failed: true })
      }
      consumer.inFlight.clear()
    })
  }

  async figures(): Promise<QueueFigures> {
    const { store, receivers } = this
    const [oldest] = await peek(store, { max: 1, after: undefined })
    return {
      ready: store.ready,
      inFlight: store.leased,
      delayed: store.delayed,
      bytes: store.bytes,
      oldestAgeMs: oldest === undefined ? 0 : Math.max(0, store.nowMs - oldest.record.timestamp),
      consumers: receivers.consumers.size,
    }
  }

  /** What is to be done from time to time; called every second or so. */
  async care(): Promise<void> {
    if (this.#caring || this.#stopped) return
    this.#caring = true
    try {
      const { store } = this
      const forgotten = store.deduplication.forget(store.nowMs)
      if (forgotten !== undefined) store.transact(() => store.write(forgotten))
      await this.receivers.exclusively(() => this.#picker.sweep())
      await this.receivers.exclusively(() => this.#expireSome())
      await this.#dropHeads()
      await this.#keepStragglers()
      this.#checkTransactions()
      this.#redriveSome()
      this.wake()
    } finally {
      this.#caring = false
    }
  }

  /** There is something to do in `care` soon. */
  get isBusy(): boolean {
    const { store } = this
    return (
      store.ready + store.leased + store.delayed + store.leaving.size > 0 ||
      this.redrives.active !== undefined ||
      this.#transactions.size + store.deduplication.size + this.receivers.consumers.size > 0
    )
  }

  stop(): void {
    this.#stopped = true
    this.store.close()
    this.#alarm.stop()
    this.#departures.stop()
    this.receivers.stop()
  }

  /** Within a transaction. */
  #admit(record: NewRecord): SendOutcome {
    const { store } = this
    const { policy, nowMs } = store
    const key = deduplicationKey(policy, record)
    const before = key && store.deduplication.find(key.id, nowMs)
    if (before !== undefined) return { kind: 'duplicate', ...before }
    const bytes = recordBytes(record)
    const verdict = admission(policy, store, bytes)
    if (verdict === 'reject') return { kind: 'full' }
    const sequence = store.nextSequence()
    const own = textHeader(record, HEADER.messageId)
    const messageId = own ?? `${this.id}-${sequence}`
    if (key !== undefined) {
      store.write(store.deduplication.remember(key.id, { messageId, sequence }, nowMs + key.ms))
    }
    const isOrdered = policy.order === 'group'
    // Most messages are kept as they come, without a copy of their headers.
    const isComplete = own !== undefined && !isOrdered
    const stored = isComplete
      ? record
      : withHeaders(record, {
          [HEADER.messageId]: messageId,
          ...(isOrdered && { [HEADER.sequence]: String(sequence) }),
        })
    const handle = this.#store(stored, verdict === 'dead-letter')
    this.counts.sent++
    return { kind: 'stored', messageId, sequence, handle }
  }

  /** Returns what it can be cancelled by while it waits for its time. */
  #store(record: NewRecord, isOverflow: boolean): string {
    const { store } = this
    const { policy, nowMs } = store
    const dueAtMs = numberHeader(record, HEADER.deliverAt) ?? nowMs + policy.delayMs
    if (dueAtMs > nowMs && !isOverflow) return store.delay.add(record, dueAtMs)
    const level = levelOf(policy, numberHeader(record, HEADER.priority))
    const offset = store.append(record, level)
    const bytes = recordBytes(record)
    if (isOverflow) {
      const expires = expiresAtMs(record, policy)
      const entry = newEntry({ level, offset, group: '', bytes, expiresAtMs: expires })
      store.lane(level).addAhead(entry)
      this.dismiss(entry, 'overflow')
    }
    return ''
  }

  /** What has come to its end: leases, waits, delays. */
  #due(): void {
    const { store } = this
    const due = store.takeDue()
    const now = store.nowMs
    const delayedAtMs = store.delay.nextDueAtMs
    const hasDelayed = delayedAtMs !== undefined && delayedAtMs <= now
    if (due.length > 0 || hasDelayed) {
      store.transact(
        () => {
          for (const entry of due) {
            if (entry.state === 'waiting') store.endWait(entry)
            else this.giveBack(entry, { delayMs: undefined, failed: true })
          }
          for (const record of store.delay.takeDue(now, DUE_MAX)) {
            const level = levelOf(store.policy, numberHeader(record, HEADER.priority))
            store.appendDue(record, level)
          }
        },
        () => this.wake(),
      )
    }
    void store.delay.refill().then(
      () => this.#arm(),
      (error: unknown) => {
        this.#failed(error)
        this.#options.clock.after(1_000, () => this.#arm())
      },
    )
    this.wake()
  }

  #arm(): void {
    this.#alarm.set(this.store.nextDueAtMs)
  }

  async #cancel(handle: string): Promise<boolean> {
    const cancelled = await this.store.delay.cancel(handle)
    if (cancelled) await this.change(() => undefined)
    return cancelled
  }

  async #prepare(transaction: string, record: NewRecord): Promise<void> {
    await this.change(() => {
      const operation = this.#transactions.prepare(transaction, record, this.store.nowMs)
      if (operation !== undefined) this.store.write(operation)
    })
  }

  /** False: it is not prepared (any more): decided before, or given up. */
  async #decide(transaction: string, commit: boolean): Promise<boolean> {
    const decided = this.#transactions.decide(transaction)
    await this.change(() => {
      if (decided === undefined) return
      this.store.write(decided.operation)
      if (commit) this.#admit(decided.record)
    })
    return decided !== undefined
  }

  #checkTransactions(): void {
    if (this.#transactions.size === 0) return
    const { ask, giveUp, operations } = this.#transactions.due(this.store.nowMs)
    this.store.transact(() => {
      for (const operation of operations) this.store.write(operation)
    })
    for (const prepared of ask) this.#options.check(this.name, prepared)
    for (const transaction of giveUp) void this.#decide(transaction, false).catch(() => undefined)
  }

  /** Messages with an expiry of their own, wherever they are in the queue. */
  async #expireSome(): Promise<void> {
    const { store } = this
    await store.expiring.survey(store)
    for (const { level, offset } of store.expiring.due(store.nowMs)) {
      const lane = store.lane(level)
      const known = lane.entries.get(offset)
      if (known !== undefined) {
        const isIdle = known.state !== 'leased' && known.state !== 'leaving'
        if (isIdle) store.transact(() => this.dismiss(known, 'expired'))
        continue
      }
      if (offset < lane.next || offset >= lane.end || lane.gone.has(offset)) continue
      const record = await lane.record(offset)
      if (record === undefined || offset < lane.next || lane.entries.has(offset)) continue
      const place = { level, offset, group: '', bytes: recordBytes(record) }
      const entry = newEntry({ ...place, expiresAtMs: expiresAtMs(record, store.policy) })
      store.transact(() => {
        lane.addAhead(entry)
        this.dismiss(entry, 'expired')
      })
    }
  }

  async #dropHeads(): Promise<void> {
    const { store } = this
    const isOver = () => mustDropHead(store.policy, store)
    if (!isOver()) return
    await this.receivers.exclusively(async () => {
      while (isOver()) {
        const picked = await this.#picker.next({
          receiver: this,
          matches: undefined,
          group: undefined,
        })
        if (picked === undefined) return
        store.transact(() => this.dismiss(picked.entry, 'overflow'))
      }
    })
  }

  async #keepStragglers(): Promise<void> {
    for (const lane of this.store.lanes) {
      for (const entry of lane.stragglers()) {
        const record = await lane.record(entry.offset)
        if (record !== undefined) this.store.transact(() => lane.keep(entry, record))
      }
    }
  }

  #redriveSome(): void {
    const { store, redrives } = this
    if (redrives.active === undefined) return
    void this.receivers
      .exclusively(async () => {
        for (let left = redrives.allowed(store.nowMs); left > 0; left--) {
          const demand = { receiver: this, matches: undefined, group: undefined }
          const picked = await this.#picker.next(demand)
          if (picked === undefined) break
          redrives.began(1)
          store.transact(() => store.leave(picked.entry, 'redrive'))
        }
        const isMoving = [...store.leaving].some(({ reason }) => reason === 'redrive')
        if (isMoving || (redrives.isRunning && store.ready > 0)) return
        store.transact(() => this.#write(redrives.finish()))
      })
      .then(() => this.#departures.start())
      .catch((error: unknown) => this.#failed(error))
  }

  #departed(entry: Entry, outcome: 'moved' | 'dropped' | 'stayed'): void {
    if (entry.reason !== 'redrive' && outcome !== 'stayed') return
    if (outcome === 'moved') this.#write(this.redrives.moved())
    if (outcome === 'stayed') this.#write(this.redrives.finish('there is no queue to move to'))
  }

  #write(operations: readonly Parameters<QueueStore['write']>[0][]): void {
    for (const operation of operations) this.store.write(operation)
  }

  #failed(error: unknown): void {
    this.#options.onError(error instanceof Error ? error : new Error(String(error)))
  }
}
