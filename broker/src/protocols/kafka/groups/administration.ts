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

interface Parts {
  readonly coordinator: Coordinator
  readonly topics: TopicLogs
}

export function administrationOf({ coordinator, topics }: Parts): GroupAdministration {
  return {
    list: async () =>
      (await coordinator.all()).map(([name, { group }]) => {
        const { state, members } = group.summary
        return { name, type: group.kind, state, members: members.length }
      }),
    describe: async (name) => {
      const found = await coordinator.find(name)
      if (found === undefined) return undefined
      return found.isKnown ? describe(topics, name, found) : null
    },
    seek: async (name, sought) => {
      const offsets = sought.map((one) => placed(topics, one))
      const found = await coordinator.find(name)
      if (found === undefined) return undefined
      refuseMembers(name, found)
      const existed = found.isKnown
      if (!(await found.commit(offsets))) throw moved(name)
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

async function describe(
  topics: TopicLogs,
  name: string,
  found: CoordinatedGroup,
): Promise<DescribedGroup> {
  const { group } = found
  const committed = await found.committed()
  const offsets = committed.flatMap(({ topicId, partition, offset, committedAtMs }) => {
    const topic = topics.byId(topicId)?.name
    return topic === undefined ? [] : [{ topic, partition, offset, committedAtMs }]
  })
  return { name, type: group.kind, ...group.summary, reason: group.reason, offsets }
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
