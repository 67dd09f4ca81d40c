// Quotas: which of several holds, what a client is told, how long it is not read; and SCRAM credentials.

import { beforeEach, describe, expect, test } from 'vitest'
import { Access } from '../../security/access.ts'
import { KafkaBench, type KafkaClient } from '../../testing/kafka-fixtures.ts'
import { batchOf } from '../../testing/log-fixtures.ts'
import { settle } from '../../testing/virtual-clock.ts'
import { API_VERSIONS, FETCH, PRODUCE } from './codec/log-apis.ts'
import {
  ALTER_CLIENT_QUOTAS,
  ALTER_USER_SCRAM_CREDENTIALS,
  DESCRIBE_CLIENT_QUOTAS,
  DESCRIBE_USER_SCRAM_CREDENTIALS,
} from './codec/quota-apis.ts'
import { ERROR } from './errors.ts'
import { ClientQuotas, type Quota, type QuotaEntity } from './quotas.ts'

let bench: KafkaBench
let client: KafkaClient

beforeEach(async () => {
  bench = await new KafkaBench().start()
  bench.topic('orders')
  client = await bench.connect()
})

const part = (entityType: string, entityName: string | null) => ({ entityType, entityName })

async function set(
  entity: ReturnType<typeof part>[],
  limits: Readonly<Record<string, number | null>>,
  more: object = {},
) {
  const ops = Object.entries(limits).map(([key, value]) => ({
    ...{ key, value: value ?? 0, remove: value === null },
  }))
  const request = { entries: [{ entity, ops }], validateOnly: false, ...more }
  const { entries } = await client.ask(ALTER_CLIENT_QUOTAS, 1, request)
  return entries[0]
}

async function produce(bytes = 100) {
  const records = Buffer.from(batchOf([`a=${'x'.repeat(bytes)}`]))
  const topics = [{ name: 'orders', topicId: '', partitions: [{ index: 0, records }] }]
  const request = { transactionalId: null, acks: -1, timeoutMs: 1_000, topics }
  return client.ask(PRODUCE, 7, request)
}

function fetch() {
  const partition = { index: 0, currentLeaderEpoch: -1, fetchOffset: 0, lastFetchedEpoch: -1 }
  return client.ask(FETCH, 11, {
    ...{ replicaId: -1, maxWaitMs: 0, minBytes: 1, maxBytes: 1_000_000, isolationLevel: 0 },
    ...{ sessionId: 0, sessionEpoch: -1, forgottenTopics: [], rackId: '' },
    topics: [
      {
        name: 'orders',
        topicId: '',
        partitions: [{ ...partition, logStartOffset: 0, maxBytes: 1_000_000 }],
      },
    ],
  })
}

describe('a quota', () => {
  test('of bytes that are written is told, and the client is not read until then', async () => {
    expect((await produce(5_000)).throttleTimeMs).toBe(0)
    await set([part('user', 'u')], { producer_byte_rate: 1_000 })
    const { throttleTimeMs, topics } = await produce(3_000)
    expect(topics[0]?.partitions[0]?.errorCode).toBe(0)
    expect(throttleTimeMs).toBeGreaterThan(2_000)
    expect(throttleTimeMs).toBeLessThan(2_500)
    const before = client.answers.length
    client.send(API_VERSIONS, 0, { clientSoftwareName: '', clientSoftwareVersion: '' })
    await bench.logs.clock.advance(throttleTimeMs - 10)
    expect(client.answers.length).toBe(before)
    await bench.logs.clock.advance(20)
    await settle()
    expect(client.answers.length).toBe(before + 1)
  })

  test('ends also when a timer runs before the clock says so', async () => {
    const { clock } = bench.logs
    const after = clock.after.bind(clock)
    clock.after = (ms, run) => after(Math.max(0, ms - 1), run)
    await set([part('user', 'u')], { producer_byte_rate: 1_000 })
    const { throttleTimeMs } = await produce(3_000)
    await clock.advance(throttleTimeMs)
    const software = { clientSoftwareName: '', clientSoftwareVersion: '' }
    expect((await client.ask(API_VERSIONS, 0, software)).errorCode).toBe(0)
  })

  test('of bytes that are read counts answers', async () => {
    await produce(3_000)
    await set([part('client-id', 'test')], { consumer_byte_rate: 1_000 })
    const answer = await fetch()
    expect(answer.topics[0]?.partitions[0]?.records?.length).toBeGreaterThan(3_000)
    expect(answer.throttleTimeMs).toBeGreaterThan(2_000)
  })

  test('ends when it is taken away, and binds nobody else', async () => {
    await set([part('user', 'somebody')], { producer_byte_rate: 1, consumer_byte_rate: 1 })
    expect((await produce(3_000)).throttleTimeMs).toBe(0)
    await set([part('user', null)], { producer_byte_rate: 100_000 })
    await set([part('user', null)], { producer_byte_rate: null })
    expect((await produce(300_000)).throttleTimeMs).toBe(0)
    expect(bench.quotas.all()).toHaveLength(1)
  })
})

