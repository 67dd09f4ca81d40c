/** Schemas of what reads and writes topics. Source: the message definitions of Apache Kafka's protocol guide. */
import {
  array,
  bool,
  int8,
  int16,
  int32,
  int64,
  nullableArray,
  nullableBytes,
  nullableString,
  since,
  string,
  struct,
  tagged,
  uuid,
  within,
} from './wire-types.ts'

/** Told to clients that asked the wrong broker (KIP-951). */
const currentLeader = struct({ leaderId: int32, leaderEpoch: int32 })

const nodeEndpoints = array(
  struct({ nodeId: int32, host: string, port: int32, rack: nullableString() }),
)

export const PRODUCE = {
  key: 0,
  name: 'Produce',
  // Older clients take a broker that does not list version 0 for one without compression; 0 to 2 are refused.
  versions: [0, 13],
  flexible: 9,
  request: struct({
    transactionalId: since(3, nullableString()),
    acks: int16,
    timeoutMs: int32,
    topics: array(
      struct({
        name: within(0, 12, string),
        topicId: since(13, uuid),
        partitions: array(struct({ index: int32, records: nullableBytes })),
      }),
    ),
  }),
  response: struct({
    topics: array(
      struct({
        name: within(0, 12, string),
        topicId: since(13, uuid),
        partitions: array(
          struct({
            index: int32,
            errorCode: int16,
            baseOffset: int64,
            logAppendTimeMs: since(2, int64),
            logStartOffset: since(5, int64),
            recordErrors: since(8, array(struct({ batchIndex: int32, message: nullableString() }))),
            errorMessage: since(8, nullableString()),
            currentLeader: tagged(10, 0, currentLeader),
          }),
        ),
      }),
    ),
    throttleTimeMs: since(1, int32),
    nodeEndpoints: tagged(10, 0, nodeEndpoints),
  }),
} as const

export const FETCH = {
  key: 1,
  name: 'Fetch',
  versions: [4, 18],
  flexible: 12,
  request: struct({
    // From 15 on replicas say who they are in a tag.
    replicaId: within(0, 14, int32),
    maxWaitMs: int32,
    minBytes: int32,
    maxBytes: int32,
    isolationLevel: int8,
    sessionId: since(7, int32),
    sessionEpoch: since(7, int32, -1),
    topics: array(
      struct({
        name: within(0, 12, string),
        topicId: since(13, uuid),
        partitions: array(
          struct({
            index: int32,
            currentLeaderEpoch: since(9, int32, -1),
            fetchOffset: int64,
            lastFetchedEpoch: since(12, int32, -1),
            logStartOffset: since(5, int64),
            maxBytes: int32,
          }),
        ),
      }),
    ),
    forgottenTopics: since(
      7,
      array(
        struct({
          name: within(0, 12, string),
          topicId: since(13, uuid),
          partitions: array(int32),
        }),
      ),
    ),
    rackId: since(11, string),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: since(7, int16),
    sessionId: since(7, int32),
    topics: array(
      struct({
        name: within(0, 12, string),
        topicId: since(13, uuid),
        partitions: array(
          struct({
            index: int32,
            errorCode: int16,
            highWatermark: int64,
            lastStableOffset: int64,
            logStartOffset: since(5, int64),
            abortedTransactions: nullableArray(
              struct({ producerId: int64, firstOffset: int64 }),
              0,
            ),
            preferredReadReplica: since(11, int32),
            records: nullableBytes,
            divergingEpoch: tagged(12, 0, struct({ epoch: int32, endOffset: int64 })),
            currentLeader: tagged(12, 1, currentLeader),
          }),
        ),
      }),
    ),
    nodeEndpoints: tagged(16, 0, nodeEndpoints),
  }),
} as const

export const LIST_OFFSETS = {
  key: 2,
  name: 'ListOffsets',
  versions: [1, 11],
  flexible: 6,
  request: struct({
    replicaId: int32,
    isolationLevel: since(2, int8),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            index: int32,
            currentLeaderEpoch: since(4, int32, -1),
            timestamp: int64,
          }),
        ),
      }),
    ),
    timeoutMs: since(10, int32),
  }),
  response: struct({
    throttleTimeMs: since(2, int32),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            index: int32,
            errorCode: int16,
            timestamp: int64,
            offset: int64,
            leaderEpoch: since(4, int32),
          }),
        ),
      }),
    ),
  }),
} as const

