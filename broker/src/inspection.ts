/** What a broker tells of itself when it is asked: counters and states, added up over its parts. */
import type { control } from '@robust/proto'
import type { StorageAdapter } from '@robust/storage-adapters'
import type { MetadataCache } from './cluster/metadata-cache.ts'
import type { PlacementClient } from './cluster/placement-client.ts'
import type { BrokerSettings } from './cluster/settings.ts'
import type { ShardHost } from './cluster/shard-host.ts'
import type { BrokerConfig } from './config.ts'
import type { HostedShards } from './core/hosted-shard.ts'
import type { Messaging } from './core/messaging.ts'
import type { StoragePressure } from './core/storage-pressure.ts'
import type { ShardCounters } from './observability/runtime-report.ts'
import type { Admission } from './protocols/shared/admission.ts'
import type { ClientMover } from './protocols/shared/client-mover.ts'
import type { ProtocolCounters, ProtocolServer } from './protocols/shared/protocol-server.ts'

interface Inspected {
  readonly metadata: MetadataCache
  readonly placement: PlacementClient
  readonly shards: ShardHost
  readonly messaging: Messaging
  readonly protocols: readonly ProtocolServer[]
  readonly settings: BrokerSettings
  readonly admission: Admission
  readonly mover: ClientMover
  readonly pressure: StoragePressure
}

interface Known {
  readonly nodeId: string
  readonly storage: StorageAdapter
  readonly config: BrokerConfig
}

export function inspect(inspected: Inspected, known: Known): control.InspectReply {
  const { metadata, placement, shards, messaging, protocols, admission, mover } = inspected
  const protocolCounters = countersOf(protocols)
  const counters: Record<string, number> = {
    ...messaging.counts,
    ...protocolCounters,
    refused: admission.refused,
    moved: mover.moved,
    storagePressurePercent: Math.round(inspected.pressure.level * 100),
  }
  return {
    nodeId: known.nodeId,
    incarnation: '',
    nodeEpoch: placement.nodeEpoch,
    placementConnected: placement.leaseValid,
    placementSilenceMs: placement.silenceMs,
    leaseValid: placement.leaseValid,
    storageAvailable: shards.storageAvailable,
    storagePromise: known.storage.capabilities.promise,
    metadataIndex: metadata.index,
    shards: shards.states(),
    connections: protocolCounters.connections,
    sessions: messaging.counts.sessions,
    memoryBytes: process.memoryUsage.rss(),
    counters,
    throttled: admission.isThrottled,
    settings: settingsInForce(inspected.settings, known.config),
  }
}

/** Where a setting is not set the process's own flag holds. */
function settingsInForce(settings: BrokerSettings, config: BrokerConfig): Record<string, string> {
  const flags = {
    'limits.packet-bytes': JSON.stringify(config.packetBytesMax),
    'log.level': JSON.stringify(config.logLevel),
  }
  const set = Object.entries(settings.describe()).filter(([, value]) => value !== 'null')
  return { ...flags, ...Object.fromEntries(set) }
}

type Counters = Omit<ProtocolCounters, 'more'> & Record<string, number>

/** Of all protocols together. */
export function countersOf(protocols: readonly ProtocolServer[]): Counters {
  const sum: Counters = {
    ...{ connections: 0, opened: 0, messagesIn: 0, messagesOut: 0, bytesIn: 0, bytesOut: 0 },
    ...{ acknowledged: 0, redelivered: 0, dropped: 0, denied: 0 },
  }
  for (const protocol of protocols) {
    const { more, ...counters } = protocol.counters()
    for (const [name, value] of Object.entries({ ...counters, ...more })) {
      sum[name] = (sum[name] ?? 0) + value
    }
  }
  return sum
}

export function shardCounters(hosted: HostedShards): ShardCounters[] {
  return [...hosted.all()].map(({ shard, epoch, writer, sessions }) => {
    const { commits, operations, bytes } = writer
    return { shard, epoch, commits, operations, bytes, sessions: sessions.size }
  })
}
