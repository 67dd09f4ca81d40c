// Against another implementation: what kafkajs encodes is read here, what is encoded here kafkajs reads.

import { createRequire } from 'node:module'
import { describe, expect, test } from 'vitest'
import { type Api, isFlexible } from './codec/api.ts'
import { encode } from './codec/wire-types.ts'
import { APIS, decodeBody, decodeRequest, encodeResponse } from './packets.ts'

interface KafkaJsRequest {
  readonly request: { readonly apiKey: number; readonly apiVersion: number }
  readonly response: {
    decode(bytes: Buffer): Promise<unknown>
    parse(decoded: unknown): Promise<unknown>
  }
}

const require = createRequire(import.meta.url)
const kafkaJs = require('kafkajs/src/protocol/requests/index.js') as {
  readonly requests: Readonly<
    Record<string, { protocol(of: { version: number }): (given: object) => KafkaJsRequest }>
  >
}
const encodeRequest = require('kafkajs/src/protocol/request.js') as (given: {
  correlationId: number
  clientId: string
  request: object
}) => Promise<{ readonly buffer: Buffer }>

const partitions = [{ partition: 3 }]
const group = { groupId: 'billing', memberId: 'member-1' }
const join = {
  ...{ ...group, sessionTimeout: 6_000, rebalanceTimeout: 9_000, protocolType: 'consumer' },
  groupProtocols: [{ name: 'RoundRobin', metadata: Buffer.from([1, 2, 3]) }],
}
const fetchTopics = [
  {
    topic: 'orders',
    partitions: [
      { partition: 3, fetchOffset: '2147483649', maxBytes: 1_048_576, currentLeaderEpoch: 7 },
    ],
  },
]
const createTopics = [
  {
    ...{ topic: 'orders', numPartitions: -1, replicationFactor: -1 },
    configEntries: [{ name: 'retention.ms', value: '-1' }],
  },
]

const transaction = { transactionalId: 'shop', producerId: '4194304001', producerEpoch: 7 }
const inTransaction = { ...transaction, producerId: 4_194_304_001 }

