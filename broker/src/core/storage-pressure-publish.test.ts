import { createMemoryStorage, decodeRecordBatch, StorageError } from '@robust/storage-adapters'
import { describe, expect, test } from 'vitest'
import { CoreCluster, messageTo, TestClient, wanting } from '../testing/core-cluster.ts'
import { settle } from '../testing/virtual-clock.ts'
import { DEFAULT_LOG_POLICY } from './logs/log-policy.ts'
import type { PublishOutcome } from './message.ts'
import { partitionOf } from './topics/topic.ts'

const TOPIC = {
  tenant: 'default',
  name: 'kept',
  id: 'kept-1',
  address: 'kept',
  partitions: 1,
  capture: ['kept/#'],
  policy: DEFAULT_LOG_POLICY,
}

/** One broker over storage whose room is in the test's hands, and a live subscriber to everything. */
async function broker() {
  const real = createMemoryStorage()
  const room = { pressure: 0, full: false }
  const storage = new Proxy(real, {
    get: (target, name) => {
      if (name === 'pressure') return room.pressure
      const value = Reflect.get(target, name) as unknown
      if (typeof value !== 'function') return value
      if (name !== 'commit') return value.bind(target)
      return (request: Parameters<typeof real.commit>[0]) =>
        room.full ? Promise.reject(new StorageError('FULL', 'no room')) : real.commit(request)
    },
  })
  const core = new CoreCluster(storage, 4)
  const { messaging } = core.join('b1')
  await core.ownAll(() => 'b1')
  core.topics.set(TOPIC)
  const client = new TestClient()
  const options = { session: 'live', cleanStart: true, expirySeconds: 0, window: 10 }
  const attached = await messaging.attach({ ...options, will: undefined }, client)
  attached.start()
  await attached.subscribe([wanting('#')])
  const publish = (address: string, text: string, more: { guarantee?: 0 | 1 | 2 } = {}) => {
    const state: { outcome: PublishOutcome | 'waits'; slow: number } = { outcome: 'waits', slow: 0 }
    const receipt = {
      refusable: true,
      settle: (outcome: PublishOutcome) => {
        state.outcome = outcome
      },
      slow: (ms: number) => {
        state.slow = ms
      },
    }
    return { state, receipt, run: () => messaging.publish(messageTo(address, text, more), receipt) }
  }
  const kept = async (): Promise<string[]> => {
    const { shard, log } = partitionOf(TOPIC, 0, 4)
    const { batches } = await real.read({ shard, log, fromOffset: 0, bytesMax: 1 << 20 })
    return batches.flatMap((batch) =>
      decodeRecordBatch(batch).map(({ value }) => Buffer.from(value ?? []).toString()),
    )
  }
  return { core, messaging, room, client, publish, kept }
}

describe('publishing while storage is short of room', () => {
  test('what is kept is acknowledged later, the publisher is read slower, what is not kept is untouched', async () => {
    const { core, room, client, publish, kept } = await broker()
    room.pressure = 0.9
    const durable = publish('kept/1', 'a')
    const live = publish('other', 'b')
    expect(durable.run()).toBe(false)
    expect(live.run()).toBe(true)
    await settle()
    expect(await kept()).toEqual(['a'])
    expect(client.live).toEqual(['a', 'b'])
    expect(durable.state).toEqual({ outcome: 'waits', slow: 361 })
    expect(live.state.slow).toBe(0)
    await core.clock.advance(350)
    expect(durable.state.outcome).toBe('waits')
    await core.clock.advance(20)
    expect(durable.state.outcome).toBe('accepted')
  })

  test('full: what is to be kept is refused and goes nowhere, at most once reaches live subscribers only', async () => {
    const { core, messaging, room, client, publish, kept } = await broker()
    room.pressure = 1
    const refused = publish('kept/1', 'a')
    refused.run()
    expect(refused.state.outcome).toBe('refused')
    publish('kept/1', 'b', { guarantee: 0 }).run()
    await core.clock.advance(2_000)
    expect(client.live).toEqual(['b'])
    expect(await kept()).toEqual([])
    expect(messaging.counts.unkept).toBe(2)
    room.pressure = 0.5
    const accepted = publish('kept/1', 'c')
    accepted.run()
    await settle()
    expect(accepted.state).toEqual({ outcome: 'accepted', slow: 0 })
    expect(await kept()).toEqual(['c'])
  })

  test('full: a publisher that cannot be told waits, and is acknowledged when there is room', async () => {
    const { core, messaging, room, kept } = await broker()
    room.pressure = 1
    room.full = true
    let outcome = 'waits'
    messaging.publish(messageTo('kept/1', 'a'), { settle: (settled) => (outcome = settled) })
    await core.clock.advance(5_000)
    expect(outcome).toBe('waits')
    room.pressure = 0
    room.full = false
    await core.clock.advance(2_000)
    expect(outcome).toBe('accepted')
    expect(await kept()).toEqual(['a'])
  })
})
