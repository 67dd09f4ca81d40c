// Flexible versions against another implementation: what @platformatic/kafka encodes is read here, what is encoded here it
// reads. The classic versions: packets.test.ts, against kafkajs.

import * as platformatic from '@platformatic/kafka'
import { describe, expect, test } from 'vitest'
import { ByteReader } from '../../shared/byte-reader.ts'
import { APIS, decodeBody, encodeResponse } from '../packets.ts'
import { type Api, isFlexible } from './api.ts'
import { encode } from './wire-types.ts'

interface Encoded {
  readonly buffer: Buffer
}
interface TheirReader {
  readonly remaining: number
}
type Parse = (correlationId: number, key: number, version: number, reader: TheirReader) => unknown
type Send = (key: number, version: number, payload: () => Encoded, parse: Parse) => void
type TheirApi = (connection: { send: Send }, ...args: unknown[]) => void

const theirs = platformatic as unknown as Readonly<Record<string, { readonly api: TheirApi }>> & {
  readonly Reader: { from(bytes: Buffer): TheirReader }
}

const ID = '0123456789abcdef0123456789abcdef'
const DASHED = '01234567-89ab-cdef-0123-456789abcdef'
const producer = { producerId: 4_194_304_001, producerEpoch: 7 }
const inTransaction = { ...producer, transactionalId: 'shop' }
const shop = ['shop', 4_194_304_001n, 7]
const listed = { index: 3, errorCode: 0 }
const added = { throttleTimeMs: 0, topics: [{ name: 'orders', partitions: [listed] }] }

const fetched = (topicId: string) => [
  ...[500, 1, 1_000_000, 1, 9, 4],
  [
    {
      topicId,
      partitions: [
        {
          ...{ partition: 3, currentLeaderEpoch: 5, fetchOffset: 2_147_483_649n },
          ...{ lastFetchedEpoch: -1, partitionMaxBytes: 1_000 },
        },
      ],
    },
  ],
  [],
  'rack',
]
const fetchedPartition = { index: 3, currentLeaderEpoch: 5, fetchOffset: 2_147_483_649 }
const fetching = { maxWaitMs: 500, minBytes: 1, isolationLevel: 1, sessionId: 9, sessionEpoch: 4 }

const fetchAnswer = {
  ...{ throttleTimeMs: 0, errorCode: 0, sessionId: 9, nodeEndpoints: undefined },
  topics: [
    {
      ...{ name: 'orders', topicId: ID },
      partitions: [
        {
          ...{ ...listed, highWatermark: 9, lastStableOffset: 8, logStartOffset: 1 },
          abortedTransactions: [{ producerId: 4_194_304_001, firstOffset: 5 }],
          ...{ preferredReadReplica: -1, records: Buffer.alloc(0) },
          ...{ divergingEpoch: undefined, currentLeader: { leaderId: 2, leaderEpoch: 5 } },
        },
      ],
    },
  ],
}
const fetchHeard = {
  sessionId: 9,
  responses: [
    {
      partitions: [
        {
          ...{ partitionIndex: 3, highWatermark: 9n, lastStableOffset: 8n, logStartOffset: 1n },
          abortedTransactions: [{ producerId: 4_194_304_001n, firstOffset: 5n }],
        },
      ],
    },
  ],
}

interface Case {
  readonly name: string
  readonly versions: readonly [first: number, last: number]
  readonly args: readonly unknown[]
  readonly wanted: object
  readonly answer: object
  readonly heard: object
}

