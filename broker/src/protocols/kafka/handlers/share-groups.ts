/** Share groups at their coordinator (KIP-932): members, and where partitions are read. */
import type { SharePartitions } from '../../../core/shares/share-partitions.ts'
import type { Topic } from '../../../core/topics/topic-logs.ts'
import { type Call, mayRead, maySee, operationsOn } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type {
  ALTER_SHARE_GROUP_OFFSETS,
  DELETE_SHARE_GROUP_OFFSETS,
  DESCRIBE_SHARE_GROUP_OFFSETS,
  SHARE_GROUP_DESCRIBE,
  SHARE_GROUP_HEARTBEAT,
} from '../codec/share-apis.ts'
import { ERROR } from '../errors.ts'
import { failedBeat } from '../groups/consumer-group.ts'
import { byTopic, partitionKey } from '../groups/partition-set.ts'
import { originOf, type ShareGroup } from '../groups/share-group.ts'
import { uuidOf } from '../mapping.ts'
import { groupAt, UNKNOWN_OPERATIONS } from './groups.ts'
import { leaderOf } from './leaders.ts'

type BeatRequest = RequestOf<typeof SHARE_GROUP_HEARTBEAT>
type BeatResponse = ResponseOf<typeof SHARE_GROUP_HEARTBEAT>
type DescribeResponse = ResponseOf<typeof SHARE_GROUP_DESCRIBE>
type OffsetsRequest = RequestOf<typeof DESCRIBE_SHARE_GROUP_OFFSETS>
type OffsetsResponse = ResponseOf<typeof DESCRIBE_SHARE_GROUP_OFFSETS>
type TopicOffsets = OffsetsResponse['groups'][number]['topics'][number]
type AlterRequest = RequestOf<typeof ALTER_SHARE_GROUP_OFFSETS>
type AlterResponse = ResponseOf<typeof ALTER_SHARE_GROUP_OFFSETS>
type DeleteRequest = RequestOf<typeof DELETE_SHARE_GROUP_OFFSETS>
type DeleteResponse = ResponseOf<typeof DELETE_SHARE_GROUP_OFFSETS>

const NO_ID = '0'.repeat(32)

export async function shareGroupHeartbeat(call: Call, request: BeatRequest): Promise<BeatResponse> {
  const { groupId, memberId, memberEpoch, rackId, subscribedTopicNames: names } = request
  const found = await groupAt(call, groupId)
  const group = typeof found === 'number' ? found : (found.beginShare() ?? ERROR.GROUP_ID_NOT_FOUND)
  const client = { clientId: call.header.clientId, clientHost: call.remote }
  const beat =
    typeof group === 'number'
      ? failedBeat(group)
      : await group.heartbeat({ memberId, memberEpoch, rackId, names, ...client })
  const isIn = beat.errorCode === ERROR.NONE
  const topicPartitions =
    beat.assigned &&
    byTopic(beat.assigned).map(({ topicId: id, partitions }) => ({
      ...{ topicId: uuidOf({ id }), partitions },
    }))
  return {
    ...{ throttleTimeMs: 0, errorCode: beat.errorCode, errorMessage: beat.errorMessage },
    ...{ memberId: isIn ? beat.memberId : null, memberEpoch: beat.memberEpoch },
    heartbeatIntervalMs: isIn ? call.services.groupConfigs.heartbeatMs('share', groupId) : 0,
    assignment: topicPartitions === undefined ? null : { topicPartitions },
  }
}

/** The group, or why there is none here. */
async function shareGroupAt(call: Call, name: string): Promise<ShareGroup | number> {
  const found = await groupAt(call, name)
  if (typeof found === 'number') return found
  return found.group.kind === 'share' && found.isKnown ? found.group : ERROR.GROUP_ID_NOT_FOUND
}

export async function describeShareGroups(
  call: Call,
  { groupIds, includeAuthorizedOperations: isAsked }: RequestOf<typeof SHARE_GROUP_DESCRIBE>,
): Promise<DescribeResponse> {
  const groups = await Promise.all(
    groupIds.map(async (groupId) => {
      const group = await shareGroupAt(call, groupId)
      const authorizedOperations = isAsked
        ? operationsOn(call, 'group', groupId)
        : UNKNOWN_OPERATIONS
      const rest = { groupId, authorizedOperations, errorMessage: null }
      if (typeof group === 'number') return { ...NOTHING, ...rest, errorCode: group }
      return { ...describe(call, group), ...rest, errorCode: ERROR.NONE }
    }),
  )
  return { throttleTimeMs: 0, groups }
}

const NOTHING = {
  ...{ groupState: '', groupEpoch: 0, assignmentEpoch: 0, assignorName: '', members: [] },
}

function describe({ services }: Call, group: ShareGroup) {
  const { epoch, state, members } = group
  return {
    ...{ groupState: state, groupEpoch: epoch, assignmentEpoch: epoch, assignorName: 'simple' },
    members: [...members.values()].map((member) => ({
      ...{ memberId: member.id, rackId: member.rackId, memberEpoch: member.epoch },
      ...{ clientId: member.clientId, clientHost: member.clientHost },
      subscribedTopicNames: member.names,
      assignment: {
        topicPartitions: byTopic(member.assigned).map(({ topicId: id, partitions }) => ({
          topicId: uuidOf({ id }),
          topicName: services.topics.byId(id)?.name ?? '',
          partitions,
        })),
      },
    })),
  }
}

