// Administration as clients see it: settings, partitions, records that go, where things are, what is refused.

import { beforeEach, describe, expect, test } from 'vitest'
import { KafkaBench, type KafkaClient } from '../../testing/kafka-fixtures.ts'
import { batchOf } from '../../testing/log-fixtures.ts'
import {
  ALTER_CONFIGS,
  ALTER_PARTITION_REASSIGNMENTS,
  CREATE_PARTITIONS,
  DELETE_RECORDS,
  DESCRIBE_CLUSTER,
  DESCRIBE_CONFIGS,
  DESCRIBE_LOG_DIRS,
  DESCRIBE_TOPIC_PARTITIONS,
  ELECT_LEADERS,
  GET_TELEMETRY_SUBSCRIPTIONS,
  INCREMENTAL_ALTER_CONFIGS,
  LIST_CONFIG_RESOURCES,
  LIST_PARTITION_REASSIGNMENTS,
  PUSH_TELEMETRY,
  UPDATE_FEATURES,
} from './codec/admin-apis.ts'
import { API_VERSIONS, CREATE_TOPICS, DELETE_TOPICS, FETCH, PRODUCE } from './codec/log-apis.ts'
import { TOPIC_CONFIGS } from './configs.ts'
import { ERROR } from './errors.ts'

let bench: KafkaBench
let client: KafkaClient

beforeEach(async () => {
  bench = await new KafkaBench().start()
  client = await bench.connect()
  bench.topic('orders', 3)
})

const TOPIC = 2
const BROKER = 4
const NO_ID = '0'.repeat(32)

async function configsOf(
  resourceName = 'orders',
  configNames: string[] | null = null,
  type = TOPIC,
) {
  const { results } = await client.ask(DESCRIBE_CONFIGS, 4, {
    resources: [{ resourceType: type, resourceName, configNames }],
    ...{ includeSynonyms: true, includeDocumentation: true },
  })
  const [result] = results
  return { errorCode: result?.errorCode, configs: result?.configs ?? [] }
}

async function settingOf(name: string) {
  return (await configsOf('orders', [name])).configs[0]?.value
}

async function incremental(
  configs: { name: string; operation: number; value: string | null }[],
  validateOnly = false,
) {
  const resources = [{ resourceType: TOPIC, resourceName: 'orders', configs }]
  const { results } = await client.ask(INCREMENTAL_ALTER_CONFIGS, 1, { resources, validateOnly })
  return results[0]?.errorCode
}

async function replace(configs: { name: string; value: string | null }[]) {
  const resources = [{ resourceType: TOPIC, resourceName: 'orders', configs }]
  const { results } = await client.ask(ALTER_CONFIGS, 2, { resources, validateOnly: false })
  return results[0]?.errorCode
}

const creating = (name: string, more: object = {}, validateOnly = false) => ({
  ...{ timeoutMs: 1_000, validateOnly },
  topics: [
    { name, numPartitions: -1, replicationFactor: -1, assignments: [], configs: [], ...more },
  ],
})

