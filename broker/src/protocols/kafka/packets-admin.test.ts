// Against another implementation: what @platformatic/kafka asks of administration is read here, what is answered here
// it reads. Values are compared in the order of the wire, whatever either calls them.

import * as platformatic from '@platformatic/kafka'
import { describe, expect, test } from 'vitest'
import { ByteReader } from '../shared/byte-reader.ts'
import { type Api, isFlexible } from './codec/api.ts'
import { decode, encode } from './codec/wire-types.ts'
import { APIS } from './packets.ts'

interface Theirs {
  createRequest(...given: readonly unknown[]): { readonly buffer: Buffer }
  parseResponse(correlationId: number, key: number, version: number, reader: unknown): object
}

const theirs = platformatic as unknown as Readonly<Record<string, Theirs>>

/** Undefined is what is left out. */
function leaves(value: unknown): unknown[] {
  if (value === undefined) return []
  if (typeof value === 'bigint') return [Number(value)]
  if (typeof value === 'string') return [value.replaceAll('-', '')]
  if (Buffer.isBuffer(value)) return [value.toString('hex')]
  if (typeof value !== 'object' || value === null) return [value]
  return Object.values(value).flatMap(leaves)
}

const UUID = '01234567-89ab-cdef-0123-456789abcdef'
const ID = UUID.replaceAll('-', '')
const fine = { errorCode: 0, errorMessage: null }
const on = { resourceType: 2, resourceName: 'orders' }
const acl = { principal: 'User:ann', host: '*', operation: 3, permissionType: 3 }
const bound = { ...on, patternType: 4, ...acl }
const theirAcl = { ...on, resourcePatternType: 4, ...acl }
const entity = [
  { entityType: 'user', entityName: 'ann' },
  { entityType: 'client-id', entityName: null },
]
const throttled = { throttleTimeMs: 7 }

