// PUBLISH and its acknowledgements, both ways, over sockets. docs/mqtt-conformance.md names these tests.

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { type Connected, MqttBench } from '../../../testing/mqtt-bench.ts'
import { ReasonCode } from '../packets.ts'

let bench: MqttBench

beforeAll(async () => {
  bench = await MqttBench.start()
})
afterEach(() => bench.reset())
afterAll(() => bench.stop())

const connected = (...args: Parameters<MqttBench['connected']>) => bench.connected(...args)
const VERSIONS = [{ protocolVersion: 4 as const }, { protocolVersion: 5 as const }]

async function acknowledge(client: Connected, messageId: number | undefined, qos: number) {
  const id = messageId as number
  if (qos === 1) client.send({ cmd: 'puback', messageId: id, reasonCode: 0 })
  if (qos !== 2) return
  client.send({ cmd: 'pubrec', messageId: id, reasonCode: 0 })
  expect((await client.next('pubrel')).messageId).toBe(id)
  client.send({ cmd: 'pubcomp', messageId: id, reasonCode: 0 })
}

describe('a PUBLISH from a client', () => {
  test('is answered as its QoS asks, with its packet id', async () => {
    for (const version of VERSIONS) {
      const client = await connected({}, version)
      client.publish('qos/0', 'x')
      client.publish('qos/1', 'x', { qos: 1, messageId: 7 })
      expect((await client.next('puback')).messageId).toBe(7)
      client.publish('qos/2', 'x', { qos: 2, messageId: 9 })
      expect((await client.next('pubrec')).messageId).toBe(9)
      client.send({ cmd: 'pubrel', messageId: 9, reasonCode: 0 })
      expect((await client.next('pubcomp')).messageId).toBe(9)
      await client.ping()
      expect(client.inbox).toEqual([])
    }
  })

  test('of QoS 1 with a packet id that was acknowledged is a new message, DUP or not', async () => {
    const sub = await connected()
    await sub.subscribe('again/1')
    const client = await connected()
    for (const [payload, dup] of [
      ['a', false],
      ['b', true],
    ] as const) {
      client.publish('again/1', payload, { qos: 1, messageId: 1, dup })
      await client.next('puback')
    }
    expect((await sub.next('publish')).payload.toString()).toBe('a')
    expect((await sub.next('publish')).payload.toString()).toBe('b')
  })

  test('of QoS 2 is a new message only when its packet id was released', async () => {
    for (const expiry of [0, 100]) {
      const sub = await connected()
      await sub.subscribe('again/2')
      const client = await connected({ sessionExpiryInterval: expiry })
      for (let i = 0; i < 3; i++) {
        client.publish('again/2', 'a', { qos: 2, messageId: 1, dup: i > 0 })
        expect((await client.next('pubrec')).messageId).toBe(1)
      }
      client.send({ cmd: 'pubrel', messageId: 1, reasonCode: 0 })
      await client.next('pubcomp')
      client.publish('again/2', 'b', { qos: 2, messageId: 1 })
      await client.next('pubrec')
      await sub.next('publish')
      expect((await sub.next('publish')).payload.toString()).toBe('b')
      await sub.ping()
      expect(sub.publishes).toEqual([])
    }
  })

  test('of QoS 2 that was refused is a new message when it comes again', async () => {
    bench.put('user', 'u', { tags: [], credentials: {} })
    bench.set('security.anonymous', 'always')
    const client = await connected()
    client.publish('not/allowed', 'x', { qos: 2, messageId: 5 })
    expect((await client.next('pubrec')).reasonCode).toBe(ReasonCode.notAuthorized)
    bench.put('permission', 'r', { user: '*', action: 'all', pattern: '#', allow: true })
    client.publish('not/allowed', 'x', { qos: 2, messageId: 5 })
    expect((await client.next('pubrec')).reasonCode).toBe(0)
  })

  test('that is not allowed is acknowledged before 5.0 all the same, and goes nowhere', async () => {
    bench.put('user', 'u', { tags: [], credentials: {} })
    bench.set('security.anonymous', 'always')
    bench.put('permission', 'r', { user: '*', action: 'subscribe', pattern: '#', allow: true })
    const sub = await connected()
    await sub.subscribe('not/allowed')
    const client = await connected({}, { protocolVersion: 4 })
    client.publish('not/allowed', 'x', { qos: 1, messageId: 5 })
    expect((await client.next('puback')).messageId).toBe(5)
    await sub.ping()
    expect(sub.publishes).toEqual([])
  })

  test('of QoS 2 that is not known any more is completed, with 0x92 in 5.0', async () => {
    for (const version of VERSIONS) {
      const client = await connected({}, version)
      client.send({ cmd: 'pubrel', messageId: 44, reasonCode: 0 })
      const pubcomp = await client.next('pubcomp')
      expect(pubcomp.messageId).toBe(44)
      const code = version.protocolVersion === 5 ? ReasonCode.packetIdentifierNotFound : undefined
      expect(pubcomp.reasonCode).toBe(code)
    }
  })

  test('acknowledgements come in the order of the messages', async () => {
    const client = await connected({ sessionExpiryInterval: 100 })
    await client.subscribe('order/+', 2)
    const kinds = [1, 2, 1, 1, 2, 2, 1] as const
    for (const [i, qos] of kinds.entries())
      client.publish(`order/${qos}`, 'x', { qos, messageId: i + 1 })
    for (const cmd of ['puback', 'pubrec'] as const) {
      const mine = kinds.flatMap((qos, i) => ((qos === 1) === (cmd === 'puback') ? [i + 1] : []))
      for (const id of mine) expect((await client.next(cmd)).messageId).toBe(id)
    }
  })

  test('its properties are forwarded unaltered and in order, its topic alias and DUP are not', async () => {
    for (const expiry of [0, 100]) {
      const sub = await connected({ sessionExpiryInterval: expiry })
      await sub.subscribe('props', 1)
      const client = await connected()
      const before = sub.bytes.length
      // Payload format, content type, response topic, correlation data, three user properties, alias.
      const properties =
        '0101 03000161 08000172 0900020102 26000161000131 26000162000132 26000161000133 230001'
      const body = `0005 ${Buffer.from('props').toString('hex')} 0007 27 ${properties} 78`
      client.sendBytes(
        Buffer.from([0x3a, body.replaceAll(' ', '').length / 2]),
        body.replaceAll(' ', ''),
      )
      await sub.next('publish')
      const sent = sub.bytes.subarray(before).toString('hex')
      expect(sent).toContain(properties.replaceAll(' ', '').replace('230001', ''))
      expect(sent).not.toContain('230001')
      expect(sent.slice(0, 2)).toBe('32')
    }
  })

  test('topics and their matches are taken byte for byte', async () => {
    const sub = await connected()
    await sub.subscribe('/')
    await sub.subscribe('Case/é')
    const client = await connected()
    for (const topic of ['case/é', 'Case/e\u0301', 'Case/é/', '//', '/', 'Case/é', '\ufeff/']) {
      client.publish(topic, topic)
    }
    expect((await sub.next('publish')).topic).toBe('/')
    expect((await sub.next('publish')).topic).toBe('Case/é')
    await sub.ping()
    expect(sub.publishes).toEqual([])
  })

  test('a topic of 65,535 bytes is taken', async () => {
    const topic = 'x'.repeat(65_535)
    const sub = await connected()
    await sub.subscribe(topic)
    sub.publish(topic, 'long')
    expect((await sub.next('publish')).topic).toBe(topic)
  })
})

