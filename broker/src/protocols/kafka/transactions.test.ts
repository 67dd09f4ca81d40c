// Transactions as a client asks for them, version by version, over real logs in virtual time.

import { beforeEach, describe, expect, test } from 'vitest'
import { KafkaBench, type KafkaClient } from '../../testing/kafka-fixtures.ts'
import { batchOf } from '../../testing/log-fixtures.ts'
import { settle } from '../../testing/virtual-clock.ts'
import type { RequestOf, ResponseOf } from './codec/api.ts'
import { FIND_COORDINATOR, OFFSET_FETCH } from './codec/group-apis.ts'
import { API_VERSIONS, FETCH, LIST_OFFSETS, PRODUCE } from './codec/log-apis.ts'
import {
  ADD_OFFSETS_TO_TXN,
  ADD_PARTITIONS_TO_TXN,
  DESCRIBE_PRODUCERS,
  DESCRIBE_TRANSACTIONS,
  END_TXN,
  INIT_PRODUCER_ID,
  LIST_TRANSACTIONS,
  TXN_OFFSET_COMMIT,
  WRITE_TXN_MARKERS,
} from './codec/transaction-apis.ts'
import { ERROR } from './errors.ts'

const ID = 'shop'

interface Producer {
  readonly producerId: number
  readonly producerEpoch: number
}

let bench: KafkaBench
let client: KafkaClient

beforeEach(async () => {
  bench = await new KafkaBench().start()
  bench.topic('orders', 2)
  client = await bench.connect()
})

async function init(version = 4, more: Partial<RequestOf<typeof INIT_PRODUCER_ID>> = {}) {
  const { errorCode, producerId, producerEpoch } = await client.ask(INIT_PRODUCER_ID, version, {
    ...{ transactionalId: ID, transactionTimeoutMs: 60_000, producerId: -1, producerEpoch: -1 },
    ...more,
  })
  return { errorCode, producerId, producerEpoch }
}

async function produce(producer: Producer, value: string, more: object = {}): Promise<number> {
  const { version, sequence, transactionalId, index, isTransactional } = {
    ...{ version: 9, sequence: 0, transactionalId: ID, index: 0, isTransactional: true },
    ...more,
  }
  const { producerId, producerEpoch } = producer
  const records = batchOf([`k=${value}`], {
    ...{ producerId, producerEpoch, baseSequence: sequence, transactional: isTransactional },
  })
  const { topics } = await client.ask(PRODUCE, version, {
    ...{ transactionalId, acks: -1, timeoutMs: 1_000 },
    topics: [
      {
        ...{ name: 'orders', topicId: '' },
        partitions: [{ index, records: Buffer.from(records) }],
      },
    ],
  })
  return topics[0]?.partitions[0]?.errorCode ?? -99
}

async function add({ producerId, producerEpoch }: Producer, partitions = [0], version = 3) {
  const asked = { transactionalId: ID, producerId, producerEpoch }
  const topics = [{ name: 'orders', partitions }]
  const answer = await client.ask(ADD_PARTITIONS_TO_TXN, version, { ...asked, topics })
  return answer.topics[0]?.partitions.map(({ errorCode }) => errorCode)
}

async function end(
  { producerId, producerEpoch }: Producer,
  committed: boolean,
  version = 3,
): Promise<ResponseOf<typeof END_TXN>> {
  const asked = { transactionalId: ID, producerId, producerEpoch, committed }
  return client.ask(END_TXN, version, asked)
}

async function fetch(isolationLevel: number) {
  const asked = { index: 0, currentLeaderEpoch: -1, fetchOffset: 0, lastFetchedEpoch: -1 }
  const { topics } = await client.ask(FETCH, 11, {
    ...{ replicaId: -1, maxWaitMs: 0, minBytes: 1, maxBytes: 1_000_000, isolationLevel },
    ...{ sessionId: 0, sessionEpoch: -1, forgottenTopics: [], rackId: '' },
    topics: [
      {
        ...{ name: 'orders', topicId: '' },
        partitions: [{ ...asked, logStartOffset: 0, maxBytes: 1_000_000 }],
      },
    ],
  })
  return topics[0]?.partitions[0]
}

