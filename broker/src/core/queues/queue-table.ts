/**
 * All queues, found by name and by the addresses that are bound to them. Soft state: whoever learns of a queue tells.
 */
import { FilterIndex } from '../filter-index.ts'
import { shardOf } from '../shard-hash.ts'
import type { QueueDefinition } from './hosted-queues.ts'
import { queueKey } from './queue-key.ts'
import type { KnownQueue } from './queues.ts'

/** Where what is published to an address is put too. */
export interface BoundQueue {
  readonly shard: number
  /** Its key, see queue-key.ts. */
  readonly queue: string
  /** The version of its definition by which it is known: its owner may not have heard of it yet. */
  readonly knownAt: number
}

interface Known {
  readonly queue: KnownQueue
  readonly definition: QueueDefinition
}

/** `key`: of the queue that has changed. `isRoute`: what addresses lead to has changed as well. */
export type QueueListener = (key: string, isRoute: boolean) => void

export class QueueTable {
  readonly #byKey = new Map<string, Known>()
  readonly #index = new FilterIndex<string>((key) => key)
  /** Keys of queues that were deleted, for certain, by id. */
  readonly #deleted = new Map<number, string>()
  /** By key: asked for all queues whenever a shard is opened. */
  readonly #shards = new Map<string, number>()
  readonly #listeners: QueueListener[] = []

  observe(listener: QueueListener): void {
    this.#listeners.push(listener)
  }

  get(tenant: string, name: string): KnownQueue | undefined {
    return this.#byKey.get(queueKey(tenant, name))?.queue
  }

  /** In no order. */
  *list(tenant: string): Generator<KnownQueue> {
    for (const { queue } of this.#byKey.values()) if (queue.tenant === tenant) yield queue
  }

  /** New, or as it is now. */
  set(queue: KnownQueue): void {
    const key = queueKey(queue.tenant, queue.name)
    const before = this.#byKey.get(key)
    this.#byKey.set(key, { queue, definition: definitionOf(queue) })
    this.#unbind(key, before)
    for (const filter of queue.bindings) this.#index.add(filter, key)
    const isRoute = queue.bindings.length > 0 || (before?.queue.bindings.length ?? 0) > 0
    this.#tell(key, isRoute)
  }

  remove(tenant: string, name: string): void {
    const key = queueKey(tenant, name)
    const known = this.#byKey.get(key)
    if (known === undefined) return
    this.#byKey.delete(key)
    this.#shards.delete(key)
    this.#unbind(key, known)
    this.#tell(key, known.queue.bindings.length > 0)
  }

  /** Whether the queue of this id was deleted, for certain: that it is not known says nothing. */
  markDeleted(id: number, key: string | undefined): void {
    if (key === undefined) {
      this.#deleted.delete(id)
      return
    }
    this.#deleted.set(id, key)
    this.#tell(key, false)
  }

  /** Ids of deleted queues whose messages were on the shard. */
  *deletedOf(shard: number, shardCount: number): Generator<number> {
    for (const [id, key] of this.#deleted) {
      const isCurrent = this.#byKey.get(key)?.definition.id === id
      if (!isCurrent && shardOf('queue', key, shardCount) === shard) yield id
    }
  }

  /** False: nothing is bound to the system's addresses that begin with the level. */
  reaches(level: string): boolean {
    return this.#index.reaches(level)
  }

  knownOf(key: string): KnownQueue | undefined {
    return this.#byKey.get(key)?.queue
  }

  definitionOf(key: string): QueueDefinition | undefined {
    return this.#byKey.get(key)?.definition
  }

  /** Keys of the queues that live on the shard. */
  *keysOf(shard: number, shardCount: number): Generator<string> {
    for (const key of this.#byKey.keys()) {
      let its = this.#shards.get(key)
      if (its === undefined) {
        its = shardOf('queue', key, shardCount)
        this.#shards.set(key, its)
      }
      if (its === shard) yield key
    }
  }

  /** Every queue that is bound to the address, each once. */
  match(address: string, shardCount: number): readonly BoundQueue[] {
    if (this.#index.size === 0) return NONE
    const found = new Set<string>()
    this.#index.match(address, (key) => found.add(key))
    if (found.size === 0) return NONE
    return Array.from(found, (queue) => ({
      queue,
      shard: shardOf('queue', queue, shardCount),
      knownAt: this.#byKey.get(queue)?.queue.version ?? 0,
    }))
  }

  #unbind(key: string, known: Known | undefined): void {
    for (const filter of known?.queue.bindings ?? []) this.#index.remove(filter, key)
  }

  #tell(key: string, isRoute: boolean): void {
    for (const listener of this.#listeners) listener(key, isRoute)
  }
}

const NONE: readonly BoundQueue[] = []

/** Dead letters stay within the tenant. */
function definitionOf({ id, tenant, policy }: KnownQueue): QueueDefinition {
  const { deadLetterQueue } = policy
  if (deadLetterQueue === undefined) return { id, policy }
  return { id, policy: { ...policy, deadLetterQueue: queueKey(tenant, deadLetterQueue) } }
}
