/** A topic: a named set of logs that keep what is published to its address, and to every address it captures. */
import type { LogPolicy } from '../logs/log-policy.ts'
import { hashOf, shardOf } from '../shard-hash.ts'

export interface Topic {
  readonly tenant: string
  readonly name: string
  /** Never given twice, so that a topic made anew does not find the records of its namesake. */
  readonly id: string
  /** Messages published here are kept. */
  readonly address: string
  readonly partitions: number
  /** Filters; messages published to an address that one of them matches are kept too. */
  readonly capture: readonly string[]
  readonly policy: LogPolicy
}

/** One partition of a topic: its log, and the shard that the log is on. */
export interface Partition {
  readonly shard: number
  readonly log: string
}

const LOGS = 'topic/'

export function partitionOf(topic: Topic, partition: number, shardCount: number): Partition {
  const key = `${topic.tenant}/${topic.name}/${partition}`
  return { shard: shardOf('topic', key, shardCount), log: `${LOGS}${topic.id}/${partition}` }
}

/** Messages of one key, or of one address where there is none, keep their order. */
export function partitionFor(topic: Topic, key: string): number {
  return hashOf(key) % topic.partitions
}

/** The id of the topic whose log it is; undefined: it is no topic's. */
export function topicIdOf(log: string): string | undefined {
  if (!log.startsWith(LOGS)) return undefined
  return log.slice(LOGS.length, log.lastIndexOf('/'))
}
