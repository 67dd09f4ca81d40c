// Members that share the records of partitions (KIP-932), as they see it.

import { beforeEach, describe, expect, test } from 'vitest'
import { KafkaBench, type KafkaClient } from '../../testing/kafka-fixtures.ts'
import { batchOf } from '../../testing/log-fixtures.ts'
import { settle } from '../../testing/virtual-clock.ts'
import type { RequestOf } from './codec/api.ts'
import { DELETE_GROUPS, JOIN_GROUP, LIST_GROUPS, OFFSET_COMMIT } from './codec/group-apis.ts'
import {
  ALTER_SHARE_GROUP_OFFSETS,
  DELETE_SHARE_GROUP_OFFSETS,
  DESCRIBE_SHARE_GROUP_OFFSETS,
  SHARE_ACKNOWLEDGE,
  SHARE_FETCH,
  SHARE_GROUP_DESCRIBE,
  SHARE_GROUP_HEARTBEAT,
} from './codec/share-apis.ts'
import { ERROR } from './errors.ts'
import { administrationOf } from './groups/administration.ts'

let bench: KafkaBench
let client: KafkaClient
let topicId: string

beforeEach(async () => {
  bench = await new KafkaBench().start()
  bench.topic('orders', 2)
  topicId = bench.topicId('orders')
  client = await bench.connect()
})

async function produce(...batches: string[][]): Promise<void> {
  const { topics } = bench.services
  const topic = topics.get('orders')
  const served = topic && (await topics.serve(topic, 0))
  for (const records of batches) await served?.append(batchOf(records))
}

async function beat(memberId: string, memberEpoch: number, names: string[] | null = ['orders']) {
  const request = { groupId: 'g', memberId, memberEpoch, rackId: null }
  return await client.ask(SHARE_GROUP_HEARTBEAT, 1, {
    ...{ ...request, subscribedTopicNames: memberEpoch === 0 ? names : null },
  })
}

type Acks = RequestOf<
  typeof SHARE_FETCH
>['topics'][number]['partitions'][number]['acknowledgementBatches']

function fetching(memberId: string, epoch: number, more: object = {}, acks: Acks = []) {
  const partitions = [{ index: 0, acknowledgementBatches: acks }]
  return {
    ...{ groupId: 'g', memberId, shareSessionEpoch: epoch, maxWaitMs: 0, minBytes: 1 },
    ...{ maxBytes: 1_000_000, maxRecords: 500, batchSize: 500, shareAcquireMode: 0 },
    ...{ isRenewAck: false, topics: [{ topicId, partitions }], forgottenTopicsData: [] },
    ...more,
  }
}

async function fetch(...asked: Parameters<typeof fetching>) {
  const { errorCode, topics } = await client.ask(SHARE_FETCH, 2, fetching(...asked))
  const [partition] = topics[0]?.partitions ?? []
  return { errorCode, partition, acquired: partition?.acquiredRecords ?? [] }
}

function acks(firstOffset: number, lastOffset: number, ...acknowledgeTypes: number[]): Acks {
  return [{ firstOffset, lastOffset, acknowledgeTypes }]
}

async function acknowledge(memberId: string, epoch: number, given: Acks, isRenewAck = false) {
  const partitions = [{ index: 0, acknowledgementBatches: given }]
  const { errorCode, topics } = await client.ask(SHARE_ACKNOWLEDGE, 2, {
    ...{ groupId: 'g', memberId, shareSessionEpoch: epoch, isRenewAck },
    topics: [{ topicId, partitions }],
  })
  return errorCode || topics[0]?.partitions[0]?.errorCode
}

async function startOffset(): Promise<number | undefined> {
  const groups = [{ groupId: 'g', topics: null }]
  const answer = await client.ask(DESCRIBE_SHARE_GROUP_OFFSETS, 1, { groups })
  return answer.groups[0]?.topics[0]?.partitions[0]?.startOffset
}

