// A group of consumers that are exchanged for newer ones while it reads, and back (KIP-848).

import { beforeEach, describe, expect, test } from 'vitest'
import { KafkaBench, type KafkaClient } from '../../../testing/kafka-fixtures.ts'
import { settle } from '../../../testing/virtual-clock.ts'
import { CONSUMER_GROUP_DESCRIBE, CONSUMER_GROUP_HEARTBEAT } from '../codec/consumer-group-apis.ts'
import {
  DESCRIBE_GROUPS,
  HEARTBEAT,
  JOIN_GROUP,
  LEAVE_GROUP,
  LIST_GROUPS,
  OFFSET_COMMIT,
  OFFSET_FETCH,
  SYNC_GROUP,
} from '../codec/group-apis.ts'
import { ERROR } from '../errors.ts'
import { FIRST_REBALANCE_MS } from '../limits.ts'
import { assignmentOf, encodeAssignment } from './subscription.ts'

let bench: KafkaBench
let client: KafkaClient

beforeEach(async () => {
  bench = await new KafkaBench().start()
  bench.topic('orders', 4)
  client = await bench.connect()
})

/** Topics to read and what of them is not given up, as consumers say it (version 1). */
function subscription(partitions: readonly number[] = []): Buffer {
  const owned = encodeAssignment(partitions.length === 0 ? [] : [{ topic: 'orders', partitions }])
  const [none, list] = [Buffer.from([255, 255, 255, 255]), owned.subarray(2, -4)]
  const name = Buffer.from([0, 6, ...Buffer.from('orders')])
  return Buffer.concat([Buffer.from([0, 1, 0, 0, 0, 1]), name, none, list])
}

/** Undefined: it waits. */
async function join(memberId: string, owned: readonly number[] = []) {
  const at = client.answers.length
  client.send(JOIN_GROUP, 5, {
    ...{ groupId: 'g', sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, memberId },
    ...{ groupInstanceId: null, protocolType: 'consumer', reason: null },
    protocols: [{ name: 'cooperative-sticky', metadata: subscription(owned) }],
  })
  await settle()
  return client.answers.length > at ? client.read(JOIN_GROUP, 5, at) : undefined
}

async function sync(memberId: string, generationId: number, partitions: readonly number[] = []) {
  const assignments =
    partitions.length === 0
      ? []
      : [{ memberId, assignment: encodeAssignment([{ topic: 'orders', partitions }]) }]
  const synced = await client.ask(SYNC_GROUP, 5, {
    ...{ groupId: 'g', memberId, generationId, groupInstanceId: null, assignments },
    ...{ protocolType: 'consumer', protocolName: 'cooperative-sticky' },
  })
  const assigned = assignmentOf(synced.assignment)?.[0]?.partitions ?? []
  return { errorCode: synced.errorCode, assigned }
}

function heartbeat(memberId: string, generationId: number) {
  const identity = { groupId: 'g', memberId, generationId, groupInstanceId: null }
  return client.ask(HEARTBEAT, 4, identity).then(({ errorCode }) => errorCode)
}

async function beat(memberId: string, memberEpoch: number, owned: readonly number[] | null) {
  const topicId = bench.topicId('orders')
  const topicPartitions =
    owned === null ? null : owned.length === 0 ? [] : [{ topicId, partitions: owned }]
  const isNew = memberEpoch === 0
  const answer = await client.ask(CONSUMER_GROUP_HEARTBEAT, 1, {
    ...{ groupId: 'g', memberId, memberEpoch, instanceId: null, rackId: null, topicPartitions },
    ...{ rebalanceTimeoutMs: isNew ? 10_000 : -1, subscribedTopicNames: isNew ? ['orders'] : null },
    ...{ subscribedTopicRegex: null, serverAssignor: null },
  })
  const { errorCode, memberEpoch: epoch, assignment } = answer
  return { errorCode, epoch, assigned: assignment?.topicPartitions[0]?.partitions ?? [] }
}

/** A member by the classic protocol that has everything. */
async function classicMember(): Promise<string> {
  const { memberId } = (await join('')) ?? { memberId: '' }
  const at = client.answers.length
  await join(memberId)
  await bench.logs.clock.advance(FIRST_REBALANCE_MS)
  const { generationId } = client.read(JOIN_GROUP, 5, at)
  expect(await sync(memberId, generationId, [0, 1, 2, 3])).toMatchObject({ errorCode: 0 })
  return memberId
}

async function kindOf() {
  const { groups } = await client.ask(LIST_GROUPS, 5, { statesFilter: [], typesFilter: [] })
  return groups.map(({ groupType, groupState }) => `${groupType} ${groupState}`)
}

