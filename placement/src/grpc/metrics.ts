/** The numbers of this node for a monitoring system: those of its Raft member, and its own. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import { type Raft, type RaftMetric, renderPrometheus } from 'raft-ts'
import { RESOURCE_KINDS } from '../metadata/resources.ts'
import type { MetadataMachine } from '../replication/metadata-machine.ts'

export interface MetricsOptions {
  readonly raft: Raft
  readonly machine: MetadataMachine
}

const DELAY_RESOLUTION_MS = 10
const QUANTILES = [0.5, 0.99, 1] as const

/** Since the process began. */
const delay = monitorEventLoopDelay({ resolution: DELAY_RESOLUTION_MS })
delay.enable()

/** Prometheus text, exposition format 0.0.4. */
export function renderMetrics({ raft, machine }: MetricsOptions): string {
  const { nodes, shards, resources, events } = machine.state
  const opened = shards.filter((shard) => shard.opened).length
  const owned = shards.filter(({ owner }) => owner !== undefined).length
  const draining = [...nodes.values()].filter(({ drain }) => drain !== undefined).length
  const { rss, heapUsed } = process.memoryUsage()
  const own: RaftMetric[] = [
    gauge('placement_nodes', 'Brokers that are members', [
      [{ state: 'active' }, nodes.size - draining],
      [{ state: 'draining' }, draining],
    ]),
    gauge('placement_shards', 'Shards: served, granted and not served yet, without an owner', [
      [{ state: 'open' }, opened],
      [{ state: 'granted' }, owned - opened],
      [{ state: 'free' }, shards.length - owned],
    ]),
    gauge(
      'placement_resources',
      'Topics, queues and so on',
      RESOURCE_KINDS.map((kind) => [{ kind }, resources.count(kind)]),
    ),
    gauge('placement_decisions', 'Decisions ever recorded', [[{}, events.sequence]]),
    gauge(
      'placement_event_loop_delay_seconds',
      'How late the event loop was, since the start; quantile 1 is the worst',
      QUANTILES.map((quantile) => [{ quantile: String(quantile) }, delaySeconds(quantile)]),
    ),
    gauge('process_resident_memory_bytes', 'Memory', [[{}, rss]]),
    gauge('process_heap_used_bytes', 'Of the JavaScript heap', [[{}, heapUsed]]),
  ]
  return renderPrometheus([...own, ...raft.metrics()], { node: raft.status().nodeId })
}

/** The timer that measures is late by its own resolution when nothing is. */
function delaySeconds(quantile: number): number {
  const ns = quantile === 1 ? delay.max : delay.percentile(quantile * 100)
  return Math.max(0, ns / 1e9 - DELAY_RESOLUTION_MS / 1e3)
}

type Sample = readonly [Readonly<Record<string, string>>, number]

function gauge(name: string, help: string, samples: readonly Sample[]): RaftMetric {
  const all = samples.map(([labels, value]) => ({ suffix: '' as const, labels, value }))
  return { name, kind: 'gauge', help, samples: all }
}
