/** The queues of one broker of a CoreCluster: definitions that all know at once, and what its shards have. */
import type { StorageAdapter } from '@robust/storage-adapters'
import type { HostedShards } from '../core/hosted-shard.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Directory } from '../core/ports/directory.ts'
import type { Peers } from '../core/ports/peers.ts'
import { newQueueCounts } from '../core/queues/hosted-queues.ts'
import { QueueClient } from '../core/queues/queue-client.ts'
import { queueKey } from '../core/queues/queue-key.ts'
import type { QueueTable } from '../core/queues/queue-table.ts'
import { toSharedRecord } from '../core/record.ts'
import type { Router } from '../core/router.ts'
import { ShardClient } from '../core/shard-client.ts'
import { shardOf } from '../core/shard-hash.ts'
import type { ShardWriter } from '../core/shard-writer.ts'
import type { StoragePressure } from '../core/storage-pressure.ts'
import { QueueShard } from '../functions/queue-shard.ts'

interface CoreQueuesOptions {
  readonly table: QueueTable
  readonly directory: Directory
  readonly hosted: HostedShards
  readonly peers: Peers
  readonly clock: Clock
  readonly router: Router
  readonly pressure: StoragePressure
}

let newest = 0

export class CoreQueues {
  readonly client: QueueClient
  isComplete = true
  readonly #options: CoreQueuesOptions
  readonly #shards: ShardClient

  constructor(options: CoreQueuesOptions) {
    this.#options = options
    const { table, directory, hosted, router } = options
    this.#shards = new ShardClient(options)
    this.client = new QueueClient({
      ...options,
      shards: this.#shards,
      isComplete: () => this.isComplete,
      newId: () => String(++newest),
      definitions: {
        put: async (content, expectedVersion) => {
          const known = table.get(content.tenant, content.name)
          if ((known?.version ?? 0) !== expectedVersion) return undefined
          const version = ++newest
          table.set({ ...content, id: known?.id ?? version, version })
          return version
        },
        remove: async (queue) => {
          const { tenant, name, version, id } = queue
          if (table.get(tenant, name)?.version !== version) return undefined
          table.markDeleted(id, queueKey(tenant, name))
          table.remove(tenant, name)
          return ++newest
        },
        refresh: async () => undefined,
      },
    })
    table.observe((key, isRoute) => {
      if (isRoute) router.keepersChanged()
      hosted.get(shardOf('queue', key, directory.shardCount))?.queues.changed(key)
    })
  }

  host(parts: {
    readonly writer: ShardWriter
    readonly storage: StorageAdapter
    readonly onError: (error: Error) => void
  }): QueueShard {
    const { table, directory, clock } = this.#options
    return new QueueShard({
      ...parts,
      clock,
      random: () => 0.5,
      countsOf: newQueueCounts,
      definitionOf: (key) => table.definitionOf(key),
      queuesOf: (shard) => table.keysOf(shard, directory.shardCount),
      deletedOf: (shard) => table.deletedOf(shard, directory.shardCount),
      forgetDeleted: (id) => table.markDeleted(id, undefined),
      reached: () => undefined,
      recordOf: (message) => toSharedRecord(message, []),
      forward: async (key, records) => {
        const reply = await this.client.askKey(key, { kind: 'send', records })
        return reply.kind === 'sent' ? reply.outcomes : []
      },
      check: () => undefined,
    })
  }

  changed(): void {
    this.#shards.changed()
  }
}
