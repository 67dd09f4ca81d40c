import { createMemoryStorage } from '@robust/storage-adapters'
import { beforeEach, describe, expect, test } from 'vitest'
import {
  CoreCluster,
  type CoreNode,
  messageTo,
  TestClient,
  wanting,
} from '../testing/core-cluster.ts'
import { settle } from '../testing/virtual-clock.ts'

const FOREVER = 0xffff_ffff

let cluster: CoreCluster
let a: CoreNode
let b: CoreNode

beforeEach(async () => {
  cluster = new CoreCluster(createMemoryStorage(), 4)
  a = cluster.join('a')
  b = cluster.join('b')
  await cluster.ownAll((shard) => (shard % 2 === 0 ? 'a' : 'b'))
})

async function connect(node: CoreNode, session: string, more: object = {}) {
  const client = new TestClient()
  const attached = await node.messaging.attach(
    { session, cleanStart: false, expirySeconds: FOREVER, window: 100, will: undefined, ...more },
    client,
  )
  client.acknowledge = (offset) => attached.acknowledge(offset)
  attached.start()
  return { client, attached }
}

/** A session name whose shard the node owns. */
function nameOwnedBy(node: string, prefix = 's'): string {
  for (let i = 0; ; i++) {
    const name = `${prefix}${i}`
    if (cluster.ownerOf(cluster.shardOfSession(name))?.node === node) return name
  }
}

function publish(node: CoreNode, address: string, text: string, more: object = {}) {
  const state = { settled: false }
  const receipt = {
    settle: () => {
      state.settled = true
    },
  }
  if (node.messaging.publish(messageTo(address, text, more), receipt)) state.settled = true
  return state
}