const cases: readonly Case[] = [
  {
    ...{ name: 'InitProducerId', versions: [3, 5], args: ['shop', 60_000, 4_194_304_001n, 7] },
    wanted: { ...inTransaction, transactionTimeoutMs: 60_000 },
    answer: { throttleTimeMs: 0, errorCode: 0, ...producer },
    heard: { producerId: 4_194_304_001n, producerEpoch: 7 },
  },
  {
    ...{ name: 'AddPartitionsToTxn', versions: [3, 3] },
    args: [
      [
        {
          ...{ transactionalId: 'shop', producerId: 4_194_304_001n, producerEpoch: 7 },
          topics: [{ name: 'orders', partitions: [3, 4] }],
        },
      ],
    ],
    wanted: { ...inTransaction, topics: [{ name: 'orders', partitions: [3, 4] }] },
    ...{ answer: added, heard: {} },
  },
  {
    ...{ name: 'AddOffsetsToTxn', versions: [3, 4], args: [...shop, 'billing'] },
    wanted: { ...inTransaction, groupId: 'billing' },
    ...{ answer: { throttleTimeMs: 0, errorCode: 0 }, heard: { errorCode: 0 } },
  },
  {
    ...{ name: 'EndTxn', versions: [3, 4], args: [...shop, true] },
    wanted: { ...inTransaction, committed: true },
    answer: { throttleTimeMs: 0, errorCode: 0, producerId: -1, producerEpoch: -1 },
    heard: { errorCode: 0 },
  },
  {
    ...{ name: 'TxnOffsetCommit', versions: [3, 4] },
    args: [
      ...['shop', 'billing', 4_194_304_001n, 7, 4, 'member-1', null],
      [
        {
          name: 'orders',
          partitions: [
            {
              ...{ partitionIndex: 3, committedOffset: 12n, committedLeaderEpoch: 5 },
              committedMetadata: 'm',
            },
          ],
        },
      ],
    ],
    wanted: {
      ...{ ...inTransaction, groupId: 'billing', generationId: 4, memberId: 'member-1' },
      topics: [
        { name: 'orders', partitions: [{ index: 3, offset: 12, leaderEpoch: 5, metadata: 'm' }] },
      ],
    },
    ...{ answer: added, heard: {} },
  },
  {
    ...{ name: 'DescribeProducers', versions: [0, 0] },
    args: [[{ name: 'orders', partitionIndexes: [3] }]],
    wanted: { topics: [{ name: 'orders', partitions: [3] }] },
    answer: {
      throttleTimeMs: 0,
      topics: [
        {
          name: 'orders',
          partitions: [
            {
              ...{ ...listed, errorMessage: null },
              activeProducers: [
                {
                  ...{ ...producer, lastSequence: 4, lastTimestamp: 1_000 },
                  ...{ coordinatorEpoch: 2, currentTxnStartOffset: 17 },
                },
              ],
            },
          ],
        },
      ],
    },
    heard: {
      topics: [
        {
          partitions: [
            {
              activeProducers: [
                { producerId: 4_194_304_001n, lastSequence: 4, currentTxnStartOffset: 17n },
              ],
            },
          ],
        },
      ],
    },
  },
  {
    ...{ name: 'DescribeTransactions', versions: [0, 0], args: [['shop']] },
    wanted: { transactionalIds: ['shop'] },
    answer: {
      throttleTimeMs: 0,
      transactionStates: [
        {
          ...{ errorCode: 0, transactionalId: 'shop', transactionState: 'Ongoing', ...producer },
          ...{ transactionTimeoutMs: 60_000, transactionStartTimeMs: 1_000 },
          topics: [{ name: 'orders', partitions: [3] }],
        },
      ],
    },
    heard: {
      transactionStates: [
        { transactionalId: 'shop', transactionState: 'Ongoing', producerId: 4_194_304_001n },
      ],
    },
  },
  {
    ...{ name: 'ListTransactions', versions: [1, 1], args: [['Ongoing'], [5n], 1_000n, null] },
    wanted: { stateFilters: ['Ongoing'], producerIdFilters: [5], durationFilterMs: 1_000 },
    answer: {
      ...{ throttleTimeMs: 0, errorCode: 0, unknownStateFilters: [] },
      transactionStates: [
        { transactionalId: 'shop', producerId: 4_194_304_001, transactionState: 'Ongoing' },
      ],
    },
    heard: { transactionStates: [{ transactionalId: 'shop', transactionState: 'Ongoing' }] },
  },
  {
    ...{ name: 'Fetch', versions: [12, 12], args: fetched('orders') },
    wanted: { ...fetching, topics: [{ name: 'orders', partitions: [fetchedPartition] }] },
    // What they read of version 12 has no topic's name.
    ...{ answer: { ...fetchAnswer, topics: [] }, heard: { sessionId: 9 } },
  },
  {
    ...{ name: 'Fetch', versions: [13, 17], args: fetched(DASHED) },
    wanted: { ...fetching, topics: [{ topicId: ID, partitions: [fetchedPartition] }] },
    ...{ answer: fetchAnswer, heard: fetchHeard },
  },
  {
    ...{ name: 'ListOffsets', versions: [6, 9] },
    args: [
      ...[-1, 1],
      [
        {
          name: 'orders',
          partitions: [{ partitionIndex: 3, currentLeaderEpoch: 5, timestamp: -3n }],
        },
      ],
    ],
    wanted: {
      isolationLevel: 1,
      topics: [{ name: 'orders', partitions: [{ index: 3, timestamp: -3 }] }],
    },
    answer: {
      throttleTimeMs: 0,
      topics: [
        {
          name: 'orders',
          partitions: [{ ...listed, timestamp: 1_000, offset: 5_000_000_000, leaderEpoch: 5 }],
        },
      ],
    },
    heard: {
      topics: [{ partitions: [{ partitionIndex: 3, offset: 5_000_000_000n, leaderEpoch: 5 }] }],
    },
  },
  {
    // Of 11 they ask for a field that is in 8 to 10 only.
    ...{ name: 'Metadata', versions: [12, 12], args: [['orders'], true, true] },
    wanted: { topics: [{ name: 'orders' }], allowAutoTopicCreation: true },
    answer: {
      ...{ throttleTimeMs: 0, clusterId: 'c', controllerId: 2, clusterAuthorizedOperations: 0 },
      brokers: [{ nodeId: 2, host: 'localhost', port: 9092, rack: null }],
      topics: [
        {
          ...{ errorCode: 0, name: 'orders', topicId: ID, isInternal: false },
          authorizedOperations: 0,
          partitions: [
            {
              ...{ ...listed, leaderId: 2, leaderEpoch: 9 },
              ...{ replicaNodes: [2], isrNodes: [2], offlineReplicas: [] },
            },
          ],
        },
      ],
      errorCode: 0,
    },
    heard: {
      topics: [{ topicId: DASHED, partitions: [{ partitionIndex: 3, leaderEpoch: 9 }] }],
    },
  },
  {
    ...{ name: 'OffsetForLeaderEpoch', versions: [4, 4] },
    args: [
      -1,
      [
        {
          name: 'orders',
          partitions: [{ partitionIndex: 3, currentLeaderEpoch: 5, leaderEpoch: 4 }],
        },
      ],
    ],
    wanted: { topics: [{ name: 'orders', partitions: [{ index: 3, leaderEpoch: 4 }] }] },
    answer: {
      throttleTimeMs: 0,
      topics: [
        // They take the error, which comes first, for the partition.
        {
          name: 'orders',
          partitions: [{ index: 0, errorCode: 0, leaderEpoch: 4, endOffset: 5_000_000_000 }],
        },
      ],
    },
    heard: { topics: [{ partitions: [{ leaderEpoch: 4, endOffset: 5_000_000_000n }] }] },
  },
  {
    ...{ name: 'ApiVersions', versions: [3, 4], args: ['test', '1'] },
    wanted: { clientSoftwareName: 'test', clientSoftwareVersion: '1' },
    answer: {
      ...{ errorCode: 0, throttleTimeMs: 0 },
      apiKeys: [{ apiKey: 3, minVersion: 0, maxVersion: 13 }],
      supportedFeatures: [{ name: 'transaction.version', minVersion: 1, maxVersion: 2 }],
      finalizedFeaturesEpoch: 0,
      finalizedFeatures: [{ name: 'transaction.version', maxVersionLevel: 2, minVersionLevel: 2 }],
    },
    heard: { errorCode: 0, apiKeys: [{ apiKey: 3, minVersion: 0, maxVersion: 13 }] },
  },
]