describe('settings', () => {
  test('of a topic are all there, with their source, default, type and meaning', async () => {
    await incremental([{ name: 'retention.ms', operation: 0, value: '60000' }])
    const { configs } = await configsOf()
    expect(configs.map(({ name }) => name)).toEqual(Object.keys(TOPIC_CONFIGS))
    const usually = { name: 'log.retention.ms', value: '604800000', source: 5 }
    expect(configs.find(({ name }) => name === 'retention.ms')).toMatchObject({
      ...{ value: '60000', readOnly: false, source: 1, type: 5, isSensitive: false },
      synonyms: [{ name: 'retention.ms', value: '60000', source: 1 }, usually],
    })
    expect(configs.find(({ name }) => name === 'min.insync.replicas')).toMatchObject({
      ...{ value: '1', readOnly: true, source: 5, type: 3 },
    })
    for (const { documentation } of configs) expect(documentation).toMatch(/\.$|default$/)
  })

  test('of a broker are told by itself', async () => {
    const { configs } = await configsOf('1', null, BROKER)
    const value = (wanted: string) => configs.find(({ name }) => name === wanted)?.value
    expect(value('num.partitions')).toBe('4')
    expect(value('log.retention.ms')).toBe('604800000')
    expect(value('advertised.listeners')).toBe('one:9092')
    expect((await configsOf('', null, BROKER)).configs).toEqual([])
    expect((await configsOf('2', null, BROKER)).errorCode).toBe(ERROR.INVALID_REQUEST)
    const alter = async (wanted: { name: string; value: string | null }[]) => {
      const resources = [{ resourceType: BROKER, resourceName: '1', configs: wanted }]
      const altered = await client.ask(ALTER_CONFIGS, 1, { resources, validateOnly: false })
      return altered.results[0]?.errorCode
    }
    expect(await alter(configs.map(({ name, value: same }) => ({ name, value: same })))).toBe(0)
    expect(await alter([{ name: 'num.partitions', value: '8' }])).toBe(ERROR.INVALID_CONFIG)
    expect(await alter([{ name: 'no.such', value: '8' }])).toBe(ERROR.INVALID_CONFIG)
  })

  test('that are read and written again, all of them, stay as they are', async () => {
    await incremental([{ name: 'cleanup.policy', operation: 0, value: 'compact' }])
    const before = (await configsOf()).configs.map(({ name, value }) => ({ name, value }))
    expect(await replace(before)).toBe(0)
    expect((await configsOf()).configs.map(({ name, value }) => ({ name, value }))).toEqual(before)
  })

  test('are set, added to, taken from and taken away one by one', async () => {
    const change = (operation: number, value: string | null, name = 'cleanup.policy') =>
      incremental([{ name, operation, value }])
    expect(await change(2, 'compact')).toBe(0)
    expect(await settingOf('cleanup.policy')).toBe('compact,delete')
    expect(await change(3, 'delete')).toBe(0)
    expect(await settingOf('cleanup.policy')).toBe('compact')
    expect(await change(1, null)).toBe(0)
    expect(await settingOf('cleanup.policy')).toBe('delete')
    expect(await change(0, '0.25', 'min.cleanable.dirty.ratio')).toBe(0)
    expect(await settingOf('min.cleanable.dirty.ratio')).toBe('0.25')
    expect(await change(0, '-1', 'retention.ms')).toBe(0)
    expect(await settingOf('retention.ms')).toBe('-1')
  })

  test('that are not named are as usual when all are given anew', async () => {
    await incremental([{ name: 'retention.ms', operation: 0, value: '60000' }])
    expect(await replace([{ name: 'cleanup.policy', value: 'compact' }])).toBe(0)
    expect(await settingOf('retention.ms')).toBe('604800000')
    expect(await settingOf('cleanup.policy')).toBe('compact')
  })

  test.each([
    ['min.insync.replicas', 0, '2'],
    ['compression.type', 0, 'zstd'],
    ['no.such.setting', 0, '1'],
    ['toString', 0, '1'],
    ['retention.ms', 0, 'soon'],
    ['retention.ms', 2, '1'],
    ['retention.ms', 9, '1'],
  ])('that nothing obeys are refused: %s, operation %s, %s', async (name, operation, value) => {
    expect(await incremental([{ name, operation, value }])).toBe(ERROR.INVALID_CONFIG)
    expect(bench.settings.get('orders')).toBeUndefined()
  })

  test('are not set when it was only asked, nor of what is not there', async () => {
    const change = [{ name: 'retention.ms', operation: 0, value: '60000' }]
    expect(await incremental(change, true)).toBe(0)
    expect(bench.settings.get('orders')).toBeUndefined()
    expect((await configsOf('nothing')).errorCode).toBe(ERROR.UNKNOWN_TOPIC_OR_PARTITION)
    expect((await configsOf('x', null, 16)).errorCode).toBe(ERROR.INVALID_REQUEST)
  })

  test('are listed by what has them', async () => {
    const ask = async (version: number, resourceTypes: number[]) =>
      client.ask(LIST_CONFIG_RESOURCES, version, { resourceTypes })
    expect((await ask(1, [])).configResources).toEqual([
      { name: 'orders', type: TOPIC },
      { name: '1', type: BROKER },
      { name: '2', type: BROKER },
    ])
    expect((await ask(0, [])).configResources).toEqual([])
    expect((await ask(1, [99])).errorCode).toBe(ERROR.UNSUPPORTED_VERSION)
  })
})

