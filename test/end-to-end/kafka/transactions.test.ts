// Transactions of unmodified clients against three brokers: kafkajs writes them while a broker is killed, kcat
// (librdkafka) reads what was committed. Nothing aborted is read, nothing committed is lost, all or nothing.

import { Consumer, Producer, stringSerializers } from '@platformatic/kafka'
import { Kafka, logLevel, type Transaction } from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../../support/cluster.ts'
import { kcatFollowing, kcatOf } from './kcat.ts'

const ROUNDS = 40
const WRITERS = ['w1', 'w2', 'w3']

let cluster: TestCluster

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3', '--storage', 'memory:')
})

afterAll(() => cluster.purge())

function kafkaOf(clientId: string): Kafka {
  const brokers = [1, 2, 3].map((node) => `127.0.0.1:${cluster.kafkaPort(node)}`)
  return new Kafka({
    ...{ clientId, brokers, logLevel: logLevel.NOTHING },
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 60 },
  })
}

async function producerOf(transactionalId: string, transactionTimeout = 10_000) {
  const producer = kafkaOf(transactionalId).producer({
    ...{ transactionalId, transactionTimeout, maxInFlightRequests: 1, idempotent: true },
  })
  await producer.connect()
  return producer
}

async function topicOf(topic: string, numPartitions: number): Promise<void> {
  const admin = kafkaOf('admin').admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic, numPartitions }] })
  await admin.disconnect()
}

type Outcome = 'committed' | 'aborted' | 'unknown'

/** One transaction of two records in different partitions. */
async function write(transaction: Transaction, value: string, commits: boolean) {
  let isEnding = false
  try {
    for (const partition of [0, 1]) {
      await transaction.send({
        topic: 'moves',
        messages: [{ partition, value: `${value}/${partition}` }],
      })
    }
    isEnding = commits
    await (commits ? transaction.commit() : transaction.abort())
    return { outcome: commits ? ('committed' as const) : ('aborted' as const), hasFailed: false }
  } catch {
    return { outcome: isEnding ? ('unknown' as const) : ('aborted' as const), hasFailed: true }
  }
}

/** A producer that failed is begun anew, as an application does: its id fences what it left. */
async function writeAll(id: string, onRound: (round: number) => Promise<void>) {
  const outcomes = new Map<string, Outcome>()
  let producer = await producerOf(id)
  for (let round = 0; round < ROUNDS; round++) {
    await onRound(round)
    const value = `${id}-${round}`
    const transaction = await producer.transaction()
    const { outcome, hasFailed } = await write(transaction, value, round % 4 !== 3)
    outcomes.set(value, outcome)
    if (hasFailed) {
      await producer.disconnect()
      producer = await producerOf(id)
    }
  }
  await producer.disconnect()
  return outcomes
}

describe('kafkajs', () => {
  test('a broker is killed amid transactions: no aborted read, no lost commit, all or nothing', {
    timeout: 120_000,
  }, async () => {
    await topicOf('moves', 2)
    // kafkajs as a reader passes over one aborted transaction for each message only, so it may read others.
    const live = await kcatFollowing(cluster, [
      '-t',
      'moves',
      '-X',
      'isolation.level=read_committed',
    ])
    const written = await Promise.all(
      WRITERS.map((id, at) =>
        writeAll(id, async (round) => {
          if (at === 0 && round === ROUNDS / 2) await cluster.robust('cluster', 'kill', 'broker-2')
        }),
      ),
    )
    // Behind everything, so that whoever reads it has been told of all before.
    const last = await producerOf('last')
    const closing = await last.transaction()
    for (const partition of [0, 1]) {
      await closing.send({ topic: 'moves', messages: [{ partition, value: `end/${partition}` }] })
    }
    await closing.commit()
    await last.disconnect()
    const outcomes = new Map(written.flatMap((of) => [...of]))
    const hasEnded = () => ['end/0', 'end/1'].every((end) => live.lines.includes(end))
    await expect.poll(hasEnded).toBe(true)
    live.stop()
    const kcat = await kcatOf(cluster)
    const flags = ['-C', '-t', 'moves', '-e', '-q', '-X', 'isolation.level=read_committed']
    const later = (await kcat(flags)).trim().split('\n')
    for (const values of [live.lines, later]) {
      const seen = new Set(values)
      expect(values.length).toBe(seen.size)
      for (const [value, outcome] of outcomes) {
        const parts = [0, 1].filter((partition) => seen.has(`${value}/${partition}`)).length
        if (outcome === 'committed') expect([value, parts]).toEqual([value, 2])
        else if (outcome === 'aborted') expect([value, parts]).toEqual([value, 0])
        else expect([0, 2]).toContain(parts)
      }
    }
    const committed = [...outcomes.values()].filter((outcome) => outcome === 'committed').length
    expect(committed).toBeGreaterThan(ROUNDS)
  })

  test('offsets are committed with the transaction or not at all; a zombie is fenced', {
    timeout: 60_000,
  }, async () => {
    await topicOf('steps', 1)
    const admin = kafkaOf('admin').admin()
    await admin.connect()
    const first = await producerOf('stepper')
    const offsetAt = async () => {
      const [found] = await admin.fetchOffsets({ groupId: 'steppers', topics: ['steps'] })
      return found?.partitions.find(({ partition }) => partition === 0)?.offset
    }
    const step = async (offset: string) => {
      const transaction = await first.transaction()
      await transaction.send({ topic: 'steps', messages: [{ value: offset }] })
      await transaction.sendOffsets({
        consumerGroupId: 'steppers',
        topics: [{ topic: 'steps', partitions: [{ partition: 0, offset }] }],
      })
      return transaction
    }
    const aborted = await step('5')
    await aborted.abort()
    expect(await offsetAt()).toBe('-1')
    const committed = await step('7')
    expect(await offsetAt()).toBe('-1')
    await committed.commit()
    expect(await offsetAt()).toBe('7')

    const left = await step('9')
    const second = await producerOf('stepper')
    const newer = await second.transaction()
    await expect(left.commit()).rejects.toMatchObject({ type: 'INVALID_PRODUCER_EPOCH' })
    expect(await offsetAt()).toBe('7')
    await newer.abort()
    await Promise.all([second.disconnect(), first.disconnect(), admin.disconnect()])
  })
})

