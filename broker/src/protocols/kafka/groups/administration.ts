/** Groups for operators: see core/ports/group-administration.ts. */
import { BrokerError } from '../../../core/errors.ts'
import type {
  DescribedGroup,
  GroupAdministration,
  SoughtOffset,
} from '../../../core/ports/group-administration.ts'
import type { Topic, TopicLogs } from '../../../core/topics/topic-logs.ts'
import type { CoordinatedGroup } from './coordinated-group.ts'
import type { Coordinator } from './coordinator.ts'
import { partitionKey } from './partition-set.ts'
import { originOf, type ShareGroup } from './share-group.ts'
import type { ShareServices } from './share-services.ts'

interface Parts {
  readonly coordinator: Coordinator
  readonly topics: TopicLogs
  readonly shares: Pick<ShareServices, 'partitions'>
}

export function administrationOf(parts: Parts): GroupAdministration {
  const { coordinator, topics } = parts
  return {
    list: async () =>
      (await coordinator.all()).map(([name, { group }]) => {
        const { state, members } = group.summary
        return { name, type: group.kind, state, members: members.length }
      }),
    describe: async (name) => {
      const found = await coordinator.find(name)
      if (found === undefined) return undefined
      return found.isKnown ? describe(parts, name, found) : null
    },
    seek: async (name, sought) => {
      const offsets = sought.map((one) => placed(topics, one))
      const found = await coordinator.find(name)
      if (found === undefined) return undefined
      refuseMembers(name, found)
      const existed = found.isKnown
      if (!(await seek(found, offsets))) throw moved(name)
      return existed
    },
    delete: async (name) => {
      const found = await coordinator.find(name)
      if (found === undefined) return undefined
      if (!found.isKnown) return false
      refuseMembers(name, found)
      if (!(await coordinator.delete(name, found))) throw moved(name)
      return true
    },
    offsetForTime: async ({ topic: name, partition }, timeMs) => {
      const served = await topics.serve(existing(topics, name, partition), partition)
      if (served === undefined) return undefined
      return (await served.offsetForTime(timeMs))?.offset ?? null
    },
  }
}

/** A group that shares is told where to begin anew. False: the shard is lost. */
function seek(found: CoordinatedGroup, offsets: readonly ReturnType<typeof placed>[]) {
  const { group } = found
  if (group.kind !== 'share') return found.commit(offsets)
  const starts = offsets.map(
    ({ topicId, partition, offset }) => [partitionKey(topicId, partition), offset] as const,
  )
  return group.reset(new Map(starts))
}

async function describe(
  parts: Parts,
  name: string,
  found: CoordinatedGroup,
): Promise<DescribedGroup> {
  const { group } = found
  const offsets =
    group.kind === 'share' ? await startsOf(parts, name, group) : await committedIn(parts, found)
  return { name, type: group.kind, ...group.summary, reason: group.reason, offsets }
}

type Offsets = DescribedGroup['offsets']

async function committedIn({ topics }: Parts, found: CoordinatedGroup): Promise<Offsets> {
  const committed = await found.committed()
  return committed.flatMap(({ topicId, partition, offset, committedAtMs }) => {
    const topic = topics.byId(topicId)?.name
    return topic === undefined ? [] : [{ topic, partition, offset, committedAtMs }]
  })
}

/** Of the first record of each partition that is not done. */
async function startsOf(
  { topics, shares }: Parts,
  groupName: string,
  group: ShareGroup,
): Promise<Offsets> {
  const places = group.topicsSeen.flatMap((id) => {
    const topic = topics.byId(id)
    if (topic === undefined) return []
    return Array.from({ length: topic.partitions }, (_, partition) => ({ topic, partition }))
  })
  const found = places.map(async ({ topic, partition }) => {
    const origin = originOf(group.stored, partitionKey(topic.id, partition))
    const place = { topic, partition, group: groupName }
    const offset = await shares.partitions.startOf(place, origin)
    return offset === undefined ? [] : [{ topic: topic.name, partition, offset, committedAtMs: 0 }]
  })
  return (await Promise.all(found)).flat()
}

function placed(topics: TopicLogs, { topic: name, partition, offset }: SoughtOffset) {
  const { id: topicId } = existing(topics, name, partition)
  return { topicId, partition, offset, leaderEpoch: -1, metadata: '' }
}

function existing(topics: TopicLogs, name: string, partition: number): Topic {
  const topic = topics.get(name)
  if (topic !== undefined && partition < topic.partitions) return topic
  const message = topic === undefined ? `no topic ${name}` : `no partition ${partition} of ${name}`
  throw new BrokerError('NOT_FOUND', `there is ${message}`)
}

function refuseMembers(name: string, { group }: CoordinatedGroup): void {
  if (group.isIdle) return
  throw new BrokerError('REFUSED', `group ${name} has members; stop them first`)
}

function moved(name: string): BrokerError {
  return new BrokerError('UNAVAILABLE', `the coordinator of group ${name} changes just now`)
}
