import { createMemoryStorage, type StorageAdapter } from '@robust/storage-adapters'
import { beforeEach, describe, expect, test } from 'vitest'
import { CoreCluster, type CoreNode, messageTo } from '../../testing/core-cluster.ts'
import { valuesOf } from '../../testing/queue-fixtures.ts'
import { settle } from '../../testing/virtual-clock.ts'
import type { Message } from '../message.ts'
import { shardOf } from '../shard-hash.ts'
import { HEADER, textHeader } from './headers.ts'
import type { QueueRequest, Received, ReceiveOptions } from './queue-requests.ts'
import type { AskOptions } from './queues.ts'

const SHARDS = 8

let storage: StorageAdapter
let cluster: CoreCluster
let a: CoreNode
let b: CoreNode

beforeEach(async () => {
  storage = createMemoryStorage()
  cluster = new CoreCluster(storage, SHARDS)
  a = cluster.join('a')
  b = cluster.join('b')
  await cluster.ownAll((shard) => (shard % 2 === 0 ? 'a' : 'b'))
})

const shardOfQueue = (name: string) => shardOf('queue', name, SHARDS)

/** A name of a queue that the broker owns. */
function nameAt(node: string, prefix = 'q'): string {
  for (let i = 0; ; i++) {
    const name = `${prefix}${i}`
    if (cluster.ownerOf(shardOfQueue(name))?.node === node) return name
  }
}

async function ask<K extends string>(
  node: CoreNode,
  name: string,
  request: QueueRequest,
  options?: AskOptions,
) {
  const reply = await node.queues.client.ask(name, request, options)
  return reply as Extract<typeof reply, { readonly kind: K }>
}

function send(node: CoreNode, name: string, ...values: string[]) {
  const records = values.map((value) => ({
    timestamp: cluster.clock.wallMs(),
    key: null,
    value: Buffer.from(value),
    headers: [],
  }))
  return ask<'sent'>(node, name, { kind: 'send', records })
}

async function receive(
  node: CoreNode,
  name: string,
  { signal, ...more }: Partial<ReceiveOptions> & { signal?: AbortSignal } = {},
): Promise<readonly Received[]> {
  const usual = { max: 10, waitMs: 0, leaseMs: undefined, attempt: undefined }
  const request = { kind: 'receive' as const, ...usual, wholeGroups: false, selector: undefined }
  const options = signal === undefined ? {} : { signal }
  const reply = await ask<'received'>(node, name, { ...request, ...more }, options)
  return reply.messages
}

function acknowledge(node: CoreNode, name: string, messages: readonly Received[]) {
  const action = { kind: 'acknowledge' as const }
  const settlements = messages.map(({ receipt }) => ({ receipt, action }))
  return ask<'settled'>(node, name, { kind: 'settle', settlements })
}

const figures = async (node: CoreNode, name: string) =>
  (await ask<'figures'>(node, name, { kind: 'figures' })).figures

/** What was asked, and whether it was answered. */
function watched<T>(asked: Promise<T>) {
  const state: { value?: T; error?: unknown } = {}
  asked.then(
    (value) => {
      state.value = value
    },
    (error: unknown) => {
      state.error = error
    },
  )
  return state
}

