/** Shared subscriptions over several brokers' cores, with owners and members that go at any moment. */
import { createMemoryStorage } from '@robust/storage-adapters'
import { describe, expect, test } from 'vitest'
import { GroupShard } from '../../functions/group-shard.ts'
import { CoreCluster, messageTo, TestClient, wanting } from '../../testing/core-cluster.ts'
import { settle, VirtualClock } from '../../testing/virtual-clock.ts'
import type { AttachedSession } from '../attached-session.ts'
import type { Subscription } from '../message.ts'
import { ShardWriter } from '../shard-writer.ts'
import type { GroupDelivery } from './hosted-groups.ts'
import { isShared, plainFilter, shardOfGroup } from './shared-filter.ts'

const GROUP = '$share/g/t/#'

async function clusterOf(...names: string[]): Promise<CoreCluster> {
  const cluster = new CoreCluster(createMemoryStorage(), 8)
  for (const name of names) cluster.join(name)
  await cluster.ownAll((shard) => names[shard % names.length] ?? '')
  return cluster
}

interface Options {
  readonly durable?: boolean
  readonly acknowledges?: boolean
  readonly subscription?: Partial<Subscription>
  readonly cleanStart?: boolean
}

/** Time goes on: an owner before may have to find out that it is one no more. */
async function during<T>(cluster: CoreCluster, work: Promise<T>): Promise<T> {
  let isOver = false
  const settled = work.finally(() => {
    isOver = true
  })
  settled.catch(() => undefined)
  for (let step = 0; step < 200 && !isOver; step++) await cluster.clock.advance(100)
  return settled
}

async function member(
  cluster: CoreCluster,
  node: string,
  session: string,
  options: Options = {},
): Promise<{ client: TestClient; session: AttachedSession }> {
  const client = new TestClient()
  if (options.acknowledges !== false) client.acknowledge = () => undefined
  const core = cluster.nodes.get(node)
  if (core === undefined) throw new Error(node)
  const attaching = core.messaging.attach(
    {
      session,
      cleanStart: options.cleanStart ?? true,
      expirySeconds: options.durable ? 3_600 : 0,
      window: 5,
      will: undefined,
    },
    client,
  )
  const attached = await during(cluster, attaching)
  attached.start()
  if (client.acknowledge !== undefined) {
    client.acknowledge = (offset) => attached.acknowledge(offset)
  }
  if (!attached.present) {
    await during(cluster, attached.subscribe([wanting(GROUP, options.subscription)]))
  }
  await settle()
  return { client, session: attached }
}

async function publish(
  cluster: CoreCluster,
  node: string,
  count: number,
  guarantee: 0 | 1 | 2 = 1,
) {
  const core = cluster.nodes.get(node)
  for (let at = 0; at < count; at++) {
    const message = messageTo(`t/${at}`, String(at), {
      guarantee,
      token: guarantee === 2 ? `token-${at}` : '',
    })
    if (guarantee === 0) core?.messaging.publish(message, undefined)
    else if (core) await during(cluster, core.messaging.publishAndWait(message))
  }
  await settle()
}

const numbers = (count: number) => Array.from({ length: count }, (_, at) => String(at))
const sorted = (values: readonly string[]) => [...values].sort((a, b) => Number(a) - Number(b))

describe('shared filters', () => {
  test('are told from others, and name what they match', () => {
    expect(isShared('$share/g/a/b')).toBe(true)
    expect(isShared('$queue/a')).toBe(true)
    for (const other of ['a', '$SYS/x', '$shares/g/a', '$share', '$queue']) {
      expect(isShared(other)).toBe(false)
    }
    expect(plainFilter('$share/g/a/#')).toBe('a/#')
    expect(plainFilter('$queue//a')).toBe('/a')
    expect(plainFilter('a/b')).toBe('a/b')
  })
})

