// What a client may do: a right for each API, rules that Kafka's clients make, and what they are refused.

import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { beforeEach, describe, expect, test } from 'vitest'
import { Access } from '../../security/access.ts'
import type { Permission } from '../../security/permissions.ts'
import { KafkaBench, type KafkaClient } from '../../testing/kafka-fixtures.ts'
import { batchOf } from '../../testing/log-fixtures.ts'
import { type Binding, type BindingFilter, bindingOf } from './acls.ts'
import { CREATE_ACLS, DELETE_ACLS, DESCRIBE_ACLS } from './codec/acl-apis.ts'
import { CONSUMER_GROUP_HEARTBEAT } from './codec/consumer-group-apis.ts'
import { DESCRIBE_GROUPS, FIND_COORDINATOR, HEARTBEAT, OFFSET_COMMIT } from './codec/group-apis.ts'
import { CREATE_TOPICS, DELETE_TOPICS, METADATA, PRODUCE } from './codec/log-apis.ts'
import { INIT_PRODUCER_ID } from './codec/transaction-apis.ts'
import { ERROR } from './errors.ts'
import { APIS } from './packets.ts'
import { RIGHTS } from './rights.ts'

const docs = readFileSync(resolve(import.meta.dirname, '../../../../docs/kafka.md'), 'utf8')

let bench: KafkaBench
let client: KafkaClient

beforeEach(async () => {
  bench = await new KafkaBench().start()
  bench.topic('orders')
})

/** As a user who may do this and no more. */
async function as(...rules: Permission[]): Promise<void> {
  await bench.permissions.add(rules)
  const mine = bench.permissions.all()
  bench.access = new Access('u', { clientId: 'c', address: '::ffff:10.0.0.7' }, () => mine)
  client = await bench.connect()
}

const allow = (action: Permission['action'], pattern: string, more: Partial<Permission> = {}) => ({
  ...{ user: 'u', action, pattern, allow: true, ...more },
})
const CLUSTER = { on: 'cluster' } as const
const GROUP = { on: 'group' } as const

test('each API has a right, and docs/kafka.md says which', () => {
  const rows = APIS.map(({ key, name }) => `| \`${name}\` | ${RIGHTS.get(key)?.says} |`)
  expect(rows.filter((row) => !docs.includes(row))).toEqual([])
})

const creating = (name: string) => ({
  ...{ timeoutMs: 1_000, validateOnly: false },
  topics: [{ name, numPartitions: 1, replicationFactor: 1, assignments: [], configs: [] }],
})

describe('topics', () => {
  test.each([
    ['its own', allow('create', 'mine', {})],
    ['what begins so', allow('create', 'mi', { prefix: true })],
    ['all', allow('all', '#')],
    ['any topic of the cluster', allow('create', 'kafka-cluster', CLUSTER)],
    ['from here', allow('create', 'mine', { host: '10.0.0.7' })],
  ])('are made by who may make %s', async (_, rule) => {
    await as(rule)
    const { topics } = await client.ask(CREATE_TOPICS, 4, creating('mine'))
    expect(topics).toMatchObject([{ errorCode: 0 }])
  })

  test.each([
    ['read and write', [allow('publish', 'mine'), allow('subscribe', 'mine')]],
    ['make others', [allow('create', 'other')]],
    ['make it from elsewhere', [allow('create', 'mine', { host: '10.0.0.8' })]],
    ['make it, but is denied', [allow('create', 'mine'), allow('all', 'mine', { allow: false })]],
  ])('are not made by who may %s', async (_, rules) => {
    await as(...rules)
    const { topics } = await client.ask(CREATE_TOPICS, 4, creating('mine'))
    expect(topics).toMatchObject([{ errorCode: ERROR.TOPIC_AUTHORIZATION_FAILED }])
  })

  test('are deleted by who may, not by who may write', async () => {
    await as(allow('publish', 'orders'))
    const request = { topics: [], topicNames: ['orders'], timeoutMs: 1_000 }
    expect((await client.ask(DELETE_TOPICS, 4, request)).topics[0]?.errorCode).toBe(
      ERROR.TOPIC_AUTHORIZATION_FAILED,
    )
    await as(allow('delete', 'orders'))
    expect((await client.ask(DELETE_TOPICS, 4, request)).topics[0]?.errorCode).toBe(0)
  })

  test('tell what may be done with them', async () => {
    await as(allow('publish', 'orders'), allow('alter-configs', 'orders'))
    const { topics, clusterAuthorizedOperations } = await client.ask(METADATA, 8, {
      ...{ topics: null, allowAutoTopicCreation: false },
      ...{ includeClusterAuthorizedOperations: true, includeTopicAuthorizedOperations: true },
    })
    const [write, describe, describeConfigs, alterConfigs] = [4, 8, 10, 11].map((bit) => 1 << bit)
    expect(topics[0]?.authorizedOperations).toBe(
      (write ?? 0) | (describe ?? 0) | (describeConfigs ?? 0) | (alterConfigs ?? 0),
    )
    expect(clusterAuthorizedOperations).toBe(0)
  })

  test('are not made by asking for their metadata', async () => {
    await as(allow('publish', 'new'))
    const { topics } = await client.ask(METADATA, 5, {
      ...{ topics: [{ topicId: '0'.repeat(32), name: 'new' }], allowAutoTopicCreation: true },
      ...{ includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false },
    })
    expect(topics[0]?.errorCode).toBe(ERROR.TOPIC_AUTHORIZATION_FAILED)
  })
})

