// Groups as clients and operators ask about them: what is committed, listed, described and deleted.

import { beforeEach, describe, expect, test } from 'vitest'
import { KafkaBench, type KafkaClient } from '../../../testing/kafka-fixtures.ts'
import { settle } from '../../../testing/virtual-clock.ts'
import {
  DELETE_GROUPS,
  DESCRIBE_GROUPS,
  FIND_COORDINATOR,
  HEARTBEAT,
  JOIN_GROUP,
  LEAVE_GROUP,
  LIST_GROUPS,
  OFFSET_COMMIT,
  OFFSET_DELETE,
  OFFSET_FETCH,
  SYNC_GROUP,
} from '../codec/group-apis.ts'
import { ERROR } from '../errors.ts'
import { FIRST_REBALANCE_MS, OFFSETS_CHECK_MS } from '../limits.ts'
import { encodeAssignment } from './subscription.ts'

let bench: KafkaBench
let client: KafkaClient

beforeEach(async () => {
  bench = await new KafkaBench().start()
  bench.topic('orders', 2)
  client = await bench.connect()
})

const NO_ID = '0'.repeat(32)

/** Topics to read, as consumers say it. */
function metadataOf(topic: string): Buffer {
  const name = Buffer.from(topic)
  const head = Buffer.from([0, 0, 0, 0, 0, 1, 0, name.length])
  return Buffer.concat([head, name, Buffer.from([255, 255, 255, 255])])
}

async function commit(offset: number, more: object = {}, version = 9) {
  const partitions = [{ index: 1, offset, leaderEpoch: 3, metadata: 'so far' }]
  const { topics } = await client.ask(OFFSET_COMMIT, version, {
    ...{ groupId: 'g', generationId: -1, memberId: '', groupInstanceId: null, retentionTimeMs: -1 },
    topics: [{ name: 'orders', topicId: NO_ID, partitions }],
    ...more,
  })
  return topics[0]?.partitions[0]?.errorCode
}

async function committed(topics: object[] | null, version = 9) {
  const asked = { groupId: 'g', memberId: null, memberEpoch: -1, topics: topics as never }
  const body = { groupId: '', topics: null, groups: [asked], requireStable: true }
  const { groups } = await client.ask(OFFSET_FETCH, version, body)
  return groups[0]?.topics
}

/** One member of a group that has its first generation. */
async function member(groupId = 'g', groupInstanceId: string | null = null) {
  const protocols = [{ name: 'range', metadata: metadataOf('orders') }]
  const joining = {
    ...{ groupId, sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, memberId: '' },
    ...{ groupInstanceId, protocolType: 'consumer', protocols, reason: null },
  }
  const version = groupInstanceId === null ? 3 : 5
  const at = client.answers.length
  client.send(JOIN_GROUP, version, joining)
  await settle()
  await bench.logs.clock.advance(FIRST_REBALANCE_MS)
  const { memberId, generationId } = client.read(JOIN_GROUP, version, at)
  const assignment = encodeAssignment([{ topic: 'orders', partitions: [0, 1] }])
  const identity = { groupId, memberId, generationId, groupInstanceId }
  const synced = await client.ask(SYNC_GROUP, 5, {
    ...{ ...identity, protocolType: 'consumer', protocolName: 'range' },
    assignments: [{ memberId, assignment }],
  })
  expect(synced).toMatchObject({ errorCode: 0, assignment })
  return identity
}

async function moved(): Promise<void> {
  await bench.start()
  client = await bench.connect()
}