describe('Messaging', () => {
  test('publish reaches a live subscriber of another broker', async () => {
    const { client, attached } = await connect(b, 'live', { expirySeconds: 0 })
    await attached.subscribe([wanting('x/#')])
    const state = publish(a, 'x/1', 'hello')
    await settle()
    expect(client.live).toEqual(['hello'])
    expect(state.settled).toBe(true)
  })

  test('publish is acknowledged only when durable, and reaches an offline session later', async () => {
    const { attached } = await connect(a, nameOwnedBy('b'))
    await attached.subscribe([wanting('x')])
    await attached.detach({ publishWill: false, expirySeconds: undefined })
    const state = publish(a, 'x', 'kept')
    expect(state.settled).toBe(false)
    await settle()
    expect(state.settled).toBe(true)
    const again = await connect(b, attached.name)
    await settle()
    expect(again.attached.present).toBe(true)
    expect(again.client.inbox).toEqual(['kept'])
  })

  test('attach takes the session over from another broker', async () => {
    const first = await connect(a, 'same')
    const second = await connect(b, 'same')
    expect(first.client.evictions).toBe(1)
    expect(second.attached.present).toBe(true)
    await expect(first.attached.subscribe([wanting('x')])).rejects.toMatchObject({
      code: 'TAKEN_OVER',
    })
  })

  test('of many connections that begin at once exactly one has the session', async () => {
    const name = nameOwnedBy('b')
    const attempts = Array.from({ length: 9 }, (_, i) => connect(i % 2 === 0 ? a : b, name))
    const settled = await Promise.allSettled(attempts)
    await cluster.clock.advance(1_000)
    const connected = settled.flatMap((attempt) =>
      attempt.status === 'fulfilled' && attempt.value.client.evictions === 0 ? [attempt.value] : [],
    )
    expect(connected).toHaveLength(1)
    await connected[0]?.attached.subscribe([wanting('x')])
    publish(a, 'x', 'here')
    await settle()
    expect(connected[0]?.client.inbox).toEqual(['here'])
  })

  test('a shard without an owner holds messages and loses none', async () => {
    const name = nameOwnedBy('b')
    const { attached, client } = await connect(a, name)
    await attached.subscribe([wanting('x')])
    const shard = cluster.shardOfSession(name)
    await cluster.kill('b')
    const states = ['1', '2', '3'].map((text) => publish(a, 'x', text))
    await cluster.clock.advance(500)
    expect(states.map(({ settled }) => settled)).toEqual([false, false, false])
    await cluster.own(shard, 'a')
    await cluster.clock.advance(500)
    expect(states.every(({ settled }) => settled)).toBe(true)
    expect(client.inbox).toEqual(['1', '2', '3'])
  })

  test('a message for a session that never matches is not held by a shard without an owner', async () => {
    const { attached } = await connect(a, nameOwnedBy('b'))
    await attached.subscribe([wanting('other')])
    await cluster.kill('b')
    expect(publish(a, 'x', '1').settled).toBe(true)
  })

  test('the owner paused and replaced cannot write any more, and nothing acknowledged is lost', async () => {
    const name = nameOwnedBy('b')
    const { attached, client } = await connect(a, name)
    await attached.subscribe([wanting('x')])
    const shard = cluster.shardOfSession(name)
    const before = publish(a, 'x', 'before')
    await settle()
    expect(before.settled).toBe(true)
    await cluster.own(shard, 'a')
    // The old owner still believes: its commit is fenced, and the message goes to the new one.
    const late = publish(b, 'x', 'late')
    await cluster.clock.advance(1_000)
    expect(late.settled).toBe(true)
    expect(client.inbox).toEqual(['before', 'late'])
    expect(new Set(client.offsets).size).toBe(2)
  })

  test('a broken stream sends again what had no answer', async () => {
    const { attached, client } = await connect(b, 'live', { expirySeconds: 0 })
    await attached.subscribe([wanting('x')])
    await cluster.cut('a', 'b')
    const state = publish(a, 'x', 'held')
    await settle()
    expect([state.settled, client.live]).toEqual([false, []])
    await cluster.cut('a', 'b', false)
    await settle()
    expect([state.settled, client.live]).toEqual([true, ['held']])
  })

  test('unacknowledged messages come again on the next connection, flagged and in order', async () => {
    const name = nameOwnedBy('a')
    const first = await connect(b, name)
    first.client.acknowledge = undefined
    await first.attached.subscribe([wanting('x')])
    for (const text of ['1', '2', '3']) publish(a, 'x', text)
    await settle()
    expect(first.client.inbox).toEqual(['1', '2', '3'])
    first.attached.acknowledge(1)
    await settle()
    const second = await connect(a, name)
    await settle()
    expect(second.client.inbox).toEqual(['1', '3'])
  })

  test('the window bounds what is under way', async () => {
    const { attached, client } = await connect(a, nameOwnedBy('b'), { window: 2 })
    client.acknowledge = undefined
    await attached.subscribe([wanting('x')])
    for (let i = 0; i < 5; i++) publish(a, 'x', String(i))
    await settle()
    expect(client.inbox).toEqual(['0', '1'])
    attached.acknowledge(0)
    await settle()
    expect(client.inbox).toEqual(['0', '1', '2'])
  })

  test('a will is published when the broker of its client dies', async () => {
    const watcher = await connect(a, 'watcher', { expirySeconds: 0 })
    await watcher.attached.subscribe([wanting('wills')])
    const will = { message: messageTo('wills', 'gone'), delaySeconds: 0 }
    await connect(b, nameOwnedBy('a', 'w'), { expirySeconds: 0, will })
    await cluster.kill('b')
    await settle()
    expect(watcher.client.live).toEqual(['gone'])
  })

  test('a will survives the death of both its broker and its owner', async () => {
    const watcher = await connect(a, 'watcher', { expirySeconds: 0 })
    await watcher.attached.subscribe([wanting('wills')])
    const name = nameOwnedBy('b', 'w')
    const will = { message: messageTo('wills', 'gone'), delaySeconds: 0 }
    await connect(b, name, { expirySeconds: 0, will })
    await cluster.kill('b')
    expect(watcher.client.live).toEqual([])
    for (let shard = 0; shard < cluster.shardCount; shard++) await cluster.own(shard, 'a')
    await cluster.clock.advance(100)
    expect(watcher.client.live).toEqual(['gone'])
  })

  test('a delayed will is not published when the client is back in time', async () => {
    const watcher = await connect(a, 'watcher', { expirySeconds: 0 })
    await watcher.attached.subscribe([wanting('wills')])
    const will = { message: messageTo('wills', 'gone'), delaySeconds: 5 }
    const first = await connect(a, 'w', { will })
    await first.attached.detach({ publishWill: true, expirySeconds: undefined })
    await cluster.clock.advance(4_000)
    await connect(b, 'w')
    await cluster.clock.advance(60_000)
    expect(watcher.client.live).toEqual([])
  })

  test('a session that is resumed for this connection only gets what waits for it', async () => {
    const name = nameOwnedBy('b')
    const { attached } = await connect(a, name)
    await attached.subscribe([wanting('x')])
    await attached.detach({ publishWill: false, expirySeconds: undefined })
    publish(a, 'x', 'waiting')
    await settle()
    const resumed = await connect(a, name, { expirySeconds: 0 })
    await settle()
    expect(resumed.client.inbox).toEqual(['waiting'])
    resumed.client.acknowledge = undefined
    publish(b, 'x', 'more')
    await settle()
    await cluster.own(cluster.shardOfSession(name), 'a')
    await cluster.clock.advance(500)
    expect(resumed.client.inbox).toEqual(['waiting', 'more'])
    await resumed.attached.detach({ publishWill: false, expirySeconds: undefined })
    expect((await connect(b, name)).attached.present).toBe(false)
  })

  test('a session expires, and its subscriptions with it', async () => {
    const { attached } = await connect(a, 'short', { expirySeconds: 10 })
    await attached.subscribe([wanting('x')])
    await attached.detach({ publishWill: false, expirySeconds: undefined })
    await cluster.clock.advance(9_000)
    expect(b.router.route('x').shards).toHaveLength(1)
    await cluster.clock.advance(2_000)
    expect(b.router.route('x').shards).toEqual([])
    expect((await connect(a, 'short')).attached.present).toBe(false)
  })

  test('a session that has ended takes no subscription any more', async () => {
    const { attached } = await connect(a, 'ended', { expirySeconds: 0 })
    await attached.detach({ publishWill: false, expirySeconds: undefined })
    await expect(attached.subscribe([wanting('late')])).rejects.toThrow('has ended')
    expect(a.router.liveFilters()).not.toContain('late')
  })

  test('a name is held by one session, and goes over only when it is not used any more', async () => {
    const { attached } = await connect(a, 'holder', { expirySeconds: 10 })
    expect(await a.messaging.claim('only', 'holder', 'only')).toBe(true)
    await attached.subscribe([wanting('only')])
    expect(await b.messaging.claim('only', 'other', 'only')).toBe(false)
    expect(await b.messaging.claim('only', 'holder', 'only')).toBe(true)
    await attached.unsubscribe(['only'])
    expect(await b.messaging.claim('only', 'other', 'only')).toBe(true)
    await a.messaging.unclaim('only', 'holder')
    expect(await a.messaging.claim('only', 'holder', 'only')).toBe(true)
  })

  test('retained messages are found from every broker, replaced, and forgotten', async () => {
    for (const address of ['r/1', 'r/2', 'r/3']) publish(a, address, address, { retain: true })
    await settle()
    publish(b, 'r/2', 'newer', { retain: true })
    publish(b, 'r/3', '', { retain: true })
    await settle()
    const found = await b.messaging.retained('r/+')
    expect(found.map(({ payload }) => Buffer.from(payload).toString()).sort()).toEqual([
      'newer',
      'r/1',
    ])
    expect(await a.messaging.retained('r/3')).toEqual([])
  })

  test('more retained messages than fit in one answer are found, each once', async () => {
    const large = 'x'.repeat(200_000)
    const addresses = Array.from({ length: 60 }, (_, i) => `big/${i}`)
    for (const address of addresses) publish(a, address, large, { retain: true })
    await settle()
    const found = await b.messaging.retained('big/+')
    expect(found.map(({ address }) => address).sort()).toEqual(addresses.sort())
  })

  test('a durable session whose shard moves keeps its connection and gets nothing twice', async () => {
    const name = nameOwnedBy('b')
    const { attached, client } = await connect(a, name)
    await attached.subscribe([wanting('x')])
    for (let i = 0; i < 3; i++) publish(a, 'x', `before${i}`)
    await settle()
    await cluster.own(cluster.shardOfSession(name), 'a')
    await cluster.clock.advance(500)
    publish(b, 'x', 'after')
    await cluster.clock.advance(500)
    expect(client.inbox).toEqual(['before0', 'before1', 'before2', 'after'])
    expect(client.evictions).toBe(0)
  })

  test('what the owner pushed into a broken stream comes again', async () => {
    const { attached, client } = await connect(a, nameOwnedBy('b'))
    await attached.subscribe([wanting('x')])
    await cluster.cut('a', 'b')
    publish(b, 'x', 'into the void')
    await settle()
    expect(client.inbox).toEqual([])
    await cluster.cut('a', 'b', false)
    await settle()
    expect(client.inbox).toEqual(['into the void'])
  })

  test('an exactly-once message that is sent again reaches an inbox once', async () => {
    const { attached, client } = await connect(a, nameOwnedBy('b'))
    await attached.subscribe([wanting('x', { guarantee: 2 })])
    for (let i = 0; i < 2; i++) publish(a, 'x', 'once', { guarantee: 2, token: 't-1' })
    await settle()
    expect(client.inbox).toEqual(['once'])
  })

  test('an exactly-once message that is sent again to a new owner reaches an inbox once', async () => {
    const name = nameOwnedBy('b')
    const { attached, client } = await connect(a, name)
    await attached.subscribe([wanting('x', { guarantee: 2 })])
    publish(a, 'x', 'acknowledged', { guarantee: 2, token: 't-1' })
    await cluster.clock.advance(1_000)
    client.acknowledge = undefined
    publish(a, 'x', 'waiting', { guarantee: 2, token: 't-2' })
    await cluster.clock.advance(1_000)
    await cluster.own(cluster.shardOfSession(name), 'a')
    publish(b, 'x', 'acknowledged', { guarantee: 2, token: 't-1' })
    publish(b, 'x', 'waiting', { guarantee: 2, token: 't-2' })
    publish(b, 'x', 'new', { guarantee: 2, token: 't-3' })
    await cluster.clock.advance(1_000)
    expect(client.inbox).toEqual(['acknowledged', 'waiting', 'new'])
  })

  test('a broker that may have been removed delivers, but acknowledges nothing, until it is renewed', async () => {
    const { client, attached } = await connect(a, 'live', { expirySeconds: 0 })
    await attached.subscribe([wanting('x')])
    const sleeper = await connect(a, nameOwnedBy('b'))
    await sleeper.attached.subscribe([wanting('y')])
    cluster.stale.add('a')
    const states = [publish(a, 'x', '1'), publish(a, 'y', '2'), publish(a, 'x', '3')]
    await cluster.clock.advance(1_000)
    expect(client.live).toEqual(['1', '3'])
    expect(states.map(({ settled }) => settled)).toEqual([false, false, false])
    cluster.stale.delete('a')
    a.messaging.renewed()
    expect(states.map(({ settled }) => settled)).toEqual([true, true, true])
  })

  test('what was withheld under a lost registration is never acknowledged', async () => {
    cluster.stale.add('a')
    const state = publish(a, 'x', '1')
    a.messaging.restarted(Promise.resolve())
    cluster.stale.delete('a')
    a.messaging.renewed()
    expect(state.settled).toBe(false)
  })

  test('an expired message is not delivered', async () => {
    const name = nameOwnedBy('a')
    const { attached } = await connect(a, name)
    await attached.subscribe([wanting('x')])
    await attached.detach({ publishWill: false, expirySeconds: undefined })
    publish(a, 'x', 'old', { expiresAtMs: cluster.clock.wallMs() + 1_000 })
    publish(a, 'x', 'new')
    await cluster.clock.advance(2_000)
    const { client } = await connect(b, name)
    await settle()
    expect(client.inbox).toEqual(['new'])
  })
})
