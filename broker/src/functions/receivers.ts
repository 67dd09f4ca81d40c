/**
 * Gives messages to those who want some: receivers that ask once and may wait, and consumers that are pushed to. One
 * message is looked for at a time, so that nothing is given twice.
 */
import type { NewRecord } from '@robust/storage-adapters'
import { BrokerError } from '../core/errors.ts'
import type { Clock, Timer } from '../core/ports/clock.ts'
import { HEADER, numberHeader } from '../core/queues/headers.ts'
import type { QueueReply, Received, ReceiveOptions } from '../core/queues/queue-requests.ts'
import type { CommitOutcome, ShardWriter } from '../core/shard-writer.ts'
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
}

interface Receiver {
  readonly options: ReceiveOptions
  readonly matches: Demand['matches']
  readonly resolve: (reply: QueueReply) => void
  readonly reject: (error: Error) => void
  timer: Timer | undefined
  /** It is answered after the next look, with what there is. */
  isLast: boolean
}

interface Attempt {
  readonly messages: readonly { readonly entry: Entry; readonly received: Received }[]
  readonly untilMs: number
}

/** As Amazon SQS has it. */
const ATTEMPT_MS = 300_000

export class Receivers {
  readonly consumers: Consumers
  readonly #options: ReceiversOptions
  #waiting: Receiver[] = []
  readonly #attempts = new Map<string, Attempt>()
  #turn: Promise<unknown> = Promise.resolve()
  #running = false
  #again = false
  #leases = 0
  #stopped = false

  constructor(options: ReceiversOptions) {
    this.#options = options
    this.consumers = new Consumers(options.random)
  }

  /** Rejects with SelectorError, and with BrokerError UNAVAILABLE when the shard is lost. */
  receive(options: ReceiveOptions): Promise<QueueReply> {
    const { store, clock } = this.#options
    const again = options.attempt === undefined ? undefined : this.#repeated(options.attempt)
    if (again !== undefined) return Promise.resolve(again)
    if (store.leased >= store.policy.inFlightMax) {
      return Promise.resolve({ kind: 'received', messages: [], overLimit: true })
    }
    const matches = options.selector === undefined ? undefined : recordMatcher(options.selector)
    return new Promise((resolve, reject) => {
      const receiver: Receiver = {
        options,
        matches,
        resolve,
        reject,
        timer: undefined,
        isLast: options.waitMs <= 0,
      }
      if (!receiver.isLast) {
        receiver.timer = clock.after(options.waitMs, () => {
          receiver.isLast = true
          this.run()
        })
      }
      this.#waiting.push(receiver)
      this.run()
    })
  }

  /** Pushes to it from now on, within the credit. */
  addConsumer(options: ConsumerOptions, credit: number): Consumer {
    const consumer = this.consumers.add(options, credit)
    this.run()
    return consumer
  }

  /** The consumer that has the message has it no more. */
  release(entry: Entry): void {
    if (entry.consumer !== undefined) this.consumers.get(entry.consumer)?.inFlight.delete(entry)
  }

