import { createMemoryStorage } from '@robust/storage-adapters'
import { beforeEach, describe, expect, test } from 'vitest'
import type { Message } from './core/message.ts'
import { DeadLetters } from './dead-letters.ts'
import { decodePublishProperties, encodeProperties } from './protocols/mqtt/codec/properties.ts'
import {
  CoreCluster,
  type CoreNode,
  messageTo,
  TestClient,
  wanting,
} from './testing/core-cluster.ts'
import { settle } from './testing/virtual-clock.ts'

const FOREVER = 0xffff_ffff

let cluster: CoreCluster
let a: CoreNode
let b: CoreNode
let prefix: string | undefined
let messagesMax: number
let letters: DeadLetters
/** What came to dead/#, by a session that is always there. */
let watcher: { readonly client: TestClient; readonly messages: Message[] }
/** Publishes nothing until it is let go. */
let held: Promise<void> | undefined

beforeEach(async () => {
  cluster = new CoreCluster(createMemoryStorage(), 4)
  a = cluster.join('a')
  b = cluster.join('b')
  prefix = 'dead'
  messagesMax = Number.POSITIVE_INFINITY
  held = undefined
  letters = new DeadLetters({
    rules: () => ({ prefix, messagesMax }),
    clock: cluster.clock,
    publish: async (message) => {
      await held
      await a.messaging.publishAndWait(message)
    },
  })
  cluster.losses = letters
  await cluster.ownAll((shard) => (shard % 2 === 0 ? 'a' : 'b'))
  const { client } = await connect(a, nameOwnedBy('a', 'watcher'), ['dead/#'])
  const messages: Message[] = []
  const push = client.push.bind(client)
  client.push = (deliveries) => {
    messages.push(...deliveries.map(({ message }) => message))
    push(deliveries)
  }
  watcher = { client, messages }
})

async function connect(
  node: CoreNode,
  session: string,
  filters: readonly string[] = [],
  more: object = {},
) {
  const client = new TestClient()
  const options = { session, cleanStart: false, expirySeconds: FOREVER, window: 100, ...more }
  const attached = await node.messaging.attach({ ...options, will: undefined }, client)
  client.acknowledge = (offset) => attached.acknowledge(offset)
  attached.start()
  if (filters.length > 0) await attached.subscribe(filters.map((filter) => wanting(filter)))
  return { client, attached }
}

/** A session that is away, on a shard of b. */
async function away(filter: string, more: object = {}): Promise<string> {
  const name = nameOwnedBy('b', `${filter.split('/')[0]}-`)
  const { attached } = await connect(a, name, [filter], more)
  await attached.detach({ publishWill: false, expirySeconds: undefined })
  return name
}

function nameOwnedBy(node: string, start = 's'): string {
  for (let i = 0; ; i++) {
    const name = `${start}${i}`
    if (cluster.ownerOf(cluster.shardOfSession(name))?.node === node) return name
  }
}

function publish(address: string, text: string, more: Partial<Message> = {}) {
  const state = { settled: false }
  const settleIt = () => {
    state.settled = true
  }
  const message = messageTo(address, text, { timestampMs: cluster.clock.wallMs(), ...more })
  if (a.messaging.publish(message, { settle: settleIt })) state.settled = true
  return state
}

const textOf = ({ payload }: Message) => Buffer.from(payload).toString()

function storyOf({ properties }: Message): Record<string, string> {
  const bytes = Buffer.from(properties)
  const decoded = decodePublishProperties({
    bytes,
    propertiesStart: 0,
    propertiesEnd: bytes.length,
  })
  return Object.fromEntries(decoded.userProperties ?? [])
}