describe('offsets', () => {
  test('are there for the next coordinator, but not for a topic made anew', async () => {
    expect(await commit(42)).toBe(0)
    await moved()
    const topics = [{ name: 'orders', topicId: NO_ID, partitions: [0, 1] }]
    expect((await committed(topics))?.[0]?.partitions).toMatchObject([
      { index: 0, offset: -1 },
      { index: 1, offset: 42, leaderEpoch: 3, metadata: 'so far' },
    ])
    bench.topic('orders', 2)
    const anew = await committed(topics)
    expect(anew?.[0]?.partitions).toMatchObject([{ offset: -1 }, { offset: -1 }])
  })

  test('are those of the topic with the id, from version 10 on', async () => {
    const topicId = bench.topicId('orders')
    const partitions = [{ index: 1, offset: 7, leaderEpoch: -1, metadata: null }]
    expect(await commit(7, { topics: [{ name: '', topicId, partitions }] }, 10)).toBe(0)
    const unknown = { name: '', topicId: '9'.padStart(32, '0') }
    expect(await commit(7, { topics: [{ ...unknown, partitions }] }, 10)).toBe(
      ERROR.UNKNOWN_TOPIC_ID,
    )
    const found = await committed(
      [
        { name: '', topicId, partitions: [1] },
        { ...unknown, partitions: [1] },
      ],
      10,
    )
    expect(found).toMatchObject([
      { topicId, partitions: [{ index: 1, offset: 7, errorCode: 0 }] },
      { ...{ topicId: unknown.topicId }, partitions: [{ errorCode: ERROR.UNKNOWN_TOPIC_ID }] },
    ])
    expect(await committed(null, 10)).toMatchObject([{ topicId, partitions: [{ offset: 7 }] }])
  })

  test('of members are those of their generation; of no group a member has none', async () => {
    const identity = { generationId: 1, memberId: 'm9' }
    expect(await commit(1, identity)).toBe(ERROR.GROUP_ID_NOT_FOUND)
    expect(await commit(1, identity, 8)).toBe(ERROR.ILLEGAL_GENERATION)
    const { memberId } = await member()
    expect(await commit(1, { generationId: 1, memberId })).toBe(0)
    expect(await commit(1, { generationId: 0, memberId })).toBe(ERROR.ILLEGAL_GENERATION)
  })

  test('are deleted of topics that nobody reads', async () => {
    bench.topic('other')
    const { memberId } = await member()
    const at = (name: string) => ({ name, partitions: [{ index: 0 }] })
    const partitions = [{ index: 0, offset: 1, leaderEpoch: -1, metadata: null }]
    const both = ['orders', 'other'].map((name) => ({ name, topicId: NO_ID, partitions }))
    await commit(0, { generationId: 1, memberId, topics: both })
    const topics = [at('orders'), at('other'), at('none')]
    const { topics: deleted } = await client.ask(OFFSET_DELETE, 0, { groupId: 'g', topics })
    expect(deleted.map((one) => one.partitions[0]?.errorCode)).toEqual([
      ...[ERROR.GROUP_SUBSCRIBED_TO_TOPIC, ERROR.NONE, ERROR.UNKNOWN_TOPIC_OR_PARTITION],
    ])
    expect((await committed(null))?.map(({ name }) => name)).toEqual(['orders'])
    await moved()
    expect((await committed(null))?.map(({ name }) => name)).toEqual(['orders'])
    expect(await client.ask(OFFSET_DELETE, 0, { groupId: 'h', topics })).toMatchObject({
      errorCode: ERROR.GROUP_ID_NOT_FOUND,
    })
  })

  test('go with their group when nobody has read on for the time of retention', async () => {
    bench.offsetsRetentionMs = 3 * OFFSETS_CHECK_MS
    await commit(1)
    await bench.services.coordinator.expire()
    expect(await committed(null)).toHaveLength(1)
    await bench.logs.clock.advance(3 * OFFSETS_CHECK_MS)
    await bench.services.coordinator.expire()
    expect(await committed(null)).toHaveLength(0)
    await moved()
    expect((await client.ask(LIST_GROUPS, 5, ALL)).groups).toEqual([])
  })

  test('stay while a member reads their topic, however old they are', async () => {
    bench.offsetsRetentionMs = 60_000
    const { memberId } = await member()
    await commit(5, { generationId: 1, memberId })
    for (let at = 0; at < 20; at++) {
      await bench.logs.clock.advance(5_000)
      await client.ask(HEARTBEAT, 4, { ...WHO, memberId })
    }
    await bench.services.coordinator.expire()
    expect(await committed(null)).toHaveLength(1)
    await client.ask(LEAVE_GROUP, 2, { groupId: 'g', memberId, members: [] })
    await bench.services.coordinator.expire()
    expect(await committed(null)).toHaveLength(1)
  })
})

