// The newest versions of Produce, Fetch, ListOffsets, Metadata and OffsetForLeaderEpoch, over real logs in virtual time.

import { checkBatch, crc32c, decodeRecordBatch, setAppendTime } from '@robust/storage-adapters'
import { beforeEach, describe, expect, test } from 'vitest'
import { KafkaBench, type KafkaClient } from '../../testing/kafka-fixtures.ts'
import { batchOf, gzipped } from '../../testing/log-fixtures.ts'
import { settle } from '../../testing/virtual-clock.ts'
import {
  FETCH,
  LIST_OFFSETS,
  METADATA,
  OFFSET_FOR_LEADER_EPOCH,
  PRODUCE,
} from './codec/log-apis.ts'
import { ERROR } from './errors.ts'

let bench: KafkaBench
let client: KafkaClient
let ordersId: string

beforeEach(async () => {
  bench = await new KafkaBench().start()
  bench.topic('orders', 3)
  client = await bench.connect()
  const { topics } = await metadata({ topics: [{ name: 'orders', topicId: NO_ID }] })
  ordersId = topics[0]?.topicId ?? ''
})

const NO_ID = '0'.repeat(32)
const UNKNOWN_ID = 'f'.repeat(32)

function metadata(more: object = {}) {
  return client.ask(METADATA, 13, {
    ...{ topics: null, allowAutoTopicCreation: false, includeTopicAuthorizedOperations: false },
    ...{ includeClusterAuthorizedOperations: false, ...more },
  })
}

async function produce(index: number, value: string, topicId = ordersId) {
  const records = Buffer.from(batchOf([`k=${value}`]))
  const { topics, nodeEndpoints } = await client.ask(PRODUCE, 13, {
    ...{ transactionalId: null, acks: -1, timeoutMs: 1_000 },
    topics: [{ name: '', topicId, partitions: [{ index, records }] }],
  })
  expect(topics[0]?.topicId).toBe(topicId)
  return { ...topics[0]?.partitions[0], nodeEndpoints }
}

interface Want {
  readonly sessionId?: number
  readonly sessionEpoch?: number
  readonly minBytes?: number
  readonly maxWaitMs?: number
  readonly maxBytes?: number
  /** Offsets by partition. */
  readonly offsets?: Readonly<Record<number, number>>
  readonly more?: object
  readonly topicId?: string
  readonly forgotten?: readonly number[]
}

function fetching({ offsets = {}, topicId = ordersId, forgotten = [], more, ...rest }: Want) {
  const asked = { currentLeaderEpoch: -1, lastFetchedEpoch: -1, logStartOffset: -1 }
  const partitions = Object.entries(offsets).map(([index, fetchOffset]) => ({
    ...{ ...asked, index: Number(index), fetchOffset, maxBytes: 1_000_000, ...more },
  }))
  return {
    ...{ replicaId: -1, maxWaitMs: 0, minBytes: 1, maxBytes: 1_000_000, isolationLevel: 0 },
    ...{ sessionId: 0, sessionEpoch: -1, rackId: '', ...rest },
    topics: partitions.length === 0 ? [] : [{ name: '', topicId, partitions }],
    forgottenTopics: forgotten.length === 0 ? [] : [{ name: '', topicId, partitions: forgotten }],
  }
}

async function fetch(want: Want, version = 17) {
  const answer = await client.ask(FETCH, version, fetching(want))
  const partitions = answer.topics.flatMap(({ partitions: each }) => each)
  return { ...answer, partitions, indexes: partitions.map(({ index }) => index) }
}

