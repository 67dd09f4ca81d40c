/**
 * Four hours of steady load in virtual time: two brokers' cores whose shards move, with durable sessions, sessions that
 * come and go, retained messages, a topic with retention and queues that come and go. What is kept after the fourth
 * hour is what was kept after the first.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { createMemoryStorage, type NewRecord } from '@robust/storage-adapters'
import { expect, test } from 'vitest'
import type { AttachedSession } from './core/attached-session.ts'
import { DEFAULT_LOG_POLICY } from './core/logs/log-policy.ts'
import type { QueueReply, ReceiveOptions } from './core/queues/queue-requests.ts'
import {
  CoreCluster,
  type CoreNode,
  messageTo,
  TestClient,
  wanting,
} from './testing/core-cluster.ts'

const SHARDS = 8
const HOUR_MS = 3_600_000
const HOURS = 4
const STEP_MS = 3_000
const STEPS = HOUR_MS / STEP_MS
/** Every so many steps a shard moves to the other broker. */
const MOVE_STEPS = 50
const SECONDS_AWAY = 60
const RETENTION_MS = 600_000
/** What a heap may have grown: compiled code, and what the collector leaves. */
const HEAP_FLOOR_BYTES = 2 * 1024 * 1024

const RECEIVE: { readonly kind: 'receive' } & ReceiveOptions = {
  ...{ kind: 'receive', max: 10, waitMs: 0, leaseMs: undefined, attempt: undefined },
  ...{ wholeGroups: false, selector: undefined },
}

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** What a deployment of this size has after a while, and no more than that. */
interface Kept {
  readonly heapBytes: number
  readonly storedBytes: number
  readonly sessions: number
  readonly shardsMoved: number
}

class Load {
  readonly cluster = new CoreCluster(createMemoryStorage(), SHARDS)
  sent = 0
  received = 0
  settled = 0
  inbox = 0
  #at = 0
  #moved = 0
  #queue = ''

  async start(): Promise<void> {
    const { cluster } = this
    for (const name of ['a', 'b']) cluster.join(name)
    cluster.topics.set({
      ...{ tenant: 'default', name: 'log', id: '7', address: 'log', partitions: 2, capture: [] },
      policy: { ...DEFAULT_LOG_POLICY, retentionMs: RETENTION_MS, segmentMs: RETENTION_MS / 10 },
    })
    await cluster.ownAll((shard) => (shard % 2 === 0 ? 'a' : 'b'))
    for (const name of ['one', 'two']) await this.#durable(name)
  }

  /** A step of the load, and the time that it stands for. */
  async step(): Promise<void> {
    const at = this.#at++
    const node = this.#node(at % 2 === 0 ? 'a' : 'b')
    for (let message = 0; message < 4; message++) this.#publish(node, 'live/x', 1)
    this.#publish(node, 'log', 1)
    const retained = messageTo(`retained/${at % 50}`, String(at), { retain: true })
    node.messaging.publish(retained, { settle: () => undefined })
    await this.#comeAndGo(node, at)
    if (at % 100 === 0) await this.#anotherQueue(node, at)
    await this.#work(node, at)
    if (at % MOVE_STEPS === 0) await this.#move(at)
    await this.cluster.clock.advance(STEP_MS)
  }

  async kept(): Promise<Kept> {
    const { cluster } = this
    collect()
    const stats = await Promise.all(
      Array.from({ length: SHARDS }, (_, shard) => cluster.storage.stats(shard)),
    )
    const hosted = [...cluster.nodes.values()].flatMap(({ hosted: shards }) => [...shards.all()])
    return {
      heapBytes: process.memoryUsage().heapUsed,
      storedBytes: stats.reduce((sum, { bytes }) => sum + bytes, 0),
      sessions: hosted.reduce((sum, { sessions }) => sum + sessions.size, 0),
      shardsMoved: this.#moved,
    }
  }