  /** Looks for messages for everybody who wants some, until nobody gets any more. */
  run(): void {
    if (this.#stopped) return
    if (this.#running) {
      this.#again = true
      return
    }
    if (this.#waiting.length === 0 && this.consumers.size === 0) return
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
    const waiting = this.#waiting
    this.#waiting = []
    for (const { timer, reject } of waiting) {
      timer?.cancel()
      reject(new BrokerError('UNAVAILABLE', 'the queue has moved'))
    }
  }

  async #round(): Promise<void> {
    let nothingLeft = false
    for (const receiver of [...this.#waiting]) {
      if (this.#stopped) return
      const isPlain = receiver.matches === undefined
      const picked = isPlain && nothingLeft ? [] : await this.#gather(receiver)
      if (isPlain && picked.length === 0) nothingLeft = true
      if (picked.length === 0 && !receiver.isLast) continue
      this.#waiting = this.#waiting.filter((each) => each !== receiver)
      receiver.timer?.cancel()
      this.#answer(receiver, picked)
    }
    await this.#push()
  }

  async #gather(receiver: Receiver): Promise<Received[]> {
    const { store, picker } = this.#options
    const { max, leaseMs, wholeGroups } = receiver.options
    const { inFlightMax } = store.policy
    const found: Received[] = []
    const entries: Entry[] = []
    let group: string | undefined
    while (found.length < max && store.leased < inFlightMax) {
      const holder = wholeGroups ? receiver : {}
      const demand = { receiver: holder, matches: receiver.matches, group }
      const picked = await picker.next(demand)
      if (picked === undefined) break
      if (!isFree(store, picked)) continue
      const untilMs = store.nowMs + (leaseMs ?? store.policy.leaseMs)
      const lease = this.#newLease()
      store.transact(() =>
        store.lease(picked.entry, {
          lease,
          untilMs,
          consumer: undefined,
          receiver: holder,
          isDurable: true,
        }),
      )
      found.push(this.#received(picked))
      entries.push(picked.entry)
      if (wholeGroups) group = picked.entry.group
    }
    const { attempt } = receiver.options
    if (attempt !== undefined && found.length > 0) {
      const messages = found.map((received, at) => ({ received, entry: entries[at] as Entry }))
      this.#attempts.set(attempt, { messages, untilMs: store.nowMs + ATTEMPT_MS })
    }
    return found
  }

  /** When the leases are stored. */
  #answer({ resolve, reject }: Receiver, messages: readonly Received[]): void {
    const answer = (outcome: CommitOutcome): void => {
      if (outcome === 'committed') resolve({ kind: 'received', messages, overLimit: false })
      else reject(new BrokerError('UNAVAILABLE', 'the queue has moved'))
    }
    if (messages.length === 0) answer('committed')
    else this.#options.writer.onCommit(answer)
  }

  async #push(): Promise<void> {
    const { store, picker } = this.#options
    for (let progress = true; progress && !this.#stopped; ) {
      progress = false
      const { singleConsumer, inFlightMax, dispatch } = store.policy
      for (const peers of this.consumers.willing(singleConsumer)) {
        if (store.leased >= inFlightMax) return
        const [first] = peers
        if (first === undefined) continue
        const demand = { receiver: {}, matches: first.matches, group: undefined }
        const picked = await picker.next(demand)
        if (picked === undefined) continue
        progress = true
        if (!isFree(store, picked)) break
        const still = peers.filter(
          (peer) => this.consumers.get(peer.id) === peer && peer.credit > 0,
        )
        if (still.length === 0) {
          if (picked.entry.state !== 'parked') store.makeReady(picked.entry)
          break
        }
        this.#pushTo(this.consumers.choose(dispatch, still, picked.record), picked)
        break
      }
    }
  }

  #pushTo(consumer: Consumer, picked: Picked): void {
    const { store } = this.#options
    consumer.credit--
    consumer.inFlight.add(picked.entry)
    store.lease(picked.entry, {
      lease: this.#newLease(),
      untilMs: Number.POSITIVE_INFINITY,
      consumer: consumer.id,
      receiver: {},
      isDurable: false,
    })
    consumer.push(this.#received(picked))
  }

  #newLease() {
    return { epoch: this.#options.writer.epoch, number: ++this.#leases }
  }

  #received({ entry, record }: Picked): Received {
    const { id, name } = this.#options
    const { level, offset, deliveries, firstDeliveredAtMs, lease } = entry
    if (lease === undefined) throw new Error('a message is given out without a lease')
    return {
      receipt: { queueId: id, queue: name, level, offset, lease },
      record,
      sequence: numberHeader(record, HEADER.sequence) ?? offset,
      deliveries,
      firstDeliveredAtMs,
    }
  }

  /** What the attempt got before, while all of it is leased still. */
  #repeated(attempt: string): QueueReply | undefined {
    const { store } = this.#options
    const now = store.nowMs
    for (const [name, { untilMs }] of this.#attempts) {
      if (untilMs > now) break
      this.#attempts.delete(name)
    }
    const known = this.#attempts.get(attempt)
    const holds = known?.messages.every(
      ({ entry, received }) => entry.state === 'leased' && entry.lease === received.receipt.lease,
    )
    if (known === undefined || !holds) return undefined
    const messages = known.messages.map(({ received }) => received)
    return { kind: 'received', messages, overLimit: false }
  }

  #failed(error: unknown): void {
    this.#options.onError(error instanceof Error ? error : new Error(String(error)))
  }
}

/** It may have been purged, or acknowledged by an old receipt, while its record was read. */
function isFree(store: QueueStore, { entry }: { entry: Entry; record: NewRecord }): boolean {
  return store.isHere(entry) && (entry.state === 'ready' || entry.state === 'parked')
}