/** Of each API: what kafkajs is given, its name there, and what must be read of it here. */
const requests: readonly {
  readonly api: string
  readonly theirs?: string
  readonly last: number
  readonly given: object
  readonly wanted: object
}[] = [
  {
    ...{ api: 'Metadata', last: 6, given: { topics: ['orders'], allowAutoTopicCreation: false } },
    wanted: { topics: [{ name: 'orders' }] },
  },
  {
    ...{ api: 'Fetch', last: 11 },
    given: {
      ...{ isolationLevel: 1, maxWaitTime: 500, minBytes: 1, maxBytes: 10_485_760 },
      topics: fetchTopics,
    },
    wanted: {
      ...{ replicaId: -1, maxWaitMs: 500, minBytes: 1, maxBytes: 10_485_760, isolationLevel: 1 },
      topics: [{ name: 'orders', partitions: [{ index: 3, fetchOffset: 2_147_483_649 }] }],
    },
  },
  {
    ...{ api: 'ListOffsets', last: 3 },
    given: { topics: [{ topic: 'orders', partitions: [{ partition: 3, timestamp: -2 }] }] },
    wanted: { topics: [{ name: 'orders', partitions: [{ index: 3, timestamp: -2 }] }] },
  },
  {
    ...{ api: 'OffsetCommit', last: 5 },
    given: {
      ...{ ...group, groupGenerationId: 4 },
      topics: [{ topic: 'orders', partitions: [{ partition: 3, offset: '12', metadata: 'm' }] }],
    },
    wanted: {
      ...{ groupId: 'billing', generationId: 4, memberId: 'member-1' },
      topics: [{ name: 'orders', partitions: [{ index: 3, offset: 12, metadata: 'm' }] }],
    },
  },
  {
    ...{
      api: 'OffsetFetch',
      last: 4,
      given: { ...group, topics: [{ topic: 'orders', partitions }] },
    },
    wanted: { groupId: 'billing', topics: [{ name: 'orders', partitions: [3] }] },
  },
  {
    ...{ api: 'FindCoordinator', theirs: 'GroupCoordinator', last: 2, given: group },
    wanted: { key: 'billing', keyType: 0 },
  },
  {
    ...{ api: 'JoinGroup', last: 4, given: join },
    wanted: {
      ...{ groupId: 'billing', sessionTimeoutMs: 6_000, memberId: 'member-1' },
      protocols: [{ name: 'RoundRobin', metadata: Buffer.from([1, 2, 3]) }],
    },
  },
  {
    ...{ api: 'Heartbeat', last: 2, given: { ...group, groupGenerationId: 4 } },
    wanted: { groupId: 'billing', generationId: 4, memberId: 'member-1' },
  },
  { ...{ api: 'LeaveGroup', last: 2, given: group }, wanted: group },
  {
    ...{ api: 'SyncGroup', last: 2 },
    given: {
      ...{ ...group, generationId: 4 },
      groupAssignment: [{ memberId: 'member-2', memberAssignment: Buffer.from([9]) }],
    },
    wanted: {
      ...{ ...group, generationId: 4 },
      assignments: [{ memberId: 'member-2', assignment: Buffer.from([9]) }],
    },
  },
  {
    ...{ api: 'CreateTopics', last: 3, given: { topics: createTopics, timeout: 5_000 } },
    wanted: {
      topics: [
        {
          ...{ name: 'orders', numPartitions: -1, replicationFactor: -1, assignments: [] },
          configs: [{ name: 'retention.ms', value: '-1' }],
        },
      ],
      timeoutMs: 5_000,
    },
  },
  {
    ...{ api: 'DeleteTopics', last: 1, given: { topics: ['orders'], timeout: 5_000 } },
    wanted: { topicNames: ['orders'], timeoutMs: 5_000 },
  },
  {
    ...{ api: 'InitProducerId', last: 1, given: { transactionalId: null } },
    wanted: { transactionalId: null, transactionTimeoutMs: 5_000 },
  },
  { ...{ api: 'ApiVersions', last: 2, given: {} }, wanted: {} },
  {
    ...{ api: 'AddPartitionsToTxn', last: 1 },
    given: { ...transaction, topics: [{ topic: 'orders', partitions: [3, 4] }] },
    wanted: { ...inTransaction, topics: [{ name: 'orders', partitions: [3, 4] }] },
  },
  {
    ...{ api: 'AddOffsetsToTxn', last: 1, given: { ...transaction, groupId: 'billing' } },
    wanted: { ...inTransaction, groupId: 'billing' },
  },
  {
    ...{ api: 'EndTxn', last: 1, given: { ...transaction, transactionResult: true } },
    wanted: { ...inTransaction, committed: true },
  },
  {
    ...{ api: 'TxnOffsetCommit', last: 1 },
    given: {
      ...{ ...transaction, groupId: 'billing' },
      topics: [{ topic: 'orders', partitions: [{ partition: 3, offset: '12' }] }],
    },
    wanted: {
      ...{ ...inTransaction, groupId: 'billing' },
      topics: [{ name: 'orders', partitions: [{ index: 3, offset: 12 }] }],
    },
  },
]

function apiOf(name: string): Api {
  const found = APIS.find((api) => api.name === name)
  if (found === undefined) throw new Error(`no API ${name}`)
  return found
}

function versionsTo(last: number, { versions: [first] }: Api): number[] {
  return Array.from({ length: last - first + 1 }, (_, at) => first + at)
}

const requestCases = requests.flatMap((one) => {
  const api = apiOf(one.api)
  return versionsTo(one.last, api).map((version) => ({ ...one, version, of: api }))
})

test.each(requestCases)(
  '$api $version as kafkajs asks it',
  async ({ of, api, theirs, version, ...given }) => {
    const { request } = definition(theirs ?? api, version)(given.given)
    const { buffer } = await encodeRequest({ correlationId: 77, clientId: 'kafkajs', request })
    const frame = decodeRequest(buffer.subarray(4))
    expect(frame.header).toEqual({
      apiKey: of.key,
      version,
      correlationId: 77,
      clientId: 'kafkajs',
    })
    const bodyAt = frame.body.position
    const body = decodeBody(of, version, frame.body)
    expect(body).toMatchObject(given.wanted)
    expect(frame.body.remaining).toBe(0)
    const again = encode(of.request, body, { version, flexible: isFlexible(of, version) })
    expect(again.equals(buffer.subarray(4 + bodyAt))).toBe(true)
  },
)

