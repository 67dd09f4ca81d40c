/** Schemas of groups by the classic protocol, of what groups have committed, and of where they are coordinated. */
import {
  array,
  bool,
  bytes,
  int8,
  int16,
  int32,
  int64,
  nullableArray,
  nullableString,
  since,
  string,
  struct,
  uuid,
  within,
} from './wire-types.ts'

export const OFFSET_COMMIT = {
  key: 8,
  name: 'OffsetCommit',
  versions: [2, 10],
  flexible: 8,
  request: struct({
    groupId: string,
    /** Or the epoch of a member by the protocol of KIP-848. */
    generationId: int32,
    memberId: string,
    groupInstanceId: since(7, nullableString()),
    retentionTimeMs: within(2, 4, int64),
    topics: array(
      struct({
        name: within(0, 9, string),
        topicId: since(10, uuid),
        partitions: array(
          struct({
            index: int32,
            offset: int64,
            leaderEpoch: since(6, int32, -1),
            metadata: nullableString(),
          }),
        ),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: since(3, int32),
    topics: array(
      struct({
        name: within(0, 9, string),
        topicId: since(10, uuid),
        partitions: array(struct({ index: int32, errorCode: int16 })),
      }),
    ),
  }),
} as const

const committedPartitions = array(
  struct({
    index: int32,
    offset: int64,
    leaderEpoch: since(5, int32),
    metadata: nullableString(),
    errorCode: int16,
  }),
)

export const OFFSET_FETCH = {
  key: 9,
  name: 'OffsetFetch',
  versions: [1, 10],
  flexible: 6,
  request: struct({
    groupId: within(0, 7, string),
    topics: within(0, 7, nullableArray(struct({ name: string, partitions: array(int32) }), 2)),
    groups: since(
      8,
      array(
        struct({
          groupId: string,
          memberId: since(9, nullableString()),
          memberEpoch: since(9, int32, -1),
          topics: nullableArray(
            struct({
              name: within(0, 9, string),
              topicId: since(10, uuid),
              partitions: array(int32),
            }),
            0,
          ),
        }),
      ),
    ),
    requireStable: since(7, bool),
  }),
  response: struct({
    throttleTimeMs: since(3, int32),
    topics: within(0, 7, array(struct({ name: string, partitions: committedPartitions }))),
    errorCode: { ...since(2, int16), until: 7 },
    groups: since(
      8,
      array(
        struct({
          groupId: string,
          topics: array(
            struct({
              name: within(0, 9, string),
              topicId: since(10, uuid),
              partitions: committedPartitions,
            }),
          ),
          errorCode: int16,
        }),
      ),
    ),
  }),
} as const

export const FIND_COORDINATOR = {
  key: 10,
  name: 'FindCoordinator',
  versions: [0, 6],
  flexible: 3,
  request: struct({
    key: within(0, 3, string),
    keyType: since(1, int8),
    keys: since(4, array(string)),
  }),
  response: struct({
    throttleTimeMs: since(1, int32),
    errorCode: within(0, 3, int16),
    errorMessage: within(1, 3, nullableString()),
    nodeId: within(0, 3, int32),
    host: within(0, 3, string),
    port: within(0, 3, int32),
    coordinators: since(
      4,
      array(
        struct({
          key: string,
          nodeId: int32,
          host: string,
          port: int32,
          errorCode: int16,
          errorMessage: nullableString(),
        }),
      ),
    ),
  }),
} as const

export const JOIN_GROUP = {
  key: 11,
  name: 'JoinGroup',
  versions: [0, 9],
  flexible: 6,
  request: struct({
    groupId: string,
    sessionTimeoutMs: int32,
    rebalanceTimeoutMs: since(1, int32, -1),
    memberId: string,
    groupInstanceId: since(5, nullableString()),
    protocolType: string,
    protocols: array(struct({ name: string, metadata: bytes })),
    reason: since(8, nullableString()),
  }),
  response: struct({
    throttleTimeMs: since(2, int32),
    errorCode: int16,
    generationId: int32,
    protocolType: since(7, nullableString()),
    protocolName: nullableString(7),
    leader: string,
    skipAssignment: since(9, bool),
    memberId: string,
    members: array(
      struct({
        memberId: string,
        groupInstanceId: since(5, nullableString()),
        metadata: bytes,
      }),
    ),
  }),
} as const

export const HEARTBEAT = {
  key: 12,
  name: 'Heartbeat',
  versions: [0, 4],
  flexible: 4,
  request: struct({
    groupId: string,
    generationId: int32,
    memberId: string,
    groupInstanceId: since(3, nullableString()),
  }),
  response: struct({ throttleTimeMs: since(1, int32), errorCode: int16 }),
} as const

export const LEAVE_GROUP = {
  key: 13,
  name: 'LeaveGroup',
  versions: [0, 5],
  flexible: 4,
  request: struct({
    groupId: string,
    memberId: within(0, 2, string),
    members: since(
      3,
      array(
        struct({
          memberId: string,
          groupInstanceId: nullableString(),
          reason: since(5, nullableString()),
        }),
      ),
    ),
  }),
  response: struct({
    throttleTimeMs: since(1, int32),
    errorCode: int16,
    members: since(
      3,
      array(struct({ memberId: string, groupInstanceId: nullableString(), errorCode: int16 })),
    ),
  }),
} as const

export const SYNC_GROUP = {
  key: 14,
  name: 'SyncGroup',
  versions: [0, 5],
  flexible: 4,
  request: struct({
    groupId: string,
    generationId: int32,
    memberId: string,
    groupInstanceId: since(3, nullableString()),
    protocolType: since(5, nullableString()),
    protocolName: since(5, nullableString()),
    assignments: array(struct({ memberId: string, assignment: bytes })),
  }),
  response: struct({
    throttleTimeMs: since(1, int32),
    errorCode: int16,
    protocolType: since(5, nullableString()),
    protocolName: since(5, nullableString()),
    assignment: bytes,
  }),
} as const

export const DESCRIBE_GROUPS = {
  key: 15,
  name: 'DescribeGroups',
  versions: [0, 6],
  flexible: 5,
  request: struct({ groups: array(string), includeAuthorizedOperations: since(3, bool) }),
  response: struct({
    throttleTimeMs: since(1, int32),
    groups: array(
      struct({
        errorCode: int16,
        errorMessage: since(6, nullableString()),
        groupId: string,
        state: string,
        protocolType: string,
        protocolName: string,
        members: array(
          struct({
            memberId: string,
            groupInstanceId: since(4, nullableString()),
            clientId: string,
            clientHost: string,
            metadata: bytes,
            assignment: bytes,
          }),
        ),
        authorizedOperations: since(3, int32),
      }),
    ),
  }),
} as const

export const LIST_GROUPS = {
  key: 16,
  name: 'ListGroups',
  versions: [0, 5],
  flexible: 3,
  request: struct({ statesFilter: since(4, array(string)), typesFilter: since(5, array(string)) }),
  response: struct({
    throttleTimeMs: since(1, int32),
    errorCode: int16,
    groups: array(
      struct({
        groupId: string,
        protocolType: string,
        groupState: since(4, string),
        groupType: since(5, string),
      }),
    ),
  }),
} as const

export const DELETE_GROUPS = {
  key: 42,
  name: 'DeleteGroups',
  versions: [0, 2],
  flexible: 2,
  request: struct({ groups: array(string) }),
  response: struct({
    throttleTimeMs: int32,
    results: array(struct({ groupId: string, errorCode: int16 })),
  }),
} as const

export const OFFSET_DELETE = {
  key: 47,
  name: 'OffsetDelete',
  versions: [0, 0],
  flexible: Number.POSITIVE_INFINITY,
  request: struct({
    groupId: string,
    topics: array(struct({ name: string, partitions: array(struct({ index: int32 })) })),
  }),
  response: struct({
    errorCode: int16,
    throttleTimeMs: int32,
    topics: array(
      struct({ name: string, partitions: array(struct({ index: int32, errorCode: int16 })) }),
    ),
  }),
} as const