describe('topics', () => {
  test('are made with what is usual, and told with their settings and id', async () => {
    const configs = [{ name: 'cleanup.policy', value: 'compact' }]
    const { topics } = await client.ask(CREATE_TOPICS, 7, creating('new', { configs }))
    expect(topics[0]).toMatchObject({ errorCode: 0, numPartitions: 4, replicationFactor: 1 })
    expect(topics[0]?.topicId).not.toBe(NO_ID)
    const told = topics[0]?.configs?.find(({ name }) => name === 'cleanup.policy')
    expect(told).toMatchObject({ value: 'compact', source: 1 })
    const again = await client.ask(CREATE_TOPICS, 5, creating('new'))
    expect(again.topics[0]?.errorCode).toBe(ERROR.TOPIC_ALREADY_EXISTS)
  })

  test('are only checked when only that was asked', async () => {
    const { topics } = await client.ask(CREATE_TOPICS, 6, creating('new', {}, true))
    expect(topics[0]).toMatchObject({ errorCode: 0, numPartitions: 4 })
    expect(bench.topics.get('default', 'new')).toBeUndefined()
  })

  test.each([
    ['a bad/name', {}, ERROR.INVALID_TOPIC_EXCEPTION],
    ['x', { numPartitions: 0 }, ERROR.INVALID_PARTITIONS],
    ['x', { replicationFactor: 0 }, ERROR.INVALID_REPLICATION_FACTOR],
    ['x', { assignments: [{ index: 0, brokerIds: [1] }] }, ERROR.INVALID_REPLICA_ASSIGNMENT],
    ['x', { configs: [{ name: 'min.insync.replicas', value: '2' }] }, ERROR.INVALID_CONFIG],
  ])('are refused: %s %j', async (name, more, errorCode) => {
    const { topics } = await client.ask(CREATE_TOPICS, 7, creating(name, more))
    expect(topics[0]?.errorCode).toBe(errorCode)
  })

  test('are deleted by id', async () => {
    const made = await client.ask(CREATE_TOPICS, 7, creating('new'))
    const topicId = made.topics[0]?.topicId ?? ''
    const ask = (topics: { name: string | null; topicId: string }[]) =>
      client.ask(DELETE_TOPICS, 6, { topics, topicNames: [], timeoutMs: 1_000 })
    expect((await ask([{ name: null, topicId }])).topics).toEqual([
      { name: 'new', topicId, errorCode: 0, errorMessage: null },
    ])
    expect((await ask([{ name: null, topicId }])).topics[0]?.errorCode).toBe(ERROR.UNKNOWN_TOPIC_ID)
  })

  test('get more partitions, never fewer', async () => {
    const grow = async (count: number, more: object = {}, validateOnly = false) => {
      const topics = [{ name: 'orders', count, assignments: null, ...more }]
      const request = { topics, timeoutMs: 1_000, validateOnly }
      return (await client.ask(CREATE_PARTITIONS, 3, request)).results[0]?.errorCode
    }
    expect(await grow(5, {}, true)).toBe(0)
    expect(bench.topics.get('default', 'orders')?.partitions).toBe(3)
    expect(await grow(5)).toBe(0)
    expect(bench.topics.get('default', 'orders')?.partitions).toBe(5)
    expect(await grow(5)).toBe(ERROR.INVALID_PARTITIONS)
    expect(await grow(2)).toBe(ERROR.INVALID_PARTITIONS)
    const assignments = [{ brokerIds: [1] }]
    expect(await grow(6, { assignments })).toBe(ERROR.INVALID_REPLICA_ASSIGNMENT)
    expect(await grow(6, { name: 'x' })).toBe(ERROR.UNKNOWN_TOPIC_OR_PARTITION)
  })
})

async function produce(...records: string[]) {
  for (const record of records) {
    const partitions = [{ index: 0, records: Buffer.from(batchOf([record])) }]
    const topics = [{ name: 'orders', topicId: NO_ID, partitions }]
    const request = { transactionalId: null, acks: -1, timeoutMs: 1_000, topics }
    const answer = await client.ask(PRODUCE, 7, request)
    expect(answer.topics[0]?.partitions[0]?.errorCode).toBe(0)
  }
}

async function fetchFrom(fetchOffset: number) {
  const partition = { index: 0, currentLeaderEpoch: -1, fetchOffset, lastFetchedEpoch: -1 }
  const { topics } = await client.ask(FETCH, 11, {
    ...{ replicaId: -1, maxWaitMs: 0, minBytes: 1, maxBytes: 1_000_000, isolationLevel: 0 },
    ...{ sessionId: 0, sessionEpoch: -1, forgottenTopics: [], rackId: '' },
    topics: [
      {
        name: 'orders',
        topicId: NO_ID,
        partitions: [{ ...partition, logStartOffset: 0, maxBytes: 1_000_000 }],
      },
    ],
  })
  return topics[0]?.partitions[0]
}

