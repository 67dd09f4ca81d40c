// SUBSCRIBE, UNSUBSCRIBE, topic filters, over sockets. docs/mqtt-conformance.md names these tests.

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { MqttBench } from '../../../testing/mqtt-bench.ts'
import { eventually } from '../../../testing/virtual-clock.ts'
import { ReasonCode } from '../packets.ts'

let bench: MqttBench

beforeAll(async () => {
  bench = await MqttBench.start()
})
afterEach(() => bench.reset())
afterAll(() => bench.stop())

const connected = (...args: Parameters<MqttBench['connected']>) => bench.connected(...args)
const VERSIONS = [{ protocolVersion: 4 as const }, { protocolVersion: 5 as const }]
const options = { nl: false, rap: false, rh: 0 as const }

describe('SUBSCRIBE', () => {
  test('is answered with its packet id and a code for each filter, in their order', async () => {
    for (const version of VERSIONS) {
      bench.put('user', 'u', { tags: [], credentials: {} })
      bench.put('permission', 'r', { user: '*', action: 'all', pattern: 'may/#', allow: true })
      bench.set('security.anonymous', 'always')
      const client = await connected({}, version)
      client.send({
        cmd: 'subscribe',
        messageId: 4711,
        subscriptions: [
          { topic: 'may/2', qos: 2, ...options },
          { topic: 'not', qos: 1, ...options },
          { topic: 'may/0', qos: 0, ...options },
          { topic: 'may/1', qos: 1, ...options },
        ],
      })
      const suback = await client.next('suback')
      expect(suback.messageId).toBe(4711)
      const refused = version.protocolVersion === 5 ? ReasonCode.notAuthorized : 0x80
      expect(suback.granted).toEqual([2, refused, 0, 1])
    }
  })

  test('with a filter that exists replaces that subscription and loses no message', async () => {
    for (const expiry of [0, 100]) {
      const client = await connected({ sessionExpiryInterval: expiry })
      await client.subscribe('replace', 0)
      client.publish('replace', '1', { qos: 1, messageId: 1 })
      expect((await client.next('publish')).qos).toBe(0)
      client.publish('replace', '2', { qos: 1, messageId: 2 })
      await client.subscribe('replace', 1)
      client.publish('replace', '3', { qos: 1, messageId: 3 })
      expect((await client.next('publish')).payload.toString()).toBe('2')
      expect(await client.next('publish')).toMatchObject({ qos: 1 })
      await client.ping()
      expect(client.publishes).toEqual([])
    }
  })

  test('no local keeps a client from its own messages only', async () => {
    const self = await connected()
    await self.subscribe('local', 1, { nl: true })
    const other = await connected()
    self.publish('local', 'own', { qos: 1, messageId: 1 })
    await self.next('puback')
    other.publish('local', 'other', { qos: 1, messageId: 1 })
    expect((await self.next('publish')).payload.toString()).toBe('other')
  })

  test('overlapping filters give one copy with the highest QoS and every identifier', async () => {
    for (const expiry of [0, 100]) {
      const client = await connected({ sessionExpiryInterval: expiry })
      for (const [topic, qos, subscriptionIdentifier] of [
        ['over/a', 1, 1],
        ['over/+', 2, 268_435_455],
        ['over/#', 0, undefined],
      ] as const) {
        client.send({
          cmd: 'subscribe',
          messageId: 1,
          subscriptions: [{ topic, qos, ...options }],
          ...(subscriptionIdentifier && { properties: { subscriptionIdentifier } }),
        })
        await client.next('suback')
      }
      client.publish('over/a', 'x', { qos: 2, messageId: 1 })
      const got = await client.next('publish')
      expect(got.qos).toBe(2)
      expect([got.properties?.subscriptionIdentifier].flat().sort()).toEqual([1, 268_435_455])
      await client.ping()
      expect(client.publishes).toEqual([])
    }
  })

  test.each(['$share/group/shared', '$queue/shared'])(
    'a shared subscription, %s, gives each message to one client, and no retained ones',
    async (filter) => {
      const publisher = await connected()
      expect(publisher.connack.properties?.sharedSubscriptionAvailable).not.toBe(false)
      publisher.publish('shared', 'retained', { qos: 1, messageId: 1, retain: true })
      await publisher.next('puback')
      const members = [await connected(), await connected()]
      for (const member of members) expect((await member.subscribe(filter, 1)).granted).toEqual([1])
      for (let messageId = 2; messageId < 12; messageId++) {
        publisher.publish('shared', `${messageId}`, { qos: 1, messageId })
        await publisher.next('puback')
      }
      const got: string[] = []
      for (const member of members) {
        for (let count = 0; count < 5; count++) {
          const { payload, messageId, dup } = await member.next('publish')
          expect(dup).toBe(false)
          got.push(payload.toString())
          member.send({ cmd: 'puback', messageId: messageId ?? 0 })
        }
      }
      expect(got.map(Number).sort((a, b) => a - b)).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10, 11])
      for (const member of members) {
        await member.ping()
        expect(member.publishes).toEqual([])
      }
      publisher.publish('shared', '', { retain: true })
      await publisher.ping()
    },
  )

  test('a shared subscription keeps the QoS that was granted, and drops what a client refuses', async () => {
    const publisher = await connected()
    const member = await connected()
    await member.subscribe('$share/g/shared/refused', 1)
    publisher.publish('shared/refused', 'x', { qos: 2, messageId: 1 })
    const { qos, messageId = 0 } = await member.next('publish')
    expect(qos).toBe(1)
    const other = await connected()
    await other.subscribe('$share/g/shared/refused', 1)
    member.send({ cmd: 'puback', messageId, reasonCode: ReasonCode.implementationSpecificError })
    await member.ping()
    member.socket.destroy()
    publisher.publish('shared/refused', 'y', { qos: 1, messageId: 2 })
    expect((await other.next('publish')).payload.toString()).toBe('y')
    await other.ping()
    expect(other.publishes).toEqual([])
  })

  test('what a client of a shared subscription did not acknowledge goes to another one', async () => {
    const publisher = await connected()
    const first = await connected()
    await first.subscribe('$share/left/shared/left', 1)
    publisher.publish('shared/left', 'x', { qos: 1, messageId: 1 })
    await publisher.next('puback')
    await first.next('publish')
    const second = await connected()
    await second.subscribe('$share/left/shared/left', 1)
    first.socket.destroy()
    expect((await second.next('publish')).payload.toString()).toBe('x')
  })

  test.each([
    ['a/b', 'a/b', true],
    ['a/b', 'a', false],
    ['a/#', 'a', true],
    ['a/#', 'a/b/c', true],
    ['#', 'a/b', true],
    ['#', '/a', true],
    ['+', 'a', true],
    ['+', '/a', false],
    ['/+', '/a', true],
    ['+/+', '/a', true],
    ['a/+', 'a', false],
    ['a/+', 'a/', true],
    ['a/+/c', 'a/b/c', true],
    ['a/+/c', 'a//c', true],
    ['a/+/#', 'a/b', true],
    ['#', '$a/b', false],
    ['+/b', '$a/b', false],
    ['$a/#', '$a/b', true],
    ['$a/+', '$a/b', true],
    ['A', 'a', false],
    ['a/ b', 'a/ b', true],
  ])('filter %s and topic %s match: %s', async (filter, topic, matches) => {
    const client = await connected()
    await client.subscribe(filter)
    client.publish(topic, 'x')
    await client.ping()
    expect(client.publishes.map((packet) => packet.topic)).toEqual(matches ? [topic] : [])
  })
})

