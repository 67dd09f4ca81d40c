/** ConsumerGroupHeartbeat and ConsumerGroupDescribe (KIP-848). */
import { type Call, maySee, operationsOn } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type {
  CONSUMER_GROUP_DESCRIBE,
  CONSUMER_GROUP_HEARTBEAT,
} from '../codec/consumer-group-apis.ts'
import { ERROR } from '../errors.ts'
import { type ConsumerBeat, type ConsumerGroup, failedBeat } from '../groups/consumer-group.ts'
import type { ConsumerMember } from '../groups/consumer-member.ts'
import type { CoordinatedGroup } from '../groups/coordinated-group.ts'
import { byTopic, type PartitionSet, setOf } from '../groups/partition-set.ts'
import { SESSION_MS_MAX } from '../limits.ts'
import { topicIdOf, uuidOf } from '../mapping.ts'
import { groupAt, UNKNOWN_OPERATIONS } from './groups.ts'

type BeatRequest = RequestOf<typeof CONSUMER_GROUP_HEARTBEAT>
type BeatResponse = ResponseOf<typeof CONSUMER_GROUP_HEARTBEAT>
type DescribeResponse = ResponseOf<typeof CONSUMER_GROUP_DESCRIBE>
type Described = DescribeResponse['groups'][number]

export async function consumerGroupHeartbeat(
  call: Call,
  request: BeatRequest,
): Promise<BeatResponse> {
  const found = await groupAt(call, request.groupId)
  const beat = typeof found === 'number' ? failedBeat(found) : await beatOf(call, request, found)
  const { errorCode, errorMessage, memberId, memberEpoch, assigned } = beat
  const topicPartitions = assigned === undefined ? undefined : wireOf(assigned)
  const heartbeatMs = call.services.groupConfigs.heartbeatMs('consumer', request.groupId)
  return {
    ...{ throttleTimeMs: 0, errorCode, errorMessage, memberEpoch },
    memberId: errorCode === ERROR.NONE ? memberId : null,
    heartbeatIntervalMs: errorCode === ERROR.NONE ? heartbeatMs : 0,
    assignment: topicPartitions === undefined ? null : { topicPartitions },
  }
}

async function beatOf(
  call: Call,
  request: BeatRequest,
  found: CoordinatedGroup,
): Promise<ConsumerBeat> {
  const { memberEpoch, rebalanceTimeoutMs, topicPartitions } = request
  const group = groupOf(found, memberEpoch)
  if (typeof group === 'number') return failedBeat(group)
  // Older clients are told their id, later ones make it themselves (KIP-1082).
  const isToldId = call.header.version === 0 && request.memberId === '' && memberEpoch === 0
  return group.heartbeat({
    memberId: isToldId ? call.services.coordinator.newMemberId(null) : request.memberId,
    ...{ memberEpoch, instanceId: request.instanceId, rackId: request.rackId },
    rebalanceMs: Math.min(rebalanceTimeoutMs, SESSION_MS_MAX),
    ...{ names: request.subscribedTopicNames, pattern: request.subscribedTopicRegex },
    maySee: (topic) => maySee(call, topic),
    assignor: request.serverAssignor,
    owned: topicPartitions === null ? null : ownedOf(topicPartitions),
    ...{ clientId: call.header.clientId, clientHost: call.remote },
  })
}

/** Only who joins makes it another kind of group. */
function groupOf(found: CoordinatedGroup, memberEpoch: number): ConsumerGroup | number {
  if (memberEpoch === 0) return found.beginConsumer() ?? ERROR.GROUP_ID_NOT_FOUND
  return found.group.kind === 'consumer' ? found.group : ERROR.UNKNOWN_MEMBER_ID
}

function ownedOf(topics: NonNullable<BeatRequest['topicPartitions']>): PartitionSet {
  return setOf(topics.map((one) => ({ ...one, topicId: topicIdOf(one.topicId) })))
}

function wireOf(set: PartitionSet) {
  return byTopic(set).map(({ topicId: id, partitions }) => ({
    topicId: uuidOf({ id }),
    partitions,
  }))
}

export async function describeConsumerGroups(
  call: Call,
  { groupIds, includeAuthorizedOperations }: RequestOf<typeof CONSUMER_GROUP_DESCRIBE>,
): Promise<DescribeResponse> {
  const groups = await Promise.all(
    groupIds.map(async (groupId) => ({
      ...(await describe(call, groupId)),
      authorizedOperations: includeAuthorizedOperations
        ? operationsOn(call, 'group', groupId)
        : UNKNOWN_OPERATIONS,
    })),
  )
  return { throttleTimeMs: 0, groups }
}

const NOTHING = {
  ...{ groupState: '', groupEpoch: 0, assignmentEpoch: 0, assignorName: '', members: [] },
}

async function describe(
  call: Call,
  groupId: string,
): Promise<Omit<Described, 'authorizedOperations'>> {
  const found = await groupAt(call, groupId)
  if (typeof found === 'number') {
    return { ...NOTHING, groupId, errorCode: found, errorMessage: null }
  }
  const { group } = found
  if (group.kind !== 'consumer' || !found.isKnown) {
    const errorMessage = `there is no consumer group ${groupId}`
    return { ...NOTHING, groupId, errorCode: ERROR.GROUP_ID_NOT_FOUND, errorMessage }
  }
  return {
    ...{ errorCode: ERROR.NONE, errorMessage: null, groupId, groupState: group.state },
    ...{ groupEpoch: group.epoch, assignmentEpoch: group.targetEpoch },
    assignorName: group.assignor,
    members: [...group.members.values()].map((member) => memberOf(call, member)),
  }
}

function memberOf({ services }: Call, member: ConsumerMember): Described['members'][number] {
  const named = (set: PartitionSet) => ({
    topicPartitions: byTopic(set).map(({ topicId: id, partitions }) => ({
      topicId: uuidOf({ id }),
      topicName: services.topics.byId(id)?.name ?? '',
      partitions,
    })),
  })
  const { id, instanceId, rackId, epoch, clientId, clientHost, names, pattern, classic } = member
  return {
    ...{ memberId: id, instanceId, rackId, memberEpoch: epoch, clientId, clientHost },
    subscribedTopicNames: names,
    subscribedTopicRegex: pattern === '' ? null : pattern,
    ...{ assignment: named(member.assigned), targetAssignment: named(member.target) },
    memberType: classic === null ? 1 : 0,
  }
}