describe('groups', () => {
  const commit = {
    ...{ groupId: 'g', generationId: -1, memberId: '', retentionTimeMs: -1, groupInstanceId: null },
    topics: [
      {
        name: 'orders',
        topicId: '',
        partitions: [{ index: 0, offset: 1, leaderEpoch: -1, metadata: '' }],
      },
    ],
  }

  test('want a right of their own', async () => {
    await as(allow('all', '#'))
    const denied = ERROR.GROUP_AUTHORIZATION_FAILED
    expect((await client.ask(OFFSET_COMMIT, 6, commit)).topics).toMatchObject([
      { name: 'orders', partitions: [{ index: 0, errorCode: denied }] },
    ])
    const beat = { groupId: 'g', generationId: 1, memberId: 'm', groupInstanceId: null }
    expect((await client.ask(HEARTBEAT, 1, beat)).errorCode).toBe(denied)
    const find = { key: 'g', keyType: 0, keys: [] }
    expect((await client.ask(FIND_COORDINATOR, 2, find)).errorCode).toBe(denied)
    const { coordinators } = await client.ask(FIND_COORDINATOR, 4, { ...find, keys: ['g'] })
    expect(coordinators).toMatchObject([{ key: 'g', errorCode: denied }])
  })

  test('are worked with by who may', async () => {
    await as(allow('subscribe', 'orders'), allow('subscribe', 'g', GROUP))
    const answer = await client.ask(OFFSET_COMMIT, 6, commit)
    expect(answer.topics[0]?.partitions[0]?.errorCode).toBe(0)
    const request = { groups: ['h', 'g', 'h2'], includeAuthorizedOperations: false }
    const { groups } = await client.ask(DESCRIBE_GROUPS, 3, request)
    expect(groups.map(({ groupId, errorCode }) => [groupId, errorCode])).toEqual([
      ['h', ERROR.GROUP_AUTHORIZATION_FAILED],
      ['g', 0],
      ['h2', ERROR.GROUP_AUTHORIZATION_FAILED],
    ])
  })
})

test('members of the newer groups name only topics that they may see', async () => {
  const beat = async (...names: string[]) => {
    const { errorCode } = await client.ask(CONSUMER_GROUP_HEARTBEAT, 1, {
      ...{ groupId: 'g', memberId: 'm'.repeat(22), memberEpoch: 0, instanceId: null, rackId: null },
      ...{ rebalanceTimeoutMs: 5_000, subscribedTopicNames: names, subscribedTopicRegex: null },
      ...{ serverAssignor: null, topicPartitions: [] },
    })
    return errorCode
  }
  await as(allow('subscribe', 'orders'), allow('subscribe', 'g', GROUP))
  expect(await beat('orders')).toBe(0)
  expect(await beat('orders', 'secret')).toBe(ERROR.TOPIC_AUTHORIZATION_FAILED)
})

