/** Schemas of what transactions need. Source: the message definitions of Apache Kafka's protocol guide. */
import {
  array,
  bool,
  int8,
  int16,
  int32,
  int64,
  nullableString,
  since,
  string,
  struct,
} from './wire-types.ts'

const producer = { producerId: int64, producerEpoch: int16 }

export const INIT_PRODUCER_ID = {
  key: 22,
  name: 'InitProducerId',
  versions: [0, 5],
  flexible: 2,
  request: struct({
    transactionalId: nullableString(),
    transactionTimeoutMs: int32,
    producerId: since(3, int64, -1),
    producerEpoch: since(3, int16, -1),
  }),
  response: struct({ throttleTimeMs: int32, errorCode: int16, ...producer }),
} as const

export const ADD_PARTITIONS_TO_TXN = {
  key: 24,
  name: 'AddPartitionsToTxn',
  // From 4 on it is of brokers among themselves.
  versions: [0, 3],
  flexible: 3,
  request: struct({
    transactionalId: string,
    ...producer,
    topics: array(struct({ name: string, partitions: array(int32) })),
  }),
  response: struct({
    throttleTimeMs: int32,
    topics: array(
      struct({ name: string, partitions: array(struct({ index: int32, errorCode: int16 })) }),
    ),
  }),
} as const

export const ADD_OFFSETS_TO_TXN = {
  key: 25,
  name: 'AddOffsetsToTxn',
  versions: [0, 4],
  flexible: 3,
  request: struct({ transactionalId: string, ...producer, groupId: string }),
  response: struct({ throttleTimeMs: int32, errorCode: int16 }),
} as const

export const END_TXN = {
  key: 26,
  name: 'EndTxn',
  versions: [0, 5],
  flexible: 3,
  request: struct({ transactionalId: string, ...producer, committed: bool }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: int16,
    producerId: since(5, int64, -1),
    producerEpoch: since(5, int16, -1),
  }),
} as const

export const WRITE_TXN_MARKERS = {
  key: 27,
  name: 'WriteTxnMarkers',
  versions: [1, 2],
  flexible: 1,
  request: struct({
    markers: array(
      struct({
        ...producer,
        committed: bool,
        topics: array(struct({ name: string, partitions: array(int32) })),
        coordinatorEpoch: int32,
        transactionVersion: since(2, int8),
      }),
    ),
  }),
  response: struct({
    markers: array(
      struct({
        producerId: int64,
        topics: array(
          struct({ name: string, partitions: array(struct({ index: int32, errorCode: int16 })) }),
        ),
      }),
    ),
  }),
} as const

export const TXN_OFFSET_COMMIT = {
  key: 28,
  name: 'TxnOffsetCommit',
  versions: [0, 5],
  flexible: 3,
  request: struct({
    transactionalId: string,
    groupId: string,
    ...producer,
    generationId: since(3, int32, -1),
    memberId: since(3, string),
    groupInstanceId: since(3, nullableString()),
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            index: int32,
            offset: int64,
            leaderEpoch: since(2, int32, -1),
            metadata: nullableString(),
          }),
        ),
      }),
    ),
  }),
  response: struct({
    throttleTimeMs: int32,
    topics: array(
      struct({ name: string, partitions: array(struct({ index: int32, errorCode: int16 })) }),
    ),
  }),
} as const

export const DESCRIBE_PRODUCERS = {
  key: 61,
  name: 'DescribeProducers',
  versions: [0, 0],
  flexible: 0,
  request: struct({ topics: array(struct({ name: string, partitions: array(int32) })) }),
  response: struct({
    throttleTimeMs: int32,
    topics: array(
      struct({
        name: string,
        partitions: array(
          struct({
            index: int32,
            errorCode: int16,
            errorMessage: nullableString(),
            activeProducers: array(
              struct({
                producerId: int64,
                producerEpoch: int32,
                lastSequence: int32,
                lastTimestamp: int64,
                coordinatorEpoch: int32,
                currentTxnStartOffset: int64,
              }),
            ),
          }),
        ),
      }),
    ),
  }),
} as const

export const DESCRIBE_TRANSACTIONS = {
  key: 65,
  name: 'DescribeTransactions',
  versions: [0, 0],
  flexible: 0,
  request: struct({ transactionalIds: array(string) }),
  response: struct({
    throttleTimeMs: int32,
    transactionStates: array(
      struct({
        errorCode: int16,
        transactionalId: string,
        transactionState: string,
        transactionTimeoutMs: int32,
        transactionStartTimeMs: int64,
        ...producer,
        topics: array(struct({ name: string, partitions: array(int32) })),
      }),
    ),
  }),
} as const

export const LIST_TRANSACTIONS = {
  key: 66,
  name: 'ListTransactions',
  versions: [0, 2],
  flexible: 0,
  request: struct({
    stateFilters: array(string),
    producerIdFilters: array(int64),
    durationFilterMs: since(1, int64, -1),
    transactionalIdPattern: since(2, nullableString(), null),
  }),
  response: struct({
    throttleTimeMs: int32,
    errorCode: int16,
    unknownStateFilters: array(string),
    transactionStates: array(
      struct({ transactionalId: string, producerId: int64, transactionState: string }),
    ),
  }),
} as const
