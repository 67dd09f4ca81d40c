/** Schemas of consumer groups (the classic protocol), up to the last version before static members (KIP-345). */
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
  within,
} from './wire-types.ts'

export const OFFSET_COMMIT = {
  key: 8,
  name: 'OffsetCommit',
  versions: [2, 6],
  flexible: 8,
  request: struct({
    groupId: string,
    generationId: int32,
    memberId: string,
    retentionTimeMs: within(2, 4, int64),
    topics: array(
      struct({
        name: string,
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
      struct({ name: string, partitions: array(struct({ index: int32, errorCode: int16 })) }),
    ),
  }),
} as const

export const OFFSET_FETCH = {
  key: 9,
  name: 'OffsetFetch',
  versions: [1, 7],
  flexible: 6,
  request: struct({
    groupId: string,
    topics: nullableArray(struct({ name: string, partitions: array(int32) }), 2),
    requireStable: since(7, bool),
  }),
  response: struct({
    throttleTimeMs: since(3, int32),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            index: int32,
            offset: int64,
            leaderEpoch: since(5, int32),
            metadata: nullableString(),
            errorCode: int16,
          }),
        ),
      }),
    ),
    errorCode: since(2, int16),
  }),
} as const

export const FIND_COORDINATOR = {
  key: 10,
  name: 'FindCoordinator',
  versions: [0, 4],
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
  versions: [0, 4],
  flexible: 6,
  request: struct({
    groupId: string,
    sessionTimeoutMs: int32,
    rebalanceTimeoutMs: since(1, int32, -1),
    memberId: string,
    protocolType: string,
    protocols: array(struct({ name: string, metadata: bytes })),
  }),
  response: struct({
    throttleTimeMs: since(2, int32),
    errorCode: int16,
    generationId: int32,
    protocolName: string,
    leader: string,
    memberId: string,
    members: array(struct({ memberId: string, metadata: bytes })),
  }),
} as const

export const HEARTBEAT = {
  key: 12,
  name: 'Heartbeat',
  versions: [0, 2],
  flexible: 4,
  request: struct({ groupId: string, generationId: int32, memberId: string }),
  response: struct({ throttleTimeMs: since(1, int32), errorCode: int16 }),
} as const

export const LEAVE_GROUP = {
  key: 13,
  name: 'LeaveGroup',
  versions: [0, 2],
  flexible: 4,
  request: struct({ groupId: string, memberId: string }),
  response: struct({ throttleTimeMs: since(1, int32), errorCode: int16 }),
} as const

export const DESCRIBE_GROUPS = {
  key: 15,
  name: 'DescribeGroups',
  versions: [0, 3],
  flexible: 5,
  request: struct({ groups: array(string), includeAuthorizedOperations: since(3, bool) }),
  response: struct({
    throttleTimeMs: since(1, int32),
    groups: array(
      struct({
        errorCode: int16,
        groupId: string,
        state: string,
        protocolType: string,
        protocolName: string,
        members: array(
          struct({
            memberId: string,
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

export const SYNC_GROUP = {
  key: 14,
  name: 'SyncGroup',
  versions: [0, 2],
  flexible: 4,
  request: struct({
    groupId: string,
    generationId: int32,
    memberId: string,
    assignments: array(struct({ memberId: string, assignment: bytes })),
  }),
  response: struct({ throttleTimeMs: since(1, int32), errorCode: int16, assignment: bytes }),
} as const