describe('a newer consumer', () => {
  test('joins older ones, which go on and share with it; the last of the newer turns it back', async () => {
    const old = await classicMember()
    expect(await beat('new', 0, [])).toMatchObject({ errorCode: 0, epoch: 2, assigned: [] })
    // The older one hears that it must join again, and what to keep.
    expect(await heartbeat(old, 1)).toBe(ERROR.REBALANCE_IN_PROGRESS)
    const joined = await join(old, [0, 1, 2, 3])
    expect(joined).toMatchObject({ errorCode: 0, generationId: 1, leader: '', members: [] })
    const kept = (await sync(old, 1)).assigned
    expect(kept).toHaveLength(2)
    expect(await heartbeat(old, 1)).toBe(ERROR.REBALANCE_IN_PROGRESS)
    expect(await join(old, kept)).toMatchObject({ errorCode: 0, generationId: 2 })
    expect((await sync(old, 2)).assigned).toEqual(kept)
    expect(await heartbeat(old, 2)).toBe(ERROR.NONE)
    const { assigned } = await beat('new', 2, [])
    expect([...assigned, ...kept].sort()).toEqual([0, 1, 2, 3])
    expect(await kindOf()).toEqual(['Consumer Stable'])

    const { groups } = await client.ask(CONSUMER_GROUP_DESCRIBE, 1, {
      ...{ groupIds: ['g', 'none'], includeAuthorizedOperations: false },
    })
    expect(groups).toMatchObject([
      { groupState: 'Stable', groupEpoch: 2, assignmentEpoch: 2, assignorName: 'uniform' },
      { errorCode: ERROR.GROUP_ID_NOT_FOUND },
    ])
    expect(groups[0]?.members.map(({ memberType }) => memberType)).toEqual([0, 1])

    expect(await beat('new', -1, null)).toMatchObject({ errorCode: 0, epoch: -1 })
    expect(await kindOf()).toEqual(['Classic PreparingRebalance'])
    expect(await heartbeat(old, 3)).toBe(ERROR.REBALANCE_IN_PROGRESS)
    const back = await join(old, kept)
    expect(back).toMatchObject({ errorCode: 0, leader: old, members: [{ memberId: old }] })
    expect(await sync(old, back?.generationId ?? 0, [0, 1, 2, 3])).toMatchObject({
      ...{ errorCode: 0, assigned: [0, 1, 2, 3] },
    })
  })

  test('and an older one go on at the next coordinator', async () => {
    const old = await classicMember()
    await beat('new', 0, [])
    await bench.start()
    client = await bench.connect()
    expect(await heartbeat(old, 1)).toBe(ERROR.REBALANCE_IN_PROGRESS)
    expect(await beat('new', 2, null)).toMatchObject({ errorCode: 0, epoch: 2 })
  })

  test('cannot join members that are no consumers', async () => {
    const protocols = [{ name: 'connect', metadata: Buffer.from('?') }]
    client.send(JOIN_GROUP, 3, {
      ...{ groupId: 'g', sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, memberId: '' },
      ...{ groupInstanceId: null, protocolType: 'connect', reason: null, protocols },
    })
    await settle()
    const other = await bench.logs.clock.advance(FIRST_REBALANCE_MS)
    expect(other).toBeUndefined()
    expect(await beat('new', 0, [])).toMatchObject({ errorCode: ERROR.GROUP_ID_NOT_FOUND })
  })
})

describe('an older consumer', () => {
  test('joins newer ones', async () => {
    await beat('new', 0, [])
    const { memberId } = (await join('')) ?? { memberId: '' }
    expect(await join(memberId)).toMatchObject({ errorCode: 0, generationId: 2 })
    expect(await sync(memberId, 2)).toEqual({ errorCode: 0, assigned: [] })
    const kept = (await beat('new', 1, null)).assigned
    expect(kept).toHaveLength(2)
    expect(await beat('new', 1, kept)).toMatchObject({ epoch: 2 })
    expect(await heartbeat(memberId, 2)).toBe(ERROR.REBALANCE_IN_PROGRESS)
    await join(memberId)
    expect((await sync(memberId, 2)).assigned).toHaveLength(2)
    expect(await heartbeat(memberId, 2)).toBe(ERROR.NONE)
    const left = { groupId: 'g', memberId, members: [] }
    expect(await client.ask(LEAVE_GROUP, 1, left)).toMatchObject({ errorCode: 0 })
    expect(await beat('new', 2, kept)).toMatchObject({ epoch: 3, assigned: [0, 1, 2, 3] })
  })

  test('begins anew where nobody is left, at a generation that was not there', async () => {
    await beat('new', 0, [])
    await beat('new', -1, null)
    expect(await kindOf()).toEqual(['Consumer Empty'])
    const old = await classicMember().catch(() => '')
    expect(old).not.toBe('')
    expect(await kindOf()).toEqual(['Classic Stable'])
  })
})

test('offsets of newer consumers go by their epochs', async () => {
  await beat('new', 0, [])
  const partitions = [{ index: 0, offset: 3, leaderEpoch: -1, metadata: null }]
  const commit = async (generationId: number, memberId = 'new') => {
    const { topics } = await client.ask(OFFSET_COMMIT, 9, {
      ...{ groupId: 'g', generationId, memberId, groupInstanceId: null, retentionTimeMs: -1 },
      topics: [{ name: 'orders', topicId: '', partitions }],
    })
    return topics[0]?.partitions[0]?.errorCode
  }
  expect(await commit(1)).toBe(0)
  expect(await commit(0)).toBe(ERROR.STALE_MEMBER_EPOCH)
  expect(await commit(1, 'other')).toBe(ERROR.UNKNOWN_MEMBER_ID)
  expect(await commit(-1, '')).toBe(ERROR.UNKNOWN_MEMBER_ID)
  const fetched = async (memberId: string | null, memberEpoch: number) => {
    const groups = [{ groupId: 'g', memberId, memberEpoch, topics: null }]
    const body = { groupId: '', topics: null, groups, requireStable: false }
    return (await client.ask(OFFSET_FETCH, 9, body)).groups[0]?.errorCode
  }
  expect(await fetched('new', 1)).toBe(0)
  expect(await fetched('new', 0)).toBe(ERROR.STALE_MEMBER_EPOCH)
  expect(await fetched(null, -1)).toBe(0)
  const described = { groups: ['g'], includeAuthorizedOperations: false }
  expect((await client.ask(DESCRIBE_GROUPS, 6, described)).groups).toMatchObject([
    { errorCode: ERROR.GROUP_ID_NOT_FOUND },
  ])
})
