// Administration by unmodified clients: kafkajs, what robust topic says of the same topics, and many topics that
// nobody made.

import { ConfigResourceTypes, Kafka, logLevel } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../../support/cluster.ts'

/** Topics that are first heard of when something is sent to them. */
const COLD_TOPICS = Number(process.env['ROBUST_COLD_TOPICS'] ?? 60)

let cluster: TestCluster

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3', '--storage', 'memory:')
})

afterAll(() => cluster?.purge())

function kafka(retries = 5): Kafka {
  const brokers = [1, 2, 3].map((node) => `127.0.0.1:${cluster.kafkaPort(node)}`)
  return new Kafka({ clientId: 'test', brokers, logLevel: logLevel.NOTHING, retry: { retries } })
}

/** How many open shards each broker has; none while some are not open. */
async function sharesOfShards(): Promise<number[]> {
  const { nodes } = await cluster.status()
  const shards = nodes.flatMap((node) => node.shards ?? [])
  const areOpen = shards.length === 3 && shards.every(({ owned, open }) => owned === open)
  return areOpen ? shards.map(({ open }) => open) : [0, Number.POSITIVE_INFINITY]
}

async function robust(...args: string[]): Promise<string> {
  const ran = await cluster.robust(...args)
  expect(ran).toMatchObject({ code: 0 })
  return ran.stdout
}

describe('topics that nobody made', () => {
  test(`take their first messages, ${COLD_TOPICS} at once, without an error`, {
    timeout: 120_000,
  }, async () => {
    // A shard that moves while something is sent to it is told to the client as an error, which it is.
    await expect
      .poll(sharesOfShards)
      .toSatisfy((shares) => Math.max(...shares) - Math.min(...shares) <= 1)
    // No request is tried again: an error would be seen. Of several topics of one producer kafkajs takes older
    // metadata for newer when answers cross.
    const producers = await Promise.all(
      Array.from({ length: COLD_TOPICS }, async () => {
        const producer = kafka(0).producer({ allowAutoTopicCreation: true })
        await producer.connect()
        return producer
      }),
    )
    const sends = producers.map((producer, at) =>
      producer.send({
        topic: `cold-${at % 7 === 0 ? 'shared' : at}`,
        messages: [{ value: String(at) }],
      }),
    )
    const outcomes = await Promise.allSettled(sends)
    const failures = outcomes.flatMap((one) =>
      one.status === 'rejected' ? [String(one.reason)] : [],
    )
    expect([...new Set(failures)].join('\n')).toBe('')
    await Promise.all(producers.map((producer) => producer.disconnect()))
  })
})

describe('kafkajs', () => {
  test('describes and alters topics, gives them partitions, deletes records', {
    timeout: 60_000,
  }, async () => {
    const admin = kafka().admin()
    const producer = kafka().producer()
    await Promise.all([admin.connect(), producer.connect()])
    const topic = 'orders'
    await admin.createTopics({
      topics: [
        { topic, numPartitions: 2, configEntries: [{ name: 'retention.ms', value: '3600000' }] },
      ],
    })
    const resource = { type: ConfigResourceTypes.TOPIC, name: topic }
    const settings = async () => {
      const { resources } = await admin.describeConfigs({
        ...{ resources: [resource], includeSynonyms: true },
      })
      const entries = resources[0]?.configEntries ?? []
      return Object.fromEntries(
        entries.map(({ configName, configValue }) => [configName, configValue]),
      )
    }
    expect(await settings()).toMatchObject({
      'retention.ms': '3600000',
      'cleanup.policy': 'delete',
    })
    // kafkajs sets all of them anew.
    const configEntries = [{ name: 'max.message.bytes', value: '2000' }]
    await admin.alterConfigs({ resources: [{ ...resource, configEntries }], validateOnly: false })
    expect(await settings()).toMatchObject({
      ...{ 'retention.ms': '604800000', 'max.message.bytes': '2000' },
    })
    const send = (value: string) => producer.send({ topic, messages: [{ partition: 0, value }] })
    await expect(send('x'.repeat(3_000))).rejects.toMatchObject({ type: 'MESSAGE_TOO_LARGE' })
    for (let at = 0; at < 5; at++) await send(String(at))
    await admin.deleteTopicRecords({ topic, partitions: [{ partition: 0, offset: '3' }] })
    const ends = async () =>
      (await admin.fetchTopicOffsets(topic)).find(({ partition }) => partition === 0)
    expect(await ends()).toMatchObject({ partition: 0, low: '3', high: '5' })
    await admin.createPartitions({ topicPartitions: [{ topic, count: 4 }] })
    const { topics } = await admin.fetchTopicMetadata({ topics: [topic] })
    expect(topics[0]?.partitions).toHaveLength(4)

    const told = JSON.parse(await robust('topic', 'describe', topic, '-o', 'json'))
    expect(told).toMatchObject({ partitions: { length: 4 }, config: { 'batch-bytes-max': 2_000 } })
    expect(told.partitions[0]).toMatchObject({ startOffset: 3, endOffset: 5 })
    await robust('topic', 'alter', topic, '--partitions', '5', '--set', 'retention-ms=null')
    await robust('topic', 'alter', topic, '--unset', 'batch-bytes-max')
    expect(await settings()).toMatchObject({
      ...{ 'retention.ms': '-1', 'max.message.bytes': '1048588' },
    })
    const cut = await cluster.robust('topic', 'alter', topic, '--partitions', '2')
    expect(cut.code).not.toBe(0)
    expect(cut.stderr).toContain('5 partitions')

    // What was deleted stays so at the next owner.
    await robust('cluster', 'kill', `broker-${ownerNumber(told.partitions[0].owner)}`)
    await expect
      .poll(async () => (await ends().catch(() => undefined))?.low, { timeout: 30_000 })
      .toBe('3')
    await Promise.all([admin.disconnect(), producer.disconnect()])
  })
})

function ownerNumber(node: string): string {
  return /(\d+)$/.exec(node)?.[1] ?? ''
}
