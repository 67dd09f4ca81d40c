/**
 * The queues of one owned shard, opened when they are first used. They begin when the shard is opened, their timers
 * and tasks with them, and end when it is given up.
 */
import type { NewRecord, StorageAdapter } from '@robust/storage-adapters'
import { BrokerError } from '../core/errors.ts'
import type { Message } from '../core/message.ts'
import type { Clock, Timer } from '../core/ports/clock.ts'
import { HEADER, textHeader, withHeaders } from '../core/queues/headers.ts'
import type {
  AppendOutcome,
  HostedQueues,
  QueueCounts,
  QueueDefinition,
  QueueUsage,
} from '../core/queues/hosted-queues.ts'
import type { QueueCall } from '../core/queues/queue-call.ts'
import type { QueueReply } from '../core/queues/queue-requests.ts'
import type { ShardWriter } from '../core/shard-writer.ts'
import type { Forward } from './departures.ts'
import { Queue } from './queue.ts'
import { dropQueue, queuePrefix } from './queue-keys.ts'
import { oldestAtMs } from './queue-queries.ts'
import type { PreparedMessage } from './transactions.ts'

/** What the queues of all shards of a broker share. */
export interface QueueResources {
  readonly definitionOf: (queue: string) => QueueDefinition | undefined
  /** Keys of the queues that live on the shard, as far as they are known. */
  readonly queuesOf: (shard: number) => Iterable<string>
  /** Ids of queues that lived on the shard and were deleted, for certain. */
  readonly deletedOf: (shard: number) => Iterable<number>
  /** Nothing is left of it: it need not be known any more that it was deleted. */
  readonly forgetDeleted: (id: number) => void
  /** Undefined: definitions are known up to the version. Else resolves with whether they became so in time. */
  readonly reached: (version: number) => Promise<boolean> | undefined
  /** As a message is kept, with what all dialects understand. */
  readonly recordOf: (message: Message) => NewRecord
  readonly forward: Forward
  readonly random: () => number
  /** Of the queue of this id, for as long as the process lives: they go on when the shard comes back. */
  readonly countsOf: (id: number) => QueueCounts
  readonly check: (queue: string, prepared: PreparedMessage) => void
}

export interface QueueShardOptions extends QueueResources {
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
  readonly clock: Clock
  readonly onError: (error: Error) => void
}

const CARE_MS = 1_000
/** Queues that are opened at once when the shard begins. */
const OPENINGS_MAX = 8
/** Brokers that have not heard of the deletion may still have something for it. */
const FORGET_MS = 60_000

export class QueueShard implements HostedQueues {
  readonly #options: QueueShardOptions
  readonly #queues = new Map<string, Promise<Queue>>()
  readonly #opened = new Map<string, Queue>()
  /** Ids of deleted queues of which nothing is left. */
  readonly #dropped = new Set<number>()
  #timer: Timer | undefined
  #stopped = false

  constructor(options: QueueShardOptions) {
    this.#options = options
  }

