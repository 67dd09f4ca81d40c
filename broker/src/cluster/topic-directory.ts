/** Keeps the core's topics as the metadata has them. */
import { topicValue } from '@robust/proto'
import type { LogPolicy } from '../core/logs/log-policy.ts'
import type { KnownResource, Resources } from '../core/ports/resources.ts'
import type { Topic } from '../core/topics/topic.ts'
import type { Topics } from '../core/topics/topics.ts'

export const TOPIC = 'topic'
/** Named by the id of a topic that was deleted. */
export const DELETED = 'deleted-topic'

/** Now, and with each change. */
export function followTopics(resources: Resources, topics: Topics): void {
  for (const resource of resources.list(TOPIC)) topics.set(topicOf(resource))
  resources.observe(TOPIC, ({ tenant, name }, now) => {
    if (now === undefined) topics.remove(tenant, name)
    else topics.set(topicOf(now))
  })
  for (const { name } of resources.list(DELETED)) topics.markDeleted(name, true)
  resources.observe(DELETED, ({ name }, now) => topics.markDeleted(name, now !== undefined))
}

function topicOf({ tenant, name, created, value }: KnownResource): Topic {
  const { partitions, capture, config } = topicValue(value)
  return {
    ...{ tenant, name, partitions, capture },
    id: String(created),
    address: name,
    policy: policyOf(config),
  }
}

function policyOf(config: ReturnType<typeof topicValue>['config']): LogPolicy {
  const cleanup = String(config.cleanup)
  const deletes = cleanup.includes('delete')
  const number = (name: keyof typeof config): number => Number(config[name])
  const limit = (name: keyof typeof config): number | undefined =>
    deletes && config[name] !== null ? number(name) : undefined
  return {
    retentionMs: limit('retention-ms'),
    retentionBytes: limit('retention-bytes'),
    compact: cleanup.includes('compact'),
    tombstoneDelayMs: number('tombstone-delay-ms'),
    compactionLagMs: number('compaction-lag-ms'),
    dirtyRatio: number('dirty-percent') / 100,
    batchBytesMax: number('batch-bytes-max'),
    segmentBytes: number('segment-bytes'),
    segmentMs: number('segment-ms'),
    appendTime: config.timestamps === 'broker',
  }
}
