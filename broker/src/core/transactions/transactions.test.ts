/** Transactions over several brokers' cores, whose owners go at any moment. */
import { createMemoryStorage } from '@robust/storage-adapters'
import { beforeEach, describe, expect, test } from 'vitest'
import { CoreCluster, type CoreNode } from '../../testing/core-cluster.ts'
import { batchOf } from '../../testing/log-fixtures.ts'
import { settle } from '../../testing/virtual-clock.ts'
import { DEFAULT_LOG_POLICY } from '../logs/log-policy.ts'
import { shardOf } from '../shard-hash.ts'
import { CommittedOffsets } from '../topics/committed-offsets.ts'
import { partitionOf, type Topic } from '../topics/topic.ts'
import { TopicLogs } from '../topics/topic-logs.ts'
import type { ProducerIdentity } from './transaction.ts'

const SHARDS = 16
const ID = 'shop'
const GROUP = 'billing'
const topic: Topic = {
  ...{ tenant: 'default', name: 'orders', id: '7', address: 'orders', partitions: 4, capture: [] },
  policy: DEFAULT_LOG_POLICY,
}

let cluster: CoreCluster

/** The coordinator is a's, everything else is b's. */
beforeEach(async () => {
  cluster = new CoreCluster(createMemoryStorage(), SHARDS)
  for (const name of ['a', 'b', 'c']) cluster.join(name)
  cluster.topics.set(topic)
  await cluster.ownAll((shard) => (shard === shardOfId() ? 'a' : 'b'))
})

function shardOfId(): number {
  return shardOf('transaction', ID, SHARDS)
}

function node(name: string): CoreNode {
  const found = cluster.nodes.get(name)
  if (found === undefined) throw new Error(`no node ${name}`)
  return found
}

function ownerOf(shard: number): CoreNode {
  return node(cluster.ownerOf(shard)?.node ?? '')
}

function coordinator() {
  const found = ownerOf(shardOfId()).transactions.client.at(ID)
  if (found === undefined) throw new Error('nobody coordinates')
  return found
}

/** Time goes on: an owner before may have to find out that it is one no more. */
async function during<T>(work: Promise<T>): Promise<T> {
  let isOver = false
  const settled = work.finally(() => {
    isOver = true
  })
  settled.catch(() => undefined)
  for (let step = 0; step < 200 && !isOver; step++) await cluster.clock.advance(100)
  return settled
}

async function init(): Promise<ProducerIdentity> {
  const outcome = await during(coordinator().init(ID, { timeoutMs: 60_000, expected: undefined }))
  if ('fault' in outcome) throw new Error(outcome.fault)
  return outcome
}

const shardOfPartition = (partition: number) => partitionOf(topic, partition, SHARDS).shard

async function served(partition: number) {
  const { hosted } = ownerOf(shardOfPartition(partition))
  const logs = new TopicLogs({
    ...{ topics: cluster.topics, hosted, clock: cluster.clock, isMember: () => true },
    ...{ definitions: {} as never, pressure: { isFull: false, delayMs: 0 } as never },
    directory: { shardCount: SHARDS, self: 'b', owner: () => undefined } as never,
  })
  const found = await logs.serve(topic, partition)
  if (found === undefined) throw new Error('nobody serves')
  return found
}

interface Write {
  readonly partition?: number
  readonly sequence?: number
  readonly adds?: boolean
}

/** A batch of one record, as a producer of version 2 sends it unless it does not `add`. */
async function write(
  producer: ProducerIdentity,
  value: string,
  { partition = 0, sequence = 0, adds = true }: Write = {},
) {
  const log = await served(partition)
  const { client } = ownerOf(shardOfPartition(partition)).transactions
  const batch = batchOf([`k=${value}`], {
    ...{ producerId: producer.producerId, producerEpoch: producer.epoch },
    ...{ baseSequence: sequence, transactional: true },
  })
  return during(
    log.append(batch, (of) =>
      client.join(ID, { ...of, partitions: [client.placeOf(topic, partition)], groups: [], adds }),
    ),
  )
}

