/** The APIs of administration: names, versions and fields. Source: Kafka's protocol guide. */
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
  nullableStruct,
  since,
  string,
  struct,
  uuid,
  within,
} from './wire-types.ts'

const outcome = { errorCode: int16, errorMessage: nullableString() }
const BY_TYPE = { resourceType: int8, resourceName: string }
const topicPartitions = struct({ name: string, partitions: array(int32) })

export const DELETE_RECORDS = {
  ...{ key: 21, name: 'DeleteRecords', versions: [0, 2], flexible: 2 },
  request: struct({
    topics: array(
      struct({ name: string, partitions: array(struct({ index: int32, offset: int64 })) }),
    ),
    timeoutMs: int32,
  }),
  response: struct({
    throttleTimeMs: int32,
    topics: array(
      struct({
        name: string,
        partitions: array(struct({ index: int32, lowWatermark: int64, errorCode: int16 })),
      }),
    ),
  }),
} as const

export const DESCRIBE_CONFIGS = {
  ...{ key: 32, name: 'DescribeConfigs', versions: [0, 4], flexible: 4 },
  request: struct({
    resources: array(struct({ ...BY_TYPE, configNames: nullableArray(string, 0) })),
    includeSynonyms: since(1, bool),
    includeDocumentation: since(3, bool),
  }),
  response: struct({
    throttleTimeMs: int32,
    results: array(
      struct({
        ...outcome,
        ...BY_TYPE,
        configs: array(
          struct({
            name: string,
            value: nullableString(),
            readOnly: bool,
            isDefault: within(0, 0, bool),
            source: since(1, int8, -1),
            isSensitive: bool,
            synonyms: since(
              1,
              array(struct({ name: string, value: nullableString(), source: int8 })),
            ),
            type: since(3, int8),
            documentation: since(3, nullableString()),
          }),
        ),
      }),
    ),
  }),
} as const

export const ALTER_CONFIGS = {
  ...{ key: 33, name: 'AlterConfigs', versions: [0, 2], flexible: 2 },
  request: struct({
    resources: array(
      struct({ ...BY_TYPE, configs: array(struct({ name: string, value: nullableString() })) }),
    ),
    validateOnly: bool,
  }),
  response: struct({ throttleTimeMs: int32, results: array(struct({ ...outcome, ...BY_TYPE })) }),
} as const

export const DESCRIBE_LOG_DIRS = {
  ...{ key: 35, name: 'DescribeLogDirs', versions: [0, 4], flexible: 2 },
  request: struct({ topics: nullableArray(topicPartitions, 0) }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: since(3, int16),
    results: array(
      struct({
        errorCode: int16,
        logDir: string,
        topics: array(
          struct({
            name: string,
            partitions: array(
              struct({ index: int32, size: int64, offsetLag: int64, isFuture: bool }),
            ),
          }),
        ),
        totalBytes: since(4, int64, -1),
        usableBytes: since(4, int64, -1),
      }),
    ),
  }),
} as const

export const CREATE_PARTITIONS = {
  ...{ key: 37, name: 'CreatePartitions', versions: [0, 3], flexible: 2 },
  request: struct({
    topics: array(
      struct({
        name: string,
        count: int32,
        assignments: nullableArray(struct({ brokerIds: array(int32) }), 0),
      }),
    ),
    timeoutMs: int32,
    validateOnly: bool,
  }),
  response: struct({ throttleTimeMs: int32, results: array(struct({ name: string, ...outcome })) }),
} as const

export const ELECT_LEADERS = {
  ...{ key: 43, name: 'ElectLeaders', versions: [0, 2], flexible: 2 },
  request: struct({
    electionType: since(1, int8),
    topics: nullableArray(topicPartitions, 0),
    timeoutMs: int32,
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: since(1, int16),
    results: array(
      struct({ name: string, partitions: array(struct({ index: int32, ...outcome })) }),
    ),
  }),
} as const

export const INCREMENTAL_ALTER_CONFIGS = {
  ...{ key: 44, name: 'IncrementalAlterConfigs', versions: [0, 1], flexible: 1 },
  request: struct({
    resources: array(
      struct({
        ...BY_TYPE,
        configs: array(struct({ name: string, operation: int8, value: nullableString() })),
      }),
    ),
    validateOnly: bool,
  }),
  response: struct({ throttleTimeMs: int32, results: array(struct({ ...outcome, ...BY_TYPE })) }),
} as const