/** Of each API: what theirs is asked, what must be read of it here, and what is answered. */
const cases: readonly {
  readonly module: string
  readonly api: string
  readonly asked: readonly unknown[]
  readonly read: object
  readonly answer: object
  /** Bytes that theirs has too many. */
  readonly excess?: number
}[] = [
  {
    ...{ module: 'saslHandshakeV1', api: 'SaslHandshake', asked: ['PLAIN'] },
    read: { mechanism: 'PLAIN' },
    answer: { errorCode: 0, mechanisms: ['PLAIN', 'SCRAM'] },
  },
  {
    ...{ module: 'saslAuthenticateV2', api: 'SaslAuthenticate', asked: [Buffer.from('token')] },
    read: { authBytes: Buffer.from('token') },
    answer: { ...fine, authBytes: Buffer.from('v=1'), sessionLifetimeMs: 60_000 },
  },
  {
    ...{ module: 'describeConfigsV4', api: 'DescribeConfigs' },
    asked: [[{ ...on, configurationKeys: ['a'] }], true, false],
    read: {
      resources: [{ ...on, configNames: ['a'] }],
      ...{ includeSynonyms: true, includeDocumentation: false },
    },
    answer: {
      ...throttled,
      results: [
        {
          ...{ ...fine, ...on },
          configs: [
            {
              ...{ name: 'a', value: '1', readOnly: true, source: 5, isSensitive: false },
              synonyms: [{ name: 'b', value: null, source: 1 }],
              ...{ type: 3, documentation: 'What it is.' },
            },
          ],
        },
      ],
    },
  },
  {
    ...{ module: 'alterConfigsV2', api: 'AlterConfigs' },
    asked: [[{ ...on, configs: [{ name: 'a', value: '1' }] }], true],
    read: { resources: [{ ...on, configs: [{ name: 'a', value: '1' }] }], validateOnly: true },
    answer: { ...throttled, results: [{ ...fine, ...on }] },
  },
  {
    ...{ module: 'incrementalAlterConfigsV1', api: 'IncrementalAlterConfigs' },
    asked: [[{ ...on, configs: [{ name: 'a', configOperation: 1, value: null }] }], false],
    read: {
      resources: [{ ...on, configs: [{ name: 'a', operation: 1, value: null }] }],
      validateOnly: false,
    },
    answer: { ...throttled, results: [{ ...fine, ...on }] },
  },
  {
    ...{ module: 'createTopicsV7', api: 'CreateTopics' },
    asked: [
      [
        {
          ...{ name: 'orders', numPartitions: -1, replicationFactor: -1 },
          assignments: [{ partitionIndex: 0, brokerIds: [1] }],
          configs: [{ name: 'a', value: '1' }],
        },
      ],
      5_000,
      true,
    ],
    read: {
      topics: [
        {
          ...{ name: 'orders', numPartitions: -1, replicationFactor: -1 },
          assignments: [{ index: 0, brokerIds: [1] }],
          configs: [{ name: 'a', value: '1' }],
        },
      ],
      ...{ timeoutMs: 5_000, validateOnly: true },
    },
    answer: {
      ...throttled,
      topics: [
        {
          ...{ name: 'orders', topicId: ID, ...fine, configErrorCode: undefined },
          ...{ numPartitions: 4, replicationFactor: 1 },
          configs: [{ name: 'a', value: '1', readOnly: false, source: 5, isSensitive: false }],
        },
      ],
    },
  },
  {
    ...{ module: 'deleteTopicsV6', api: 'DeleteTopics' },
    asked: [[{ name: 'orders', topicId: UUID }], 5_000],
    read: { topics: [{ name: 'orders', topicId: ID }], timeoutMs: 5_000 },
    answer: { ...throttled, topics: [{ name: null, topicId: ID, ...fine }] },
  },
  {
    ...{ module: 'deleteRecordsV2', api: 'DeleteRecords' },
    asked: [[{ name: 'orders', partitions: [{ partitionIndex: 3, offset: 9n }] }], 5_000],
    read: { topics: [{ name: 'orders', partitions: [{ index: 3, offset: 9 }] }], timeoutMs: 5_000 },
    answer: {
      ...throttled,
      topics: [{ name: 'orders', partitions: [{ index: 3, lowWatermark: 9, errorCode: 0 }] }],
    },
  },
  {
    ...{ module: 'createPartitionsV3', api: 'CreatePartitions' },
    asked: [[{ name: 'orders', count: 5, assignments: [{ brokerIds: [1, 2] }] }], 5_000, true],
    read: {
      topics: [{ name: 'orders', count: 5, assignments: [{ brokerIds: [1, 2] }] }],
      ...{ timeoutMs: 5_000, validateOnly: true },
    },
    answer: { ...throttled, results: [{ name: 'orders', ...fine }] },
  },
  {
    ...{ module: 'describeLogDirsV4', api: 'DescribeLogDirs' },
    asked: [[{ name: 'orders', partitions: [0, 1] }]],
    read: { topics: [{ name: 'orders', partitions: [0, 1] }] },
    answer: {
      ...{ ...throttled, errorCode: 0 },
      results: [
        {
          ...{ errorCode: 0, logDir: '/robust' },
          topics: [
            {
              name: 'orders',
              partitions: [{ index: 1, size: 5_000_000_000, offsetLag: 0, isFuture: false }],
            },
          ],
          ...{ totalBytes: -1, usableBytes: -1 },
        },
      ],
    },
  },
  {
    ...{ module: 'describeClusterV1', api: 'DescribeCluster', asked: [true, 1] },
    read: { includeClusterAuthorizedOperations: true, endpointType: 1 },
    answer: {
      ...{ ...throttled, ...fine, endpointType: 1, clusterId: 'c', controllerId: 1 },
      brokers: [{ nodeId: 1, host: 'h', port: 9_092, rack: null }],
      clusterAuthorizedOperations: 256,
    },
  },
  {
    ...{ module: 'describeAclsV3', api: 'DescribeAcls', asked: [theirAcl], read: bound },
    answer: { ...throttled, ...fine, resources: [{ ...on, patternType: 4, acls: [acl] }] },
  },
  {
    ...{ module: 'createAclsV3', api: 'CreateAcls', asked: [[theirAcl]] },
    ...{ read: { creations: [bound] }, answer: { ...throttled, results: [fine] } },
  },
  {
    ...{ module: 'deleteAclsV3', api: 'DeleteAcls', asked: [[theirAcl]] },
    read: { filters: [bound] },
    answer: {
      ...throttled,
      filterResults: [{ ...fine, matchingAcls: [{ ...fine, ...bound }] }],
    },
  },
  {
    ...{ module: 'alterClientQuotasV1', api: 'AlterClientQuotas' },
    asked: [[{ entities: entity, ops: [{ key: 'a', value: 1.5, remove: false }] }], true],
    read: {
      entries: [{ entity, ops: [{ key: 'a', value: 1.5, remove: false }] }],
      validateOnly: true,
    },
    answer: { ...throttled, entries: [{ ...fine, entity }] },
  },
  {
    ...{ module: 'describeUserScramCredentialsV0', api: 'DescribeUserScramCredentials' },
    ...{ asked: [[{ name: 'ann' }]], read: { users: [{ name: 'ann' }] } },
    answer: {
      ...{ ...throttled, ...fine },
      results: [{ user: 'ann', ...fine, credentialInfos: [{ mechanism: 2, iterations: 8_192 }] }],
    },
  },
  {
    ...{ module: 'alterUserScramCredentialsV0', api: 'AlterUserScramCredentials', excess: 1 },
    asked: [
      [{ name: 'bob', mechanism: 1 }],
      [
        {
          ...{ name: 'ann', mechanism: 2, iterations: 8_192 },
          ...{ salt: Buffer.from('s'), saltedPassword: Buffer.from('p') },
        },
      ],
    ],
    read: {
      deletions: [{ name: 'bob', mechanism: 1 }],
      upsertions: [
        {
          ...{ name: 'ann', mechanism: 2, iterations: 8_192 },
          ...{ salt: Buffer.from('s'), saltedPassword: Buffer.from('p') },
        },
      ],
    },
    answer: { ...throttled, results: [{ user: 'ann', ...fine }] },
  },
  {
    ...{ module: 'updateFeaturesV1', api: 'UpdateFeatures' },
    asked: [5_000, [{ feature: 'x', maxVersionLevel: 2, upgradeType: 1 }], true],
    read: {
      timeoutMs: 5_000,
      updates: [{ feature: 'x', maxVersionLevel: 2, upgradeType: 1 }],
      validateOnly: true,
    },
    answer: { ...throttled, ...fine, results: [{ feature: 'x', ...fine }] },
  },
  {
    ...{ module: 'listPartitionReassignmentsV0', api: 'ListPartitionReassignments' },
    asked: [5_000, [{ name: 'orders', partitionIndexes: [3] }]],
    read: { timeoutMs: 5_000, topics: [{ name: 'orders', partitions: [3] }] },
    answer: { ...throttled, ...fine, topics: [] },
  },
  {
    // Its reader of version 1 knows nothing of a field that Kafka's definition has.
    ...{ module: 'alterPartitionReassignmentsV0', api: 'AlterPartitionReassignments' },
    asked: [
      5_000,
      undefined,
      [{ name: 'orders', partitions: [{ partitionIndex: 3, replicas: [1] }] }],
    ],
    read: {
      timeoutMs: 5_000,
      topics: [{ name: 'orders', partitions: [{ index: 3, replicas: [1] }] }],
    },
    answer: {
      ...{ ...throttled, ...fine },
      topics: [{ name: 'orders', partitions: [{ index: 3, ...fine }] }],
    },
  },
  {
    ...{ module: 'describeTopicPartitionsV0', api: 'DescribeTopicPartitions' },
    asked: [[{ name: 'orders' }], 10, { topicName: 'orders', partitionIndex: 3 }],
    read: {
      topics: [{ name: 'orders' }],
      ...{ partitionLimit: 10, cursor: { name: 'orders', partition: 3 } },
    },
    answer: {
      ...throttled,
      topics: [
        {
          ...{ errorCode: 0, name: 'orders', topicId: ID, isInternal: false },
          partitions: [
            {
              ...{ errorCode: 0, index: 3, leaderId: 1, leaderEpoch: 2 },
              ...{ replicaNodes: [1], isrNodes: [1], eligibleLeaderReplicas: [] },
              ...{ lastKnownElr: [], offlineReplicas: [] },
            },
          ],
          authorizedOperations: 8,
        },
      ],
      nextCursor: { name: 'orders', partition: 4 },
    },
  },
]

function versionOf(module: string): number {
  return Number(/V(\d+)$/.exec(module)?.[1])
}

function apiOf(wanted: string): Api {
  const api = APIS.find(({ name }) => name === wanted)
  if (api === undefined) throw new Error(`there is no API ${wanted}`)
  return api
}

describe.each(cases)('$module', ({ module, api: name, asked, read, answer, excess = 0 }) => {
  const api = apiOf(name)
  const version = versionOf(module)
  const form = { version, flexible: isFlexible(api, version) }
  const their = theirs[module]

  test('asks what is read here', () => {
    const bytes = their?.createRequest(...asked).buffer ?? Buffer.alloc(0)
    const reader = new ByteReader(bytes)
    const body = decode(api.request, reader, form)
    expect(body).toMatchObject(read)
    expect(reader.remaining).toBe(excess)
    const again = encode(api.request, body, form)
    expect(again.equals(bytes.subarray(0, bytes.length - excess))).toBe(true)
  })

  test('reads what is answered here', () => {
    const bytes = encode(api.response, answer, form)
    const reader = platformatic.Reader.from(bytes)
    const found = their?.parseResponse(1, api.key, version, reader)
    expect(leaves(found)).toEqual(leaves(answer))
  })
})
