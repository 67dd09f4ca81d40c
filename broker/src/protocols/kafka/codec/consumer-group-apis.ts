/** Schemas of groups whose coordinator assigns partitions (KIP-848). */
import {
  array,
  bool,
  int8,
  int16,
  int32,
  nullable,
  nullableArray,
  nullableString,
  since,
  string,
  struct,
  uuid,
} from './wire-types.ts'

const partitionsById = struct({ topicId: uuid, partitions: array(int32) })

export const CONSUMER_GROUP_HEARTBEAT = {
  key: 68,
  name: 'ConsumerGroupHeartbeat',
  versions: [0, 1],
  flexible: 0,
  /** Null, or -1 as a time: unchanged. */
  request: struct({
    groupId: string,
    memberId: string,
    /** 0: it joins, -1: it leaves, -2: a static member that will be back leaves. */
    memberEpoch: int32,
    instanceId: nullableString(),
    rackId: nullableString(),
    rebalanceTimeoutMs: int32,
    subscribedTopicNames: nullableArray(string, 0),
    subscribedTopicRegex: since(1, nullableString()),
    serverAssignor: nullableString(),
    topicPartitions: nullableArray(partitionsById, 0),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: int16,
    errorMessage: nullableString(),
    memberId: nullableString(),
    memberEpoch: int32,
    heartbeatIntervalMs: int32,
    assignment: nullable(struct({ topicPartitions: array(partitionsById) })),
  }),
} as const

const described = struct({
  topicPartitions: array(struct({ topicId: uuid, topicName: string, partitions: array(int32) })),
})

export const CONSUMER_GROUP_DESCRIBE = {
  key: 69,
  name: 'ConsumerGroupDescribe',
  versions: [0, 1],
  flexible: 0,
  request: struct({ groupIds: array(string), includeAuthorizedOperations: bool }),
  response: struct({
    throttleTimeMs: int32,
    groups: array(
      struct({
        errorCode: int16,
        errorMessage: nullableString(),
        groupId: string,
        groupState: string,
        groupEpoch: int32,
        assignmentEpoch: int32,
        assignorName: string,
        members: array(
          struct({
            memberId: string,
            instanceId: nullableString(),
            rackId: nullableString(),
            memberEpoch: int32,
            clientId: string,
            clientHost: string,
            subscribedTopicNames: array(string),
            subscribedTopicRegex: nullableString(),
            assignment: described,
            targetAssignment: described,
            /** 0: by the classic protocol, 1: by this one. */
            memberType: since(1, int8, -1),
          }),
        ),
        authorizedOperations: int32,
      }),
    ),
  }),
} as const
