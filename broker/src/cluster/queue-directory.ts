/** Keeps the core's queues as the metadata has them, and says how they are kept there. */
import { QUEUE_SETTINGS, type QueueConfig, type QueueSettingName, queueValue } from '@robust/proto'
import type { KnownResource, Resources } from '../core/ports/resources.ts'
import { queueKey } from '../core/queues/queue-key.ts'
import type { QueuePolicy } from '../core/queues/queue-policy.ts'
import type { QueueTable } from '../core/queues/queue-table.ts'
import type { KnownQueue } from '../core/queues/queues.ts'

export const QUEUE = 'queue'
/** Named by the id of a queue that was deleted. */
export const DELETED_QUEUE = 'deleted-queue'

/** Now, and with each change. */
export function followQueues(resources: Resources, queues: QueueTable): void {
  for (const resource of resources.list(QUEUE)) queues.set(queueOf(resource))
  resources.observe(QUEUE, ({ tenant, name }, now) => {
    if (now === undefined) queues.remove(tenant, name)
    else queues.set(queueOf(now))
  })
  for (const resource of resources.list(DELETED_QUEUE)) {
    queues.markDeleted(Number(resource.name), deletedKey(resource))
  }
  resources.observe(DELETED_QUEUE, ({ name }, now) => {
    queues.markDeleted(Number(name), now && deletedKey(now))
  })
}

function deletedKey({ tenant, value }: KnownResource): string {
  return queueKey(tenant, (JSON.parse(value) as { readonly name: string }).name)
}

export function queueOf({ tenant, name, created, version, value }: KnownResource): KnownQueue {
  const { bindings, config, dialects } = queueValue(value)
  return { tenant, name, id: created, version, policy: policyOf(config), bindings, dialects }
}

/** As it is stored: what is as usual is left out. */
export function storedValueOf({
  policy,
  bindings,
  dialects,
}: Pick<KnownQueue, 'policy' | 'bindings' | 'dialects'>): string {
  const config = Object.entries(configOf(policy)).filter(
    ([name, value]) => QUEUE_SETTINGS[name as QueueSettingName].default !== value,
  )
  return JSON.stringify({ bindings, config: Object.fromEntries(config), dialects })
}

/** By the names that people use. */
export function configOf(policy: QueuePolicy): QueueConfig {
  return {
    'lease-ms': policy.leaseMs,
    'delay-ms': policy.delayMs,
    'retention-ms': policy.retentionMs ?? null,
    'retention-from': policy.retentionFrom,
    'dead-letter-expired': policy.deadLetterExpired,
    'length-max': policy.lengthMax ?? null,
    'bytes-max': policy.bytesMax ?? null,
    overflow: policy.overflow,
    priorities: policy.priorities,
    'priority-default': policy.priorityDefault,
    order: policy.order,
    'single-consumer': policy.singleConsumer,
    fair: policy.fair,
    'deduplication-ms': policy.deduplicationMs,
    'deduplication-by': policy.deduplicationBy,
    'deduplication-scope': policy.deduplicationScope,
    'deliveries-max': policy.deliveriesMax ?? null,
    'dead-letter-queue': policy.deadLetterQueue ?? null,
    'retry-min-ms': policy.retry.minMs,
    'retry-max-ms': policy.retry.maxMs,
    'retry-growth': policy.retry.growth,
    'in-flight-max': policy.inFlightMax,
    dispatch: policy.dispatch,
  }
}

/** What was stored was checked before: a choice is one of those that the policy knows. */
export function policyOf(config: QueueConfig): QueuePolicy {
  const number = (name: QueueSettingName): number => Number(config[name])
  const limit = (name: QueueSettingName): number | undefined =>
    config[name] === null ? undefined : number(name)
  const flag = (name: QueueSettingName): boolean => config[name] === true
  const deadLetterQueue = config['dead-letter-queue']
  return {
    leaseMs: number('lease-ms'),
    delayMs: number('delay-ms'),
    retentionMs: limit('retention-ms'),
    retentionFrom: config['retention-from'] as QueuePolicy['retentionFrom'],
    deadLetterExpired: flag('dead-letter-expired'),
    lengthMax: limit('length-max'),
    bytesMax: limit('bytes-max'),
    overflow: config.overflow as QueuePolicy['overflow'],
    priorities: number('priorities'),
    priorityDefault: number('priority-default'),
    order: config.order as QueuePolicy['order'],
    singleConsumer: flag('single-consumer'),
    fair: flag('fair'),
    deduplicationMs: number('deduplication-ms'),
    deduplicationBy: config['deduplication-by'] as QueuePolicy['deduplicationBy'],
    deduplicationScope: config['deduplication-scope'] as QueuePolicy['deduplicationScope'],
    deliveriesMax: limit('deliveries-max'),
    deadLetterQueue: typeof deadLetterQueue === 'string' ? deadLetterQueue : undefined,
    retry: {
      minMs: number('retry-min-ms'),
      maxMs: number('retry-max-ms'),
      growth: number('retry-growth'),
    },
    inFlightMax: number('in-flight-max'),
    dispatch: config.dispatch as QueuePolicy['dispatch'],
  }
}