describe('topics named by their ids', () => {
  test('are written to and read', async () => {
    expect(await produce(1, 'a')).toMatchObject({ errorCode: 0, baseOffset: 0 })
    const { partitions, topics } = await fetch({ offsets: { 1: 0 } })
    expect(topics[0]?.topicId).toBe(ordersId)
    expect(partitions).toMatchObject([{ errorCode: 0, highWatermark: 1 }])
  })

  test.each([null, ''])('are found with %j as their name', async (name) => {
    const both = [ordersId, UNKNOWN_ID].map((topicId) => ({ name, topicId }))
    expect((await metadata({ topics: both })).topics).toMatchObject([
      { errorCode: 0, name: 'orders', topicId: ordersId },
      { errorCode: ERROR.UNKNOWN_TOPIC_ID, topicId: UNKNOWN_ID },
    ])
  })

  test('are unknown when there is none of that id', async () => {
    expect(await produce(1, 'a', UNKNOWN_ID)).toMatchObject({ errorCode: ERROR.UNKNOWN_TOPIC_ID })
    const { partitions } = await fetch({ offsets: { 1: 0 }, topicId: UNKNOWN_ID })
    expect(partitions).toMatchObject([{ errorCode: ERROR.UNKNOWN_TOPIC_ID }])
    // A topic made anew is another one.
    bench.topics.remove('default', 'orders')
    bench.topic('orders', 3)
    expect(await produce(1, 'a')).toMatchObject({ errorCode: ERROR.UNKNOWN_TOPIC_ID })
  })

  test('lead to their owner (KIP-951)', async () => {
    bench.owner = 'b2'
    const two = { nodeId: 2, host: 'two', port: 9_192, rack: null }
    expect(await produce(1, 'a')).toMatchObject({
      ...{ errorCode: ERROR.NOT_LEADER_OR_FOLLOWER, currentLeader: { leaderId: 2 } },
      nodeEndpoints: [two],
    })
    const { partitions, nodeEndpoints } = await fetch({ offsets: { 1: 0 } })
    expect(partitions).toMatchObject([
      { errorCode: ERROR.NOT_LEADER_OR_FOLLOWER, currentLeader: { leaderId: 2 } },
    ])
    expect(nodeEndpoints).toEqual([two])
    expect((await fetch({ offsets: { 1: 0 } }, 15)).nodeEndpoints).toBeUndefined()
  })
})

describe('a fetch session (KIP-227)', () => {
  async function begin() {
    const { sessionId, indexes } = await fetch({ sessionEpoch: 0, offsets: { 0: 0, 1: 0, 2: 0 } })
    expect(indexes).toEqual([0, 1, 2])
    expect(sessionId).toBeGreaterThan(0)
    return sessionId
  }

  test('says only what is new', async () => {
    const sessionId = await begin()
    const next = (sessionEpoch: number, more: Want = {}) =>
      fetch({ sessionId, sessionEpoch, ...more })
    expect((await next(1)).topics).toEqual([])
    await produce(1, 'a')
    const read = await next(2)
    expect(read).toMatchObject({ sessionId, indexes: [1] })
    // Asked again from the same offset it is read again, from the next one there is nothing.
    expect((await next(3)).indexes).toEqual([1])
    expect((await next(4, { offsets: { 1: 1 } })).indexes).toEqual([])
    await produce(0, 'b')
    expect((await next(5, { forgotten: [0] })).indexes).toEqual([])
    expect((await next(6, { offsets: { 0: 0 } })).indexes).toEqual([0])
  })

  test('waits for news of any of its partitions', async () => {
    const sessionId = await begin()
    client.send(FETCH, 17, fetching({ sessionId, sessionEpoch: 1, maxWaitMs: 5_000 }))
    await settle()
    const before = client.answers.length
    const other = client
    client = await bench.connect()
    await produce(2, 'a')
    expect(other.answers).toHaveLength(before + 1)
    expect(other.read(FETCH, 17, before).topics[0]?.partitions).toMatchObject([{ index: 2 }])
  })

  test('gives everybody a turn: what was read last is read last the next time', async () => {
    const sessionId = await begin()
    for (const index of [0, 1, 2]) await produce(index, 'x'.repeat(100))
    // Room for the first batch only.
    const next = async (sessionEpoch: number) => {
      const { partitions } = await fetch({ sessionId, sessionEpoch, maxBytes: 1 })
      return partitions.filter(({ records }) => records?.length).map(({ index }) => index)
    }
    expect([await next(1), await next(2), await next(3)]).toEqual([[0], [1], [2]])
  })

  test('begins anew when the client has missed something, or the broker has forgotten it', async () => {
    const sessionId = await begin()
    const at = (more: Want) => fetch({ sessionId, ...more })
    expect(await at({ sessionEpoch: 2 })).toMatchObject({
      errorCode: ERROR.INVALID_FETCH_SESSION_EPOCH,
    })
    expect(await fetch({ sessionId: 99, sessionEpoch: 1 })).toMatchObject({
      errorCode: ERROR.FETCH_SESSION_ID_NOT_FOUND,
    })
    const byName = await client.ask(FETCH, 12, fetching({ sessionId, sessionEpoch: 1 }))
    expect(byName.errorCode).toBe(ERROR.FETCH_SESSION_TOPIC_ID_ERROR)
    // Closed by its client.
    expect(await at({ sessionEpoch: -1, offsets: { 0: 0 } })).toMatchObject({ sessionId: 0 })
    expect(await at({ sessionEpoch: 1 })).toMatchObject({
      errorCode: ERROR.FETCH_SESSION_ID_NOT_FOUND,
    })
  })

  test('learns where a partition has gone', async () => {
    const sessionId = await begin()
    bench.owner = 'b2'
    const { partitions } = await fetch({ sessionId, sessionEpoch: 1 })
    expect(partitions).toMatchObject(
      [0, 1, 2].map((index) => ({ index, errorCode: ERROR.NOT_LEADER_OR_FOLLOWER })),
    )
    bench.owner = 'b1'
    expect((await fetch({ sessionId, sessionEpoch: 2 })).partitions).toMatchObject(
      [0, 1, 2].map((index) => ({ index, errorCode: 0 })),
    )
  })
})