function definition(name: string, version: number): (given: object) => KafkaJsRequest {
  const found = kafkaJs.requests[name]
  if (found === undefined) throw new Error(`kafkajs does not know ${name}`)
  return found.protocol({ version })
}

const listed = { index: 3, errorCode: 0 }
const ids = {
  memberId: 'member-1',
  leader: 'member-1',
  generationId: 5,
  protocolName: 'RoundRobin',
}

/** What is answered here, and what kafkajs must read of it. */
const responses = [
  {
    ...{ api: 'ApiVersions', last: 2, given: {} },
    body: {
      errorCode: 0,
      apiKeys: [{ apiKey: 3, minVersion: 0, maxVersion: 12 }],
      throttleTimeMs: 0,
    },
    wanted: { errorCode: 0, apiVersions: [{ apiKey: 3, minVersion: 0, maxVersion: 12 }] },
  },
  {
    ...{ api: 'Metadata', last: 6, given: { topics: ['orders'] } },
    body: {
      ...{ throttleTimeMs: 0, clusterId: 'c', controllerId: 2, clusterAuthorizedOperations: 0 },
      brokers: [{ nodeId: 2, host: 'localhost', port: 9092, rack: null }],
      topics: [
        {
          ...{ errorCode: 0, name: 'orders', topicId: '0'.repeat(32), isInternal: false },
          authorizedOperations: 0,
          partitions: [
            {
              ...{ errorCode: 0, index: 3, leaderId: 2, leaderEpoch: 9 },
              ...{ replicaNodes: [2], isrNodes: [2], offlineReplicas: [] },
            },
          ],
        },
      ],
    },
    wanted: {
      brokers: [{ nodeId: 2, host: 'localhost', port: 9092 }],
      topicMetadata: [
        { topic: 'orders', partitionMetadata: [{ partitionId: 3, leader: 2, replicas: [2] }] },
      ],
    },
  },
  {
    ...{ api: 'ListOffsets', last: 3, given: { topics: [] } },
    body: {
      throttleTimeMs: 0,
      topics: [
        { name: 'orders', partitions: [{ ...listed, timestamp: -1, offset: 5, leaderEpoch: 9 }] },
      ],
    },
    wanted: {
      responses: [
        {
          topic: 'orders',
          partitions: [{ partition: 3, errorCode: 0, timestamp: '-1', offset: '5' }],
        },
      ],
    },
  },
  {
    ...{ api: 'JoinGroup', last: 4, given: join },
    body: {
      ...{ ...ids, throttleTimeMs: 0, errorCode: 0 },
      members: [{ memberId: 'member-1', metadata: Buffer.from([1]) }],
    },
    wanted: {
      ...{ errorCode: 0, generationId: 5, groupProtocol: 'RoundRobin', leaderId: 'member-1' },
      members: [{ memberId: 'member-1', memberMetadata: Buffer.from([1]) }],
    },
  },
  {
    ...{ api: 'SyncGroup', last: 2, given: { ...group, groupAssignment: [] } },
    body: { throttleTimeMs: 0, errorCode: 0, assignment: Buffer.from([9]) },
    wanted: { errorCode: 0, memberAssignment: Buffer.from([9]) },
  },
  {
    ...{ api: 'OffsetFetch', last: 4, given: { ...group, topics: [] } },
    body: {
      ...{ throttleTimeMs: 0, errorCode: 0 },
      topics: [
        { name: 'orders', partitions: [{ ...listed, offset: 12, leaderEpoch: -1, metadata: '' }] },
      ],
    },
    wanted: { responses: [{ topic: 'orders', partitions: [{ partition: 3, offset: '12' }] }] },
  },
  {
    ...{ api: 'InitProducerId', last: 1, given: { transactionalId: null } },
    body: { throttleTimeMs: 0, errorCode: 0, producerId: 4_194_304_001, producerEpoch: 0 },
    wanted: { errorCode: 0, producerId: '4194304001', producerEpoch: 0 },
  },
  {
    ...{ api: 'FindCoordinator', theirs: 'GroupCoordinator', last: 2, given: group },
    body: {
      ...{ throttleTimeMs: 0, errorCode: 0, errorMessage: null, coordinators: [] },
      ...{ nodeId: 2, host: 'localhost', port: 9092 },
    },
    wanted: { coordinator: { nodeId: 2, host: 'localhost', port: 9092 } },
  },
  {
    ...{ api: 'Produce', last: 7, given: { acks: -1, timeout: 1, topicData: [] } },
    body: {
      ...{ throttleTimeMs: 0, nodeEndpoints: undefined },
      topics: [
        {
          name: 'orders',
          partitions: [
            {
              ...{ ...listed, baseOffset: 5_000_000_000, logAppendTimeMs: -1, logStartOffset: 1 },
              ...{ recordErrors: [], errorMessage: null, currentLeader: undefined },
            },
          ],
        },
      ],
    },
    wanted: { topics: [{ topicName: 'orders', partitions: [{ partition: 3, errorCode: 0 }] }] },
  },
  ...['AddPartitionsToTxn', 'TxnOffsetCommit'].map((api) => ({
    ...{ api, last: 1, given: { ...transaction, groupId: 'billing', topics: [] } },
    body: { throttleTimeMs: 0, topics: [{ name: 'orders', partitions: [listed] }] },
    wanted: { throttleTime: 0 },
  })),
  ...['AddOffsetsToTxn', 'EndTxn'].map((api) => ({
    ...{ api, last: 1, given: transaction },
    body: { throttleTimeMs: 0, errorCode: 0, producerId: -1, producerEpoch: -1 },
    wanted: { throttleTime: 0, errorCode: 0 },
  })),
]