function end(producer: ProducerIdentity, commit: boolean, bumps = false) {
  return during(coordinator().end(ID, { ...producer, commit, bumps }))
}

async function stableTo(partition = 0): Promise<number> {
  const { stableOffset } = await served(partition)
  return stableOffset
}

describe('a transaction', () => {
  test('is seen by readers of what is committed when it is over, in every partition', async () => {
    const producer = await init()
    for (const partition of [0, 1, 2]) {
      expect(await write(producer, 'v', { partition })).toMatchObject({ baseOffset: 0 })
      expect(await stableTo(partition)).toBe(0)
    }
    expect(await end(producer, true)).toEqual(producer)
    for (const partition of [0, 1, 2]) {
      // The record and its marker.
      expect(await stableTo(partition)).toBe(2)
      expect((await served(partition)).abortedWithin(0, 9)).toEqual([])
    }
    // The next one, of the same producer and epoch.
    expect(await write(producer, 'w', { sequence: 1 })).toMatchObject({ baseOffset: 2 })
    expect(await stableTo()).toBe(2)
    expect(await end(producer, false)).toEqual(producer)
    const { producerId } = producer
    expect((await served(0)).abortedWithin(0, 9)).toEqual([
      { producerId, firstOffset: 2, lastOffset: 3 },
    ])
    expect(await stableTo()).toBe(4)
  })

  test('takes no batch that its coordinator knows nothing of (KIP-890)', async () => {
    const producer = await init()
    expect(await write(producer, 'v', { adds: false })).toEqual({ refusedBy: 'not-in-it' })
    await write(producer, 'v')
    await end(producer, true)
    expect(await write(producer, 'late', { sequence: 1, adds: false })).toEqual({
      refusedBy: 'not-in-it',
    })
    expect(await stableTo()).toBe(2)
    expect(await write({ ...producer, epoch: 5 }, 'v')).toEqual({ refusedBy: 'fenced' })
    expect(await write({ ...producer, producerId: 5 }, 'v')).toEqual({
      refusedBy: 'unknown-producer',
    })
  })

  test('takes no batch that was asked about before it ended', async () => {
    const producer = await init()
    const log = await served(0)
    let tell: (outcome: { sequence: number }) => void = () => undefined
    const verified = new Promise<{ sequence: number }>((resolve) => {
      tell = resolve
    })
    const batch = batchOf(['k=late'], {
      ...{ producerId: producer.producerId, producerEpoch: producer.epoch },
      ...{ baseSequence: 0, transactional: true },
    })
    const appended = log.append(batch, () => verified)
    const marker = { ...producer, commit: true, coordinatorEpoch: 1, sequence: 1 }
    expect(await during(log.mark(marker))).toBe(true)
    tell({ sequence: 1 })
    expect(await during(appended)).toEqual({ refusedBy: 'busy' })
    expect(await stableTo()).toBe(1)
  })

  test('of version 2 has an epoch of its own: what comes late is fenced', async () => {
    const first = await init()
    await write(first, 'v')
    const second = await end(first, true, true)
    expect(second).toEqual({ ...first, epoch: first.epoch + 1 })
    // The answer was lost.
    expect(await end(first, true, true)).toEqual(second)
    expect(await write(first, 'late', { sequence: 1 })).toEqual({ refusedBy: 'fenced' })
    if ('fault' in second) throw new Error(second.fault)
    expect(await write(second, 'w')).toMatchObject({ baseOffset: 2 })
    expect(await end(first, true, true)).toEqual({ fault: 'fenced' })
    expect(await stableTo()).toBe(2)
  })

  test('that takes too long is aborted, and its producer fenced', async () => {
    const producer = await init()
    await write(producer, 'v')
    await cluster.clock.advance(59_000)
    expect(await stableTo()).toBe(0)
    await cluster.clock.advance(3_000)
    expect(await stableTo()).toBe(2)
    expect((await served(0)).abortedWithin(0, 9)).toHaveLength(1)
    expect(await end(producer, true)).toEqual({ fault: 'fenced' })
  })

  test('of a producer before is aborted when the next one asks for its id', async () => {
    const before = await init()
    await write(before, 'v')
    const after = await init()
    expect(after).toEqual({ ...before, epoch: before.epoch + 2 })
    expect((await served(0)).abortedWithin(0, 9)).toHaveLength(1)
    expect(await end(before, true)).toEqual({ fault: 'fenced' })
  })

  test('a marker that comes again late does nothing to the next transaction', async () => {
    const producer = await init()
    await write(producer, 'v')
    await end(producer, true)
    await write(producer, 'w', { sequence: 1 })
    const shard = shardOfPartition(0)
    const late = {
      ...{ ...producer, commit: true, sequence: 1, coordinatorEpoch: 1 },
      ...{ logs: [partitionOf(topic, 0, SHARDS).log], groups: [] },
    }
    // Also when another owner has read the log anew.
    await during(cluster.own(shard, 'c'))
    await during(
      ownerOf(shard).hosted.get(shard)?.transactions.participant.end(late) ?? Promise.reject(),
    )
    expect(await stableTo()).toBe(2)
    await end(producer, false)
    expect((await served(0)).abortedWithin(0, 9)).toMatchObject([{ firstOffset: 2 }])
  })
})

