// Unmodified Kafka clients against clusters of three brokers: kafkajs with a group of consumers while a broker is
// killed, and Debian's kcat (librdkafka) with an idempotent producer, every codec and a topic that nobody made.

import { Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../../support/cluster.ts'
import { type Kcat, kcatOf } from './kcat.ts'

const KEYS = ['a', 'b', 'c', 'd', 'e', 'f']
const ROUNDS = 60

let cluster: TestCluster

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3', '--storage', 'memory:')
})

afterAll(() => cluster.purge())

function brokers(): string[] {
  return [1, 2, 3].map((node) => `127.0.0.1:${cluster.kafkaPort(node)}`)
}

function kafkaOf(clientId: string): Kafka {
  return new Kafka({
    ...{ clientId, brokers: brokers(), logLevel: logLevel.NOTHING },
    retry: { initialRetryTime: 100, maxRetryTime: 1_000, retries: 60 },
  })
}

interface Read {
  readonly key: string
  readonly value: number
}

async function consume(kafka: Kafka, groupId: string, topic: string) {
  const read: Read[] = []
  const consumer = kafka.consumer({ groupId, sessionTimeout: 6_000, heartbeatInterval: 500 })
  await consumer.connect()
  await consumer.subscribe({ topic, fromBeginning: true })
  await consumer.run({
    eachMessage: ({ message }) => {
      read.push({ key: String(message.key), value: Number(message.value) })
      return Promise.resolve()
    },
  })
  return { read, stop: () => consumer.disconnect() }
}

/** What each key was read with, each value once, in the order in which it was first read. */
function byKey(read: readonly Read[]): Map<string, number[]> {
  const found = new Map<string, number[]>()
  for (const { key, value } of read) {
    const values = found.get(key) ?? []
    if (!values.includes(value)) values.push(value)
    found.set(key, values)
  }
  return found
}

describe('kafkajs', () => {
  test('a broker is killed: nothing acknowledged is lost, order is kept, the group goes on', {
    timeout: 120_000,
  }, async () => {
    const kafka = kafkaOf('shop')
    const admin = kafka.admin()
    await admin.connect()
    await admin.createTopics({ topics: [{ topic: 'orders', numPartitions: 6 }] })
    const members = await Promise.all([
      consume(kafka, 'billing', 'orders'),
      consume(kafkaOf('shop-2'), 'billing', 'orders'),
    ])
    const producer = kafka.producer({ allowAutoTopicCreation: false })
    await producer.connect()
    for (let round = 0; round < ROUNDS; round++) {
      if (round === ROUNDS / 3) await cluster.robust('cluster', 'kill', 'broker-2')
      // Each for itself: of a send to several brokers kafkajs takes for sent what moves to one that has answered.
      const sends = KEYS.map((key) => {
        const messages = [{ key, value: String(round) }]
        return producer.send({ topic: 'orders', acks: -1, messages })
      })
      await Promise.all(sends)
    }
    const wanted = Array.from({ length: ROUNDS }, (_, round) => round)
    const all = (): Map<string, number[]> => byKey(members.flatMap(({ read }) => read))
    await expect
      .poll(() => KEYS.map((key) => all().get(key)?.length), { timeout: 60_000, interval: 200 })
      .toEqual(KEYS.map(() => ROUNDS))
    // In the log itself, as a reader sees it that was there for none of this.
    const later = await consume(kafka, 'audit', 'orders')
    await expect
      .poll(() => KEYS.map((key) => byKey(later.read).get(key)), { timeout: 60_000 })
      .toEqual(KEYS.map(() => wanted))
    await Promise.all([...members, later].map(({ stop }) => stop()))

    // What the group has committed is kept: it goes on where it was.
    await producer.send({ topic: 'orders', messages: [{ key: 'a', value: '1000' }] })
    const again = await consume(kafka, 'billing', 'orders')
    await expect
      .poll(() => again.read.at(-1), { timeout: 60_000 })
      .toEqual({ key: 'a', value: 1000 })
    expect(again.read.length).toBeLessThan(ROUNDS)
    await again.stop()
    await producer.disconnect()
    await admin.deleteTopics({ topics: ['orders'] })
    expect(await admin.listTopics()).not.toContain('orders')
    await admin.disconnect()
  })

  test('offsets by time, the ends of a partition, and of a group that an operator sets', {
    timeout: 60_000,
  }, async () => {
    const kafka = kafkaOf('clock')
    const admin = kafka.admin()
    const producer = kafka.producer({ idempotent: true })
    await Promise.all([admin.connect(), producer.connect()])
    await admin.createTopics({ topics: [{ topic: 'times', numPartitions: 1 }] })
    for (const timestamp of ['1000', '2000', '3000']) {
      await producer.send({ topic: 'times', messages: [{ value: timestamp, timestamp }] })
    }
    const at = async (time: number) => (await admin.fetchTopicOffsetsByTimestamp('times', time))[0]
    expect(await at(2000)).toMatchObject({ partition: 0, offset: '1' })
    expect(await at(2500)).toMatchObject({ partition: 0, offset: '2' })
    const [ends] = await admin.fetchTopicOffsets('times')
    expect(ends).toMatchObject({ low: '0', high: '3' })
    await admin.setOffsets({
      ...{ groupId: 'late', topic: 'times' },
      partitions: [{ partition: 0, offset: '2' }],
    })
    expect(await admin.fetchOffsets({ groupId: 'late', topics: ['times'] })).toMatchObject([
      { topic: 'times', partitions: [{ partition: 0, offset: '2' }] },
    ])
    await Promise.all([admin.disconnect(), producer.disconnect()])
  })

  test('what a topic cannot be is refused', async () => {
    const admin = kafkaOf('admin').admin()
    await admin.connect()
    const topic = 'refused'
    const configEntries = [{ name: 'min.insync.replicas', value: '2' }]
    await expect(admin.createTopics({ topics: [{ topic, configEntries }] })).rejects.toMatchObject({
      errors: [{ type: 'INVALID_CONFIG' }],
    })
    expect(await admin.listTopics()).not.toContain(topic)
    await admin.disconnect()
  })
})

describe('kcat', () => {
  let kcat: Kcat

  beforeAll(async () => {
    kcat = await kcatOf(cluster)
  })

  test.each(['none', 'gzip', 'snappy', 'lz4', 'zstd'])(
    'an idempotent producer with codec %s',
    {
      timeout: 60_000,
    },
    async (codec) => {
      const topic = `codec-${codec}`
      const lines = Array.from({ length: 500 }, (_, at) => `key-${at % 7}:value ${at}`)
      const flags = ['-X', 'enable.idempotence=true', '-z', codec, '-K:']
      await kcat(['-P', '-t', topic, ...flags], lines.join('\n'))
      const read = await kcat(['-C', '-t', topic, '-e', '-q', '-f', '%k:%s\n'])
      expect(read.trim().split('\n').sort()).toEqual([...lines].sort())
    },
  )

  test('a group reads what is there and commits it', { timeout: 60_000 }, async () => {
    await kcat(['-P', '-t', 'grouped'], 'one\ntwo\nthree')
    const flags = ['-X', 'auto.offset.reset=earliest', '-e', '-q', '-G', 'readers', 'grouped']
    expect((await kcat(flags)).trim().split('\n').sort()).toEqual(['one', 'three', 'two'])
    await kcat(['-P', '-t', 'grouped'], 'four')
    expect((await kcat(flags)).trim()).toBe('four')
  })
})
