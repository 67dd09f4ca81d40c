/** Schemas of groups that share the records of partitions (KIP-932). */
import {
  array,
  bool,
  int8,
  int16,
  int32,
  int64,
  nullable,
  nullableArray,
  nullableBytes,
  nullableString,
  since,
  string,
  struct,
  uuid,
} from './wire-types.ts'

const partitionsById = struct({ topicId: uuid, partitions: array(int32) })

export const SHARE_GROUP_HEARTBEAT = {
  key: 76,
  name: 'ShareGroupHeartbeat',
  versions: [1, 1],
  flexible: 0,
  request: struct({
    groupId: string,
    memberId: string,
    /** 0: it joins, -1: it leaves. */
    memberEpoch: int32,
    rackId: nullableString(),
    /** Null: unchanged. */
    subscribedTopicNames: nullableArray(string, 0),
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

export const SHARE_GROUP_DESCRIBE = {
  key: 77,
  name: 'ShareGroupDescribe',
  versions: [1, 1],
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
            rackId: nullableString(),
            memberEpoch: int32,
            clientId: string,
            clientHost: string,
            subscribedTopicNames: array(string),
            assignment: struct({
              topicPartitions: array(
                struct({ topicId: uuid, topicName: string, partitions: array(int32) }),
              ),
            }),
          }),
        ),
        authorizedOperations: int32,
      }),
    ),
  }),
} as const

/** One type for all records of the batch, or one for each. */
const acknowledgements = array(
  struct({ firstOffset: int64, lastOffset: int64, acknowledgeTypes: array(int8) }),
)

const acknowledgedTopics = array(
  struct({
    topicId: uuid,
    partitions: array(struct({ index: int32, acknowledgementBatches: acknowledgements })),
  }),
)

const currentLeader = struct({ leaderId: int32, leaderEpoch: int32 })

const nodeEndpoints = array(
  struct({ nodeId: int32, host: string, port: int32, rack: nullableString() }),
)

export const SHARE_FETCH = {
  key: 78,
  name: 'ShareFetch',
  versions: [1, 2],
  flexible: 0,
  request: struct({
    groupId: nullableString(),
    memberId: nullableString(),
    shareSessionEpoch: int32,
    maxWaitMs: int32,
    minBytes: int32,
    maxBytes: int32,
    maxRecords: int32,
    batchSize: int32,
    /** 0: batches are not torn; 1: no more than so many records. */
    shareAcquireMode: since(2, int8),
    isRenewAck: since(2, bool),
    topics: acknowledgedTopics,
    forgottenTopicsData: array(partitionsById),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: int16,
    errorMessage: nullableString(),
    acquisitionLockTimeoutMs: int32,
    topics: array(
      struct({
        topicId: uuid,
        partitions: array(
          struct({
            index: int32,
            errorCode: int16,
            errorMessage: nullableString(),
            acknowledgeErrorCode: int16,
            acknowledgeErrorMessage: nullableString(),
            currentLeader,
            records: nullableBytes,
            acquiredRecords: array(
              struct({ firstOffset: int64, lastOffset: int64, deliveryCount: int16 }),
            ),
          }),
        ),
      }),
    ),
    nodeEndpoints,
  }),
} as const

export const SHARE_ACKNOWLEDGE = {
  key: 79,
  name: 'ShareAcknowledge',
  versions: [1, 2],
  flexible: 0,
  request: struct({
    groupId: nullableString(),
    memberId: nullableString(),
    shareSessionEpoch: int32,
    isRenewAck: since(2, bool),
    topics: acknowledgedTopics,
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: int16,
    errorMessage: nullableString(),
    acquisitionLockTimeoutMs: since(2, int32),
    topics: array(
      struct({
        topicId: uuid,
        partitions: array(
          struct({
            index: int32,
            errorCode: int16,
            errorMessage: nullableString(),
            currentLeader,
          }),
        ),
      }),
    ),
    nodeEndpoints,
  }),
} as const

export const DESCRIBE_SHARE_GROUP_OFFSETS = {
  key: 90,
  name: 'DescribeShareGroupOffsets',
  versions: [0, 1],
  flexible: 0,
  request: struct({
    groups: array(
      struct({
        groupId: string,
        topics: nullableArray(struct({ topicName: string, partitions: array(int32) }), 0),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32,
    groups: array(
      struct({
        groupId: string,
        topics: array(
          struct({
            topicName: string,
            topicId: uuid,
            partitions: array(
              struct({
                index: int32,
                startOffset: int64,
                leaderEpoch: int32,
                lag: since(1, int64, -1),
                errorCode: int16,
                errorMessage: nullableString(),
              }),
            ),
          }),
        ),
        errorCode: int16,
        errorMessage: nullableString(),
      }),
    ),
  }),
} as const

export const ALTER_SHARE_GROUP_OFFSETS = {
  key: 91,
  name: 'AlterShareGroupOffsets',
  versions: [0, 0],
  flexible: 0,
  request: struct({
    groupId: string,
    topics: array(
      struct({
        topicName: string,
        partitions: array(struct({ index: int32, startOffset: int64 })),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: int16,
    errorMessage: nullableString(),
    topics: array(
      struct({
        topicName: string,
        topicId: uuid,
        partitions: array(
          struct({ index: int32, errorCode: int16, errorMessage: nullableString() }),
        ),
      }),
    ),
  }),
} as const

export const DELETE_SHARE_GROUP_OFFSETS = {
  key: 92,
  name: 'DeleteShareGroupOffsets',
  versions: [0, 0],
  flexible: 0,
  request: struct({ groupId: string, topics: array(struct({ topicName: string })) }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: int16,
    errorMessage: nullableString(),
    topics: array(
      struct({
        topicName: string,
        topicId: uuid,
        errorCode: int16,
        errorMessage: nullableString(),
      }),
    ),
  }),
} as const