describe('records', () => {
  const remove = async (offset: number, index = 0) => {
    const topics = [{ name: 'orders', partitions: [{ index, offset }] }]
    const answer = await client.ask(DELETE_RECORDS, 2, { topics, timeoutMs: 1_000 })
    return answer.topics[0]?.partitions[0]
  }

  test('before an offset go, for the next owner too', async () => {
    await produce('a=1', 'b=2', 'c=3')
    expect(await remove(2)).toEqual({ index: 0, lowWatermark: 2, errorCode: 0 })
    expect((await fetchFrom(0))?.errorCode).toBe(ERROR.OFFSET_OUT_OF_RANGE)
    expect(await fetchFrom(2)).toMatchObject({ errorCode: 0, logStartOffset: 2 })
    await bench.start()
    client = await bench.connect()
    expect(await fetchFrom(2)).toMatchObject({ errorCode: 0, logStartOffset: 2, highWatermark: 3 })
    expect(await remove(-1)).toEqual({ index: 0, lowWatermark: 3, errorCode: 0 })
    await produce('d=4')
    expect(await fetchFrom(3)).toMatchObject({ logStartOffset: 3, highWatermark: 4 })
  })

  test('that are not there, or that somebody counts on, do not', async () => {
    await produce('a=1')
    expect((await remove(2))?.errorCode).toBe(ERROR.OFFSET_OUT_OF_RANGE)
    expect((await remove(-2))?.errorCode).toBe(ERROR.OFFSET_OUT_OF_RANGE)
    expect((await remove(0, 9))?.errorCode).toBe(ERROR.UNKNOWN_TOPIC_OR_PARTITION)
    await incremental([{ name: 'cleanup.policy', operation: 0, value: 'compact' }])
    expect((await remove(1))?.errorCode).toBe(ERROR.POLICY_VIOLATION)
    bench.owner = 'b2'
    await replace([])
    expect((await remove(1))?.errorCode).toBe(ERROR.NOT_LEADER_OR_FOLLOWER)
  })

  test('have as many bytes as their owner has stored', async () => {
    const batch = batchOf(['a=1'])
    await produce('a=1', 'a=1')
    const ask = (topics: { name: string; partitions: number[] }[] | null) =>
      client.ask(DESCRIBE_LOG_DIRS, 4, { topics })
    const all = await ask(null)
    expect(all).toMatchObject({ errorCode: 0, results: [{ errorCode: 0, logDir: '/robust' }] })
    expect(all.results[0]?.topics[0]?.partitions.map(({ index, size }) => [index, size])).toEqual([
      [0, 2 * batch.byteLength],
      [1, 0],
      [2, 0],
    ])
    const some = await ask([
      { name: 'orders', partitions: [1, 7] },
      { name: 'x', partitions: [0] },
    ])
    expect(some.results[0]?.topics).toMatchObject([{ name: 'orders', partitions: [{ index: 1 }] }])
    bench.owner = 'b2'
    expect((await ask(null)).results[0]?.topics).toEqual([])
  })
})

