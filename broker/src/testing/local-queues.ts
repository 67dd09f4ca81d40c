/** The port `Queues` over the real engine in one process: one shard, over a storage adapter, without a cluster. */
import { createMemoryStorage, type StorageAdapter } from '@robust/storage-adapters'
import { systemClock } from '../cluster/system-clock.ts'
import { BrokerError } from '../core/errors.ts'
import type { Clock } from '../core/ports/clock.ts'
import { newQueueCounts } from '../core/queues/hosted-queues.ts'
import { DEFAULT_TENANT, queueKey } from '../core/queues/queue-key.ts'
import { DEFAULT_QUEUE_POLICY } from '../core/queues/queue-policy.ts'
import type { QueueReply, QueueRequest } from '../core/queues/queue-requests.ts'
import type { AskOptions, KnownQueue, QueueChange, Queues } from '../core/queues/queues.ts'
import { toSharedRecord } from '../core/record.ts'
import { ShardWriter } from '../core/shard-writer.ts'
import { QueueShard } from '../functions/queue-shard.ts'

const SHARD = 1

export class LocalQueues implements Queues {
  readonly #storage: StorageAdapter
  readonly #clock: Clock
  readonly #known = new Map<string, KnownQueue>()
  readonly #deleted = new Set<number>()
  #revision = 0
  #epoch = 0
  #shard: QueueShard | undefined
  #writer: ShardWriter | undefined
  readonly errors: Error[] = []

  constructor(storage: StorageAdapter = createMemoryStorage(), clock: Clock = systemClock) {
    this.#storage = storage
    this.#clock = clock
  }

  /** Another owner takes the shard; the one before is gone without a word. */
  async own(): Promise<void> {
    this.stop()
    const writer = new ShardWriter({
      shard: SHARD,
      epoch: ++this.#epoch,
      owner: `b${this.#epoch}/x`,
      storage: this.#storage,
      clock: this.#clock,
      onLost: (_reason, error) => this.errors.push(error),
    })
    await writer.open()
    this.#writer = writer
    this.#shard = new QueueShard({
      writer,
      storage: this.#storage,
      clock: this.#clock,
      random: Math.random,
      countsOf: newQueueCounts,
      definitionOf: (key) => this.#definitionOf(key),
      queuesOf: () => this.#known.keys(),
      deletedOf: () => this.#deleted,
      forgetDeleted: (id) => this.#deleted.delete(id),
      reached: () => undefined,
      recordOf: (message) => toSharedRecord(message, []),
      forward: async (key, records) => {
        const request = { kind: 'send', records } as const
        const reply = await this.#engine.handle({ queue: key, knownAt: 0, request })
        return reply.kind === 'sent' ? reply.outcomes : []
      },
      check: () => undefined,
      onError: (error) => this.errors.push(error),
    })
    this.#shard.start()
  }

  stop(): void {
    this.#shard?.stop()
    this.#writer?.abandon()
  }

  get(name: string, tenant = DEFAULT_TENANT): KnownQueue | undefined {
    return this.#known.get(queueKey(tenant, name))
  }

  list(tenant = DEFAULT_TENANT): readonly KnownQueue[] {
    return [...this.#known.values()]
      .filter((queue) => queue.tenant === tenant)
      .sort((a, b) => (a.name < b.name ? -1 : 1))
  }

  create(name: string, change: QueueChange, tenant = DEFAULT_TENANT) {
    const before = this.get(name, tenant)
    if (before !== undefined) return Promise.resolve({ queue: before, existed: true })
    const revision = ++this.#revision
    const queue: KnownQueue = {
      tenant,
      name,
      id: revision,
      version: revision,
      policy: { ...DEFAULT_QUEUE_POLICY, ...change.policy },
      bindings: change.bindings ?? [],
      dialects: change.dialects ?? {},
    }
    this.#known.set(queueKey(tenant, name), queue)
    return Promise.resolve({ queue, existed: false })
  }

  async change(
    name: string,
    change: (queue: KnownQueue) => QueueChange,
    tenant = DEFAULT_TENANT,
  ): Promise<KnownQueue> {
    const before = this.get(name, tenant)
    if (before === undefined) throw noQueue(name)
    const { policy, bindings, dialects } = change(before)
    const after: KnownQueue = {
      ...before,
      version: ++this.#revision,
      policy: { ...before.policy, ...policy },
      bindings: bindings ?? before.bindings,
      dialects: { ...before.dialects, ...dialects },
    }
    this.#known.set(queueKey(tenant, name), after)
    return after
  }

  delete(name: string, tenant = DEFAULT_TENANT): Promise<boolean> {
    const known = this.get(name, tenant)
    const key = queueKey(tenant, name)
    if (known === undefined) return Promise.resolve(false)
    this.#deleted.add(known.id)
    this.#known.delete(key)
    this.#shard?.changed(key)
    return Promise.resolve(true)
  }

  ask(name: string, request: QueueRequest, options: AskOptions = {}): Promise<QueueReply> {
    const { tenant = DEFAULT_TENANT, signal } = options
    return this.#engine.handle({ queue: queueKey(tenant, name), knownAt: 0, request }, signal)
  }

  get #engine(): QueueShard {
    if (this.#shard === undefined) throw new BrokerError('UNAVAILABLE', 'nobody owns the shard')
    return this.#shard
  }

  #definitionOf(key: string) {
    const known = this.#known.get(key)
    if (known === undefined) return undefined
    const { deadLetterQueue } = known.policy
    const target = deadLetterQueue && queueKey(known.tenant, deadLetterQueue)
    return { id: known.id, policy: { ...known.policy, deadLetterQueue: target } }
  }
}

function noQueue(name: string): BrokerError {
  return new BrokerError('NOT_FOUND', `there is no queue ${name}`)
}