describe('leader epochs', () => {
  async function endOf(leaderEpoch: number, currentLeaderEpoch = -1) {
    const partitions = [{ index: 0, currentLeaderEpoch, leaderEpoch }]
    const topics = [{ name: 'orders', partitions }]
    const answer = await client.ask(OFFSET_FOR_LEADER_EPOCH, 4, { replicaId: -1, topics })
    return answer.topics[0]?.partitions[0]
  }

  test('each owner has its own: where it ended is told by the owners after', async () => {
    await produce(0, 'a')
    await produce(0, 'b')
    await bench.own()
    await bench.own()
    await produce(0, 'c')
    expect(await endOf(1)).toMatchObject({ errorCode: 0, leaderEpoch: 1, endOffset: 2 })
    expect(await endOf(2)).toMatchObject({ errorCode: 0, leaderEpoch: 1, endOffset: 2 })
    expect(await endOf(3)).toMatchObject({ errorCode: 0, leaderEpoch: 3, endOffset: 3 })
    await bench.own()
    expect(await endOf(3)).toMatchObject({ leaderEpoch: 3, endOffset: 3 })
    expect(await endOf(4)).toMatchObject({ leaderEpoch: 4, endOffset: 3 })
    expect(await endOf(5)).toMatchObject({ errorCode: 0, leaderEpoch: -1, endOffset: -1 })
    expect(await endOf(1, 3)).toMatchObject({ errorCode: ERROR.FENCED_LEADER_EPOCH })
    expect(await endOf(1, 5)).toMatchObject({ errorCode: ERROR.UNKNOWN_LEADER_EPOCH })
  })

  test('a reader that is ahead of what is there is told where to go back to', async () => {
    await produce(0, 'a')
    await bench.own()
    await produce(0, 'b')
    const at = async (fetchOffset: number, lastFetchedEpoch: number) => {
      const { partitions } = await fetch({
        offsets: { 0: fetchOffset },
        more: { lastFetchedEpoch },
      })
      return partitions[0]
    }
    expect(await at(1, 1)).toMatchObject({ errorCode: 0, divergingEpoch: undefined })
    expect(await at(2, 1)).toMatchObject({ divergingEpoch: { epoch: 1, endOffset: 1 } })
    expect(await at(2, 9)).toMatchObject({ errorCode: ERROR.OFFSET_OUT_OF_RANGE })
  })
})

