// What a client sees of a connection, byte by byte, over real logs in virtual time.

import { crc32c } from '@robust/storage-adapters'
import { beforeEach, describe, expect, test } from 'vitest'
import { Access } from '../../security/access.ts'
import { KafkaBench, type KafkaClient } from '../../testing/kafka-fixtures.ts'
import { type BatchOptions, batchOf } from '../../testing/log-fixtures.ts'
import { settle } from '../../testing/virtual-clock.ts'
import type { RequestOf } from './codec/api.ts'
import { API_VERSIONS, FETCH, LIST_OFFSETS, METADATA, PRODUCE } from './codec/log-apis.ts'
import { INIT_PRODUCER_ID } from './codec/transaction-apis.ts'
import { ERROR } from './errors.ts'

let bench: KafkaBench
let client: KafkaClient

beforeEach(async () => {
  bench = await new KafkaBench().start()
  bench.topic('orders', 2)
  client = await bench.connect()
})

function producing(records: Uint8Array, more: object = {}): RequestOf<typeof PRODUCE> {
  const partitions = [{ index: 0, records: Buffer.from(records) }]
  const topics = [{ name: 'orders', topicId: '', partitions }]
  return { transactionalId: null, acks: -1, timeoutMs: 1_000, topics, ...more }
}

async function produce(records: Uint8Array, version = 7, more: object = {}) {
  const { topics } = await client.ask(PRODUCE, version, producing(records, more))
  return topics[0]?.partitions[0]
}

function fetching(more: object = {}, partition: object = {}): RequestOf<typeof FETCH> {
  const asked = { index: 0, currentLeaderEpoch: -1, fetchOffset: 0, lastFetchedEpoch: -1 }
  return {
    ...{ replicaId: -1, maxWaitMs: 0, minBytes: 1, maxBytes: 1_000_000, isolationLevel: 0 },
    ...{ sessionId: 0, sessionEpoch: -1, forgottenTopics: [], rackId: '' },
    topics: [
      {
        ...{ name: 'orders', topicId: '' },
        partitions: [{ ...asked, logStartOffset: 0, maxBytes: 1_000_000, ...partition }],
      },
    ],
    ...more,
  }
}

async function fetch(more: object = {}, partition: object = {}) {
  const { topics } = await client.ask(FETCH, 11, fetching(more, partition))
  return topics[0]?.partitions[0]
}

const versions = { clientSoftwareName: 'test', clientSoftwareVersion: '1' }

