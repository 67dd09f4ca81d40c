/**
 * Gives messages to those who want some: receivers that ask once and may wait, and consumers that are pushed to. One
 * message is looked for at a time, so that nothing is given twice.
 */
import type { NewRecord } from '@robust/storage-adapters'
import { BrokerError } from '../core/errors.ts'
import { REPLY_BYTES } from '../core/limits.ts'
import type { Clock, Timer } from '../core/ports/clock.ts'
import { HEADER, numberHeader, recordBytes } from '../core/queues/headers.ts'
import type { QueueCounts } from '../core/queues/hosted-queues.ts'
import type { QueueReply, Received, ReceiveOptions } from '../core/queues/queue-requests.ts'
import type { ShardWriter } from '../core/shard-writer.ts'
import { Attempts, type Given } from './attempts.ts'
import { type Consumer, type ConsumerOptions, Consumers } from './consumers.ts'
import type { Entry } from './entry.ts'
import type { Demand, Picked, QueuePicker } from './queue-picker.ts'
import type { QueueStore } from './queue-store.ts'
import { recordMatcher } from './selection.ts'

export interface ReceiversOptions {
  readonly id: number
  readonly name: string
  readonly store: QueueStore
  readonly picker: QueuePicker
  readonly writer: ShardWriter
  readonly clock: Clock
  readonly random: () => number
  readonly onError: (error: Error) => void
  readonly counts: Pick<QueueCounts, 'received'>
  /** A lease was given that ends then; wall clock, ms. */
  readonly onLease: (untilMs: number) => void
}

interface Receiver {
  readonly options: ReceiveOptions
  readonly matches: Demand['matches']
  readonly answer: (reply: QueueReply | Error) => void
  /** It is answered after the next look, with what there is. */
  isLast: boolean
}

export class Receivers {
  readonly consumers: Consumers
  readonly #options: ReceiversOptions
  /** The first to come is the first to get; those with a selector apart, since each may want something else. */
  readonly #waiting = new Set<Receiver>()
  readonly #selective = new Set<Receiver>()
  /** Of those that wait: whose time is over. */
  readonly #ending = new Set<Receiver>()
  readonly #byAttempt = new Map<string, Receiver>()
  readonly #attempts: Attempts
  #turn: Promise<unknown> = Promise.resolve()
  #running = false
  #again = false
  #leases = 0
  #stopped = false

  constructor(options: ReceiversOptions) {
    this.#options = options
    this.consumers = new Consumers(options.random)
    this.#attempts = new Attempts(() => options.store.nowMs)
  }

