/** What is appended in whole batches, and who else gets it, over several brokers' cores whose owners go. */
import { createMemoryStorage } from '@robust/storage-adapters'
import { beforeEach, describe, expect, test } from 'vitest'
import { CoreCluster, messageTo, TestClient, wanting } from '../../testing/core-cluster.ts'
import { batchOf, gzipped, markerOf } from '../../testing/log-fixtures.ts'
import { DEFAULT_LOG_POLICY } from '../logs/log-policy.ts'
import { partitionOf, type Topic } from './topic.ts'
import { TopicLogs } from './topic-logs.ts'

const SHARDS = 4
const topic: Topic = {
  ...{ tenant: 'default', name: 'orders', id: '7', address: 'orders', partitions: 1, capture: [] },
  policy: DEFAULT_LOG_POLICY,
}
const { shard: SHARD, log: LOG } = partitionOf(topic, 0, SHARDS)

let cluster: CoreCluster

/** Sessions are at a, the topic's log is b's. */
beforeEach(async () => {
  cluster = new CoreCluster(createMemoryStorage(), SHARDS)
  for (const name of ['a', 'b', 'c']) cluster.join(name)
  cluster.topics.set(topic)
  await cluster.ownAll((shard) => (shard === SHARD ? 'b' : 'a'))
})

async function during<T>(work: Promise<T>): Promise<T> {
  let isOver = false
  const settled = work.finally(() => {
    isOver = true
  })
  settled.catch(() => undefined)
  for (let step = 0; step < 200 && !isOver; step++) await cluster.clock.advance(100)
  return settled
}

function hostedLog() {
  const hosted = cluster.nodes.get(cluster.ownerOf(SHARD)?.node ?? '')?.hosted
  if (hosted === undefined) throw new Error('nobody owns the log')
  return hosted
}

async function append(...batches: Uint8Array[]): Promise<void> {
  const logs = new TopicLogs({
    ...{ topics: cluster.topics, hosted: hostedLog(), clock: cluster.clock, isMember: () => true },
    ...{ definitions: {} as never, pressure: { isFull: false, delayMs: 0 } as never },
    directory: { shardCount: SHARDS, self: 'b', owner: () => undefined } as never,
  })
  const served = await logs.serve(topic, 0)
  const joined = () => Promise.resolve({ sequence: 1 })
  for (const batch of batches) {
    expect(await during(served?.append(batch, joined) ?? Promise.reject())).toHaveProperty(
      'baseOffset',
    )
  }
  await cluster.clock.advance(100)
}

/** The record is `=value`; sequences are the producer's. */
function inTransaction(producerId: number, value: string): Uint8Array {
  const producer = { producerId, producerEpoch: 0, baseSequence: 0 }
  return batchOf([`=${value}`], { ...producer, transactional: true })
}

async function mark(outcome: 'abort' | 'commit', producerId: number): Promise<void> {
  const log = await hostedLog().get(SHARD)?.logs.open(LOG)
  log?.appendBatch(markerOf(outcome, producerId), () => undefined)
  await cluster.clock.advance(100)
}

async function subscriber(more: { readonly isDurable?: boolean } = {}) {
  const client = new TestClient()
  client.acknowledge = () => undefined
  const core = cluster.nodes.get('a')
  if (core === undefined) throw new Error('a')
  const attaching = core.messaging.attach(
    {
      ...{ session: 's', cleanStart: false, window: 100, will: undefined },
      expirySeconds: more.isDurable === true ? 600 : 0,
    },
    client,
  )
  const session = await during(attaching)
  session.start()
  await during(session.subscribe([wanting('orders')]))
  return { client, session }
}

async function relayKeys(): Promise<string[]> {
  const keys = await cluster.storage.scan({
    ...{ shard: SHARD, from: 'relay\0', to: 'relay\u0001', limit: 10 },
  })
  return keys.map(({ key }) => key)
}

describe('a relay', () => {
  test('tells who subscribes what is appended from then on, compressed or not', async () => {
    await append(batchOf(['=before']))
    const { client } = await subscriber()
    await append(batchOf(['=1', '=2']), gzipped(batchOf(['=3'])))
    expect(client.live).toEqual(['1', '2', '3'])
  })

  test('is not there while nobody wants the address, and goes when nobody does any more', async () => {
    await append(batchOf(['=before']))
    expect(await relayKeys()).toEqual([])
    const { session } = await subscriber()
    await append(batchOf(['=1']))
    expect(await relayKeys()).toEqual([`relay\0${LOG}`])
    await during(session.unsubscribe(['orders']))
    await append(batchOf(['=2']))
    expect(await relayKeys()).toEqual([])
    const { client } = await subscriber()
    await append(batchOf(['=3']))
    expect(client.live).toEqual(['3'])
  })

  test('tells of a transaction when it is committed, in the order of the log, and of no aborted one', async () => {
    const { client } = await subscriber()
    await append(inTransaction(1, 'committed'), inTransaction(2, 'aborted'), batchOf(['=plain']))
    expect(client.live).toEqual([])
    await mark('abort', 2)
    expect(client.live).toEqual([])
    await mark('commit', 1)
    expect(client.live).toEqual(['committed', 'plain'])
  })

  test('leaves what came by its address, which was told when it came', async () => {
    const { client } = await subscriber()
    await append(batchOf(['=1']))
    const { messaging } = cluster.nodes.get('a') ?? {}
    await during(messaging?.publishAndWait(messageTo('orders', 'by address')) ?? Promise.reject())
    await append(batchOf(['=2']))
    expect(client.live).toEqual(['1', 'by address', '2'])
  })

  test('goes on at the next owner: a durable subscriber misses nothing', async () => {
    const { client, session } = await subscriber({ isDurable: true })
    await append(batchOf(['=1']))
    expect(client.inbox).toEqual(['1'])
    // What the first owner could not tell any more.
    await cluster.cut('a', 'b')
    await append(batchOf(['=2']), batchOf(['=3']))
    expect(client.inbox).toEqual(['1'])
    await cluster.kill('b')
    await during(cluster.own(SHARD, 'c'))
    await cluster.clock.advance(1_000)
    await append(batchOf(['=4']))
    // At least once.
    expect([...new Set(client.inbox)]).toEqual(['1', '2', '3', '4'])
    await during(session.detach({ publishWill: false, expirySeconds: 0 }))
  })
})