describe('a connection', () => {
  test('says in version 0 what is spoken when it is asked in an unknown one (KIP-511)', async () => {
    client.raw(Buffer.from([0, 18, 0, 99, 0, 0, 0, 5, 255, 255, 1, 2, 3]))
    await settle()
    expect(client.answers[0]?.readInt32BE(0)).toBe(5)
    const { errorCode, apiKeys } = client.read(API_VERSIONS, 0, 0)
    expect(errorCode).toBe(ERROR.UNSUPPORTED_VERSION)
    expect(apiKeys.find(({ apiKey }) => apiKey === 18)).toMatchObject({ maxVersion: 4 })
    // And goes on.
    client.send(API_VERSIONS, 2, versions)
    await settle()
    expect(client.answers).toHaveLength(2)
  })

  test.each([
    ['an API that is not spoken', Buffer.from([0, 4, 0, 0, 0, 0, 0, 1, 255, 255])],
    ['a version that is not spoken', Buffer.from([0, 0, 0, 99, 0, 0, 0, 1, 255, 255])],
    ['a header that ends too early', Buffer.from([0, 18, 0])],
    ['a count that cannot be', Buffer.from([0, 3, 0, 0, 0, 0, 0, 1, 255, 255, 127, 255, 255, 255])],
  ])('ends with %s, which is no error of the broker', async (_, bytes) => {
    client.raw(bytes)
    await settle()
    expect(client.isClosed).toBe(true)
    expect(bench.refusedBy).toEqual([])
  })

  test('answers in the order of the requests: nothing overtakes a Fetch that waits', async () => {
    client.send(FETCH, 11, fetching({ maxWaitMs: 500 }))
    client.send(API_VERSIONS, 2, versions)
    client.send(PRODUCE, 7, producing(batchOf(['a=1'])))
    await settle()
    expect(client.answers).toHaveLength(0)
    await bench.logs.clock.advance(500)
    expect(client.answers.map((frame) => frame.readInt32BE(0))).toEqual([1, 2, 3])
  })

  test('begins requests to produce before those ahead of them are done: they share a commit', async () => {
    await produce(batchOf(['a=0']))
    const { commits } = bench.logs.writer
    for (let at = 0; at < 20; at++) client.send(PRODUCE, 7, producing(batchOf([`a=${at}`])))
    await settle()
    const offsets = client.answers
      .slice(1)
      .map((_, at) => client.read(PRODUCE, 7, at + 1).topics[0]?.partitions[0]?.baseOffset)
    expect(offsets).toEqual(Array.from({ length: 20 }, (_, at) => at + 1))
    expect(bench.logs.writer.commits - commits).toBeLessThanOrEqual(2)
  })

  test('makes no more answers for a client that does not read them', async () => {
    // More than the stream of any Node takes before it says stop.
    const large = batchOf([`a=${'x'.repeat(200_000)}`])
    await produce(large)
    client.stream.cork()
    for (let at = 0; at < 3; at++) client.send(FETCH, 11, fetching())
    await settle()
    expect(client.stream.writableLength).toBeLessThan(2 * large.length)
    client.stream.uncork()
    await settle()
    expect(client.answers).toHaveLength(4)
  })

  test('does not answer where no answer is wanted, and ends when that was refused', async () => {
    client.send(PRODUCE, 7, producing(batchOf(['a=1']), { acks: 0 }))
    client.send(API_VERSIONS, 2, versions)
    await settle()
    expect(client.answers.map((frame) => frame.readInt32BE(0))).toEqual([2])
    client.send(PRODUCE, 7, producing(Buffer.from('no batch'), { acks: 0 }))
    await settle()
    expect(client.isClosed).toBe(true)
    expect(bench.refusedBy).toEqual([])
  })
})