describe('owners that go', () => {
  test('a decision that is durable is carried out by the next coordinator', async () => {
    const producer = await init()
    for (const partition of [0, 1]) await write(producer, 'v', { partition })
    // The decision is stored, and nobody can be told.
    await cluster.cut('a', 'b')
    const ending = coordinator().end(ID, { ...producer, commit: true, bumps: false })
    await settle()
    expect(coordinator().get(ID)?.state).toBe('committing')
    await cluster.kill('a')
    void ending.catch(() => undefined)
    expect(await stableTo()).toBe(0)
    await during(cluster.own(shardOfId(), 'c'))
    await cluster.clock.advance(1_000)
    for (const partition of [0, 1]) {
      expect(await stableTo(partition)).toBe(2)
      expect((await served(partition)).abortedWithin(0, 9)).toEqual([])
    }
    expect(coordinator().get(ID)?.state).toBe('committed')
    expect(await end(producer, true)).toEqual(producer)
  })

  test('one that was told in part only is told to the rest, once each', async () => {
    const producer = await init()
    for (const partition of [0, 1]) await write(producer, 'v', { partition })
    await cluster.disown(shardOfPartition(1))
    const silent = node('b').hosted.get(shardOfPartition(1))
    node('b').hosted.remove(shardOfPartition(1))
    silent?.writer.abandon()
    const answered = await end(producer, true)
    // Decided, though not everybody knows.
    expect(answered).toEqual(producer)
    expect(await stableTo(0)).toBe(2)
    await cluster.kill('a')
    await during(cluster.own(shardOfPartition(1), 'c'))
    await during(cluster.own(shardOfId(), 'c'))
    await cluster.clock.advance(8_000)
    expect(await stableTo(1)).toBe(2)
    // Partition 0 was told again, and has one marker.
    expect((await served(0)).endOffset).toBe(2)
  })

  test('a transaction goes on where its partition and its coordinator go', async () => {
    const producer = await init()
    await write(producer, 'v')
    await during(cluster.own(shardOfPartition(0), 'c'))
    expect(await stableTo()).toBe(0)
    await cluster.kill('a')
    await during(cluster.own(shardOfId(), 'b'))
    expect(await write(producer, 'w', { sequence: 1, adds: false })).toMatchObject({
      baseOffset: 1,
    })
    expect(await end(producer, true)).toEqual(producer)
    expect(await stableTo()).toBe(3)
  })

  test('a coordinator that was replaced decides nothing any more', async () => {
    const producer = await init()
    await write(producer, 'v')
    const zombie = coordinator()
    await during(cluster.own(shardOfId(), 'c'))
    expect(await during(zombie.end(ID, { ...producer, commit: true, bumps: false }))).toEqual({
      fault: 'lost',
    })
    await cluster.clock.advance(5_000)
    expect(await stableTo()).toBe(0)
    expect(await end(producer, false)).toEqual(producer)
    expect((await served(0)).abortedWithin(0, 9)).toHaveLength(1)
  })

  test('a partition of a topic that was deleted holds nothing up', async () => {
    const producer = await init()
    await write(producer, 'v')
    cluster.topics.remove('default', 'orders')
    cluster.topics.markDeleted(topic.id, true)
    expect(await end(producer, true)).toEqual(producer)
    expect(coordinator().get(ID)?.state).toBe('committed')
  })
})

