/** What is read off the broker's parts when its metrics are scraped. */
import type { Bridges } from './bridges.ts'
import type { MetadataCache } from './cluster/metadata-cache.ts'
import type { PlacementClient } from './cluster/placement-client.ts'
import type { ShardHost } from './cluster/shard-host.ts'
import type { HostedShards } from './core/hosted-shard.ts'
import type { Messaging } from './core/messaging.ts'
import type { NamedCounts, NamedLatencies } from './core/ports/telemetry.ts'
import type { StoragePressure } from './core/storage-pressure.ts'
import type { DeadLetters } from './dead-letters.ts'
import type { MeasuredStorage } from './measured-storage.ts'
import type { LatencySample, MetricsSnapshot, Sample } from './observability/metrics.ts'
import type { ProcessLatencies } from './observability/process-latencies.ts'
import type { Admission } from './protocols/shared/admission.ts'
import type { ClientMover } from './protocols/shared/client-mover.ts'
import type { ProtocolServer } from './protocols/shared/protocol-server.ts'
import { type MeasuredQueues, measuredQueues, ofQueues, queueGauges } from './queue-metrics.ts'
import type { Authenticator } from './security/authenticator.ts'

export interface Measured {
  readonly version: string
  readonly metadata: MetadataCache
  readonly placement: PlacementClient
  readonly shards: ShardHost
  readonly hosted: HostedShards
  readonly messaging: Messaging
  readonly pressure: StoragePressure
  readonly protocols: readonly ProtocolServer[]
  readonly admission: Admission
  readonly mover: ClientMover
  readonly security: Authenticator
  readonly storage: MeasuredStorage
  readonly losses: DeadLetters
  readonly bridges: Pick<Bridges, 'statuses'>
  readonly rpc: NamedLatencies
  readonly process: ProcessLatencies
  readonly isReady: () => boolean
}

const ADDRESS_KINDS = ['topic', 'queue', 'exchange'] as const
const STARTED_AT_SECONDS = Math.round(Date.now() - process.uptime() * 1_000) / 1_000

export async function snapshotOf(measured: Measured): Promise<MetricsSnapshot> {
  const queues = await measuredQueues(measured.hosted)
  return {
    gauges: gaugesOf(measured, queues),
    counters: countersOf(measured, queues),
    histograms: histogramsOf(measured),
  }
}

function gaugesOf(measured: Measured, queues: MeasuredQueues): MetricsSnapshot['gauges'] {
  const { version, metadata, placement, shards, messaging, pressure, protocols } = measured
  const { heapUsed, heapTotal, rss } = process.memoryUsage()
  const { connected, offline, retained } = kept(measured.hosted)
  return {
    build_info: [[{ version }, 1]],
    start_time_seconds: alone(STARTED_AT_SECONDS),
    ready: alone(measured.isReady() ? 1 : 0),
    connections: protocols.map(({ protocol, connections }) => [{ protocol }, connections]),
    sessions: [
      [{ state: 'connected' }, connected],
      [{ state: 'offline' }, offline],
    ],
    subscriptions: alone(messaging.counts.subscriptions),
    retained_messages: alone(retained),
    addresses: ADDRESS_KINDS.map((kind) => [{ kind }, [...metadata.resources.list(kind)].length]),
    ...queueGauges(queues),
    shards: statesOf(shards),
    bridge_connected: measured.bridges
      .statuses()
      .map(({ name: bridge, state }) => [{ bridge }, state === 'connected' ? 1 : 0]),
    storage_pressure_ratio: alone(pressure.level),
    placement_connected: alone(placement.leaseValid ? 1 : 0),
    placement_cache_age_seconds: alone(placement.silenceMs / 1_000),
    heap_used_bytes: alone(heapUsed),
    heap_total_bytes: alone(heapTotal),
    resident_memory_bytes: alone(rss),
  }
}