export async function describeShareOffsets(
  call: Call,
  { groups }: OffsetsRequest,
): Promise<OffsetsResponse> {
  const described = groups.map(async ({ groupId, topics }) => {
    const group = await shareGroupAt(call, groupId)
    if (typeof group === 'number') {
      return { groupId, topics: [], errorCode: group, errorMessage: null }
    }
    const asked =
      topics ??
      group.topicsSeen.flatMap((id) => {
        const topic = call.services.topics.byId(id)
        const isShown = topic !== undefined && maySee(call, topic.name)
        const partitions = Array.from({ length: topic?.partitions ?? 0 }, (_, at) => at)
        return isShown ? [{ topicName: topic.name, partitions }] : []
      })
    const offsets = asked.map((one) => offsetsOf(call, { groupId, group }, one))
    const rest = { groupId, errorCode: ERROR.NONE, errorMessage: null }
    return { ...rest, topics: await Promise.all(offsets) }
  })
  return { throttleTimeMs: 0, groups: await Promise.all(described) }
}

async function offsetsOf(
  call: Call,
  { groupId, group }: { groupId: string; group: ShareGroup },
  { topicName, partitions }: { topicName: string; partitions: readonly number[] },
): Promise<TopicOffsets> {
  const { services } = call
  const topic = services.topics.get(topicName)
  const isShown = maySee(call, topicName)
  const of = (index: number, more: Partial<TopicOffsets['partitions'][number]>) => ({
    ...{ index, startOffset: -1, leaderEpoch: -1, lag: -1, errorCode: ERROR.NONE as number },
    ...{ errorMessage: null, ...more },
  })
  const found = partitions.map(async (index) => {
    if (!isShown) return of(index, { errorCode: ERROR.TOPIC_AUTHORIZATION_FAILED })
    if (topic === undefined || index < 0 || index >= topic.partitions) {
      return of(index, { errorCode: ERROR.UNKNOWN_TOPIC_OR_PARTITION })
    }
    const start = await startOf(services.shares.partitions, { groupId, group, topic, index })
    const served = await services.topics.serve(topic, index)
    const lag = start === undefined || served === undefined ? -1 : served.endOffset - start
    const leaderEpoch = leaderOf(services, topic, index)?.leaderEpoch ?? -1
    return of(index, { startOffset: start ?? -1, leaderEpoch, lag })
  })
  const topicId = topic === undefined ? NO_ID : uuidOf(topic)
  return { topicName, topicId, partitions: await Promise.all(found) }
}

interface SharePlace {
  readonly groupId: string
  readonly group: ShareGroup
  readonly topic: Topic
  readonly index: number
}

/** Of the first record that is not done; undefined: nothing was read yet. Rejects with BrokerError UNAVAILABLE. */
export function startOf(
  partitions: SharePartitions,
  { groupId, group, topic, index }: SharePlace,
): Promise<number | undefined> {
  const origin = originOf(group.stored, partitionKey(topic.id, index))
  return partitions.startOf({ topic, partition: index, group: groupId }, origin)
}

export async function alterShareOffsets(
  call: Call,
  { groupId, topics }: AlterRequest,
): Promise<AlterResponse> {
  const refused = (errorCode: number): AlterResponse => ({
    ...{ throttleTimeMs: 0, errorCode, errorMessage: null, topics: [] },
  })
  const group = await shareGroupAt(call, groupId)
  if (typeof group === 'number') return refused(group)
  if (!group.isEmpty) return refused(ERROR.NON_EMPTY_GROUP)
  const offsets = new Map<string, number | null>()
  const answered = topics.map(({ topicName, partitions }) => {
    const topic = call.services.topics.get(topicName)
    return {
      topicName,
      topicId: topic === undefined ? NO_ID : uuidOf(topic),
      partitions: partitions.map(({ index, startOffset }) => {
        const errorCode = alterError(call, { topicName, topic, index })
        if (errorCode === ERROR.NONE && topic !== undefined) {
          offsets.set(partitionKey(topic.id, index), Math.max(0, startOffset))
        }
        return { index, errorCode, errorMessage: null }
      }),
    }
  })
  if (!(await group.reset(offsets))) return refused(ERROR.NOT_COORDINATOR)
  return { throttleTimeMs: 0, errorCode: ERROR.NONE, errorMessage: null, topics: answered }
}

function alterError(
  call: Call,
  { topicName, topic, index }: { topicName: string; topic: Topic | undefined; index: number },
): number {
  if (!mayRead(call, topicName)) return ERROR.TOPIC_AUTHORIZATION_FAILED
  const isThere = topic !== undefined && index >= 0 && index < topic.partitions
  return isThere ? ERROR.NONE : ERROR.UNKNOWN_TOPIC_OR_PARTITION
}

export async function deleteShareOffsets(
  call: Call,
  { groupId, topics }: DeleteRequest,
): Promise<DeleteResponse> {
  const refused = (errorCode: number): DeleteResponse => ({
    ...{ throttleTimeMs: 0, errorCode, errorMessage: null, topics: [] },
  })
  const group = await shareGroupAt(call, groupId)
  if (typeof group === 'number') return refused(group)
  if (!group.isEmpty) return refused(ERROR.NON_EMPTY_GROUP)
  const offsets = new Map<string, null>()
  const answered = topics.map(({ topicName }) => {
    const topic = call.services.topics.get(topicName)
    const errorCode = alterError(call, { topicName, topic, index: 0 })
    if (errorCode === ERROR.NONE && topic !== undefined) {
      for (let index = 0; index < topic.partitions; index++) {
        offsets.set(partitionKey(topic.id, index), null)
      }
    }
    const topicId = topic === undefined ? NO_ID : uuidOf(topic)
    return { topicName, topicId, errorCode, errorMessage: null }
  })
  if (!(await group.reset(offsets))) return refused(ERROR.NOT_COORDINATOR)
  return { throttleTimeMs: 0, errorCode: ERROR.NONE, errorMessage: null, topics: answered }
}