describe('transactions of version 1', () => {
  test('partitions are added, written to, and ended', async () => {
    const producer = await init()
    expect(producer).toMatchObject({ errorCode: 0, producerEpoch: 0 })
    // Not added yet.
    expect(await produce(producer, 'early')).toBe(ERROR.INVALID_TXN_STATE)
    expect(await add(producer)).toEqual([0])
    expect(await produce(producer, 'a')).toBe(0)
    expect(await fetch(1)).toMatchObject({ highWatermark: 1, lastStableOffset: 0, records: EMPTY })
    const plain = await init(4, { transactionalId: null })
    const alone = { transactionalId: null, isTransactional: false }
    expect(await produce(plain, 'plain', alone)).toBe(0)
    expect(await end(producer, false)).toMatchObject({ errorCode: 0 })
    const read = await fetch(1)
    expect(read).toMatchObject({ highWatermark: 3, lastStableOffset: 3 })
    expect(read?.abortedTransactions).toEqual([{ producerId: producer.producerId, firstOffset: 0 }])
    expect((await fetch(0))?.abortedTransactions).toEqual([])
  })

  const EMPTY = Buffer.alloc(0)

  test('all partitions are added, or none', async () => {
    const producer = await init()
    expect(await add(producer, [0, 9])).toEqual([
      ERROR.OPERATION_NOT_ATTEMPTED,
      ERROR.UNKNOWN_TOPIC_OR_PARTITION,
    ])
    expect(await produce(producer, 'a')).toBe(ERROR.INVALID_TXN_STATE)
  })

  test.each([
    [1, ERROR.INVALID_PRODUCER_EPOCH],
    [2, ERROR.PRODUCER_FENCED],
  ])('who is fenced is told so in the words of version %i', async (version, errorCode) => {
    const before = await init()
    await add(before)
    await produce(before, 'a')
    const after = await init()
    expect(after.producerEpoch).toBe(before.producerEpoch + 2)
    expect(await add(before, [0], version)).toEqual([errorCode])
    expect(await end(before, true, version)).toMatchObject({ errorCode })
    expect(await produce(before, 'b', { sequence: 1 })).toBe(ERROR.INVALID_PRODUCER_EPOCH)
    const stale = await init(3, { ...before })
    expect(stale.errorCode).toBe(ERROR.INVALID_PRODUCER_EPOCH)
    expect((await init(4, { ...before })).errorCode).toBe(ERROR.PRODUCER_FENCED)
    const other = { ...after, producerId: 5 }
    expect(await add(other)).toEqual([ERROR.INVALID_PRODUCER_ID_MAPPING])
    expect(await end(after, true)).toMatchObject({ errorCode: ERROR.INVALID_TXN_STATE })
  })

  test('a producer goes on with the next epoch when it says who it was (KIP-360)', async () => {
    const before = await init()
    const after = await init(4, { ...before })
    expect(after).toMatchObject({ producerId: before.producerId, producerEpoch: 1 })
    expect(await init(4, { ...before })).toEqual(after)
  })

  test('a record outside a transaction that is open is refused', async () => {
    const producer = await init()
    await add(producer)
    await produce(producer, 'a')
    const alone = { transactionalId: null, isTransactional: false, sequence: 1 }
    expect(await produce(producer, 'b', alone)).toBe(ERROR.INVALID_TXN_STATE)
  })

  test.each([0, -5, 900_001])('a time-out of %i ms is refused', async (transactionTimeoutMs) => {
    const { errorCode } = await init(4, { transactionTimeoutMs })
    expect(errorCode).toBe(ERROR.INVALID_TRANSACTION_TIMEOUT)
  })

  test('offsets: pending for who wants stable ones, then committed', async () => {
    const producer = await init()
    const { producerId, producerEpoch } = producer
    const who = { transactionalId: ID, producerId, producerEpoch, groupId: 'g' }
    const partition = { index: 0, offset: 4, leaderEpoch: -1, metadata: null }
    const commit = (version: number, more: object = {}) =>
      client.ask(TXN_OFFSET_COMMIT, version, {
        ...{ ...who, generationId: -1, memberId: '', groupInstanceId: null, ...more },
        topics: [{ name: 'orders', partitions: [partition] }],
      })
    const errorOf = (answer: ResponseOf<typeof TXN_OFFSET_COMMIT>) =>
      answer.topics[0]?.partitions[0]?.errorCode
    expect(errorOf(await commit(3))).toBe(ERROR.INVALID_TXN_STATE)
    expect(errorOf(await commit(4))).toBe(ERROR.TRANSACTION_ABORTABLE)
    expect(await client.ask(ADD_OFFSETS_TO_TXN, 3, who)).toMatchObject({ errorCode: 0 })
    const stranger = { memberId: 'm', generationId: 1 }
    expect(errorOf(await commit(3, stranger))).toBe(ERROR.UNKNOWN_MEMBER_ID)
    expect(errorOf(await commit(3))).toBe(0)
    const committed = async (requireStable: boolean) => {
      const topics = [{ name: 'orders', partitions: [0] }]
      const answer = await client.ask(OFFSET_FETCH, 7, {
        ...{ groupId: 'g', topics, requireStable, groups: [] },
      })
      return answer.topics[0]?.partitions[0]
    }
    expect(await committed(true)).toMatchObject({ errorCode: ERROR.UNSTABLE_OFFSET_COMMIT })
    expect(await committed(false)).toMatchObject({ errorCode: 0, offset: -1 })
    await end(producer, true)
    expect(await committed(true)).toMatchObject({ errorCode: 0, offset: 4 })
  })
})