test('producers without repeats may write somewhere', async () => {
  const request = {
    ...{ transactionalId: null, transactionTimeoutMs: 0, producerId: -1, producerEpoch: -1 },
  }
  await as(allow('subscribe', '#'))
  expect((await client.ask(INIT_PRODUCER_ID, 3, request)).errorCode).toBe(
    ERROR.CLUSTER_AUTHORIZATION_FAILED,
  )
  await as(allow('publish', 'x'))
  expect((await client.ask(INIT_PRODUCER_ID, 3, request)).errorCode).toBe(0)
})

const ANYTHING: BindingFilter = {
  ...{ resourceType: 1, resourceName: null, patternType: 1, principal: null, host: null },
  ...{ operation: 1, permissionType: 1 },
}
const TOPIC_READ: Binding = {
  ...{ resourceType: 2, resourceName: 'orders', patternType: 3, principal: 'User:u' },
  ...{ host: '*', operation: 3, permissionType: 3 },
}

describe('rules', () => {
  const describeAll = async (filter: Partial<BindingFilter> = {}) => {
    const { resources } = await client.ask(DESCRIBE_ACLS, 2, { ...ANYTHING, ...filter })
    return resources.flatMap(({ acls, ...resource }) =>
      acls.map((acl) => ({ ...resource, ...acl })),
    )
  }

  test.each<[string, Partial<Binding>, Permission]>([
    ['a topic', {}, allow('subscribe', 'orders')],
    ['every topic', { resourceName: '*' }, allow('subscribe', '#')],
    ['a prefix', { patternType: 4 }, allow('subscribe', 'orders', { prefix: true })],
    ['a denial', { permissionType: 2 }, allow('subscribe', 'orders', { allow: false })],
    ['a host', { host: '10.0.0.7' }, allow('subscribe', 'orders', { host: '10.0.0.7' })],
    ['everybody', { principal: 'User:*' }, allow('subscribe', 'orders', { user: '*' })],
    [
      'nobody',
      { principal: 'User:ANONYMOUS' },
      allow('subscribe', 'orders', { user: 'anonymous' }),
    ],
    ['a group', { resourceType: 3, resourceName: '*' }, allow('subscribe', '*', GROUP)],
    ['all', { operation: 2 }, allow('all', 'orders')],
    [
      'a transaction',
      { resourceType: 5, operation: 4 },
      allow('publish', 'orders', { on: 'transactional-id' }),
    ],
    [
      'the cluster',
      { resourceType: 4, resourceName: 'kafka-cluster', operation: 12 },
      allow('idempotent-write', 'kafka-cluster', CLUSTER),
    ],
  ])('about %s are permissions, once', async (_, more, permission) => {
    client = await bench.connect()
    const binding = { ...TOPIC_READ, ...more }
    const { results } = await client.ask(CREATE_ACLS, 2, { creations: [binding, binding] })
    expect(results).toEqual(Array(2).fill({ errorCode: 0, errorMessage: null }))
    expect(bench.permissions.all()).toMatchObject([permission])
    expect(await describeAll()).toEqual([binding])
    const { filterResults } = await client.ask(DELETE_ACLS, 2, { filters: [binding] })
    expect(filterResults).toMatchObject([{ errorCode: 0, matchingAcls: [binding] }])
    expect(bench.permissions.all()).toEqual([])
  })

  test.each<[string, Partial<Binding>]>([
    ['a delegation token', { resourceType: 6 }],
    ['a role', { principal: 'Group:x' }],
    ['a name of a host', { host: 'example.org' }],
    ['an operation that does not fit', { operation: 12 }],
    ['an unknown operation', { operation: 15 }],
    ['any pattern', { patternType: 1 }],
    ['a filter', { resourceName: 'a/#' }],
    ['a name that stands for others', { resourceName: '%u' }],
    ['another cluster', { resourceType: 4, resourceName: 'x', operation: 8 }],
    ['no name', { resourceName: '' }],
    ['neither allowed nor denied', { permissionType: 1 }],
  ])('about %s are refused', async (_, more) => {
    client = await bench.connect()
    const { results } = await client.ask(CREATE_ACLS, 2, {
      creations: [{ ...TOPIC_READ, ...more }],
    })
    expect(results[0]?.errorCode).toBe(ERROR.INVALID_REQUEST)
    expect(bench.permissions.all()).toEqual([])
  })

  test('are found by what they say, and by what they hold for', async () => {
    client = await bench.connect()
    const creations = [
      TOPIC_READ,
      { ...TOPIC_READ, resourceName: 'or', patternType: 4 },
      { ...TOPIC_READ, resourceName: '*' },
      { ...TOPIC_READ, resourceName: 'other' },
      { ...TOPIC_READ, resourceType: 3, operation: 6, principal: 'User:x' },
    ]
    await client.ask(CREATE_ACLS, 1, { creations })
    const names = async (filter: Partial<BindingFilter>) =>
      (await describeAll(filter)).map(({ resourceName }) => resourceName).sort()
    const orders = { resourceType: 2, resourceName: 'orders' }
    expect(await names({ ...orders, patternType: 2 })).toEqual(['*', 'or', 'orders'])
    expect(await names({ ...orders, patternType: 3 })).toEqual(['orders'])
    expect(await names({ ...orders, patternType: 1 })).toEqual(['orders'])
    expect(await names({ principal: 'User:x' })).toEqual(['orders'])
    expect(await names({ operation: 6 })).toEqual(['orders'])
    expect(await names({ permissionType: 2 })).toEqual([])
    expect(await names({ patternType: 4 })).toEqual(['or'])
    const none = await client.ask(DESCRIBE_ACLS, 1, { ...ANYTHING, operation: 0 })
    expect(none.errorCode).toBe(ERROR.INVALID_REQUEST)
  })

  test('are looked at and changed by who may', async () => {
    await as(allow('describe', 'kafka-cluster', CLUSTER))
    expect(await describeAll()).toHaveLength(1)
    const denied = ERROR.CLUSTER_AUTHORIZATION_FAILED
    const made = await client.ask(CREATE_ACLS, 3, { creations: [TOPIC_READ] })
    expect(made.results).toMatchObject([{ errorCode: denied }])
    const gone = await client.ask(DELETE_ACLS, 3, { filters: [ANYTHING] })
    expect(gone.filterResults).toMatchObject([{ errorCode: denied, matchingAcls: [] }])
    await as()
    await bench.permissions.remove(bench.permissions.all())
    await as(allow('all', '#'))
    expect((await client.ask(DESCRIBE_ACLS, 3, ANYTHING)).errorCode).toBe(denied)
  })

  test('that ask for QoS are none of Kafka’s', () => {
    expect(bindingOf(allow('publish', 'a', { qos: [1] }))).toBeUndefined()
    expect(bindingOf(allow('publish', 'a/+/b'))).toMatchObject({ resourceName: 'a/+/b' })
  })
})

test('a rule that is denied later holds at once', async () => {
  const rules: Permission[] = [allow('publish', 'orders')]
  let mine = [...rules]
  bench.access = new Access('u', { clientId: 'c', address: '10.0.0.7' }, () => mine)
  client = await bench.connect()
  const produce = async () => {
    const partitions = [{ index: 0, records: Buffer.from(batchOf(['a=1'])) }]
    const topics = [{ name: 'orders', topicId: '', partitions }]
    const request = { transactionalId: null, acks: -1, timeoutMs: 1_000, topics }
    return (await client.ask(PRODUCE, 7, request)).topics[0]?.partitions[0]?.errorCode
  }
  expect(await produce()).toBe(0)
  mine = [...rules, allow('publish', 'ord', { prefix: true, allow: false })]
  expect(await produce()).toBe(ERROR.TOPIC_AUTHORIZATION_FAILED)
})
