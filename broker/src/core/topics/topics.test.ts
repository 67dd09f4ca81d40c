import { createMemoryStorage, decodeRecordBatch } from '@robust/storage-adapters'
import { describe, expect, test } from 'vitest'
import { CoreCluster, messageTo } from '../../testing/core-cluster.ts'
import { settle } from '../../testing/virtual-clock.ts'
import { DEFAULT_LOG_POLICY } from '../logs/log-policy.ts'
import type { Receipt } from '../message.ts'
import { fromRecord } from '../record.ts'
import { partitionOf, type Topic } from './topic.ts'
import { Topics } from './topics.ts'

const topic = (name: string, more: Partial<Topic> = {}): Topic => ({
  tenant: 'default',
  name,
  id: `id-${name}`,
  address: name,
  partitions: 1,
  capture: [],
  policy: DEFAULT_LOG_POLICY,
  ...more,
})

describe('Topics', () => {
  test('match gives each topic once: by its address, or by what it captures', () => {
    let changes = 0
    const topics = new Topics(() => changes++)
    topics.set(topic('a/b', { capture: ['a/#', '+/b'] }))
    topics.set(topic('other', { capture: ['a/+'] }))
    const names = (address: string) => topics.match(address).map(({ name }) => name)
    expect(names('a/b').sort()).toEqual(['a/b', 'other'])
    expect(names('other')).toEqual(['other'])
    expect(names('c')).toEqual([])
    topics.set(topic('other'))
    expect(names('a/b')).toEqual(['a/b'])
    topics.remove('default', 'a/b')
    topics.remove('default', 'unknown')
    expect(names('a/b')).toEqual([])
    expect(changes).toBe(4)
  })

  test('policyOf and isDeleted go by the id, which is never given twice', () => {
    const topics = new Topics(() => undefined)
    topics.set(topic('a', { id: 'one' }))
    expect(topics.policyOf('topic/one/0')).toBe(DEFAULT_LOG_POLICY)
    expect(topics.policyOf('inbox/one')).toBeUndefined()
    topics.set(topic('a', { id: 'two' }))
    expect(topics.policyOf('topic/one/0')).toBeUndefined()
    expect(topics.isDeleted('topic/one/0')).toBe(false)
    for (const id of ['one', 'two']) topics.markDeleted(id, true)
    expect(topics.isDeleted('topic/one/0')).toBe(true)
    expect(topics.isDeleted('topic/two/0')).toBe(false)
  })
})

describe('a topic that captures', () => {
  async function cluster() {
    const storage = createMemoryStorage()
    const core = new CoreCluster(storage, 8)
    for (const name of ['b1', 'b2']) core.join(name)
    await core.ownAll((shard) => (shard % 2 === 0 ? 'b1' : 'b2'))
    const telemetry = topic('telemetry', { capture: ['sensors/#'], partitions: 4 })
    core.topics.set(telemetry)
    const read = async (): Promise<string[]> => {
      const found: string[] = []
      for (let partition = 0; partition < telemetry.partitions; partition++) {
        const place = partitionOf(telemetry, partition, 8)
        const { batches } = await storage.read({ ...place, fromOffset: 0, bytesMax: 1 << 20 })
        for (const record of batches.flatMap((batch) => decodeRecordBatch(batch))) {
          const { message } = fromRecord(record)
          found.push(`${message.address} ${Buffer.from(message.payload)}`)
        }
      }
      return found.sort()
    }
    return { core, read }
  }

  const settled = (outcomes: string[]): Receipt => ({
    settle: (outcome) => outcomes.push(outcome),
  })

  test('keeps what is published to any broker, whatever its guarantee', async () => {
    const { core, read } = await cluster()
    const outcomes: string[] = []
    for (const [name, node] of core.nodes) {
      for (const guarantee of [0, 1] as const) {
        const message = messageTo(`sensors/${name}`, String(guarantee), { guarantee })
        if (node.messaging.publish(message, settled(outcomes))) outcomes.push('accepted')
      }
      node.messaging.publish(messageTo('elsewhere', 'x'), undefined)
    }
    await settle()
    await settle()
    expect(outcomes.filter((outcome) => outcome === 'accepted')).toHaveLength(4)
    expect(await read()).toEqual(['sensors/b1 0', 'sensors/b1 1', 'sensors/b2 0', 'sensors/b2 1'])
  })

  test('acknowledges nothing before it is in the log, whoever dies', async () => {
    const { core, read } = await cluster()
    const outcomes: string[] = []
    const b1 = core.nodes.get('b1')
    await core.kill('b2')
    for (let i = 0; i < 8; i++) {
      b1?.messaging.publish(messageTo(`sensors/${i}`, 'x'), settled(outcomes))
    }
    await settle()
    const before = outcomes.length
    expect(before).toBeLessThan(8)
    expect((await read()).length).toBe(before)
    for (let shard = 1; shard < 8; shard += 2) await core.own(shard, 'b1')
    await core.clock.advance(1_000)
    expect(outcomes).toHaveLength(8)
    expect(new Set(await read()).size).toBe(8)
  })
})