describe('offsets of a group', () => {
  const shardOfGroup = () => shardOf('consumer-offsets', GROUP, SHARDS)

  function home() {
    const { hosted } = ownerOf(shardOfGroup())
    const storage = { scan: () => [] } as never
    const directory = { shardCount: SHARDS } as never
    const found = new CommittedOffsets({ ...{ hosted, storage, directory }, isMember: () => true })
    const of = found.home(GROUP)
    if (of === undefined) throw new Error('nobody has the group')
    return of
  }

  const offset = {
    topicId: '7',
    partition: 0,
    offset: 5,
    leaderEpoch: -1,
    metadata: '',
    committedAtMs: 0,
  }

  async function commitWith(producer: ProducerIdentity, at: number): Promise<boolean> {
    const { client } = node('b').transactions
    const join = { ...producer, partitions: [], groups: [GROUP], adds: true }
    const outcome = await during(client.join(ID, join))
    if ('fault' in outcome) throw new Error(outcome.fault)
    const { producerId } = producer
    const transaction = { producerId, sequence: outcome.sequence }
    return during(home().commitWith(transaction, [{ ...offset, offset: at }]))
  }

  async function kept(): Promise<number[]> {
    const keys = await cluster.storage.scan({
      ...{ shard: shardOfGroup(), from: 'consumer-offsets\0', to: 'consumer-offsets\u0001' },
      limit: 10,
    })
    return keys.map(({ value }) => JSON.parse(Buffer.from(value).toString()).offset)
  }

  test('count when their transaction is committed, and are pending until then', async () => {
    const producer = await init()
    expect(await commitWith(producer, 5)).toBe(true)
    expect(await home().pending()).toMatchObject([{ offset: 5 }])
    expect(await kept()).toEqual([])
    const { revision } = home()
    await end(producer, true)
    expect(await kept()).toEqual([5])
    expect(await home().pending()).toEqual([])
    expect(home().revision).toBe(revision + 1)
    await commitWith(producer, 9)
    await end(producer, false)
    expect(await kept()).toEqual([5])
    expect(await home().pending()).toEqual([])
  })

  test('are made to count by the owner after, and by no decision that comes late', async () => {
    const producer = await init()
    await commitWith(producer, 5)
    await during(cluster.own(shardOfGroup(), 'c'))
    await end(producer, true)
    expect(await kept()).toEqual([5])
    await commitWith(producer, 9)
    const late = { ...producer, commit: true, sequence: 1, coordinatorEpoch: 1 }
    const target = ownerOf(shardOfGroup()).hosted.get(shardOfGroup())
    await during(
      target?.transactions.participant.end({ ...late, logs: [], groups: [GROUP] }) ??
        Promise.reject(),
    )
    expect(await kept()).toEqual([5])
    await end(producer, true)
    expect(await kept()).toEqual([9])
  })
})