describe('UNSUBSCRIBE', () => {
  test('is answered with its packet id and a code for each filter, also when there was none', async () => {
    for (const version of VERSIONS) {
      for (const expiry of [0, 100]) {
        const client = await connected({ sessionExpiryInterval: expiry }, version)
        await client.subscribe('un/a', 1)
        await client.subscribe('un/+', 1)
        client.send({
          cmd: 'unsubscribe',
          messageId: 99,
          unsubscriptions: ['un/+', 'un/b', 'UN/a'],
        })
        const unsuback = await client.next('unsuback')
        expect(unsuback.messageId).toBe(99)
        if (version.protocolVersion === 5) {
          const { success, noSubscriptionExisted } = ReasonCode
          expect(unsuback.granted).toEqual([success, noSubscriptionExisted, noSubscriptionExisted])
        } else expect(client.bytes.subarray(-4).toString('hex')).toBe('b0020063')
        client.publish('un/b', 'not any more', { qos: 1, messageId: 1 })
        client.publish('un/a', 'still', { qos: 1, messageId: 2 })
        expect((await client.next('publish')).payload.toString()).toBe('still')
      }
    }
  })

  test('what has been begun is brought to its end', async () => {
    for (const expiry of [0, 100]) {
      const client = await connected({ sessionExpiryInterval: expiry })
      await client.subscribe('un/begun', 2)
      client.publish('un/begun', 'x', { qos: 2, messageId: 1 })
      const { messageId } = await client.next('publish')
      client.send({ cmd: 'unsubscribe', messageId: 2, unsubscriptions: ['un/begun'] })
      await client.next('unsuback')
      client.send({ cmd: 'pubrec', messageId: messageId as number, reasonCode: 0 })
      expect((await client.next('pubrel')).messageId).toBe(messageId)
    }
  })
})

describe('WebSocket', () => {
  test('packets may be cut and joined at will, and the subprotocol is mqtt', async () => {
    const { WebSocket } = await import('ws')
    const socket = new WebSocket(`ws://127.0.0.1:${bench.webSocketPorts[0]}/mqtt`, ['mqtt'])
    const bytes: Buffer[] = []
    socket.on('message', (chunk: Buffer, isBinary) => {
      if (isBinary) bytes.push(chunk)
    })
    await new Promise((resolve) => socket.on('open', resolve))
    expect(socket.protocol).toBe('mqtt')
    const all = Buffer.from('100d00044d51545404020000000161c000c000', 'hex')
    for (const [from, to] of [
      [0, 1],
      [1, 9],
      [9, 16],
      [16, 19],
    ]) {
      socket.send(all.subarray(from, to))
    }
    await eventually(() => Buffer.concat(bytes).toString('hex') === '20020000d000d000')
    socket.send('text')
    await new Promise((resolve) => socket.on('close', resolve))
  })
})
