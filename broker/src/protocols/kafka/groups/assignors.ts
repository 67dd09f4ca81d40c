/**
 * How the partitions of topics are spread over the members of a group that read them (KIP-848). Pure, and the same
 * for the same input in any order of members.
 */
import { type PartitionSet, partitionKey, topicOfKey } from './partition-set.ts'

export interface AssignedMember {
  readonly id: string
  /** What sorts it: the name of a static member, so that it has the same partitions when it is back. */
  readonly order: string
  /** Ids of what it reads. */
  readonly topics: ReadonlySet<string>
  /** What it was assigned before. */
  readonly before: PartitionSet
}

export interface AssignorInput {
  readonly members: readonly AssignedMember[]
  /** Of each topic that is there, by id. */
  readonly partitions: ReadonlyMap<string, number>
}

/** Of every member, by id. */
export type Assigned = ReadonlyMap<string, PartitionSet>

export type AssignorName = 'uniform' | 'range'

/** The first one is taken when no member asks for another. */
export const ASSIGNORS: Readonly<Record<AssignorName, (input: AssignorInput) => Assigned>> = {
  uniform,
  range,
}

/** Equal numbers for all that read the same, with as few moves as that needs. */
function uniform({ members, partitions }: AssignorInput): Assigned {
  const sorted = inOrder(members)
  const assigned = new Map<string, Set<string>>(sorted.map(({ id }) => [id, new Set<string>()]))
  const readers = readersOf(sorted, partitions)
  const taken = new Set<string>()
  for (const { id, topics, before } of sorted) {
    for (const key of before) {
      const isThere = Number(key.slice(key.lastIndexOf('/') + 1)) < partitionsOf(key, partitions)
      if (!isThere || taken.has(key) || !topics.has(topicOfKey(key))) continue
      taken.add(key)
      assigned.get(id)?.add(key)
    }
  }
  for (const [topicId, count] of partitions) {
    for (let partition = 0; partition < count; partition++) {
      const key = partitionKey(topicId, partition)
      if (taken.has(key)) continue
      const least = leastLoaded(readers.get(topicId) ?? [], assigned)
      if (least !== undefined) assigned.get(least)?.add(key)
    }
  }
  balance(sorted, readers, assigned)
  return assigned
}

/**
 * Moves partitions one by one from those with the most to those with at least two fewer, until there are none. Whoever
 * has the most comes first, so that nobody gives what another would have to give back.
 */
function balance(
  members: readonly AssignedMember[],
  readers: ReadonlyMap<string, readonly string[]>,
  assigned: ReadonlyMap<string, Set<string>>,
): void {
  const loads = members.map(({ id }) => assigned.get(id) ?? new Set<string>())
  for (let hasMoved = true; hasMoved; ) {
    hasMoved = false
    for (let level = Math.max(...loads.map(({ size }) => size)); level > 1; level--) {
      for (const has of loads) {
        if (has.size === level && giveOne(has, readers, assigned)) hasMoved = true
      }
    }
  }
}

/** False: whoever could have one has nearly as many. */
function giveOne(
  has: Set<string>,
  readers: ReadonlyMap<string, readonly string[]>,
  assigned: ReadonlyMap<string, Set<string>>,
): boolean {
  const looked = new Set<string>()
  for (const key of has) {
    const topicId = topicOfKey(key)
    if (looked.has(topicId)) continue
    looked.add(topicId)
    const least = leastLoaded(readers.get(topicId) ?? [], assigned)
    const target = least === undefined ? undefined : assigned.get(least)
    if (target === undefined || target.size + 2 > has.size) continue
    has.delete(key)
    target.add(key)
    return true
  }
  return false
}

/** Of each topic a row of neighbours for each member: topics alike are split alike. */
function range({ members, partitions }: AssignorInput): Assigned {
  const sorted = inOrder(members)
  const assigned = new Map<string, Set<string>>(sorted.map(({ id }) => [id, new Set<string>()]))
  for (const [topicId, readers] of readersOf(sorted, partitions)) {
    const count = partitions.get(topicId) ?? 0
    const each = Math.floor(count / readers.length)
    const more = count % readers.length
    let next = 0
    for (const [at, id] of readers.entries()) {
      const end = next + each + (at < more ? 1 : 0)
      for (; next < end; next++) assigned.get(id)?.add(partitionKey(topicId, next))
    }
  }
  return assigned
}

function inOrder(members: readonly AssignedMember[]): readonly AssignedMember[] {
  return members.toSorted((a, b) => {
    if (a.order !== b.order) return a.order < b.order ? -1 : 1
    return a.id < b.id ? -1 : 1
  })
}

/** Of each topic that is there. */
function readersOf(
  members: readonly AssignedMember[],
  partitions: ReadonlyMap<string, number>,
): ReadonlyMap<string, readonly string[]> {
  const readers = new Map<string, string[]>()
  for (const { id, topics } of members) {
    for (const topicId of topics) {
      if (!partitions.has(topicId)) continue
      const all = readers.get(topicId) ?? []
      all.push(id)
      readers.set(topicId, all)
    }
  }
  return readers
}

function partitionsOf(key: string, partitions: ReadonlyMap<string, number>): number {
  return partitions.get(topicOfKey(key)) ?? 0
}

function leastLoaded(
  readers: readonly string[],
  assigned: ReadonlyMap<string, PartitionSet>,
): string | undefined {
  let least: string | undefined
  let load = Number.POSITIVE_INFINITY
  for (const id of readers) {
    const size = assigned.get(id)?.size ?? 0
    if (size >= load) continue
    least = id
    load = size
  }
  return least
}