describe('ClientQuotas', () => {
  const rows: [QuotaEntity, number][] = [
    [{ user: 'u', client: 'c' }, 1],
    [{ user: 'u', client: '' }, 2],
    [{ user: 'u', client: undefined }, 3],
    [{ user: '', client: 'c' }, 4],
    [{ user: '', client: '' }, 5],
    [{ user: '', client: undefined }, 6],
    [{ user: undefined, client: 'c' }, 7],
    [{ user: undefined, client: '' }, 8],
  ]
  const quotasOf = (known: readonly [QuotaEntity, Quota][]) =>
    new ClientQuotas(bench.logs.clock, {
      all: () => known.map(([entity, quota]) => ({ entity, quota })),
      ...{ observe: () => undefined, change: () => Promise.resolve() },
    })

  test.each(rows.map((row, at) => [at, row[1]]))('takes the most particular: %s', (at, rate) => {
    const quotas = quotasOf(
      rows.slice(at).map(([entity, producerByteRate]) => [entity, { producerByteRate }]),
    )
    // A second's worth is there already.
    const waitMs = quotas.spend({ user: 'u', client: 'c' }, [['producerByteRate', rate * 11]])
    expect(waitMs).toBe(10_000)
  })

  test('takes each limit by itself, and shares a user’s among its clients', () => {
    const quotas = quotasOf([
      [{ user: 'u', client: 'c' }, { consumerByteRate: 5 }],
      [{ user: 'u', client: undefined }, { producerByteRate: 100 }],
      [{ user: undefined, client: '' }, { requestPercentage: 50 }],
    ])
    const wait = (name: keyof Quota, count: number, client: string, user = 'u') =>
      quotas.spend({ user, client }, [[name, count]])
    expect(wait('producerByteRate', 100, 'c')).toBe(0)
    expect(wait('producerByteRate', 100, 'd')).toBe(1_000)
    expect(wait('producerByteRate', 1e9, 'c', 'v')).toBe(0)
    expect(wait('requestPercentage', 1_000, 'c')).toBe(1_000)
    expect(wait('requestPercentage', 500, 'd')).toBe(0)
  })
})