describe('@platformatic/kafka', () => {
  test('what is read is written on with its offset, once: newest versions', async () => {
    for (const name of ['raw', 'cooked']) await topicOf(name, 1)
    const kcat = await kcatOf(cluster)
    const wanted = Array.from({ length: 8 }, (_, at) => `value ${at}`)
    await kcat(['-P', '-t', 'raw'], wanted.join('\n'))
    const bootstrapBrokers = [1, 2, 3].map((node) => `127.0.0.1:${cluster.kafkaPort(node)}`)
    const of = { clientId: 'cook', bootstrapBrokers }
    const producer = new Producer({
      ...{ ...of, transactionalId: 'cook', idempotent: true, serializers: stringSerializers },
    })
    const consumer = new Consumer({ ...of, groupId: 'cooks' })
    const stream = await consumer.consume({
      ...{ topics: ['raw'], mode: 'earliest', autocommit: false, maxWaitTime: 100 },
    })
    let cooked = 0
    for await (const message of stream) {
      for (const commits of cooked % 3 === 0 ? [false, true] : [true]) {
        const transaction = await producer.beginTransaction()
        await transaction.addConsumer(consumer)
        await transaction.send({ messages: [{ topic: 'cooked', value: String(message.value) }] })
        await transaction.addOffset(message)
        await (commits ? transaction.commit() : transaction.abort())
      }
      cooked++
      if (cooked === wanted.length) break
    }
    const committed = await consumer.listCommittedOffsets({
      topics: [{ topic: 'raw', partitions: [0] }],
    })
    expect(committed.get('raw')).toEqual([BigInt(wanted.length)])
    const flags = ['-C', '-t', 'cooked', '-e', '-q', '-X', 'isolation.level=read_committed']
    expect((await kcat(flags)).trim().split('\n')).toEqual(wanted)
    await Promise.all([consumer.close(true), producer.close(true)])
  })
})

describe('kcat', () => {
  test('reads what is committed, and waits for what is open', { timeout: 60_000 }, async () => {
    await topicOf('mixed', 1)
    const kcat = await kcatOf(cluster)
    const producer = await producerOf('mixer')
    for (const [value, commits] of [
      ['one', true],
      ['two', false],
      ['three', true],
    ] as const) {
      const transaction = await producer.transaction()
      await transaction.send({ topic: 'mixed', messages: [{ value }] })
      await (commits ? transaction.commit() : transaction.abort())
    }
    const open = await producer.transaction()
    await open.send({ topic: 'mixed', messages: [{ value: 'four' }] })
    const read = (level: string) =>
      kcat(['-C', '-t', 'mixed', '-e', '-q', '-X', `isolation.level=${level}`])
    expect((await read('read_uncommitted')).trim().split('\n')).toEqual([
      ...['one', 'two', 'three', 'four'],
    ])
    expect((await read('read_committed')).trim().split('\n')).toEqual(['one', 'three'])
    await open.commit()
    expect((await read('read_committed')).trim().split('\n')).toEqual(['one', 'three', 'four'])
    await producer.disconnect()
  })

  test('what nobody ends is ended by its time-out', { timeout: 60_000 }, async () => {
    await topicOf('left', 1)
    const kcat = await kcatOf(cluster)
    const producer = await producerOf('leaver', 4_000)
    const transaction = await producer.transaction()
    await transaction.send({ topic: 'left', messages: [{ value: 'left' }] })
    await kcat(['-P', '-t', 'left'], 'plain')
    const read = () =>
      kcat(['-C', '-t', 'left', '-e', '-q', '-X', 'isolation.level=read_committed'])
    expect(await read()).toBe('')
    await expect.poll(read, { timeout: 20_000, interval: 500 }).toBe('plain\n')
    await expect(transaction.commit()).rejects.toMatchObject({ type: 'INVALID_PRODUCER_EPOCH' })
    await producer.disconnect()
  })
})