  /**
   * Rejects with SelectorError, and with BrokerError UNAVAILABLE when the shard is lost. `signal`: who wants them has
   * gone; answered without messages.
   */
  receive(options: ReceiveOptions, signal?: AbortSignal): Promise<QueueReply> {
    const { store } = this.#options
    const { attempt } = options
    const again = attempt === undefined ? undefined : this.#attempts.find(attempt)
    if (again !== undefined) return this.#whenStored(again)
    if (store.leased >= store.policy.inFlightMax) {
      return Promise.resolve({ kind: 'received', messages: [], overLimit: true })
    }
    if (signal?.aborted === true) return Promise.resolve(NOTHING)
    if (this.#stopped) return Promise.reject(moved())
    return new Promise((resolve, reject) => {
      const matches = options.selector === undefined ? undefined : recordMatcher(options.selector)
      this.#wait({ options, matches, signal, resolve, reject })
    })
  }

  #wait({ options, matches, signal, resolve, reject }: Waiting): void {
    const { attempt, waitMs } = options
    const giveUp = (): void => this.#giveUp(receiver)
    const receiver: Receiver = {
      options,
      matches,
      answer: (reply) => {
        timer?.cancel()
        signal?.removeEventListener('abort', giveUp)
        if (reply instanceof Error) reject(reply)
        else resolve(reply)
      },
      isLast: waitMs <= 0,
    }
    let timer: Timer | undefined
    if (!receiver.isLast) {
      timer = this.#options.clock.after(waitMs, () => {
        receiver.isLast = true
        this.#ending.add(receiver)
        this.run()
      })
    } else this.#ending.add(receiver)
    signal?.addEventListener('abort', giveUp, { once: true })
    if (attempt !== undefined) {
      // Asked again over another stream: the answer to the first time would reach nobody.
      const before = this.#byAttempt.get(attempt)
      if (before !== undefined) this.#giveUp(before)
      this.#byAttempt.set(attempt, receiver)
    }
    this.#placeOf(receiver).add(receiver)
    this.run()
  }

  #placeOf({ matches }: Receiver): Set<Receiver> {
    return matches === undefined ? this.#waiting : this.#selective
  }

  #giveUp(receiver: Receiver): void {
    if (this.#leave(receiver)) receiver.answer(NOTHING)
  }

  /** False: it does not wait any more. */
  #leave(receiver: Receiver): boolean {
    const { attempt } = receiver.options
    if (attempt !== undefined && this.#byAttempt.get(attempt) === receiver) {
      this.#byAttempt.delete(attempt)
    }
    this.#ending.delete(receiver)
    return this.#placeOf(receiver).delete(receiver)
  }

  /** Pushes to it from now on, within the credit. */
  addConsumer(options: ConsumerOptions, credit: number): Consumer {
    const consumer = this.consumers.add(options, credit)
    this.run()
    return consumer
  }

  /** The consumer that has the message has it no more. */
  release(entry: Entry): void {
    const consumer = entry.consumer === undefined ? undefined : this.consumers.get(entry.consumer)
    if (consumer !== undefined) this.consumers.take(consumer, entry)
  }

  /** Looks for messages for everybody who wants some, until nobody gets any more. */
  run(): void {
    if (this.#stopped) return
    if (this.#running) {
      this.#again = true
      return
    }
    if (this.#waiting.size + this.#selective.size + this.consumers.size === 0) return
    this.#running = true
    void this.exclusively(() => this.#round())
      .catch((error: unknown) => this.#failed(error))
      .finally(() => {
        this.#running = false
        if (!this.#again) return
        this.#again = false
        this.run()
      })
  }

  /** While `work` runs nobody else looks for messages. */
  exclusively<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => undefined)
    return result
  }

  stop(): void {
    this.#stopped = true
    for (const receiver of [...this.#waiting, ...this.#selective]) {
      if (this.#leave(receiver)) receiver.answer(moved())
    }
  }

  async #round(): Promise<void> {
    // Who comes while others are served has not been looked for yet.
    const ending = [...this.#ending]
    for (const receiver of this.#waiting) {
      // Where the first gets nothing, nobody does.
      if (!(await this.#serve(receiver)) || this.#stopped) break
    }
    for (const receiver of this.#selective) {
      await this.#serve(receiver)
      if (this.#stopped) return
    }
    for (const receiver of ending) this.#giveUp(receiver)
    await this.#push()
  }

  /** False: there is nothing for it now. */
  async #serve(receiver: Receiver): Promise<boolean> {
    const picked = await this.#gather(receiver)
    if (picked.length === 0) return false
    const messages = picked.map(({ received }) => received)
    if (!this.#leave(receiver)) {
      this.#takeBack(picked)
      return true
    }
    const { attempt } = receiver.options
    if (attempt !== undefined) this.#attempts.remember(attempt, picked)
    this.#whenStored(messages).then(receiver.answer, receiver.answer)
    return true
  }

  /** Resolves when the leases are. Rejects with BrokerError UNAVAILABLE when the shard is lost. */
  #whenStored(messages: readonly Received[]): Promise<QueueReply> {
    return new Promise((resolve, reject) => {
      this.#options.writer.onCommit((outcome) => {
        if (outcome === 'lost') reject(moved())
        else resolve({ kind: 'received', messages, overLimit: false })
      })
    })
  }

  async #gather(receiver: Receiver): Promise<Given[]> {
    const { store, picker } = this.#options
    const { max, leaseMs, wholeGroups } = receiver.options
    const { inFlightMax } = store.policy
    const found: Given[] = []
    let bytes = 0
    let group: string | undefined
    while (found.length < max && bytes < REPLY_BYTES && store.leased < inFlightMax) {
      const holder = wholeGroups ? receiver : {}
      const demand = { receiver: holder, matches: receiver.matches, group }
      const picked = await picker.next(demand)
      if (picked === undefined || this.#stopped) break
      if (!isFree(store, picked)) continue
      const { entry } = picked
      const untilMs = store.nowMs + (leaseMs ?? store.policy.leaseMs)
      const lease = this.#newLease()
      const terms = { lease, untilMs, consumer: undefined, receiver: holder, isDurable: true }
      store.transact(() => store.lease(entry, terms))
      this.#options.onLease(untilMs)
      found.push({ entry, received: this.#received(picked) })
      bytes += recordBytes(picked.record)
      if (wholeGroups) group = entry.group
    }
    return found
  }

  /** Who wanted them has given up while they were looked for. */
  #takeBack(given: readonly Given[]): void {
    const { store } = this.#options
    store.transact(() => {
      for (const { entry, received } of given) {
        const isIts = entry.state === 'leased' && entry.lease === received.receipt.lease
        if (isIts) store.giveBack(entry, { untilMs: 0, failed: false })
      }
    })
    this.#again = true
  }

  async #push(): Promise<void> {
    while (!this.#stopped && this.consumers.size > 0) {
      const isPushed = this.#options.store.policy.singleConsumer
        ? await this.#pushToFirst()
        : await this.#pushToSome()
      if (!isPushed) return
    }
  }

  /** False: there is nothing for it. */
  async #pushToFirst(): Promise<boolean> {
    const first = this.consumers.first()
    if (first === undefined || first.credit <= 0) return false
    const isThere = () => this.consumers.first() === first && first.credit > 0
    return this.#pushOne(first.matches, () => (isThere() ? first : undefined))
  }

  /** False: there is nothing for anybody. */
  async #pushToSome(): Promise<boolean> {
    const { store } = this.#options
    for (const peers of [...this.consumers.peers()]) {
      if (!peers.isWilling) continue
      const isPushed = await this.#pushOne(peers.matches, (record) =>
        peers.isWilling ? peers.choose(store.policy.dispatch, record) : undefined,
      )
      if (isPushed) return true
    }
    return false
  }

  /** Finds a message, and then who gets it: it may take a while, and whoever was there may have gone. */
  async #pushOne(
    matches: Demand['matches'],
    choose: (record: NewRecord) => Consumer | undefined,
  ): Promise<boolean> {
    const { store, picker } = this.#options
    if (store.leased >= store.policy.inFlightMax) return false
    const picked = await picker.next({ receiver: {}, matches, group: undefined })
    if (picked === undefined || this.#stopped) return false
    if (!isFree(store, picked)) return true
    const consumer = choose(picked.record)
    if (consumer !== undefined) this.#pushTo(consumer, picked)
    else if (picked.entry.state !== 'parked') store.makeReady(picked.entry)
    return true
  }

  #pushTo(consumer: Consumer, picked: Picked): void {
    const { store } = this.#options
    const { entry } = picked
    const lease = this.#newLease()
    this.consumers.give(consumer, entry)
    store.lease(entry, {
      lease,
      untilMs: Number.POSITIVE_INFINITY,
      consumer: consumer.id,
      receiver: {},
      isDurable: false,
    })
    const received = this.#received(picked)
    if (store.lane(entry.level).isStored(entry.offset)) {
      consumer.push(received)
      return
    }
    // The owner after this one could give its place to another message.
    this.#options.writer.onCommit((outcome) => {
      const isIts = entry.lease === lease && entry.consumer === consumer.id
      if (outcome === 'committed' && isIts && this.consumers.isHere(consumer))
        consumer.push(received)
    })
  }

  #newLease() {
    return { epoch: this.#options.writer.epoch, number: ++this.#leases }
  }

  #received({ entry, record }: Picked): Received {
    const { id, name } = this.#options
    const { level, offset, deliveries, firstDeliveredAtMs, lease } = entry
    if (lease === undefined) throw new Error('a message is given out without a lease')
    this.#options.counts.received++
    return {
      receipt: { queueId: id, queue: name, level, offset, lease },
      record,
      sequence: numberHeader(record, HEADER.sequence) ?? offset,
      deliveries,
      firstDeliveredAtMs,
    }
  }

  #failed(error: unknown): void {
    this.#options.onError(error instanceof Error ? error : new Error(String(error)))
  }
}

interface Waiting {
  readonly options: ReceiveOptions
  readonly matches: Demand['matches']
  readonly signal: AbortSignal | undefined
  readonly resolve: (reply: QueueReply) => void
  readonly reject: (error: Error) => void
}

const NOTHING: QueueReply = { kind: 'received', messages: [], overLimit: false }

function moved(): BrokerError {
  return new BrokerError('UNAVAILABLE', 'the queue has moved')
}

/** It may have been purged, or acknowledged by an old receipt, while its record was read. */
function isFree(store: QueueStore, { entry }: { entry: Entry; record: NewRecord }): boolean {
  return store.isHere(entry) && (entry.state === 'ready' || entry.state === 'parked')
}