describe('members', () => {
  test('share partitions, and are told when that changes', async () => {
    const first = await beat('a', 0)
    expect(first).toMatchObject({ errorCode: 0, memberId: 'a', memberEpoch: 1 })
    expect(first.assignment?.topicPartitions).toEqual([{ topicId, partitions: [0, 1] }])
    const three = await Promise.all([beat('b', 0), beat('c', 0)])
    expect(three.every(({ assignment }) => assignment?.topicPartitions.length === 1)).toBe(true)
    expect((await beat('a', 1)).assignment?.topicPartitions).toEqual([{ topicId, partitions: [0] }])
    expect((await beat('a', 3)).assignment).toBeNull()
    const described = { groupIds: ['g', 'none'], includeAuthorizedOperations: false }
    const { groups } = await client.ask(SHARE_GROUP_DESCRIBE, 1, described)
    expect(groups).toMatchObject([
      { groupState: 'Stable', members: [{ memberId: 'a' }, { memberId: 'b' }, { memberId: 'c' }] },
      { errorCode: ERROR.GROUP_ID_NOT_FOUND },
    ])
    expect(await beat('a', -1)).toMatchObject({ errorCode: 0, memberEpoch: -1 })
    expect(await beat('a', 3)).toMatchObject({ errorCode: ERROR.UNKNOWN_MEMBER_ID })
  })

  test('are there for the next coordinator', async () => {
    await beat('a', 0)
    await bench.start()
    client = await bench.connect()
    expect(await beat('a', 1)).toMatchObject({ errorCode: 0 })
    const { groups } = await client.ask(LIST_GROUPS, 5, {
      statesFilter: [],
      typesFilter: ['share'],
    })
    expect(groups).toMatchObject([{ groupId: 'g', groupType: 'Share', groupState: 'Stable' }])
  })

  test('do not mix with consumers', async () => {
    await beat('a', 0)
    const joining = {
      ...{ groupId: 'g', sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, memberId: '' },
      ...{ groupInstanceId: null, protocolType: 'consumer', reason: null },
      protocols: [{ name: 'range', metadata: Buffer.alloc(0) }],
    }
    expect(await client.ask(JOIN_GROUP, 5, joining)).toMatchObject({
      errorCode: ERROR.INCONSISTENT_GROUP_PROTOCOL,
    })
    const partitions = [{ index: 0, offset: 1, leaderEpoch: -1, metadata: null }]
    const commit = {
      ...{ generationId: -1, memberId: '', groupInstanceId: null, retentionTimeMs: -1 },
      topics: [{ name: 'orders', topicId, partitions }],
    }
    const { topics } = await client.ask(OFFSET_COMMIT, 9, { groupId: 'g', ...commit })
    expect(topics[0]?.partitions[0]?.errorCode).toBe(ERROR.GROUP_ID_NOT_FOUND)
    await client.ask(OFFSET_COMMIT, 9, { groupId: 'h', ...commit })
    const other = { groupId: 'h', memberId: 'a', memberEpoch: 0, rackId: null }
    expect(
      await client.ask(SHARE_GROUP_HEARTBEAT, 1, { ...other, subscribedTopicNames: ['orders'] }),
    ).toMatchObject({ errorCode: ERROR.GROUP_ID_NOT_FOUND })
  })
})