describe('transactions of version 2 (KIP-890)', () => {
  test('are offered', async () => {
    const asked = { clientSoftwareName: 'test', clientSoftwareVersion: '1' }
    const { finalizedFeatures, apiKeys } = await client.ask(API_VERSIONS, 3, asked)
    expect(finalizedFeatures).toContainEqual({
      ...{ name: 'transaction.version', maxVersionLevel: 2, minVersionLevel: 2 },
    })
    const last = (key: number) => apiKeys.find(({ apiKey }) => apiKey === key)?.maxVersion ?? 0
    expect(last(PRODUCE.key)).toBeGreaterThanOrEqual(12)
    expect(last(END_TXN.key)).toBeGreaterThanOrEqual(5)
    expect(last(TXN_OFFSET_COMMIT.key)).toBeGreaterThanOrEqual(5)
  })

  test('partitions need not be added, and each end gives the next epoch', async () => {
    let producer: Producer = await init(5)
    for (const epoch of [1, 2, 3]) {
      expect(await produce(producer, 'a', { version: 12 })).toBe(0)
      const ended = await end(producer, true, 5)
      expect(ended).toMatchObject({ errorCode: 0, producerEpoch: epoch })
      expect(await produce(producer, 'late', { version: 12, sequence: 1 })).toBe(
        ERROR.INVALID_PRODUCER_EPOCH,
      )
      producer = ended
    }
    expect(await fetch(1)).toMatchObject({ lastStableOffset: 6, abortedTransactions: [] })
  })

  test('version 11 of Produce is told to abort what was not added', async () => {
    const producer = await init(5)
    expect(await produce(producer, 'a', { version: 11 })).toBe(ERROR.TRANSACTION_ABORTABLE)
  })
})