export const OFFSET_FOR_LEADER_EPOCH = {
  key: 23,
  name: 'OffsetForLeaderEpoch',
  versions: [2, 4],
  flexible: 4,
  request: struct({
    replicaId: since(3, int32, -2),
    topics: array(
      struct({
        name: string,
        partitions: array(struct({ index: int32, currentLeaderEpoch: int32, leaderEpoch: int32 })),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32,
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({ errorCode: int16, index: int32, leaderEpoch: int32, endOffset: int64 }),
        ),
      }),
    ),
  }),
} as const

export const METADATA = {
  key: 3,
  name: 'Metadata',
  versions: [0, 13],
  flexible: 9,
  request: struct({
    topics: nullableArray(struct({ topicId: since(10, uuid), name: nullableString(10) }), 1),
    allowAutoTopicCreation: since(4, bool, true),
    includeClusterAuthorizedOperations: within(8, 10, bool),
    includeTopicAuthorizedOperations: since(8, bool),
  }),
  response: struct({
    throttleTimeMs: since(3, int32),
    brokers: array(
      struct({ nodeId: int32, host: string, port: int32, rack: since(1, nullableString()) }),
    ),
    clusterId: since(2, nullableString()),
    controllerId: since(1, int32),
    topics: array(
      struct({
        errorCode: int16,
        name: nullableString(12),
        topicId: since(10, uuid),
        isInternal: since(1, bool),
        partitions: array(
          struct({
            errorCode: int16,
            index: int32,
            leaderId: int32,
            leaderEpoch: since(7, int32),
            replicaNodes: array(int32),
            isrNodes: array(int32),
            offlineReplicas: since(5, array(int32)),
          }),
        ),
        authorizedOperations: since(8, int32),
      }),
    ),
    clusterAuthorizedOperations: within(8, 10, int32),
    errorCode: since(13, int16),
  }),
} as const

export const API_VERSIONS = {
  key: 18,
  name: 'ApiVersions',
  versions: [0, 4],
  flexible: 3,
  request: struct({
    clientSoftwareName: since(3, string),
    clientSoftwareVersion: since(3, string),
  }),
  response: struct({
    errorCode: int16,
    apiKeys: array(struct({ apiKey: int16, minVersion: int16, maxVersion: int16 })),
    throttleTimeMs: since(1, int32),
    supportedFeatures: tagged(
      3,
      0,
      array(struct({ name: string, minVersion: int16, maxVersion: int16 })),
    ),
    finalizedFeaturesEpoch: tagged(3, 1, int64),
    finalizedFeatures: tagged(
      3,
      2,
      array(struct({ name: string, maxVersionLevel: int16, minVersionLevel: int16 })),
    ),
  }),
} as const

export const CREATE_TOPICS = {
  key: 19,
  name: 'CreateTopics',
  versions: [0, 7],
  flexible: 5,
  request: struct({
    topics: array(
      struct({
        name: string,
        numPartitions: int32,
        replicationFactor: int16,
        assignments: array(struct({ index: int32, brokerIds: array(int32) })),
        configs: array(struct({ name: string, value: nullableString() })),
      }),
    ),
    timeoutMs: int32,
    validateOnly: since(1, bool),
  }),
  response: struct({
    throttleTimeMs: since(2, int32),
    topics: array(
      struct({
        name: string,
        topicId: since(7, uuid),
        errorCode: int16,
        errorMessage: since(1, nullableString()),
        configErrorCode: tagged(5, 0, int16),
        numPartitions: since(5, int32, -1),
        replicationFactor: since(5, int16, -1),
        configs: since(
          5,
          nullableArray(
            struct({
              name: string,
              value: nullableString(),
              readOnly: bool,
              source: int8,
              isSensitive: bool,
            }),
            0,
          ),
        ),
      }),
    ),
  }),
} as const

export const DELETE_TOPICS = {
  key: 20,
  name: 'DeleteTopics',
  versions: [0, 6],
  flexible: 4,
  request: struct({
    topics: since(6, array(struct({ name: nullableString(), topicId: uuid }))),
    topicNames: within(0, 5, array(string)),
    timeoutMs: int32,
  }),
  response: struct({
    throttleTimeMs: since(1, int32),
    topics: array(
      struct({
        name: nullableString(6),
        topicId: since(6, uuid),
        errorCode: int16,
        errorMessage: since(5, nullableString()),
      }),
    ),
  }),
} as const
