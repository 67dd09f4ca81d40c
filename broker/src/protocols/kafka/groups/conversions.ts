/** A group by the classic protocol as one whose coordinator assigns partitions, and back (KIP-848). */

import { assignmentFor, CONSUMERS } from './classic-members.ts'
import type { StoredConsumerGroup } from './consumer-group.ts'
import type { ConsumerMember, StoredConsumerMember } from './consumer-member.ts'
import type { StoredGroup } from './group.ts'
import { choiceOf, metadataOf, type StoredMember } from './member.ts'
import type { PartitionsById } from './partition-set.ts'
import type { TopicCatalogue } from './subscribed-topics.ts'
import { assignmentOf, subscribedTopics } from './subscription.ts'

/** Everybody keeps what it has. Undefined: a member is no consumer, and what it reads cannot be known. */
export function toConsumerGroup(
  stored: StoredGroup,
  topics: TopicCatalogue,
): StoredConsumerGroup | undefined {
  if (stored.members.length > 0 && stored.protocolType !== CONSUMERS) return undefined
  const members: StoredConsumerMember[] = []
  for (const member of stored.members) {
    const names = subscribedTopics(Buffer.from(member.metadata, 'base64'))
    if (names === undefined) return undefined
    members.push(consumerOf(member, { names, stored, topics }))
  }
  return {
    ...{ kind: 'consumer', epoch: stored.generation, targetEpoch: stored.generation },
    ...{ assignor: 'uniform', partitions: [], members },
  }
}

function consumerOf(
  { id, instanceId, clientId, clientHost, sessionMs, rebalanceMs, ...rest }: StoredMember,
  {
    names,
    stored,
    topics,
  }: { names: readonly string[]; stored: StoredGroup; topics: TopicCatalogue },
): StoredConsumerMember {
  const { generation, protocolName: name } = stored
  const given = assignmentOf(Buffer.from(rest.assignment, 'base64')) ?? []
  const assigned: PartitionsById[] = given.flatMap(({ topic, partitions }) => {
    const topicId = topics.get(topic)?.id
    return topicId === undefined ? [] : [{ topicId, partitions }]
  })
  return {
    ...{ id, instanceId, clientId, clientHost, rebalanceMs, rackId: null },
    ...{ names: [...new Set(names)].sort(), pattern: '', hidden: [], assignor: null },
    ...{ epoch: generation, epochBefore: generation, reconciliation: 'stable' },
    ...{ assigned, revoking: [], target: assigned },
    classic: { sessionMs, protocols: [{ name, metadata: rest.metadata }] },
  }
}

/** Of members by the classic protocol only. */
export function toClassicGroup(
  members: readonly ConsumerMember[],
  epoch: number,
  topics: TopicCatalogue,
): StoredGroup {
  const classic = members.map((member) => ({
    member,
    protocols: (member.classic?.protocols ?? []).map(({ name, metadata }) => ({
      ...{ name, metadata: Buffer.from(metadata, 'base64') },
    })),
  }))
  const protocolName = choiceOf(classic) ?? classic[0]?.protocols[0]?.name ?? ''
  return {
    ...{ kind: 'classic', generation: epoch, protocolType: CONSUMERS, protocolName },
    leader: members[0]?.id ?? '',
    members: classic.map(({ member, protocols }) => {
      const { id, instanceId, clientId, clientHost, rebalanceMs } = member
      return {
        ...{ id, instanceId, clientId, clientHost, rebalanceMs },
        sessionMs: member.classic?.sessionMs ?? 0,
        metadata: metadataOf({ protocols }, protocolName).toString('base64'),
        assignment: assignmentFor(member, topics).toString('base64'),
      }
    }),
  }
}