function countersOf(measured: Measured, { usages }: MeasuredQueues): MetricsSnapshot['counters'] {
  const { protocols, messaging, admission, mover, security, storage, metadata } = measured
  const counted = protocols.map((each) => ({ protocol: each.protocol, ...each.counters() }))
  const of = (name: Exclude<keyof (typeof counted)[number], 'protocol' | 'more'>): Sample[] =>
    counted.map(({ protocol, ...counts }) => [{ protocol }, counts[name]])
  const { user, system } = process.cpuUsage()
  const { adapter } = storage.capabilities
  return {
    connections_opened_total: of('opened'),
    connections_closed_total: counted.map(({ protocol, opened, connections }) => [
      { protocol },
      opened - connections,
    ]),
    messages_received_total: of('messagesIn'),
    messages_delivered_total: of('messagesOut'),
    messages_acknowledged_total: of('acknowledged'),
    messages_redelivered_total: of('redelivered'),
    messages_dropped_total: [
      ...counted.map(
        ({ protocol, dropped }): Sample => [{ protocol, reason: 'not-deliverable' }, dropped],
      ),
      [{ reason: 'peer-unreachable' }, messaging.counts.dropped],
      [{ reason: 'storage-full' }, messaging.counts.unkept],
      ...byReason(measured.losses.lostCounts),
    ],
    messages_dead_lettered_total: byReason(measured.losses.letterCounts),
    queue_sent_total: ofQueues(usages, 'sent'),
    queue_received_total: ofQueues(usages, 'received'),
    queue_deleted_total: ofQueues(usages, 'deleted'),
    queue_dead_lettered_total: ofQueues(usages, 'deadLettered'),
    received_bytes_total: of('bytesIn'),
    sent_bytes_total: of('bytesOut'),
    auth_failures_total: byReason(security.failures),
    acl_denied_total: of('denied'),
    throttled_total: byReason(admission.refusals),
    metadata_loads_total: alone(metadata.loads),
    metadata_changes_total: alone(metadata.changes),
    clients_moved_total: alone(mover.moved),
    storage_errors_total: [...storage.errors.byName].map(([name, count]) => {
      const [op = '', code = ''] = name.split(' ')
      return [{ adapter, op, code }, count]
    }),
    cpu_seconds_total: alone((user + system) / 1e6),
  }
}

function histogramsOf(measured: Measured): MetricsSnapshot['histograms'] {
  const { protocols, storage, rpc } = measured
  const { adapter } = storage.capabilities
  const named = ({ byName }: NamedLatencies, labelsOf: (name: string) => LatencySample[0]) =>
    [...byName].map(([name, latencies]): LatencySample => [labelsOf(name), latencies])
  return {
    publish_duration_seconds: protocols.map(({ protocol, latencies }) => [
      { protocol },
      latencies.publish,
    ]),
    delivery_duration_seconds: protocols.map(({ protocol, latencies }) => [
      { protocol },
      latencies.delivery,
    ]),
    storage_operation_duration_seconds: named(storage.latencies, (op) => ({ adapter, op })),
    rpc_duration_seconds: named(rpc, (name) => {
      const [method = '', code = ''] = name.split(' ')
      return { method, code }
    }),
    event_loop_delay_seconds: [[{}, measured.process.loop]],
    gc_duration_seconds: named(measured.process.collections, (kind) => ({ kind })),
  }
}

function kept(hosted: HostedShards) {
  let sessions = 0
  let offline = 0
  let retained = 0
  for (const shard of hosted.all()) {
    sessions += shard.sessions.size
    offline += shard.sessions.offline
    retained += shard.retained.size
  }
  return { connected: sessions - offline, offline, retained }
}

function statesOf(shards: ShardHost): Sample[] {
  const counts = { opening: 0, open: 0, closing: 0, 'data-loss': 0 }
  for (const { state } of shards.states()) counts[state]++
  return Object.entries(counts).map(([state, count]) => [{ state }, count])
}

function alone(value: number): readonly Sample[] {
  return [[{}, value]]
}

function byReason({ byName }: NamedCounts): Sample[] {
  return [...byName].map(([reason, count]) => [{ reason }, count])
}