describe('Produce', () => {
  test('keeps the bytes but for offset and leader epoch, and hands the same out', async () => {
    const batch = batchOf(['a=1', 'b=2'])
    expect(await produce(batch)).toMatchObject({ errorCode: 0, baseOffset: 0 })
    expect(await produce(batch)).toMatchObject({ errorCode: 0, baseOffset: 2 })
    const read = await fetch({}, { fetchOffset: 2 })
    expect(read).toMatchObject({ errorCode: 0, highWatermark: 4, lastStableOffset: 4 })
    expect(read?.records?.readBigInt64BE(0)).toBe(2n)
    expect(read?.records?.subarray(16)).toEqual(Buffer.from(batch).subarray(16))
  })

  test('several batches of one request are appended together', async () => {
    const two = Buffer.concat([batchOf(['a=1', 'b=1']), batchOf(['c=1'])])
    expect(await produce(two)).toMatchObject({ errorCode: 0, baseOffset: 0 })
    expect(await fetch()).toMatchObject({ highWatermark: 3 })
  })

  const damaged = Buffer.from(batchOf(['a=1']))
  damaged[65] = (damaged[65] ?? 0) ^ 1
  const old = Buffer.from(batchOf(['a=1']))
  old[16] = 1
  const miscounted = Buffer.from(batchOf(['a=1']))
  miscounted.writeInt32BE(5, 23)
  miscounted.writeUInt32BE(crc32c(miscounted, 0, { from: 21 }), 17)

  const OF_NOBODY = { transactional: true, producerId: 5, producerEpoch: 0, baseSequence: 0 }

  test.each([
    ['another checksum', damaged, ERROR.CORRUPT_MESSAGE],
    ['half a batch', damaged.subarray(0, 40), ERROR.CORRUPT_MESSAGE],
    ['an old format', old, ERROR.UNSUPPORTED_FOR_MESSAGE_FORMAT],
    ['no batch', Buffer.alloc(0), ERROR.INVALID_RECORD],
    ['offsets for which there are no records', miscounted, ERROR.INVALID_RECORD],
    ['a transaction of nobody', batchOf(['a=1'], OF_NOBODY), ERROR.INVALID_TXN_STATE],
  ])('refuses %s, and appends nothing', async (_, bytes, errorCode) => {
    expect(await produce(bytes)).toMatchObject({ errorCode, baseOffset: -1 })
    expect(await fetch()).toMatchObject({ highWatermark: 0 })
  })

  test('refuses versions 0 to 2, unknown topics and partitions, other acks', async () => {
    const batch = batchOf(['a=1'])
    expect(await produce(batch, 2)).toMatchObject({ errorCode: ERROR.UNSUPPORTED_VERSION })
    expect(await produce(batch, 7, { acks: 2 })).toMatchObject({
      errorCode: ERROR.INVALID_REQUIRED_ACKS,
    })
    const records = Buffer.from(batch)
    for (const [name, index] of [
      ['nothing', 0],
      ['orders', 2],
      ['orders', -1],
    ] as const) {
      const topics = [{ name, partitions: [{ index, records }] }]
      expect(await produce(batch, 7, { topics })).toMatchObject({
        errorCode: ERROR.UNKNOWN_TOPIC_OR_PARTITION,
      })
    }
  })

  test('knows the repeats of an idempotent producer, gaps and old epochs', async () => {
    const asked = {
      transactionalId: null,
      transactionTimeoutMs: 0,
      producerId: -1,
      producerEpoch: -1,
    }
    const { producerId } = await client.ask(INIT_PRODUCER_ID, 1, asked)
    expect((await client.ask(INIT_PRODUCER_ID, 1, asked)).producerId).not.toBe(producerId)
    const batch = (sequence: number, more: BatchOptions = {}) =>
      batchOf(['a=1', 'a=2'], { producerId, producerEpoch: 1, baseSequence: sequence, ...more })
    expect(await produce(batch(0))).toMatchObject({ errorCode: 0, baseOffset: 0 })
    expect(await produce(batch(2))).toMatchObject({ errorCode: 0, baseOffset: 2 })
    expect(await produce(batch(0))).toMatchObject({ errorCode: 0, baseOffset: 0 })
    expect(await produce(batch(9))).toMatchObject({ errorCode: ERROR.OUT_OF_ORDER_SEQUENCE_NUMBER })
    expect(await produce(batch(4, { producerEpoch: 0 }))).toMatchObject({
      errorCode: ERROR.INVALID_PRODUCER_EPOCH,
    })
    expect(await fetch()).toMatchObject({ highWatermark: 4 })
  })

  test('says who leads the partition when it is elsewhere, and where that is (KIP-951)', async () => {
    bench.owner = 'b2'
    const answer = await client.ask(PRODUCE, 10, producing(batchOf(['a=1'])))
    expect(answer.topics[0]?.partitions[0]).toMatchObject({
      ...{ errorCode: ERROR.NOT_LEADER_OR_FOLLOWER, currentLeader: { leaderId: 2 } },
    })
    expect(answer.nodeEndpoints).toEqual([{ nodeId: 2, host: 'two', port: 9_192, rack: null }])
  })

  test('needs readable records with keys where only the newest of each is kept', async () => {
    bench.topic('orders', 1, { compact: true })
    expect(await produce(batchOf(['=1']))).toMatchObject({ errorCode: ERROR.INVALID_RECORD })
    expect(await produce(batchOf(['a=1']))).toMatchObject({ errorCode: 0 })
  })

  test('is told when storage is full, and held up when it nearly is', async () => {
    bench.level = 1
    expect(await produce(batchOf(['a=1']))).toMatchObject({ errorCode: ERROR.KAFKA_STORAGE_ERROR })
    bench.level = 0.9
    const before = client.answers.length
    client.send(PRODUCE, 7, producing(batchOf(['a=1'])))
    await settle()
    expect(client.answers).toHaveLength(before)
    await bench.logs.clock.advance(1_000)
    expect(client.answers).toHaveLength(before + 1)
  })
})