export const ALTER_PARTITION_REASSIGNMENTS = {
  ...{ key: 45, name: 'AlterPartitionReassignments', versions: [0, 1], flexible: 0 },
  request: struct({
    timeoutMs: int32,
    allowReplicationFactorChange: since(1, bool, true),
    topics: array(
      struct({
        name: string,
        partitions: array(struct({ index: int32, replicas: nullableArray(int32, 0) })),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32,
    allowReplicationFactorChange: since(1, bool, true),
    ...outcome,
    topics: array(
      struct({ name: string, partitions: array(struct({ index: int32, ...outcome })) }),
    ),
  }),
} as const

export const LIST_PARTITION_REASSIGNMENTS = {
  ...{ key: 46, name: 'ListPartitionReassignments', versions: [0, 0], flexible: 0 },
  request: struct({ timeoutMs: int32, topics: nullableArray(topicPartitions, 0) }),
  response: struct({
    throttleTimeMs: int32,
    ...outcome,
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            index: int32,
            replicas: array(int32),
            addingReplicas: array(int32),
            removingReplicas: array(int32),
          }),
        ),
      }),
    ),
  }),
} as const

export const UPDATE_FEATURES = {
  ...{ key: 57, name: 'UpdateFeatures', versions: [0, 2], flexible: 0 },
  request: struct({
    timeoutMs: int32,
    updates: array(
      struct({
        feature: string,
        maxVersionLevel: int16,
        allowDowngrade: within(0, 0, bool),
        upgradeType: since(1, int8, 1),
      }),
    ),
    validateOnly: since(1, bool),
  }),
  response: struct({
    throttleTimeMs: int32,
    ...outcome,
    results: within(0, 1, array(struct({ feature: string, ...outcome }))),
  }),
} as const

export const DESCRIBE_CLUSTER = {
  ...{ key: 60, name: 'DescribeCluster', versions: [0, 2], flexible: 0 },
  request: struct({
    includeClusterAuthorizedOperations: bool,
    endpointType: since(1, int8, 1),
    includeFencedBrokers: since(2, bool),
  }),
  response: struct({
    throttleTimeMs: int32,
    ...outcome,
    endpointType: since(1, int8, 1),
    clusterId: string,
    controllerId: int32,
    brokers: array(
      struct({
        ...{ nodeId: int32, host: string, port: int32, rack: nullableString() },
        isFenced: since(2, bool),
      }),
    ),
    clusterAuthorizedOperations: int32,
  }),
} as const

export const GET_TELEMETRY_SUBSCRIPTIONS = {
  ...{ key: 71, name: 'GetTelemetrySubscriptions', versions: [0, 0], flexible: 0 },
  request: struct({ clientInstanceId: uuid }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: int16,
    clientInstanceId: uuid,
    subscriptionId: int32,
    acceptedCompressionTypes: array(int8),
    pushIntervalMs: int32,
    telemetryMaxBytes: int32,
    deltaTemporality: bool,
    requestedMetrics: array(string),
  }),
} as const

export const PUSH_TELEMETRY = {
  ...{ key: 72, name: 'PushTelemetry', versions: [0, 0], flexible: 0 },
  request: struct({
    clientInstanceId: uuid,
    subscriptionId: int32,
    terminating: bool,
    compressionType: int8,
    metrics: bytes,
  }),
  response: struct({ throttleTimeMs: int32, errorCode: int16 }),
} as const

export const LIST_CONFIG_RESOURCES = {
  ...{ key: 74, name: 'ListConfigResources', versions: [0, 1], flexible: 0 },
  request: struct({ resourceTypes: since(1, array(int8)) }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: int16,
    configResources: array(struct({ name: string, type: since(1, int8, 16) })),
  }),
} as const

const cursor = nullableStruct({ name: string, partition: int32 })

export const DESCRIBE_TOPIC_PARTITIONS = {
  ...{ key: 75, name: 'DescribeTopicPartitions', versions: [0, 0], flexible: 0 },
  request: struct({ topics: array(struct({ name: string })), partitionLimit: int32, cursor }),
  response: struct({
    throttleTimeMs: int32,
    topics: array(
      struct({
        errorCode: int16,
        name: nullableString(),
        topicId: uuid,
        isInternal: bool,
        partitions: array(
          struct({
            errorCode: int16,
            index: int32,
            leaderId: int32,
            leaderEpoch: int32,
            replicaNodes: array(int32),
            isrNodes: array(int32),
            eligibleLeaderReplicas: nullableArray(int32, 0),
            lastKnownElr: nullableArray(int32, 0),
            offlineReplicas: array(int32),
          }),
        ),
        authorizedOperations: int32,
      }),
    ),
    nextCursor: cursor,
  }),
} as const