  #node(name: string): CoreNode {
    const node = this.cluster.nodes.get(name)
    if (node === undefined) throw new Error(name)
    return node
  }

  #publish(node: CoreNode, address: string, guarantee: 0 | 1): void {
    this.sent++
    const settle = (): void => void this.settled++
    const message = messageTo(address, 'x'.repeat(200), {
      guarantee,
      timestampMs: this.cluster.clock.wallMs(),
    })
    if (node.messaging.publish(message, { settle })) this.settled++
  }

  async #durable(session: string): Promise<void> {
    const { client, attached } = await this.#attach(this.#node('a'), session, HOUR_MS)
    client.push = (deliveries) => {
      this.inbox += deliveries.length
      for (const { offset } of deliveries) attached.acknowledge(offset)
    }
    await attached.subscribe([wanting('live/#')])
    attached.start()
  }

  async #attach(node: CoreNode, session: string, expirySeconds: number) {
    const client = new TestClient()
    const attached: AttachedSession = await node.messaging.attach(
      { session, cleanStart: false, expirySeconds, window: 100, will: undefined },
      client,
    )
    return { client, attached }
  }

  /** A session that is there for a step, and expires a minute after it has gone. */
  async #comeAndGo(node: CoreNode, at: number): Promise<void> {
    const { attached } = await this.#attach(node, `guest-${at}`, SECONDS_AWAY)
    attached.start()
    await attached.subscribe([wanting(`retained/${at % 50}`)])
    await attached.detach({ publishWill: false, expirySeconds: undefined })
  }

  async #anotherQueue(node: CoreNode, at: number): Promise<void> {
    const { client } = node.queues
    if (this.#queue !== '') await this.#during(client.delete(this.#queue))
    this.#queue = `jobs-${at}`
    await this.#during(client.create(this.#queue, {}))
  }

  async #work({ queues: { client } }: CoreNode, at: number): Promise<void> {
    const record: NewRecord = {
      ...{ timestamp: this.cluster.clock.wallMs(), key: null, headers: [] },
      value: Buffer.from(String(at)),
    }
    await this.#during(client.ask(this.#queue, { kind: 'send', records: [record] }))
    const reply: QueueReply = await this.#during(client.ask(this.#queue, RECEIVE))
    if (reply.kind !== 'received') throw new Error(reply.kind)
    this.received += reply.messages.length
    const settlements = reply.messages.map(({ receipt }) => ({
      ...{ receipt, action: { kind: 'acknowledge' } as const },
    }))
    await this.#during(client.ask(this.#queue, { kind: 'settle', settlements }))
  }

  async #move(at: number): Promise<void> {
    const shard = (at / MOVE_STEPS) % SHARDS
    const to = this.cluster.ownerOf(shard)?.node === 'a' ? 'b' : 'a'
    await this.#during(this.cluster.handOver(shard, to))
    this.#moved++
  }

  /** Time goes on while something waits for it. */
  async #during<T>(work: Promise<T>): Promise<T> {
    let isOver = false
    const settled = work.finally(() => {
      isOver = true
    })
    settled.catch(() => undefined)
    for (let turn = 0; turn < 100 && !isOver; turn++) await this.cluster.clock.advance(10)
    return settled
  }
}

test('four virtual hours of mixed load leave what one hour leaves', async () => {
  const load = new Load()
  await load.start()
  const hours: Kept[] = []
  for (let hour = 0; hour < HOURS; hour++) {
    for (let step = 0; step < STEPS; step++) await load.step()
    hours.push(await load.kept())
  }
  const [first, last] = [hours[0] as Kept, hours.at(-1) as Kept]
  process.stdout.write(`[soak] ${JSON.stringify(hours)}\n`)
  // It was a load: everything was taken, and has come.
  expect(load.settled).toBe(load.sent)
  expect(load.received).toBe(HOURS * STEPS)
  expect(load.inbox).toBe(2 * 4 * HOURS * STEPS)
  expect(last.shardsMoved).toBe((HOURS * STEPS) / MOVE_STEPS)
  for (const { errors } of load.cluster.nodes.values()) expect(errors).toEqual([])
  expect(last.sessions).toBeLessThanOrEqual(first.sessions + 1)
  expect(last.storedBytes).toBeLessThan(first.storedBytes * 1.1)
  expect(last.heapBytes).toBeLessThan(first.heapBytes + HEAP_FLOOR_BYTES)
}, 110_000)