describe('Fetch', () => {
  test('waits for what comes, and no longer than it may', async () => {
    const other = await bench.connect()
    client.send(FETCH, 11, fetching({ maxWaitMs: 10_000 }))
    await bench.logs.clock.advance(9_000)
    expect(client.answers).toHaveLength(0)
    await other.ask(PRODUCE, 7, producing(batchOf(['a=1'])))
    await settle()
    expect(client.read(FETCH, 11, 0).topics[0]?.partitions[0]).toMatchObject({ highWatermark: 1 })
    client.send(FETCH, 11, fetching({ maxWaitMs: 1_000 }, { fetchOffset: 1 }))
    await bench.logs.clock.advance(1_000)
    const empty = client.read(FETCH, 11, 1).topics[0]?.partitions[0]
    // Not null: some clients take null for an error.
    expect(empty?.records).toEqual(Buffer.alloc(0))
  })

  test('is told at once when the partition it waits for goes elsewhere', async () => {
    client.send(FETCH, 11, fetching({ maxWaitMs: 60_000 }))
    await settle()
    bench.owner = 'b2'
    for (const tell of bench.onOwners) tell()
    await settle()
    expect(client.read(FETCH, 11, 0).topics[0]?.partitions[0]).toMatchObject({
      errorCode: ERROR.NOT_LEADER_OR_FOLLOWER,
    })
    expect(bench.onOwners.size).toBe(0)
  })

  test('hands out a first batch, however large it is, and no more than is asked for', async () => {
    for (let at = 0; at < 3; at++) await produce(batchOf(['a=1']))
    const one = await fetch({}, { maxBytes: 1 })
    expect(one?.records?.length).toBe(batchOf(['a=1']).length)
    const all = await fetch()
    expect(all?.records?.length).toBe(3 * batchOf(['a=1']).length)
  })

  test('refuses offsets outside the log, other epochs and sessions', async () => {
    expect(await fetch({}, { fetchOffset: 1 })).toMatchObject({
      errorCode: ERROR.OFFSET_OUT_OF_RANGE,
    })
    expect(await fetch({}, { currentLeaderEpoch: 0 })).toMatchObject({
      errorCode: ERROR.FENCED_LEADER_EPOCH,
    })
    expect(await fetch({}, { currentLeaderEpoch: 2 })).toMatchObject({
      errorCode: ERROR.UNKNOWN_LEADER_EPOCH,
    })
    expect(await fetch({}, { currentLeaderEpoch: 1 })).toMatchObject({ errorCode: ERROR.NONE })
    const { errorCode } = await client.ask(FETCH, 11, fetching({ sessionId: 7, sessionEpoch: 1 }))
    expect(errorCode).toBe(ERROR.FETCH_SESSION_ID_NOT_FOUND)
  })
})

test('offsets: the ends, and by time', async () => {
  for (const timestamp of [1_000, 2_000, 3_000]) await produce(batchOf(['a=1'], { timestamp }))
  const at = async (timestamp: number) => {
    const partitions = [{ index: 0, currentLeaderEpoch: -1, timestamp }]
    const topics = [{ name: 'orders', partitions }]
    const answer = await client.ask(LIST_OFFSETS, 5, {
      ...{ replicaId: -1, isolationLevel: 0, topics, timeoutMs: 0 },
    })
    return answer.topics[0]?.partitions[0]
  }
  expect(await at(-2)).toMatchObject({ errorCode: 0, offset: 0 })
  expect(await at(-1)).toMatchObject({ errorCode: 0, offset: 3, leaderEpoch: 1 })
  expect(await at(1_500)).toMatchObject({ offset: 1, timestamp: 2_000 })
  expect(await at(9_000)).toMatchObject({ offset: -1, timestamp: -1 })
})

describe('rights', () => {
  test('decide what may be written, read and seen', async () => {
    bench.access = new Access('u', { clientId: 'c', address: '127.0.0.1' }, () => [
      { action: 'publish', pattern: 'orders', allow: true },
    ])
    bench.topic('secret')
    client = await bench.connect()
    expect(await produce(batchOf(['a=1']))).toMatchObject({ errorCode: 0 })
    expect(await fetch()).toMatchObject({ errorCode: ERROR.TOPIC_AUTHORIZATION_FAILED })
    const asked = {
      ...{ topics: null, allowAutoTopicCreation: false },
      ...{ includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false },
    }
    const { topics } = await client.ask(METADATA, 5, asked)
    expect(topics.map(({ name }) => name)).toEqual(['orders'])
  })
})
