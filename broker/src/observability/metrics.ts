/**
 * The numbers of this broker, as Prometheus reads them. What happens often is counted in plain fields and copied
 * when somebody asks; sums never fall when a connection closes. docs/metrics.md is compared with this list.
 */
import { Counter, Gauge, type Metric, Registry } from 'prom-client'
import { LATENCY_BOUNDS_SECONDS, type Latencies } from '../core/ports/telemetry.ts'

export type Labels = Readonly<Record<string, string>>
export type Sample = readonly [Labels, number]
export type LatencySample = readonly [Labels, Latencies]

interface FamilyShape {
  readonly help: string
  readonly labels: readonly string[]
}

/** Names without the prefix. Gauges are as it is now, counters and histograms since the process began. */
export const GAUGES = {
  build_info: { help: 'Always 1', labels: ['version'] },
  start_time_seconds: { help: 'When the process began, Unix time', labels: [] },
  ready: { help: '1: a member of the cluster whose listeners are open', labels: [] },
  connections: { help: 'Open connections', labels: ['protocol'] },
  sessions: { help: 'Durable sessions on the shards of this broker', labels: ['state'] },
  subscriptions: { help: 'Filters that clients of this broker are subscribed to', labels: [] },
  retained_messages: { help: 'Retained messages on the shards of this broker', labels: [] },
  addresses: { help: 'Named addresses in the metadata', labels: ['kind'] },
  queue_messages: {
    help: 'Messages of a queue on the shards of this broker',
    labels: ['tenant', 'queue', 'state'],
  },
  queue_oldest_age_seconds: {
    help: 'Age of the oldest message that is to be given out; 0: there is none',
    labels: ['tenant', 'queue'],
  },
  queues_unmeasured: { help: 'Queues of this broker that have no series of their own', labels: [] },
  shards: { help: 'Shards of this broker', labels: ['state'] },
  bridge_connected: {
    help: '1: the bridge, which this broker runs, has the other side',
    labels: ['bridge'],
  },
  storage_pressure_ratio: { help: 'How near storage is to refusing: 1 is full', labels: [] },
  placement_connected: { help: '1: the registration holds', labels: [] },
  placement_cache_age_seconds: {
    help: 'Since the last heartbeat that was answered',
    labels: [],
  },
  heap_used_bytes: { help: 'Of the JavaScript heap', labels: [] },
  heap_total_bytes: { help: 'Of the JavaScript heap', labels: [] },
  resident_memory_bytes: { help: 'Of the process', labels: [] },
} as const satisfies Record<string, FamilyShape>

export const COUNTERS = {
  connections_opened_total: { help: 'Connections that came', labels: ['protocol'] },
  connections_closed_total: { help: 'Connections that ended', labels: ['protocol'] },
  messages_received_total: { help: 'Messages that clients published', labels: ['protocol'] },
  messages_delivered_total: { help: 'Messages sent to clients', labels: ['protocol'] },
  messages_acknowledged_total: {
    help: 'Messages that clients have acknowledged',
    labels: ['protocol'],
  },
  messages_redelivered_total: { help: 'Messages that were sent again', labels: ['protocol'] },
  messages_dropped_total: {
    help: 'Messages that were not delivered or not kept',
    labels: ['protocol', 'reason'],
  },
  messages_dead_lettered_total: {
    help: 'Messages that a session does not get and that were published elsewhere',
    labels: ['reason'],
  },
  queue_sent_total: {
    help: 'Messages that a queue took, moved ones included',
    labels: ['tenant', 'queue'],
  },
  queue_received_total: {
    help: 'Messages that a queue gave out, repetitions included',
    labels: ['tenant', 'queue'],
  },
  queue_deleted_total: {
    help: 'Messages of a queue that were acknowledged',
    labels: ['tenant', 'queue'],
  },
  queue_dead_lettered_total: {
    help: 'Messages that a queue has given up to its dead-letter queue',
    labels: ['tenant', 'queue'],
  },
  received_bytes_total: { help: 'Bytes from clients', labels: ['protocol'] },
  sent_bytes_total: { help: 'Bytes to clients', labels: ['protocol'] },
  auth_failures_total: {
    help: 'Clients whose credentials were not taken',
    labels: ['reason'],
  },
  acl_denied_total: { help: 'Messages that their clients may not publish', labels: ['protocol'] },
  throttled_total: { help: 'Connections that were refused', labels: ['reason'] },
  metadata_loads_total: { help: 'Times that all metadata was loaded', labels: [] },
  metadata_changes_total: { help: 'Changes of the metadata that came one by one', labels: [] },
  clients_moved_total: { help: 'Clients sent to other brokers', labels: [] },
  storage_errors_total: {
    help: 'Storage operations that failed',
    labels: ['adapter', 'op', 'code'],
  },
  cpu_seconds_total: { help: 'User and system time of the process', labels: [] },
} as const satisfies Record<string, FamilyShape>