describe('a PUBLISH to a client', () => {
  test('has the lower of the two QoS, a packet id of its own, and neither DUP nor RETAIN', async () => {
    for (const version of VERSIONS) {
      for (const granted of [0, 1, 2] as const) {
        const sub = await connected({}, version)
        await sub.subscribe('min', granted)
        const client = await connected({}, version)
        for (const qos of [0, 1, 2] as const) {
          client.publish('min', 'x', { qos, messageId: 1 + qos, retain: true, dup: qos > 0 })
          const got = await sub.next('publish')
          const expected = Math.min(qos, granted)
          expect(got).toMatchObject({ qos: expected, dup: false, retain: false })
          if (expected === 0) expect(got.messageId).toBeUndefined()
          else expect(got.messageId).toBeGreaterThan(0)
          await acknowledge(sub, got.messageId, expected)
        }
        client.publish('min', '', { retain: true })
        await client.ping()
      }
    }
  })

  test('that was not acknowledged comes again with DUP and the same packet id, in order, on the next connection only', async () => {
    for (const version of VERSIONS) {
      const clientId = `resend-${version.protocolVersion}`
      const keeps = { sessionExpiryInterval: 1_000 }
      const sub = await connected(keeps, { clientId, clean: false, ...version })
      await sub.subscribe('resend', 2)
      const client = await connected()
      for (const [i, qos] of ([1, 2, 1] as const).entries()) {
        client.publish('resend', `${i}`, { qos, messageId: i + 1 })
      }
      const first = [
        await sub.next('publish'),
        await sub.next('publish'),
        await sub.next('publish'),
      ]
      await bench.advance(60_000)
      await sub.ping()
      expect(sub.publishes).toEqual([])
      sub.drop()
      const back = await connected(keeps, { clientId, clean: false, ...version })
      for (const { messageId, payload, qos } of first) {
        const again = await back.next('publish')
        expect(again).toMatchObject({ messageId, qos, dup: true })
        expect(again.payload.toString()).toBe(payload.toString())
        await acknowledge(back, messageId, qos)
      }
      await back.ping()
      back.drop()
      await bench.advance(1_000)
      const last = await connected(keeps, { clientId, clean: true, ...version })
      await last.ping()
      expect(last.publishes).toEqual([])
    }
  })

  test('of QoS 2 is not sent again after PUBREC: PUBREL is, on the next connection', async () => {
    const clientId = 'pubrel-again'
    const keeps = { sessionExpiryInterval: 100 }
    const sub = await connected(keeps, { clientId })
    await sub.subscribe('release', 2)
    sub.publish('release', 'x', { qos: 2, messageId: 1 })
    const { messageId } = await sub.next('publish')
    sub.send({ cmd: 'pubrec', messageId: messageId as number, reasonCode: 0 })
    await sub.next('pubrel')
    sub.drop()
    const back = await connected(keeps, { clientId, clean: false })
    expect((await back.next('pubrel')).messageId).toBe(messageId)
    back.send({ cmd: 'pubcomp', messageId: messageId as number, reasonCode: 0 })
    await back.ping()
    expect(back.publishes).toEqual([])
  })

  test('that the client refuses with 0x80 or above is over', async () => {
    const clientId = 'refuses'
    const keeps = { sessionExpiryInterval: 100, receiveMaximum: 1 }
    const sub = await connected(keeps, { clientId })
    await sub.subscribe('refuse', 2)
    const client = await connected()
    client.publish('refuse', '1', { qos: 1, messageId: 1 })
    client.publish('refuse', '2', { qos: 2, messageId: 2 })
    client.publish('refuse', '3', { qos: 1, messageId: 3 })
    const first = await sub.next('publish')
    sub.send({ cmd: 'puback', messageId: first.messageId as number, reasonCode: 0x80 })
    const second = await sub.next('publish')
    sub.send({ cmd: 'pubrec', messageId: second.messageId as number, reasonCode: 0x97 })
    expect((await sub.next('publish')).payload.toString()).toBe('3')
    sub.drop()
    await bench.advance(100)
    const back = await connected(keeps, { clientId, clean: false })
    expect((await back.next('publish')).payload.toString()).toBe('3')
  })

  test('that was sent does not expire: its exchange goes on', async () => {
    const clientId = 'expires-not'
    const keeps = { sessionExpiryInterval: 1_000 }
    const sub = await connected(keeps, { clientId })
    await sub.subscribe('sent', 2)
    const properties = { messageExpiryInterval: 5 }
    sub.publish('sent', 'x', { qos: 2, messageId: 1, properties })
    const { messageId } = await sub.next('publish')
    sub.drop()
    await bench.advance(20_000)
    const back = await connected(keeps, { clientId, clean: false })
    const again = await back.next('publish')
    expect(again).toMatchObject({ messageId, dup: true })
    await acknowledge(back, messageId, 2)
  })

  test('an unknown PUBREC is answered, with 0x92 in 5.0', async () => {
    for (const version of VERSIONS) {
      const client = await connected({}, version)
      client.send({ cmd: 'pubrec', messageId: 77, reasonCode: 0 })
      const pubrel = await client.next('pubrel')
      expect(pubrel.messageId).toBe(77)
      const code = version.protocolVersion === 5 ? ReasonCode.packetIdentifierNotFound : undefined
      expect(pubrel.reasonCode).toBe(code)
    }
  })

  test('PUBREL comes in the order of PUBREC', async () => {
    for (const expiry of [0, 100]) {
      const sub = await connected({ sessionExpiryInterval: expiry })
      await sub.subscribe('released', 2)
      const client = await connected()
      for (let i = 1; i <= 5; i++) client.publish('released', `${i}`, { qos: 2, messageId: i })
      const ids: number[] = []
      for (let i = 0; i < 5; i++) ids.push((await sub.next('publish')).messageId as number)
      const order = [ids[3], ids[0], ids[4], ids[1], ids[2]] as number[]
      for (const messageId of order) sub.send({ cmd: 'pubrec', messageId, reasonCode: 0 })
      for (const messageId of order) expect((await sub.next('pubrel')).messageId).toBe(messageId)
    }
  })

  test('messages of one publisher and QoS stay in order', async () => {
    for (const expiry of [0, 100]) {
      const sub = await connected({ sessionExpiryInterval: expiry })
      await sub.subscribe('in/order', 2)
      const client = await connected()
      for (let i = 1; i <= 60; i++) client.publish('in/order', `${i}`, { qos: 1, messageId: i })
      for (let i = 1; i <= 60; i++) {
        const got = await sub.next('publish')
        expect(got.payload.toString()).toBe(`${i}`)
        await acknowledge(sub, got.messageId, 1)
      }
    }
  })

  test('a full window delays nothing but PUBLISH', async () => {
    const sub = await connected({ receiveMaximum: 1 })
    await sub.subscribe('full', 1)
    for (let i = 1; i <= 3; i++) sub.publish('full', `${i}`, { qos: 1, messageId: i })
    await sub.next('publish')
    await sub.subscribe('other')
    sub.publish('other', 'flows', { qos: 0 })
    expect((await sub.next('publish')).topic).toBe('other')
    await sub.ping()
  })
})

