/** Groups of consumers, on the wire. */
import type { admin } from '@robust/proto'
import type {
  DescribedGroup,
  GroupAdministration,
  ListedGroup,
} from '../core/ports/group-administration.ts'
import type { TopicReader } from '../core/topics/topic-reader.ts'
import { answering } from './answering.ts'
import { type Page, pageOf } from './pages.ts'

export interface GroupCallsOptions {
  readonly self: string
  readonly topics: TopicReader
  readonly administration: {
    listGroups(page: Page): Promise<readonly ListedGroup[]>
    /** Of each protocol that has groups. */
    groups(): readonly GroupAdministration[]
  }
}

type GroupCall = 'listGroups' | 'describeGroup' | 'seekGroup' | 'deleteGroup' | 'findOffset'

const TENANT = 'default'

export function createGroupCalls({
  self: nodeId,
  topics,
  administration,
}: GroupCallsOptions): Pick<admin.BrokerAdminServer, GroupCall> {
  return {
    listGroups: answering(async (request: admin.ListRequest) => ({
      nodeId,
      groups: [...(await administration.listGroups(pageOf(request)))],
    })),
    describeGroup: answering(async ({ name }: admin.NamedGroup) => {
      const found = await first(administration.groups(), (groups) => groups.describe(name))
      if (found === undefined) return { coordinates: false }
      return found === null
        ? { coordinates: true }
        : { coordinates: true, group: await toWireGroup(topics, found) }
    }),
    seekGroup: answering(async ({ name, offsets }: admin.SeekGroupRequest) => {
      const existed = await first(administration.groups(), (groups) => groups.seek(name, offsets))
      return { coordinates: existed !== undefined, existed: existed === true }
    }),
    deleteGroup: answering(async ({ name }: admin.NamedGroup) => {
      const existed = await first(administration.groups(), (groups) => groups.delete(name))
      return { coordinates: existed !== undefined, existed: existed === true }
    }),
    findOffset: answering(async ({ topic, partition, timeMs }: admin.FindOffsetRequest) => {
      const offset = await first(administration.groups(), (groups) =>
        groups.offsetForTime({ topic, partition }, timeMs),
      )
      return { owns: offset !== undefined, ...(typeof offset === 'number' && { offset }) }
    }),
  }
}

async function first<T>(
  all: readonly GroupAdministration[],
  ask: (groups: GroupAdministration) => Promise<T | undefined>,
): Promise<T | undefined> {
  for (const groups of all) {
    const answer = await ask(groups)
    if (answer !== undefined) return answer
  }
  return undefined
}

/** With the ends of every partition that is read or committed, as storage has them. */
async function toWireGroup(topics: TopicReader, group: DescribedGroup): Promise<admin.Group> {
  const { members, offsets: committed } = group
  const read = members.flatMap(({ partitions }) => partitions)
  const names = [...new Set([...read, ...committed].map(({ topic }) => topic))].sort()
  const offsets: admin.GroupOffset[] = []
  for (const topic of names) {
    const ends = await topics.describe(TENANT, topic).catch(() => [])
    const assigned = read.filter((one) => one.topic === topic).flatMap((one) => one.partitions)
    for (const { partition, startOffset, endOffset } of ends) {
      const one = committed.find((each) => each.topic === topic && each.partition === partition)
      if (one === undefined && !assigned.includes(partition)) continue
      const at = one && { offset: one.offset }
      const committedAtMs = one?.committedAtMs ?? 0
      offsets.push({ topic, partition, startOffset, endOffset, committedAtMs, ...at })
    }
  }
  return {
    ...group,
    offsets,
    members: members.map((member) => ({
      ...member,
      partitions: member.partitions.map(({ topic, partitions }) => ({
        ...{ topic, partitions: [...partitions] },
      })),
    })),
  }
}