describe('the cluster', () => {
  test('is described, of brokers only', async () => {
    const ask = (endpointType: number) =>
      client.ask(DESCRIBE_CLUSTER, 2, {
        ...{ includeClusterAuthorizedOperations: true, endpointType, includeFencedBrokers: false },
      })
    expect(await ask(1)).toMatchObject({
      ...{ errorCode: 0, clusterId: 'c', controllerId: 1 },
      brokers: [
        { nodeId: 1, host: 'one' },
        { nodeId: 2, host: 'two' },
      ],
    })
    expect((await ask(2)).errorCode).toBe(ERROR.UNSUPPORTED_ENDPOINT_TYPE)
  })

  test('tells of partitions a page at a time', async () => {
    bench.topic('more', 2)
    type Cursor = { readonly name: string; readonly partition: number } | null
    let cursor: Cursor = null
    const pages: [string | null, number[]][][] = []
    do {
      const request = { topics: [], partitionLimit: 2, cursor }
      const answer: {
        topics: readonly { name: string | null; partitions: readonly { index: number }[] }[]
        nextCursor: Cursor
      } = await client.ask(DESCRIBE_TOPIC_PARTITIONS, 0, request)
      pages.push(
        answer.topics.map(({ name, partitions }) => [name, partitions.map(({ index }) => index)]),
      )
      cursor = answer.nextCursor
    } while (cursor !== null)
    expect(pages).toEqual([[['more', [0, 1]]], [['orders', [0, 1]]], [['orders', [2]]]])
    const request = { topics: [{ name: 'x' }], partitionLimit: 10, cursor: null }
    const { topics } = await client.ask(DESCRIBE_TOPIC_PARTITIONS, 0, request)
    expect(topics[0]?.errorCode).toBe(ERROR.UNKNOWN_TOPIC_OR_PARTITION)
  })

  test('elects by itself, moves by its own decisions, and has the features that it has', async () => {
    const topics = [{ name: 'orders', partitions: [0, 9] }]
    const elected = await client.ask(ELECT_LEADERS, 2, { electionType: 0, topics, timeoutMs: 1 })
    expect(elected.results[0]?.partitions.map(({ errorCode }) => errorCode)).toEqual([
      ...[ERROR.ELECTION_NOT_NEEDED, ERROR.UNKNOWN_TOPIC_OR_PARTITION],
    ])
    const all = await client.ask(ELECT_LEADERS, 2, { electionType: 0, topics: null, timeoutMs: 1 })
    expect(all).toMatchObject({ errorCode: 0, results: [] })
    const partitions = [
      { index: 0, replicas: [1] },
      { index: 1, replicas: [2] },
      { index: 2, replicas: null },
    ]
    const moved = await client.ask(ALTER_PARTITION_REASSIGNMENTS, 1, {
      ...{ timeoutMs: 1, allowReplicationFactorChange: true },
      topics: [{ name: 'orders', partitions }],
    })
    expect(moved.topics[0]?.partitions.map(({ errorCode }) => errorCode)).toEqual([
      ...[0, ERROR.INVALID_REPLICA_ASSIGNMENT, ERROR.NO_REASSIGNMENT_IN_PROGRESS],
    ])
    const listing = { timeoutMs: 1, topics: null }
    expect((await client.ask(LIST_PARTITION_REASSIGNMENTS, 0, listing)).topics).toEqual([])
    const updates = [{ feature: 'x', maxVersionLevel: 1, allowDowngrade: false, upgradeType: 1 }]
    const updated = { timeoutMs: 1, updates, validateOnly: false }
    expect(await client.ask(UPDATE_FEATURES, 1, updated)).toMatchObject({
      ...{ errorCode: ERROR.FEATURE_UPDATE_FAILED },
      results: [{ feature: 'x', errorCode: ERROR.FEATURE_UPDATE_FAILED }],
    })
  })

  test('asks for no telemetry, and takes none', async () => {
    const first = await client.ask(GET_TELEMETRY_SUBSCRIPTIONS, 0, { clientInstanceId: NO_ID })
    expect(first).toMatchObject({ errorCode: 0, requestedMetrics: [] })
    const { clientInstanceId, subscriptionId } = first
    expect(clientInstanceId).not.toBe(NO_ID)
    const again = await client.ask(GET_TELEMETRY_SUBSCRIPTIONS, 0, { clientInstanceId })
    expect(again.clientInstanceId).toBe(clientInstanceId)
    const push = async (more: object) => {
      const nothing = { terminating: true, compressionType: 0, metrics: Buffer.alloc(0) }
      const request = { clientInstanceId, subscriptionId, ...nothing, ...more }
      return (await client.ask(PUSH_TELEMETRY, 0, request)).errorCode
    }
    expect(await push({})).toBe(0)
    expect(await push({ metrics: Buffer.from('x') })).toBe(ERROR.TELEMETRY_TOO_LARGE)
    expect(await push({ subscriptionId: 9 })).toBe(ERROR.UNKNOWN_SUBSCRIPTION_ID)
  })

  test('tells in version 0 of ApiVersions of every API', async () => {
    const software = { clientSoftwareName: '', clientSoftwareVersion: '' }
    const { apiKeys } = await client.ask(API_VERSIONS, 0, software)
    expect(apiKeys.find(({ apiKey }) => apiKey === 18)?.maxVersion).toBe(4)
  })
})

test('a batch that is larger than a topic takes is refused', async () => {
  bench.topic('small', 1, { batchBytesMax: 2_000 })
  const produceTo = async (bytes: number) => {
    const records = Buffer.from(batchOf([`a=${'x'.repeat(bytes)}`]))
    const topics = [{ name: 'small', topicId: NO_ID, partitions: [{ index: 0, records }] }]
    const request = { transactionalId: null, acks: -1, timeoutMs: 1_000, topics }
    return (await client.ask(PRODUCE, 7, request)).topics[0]?.partitions[0]?.errorCode
  }
  expect(await produceTo(1_000)).toBe(0)
  expect(await produceTo(2_000)).toBe(ERROR.MESSAGE_TOO_LARGE)
})