  /** Leases, delays and tasks go on: everything that is stored is opened. */
  start(): void {
    this.#dropDeleted()
    const names = [...this.#options.queuesOf(this.#options.writer.shard)]
    for (let at = 0; at < OPENINGS_MAX; at++) void this.#openAll(names)
    this.#schedule()
  }

  /** Rejects with BrokerError NOT_FOUND, or with a StorageError, and may be asked again then. */
  open(name: string): Promise<Queue> {
    if (this.#stopped) return Promise.reject(moved())
    const definition = this.#options.definitionOf(name)
    if (definition === undefined) {
      return Promise.reject(new BrokerError('NOT_FOUND', `there is no queue ${name}`))
    }
    const known = this.#opened.get(name)
    if (known !== undefined && known.id !== definition.id) this.#forget(known)
    let queue = this.#queues.get(name)
    if (queue === undefined) {
      queue = this.#load(name, definition)
      this.#queues.set(name, queue)
      const forget = (): void => {
        if (this.#queues.get(name) === queue) this.#queues.delete(name)
      }
      queue.catch(forget)
    }
    return queue
  }

  async handle({ queue: name, knownAt, request }: QueueCall, signal?: AbortSignal) {
    return (await this.#find(name, knownAt)).handle(request, signal) as Promise<QueueReply>
  }

  append(
    place: { readonly queue: string; readonly knownAt: number },
    message: Message,
    done: (outcome: AppendOutcome) => void,
  ): void {
    const { queue: name, knownAt } = place
    const put = (queue: Queue): void => queue.append(this.#recordFor(queue, message), done)
    const queue = this.#current(name)
    if (queue !== undefined && this.#options.reached(knownAt) === undefined) {
      put(queue)
      return
    }
    this.#find(name, knownAt).then(put, (error: unknown) => {
      if (!(error instanceof BrokerError)) this.#failed(error)
      // A queue that was deleted meanwhile wants nothing any more.
      const isGone = error instanceof BrokerError && error.code === 'NOT_FOUND'
      done(isGone ? 'committed' : 'lost')
    })
  }

  changed(name: string): void {
    if (this.#stopped) return
    this.#dropDeleted()
    const queue = this.#opened.get(name)
    const definition = this.#options.definitionOf(name)
    if (queue !== undefined && queue.id !== definition?.id) this.#forget(queue)
    if (definition === undefined) return
    if (queue === undefined) void this.#begin(name)
    else queue.wake()
  }

  names(): Iterable<string> {
    return this.#opened.keys()
  }

  async usage(name: string): Promise<QueueUsage | undefined> {
    const queue = this.#opened.get(name)
    if (queue === undefined) return undefined
    const { store, counts } = queue
    const { ready, leased: inFlight, delayed } = store
    const oldest = await oldestAtMs(store).catch(() => undefined)
    return { queue: name, ready, inFlight, delayed, oldestAtMs: oldest, counts }
  }

  get counts(): { readonly queues: number; readonly consumers: number } {
    let consumers = 0
    for (const { receivers } of this.#opened.values()) consumers += receivers.consumers.size
    return { queues: this.#opened.size, consumers }
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    for (const queue of this.#opened.values()) queue.stop()
  }

  /** One after the other: those that are asked for meanwhile do not wait behind all of them. */
  async #openAll(names: string[]): Promise<void> {
    for (let name = names.shift(); name !== undefined; name = names.shift()) await this.#begin(name)
  }

  async #begin(name: string): Promise<void> {
    try {
      await this.open(name)
    } catch (error) {
      if (!(error instanceof BrokerError)) this.#failed(error)
    }
  }

  /** As it is defined now, when it is open. */
  #current(name: string): Queue | undefined {
    const queue = this.#opened.get(name)
    return queue?.id === this.#options.definitionOf(name)?.id ? queue : undefined
  }

  async #find(name: string, knownAt: number): Promise<Queue> {
    const news = this.#options.reached(knownAt)
    if (news !== undefined && !(await news)) {
      throw new BrokerError('UNAVAILABLE', 'the definition of the queue has not arrived')
    }
    return this.#current(name) ?? this.open(name)
  }

  /** In an ordered queue messages of one address follow each other, unless they say otherwise. */
  #recordFor({ store }: Queue, message: Message): NewRecord {
    const record = this.#options.recordOf(message)
    const isOrdered = store.policy.order === 'group'
    if (!isOrdered || textHeader(record, HEADER.group) !== undefined) return record
    return withHeaders(record, { [HEADER.group]: message.address })
  }

  async #load(name: string, { id }: QueueDefinition): Promise<Queue> {
    const { definitionOf } = this.#options
    let definition = definitionOf(name)
    const queue = new Queue({
      ...this.#options,
      id,
      name,
      prefix: queuePrefix(id),
      counts: this.#options.countsOf(id),
      policy: () => {
        const now = definitionOf(name)
        if (now?.id === id) definition = now
        if (definition === undefined) throw new Error(`queue ${name} has no definition`)
        return definition.policy
      },
    })
    try {
      await queue.load()
      // Deleted or made anew while it was read.
      if (this.#stopped || definitionOf(name)?.id !== id) throw moved()
    } catch (error) {
      queue.stop()
      // It may have begun to give back what was leased.
      if (this.#dropped.has(id)) this.#drop(queue)
      throw error
    }
    this.#opened.set(name, queue)
    return queue
  }

  #forget(queue: Queue): void {
    queue.stop()
    if (this.#opened.get(queue.name) !== queue) return
    this.#opened.delete(queue.name)
    this.#queues.delete(queue.name)
  }

  #drop(queue: Queue): void {
    queue.store.discard()
    dropQueue(this.#options.writer, queuePrefix(queue.id))
  }

  /** What is kept for a queue goes only when it is certain that this very queue was deleted. */
  #dropDeleted(): void {
    const { deletedOf, writer, clock, forgetDeleted } = this.#options
    for (const id of deletedOf(writer.shard)) {
      if (this.#dropped.has(id)) continue
      this.#dropped.add(id)
      for (const queue of this.#opened.values()) {
        if (queue.id !== id) continue
        queue.store.discard()
        this.#forget(queue)
      }
      dropQueue(writer, queuePrefix(id))
      writer.onCommit((outcome) => {
        if (outcome === 'lost') return
        clock.after(FORGET_MS, () => {
          this.#dropped.delete(id)
          if (!this.#stopped) forgetDeleted(id)
        })
      })
    }
  }

  #schedule(): void {
    if (this.#stopped) return
    this.#timer = this.#options.clock.after(CARE_MS, () => {
      for (const queue of this.#opened.values()) {
        if (queue.isBusy) void queue.care().catch((error: unknown) => this.#failed(error))
      }
      this.#schedule()
    })
  }

  #failed(error: unknown): void {
    if (this.#stopped) return
    this.#options.onError(error instanceof Error ? error : new Error(String(error)))
  }
}

function moved(): BrokerError {
  return new BrokerError('UNAVAILABLE', 'the queue has moved')
}