describe('records', () => {
  test('are given to one member, acknowledged, and not given again', async () => {
    await produce(['a=1', 'a=2'], ['a=3'])
    await beat('a', 0)
    const { partition, acquired } = await fetch('a', 0, { maxRecords: 1 })
    expect(acquired).toEqual([{ firstOffset: 0, lastOffset: 1, deliveryCount: 1 }])
    expect(partition?.records?.readBigInt64BE(0)).toBe(0n)
    expect((await fetch('b', 0)).acquired).toEqual([
      { firstOffset: 2, lastOffset: 2, deliveryCount: 1 },
    ])
    const next = await fetch('a', 1, {}, acks(0, 1, 1))
    expect(next.partition).toMatchObject({ acknowledgeErrorCode: 0, acquiredRecords: [] })
    expect(await startOffset()).toBe(2)
    expect(await acknowledge('b', 1, acks(2, 2, 1))).toBe(0)
    await bench.start()
    client = await bench.connect()
    expect(await startOffset()).toBe(3)
    expect((await fetch('c', 0)).acquired).toEqual([])
  })

  test('that are released are given again, up to a limit, and rejected ones are not', async () => {
    await produce(['a=1', 'a=2'])
    await beat('a', 0)
    await fetch('a', 0)
    expect(await acknowledge('a', 1, acks(0, 1, 2, 3))).toBe(0)
    for (const deliveryCount of [2, 3]) {
      const { acquired } = await fetch('b', 0)
      expect(acquired).toEqual([{ firstOffset: 0, lastOffset: 0, deliveryCount }])
    }
    expect((await fetch('b', 0)).acquired).toEqual([])
    expect(await startOffset()).toBe(2)
  })

  test('come back when their lock ends, and when their member has gone', async () => {
    await produce(['a=1'])
    await beat('a', 0)
    await fetch('a', 0)
    const at = client.answers.length
    client.send(SHARE_FETCH, 2, fetching('b', 0, { maxWaitMs: 40_000 }))
    await settle()
    expect(client.answers).toHaveLength(at)
    await bench.logs.clock.advance(bench.deliveryLimits.lockMs)
    expect(client.read(SHARE_FETCH, 2, at).topics[0]?.partitions[0]?.acquiredRecords).toEqual([
      { firstOffset: 0, lastOffset: 0, deliveryCount: 2 },
    ])
    const other = await bench.connectAgain()
    client.stream.destroy()
    await settle()
    client = other
    expect((await fetch('c', 0)).acquired).toEqual([
      { firstOffset: 0, lastOffset: 0, deliveryCount: 3 },
    ])
  })

  test('are kept for longer when that is asked for', async () => {
    await produce(['a=1'])
    await beat('a', 0)
    await fetch('a', 0)
    await bench.logs.clock.advance(bench.deliveryLimits.lockMs / 2)
    expect(await acknowledge('a', 1, acks(0, 0, 4))).toBe(ERROR.INVALID_REQUEST)
    expect(await acknowledge('a', 2, acks(0, 0, 4), true)).toBe(0)
    await bench.logs.clock.advance(bench.deliveryLimits.lockMs / 2)
    expect(await acknowledge('a', 3, acks(0, 0, 1))).toBe(0)
  })

  test('are waited for', async () => {
    await beat('a', 0)
    const at = client.answers.length
    client.send(SHARE_FETCH, 1, fetching('a', 0, { maxWaitMs: 1_000 }))
    await settle()
    await produce(['a=1'])
    await settle()
    expect(client.read(SHARE_FETCH, 1, at).topics[0]?.partitions[0]?.acquiredRecords).toHaveLength(
      1,
    )
  })

  test.each([
    ['of another member', 'b', acks(0, 0, 1), ERROR.INVALID_RECORD_STATE],
    ['that were not given', 'a', acks(0, 5, 1), ERROR.INVALID_RECORD_STATE],
    ['in the wrong order', 'a', acks(1, 0, 1), ERROR.INVALID_REQUEST],
    ['with too few types', 'a', acks(0, 2, 1, 1), ERROR.INVALID_REQUEST],
    ['with an unknown type', 'a', acks(0, 0, 9), ERROR.INVALID_REQUEST],
  ])('are not acknowledged %s', async (_, member, given, errorCode) => {
    await produce(['a=1', 'a=2'])
    await beat('a', 0)
    await fetch('a', 0)
    if (member === 'b') await fetch('b', 0)
    expect(await acknowledge(member, 1, given)).toBe(errorCode)
  })

  test('are read in a session: its epochs go up, and it ends with what it has', async () => {
    await produce(['a=1'])
    expect((await fetch('a', 0)).errorCode).toBe(ERROR.GROUP_ID_NOT_FOUND)
    await beat('a', 0)
    expect((await fetch('a', 1)).errorCode).toBe(ERROR.SHARE_SESSION_NOT_FOUND)
    expect((await fetch('a', 0, {}, acks(0, 0, 1))).errorCode).toBe(ERROR.INVALID_REQUEST)
    await fetch('a', 0)
    expect((await fetch('a', 2)).errorCode).toBe(ERROR.INVALID_SHARE_SESSION_EPOCH)
    expect(await acknowledge('a', 0, [])).toBe(ERROR.INVALID_SHARE_SESSION_EPOCH)
    expect((await fetch('a', -1)).errorCode).toBe(0)
    expect((await fetch('a', 1)).errorCode).toBe(ERROR.SHARE_SESSION_NOT_FOUND)
    expect((await fetch('b', 0)).acquired).toMatchObject([{ deliveryCount: 2 }])
  })
})