describe('quotas are', () => {
  const describeAll = async (components: object[] = [], strict = false) => {
    const request = { components, strict } as never
    return client.ask(DESCRIBE_CLIENT_QUOTAS, 1, request)
  }

  test('found by whom they are for', async () => {
    await set([part('user', 'a'), part('client-id', null)], { producer_byte_rate: 1.5 })
    await set([part('user', 'a')], { request_percentage: 200, consumer_byte_rate: 7 })
    await set([part('client-id', null)], { producer_byte_rate: 3 })
    const all = await describeAll()
    expect(all.entries).toEqual([
      {
        entity: [part('user', 'a'), part('client-id', null)],
        values: [{ key: 'producer_byte_rate', value: 1.5 }],
      },
      {
        entity: [part('user', 'a')],
        values: [
          { key: 'consumer_byte_rate', value: 7 },
          { key: 'request_percentage', value: 200 },
        ],
      },
      {
        entity: [part('client-id', null)],
        values: [{ key: 'producer_byte_rate', value: 3 }],
      },
    ])
    const count = async (components: object[], strict: boolean) =>
      (await describeAll(components, strict)).entries?.length
    const user = { entityType: 'user', matchType: 0, match: 'a' }
    expect(await count([user], false)).toBe(2)
    expect(await count([user], true)).toBe(1)
    expect(await count([{ ...user, matchType: 1, match: null }], false)).toBe(0)
    const anyClient = { entityType: 'client-id', matchType: 2, match: null }
    expect(await count([anyClient], false)).toBe(2)
    expect(await count([{ ...anyClient, matchType: 1 }], true)).toBe(1)
  })

  test.each([
    [[part('ip', '10.0.0.1')], { connection_creation_rate: 1 }],
    [[part('user', 'a')], { controller_mutation_rate: 1 }],
    [[part('user', 'a')], { producer_byte_rate: -1 }],
    [[part('user', 'a'), part('user', 'b')], { producer_byte_rate: 1 }],
    [[part('user', '')], { producer_byte_rate: 1 }],
    [[], { producer_byte_rate: 1 }],
  ])('refused when they are not enforced: %j %j', async (entity, limits) => {
    expect((await set(entity, limits as Record<string, number>))?.errorCode).toBe(
      ERROR.INVALID_REQUEST,
    )
    expect(bench.quotas.all()).toEqual([])
  })

  test('not set when it was only asked whether they could be', async () => {
    const limits = { producer_byte_rate: 1 }
    expect((await set([part('user', 'a')], limits, { validateOnly: true }))?.errorCode).toBe(0)
    expect(bench.quotas.all()).toEqual([])
  })

  test('of the cluster: nobody else sees or sets them', async () => {
    bench.access = new Access('u', { clientId: 'c', address: '::1' }, () => [
      { action: 'all', pattern: '#', allow: true },
    ])
    client = await bench.connect()
    const denied = ERROR.CLUSTER_AUTHORIZATION_FAILED
    expect((await describeAll()).errorCode).toBe(denied)
    const entity = [part('user', 'a')]
    expect(await set(entity, { producer_byte_rate: 1 })).toMatchObject({
      errorCode: denied,
      entity,
    })
    const scram = await client.ask(DESCRIBE_USER_SCRAM_CREDENTIALS, 0, { users: null })
    expect(scram.errorCode).toBe(denied)
    const { results } = await client.ask(ALTER_USER_SCRAM_CREDENTIALS, 0, {
      ...{ deletions: [{ name: 'x', mechanism: 1 }], upsertions: [] },
    })
    expect(results).toMatchObject([{ user: 'x', errorCode: denied }])
  })
})

describe('SCRAM credentials', () => {
  const upsert = (more: object = {}) => ({
    ...{ name: 'ann', mechanism: 2, iterations: 8_192 },
    ...{ salt: Buffer.from('salt'), saltedPassword: Buffer.alloc(64), ...more },
  })
  const alter = async (upsertions: object[], deletions: object[] = []) =>
    (
      await client.ask(ALTER_USER_SCRAM_CREDENTIALS, 0, { upsertions, deletions } as never)
    ).results.map(({ user, errorCode }) => [user, errorCode])

  test('are set, told and taken away', async () => {
    expect(await alter([upsert(), upsert({ name: 'bob' })])).toEqual([
      ['ann', 0],
      ['bob', 0],
    ])
    const told = await client.ask(DESCRIBE_USER_SCRAM_CREDENTIALS, 0, {
      users: [{ name: 'ann' }, { name: 'nobody' }],
    })
    expect(told.results).toMatchObject([
      { user: 'ann', errorCode: 0, credentialInfos: [{ mechanism: 2, iterations: 8_192 }] },
      { user: 'nobody', errorCode: ERROR.RESOURCE_NOT_FOUND },
    ])
    expect(await alter([], [{ name: 'ann', mechanism: 2 }])).toEqual([['ann', 0]])
    expect(await alter([], [{ name: 'ann', mechanism: 2 }])).toEqual([
      ['ann', ERROR.RESOURCE_NOT_FOUND],
    ])
  })

  test.each([
    [{ mechanism: 3 }, ERROR.UNSUPPORTED_SASL_MECHANISM],
    [{ iterations: 1_000 }, ERROR.UNACCEPTABLE_CREDENTIAL],
    [{ iterations: 100_000 }, ERROR.UNACCEPTABLE_CREDENTIAL],
    [{ salt: Buffer.alloc(0) }, ERROR.UNACCEPTABLE_CREDENTIAL],
    [{ mechanism: 1 }, ERROR.UNACCEPTABLE_CREDENTIAL],
    [{ name: '*' }, ERROR.UNACCEPTABLE_CREDENTIAL],
  ])('with %j are refused', async (more, errorCode) => {
    expect((await alter([upsert(more)]))[0]?.[1]).toBe(errorCode)
  })

  test('are changed once in a request', async () => {
    expect(await alter([upsert(), upsert()])).toEqual([['ann', ERROR.DUPLICATE_RESOURCE]])
    expect(bench.credentials.size).toBe(0)
  })
})