describe('what operators see', () => {
  test('FindCoordinator finds it, other brokers know it is elsewhere', async () => {
    const key = { key: ID, keyType: 1, keys: [] }
    expect(await client.ask(FIND_COORDINATOR, 2, key)).toMatchObject({ errorCode: 0, port: 9_092 })
    bench.owner = 'b2'
    expect(await client.ask(FIND_COORDINATOR, 2, key)).toMatchObject({ errorCode: 0, port: 9_192 })
    expect((await init()).errorCode).toBe(ERROR.NOT_COORDINATOR)
    const asked = { transactionalIds: [ID] }
    const { transactionStates } = await client.ask(DESCRIBE_TRANSACTIONS, 0, asked)
    expect(transactionStates).toMatchObject([{ errorCode: ERROR.NOT_COORDINATOR }])
  })

  test('transactions and their producers are listed, described, and ended where they hang', async () => {
    const producer = await init()
    await add(producer, [0, 1])
    await produce(producer, 'a')
    const { producerId, producerEpoch } = producer
    const asked = { transactionalIds: [ID, 'other'] }
    const { transactionStates } = await client.ask(DESCRIBE_TRANSACTIONS, 0, asked)
    expect(transactionStates).toMatchObject([
      {
        ...{ errorCode: 0, transactionState: 'Ongoing', transactionTimeoutMs: 60_000 },
        ...{ producerId, producerEpoch, topics: [{ name: 'orders', partitions: [0, 1] }] },
      },
      { errorCode: ERROR.TRANSACTIONAL_ID_NOT_FOUND },
    ])
    const list = async (more: object) => {
      const filters = { stateFilters: [], producerIdFilters: [], durationFilterMs: -1 }
      return client.ask(LIST_TRANSACTIONS, 2, { ...filters, transactionalIdPattern: null, ...more })
    }
    const ids = async (more: object) =>
      (await list(more)).transactionStates.map(({ transactionalId }) => transactionalId)
    expect(await ids({})).toEqual([ID])
    expect(await ids({ stateFilters: ['Ongoing'] })).toEqual([ID])
    expect(await ids({ stateFilters: ['Empty'] })).toEqual([])
    expect(await ids({ producerIdFilters: [producerId] })).toEqual([ID])
    expect(await ids({ producerIdFilters: [1] })).toEqual([])
    expect(await ids({ durationFilterMs: 5_000 })).toEqual([])
    expect(await ids({ transactionalIdPattern: `${ID.slice(0, 2)}.*` })).toEqual([ID])
    expect(await ids({ transactionalIdPattern: ID.slice(0, 2) })).toEqual([])
    const bad = await list({ transactionalIdPattern: '(' })
    expect(bad.errorCode).toBe(ERROR.INVALID_REGULAR_EXPRESSION)
    expect((await list({ stateFilters: ['Lost'] })).unknownStateFilters).toEqual(['Lost'])
    await bench.logs.clock.advance(6_000)
    expect(await ids({ durationFilterMs: 5_000 })).toEqual([ID])

    const topics = [{ name: 'orders', partitions: [0] }]
    const described = await client.ask(DESCRIBE_PRODUCERS, 0, { topics })
    expect(described.topics[0]?.partitions[0]).toMatchObject({
      errorCode: 0,
      activeProducers: [{ producerId, producerEpoch, lastSequence: 0, currentTxnStartOffset: 0 }],
    })
    const marker = { producerId, producerEpoch, committed: false, topics }
    const marked = await client.ask(WRITE_TXN_MARKERS, 1, {
      markers: [{ ...marker, coordinatorEpoch: 0, transactionVersion: 0 }],
    })
    expect(marked.markers).toEqual([
      { producerId, topics: [{ name: 'orders', partitions: [{ index: 0, errorCode: 0 }] }] },
    ])
    expect(await fetch(1)).toMatchObject({ lastStableOffset: 2 })
    const old = await client.ask(WRITE_TXN_MARKERS, 1, {
      markers: [{ ...marker, producerEpoch: -1, coordinatorEpoch: 0, transactionVersion: 0 }],
    })
    expect(old.markers[0]?.topics[0]?.partitions).toEqual([
      { index: 0, errorCode: ERROR.INVALID_PRODUCER_EPOCH },
    ])
  })

  test('the end of what is committed is what readers of it are told', async () => {
    const producer = await init()
    await add(producer)
    await produce(producer, 'a')
    const latest = async (isolationLevel: number) => {
      const partitions = [{ index: 0, currentLeaderEpoch: -1, timestamp: -1 }]
      const topics = [{ name: 'orders', partitions }]
      const answer = await client.ask(LIST_OFFSETS, 4, {
        ...{ replicaId: -1, isolationLevel, topics, timeoutMs: 0 },
      })
      return answer.topics[0]?.partitions[0]?.offset
    }
    expect([await latest(0), await latest(1)]).toEqual([1, 0])
    await end(producer, true)
    await settle()
    expect([await latest(0), await latest(1)]).toEqual([2, 2])
  })
})

test('a transaction goes on when its shard goes to another owner', async () => {
  const producer = await init()
  await add(producer)
  await produce(producer, 'a')
  await bench.own()
  expect(await produce(producer, 'b', { sequence: 1 })).toBe(0)
  expect(await end(producer, true)).toMatchObject({ errorCode: 0 })
  expect(await fetch(1)).toMatchObject({ lastStableOffset: 3, abortedTransactions: [] })
})