const ALL = { statesFilter: [], typesFilter: [] }
const WHO = { groupId: 'g', generationId: 1, groupInstanceId: null }

describe('groups', () => {
  test('are listed with their states, also by the next coordinator', async () => {
    await member('running')
    await commit(1)
    await moved()
    const list = async (filter: object = {}) => {
      const { groups } = await client.ask(LIST_GROUPS, 5, { ...ALL, ...filter })
      return groups.map(({ groupId, groupState, groupType }) => [groupId, groupState, groupType])
    }
    expect((await list()).sort()).toEqual([
      ['g', 'Empty', 'Classic'],
      ['running', 'Stable', 'Classic'],
    ])
    expect(await list({ statesFilter: ['stable'] })).toEqual([['running', 'Stable', 'Classic']])
    expect(await list({ typesFilter: ['consumer'] })).toEqual([])
  })

  test('without members are deleted, with what they have committed', async () => {
    await member('running')
    await commit(1)
    const groups = ['g', 'running', 'none']
    const { results } = await client.ask(DELETE_GROUPS, 2, { groups })
    expect(results.map(({ errorCode }) => errorCode)).toEqual([
      ...[ERROR.NONE, ERROR.NON_EMPTY_GROUP, ERROR.GROUP_ID_NOT_FOUND],
    ])
    expect(await committed(null)).toEqual([])
    await moved()
    expect(await committed(null)).toEqual([])
  })

  test('that are not there are described as dead, or not at all (KIP-1043)', async () => {
    const asked = { groups: ['none'], includeAuthorizedOperations: false }
    expect((await client.ask(DESCRIBE_GROUPS, 5, asked)).groups).toMatchObject([
      { errorCode: 0, state: 'Dead' },
    ])
    expect((await client.ask(DESCRIBE_GROUPS, 6, asked)).groups).toMatchObject([
      { errorCode: ERROR.GROUP_ID_NOT_FOUND, errorMessage: 'there is no classic group none' },
    ])
  })

  test('go on at the next coordinator, and with several who leave at once', async () => {
    const { memberId } = await member('g', 'one')
    await moved()
    const identity = { ...WHO, memberId, groupInstanceId: 'one' }
    expect(await client.ask(HEARTBEAT, 4, identity)).toMatchObject({ errorCode: 0 })
    const members = [
      { memberId: '', groupInstanceId: 'one', reason: 'bye' },
      { memberId: '', groupInstanceId: 'two', reason: null },
    ]
    expect(await client.ask(LEAVE_GROUP, 5, { groupId: 'g', memberId: '', members })).toMatchObject(
      {
        errorCode: 0,
        members: [
          { groupInstanceId: 'one', errorCode: 0 },
          { groupInstanceId: 'two', errorCode: ERROR.UNKNOWN_MEMBER_ID },
        ],
      },
    )
  })

  test('are told to be loaded while they cannot be read', async () => {
    await commit(1)
    await moved()
    bench.logs.storage.get = () => Promise.reject(new Error('no answer'))
    expect(await client.ask(HEARTBEAT, 4, { ...WHO, memberId: 'm' })).toMatchObject({
      errorCode: ERROR.COORDINATOR_LOAD_IN_PROGRESS,
    })
  })
})

test('the coordinator of a share group of a partition is the owner of the partition', async () => {
  const id = Buffer.from(bench.topicId('orders'), 'hex').toString('base64url')
  const keys = [`a:b:${id}:1`, `a:b:${id}:2`, 'a:b']
  const body = { key: '', keyType: 2, keys }
  expect((await client.ask(FIND_COORDINATOR, 6, body)).coordinators).toMatchObject([
    { errorCode: 0, nodeId: 1, host: 'one' },
    { errorCode: ERROR.COORDINATOR_NOT_AVAILABLE },
    { errorCode: ERROR.INVALID_REQUEST },
  ])
})
