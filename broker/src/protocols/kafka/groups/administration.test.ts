// What operators are told of groups, and what they may change.

import { beforeEach, expect, test } from 'vitest'
import type { GroupAdministration } from '../../../core/ports/group-administration.ts'
import { KafkaBench, type KafkaClient } from '../../../testing/kafka-fixtures.ts'
import { batchOf } from '../../../testing/log-fixtures.ts'
import { settle } from '../../../testing/virtual-clock.ts'
import { JOIN_GROUP, SYNC_GROUP } from '../codec/group-apis.ts'
import { FIRST_REBALANCE_MS } from '../limits.ts'
import { administrationOf } from './administration.ts'
import { encodeAssignment } from './subscription.ts'

let bench: KafkaBench
let client: KafkaClient
let groups: GroupAdministration

beforeEach(async () => {
  bench = await new KafkaBench().start()
  bench.topic('orders', 2)
  client = await bench.connect()
  groups = administrationOf(bench.services)
})

async function member(): Promise<void> {
  client.send(JOIN_GROUP, 9, {
    ...{ groupId: 'g', sessionTimeoutMs: 10_000, rebalanceTimeoutMs: 10_000, memberId: '' },
    ...{ groupInstanceId: 'one', protocolType: 'consumer', reason: 'a new release' },
    protocols: [{ name: 'range', metadata: Buffer.from([1]) }],
  })
  await settle()
  await bench.logs.clock.advance(FIRST_REBALANCE_MS)
  const { memberId } = client.read(JOIN_GROUP, 9, 0)
  await client.ask(SYNC_GROUP, 5, {
    ...{ groupId: 'g', memberId, generationId: 1, groupInstanceId: 'one' },
    ...{ protocolType: null, protocolName: null },
    assignments: [
      { memberId, assignment: encodeAssignment([{ topic: 'orders', partitions: [0, 1] }]) },
    ],
  })
}

test('a group is told with its members, their partitions, and why it was rebalanced', async () => {
  expect(await groups.describe('g')).toBeNull()
  await member()
  expect(await groups.list()).toEqual([{ name: 'g', type: 'classic', state: 'Stable', members: 1 }])
  expect(await groups.describe('g')).toMatchObject({
    ...{ state: 'Stable', protocol: 'range', reason: 'a new release' },
    members: [
      {
        ...{ instanceId: 'one', clientId: 'test', clientHost: '127.0.0.1' },
        partitions: [{ topic: 'orders', partitions: [0, 1] }],
      },
    ],
  })
})

test('a group is set where it reads on, unless it has members', async () => {
  const offsets = [{ topic: 'orders', partition: 1, offset: 7 }]
  expect(await groups.seek('g', offsets)).toBe(false)
  expect(await groups.seek('g', offsets)).toBe(true)
  expect(await groups.describe('g')).toMatchObject({ state: 'Empty', offsets })
  await expect(
    groups.seek('g', [{ topic: 'orders', partition: 2, offset: 7 }]),
  ).rejects.toMatchObject({ code: 'NOT_FOUND' })
  await member()
  await expect(groups.seek('g', offsets)).rejects.toMatchObject({ code: 'REFUSED' })
  await expect(groups.delete('g')).rejects.toMatchObject({ code: 'REFUSED' })
})

test('a group is deleted with what it has committed', async () => {
  expect(await groups.delete('g')).toBe(false)
  await groups.seek('g', [{ topic: 'orders', partition: 1, offset: 7 }])
  expect(await groups.delete('g')).toBe(true)
  expect(await groups.describe('g')).toBeNull()
})

test('a time leads to the first record that is not older', async () => {
  const served = await bench.services.topics.serve(bench.services.topics.get('orders') as never, 0)
  for (const timestamp of [1_000, 2_000]) await served?.append(batchOf(['a=1'], { timestamp }))
  const at = (timeMs: number) => groups.offsetForTime({ topic: 'orders', partition: 0 }, timeMs)
  expect(await at(1_500)).toBe(1)
  expect(await at(3_000)).toBeNull()
})

test('what is coordinated elsewhere is not answered', async () => {
  bench.owner = 'b2'
  expect(await groups.describe('g')).toBeUndefined()
  expect(await groups.delete('g')).toBeUndefined()
  expect(await groups.offsetForTime({ topic: 'orders', partition: 0 }, 0)).toBeUndefined()
})