const responseCases = responses.flatMap((one) => {
  const api = apiOf(one.api)
  return versionsTo(one.last, api).map((version) => ({ ...one, version, of: api }))
})

describe('answers', () => {
  test.each(responseCases)('$api $version as kafkajs reads it', async (one) => {
    const { of, version, body, wanted, given, api } = one
    const theirs = 'theirs' in one ? (one.theirs as string) : api
    const { response } = definition(theirs, version)(given)
    const frame = encodeResponse({ api: of, version, correlationId: 77 }, body)
    expect(frame.readInt32BE(0)).toBe(frame.length - 4)
    expect(frame.readInt32BE(4)).toBe(77)
    expect(await response.decode(frame.subarray(8))).toMatchObject(wanted)
  })
})

describe('headers', () => {
  test('of flexible versions have tags, but not those of answers to ApiVersions', () => {
    const body = { errorCode: 0, apiKeys: [], throttleTimeMs: 0 }
    const asked = encodeResponse({ api: apiOf('ApiVersions'), version: 3, correlationId: 1 }, body)
    // Error 0, no keys (compact), throttle 0, no tags.
    expect([...asked.subarray(8)]).toEqual([0, 0, 1, 0, 0, 0, 0, 0])
    const heard = encodeResponse(
      { api: apiOf('InitProducerId'), version: 2, correlationId: 1 },
      {
        ...{ throttleTimeMs: 0, errorCode: 0, producerId: 1, producerEpoch: 0 },
      },
    )
    expect(heard[8]).toBe(0)
    expect(heard.length).toBe(8 + 1 + 4 + 2 + 8 + 2 + 1)
  })

  test('an API or a version that is not spoken is no error of the frame', () => {
    const head = (apiKey: number, version: number): Buffer => {
      const bytes = Buffer.alloc(10)
      bytes.writeInt16BE(apiKey, 0)
      bytes.writeInt16BE(version, 2)
      bytes.writeInt16BE(-1, 8)
      return bytes
    }
    expect(decodeRequest(head(18, 99)).api).toBeUndefined()
    expect(decodeRequest(head(4, 0)).api).toBeUndefined()
    expect(decodeRequest(head(18, 0))).toMatchObject({
      api: { name: 'ApiVersions' },
      header: { clientId: '' },
    })
  })
})