describe('QueueClient', () => {
  test('whatever broker owns the queue, every broker can use it', async () => {
    for (const owner of ['a', 'b']) {
      const name = nameAt(owner)
      await a.queues.client.create(name, {})
      await send(a, name, 'one', 'two')
      const messages = await receive(b, name)
      expect(valuesOf(messages)).toEqual(['one', 'two'])
      expect((await acknowledge(a, name, messages)).outcomes).toEqual(['done', 'done'])
      expect(await figures(b, name)).toMatchObject({ ready: 0, inFlight: 0 })
    }
  })

  test('a queue of no such name, or of another tenant, is not found', async () => {
    await a.queues.client.create('q', {}, 'other')
    await expect(send(a, 'q', 'x')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect(a.queues.client.list()).toEqual([])
    expect(a.queues.client.list('other').map(({ name }) => name)).toEqual(['q'])
    await a.queues.client.ask('q', { kind: 'purge' }, { tenant: 'other' })
    expect(await b.queues.client.delete('q', 'other')).toBe(true)
    expect(await b.queues.client.delete('q', 'other')).toBe(false)
  })

  test('while the metadata is being loaded nothing is said not to be there', async () => {
    a.queues.isComplete = false
    const unknown = { code: 'UNAVAILABLE' }
    await expect(send(a, 'q', 'x')).rejects.toMatchObject(unknown)
    await expect(a.queues.client.delete('q')).rejects.toMatchObject(unknown)
    await expect(a.queues.client.askKey('q', { kind: 'purge' })).rejects.toMatchObject(unknown)
    await a.queues.client.create('q', {})
    expect(await send(a, 'q', 'x')).toMatchObject({ outcomes: [{ kind: 'stored' }] })
  })

  test('create tells what was there before, and change adds to what others changed', async () => {
    const { client } = a.queues
    const dialects = { sqs: { x: '1' }, amqp: { y: '2' } }
    const made = await client.create('q', { policy: { leaseMs: 7 }, dialects })
    expect(made).toMatchObject({ existed: false, queue: { policy: { leaseMs: 7, delayMs: 0 } } })
    const again = await b.queues.client.create('q', { policy: { leaseMs: 9 } })
    expect(again).toMatchObject({ existed: true, queue: { policy: { leaseMs: 7 } } })
    let tries = 0
    const changed = await client.change('q', ({ policy }) => {
      // Somebody else comes first, the first time.
      if (tries++ === 0) void b.queues.client.change('q', () => ({ policy: { delayMs: 5 } }))
      return { policy: { leaseMs: policy.leaseMs + 1 }, dialects: { sqs: { z: '3' } } }
    })
    expect(tries).toBe(2)
    expect(changed.policy).toMatchObject({ leaseMs: 8, delayMs: 5 })
    expect(changed.dialects).toEqual({ sqs: { z: '3' }, amqp: { y: '2' } })
    expect(changed.version).toBeGreaterThan(made.queue.version)
    expect(changed.id).toBe(made.queue.id)
  })

  test('a receive waits at the owner for its time, and gets what comes', async () => {
    const name = nameAt('b')
    await a.queues.client.create(name, {})
    const waiting = watched(receive(a, name, { waitMs: 10_000 }))
    await cluster.clock.advance(9_000)
    expect(waiting.value).toBeUndefined()
    await send(b, name, 'x')
    await settle()
    expect(valuesOf(waiting.value ?? [])).toEqual(['x'])
    const empty = watched(receive(a, name, { waitMs: 10_000 }))
    await cluster.clock.advance(9_999)
    expect(empty.value).toBeUndefined()
    await cluster.clock.advance(1)
    expect(empty.value).toEqual([])
  })

  test.each(['a', 'b'])(
    'when the shard moves, a receive of %s waits at the next owner for the rest of its time',
    async (asker) => {
      const node = asker === 'a' ? a : b
      const name = nameAt('b')
      await a.queues.client.create(name, {})
      const [one, two] = [1, 2].map(() => watched(receive(node, name, { max: 1, waitMs: 10_000 })))
      await cluster.clock.advance(4_000)
      await cluster.handOver(shardOfQueue(name), 'a')
      await cluster.clock.advance(3_000)
      await send(b, name, 'x')
      await settle()
      expect(valuesOf(one?.value ?? two?.value ?? [])).toEqual(['x'])
      await cluster.clock.advance(2_999)
      expect(one?.value === undefined || two?.value === undefined).toBe(true)
      await cluster.clock.advance(1)
      expect([one?.value?.length, two?.value?.length].sort()).toEqual([0, 1])
    },
  )

  test.each(['a', 'b'])('a receive of %s that is given up holds nothing', async (asker) => {
    const node = asker === 'a' ? a : b
    const name = nameAt('b')
    await a.queues.client.create(name, {})
    const gone = new AbortController()
    const waiting = watched(receive(node, name, { waitMs: 10_000, signal: gone.signal }))
    await cluster.clock.advance(1_000)
    gone.abort()
    await settle()
    expect(waiting.value).toEqual([])
    await send(a, name, 'x')
    await settle()
    expect(valuesOf(await receive(a, name))).toEqual(['x'])
    expect(await receive(a, name, { signal: gone.signal })).toEqual([])
  })

  test('what was found for one who has just given up is given to another at once', async () => {
    const name = nameAt('b')
    await a.queues.client.create(name, {})
    await send(a, name, 'x')
    const gone = new AbortController()
    const waiting = watched(receive(a, name, { waitMs: 10_000, signal: gone.signal }))
    gone.abort()
    await settle()
    expect(waiting.value).toEqual([])
    const [message] = await receive(b, name)
    expect(message).toMatchObject({ deliveries: 1 })
  })

  test('a receive whose answer was lost gets the same messages, leased once', async () => {
    const name = nameAt('b')
    await a.queues.client.create(name, {})
    const waiting = watched(receive(a, name, { waitMs: 10_000 }))
    await settle()
    await cluster.cut('a', 'b')
    await send(b, name, 'x')
    await cluster.clock.advance(5_000)
    expect(waiting.value).toBeUndefined()
    await cluster.cut('a', 'b', false)
    await cluster.clock.advance(2_000)
    expect(valuesOf(waiting.value ?? [])).toEqual(['x'])
    expect(waiting.value?.[0]?.deliveries).toBe(1)
    expect(await figures(a, name)).toMatchObject({ ready: 0, inFlight: 1 })
  })

  test('receipts hold at the next owner, and leases end when they would have', async () => {
    const name = nameAt('b')
    await a.queues.client.create(name, { policy: { leaseMs: 10_000 } })
    await send(a, name, 'one', 'two')
    const [one] = await receive(a, name)
    await cluster.kill('b')
    await cluster.own(shardOfQueue(name), 'a')
    expect((await acknowledge(a, name, one ? [one] : [])).outcomes).toEqual(['done'])
    await cluster.clock.advance(9_000)
    expect(await receive(a, name)).toEqual([])
    await cluster.clock.advance(2_000)
    expect(valuesOf(await receive(a, name))).toEqual(['two'])
  })

  test('a queue that is deleted ends who waits, and one made anew knows nothing of it', async () => {
    const name = nameAt('b')
    await a.queues.client.create(name, {})
    await send(a, name, 'old', 'older')
    const [old] = await receive(a, name, { max: 1 })
    const waiting = watched(receive(a, name, { waitMs: 10_000, max: 1 }))
    await settle()
    expect(waiting.value).toHaveLength(1)
    const forever = watched(receive(a, name, { waitMs: 60_000 }))
    await settle()
    expect(await a.queues.client.delete(name)).toBe(true)
    await cluster.clock.advance(1_000)
    expect(forever.error).toMatchObject({ code: 'NOT_FOUND' })
    await b.queues.client.create(name, {})
    expect(await receive(a, name)).toEqual([])
    expect((await acknowledge(a, name, old ? [old] : [])).outcomes).toEqual(['gone'])
    await send(a, name, 'new')
    expect(valuesOf(await receive(b, name))).toEqual(['new'])
  })

  test.each(['before', 'after'])(
    'all that a deleted queue kept goes, also when the shard moved %s',
    async (when) => {
      const name = nameAt('b')
      const shard = shardOfQueue(name)
      const keys = async () =>
        (await storage.scan({ shard, from: 'queue/', to: 'queue0', limit: 100 })).length +
        (await storage.logs(shard)).filter(({ log }) => log.startsWith('queue/')).length
      await a.queues.client.create(name, { policy: { delayMs: 5_000, deduplicationMs: 1_000 } })
      await send(a, name, 'delayed')
      await a.queues.client.change(name, () => ({ policy: { delayMs: 0 } }))
      await send(a, name, 'one', 'two')
      await receive(a, name, { max: 1 })
      expect(await keys()).toBeGreaterThan(3)
      if (when === 'before') await cluster.handOver(shard, 'a')
      else await cluster.disown(shard)
      await b.queues.client.delete(name)
      if (when === 'after') await cluster.own(shard, 'a')
      await settle()
      expect(await keys()).toBe(0)
      // What is known of the deletion goes too, when nobody can be late any more.
      await cluster.clock.advance(61_000)
      expect([...cluster.queueTable.deletedOf(shard, SHARDS)]).toEqual([])
      expect(await keys()).toBe(0)
    },
  )

  test('a send is refused while storage is full', async () => {
    const full = createMemoryStorage()
    let pressure = 0
    Object.defineProperty(full, 'pressure', { get: () => pressure })
    cluster = new CoreCluster(full, SHARDS)
    const only = cluster.join('a')
    await cluster.ownAll(() => 'a')
    await only.queues.client.create('q', {})
    await send(only, 'q', 'x')
    pressure = 1
    await cluster.clock.advance(10_000)
    await expect(send(only, 'q', 'y')).rejects.toMatchObject({ code: 'REFUSED' })
    expect(valuesOf(await receive(only, 'q'))).toEqual(['x'])
  })
})

describe('a queue that is bound to addresses', () => {
  function publish(node: CoreNode, address: string, text: string, more: object = {}) {
    const { refusable = false, ...rest } = more as Partial<Message> & { refusable?: boolean }
    const outcomes: string[] = []
    const receipt = { settle: (outcome: string) => outcomes.push(outcome), refusable }
    if (node.messaging.publish(messageTo(address, text, rest), receipt)) outcomes.push('accepted')
    return outcomes
  }

  test('has what is published there, from any broker, whatever the guarantee', async () => {
    const name = nameAt('b')
    await a.queues.client.create(name, { bindings: ['sensors/#', 'x'] })
    const all = [a, b].flatMap((node) => [
      publish(node, 'sensors/1', `${node.name} one`),
      publish(node, 'x', `${node.name} two`, { guarantee: 2, token: `t-${node.name}` }),
      publish(node, 'elsewhere', 'no'),
    ])
    publish(a, 'sensors', 'none', { guarantee: 0 })
    await settle()
    expect(all.flat()).toEqual(Array.from({ length: 6 }, () => 'accepted'))
    const messages = await receive(a, name)
    expect(valuesOf(messages).sort()).toEqual(['a one', 'a two', 'b one', 'b two', 'none'])
    const address = messages.map(({ record }) => textHeader(record, HEADER.address))
    expect(address.sort()).toEqual(['sensors', 'sensors/1', 'sensors/1', 'x', 'x'])
    await a.queues.client.change(name, () => ({ bindings: [] }))
    publish(a, 'x', 'unbound')
    await settle()
    expect(await receive(a, name)).toEqual([])
  })

  test('gets what waited for its shard, and an exactly-once message once', async () => {
    const name = nameAt('b')
    await a.queues.client.create(name, { bindings: ['x'] })
    await cluster.disown(shardOfQueue(name))
    const outcomes = [0, 1].map(() => publish(a, 'x', 'once', { guarantee: 2, token: 't' }))
    await settle()
    expect(outcomes.flat()).toEqual([])
    await cluster.own(shardOfQueue(name), 'a')
    await cluster.clock.advance(1_000)
    expect(outcomes.flat()).toEqual(['accepted', 'accepted'])
    expect(valuesOf(await receive(a, name))).toEqual(['once'])
  })

  test('when it is ordered, has the messages of an address one after the other', async () => {
    const name = nameAt('b')
    await a.queues.client.create(name, { bindings: ['x/+'], policy: { order: 'group' } })
    for (const text of ['1', '2']) for (const level of ['x/a', 'x/b']) publish(b, level, text)
    await settle()
    const messages = await receive(a, name)
    expect(valuesOf(messages)).toEqual(['1', '1'])
    await acknowledge(a, name, messages)
    expect(valuesOf(await receive(a, name))).toEqual(['2', '2'])
  })

  test.each(['a', 'b'])('that is full refuses what is published at %s', async (publisher) => {
    const node = publisher === 'a' ? a : b
    const name = nameAt('b')
    await a.queues.client.create(name, { bindings: ['x'], policy: { lengthMax: 1 } })
    expect([publish(node, 'x', 'first'), await settle()][0]).toEqual(['accepted'])
    const refused = publish(node, 'x', 'second', { refusable: true })
    const loose = publish(node, 'x', 'loose', { guarantee: 0 })
    const waits = publish(node, 'x', 'third')
    await settle()
    expect(refused).toEqual(['refused'])
    expect(loose.length).toBeLessThanOrEqual(1)
    await cluster.clock.advance(3_000)
    expect(waits).toEqual([])
    await acknowledge(a, name, await receive(a, name))
    await cluster.clock.advance(3_000)
    expect(waits).toEqual(['accepted'])
    expect(valuesOf(await receive(a, name))).toEqual(['third'])
  })
})

describe('a move between queues of two owners', () => {
  const policyTo = (deadLetterQueue: string) => ({
    deliveriesMax: 1,
    deadLetterQueue,
    leaseMs: 100,
  })

  test('happens once, although the stream breaks after the other has it', async () => {
    const [source, dead] = [nameAt('a', 's'), nameAt('b', 'd')]
    await a.queues.client.create(dead, {})
    await a.queues.client.create(source, { policy: policyTo(dead) })
    await send(a, source, 'one', 'two')
    await receive(a, source)
    const peers = watched(receive(b, dead, { waitMs: 60_000, max: 1 }))
    await cluster.clock.advance(99)
    // The answer to the first try of the move is lost.
    queueMicrotask(() => void cluster.cut('a', 'b'))
    await cluster.clock.advance(1)
    await cluster.clock.advance(3_000)
    await cluster.cut('a', 'b', false)
    await cluster.clock.advance(20_000)
    expect(peers.value).toHaveLength(1)
    const rest = await receive(b, dead)
    expect([...valuesOf(peers.value ?? []), ...valuesOf(rest)].sort()).toEqual(['one', 'two'])
    expect(await figures(a, dead)).toMatchObject({ ready: 0, inFlight: 2 })
    expect(await figures(a, source)).toMatchObject({ ready: 0, inFlight: 0 })
  })

  test('is finished by the next owner', async () => {
    const [source, dead] = [nameAt('a', 's'), nameAt('b', 'd')]
    await a.queues.client.create(dead, {})
    await a.queues.client.create(source, { policy: policyTo(dead) })
    await send(a, source, 'x')
    await receive(a, source)
    await cluster.disown(shardOfQueue(dead))
    await cluster.clock.advance(2_000)
    await cluster.kill('a')
    for (const name of [source, dead]) await cluster.own(shardOfQueue(name), 'b')
    await cluster.clock.advance(30_000)
    expect(valuesOf(await receive(b, dead))).toEqual(['x'])
    expect(await figures(b, source)).toMatchObject({ ready: 0, inFlight: 0 })
  })

  test('back again tells its progress, and names queues as their tenant does', async () => {
    const tenant = 't'
    const { client } = a.queues
    await client.create('dead', {}, tenant)
    await client.create('source', { policy: policyTo('dead') }, tenant)
    await client.create('other', {}, tenant)
    const inTenant = (name: string, request: QueueRequest) => client.ask(name, request, { tenant })
    const record = { timestamp: 1, key: null, value: Buffer.from('x'), headers: [] }
    await inTenant('source', { kind: 'send', records: [record] })
    const usual = { max: 10, waitMs: 0, leaseMs: 50, attempt: undefined }
    const all = { kind: 'receive' as const, ...usual, wholeGroups: false, selector: undefined }
    await inTenant('source', all)
    await cluster.clock.advance(3_000)
    const start = { kind: 'start' as const, to: 'other', perSecondMax: undefined }
    await inTenant('dead', { kind: 'redrive', redrive: start })
    await cluster.clock.advance(5_000)
    const listed = await inTenant('dead', { kind: 'redrive', redrive: { kind: 'list' } })
    expect(listed).toMatchObject({ tasks: [{ to: 'other', state: 'completed', moved: 1 }] })
    expect(await inTenant('other', all)).toMatchObject({ messages: [{ deliveries: 1 }] })
  })
})