const each = cases.flatMap((one) => {
  const [first, last] = one.versions
  return Array.from({ length: last - first + 1 }, (_, at) => ({ ...one, version: first + at }))
})

function apiOf(name: string): Api {
  const found = APIS.find((api) => api.name === name)
  if (found === undefined) throw new Error(`no API ${name}`)
  return found
}

/** The request's body as they encode it, and how they read its answer. */
function ask({ name, version, args }: Case & { readonly version: number }) {
  const theirName = `${name[0]?.toLowerCase()}${name.slice(1)}V${version}`
  const found = theirs[theirName]
  if (found === undefined) throw new Error(`they do not know ${theirName}`)
  let sent: { readonly body: Buffer; readonly parse: Parse } | undefined
  const send: Send = (_key, _version, payload, parse) => {
    sent = { body: payload().buffer, parse }
  }
  found.api({ send }, ...args)
  if (sent === undefined) throw new Error('nothing was sent')
  return sent
}

describe('flexible versions', () => {
  test.each(each)('$name $version as @platformatic/kafka asks it', (one) => {
    const api = apiOf(one.name)
    const { body } = ask(one)
    const reader = new ByteReader(body)
    const decoded = decodeBody(api, one.version, reader)
    expect(decoded).toMatchObject(one.wanted)
    expect(reader.remaining).toBe(0)
    const form = { version: one.version, flexible: isFlexible(api, one.version) }
    expect(encode(api.request, decoded, form).equals(body)).toBe(true)
  })

  test.each(each)('$name $version as @platformatic/kafka reads it', (one) => {
    const api = apiOf(one.name)
    const { parse } = ask(one)
    const frame = encodeResponse({ api, version: one.version, correlationId: 1 }, one.answer)
    const head = one.name === 'ApiVersions' ? 8 : 9
    const read = parse(1, api.key, one.version, theirs.Reader.from(frame.subarray(head)))
    expect(read).toMatchObject(one.heard)
  })
})