describe('ListOffsets', () => {
  async function at(timestamp: number, version = 11) {
    const partitions = [{ index: 0, currentLeaderEpoch: -1, timestamp }]
    const topics = [{ name: 'orders', partitions }]
    const answer = await client.ask(LIST_OFFSETS, version, {
      ...{ replicaId: -1, isolationLevel: 0, topics, timeoutMs: 1_000 },
    })
    return answer.topics[0]?.partitions[0]
  }

  async function produceAt(...timestamps: number[]): Promise<void> {
    const log = await bench.logs.log(bench.logOf('orders', 0))
    await bench.logs.append(
      log,
      ...timestamps.map((timestamp) => batchOf(['k=v', 'k=w'], { timestamp })),
    )
  }

  test('finds the newest record, wherever it is', async () => {
    expect(await at(-3)).toMatchObject({ errorCode: 0, offset: -1 })
    await produceAt(1_000, 7_000, 3_000, 7_000)
    expect(await at(-3)).toMatchObject({ errorCode: 0, offset: 2, timestamp: 7_000 })
    expect(await at(-3, 6)).toMatchObject({ errorCode: ERROR.UNSUPPORTED_VERSION })
  })

  test('says that all is local and nothing tiered', async () => {
    await produceAt(1_000)
    expect(await at(-4)).toMatchObject({ errorCode: 0, offset: 0, leaderEpoch: 1 })
    expect(await at(-5)).toMatchObject({ errorCode: 0, offset: -1 })
    expect(await at(-6)).toMatchObject({ errorCode: 0, offset: -1 })
    expect(await at(-7)).toMatchObject({ errorCode: ERROR.UNSUPPORTED_VERSION })
    expect(await at(-6, 10)).toMatchObject({ errorCode: ERROR.UNSUPPORTED_VERSION })
  })

  test('tells the epoch in which a record was appended', async () => {
    await produceAt(1_000)
    await bench.own()
    await produceAt(2_000)
    expect(await at(1_000)).toMatchObject({ offset: 0, leaderEpoch: 1 })
    expect(await at(2_000)).toMatchObject({ offset: 2, leaderEpoch: 2 })
    expect(await at(-1)).toMatchObject({ offset: 4, leaderEpoch: 2 })
  })
})

describe('LogAppendTime', () => {
  test('records have the time of their append, in the log and in the answer', async () => {
    bench.logs.policy = { ...bench.logs.policy, appendTime: true }
    await bench.logs.clock.advance(5_000)
    const nowMs = bench.logs.clock.wallMs()
    expect(await produce(0, 'a')).toMatchObject({ logAppendTimeMs: nowMs })
    const { partitions } = await fetch({ offsets: { 0: 0 } })
    const batch = partitions[0]?.records ?? Buffer.alloc(0)
    checkBatch(batch)
    expect(decodeRecordBatch(batch)).toMatchObject([{ timestamp: nowMs }])
    bench.logs.policy = { ...bench.logs.policy, appendTime: false }
    expect(await produce(0, 'a')).toMatchObject({ logAppendTimeMs: -1 })
  })

  test('is not for producers to say', async () => {
    const batch = batchOf(['k=v'])
    setAppendTime(batch, 1)
    const { topics } = await client.ask(PRODUCE, 13, {
      ...{ transactionalId: null, acks: -1, timeoutMs: 1_000 },
      topics: [
        {
          ...{ name: '', topicId: ordersId },
          partitions: [{ index: 0, records: Buffer.from(batch) }],
        },
      ],
    })
    expect(topics[0]?.partitions).toMatchObject([{ errorCode: ERROR.INVALID_TIMESTAMP }])
  })
})

describe('a compacted topic', () => {
  async function send(batch: Uint8Array) {
    const { topics } = await client.ask(PRODUCE, 9, {
      ...{ transactionalId: null, acks: -1, timeoutMs: 1_000 },
      topics: [
        {
          ...{ name: 'newest', topicId: '' },
          partitions: [{ index: 0, records: Buffer.from(batch) }],
        },
      ],
    })
    return topics[0]?.partitions[0]
  }

  beforeEach(() => bench.topic('newest', 1, { compact: true }))

  test.each([
    ['as it is', (batch: Uint8Array) => batch],
    ['compressed', gzipped],
  ])('takes no record without a key, %s', async (_, pack) => {
    expect(await send(pack(batchOf(['a=1', '=2', 'c=3', '=4'])))).toMatchObject({
      ...{ errorCode: ERROR.INVALID_RECORD, baseOffset: -1 },
      recordErrors: [{ batchIndex: 1 }, { batchIndex: 3 }],
    })
    expect(await send(pack(batchOf(['a=1', 'b=2'])))).toMatchObject({
      ...{ errorCode: 0, baseOffset: 0, recordErrors: [] },
    })
  })

  test('takes nothing that cannot be looked into', async () => {
    const damaged = gzipped(batchOf(['a=1']))
    damaged.fill(0, 61)
    damaged.writeUInt32BE(crc32c(damaged, 0, { from: 21 }), 17)
    expect(await send(damaged)).toMatchObject({ errorCode: ERROR.CORRUPT_MESSAGE })
    const many = gzipped(batchOf(Array.from({ length: 200_001 }, () => 'a=1')))
    expect(await send(many)).toMatchObject({ errorCode: ERROR.MESSAGE_TOO_LARGE })
  })
})