describe('operators', () => {
  const alter = (offset: number) => ({
    groupId: 'g',
    topics: [{ topicName: 'orders', partitions: [{ index: 0, startOffset: offset }] }],
  })

  test('set where a group without members begins, and forget where it was', async () => {
    await produce(['a=1'], ['a=2'], ['a=3'])
    await beat('a', 0)
    await fetch('a', 0)
    await acknowledge('a', 1, acks(0, 2, 1))
    expect(await client.ask(ALTER_SHARE_GROUP_OFFSETS, 0, alter(1))).toMatchObject({
      errorCode: ERROR.NON_EMPTY_GROUP,
    })
    await beat('a', -1)
    expect(await client.ask(ALTER_SHARE_GROUP_OFFSETS, 0, alter(1))).toMatchObject({
      ...{ errorCode: 0, topics: [{ partitions: [{ errorCode: 0 }] }] },
    })
    expect(await startOffset()).toBe(1)
    await beat('b', 0)
    expect((await fetch('b', 0)).acquired).toMatchObject([{ firstOffset: 1 }, { firstOffset: 2 }])
    await beat('b', -1)
    const topics = [{ topicName: 'orders' }, { topicName: 'none' }]
    const deleted = await client.ask(DELETE_SHARE_GROUP_OFFSETS, 0, { groupId: 'g', topics })
    expect(deleted.topics.map(({ errorCode }) => errorCode)).toEqual([
      ...[ERROR.NONE, ERROR.UNKNOWN_TOPIC_OR_PARTITION],
    ])
    expect(await startOffset()).toBe(-1)
  })

  test('see and set it from the command line', async () => {
    await produce(['a=1'], ['a=2'], ['a=3'])
    await beat('a', 0)
    await fetch('a', 0, { maxRecords: 1 })
    await acknowledge('a', 1, acks(0, 0, 1))
    const groups = administrationOf(bench.services)
    expect(await groups.describe('g')).toMatchObject({
      ...{ type: 'share', state: 'Stable', protocol: 'simple' },
      offsets: [{ topic: 'orders', partition: 0, offset: 1 }],
    })
    await beat('a', -1)
    await groups.seek('g', [{ topic: 'orders', partition: 0, offset: 2 }])
    expect((await groups.describe('g'))?.offsets).toMatchObject([{ partition: 0, offset: 2 }])
    await beat('b', 0)
    expect((await fetch('b', 0)).acquired).toMatchObject([{ firstOffset: 2 }])
  })

  test('delete a group, and one of its name begins anew', async () => {
    await produce(['a=1'])
    await beat('a', 0)
    await fetch('a', 0)
    await acknowledge('a', 1, acks(0, 0, 1))
    await beat('a', -1)
    const { results } = await client.ask(DELETE_GROUPS, 2, { groups: ['g'] })
    expect(results).toMatchObject([{ errorCode: 0 }])
    await beat('a', 0)
    expect((await fetch('a', 0)).acquired).toMatchObject([{ firstOffset: 0, deliveryCount: 1 }])
  })
})