describe('a message that a session does not get', () => {
  test('is told of when it expires in the inbox, once, with its story', async () => {
    const name = await away('x/#')
    const expiresAtMs = cluster.clock.wallMs() + 1_000
    const properties = encodeProperties({
      ...{ contentType: 'text/plain', messageExpiryInterval: 1 },
      userProperties: [['own', 'kept']],
    })
    publish('x/1', 'late', { expiresAtMs, dialect: 'mqtt', properties })
    publish('x/2', 'good')
    await settle()
    await cluster.clock.advance(2_000)
    const { client } = await connect(b, name)
    await cluster.clock.advance(1_000)
    expect(client.inbox).toEqual(['good'])
    expect(watcher.messages.map((message) => [message.address, textOf(message)])).toEqual([
      ['dead/x/1', 'late'],
    ])
    const [letter] = watcher.messages as [Message]
    expect(letter.expiresAtMs).toBe(0)
    expect(storyOf(letter)).toMatchObject({
      own: 'kept',
      'dead-letter-reason': 'expired',
      'dead-letter-session': name,
      'dead-letter-topic': 'x/1',
      'dead-letter-expires-at': new Date(expiresAtMs).toISOString(),
    })
    await connect(b, name)
    await cluster.clock.advance(1_000)
    expect(watcher.messages).toHaveLength(1)
    expect(letters.lostCounts.byName.get('expired')).toBe(1)
  })

  test('is told of by the next owner when the first one dies before it could', async () => {
    const name = await away('x')
    publish('x', 'late', { expiresAtMs: cluster.clock.wallMs() + 1_000 })
    await settle()
    await cluster.clock.advance(2_000)
    let letGo = (): void => undefined
    held = new Promise((resolve) => {
      letGo = resolve
    })
    // A good message behind it is sent, and the cursor with it is stored.
    publish('x', 'good')
    await settle()
    const first = await connect(b, name)
    await cluster.clock.advance(1_000)
    expect(first.client.inbox).toEqual(['good'])
    await first.attached.detach({ publishWill: false, expirySeconds: undefined })
    const stuck = letters
    letters = new DeadLetters({
      rules: () => ({ prefix, messagesMax }),
      clock: cluster.clock,
      publish: (message) => a.messaging.publishAndWait(message),
    })
    cluster.losses = letters
    expect(stuck.letterCounts.byName.size).toBe(0)
    await cluster.kill('b')
    for (const shard of [1, 3]) await cluster.own(shard, 'a')
    const again = await connect(a, name)
    await cluster.clock.advance(1_000)
    expect(again.client.inbox).toEqual([])
    expect(watcher.messages.map(textOf)).toEqual(['late'])
    letGo()
  })

  test('is told of when the inbox is full; the publisher waits until that is safe', async () => {
    messagesMax = 2
    const name = await away('x')
    for (const text of ['1', '2']) publish('x', text)
    await settle()
    let letGo = (): void => undefined
    held = new Promise((resolve) => {
      letGo = resolve
    })
    const third = publish('x', '3')
    await settle()
    expect(third.settled).toBe(false)
    letGo()
    await settle()
    expect(third.settled).toBe(true)
    expect(watcher.messages.map(textOf)).toEqual(['3'])
    expect(storyOf(watcher.messages[0] as Message)['dead-letter-reason']).toBe('inbox-full')
    const { client } = await connect(b, name)
    await cluster.clock.advance(1_000)
    expect(client.inbox).toEqual(['1', '2'])
    publish('x', '4')
    await cluster.clock.advance(1_000)
    expect(client.inbox).toEqual(['1', '2', '4'])
  })

  test('is told of when its session ends, by its expiry, a clean start or an operator', async () => {
    const byExpiry = await away('by-expiry', { expirySeconds: 5 })
    publish('by-expiry', 'one')
    await settle()
    await cluster.clock.advance(6_000)
    expect(watcher.messages.map(textOf)).toEqual(['one'])
    expect(letters.sessionsExpired).toBe(1)
    const byOperator = await away('by-operator')
    publish('by-operator', 'two')
    await settle()
    await a.messaging.endSession(byOperator)
    const byStart = await away('by-start')
    publish('by-start', 'three')
    await settle()
    await connect(a, byStart, [], { cleanStart: true })
    await cluster.clock.advance(1_000)
    expect(watcher.messages.map(textOf)).toEqual(['one', 'two', 'three'])
    const reasons = watcher.messages.map((message) => storyOf(message)['dead-letter-reason'])
    expect(new Set(reasons)).toEqual(new Set(['session-ended']))
    expect([byExpiry, byOperator, byStart]).toHaveLength(3)
  })

  test('is told of by the next owner when a session ends under one that dies', async () => {
    await away('x', { expirySeconds: 5 })
    for (let at = 0; at < 3; at++) publish('x', String(at))
    await settle()
    held = new Promise(() => undefined)
    await cluster.clock.advance(6_000)
    expect(watcher.messages).toEqual([])
    held = undefined
    await cluster.kill('b')
    for (const shard of [1, 3]) await cluster.own(shard, 'a')
    await cluster.clock.advance(6_000)
    expect(watcher.messages.map(textOf)).toEqual(['0', '1', '2'])
  })

  test('is no dead letter a second time', async () => {
    messagesMax = 1
    await away('dead/#')
    await away('x')
    for (const text of ['1', '2', '3']) {
      publish('x', text)
      await cluster.clock.advance(1_000)
    }
    // The session that is away has room for one dead letter: the other is gone.
    expect(watcher.messages.map(({ address }) => address)).toEqual(['dead/x', 'dead/x'])
    expect(letters.lostCounts.byName.get('inbox-full')).toBe(3)
    expect(letters.letterCounts.byName.get('inbox-full')).toBe(2)
  })

  test('is gone, and counted, when there is nowhere to go', async () => {
    prefix = undefined
    messagesMax = 1
    await away('x')
    for (const text of ['1', '2', '3']) publish('x', text)
    await settle()
    expect(letters.lostCounts.byName.get('inbox-full')).toBe(2)
    expect(letters.letterCounts.byName.size).toBe(0)
    expect(watcher.messages).toEqual([])
  })
})