describe('retained messages', () => {
  const retainedOf = async (topic: string, more: object = {}, version: object = {}) => {
    const client = await connected({}, version)
    await client.subscribe(topic, 1, more)
    await client.ping()
    return client.publishes.map(({ payload, retain }) => [payload.toString(), retain])
  }

  test('are kept, replaced, forgotten by an empty one, and left alone by others', async () => {
    for (const version of VERSIONS) {
      const topic = `kept/${version.protocolVersion}`
      const client = await connected({}, version)
      const send = async (payload: string, retain: boolean, qos: 0 | 1) => {
        client.publish(topic, payload, { qos, retain, messageId: 1 })
        if (qos === 1) await client.next('puback')
        else await client.ping()
      }
      await send('1', true, 1)
      expect(await retainedOf(topic, {}, version)).toEqual([['1', true]])
      await send('2', true, 0)
      await send('3', false, 1)
      expect(await retainedOf(`${topic}/#`, {}, version)).toEqual([['2', true]])
      const live = await connected({}, version)
      await live.subscribe(topic, 0)
      await live.next('publish')
      await send('', true, 1)
      expect(await live.next('publish')).toMatchObject({ retain: false })
      expect(await retainedOf(topic, {}, version)).toEqual([])
    }
  })

  test('outlive the session that published them', async () => {
    const client = await connected({}, { clean: true })
    client.publish('kept/on', 'x', { qos: 1, retain: true, messageId: 1 })
    await client.next('puback')
    client.drop()
    expect(await retainedOf('kept/on')).toEqual([['x', true]])
  })

  test('come as retain handling says', async () => {
    const client = await connected()
    client.publish('kept/handling', 'x', { qos: 1, retain: true, messageId: 1 })
    await client.next('puback')
    for (const [rh, first, second] of [
      [0, 1, 1],
      [1, 1, 0],
      [2, 0, 0],
    ] as const) {
      const sub = await connected()
      for (const expected of [first, second]) {
        await sub.subscribe('kept/handling', 0, { rh })
        await sub.ping()
        expect(sub.publishes.length).toBe(expected)
        sub.inbox.length = 0
      }
    }
  })

  test('published later keep their flag for those who ask for it as published', async () => {
    for (const rap of [false, true]) {
      const sub = await connected()
      await sub.subscribe('kept/flag', 1, { rap, rh: 2 })
      sub.publish('kept/flag', 'x', { retain: true })
      sub.publish('kept/flag', 'y', { retain: false })
      expect((await sub.next('publish')).retain).toBe(rap)
      expect((await sub.next('publish')).retain).toBe(false)
    }
  })
})