describe('a shared subscription', () => {
  test.each([0, 1, 2] as const)(
    'gives each message of guarantee %s to one member, wherever they are',
    async (guarantee) => {
      const cluster = await clusterOf('a', 'b', 'c')
      const members = await Promise.all([
        member(cluster, 'a', 'one', { subscription: { guarantee: 2 } }),
        member(cluster, 'b', 'two', { subscription: { guarantee: 2 } }),
        member(cluster, 'c', 'three', { subscription: { guarantee: 2 } }),
      ])
      await publish(cluster, 'b', 30, guarantee)
      await cluster.clock.advance(100)
      const shares = members.map(({ client }) => client.shared)
      expect(sorted(shares.flat())).toEqual(numbers(30))
      for (const share of shares) expect(share.length).toBeGreaterThan(5)
    },
  )

  test('is apart from other groups and from subscriptions of one session', async () => {
    const cluster = await clusterOf('a', 'b')
    const shared = await member(cluster, 'a', 'one')
    const other = await member(cluster, 'b', 'two', { subscription: { filter: '$share/h/t/+' } })
    const alone = await member(cluster, 'b', 'three', { subscription: { filter: 't/#' } })
    await publish(cluster, 'a', 4)
    expect(sorted(shared.client.shared)).toEqual(numbers(4))
    expect(sorted(other.client.shared)).toEqual(numbers(4))
    expect(sorted(alone.client.live)).toEqual(numbers(4))
    expect(alone.client.shared).toEqual([])
  })

  test('gives to another what a member did not acknowledge when its connection ends', async () => {
    const cluster = await clusterOf('a', 'b')
    const lazy = await member(cluster, 'a', 'lazy', { acknowledges: false })
    const busy = await member(cluster, 'b', 'busy')
    await publish(cluster, 'b', 20)
    // No more than its window is under way to the one that says nothing.
    expect(lazy.client.shared.length).toBe(5)
    lazy.client.sharedDone[0]?.()
    await settle()
    await during(cluster, lazy.session.detach({ publishWill: false, expirySeconds: undefined }))
    await cluster.clock.advance(100)
    const had = lazy.client.shared[0] ?? ''
    expect(sorted([...busy.client.shared, had])).toEqual(numbers(20))
  })

  test('keeps messages for durable members that are away, and for nobody else', async () => {
    const cluster = await clusterOf('a', 'b', 'c')
    const first = await member(cluster, 'a', 'durable', { durable: true })
    await during(cluster, first.session.detach({ publishWill: false, expirySeconds: undefined }))
    await publish(cluster, 'b', 10)
    // The shard of the group and that of the session change hands meanwhile.
    await cluster.own(shardOfGroup(GROUP, 8), 'c')
    await cluster.own(cluster.shardOfSession('durable'), 'b')
    await publish(cluster, 'c', 12)
    const again = await member(cluster, 'c', 'durable', { durable: true, cleanStart: false })
    expect(again.session.present).toBe(true)
    await cluster.clock.advance(100)
    expect(sorted(again.client.shared)).toEqual(sorted([...numbers(10), ...numbers(12)]))

    await during(cluster, again.session.detach({ publishWill: false, expirySeconds: 0 }))
    await cluster.clock.advance(5_000)
    await publish(cluster, 'a', 3)
    const fresh = await member(cluster, 'a', 'fresh')
    await cluster.clock.advance(100)
    expect(fresh.client.shared).toEqual([])
  })

  test('goes on when its owner dies, and loses nothing that was acknowledged', async () => {
    const cluster = await clusterOf('a', 'b', 'c')
    const owner = cluster.ownerOf(shardOfGroup(GROUP, 8))?.node ?? ''
    const [here, there] = ['a', 'b', 'c'].filter((name) => name !== owner) as [string, string]
    const one = await member(cluster, here, 'one', { acknowledges: false })
    const two = await member(cluster, there, 'two')
    await publish(cluster, here, 20)
    await cluster.kill(owner)
    for (let shard = 0; shard < 8; shard++) {
      if (cluster.ownerOf(shard) === undefined) await cluster.own(shard, there)
    }
    await cluster.clock.advance(3_000)
    for (const done of one.client.sharedDone.splice(0)) done()
    await cluster.clock.advance(3_000)
    await publish(cluster, there, 21)
    await cluster.clock.advance(3_000)
    for (const done of one.client.sharedDone.splice(0)) done()
    await cluster.clock.advance(3_000)
    const all = new Set([...one.client.shared, ...two.client.shared])
    expect(sorted([...all])).toEqual(numbers(21))
  })

  test('keeps what is published before its members have joined the next owner', async () => {
    const storage = createMemoryStorage()
    const clock = new VirtualClock()
    const pushed: GroupDelivery[] = []
    const own = async (epoch: number): Promise<GroupShard> => {
      const onLost = () => undefined
      const options = { shard: 0, epoch, owner: `n${epoch}/1`, storage, clock, onLost }
      const writer = new ShardWriter(options)
      await writer.open()
      const shard = new GroupShard({
        ...{ writer, storage, clock, dispatch: () => 'round-robin', random: () => 0 },
        connections: {
          push: () => undefined,
          pushShared: (_node, _to, deliveries) => pushed.push(...deliveries),
          evict: async () => undefined,
          isMember: () => true,
        },
        announce: async () => undefined,
        onError: (error) => expect.fail(error.message),
      })
      await shard.load()
      return shard
    }
    const to = (session: string) => ({ session, attachment: { epoch: 1, counter: 1 } })
    const joining = (session: string, guarantee: 0 | 1) => ({
      ...{ group: GROUP, to: to(session), node: 'a', nodeEpoch: 1, durable: false, window: 5 },
      subscription: wanting(GROUP, { guarantee }),
    })
    const first = await own(1)
    await first.join(joining('one', 1))
    first.stop()
    const next = await own(2)
    // Nobody has joined again yet; then only one who would not have it kept.
    for (const text of ['early', 'later']) {
      const outcome = await new Promise((done) => next.append(messageTo('t/x', text), done))
      expect(outcome).toBe('committed')
      if (text === 'early') await next.join(joining('zero', 0))
    }
    await settle()
    await next.join(joining('one', 1))
    await settle()
    expect(pushed.map(({ message }) => Buffer.from(message.payload).toString()).sort()).toEqual([
      'early',
      'later',
    ])
    next.stop()
  })

  test('gives what was under way to a broker that dies to members at others', async () => {
    const cluster = await clusterOf('a', 'b', 'c')
    const group = shardOfGroup(GROUP, 8)
    await cluster.own(group, 'a')
    const lost = await member(cluster, 'b', 'lost', { acknowledges: false })
    const left = await member(cluster, 'c', 'left')
    await publish(cluster, 'a', 10)
    expect(lost.client.shared.length).toBe(5)
    await cluster.kill('b')
    await cluster.clock.advance(2_000)
    expect(sorted(left.client.shared)).toEqual(numbers(10))
  })

  test('is left by unsubscribing, and ends with its last member', async () => {
    const cluster = await clusterOf('a', 'b')
    const one = await member(cluster, 'a', 'one', { durable: true })
    const two = await member(cluster, 'b', 'two')
    expect(await one.session.unsubscribe([GROUP])).toEqual([true])
    await publish(cluster, 'a', 5)
    expect(one.client.shared).toEqual([])
    expect(sorted(two.client.shared)).toEqual(numbers(5))
    await two.session.unsubscribe([GROUP])
    await cluster.clock.advance(2_000)
    const owner = cluster.ownerOf(shardOfGroup(GROUP, 8))?.node ?? ''
    const hosted = cluster.nodes.get(owner)?.hosted.get(shardOfGroup(GROUP, 8))
    expect(hosted?.groups.groups()).toEqual([])
    expect(cluster.nodes.get('b')?.router.route('t/1').groups).toEqual([])
    expect(hosted?.writer.logNames()).toEqual([])
  })

  test('gives an exactly-once message that a session began and did not live to complete to nobody else', async () => {
    const cluster = await clusterOf('a', 'b')
    const options = { subscription: { guarantee: 2 }, acknowledges: false } as const
    const one = await member(cluster, 'a', 'one', options)
    await publish(cluster, 'b', 2, 2)
    expect(one.client.shared).toEqual(['0', '1'])
    const two = await member(cluster, 'b', 'two', { subscription: { guarantee: 2 } })
    await during(cluster, one.session.detach({ publishWill: false, expirySeconds: undefined }))
    await publish(cluster, 'b', 3, 2)
    await cluster.clock.advance(100)
    expect(two.client.shared).toEqual(['2'])
  })

  test('completes an exactly-once message with the member that began it', async () => {
    const cluster = await clusterOf('a', 'b')
    const options = { durable: true, acknowledges: false, subscription: { guarantee: 2 } } as const
    const one = await member(cluster, 'a', 'one', options)
    await publish(cluster, 'b', 3, 2)
    await cluster.clock.advance(100)
    expect(one.client.inbox).toEqual(['0', '1', '2'])
    const two = await member(cluster, 'b', 'two', { subscription: { guarantee: 2 } })
    await during(cluster, one.session.detach({ publishWill: false, expirySeconds: undefined }))
    await publish(cluster, 'b', 4, 2)
    await cluster.clock.advance(100)
    // Tokens of the first three were seen: only the fourth is new.
    expect(two.client.shared).toEqual(['3'])
    const again = await member(cluster, 'b', 'one', { ...options, cleanStart: false })
    await cluster.clock.advance(100)
    expect(again.client.inbox).toEqual(['0', '1', '2'])
  })
})
