/** Queues, composed: their definitions, the requests to their owners, and those of the shards that are owned here. */
import { randomUUID } from 'node:crypto'
import type { RecordHeader } from '@robust/storage-adapters'
import type { MetadataCache } from './cluster/metadata-cache.ts'
import type { PeerMesh } from './cluster/peer-mesh.ts'
import type { PlacementClient } from './cluster/placement-client.ts'
import { PlacedQueues } from './cluster/queue-definitions.ts'
import { DELETED_QUEUE, followQueues } from './cluster/queue-directory.ts'
import type { FunctionParts } from './cluster/shard-host.ts'
import type { HostedShards } from './core/hosted-shard.ts'
import type { Message } from './core/message.ts'
import type { Clock } from './core/ports/clock.ts'
import { type HostedQueues, newQueueCounts, type QueueCounts } from './core/queues/hosted-queues.ts'
import { QueueClient } from './core/queues/queue-client.ts'
import type { QueueTable } from './core/queues/queue-table.ts'
import type { Queues } from './core/queues/queues.ts'
import { toSharedRecord } from './core/record.ts'
import type { Router } from './core/router.ts'
import { ShardClient } from './core/shard-client.ts'
import { shardOf } from './core/shard-hash.ts'
import type { StoragePressure } from './core/storage-pressure.ts'
import { type QueueResources, QueueShard } from './functions/queue-shard.ts'
import { sharedHeaders as mqttHeaders } from './protocols/mqtt/mapping.ts'
import { sharedHeaders as sqsHeaders } from './protocols/sqs/mapping.ts'

interface QueueParts {
  readonly metadata: MetadataCache
  readonly placement: PlacementClient
  readonly mesh: PeerMesh
  readonly hosted: HostedShards
  readonly router: Router
  readonly pressure: StoragePressure
  readonly table: QueueTable
  readonly clock: Clock
}

export interface ComposedQueues {
  readonly client: Queues
  /** The queues of a shard that is owned here. */
  host(parts: FunctionParts): HostedQueues
  /** Owners or members have changed. */
  changed(): void
}

/** How long an owner waits for the news of a queue that others know. */
const NEWS_MS = 5_000

export function composeQueues(parts: QueueParts): ComposedQueues {
  const { metadata, hosted, router, table, clock, pressure, mesh: peers } = parts
  const shards = new ShardClient({ directory: metadata, hosted, peers, clock })
  const definitions = new PlacedQueues(parts)
  const client = new QueueClient({
    ...{ table, definitions, shards, directory: metadata, clock, pressure },
    isComplete: () => metadata.knows(0),
    newId: randomUUID,
  })
  table.observe((key, isRoute) => {
    if (isRoute) router.keepersChanged()
    hosted.get(shardOf('queue', key, metadata.shardCount))?.queues.changed(key)
  })
  followQueues(metadata.resources, table)
  const resources = resourcesOf(parts, client, definitions)
  return {
    client,
    host: (given) => new QueueShard({ ...given, ...resources }),
    changed: () => shards.changed(),
  }
}

function resourcesOf(
  { metadata, table, clock }: QueueParts,
  client: QueueClient,
  definitions: PlacedQueues,
): QueueResources {
  const counts = new Map<number, QueueCounts>()
  return {
    countsOf: (id) => {
      const known = counts.get(id) ?? newQueueCounts()
      counts.set(id, known)
      return known
    },
    definitionOf: (key) => table.definitionOf(key),
    queuesOf: (shard) => table.keysOf(shard, metadata.shardCount),
    deletedOf: (shard) => table.deletedOf(shard, metadata.shardCount),
    forgetDeleted: (id) => {
      counts.delete(id)
      for (const { name, tenant } of metadata.resources.list(DELETED_QUEUE)) {
        // Else another owner of the shard does it, some time.
        if (name === String(id)) definitions.forget(tenant, id).catch(() => undefined)
      }
    },
    reached: (version) => (metadata.knows(version) ? undefined : inTime(metadata, version, clock)),
    recordOf: recordOfMessage,
    forward: async (queue, records) => {
      const reply = await client.askKey(queue, { kind: 'send', records })
      return reply.kind === 'sent' ? reply.outcomes : []
    },
    random: Math.random,
    // No dialect that is spoken here has half messages.
    check: () => undefined,
  }
}

function inTime(metadata: MetadataCache, version: number, clock: Clock): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = clock.after(NEWS_MS, () => resolve(false))
    void metadata.reached(version).then(() => {
      timer.cancel()
      resolve(true)
    })
  })
}

/** What each dialect's own properties say to all. */
const SHARED_HEADERS: Readonly<Record<string, typeof mqttHeaders>> = {
  mqtt: mqttHeaders,
  sqs: sqsHeaders,
}

export function sharedHeadersOf({ dialect, properties }: Message): readonly RecordHeader[] {
  return SHARED_HEADERS[dialect]?.(properties) ?? []
}

export function recordOfMessage(message: Message) {
  return toSharedRecord(message, sharedHeadersOf(message))
}