export const HISTOGRAMS = {
  publish_duration_seconds: {
    help: 'From a QoS 1 or 2 message to its acknowledgement',
    labels: ['protocol'],
  },
  delivery_duration_seconds: {
    help: 'From when a broker took a QoS 1 or 2 message to when it was sent for the first time',
    labels: ['protocol'],
  },
  storage_operation_duration_seconds: {
    help: 'Operations of the storage port',
    labels: ['adapter', 'op'],
  },
  rpc_duration_seconds: {
    help: 'Calls to the Placement Center and to brokers',
    labels: ['method', 'code'],
  },
  event_loop_delay_seconds: { help: 'How late the event loop was', labels: [] },
  gc_duration_seconds: { help: 'Garbage collections', labels: ['kind'] },
} as const satisfies Record<string, FamilyShape>

export interface MetricsSnapshot {
  readonly gauges: Readonly<Record<keyof typeof GAUGES, readonly Sample[]>>
  readonly counters: Readonly<Record<keyof typeof COUNTERS, readonly Sample[]>>
  readonly histograms: Readonly<Record<keyof typeof HISTOGRAMS, readonly LatencySample[]>>
}

export const PREFIX = 'robust_'

export interface Metrics {
  readonly contentType: string
  render(): Promise<string>
}

export function createMetrics(
  node: string,
  read: () => MetricsSnapshot | Promise<MetricsSnapshot>,
): Metrics {
  const registry = new Registry()
  registry.setDefaultLabels({ node })
  let snapshot: MetricsSnapshot | undefined
  for (const [name, shape] of Object.entries(GAUGES)) {
    const samples = () => snapshot?.gauges[name as keyof typeof GAUGES] ?? []
    new Gauge({
      ...configuration(name, shape, registry),
      collect() {
        this.reset()
        for (const [labels, value] of samples()) this.set(labels, value)
      },
    })
  }
  for (const [name, shape] of Object.entries(COUNTERS)) {
    const samples = () => snapshot?.counters[name as keyof typeof COUNTERS] ?? []
    new Counter({
      ...configuration(name, shape, registry),
      collect() {
        this.reset()
        for (const [labels, value] of samples()) this.inc(labels, value)
      },
    })
  }
  for (const [name, shape] of Object.entries(HISTOGRAMS)) {
    const samples = () => snapshot?.histograms[name as keyof typeof HISTOGRAMS] ?? []
    registry.registerMetric(copiedHistogram(PREFIX + name, shape.help, samples))
  }
  return {
    contentType: registry.contentType,
    render: async () => {
      snapshot = await read()
      return registry.metrics()
    },
  }
}

function configuration(name: string, { help, labels }: FamilyShape, registry: Registry) {
  return { name: PREFIX + name, help, labelNames: [...labels], registers: [registry] }
}

/** The library would count observations one by one; these were counted where they were made. */
function copiedHistogram(name: string, help: string, samples: () => readonly LatencySample[]) {
  const get = () => {
    const values = samples().flatMap(([labels, latencies]) => seriesOf(name, labels, latencies))
    return Promise.resolve({ name, help, type: 'histogram', aggregator: 'sum', values })
  }
  // All that a registry asks of a metric.
  return { name, get } as unknown as Metric
}

interface Series {
  readonly metricName: string
  readonly labels: Labels
  readonly value: number
}

function seriesOf(name: string, labels: Labels, { counts, sumMs }: Latencies): Series[] {
  const series: Series[] = []
  let total = 0
  for (const [at, count] of counts.entries()) {
    total += count
    const le = String(LATENCY_BOUNDS_SECONDS[at] ?? '+Inf')
    series.push({ metricName: `${name}_bucket`, labels: { ...labels, le }, value: total })
  }
  series.push({ metricName: `${name}_sum`, labels, value: sumMs / 1_000 })
  series.push({ metricName: `${name}_count`, labels, value: total })
  return series
}
