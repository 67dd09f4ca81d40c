/** What is read off the queues of a broker when its metrics are scraped: of a limited number, the first by name. */
import type { HostedShards } from './core/hosted-shard.ts'
import type { HostedQueues, QueueCounts, QueueUsage } from './core/queues/hosted-queues.ts'
import { queueNameOf, tenantOf } from './core/queues/queue-key.ts'
import type { MetricsSnapshot, Sample } from './observability/metrics.ts'

export interface MeasuredQueues {
  readonly usages: readonly QueueUsage[]
  /** Queues that were not asked. */
  readonly others: number
}

/** Eight series each: as many as a scrape of some ten milliseconds has room for. */
export const QUEUES_MEASURED_MAX = 500

type QueuesOfShard = { readonly queues: Pick<HostedQueues, 'names' | 'usage'> }

export async function measuredQueues(
  hosted: Pick<HostedShards, 'all'> | { all(): Iterable<QueuesOfShard> },
): Promise<MeasuredQueues> {
  const found: { readonly name: string; readonly queues: QueuesOfShard['queues'] }[] = []
  for (const { queues } of hosted.all()) {
    for (const name of queues.names()) found.push({ name, queues })
  }
  // Always the same ones, as long as there are no others.
  found.sort((a, b) => (a.name < b.name ? -1 : 1))
  const chosen = found.slice(0, QUEUES_MEASURED_MAX)
  const usages = await Promise.all(chosen.map(({ name, queues }) => queues.usage(name)))
  return {
    usages: usages.filter((usage) => usage !== undefined),
    others: found.length - chosen.length,
  }
}

function labelsOf({ queue }: QueueUsage) {
  return { tenant: tenantOf(queue), queue: queueNameOf(queue) }
}

type QueueGauges = 'queue_messages' | 'queue_oldest_age_seconds' | 'queues_unmeasured'

export function queueGauges(
  { usages, others }: MeasuredQueues,
  nowMs = Date.now(),
): Pick<MetricsSnapshot['gauges'], QueueGauges> {
  return {
    queue_messages: usages.flatMap((usage): Sample[] => [
      [{ ...labelsOf(usage), state: 'ready' }, usage.ready],
      [{ ...labelsOf(usage), state: 'in-flight' }, usage.inFlight],
      [{ ...labelsOf(usage), state: 'delayed' }, usage.delayed],
    ]),
    queue_oldest_age_seconds: usages.map((usage): Sample => {
      const { oldestAtMs = nowMs } = usage
      return [labelsOf(usage), Math.max(0, nowMs - oldestAtMs) / 1_000]
    }),
    queues_unmeasured: [[{}, others]],
  }
}

export function ofQueues(usages: readonly QueueUsage[], name: keyof QueueCounts): Sample[] {
  return usages.map((usage): Sample => [labelsOf(usage), usage.counts[name]])
}
