/** Partitions of several topics as a set of texts: `TOPIC-ID/PARTITION`. */

export type PartitionSet = ReadonlySet<string>

export interface PartitionsById {
  readonly topicId: string
  readonly partitions: readonly number[]
}

export const NO_PARTITIONS: PartitionSet = new Set()

export function partitionKey(topicId: string, partition: number): string {
  return `${topicId}/${partition}`
}

export function topicOfKey(key: string): string {
  return key.slice(0, key.lastIndexOf('/'))
}

export function partitionOfKey(key: string): number {
  return Number(key.slice(key.lastIndexOf('/') + 1))
}

export function setOf(topics: readonly PartitionsById[]): Set<string> {
  return new Set(
    topics.flatMap(({ topicId, partitions }) =>
      partitions.map((partition) => partitionKey(topicId, partition)),
    ),
  )
}

/** By topic, partitions in their order. */
export function byTopic(set: PartitionSet): readonly PartitionsById[] {
  const topics = new Map<string, number[]>()
  for (const key of set) {
    const topicId = topicOfKey(key)
    const partitions = topics.get(topicId) ?? []
    partitions.push(partitionOfKey(key))
    topics.set(topicId, partitions)
  }
  return [...topics].map(([topicId, partitions]) => ({
    ...{ topicId, partitions: partitions.sort((a, b) => a - b) },
  }))
}

export function both(a: PartitionSet, b: PartitionSet): Set<string> {
  return new Set([...a].filter((key) => b.has(key)))
}

export function without(a: PartitionSet, b: PartitionSet): Set<string> {
  return new Set([...a].filter((key) => !b.has(key)))
}

export function sameSet(a: PartitionSet, b: PartitionSet): boolean {
  return a.size === b.size && [...a].every((key) => b.has(key))
}
