/**
 * The queues of one owned shard, opened when they are first used. They begin when the shard is opened, their timers
 * and tasks with them, and end when it is given up.
 */
import type { NewRecord, StorageAdapter } from '@robust/storage-adapters'
import { BrokerError } from '../core/errors.ts'
import type { Clock, Timer } from '../core/ports/clock.ts'
import type { HostedQueues, QueueDefinition } from '../core/queues/hosted-queues.ts'
import type { QueueReply, QueueRequest } from '../core/queues/queue-requests.ts'
import type { CommitOutcome, ShardWriter } from '../core/shard-writer.ts'
import type { Forward } from './departures.ts'
import { Queue } from './queue.ts'
import { dropQueue, queuePrefix } from './queue-keys.ts'
import type { PreparedMessage } from './transactions.ts'

/** What the queues of all shards of a broker share. */
export interface QueueResources {
  readonly definitionOf: (queue: string) => QueueDefinition | undefined
  /** Names of the queues that live on the shard, as far as they are known. */
  readonly queuesOf: (shard: number) => Iterable<string>
  readonly forward: Forward
  readonly random: () => number
  readonly check: (queue: string, prepared: PreparedMessage) => void
}

export interface QueueShardOptions extends QueueResources {
  readonly shard: number
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
  readonly clock: Clock
  readonly onError: (error: Error) => void
}

const CARE_MS = 1_000

export class QueueShard implements HostedQueues {
  readonly #options: QueueShardOptions
  readonly #queues = new Map<string, Promise<Queue>>()
  readonly #opened = new Map<string, Queue>()
  #timer: Timer | undefined
  #stopped = false

  constructor(options: QueueShardOptions) {
    this.#options = options
  }

  /** Leases, delays and tasks go on: everything that is stored is opened. */
  start(): void {
    for (const name of this.#options.queuesOf(this.#options.shard)) {
      void this.open(name).catch((error: unknown) => this.#failed(error))
    }
    this.#schedule()
  }

  /** Rejects with BrokerError NOT_FOUND, or with a StorageError, and may be asked again then. */
  open(name: string): Promise<Queue> {
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
      queue.catch(() => this.#queues.delete(name))
    }
    return queue
  }

  async handle(name: string, request: QueueRequest): Promise<QueueReply> {
    const queue = this.#opened.get(name)
    const isCurrent = queue?.id === this.#options.definitionOf(name)?.id
    return (queue !== undefined && isCurrent ? queue : await this.open(name)).handle(request)
  }

  append(name: string, record: NewRecord, done: (outcome: CommitOutcome) => void): void {
    const queue = this.#opened.get(name)
    if (queue !== undefined) {
      queue.append(record, done)
      return
    }
    this.open(name).then(
      (opened) => opened.append(record, done),
      (error: unknown) => {
        // A queue that was deleted meanwhile wants nothing any more.
        if (error instanceof BrokerError && error.code === 'NOT_FOUND') {
          done('committed')
          return
        }
        this.#failed(error)
        done('lost')
      },
    )
  }

  /** Stages the removal of everything that is kept for a queue that was deleted. */
  drop(id: number): void {
    for (const queue of this.#opened.values()) if (queue.id === id) this.#forget(queue)
    dropQueue(this.#options.writer, queuePrefix(id))
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

  async #load(name: string, { id }: QueueDefinition): Promise<Queue> {
    const { definitionOf } = this.#options
    let definition = definitionOf(name)
    const queue = new Queue({
      ...this.#options,
      id,
      name,
      prefix: queuePrefix(id),
      policy: () => {
        definition = definitionOf(name) ?? definition
        if (definition === undefined) throw new Error(`queue ${name} has no definition`)
        return definition.policy
      },
    })
    await queue.load()
    if (this.#stopped) queue.stop()
    this.#opened.set(name, queue)
    return queue
  }

  #forget(queue: Queue): void {
    queue.stop()
    this.#opened.delete(queue.name)
    this.#queues.delete(queue.name)
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
