import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { MqttBench } from '../../testing/mqtt-bench.ts'
import { eventually } from '../../testing/virtual-clock.ts'
import { OUTGOING_ALIASES_MAX, RECEIVE_MAXIMUM, TOPIC_ALIAS_MAXIMUM } from './limits.ts'
import { ReasonCode } from './packets.ts'

let bench: MqttBench

beforeAll(async () => {
  bench = await MqttBench.start()
})
afterEach(() => bench.reset())
afterAll(() => bench.stop())

const connected = (...args: Parameters<MqttBench['connected']>) => bench.connected(...args)

describe('topic aliases towards a client', () => {
  test('are used within its maximum, first with the topic and then without [MQTT-3.1.2-26] [MQTT-3.3.2-8]', async () => {
    const sub = await connected({ topicAliasMaximum: 2 })
    await sub.subscribe('alias/#')
    const pub = await connected()
    for (const topic of ['alias/a', 'alias/b', 'alias/c', 'alias/a', 'alias/b', 'alias/c']) {
      pub.publish(topic, topic)
    }
    await eventually(() => sub.publishes.length === 6)
    const seen = sub.publishes.map(({ topic, properties }) => [topic, properties?.topicAlias])
    expect(seen).toEqual([
      ['alias/a', 1],
      ['alias/b', 2],
      ['alias/c', undefined],
      ['', 1],
      ['', 2],
      ['alias/c', undefined],
    ])
    expect(sub.publishes.map(({ payload }) => payload.toString())[3]).toBe('alias/a')
  })

  test('are not used without a maximum [MQTT-3.1.2-27], and belong to one connection', async () => {
    const clientId = 'alias-reconnect'
    const sub = await connected({ topicAliasMaximum: 5, sessionExpiryInterval: 60 }, { clientId })
    await sub.subscribe('alias/again', 1)
    const pub = await connected()
    pub.publish('alias/again', '1', { qos: 1, messageId: 1 })
    expect((await sub.next('publish')).properties?.topicAlias).toBe(1)
    sub.drop()
    const back = await connected({ sessionExpiryInterval: 60 }, { clientId, clean: false })
    expect(await back.next('publish')).toMatchObject({ topic: 'alias/again', dup: true })
    const keeps = { topicAliasMaximum: 5, sessionExpiryInterval: 60 }
    const again = await connected(keeps, { clientId, clean: false })
    expect(await again.next('publish')).toMatchObject({ topic: 'alias/again' })
  })

  test('that were not sent, since the packet was too large, are not known', async () => {
    const sub = await connected({ topicAliasMaximum: 5, maximumPacketSize: 60 })
    await sub.subscribe('alias/size')
    const pub = await connected()
    pub.publish('alias/size', 'x'.repeat(100))
    pub.publish('alias/size', 'small')
    expect(await sub.next('publish')).toMatchObject({
      topic: 'alias/size',
      properties: { topicAlias: 1 },
    })
  })

  test('end at our own maximum, however many the client takes', async () => {
    const sub = await connected({ topicAliasMaximum: 65_535 })
    await sub.subscribe('many/+')
    const pub = await connected()
    for (let i = 0; i <= OUTGOING_ALIASES_MAX; i++) pub.publish(`many/${i}`, 'x')
    await eventually(() => sub.publishes.length === OUTGOING_ALIASES_MAX + 1)
    const aliases = sub.publishes.map(({ properties }) => properties?.topicAlias)
    expect(aliases.at(-2)).toBe(OUTGOING_ALIASES_MAX)
    expect(aliases.at(-1)).toBeUndefined()
  })
})

describe('topic aliases from a client', () => {
  test('map to the topic that came with them last [MQTT-3.3.2-12]', async () => {
    const sub = await connected()
    await sub.subscribe('in/#')
    const pub = await connected()
    expect(pub.connack.properties?.topicAliasMaximum).toBe(TOPIC_ALIAS_MAXIMUM)
    pub.publish('in/a', '1', { properties: { topicAlias: 3 } })
    pub.publish('', '2', { properties: { topicAlias: 3 } })
    pub.publish('in/b', '3', { properties: { topicAlias: 3 } })
    pub.publish('', '4', { properties: { topicAlias: 3 } })
    await eventually(() => sub.publishes.length === 4)
    expect(sub.publishes.map(({ topic }) => topic)).toEqual(['in/a', 'in/a', 'in/b', 'in/b'])
    expect(sub.publishes.every(({ properties }) => properties?.topicAlias === undefined)).toBe(true)
  })

  test.each([
    [0, ReasonCode.topicAliasInvalid],
    [TOPIC_ALIAS_MAXIMUM + 1, ReasonCode.topicAliasInvalid],
    [7, ReasonCode.protocolError],
  ])(
    'alias %i without a topic ends the connection with %i [MQTT-3.3.2-8] [MQTT-3.3.2-9]',
    async (alias, code) => {
      const pub = await connected()
      pub.sendBytes([0x30, 7, 0, 0, 3, 0x23, 0, alias, 0x78])
      expect((await pub.next('disconnect')).reasonCode).toBe(code)
      await pub.closed()
    },
  )
})

describe('receive maximum', () => {
  test('of the client bounds what is sent to it unacknowledged [MQTT-3.3.4-9]', async () => {
    for (const expiry of [0, 60]) {
      const sub = await connected({ receiveMaximum: 2, sessionExpiryInterval: expiry })
      await sub.subscribe('window', 2)
      const pub = await connected()
      for (let i = 1; i <= 5; i++) pub.publish('window', `${i}`, { qos: 1, messageId: i })
      for (let i = 1; i <= 5; i++) await pub.next('puback')
      await sub.ping()
      await eventually(() => sub.publishes.length === 2)
      for (let i = 0; i < 5; i++) {
        expect(sub.publishes.length).toBeLessThanOrEqual(2)
        const { messageId } = await sub.next('publish')
        sub.send({ cmd: 'puback', messageId: messageId as number, reasonCode: 0 })
      }
    }
  })

  test('counts an exactly-once message until PUBCOMP, and never PUBREL [MQTT-4.9.0-1]', async () => {
    const sub = await connected({ receiveMaximum: 1 })
    await sub.subscribe('window2', 2)
    const pub = await connected()
    for (let i = 1; i <= 2; i++) pub.publish('window2', `${i}`, { qos: 2, messageId: i })
    for (let i = 1; i <= 2; i++) {
      await pub.next('pubrec')
      pub.send({ cmd: 'pubrel', messageId: i, reasonCode: 0 })
    }
    const first = await sub.next('publish')
    sub.send({ cmd: 'pubrec', messageId: first.messageId as number, reasonCode: 0 })
    await sub.next('pubrel')
    await sub.ping()
    expect(sub.publishes).toEqual([])
    sub.send({ cmd: 'pubcomp', messageId: first.messageId as number, reasonCode: 0 })
    expect((await sub.next('publish')).payload.toString()).toBe('2')
  })

  test('of the broker is told, and exceeding it ends the connection with 0x93 [MQTT-3.3.4-7]', async () => {
    const pub = await connected()
    expect(pub.connack.properties?.receiveMaximum).toBe(RECEIVE_MAXIMUM)
    for (let i = 1; i <= RECEIVE_MAXIMUM; i++) pub.publish('over', 'x', { qos: 2, messageId: i })
    await pub.ping()
    expect(pub.isClosed).toBe(false)
    pub.publish('over', 'x', { qos: 2, messageId: RECEIVE_MAXIMUM + 1 })
    expect((await pub.next('disconnect')).reasonCode).toBe(ReasonCode.receiveMaximumExceeded)
    await pub.closed()
  })

  test('has room again for what is completed, refused or repeated', async () => {
    const pub = await connected()
    for (let i = 1; i <= RECEIVE_MAXIMUM; i++) pub.publish('room', 'x', { qos: 2, messageId: i })
    for (let i = 1; i <= RECEIVE_MAXIMUM; i++) await pub.next('pubrec')
    pub.publish('room', 'x', { qos: 2, messageId: 5, dup: true })
    expect((await pub.next('pubrec')).messageId).toBe(5)
    pub.send({ cmd: 'pubrel', messageId: 9, reasonCode: 0 })
    expect((await pub.next('pubcomp')).messageId).toBe(9)
    pub.publish('room', 'x', { qos: 2, messageId: 9 })
    expect((await pub.next('pubrec')).messageId).toBe(9)
  })
})

describe('maximum packet size', () => {
  test('of the client: what is larger is left out as if it had been sent [MQTT-3.1.2-24] [MQTT-3.1.2-25]', async () => {
    for (const expiry of [0, 60]) {
      const limits = { maximumPacketSize: 60, receiveMaximum: 1, sessionExpiryInterval: expiry }
      const sub = await connected(limits)
      await sub.subscribe('size', 1)
      const pub = await connected()
      pub.publish('size', 'x'.repeat(100), { qos: 1, messageId: 1 })
      pub.publish('size', 'small', { qos: 1, messageId: 2 })
      expect((await sub.next('publish')).payload.toString()).toBe('small')
    }
  })

  test('of the broker: a larger packet ends the connection with 0x95 [MQTT-3.2.2-15]', async () => {
    bench.set('limits.packet-bytes', 2_048)
    const pub = await connected()
    expect(pub.connack.properties?.maximumPacketSize).toBe(2_048)
    pub.publish('size', 'x'.repeat(3_000))
    expect((await pub.next('disconnect')).reasonCode).toBe(ReasonCode.packetTooLarge)
  })

  test('too small for an answer ends the connection without it [MQTT-3.1.2-24] [MQTT-3.14.0-1]', async () => {
    const tiny = await bench.raw()
    await expect(tiny.connect({ properties: { maximumPacketSize: 20 } })).rejects.toThrow('closed')
    expect(tiny.bytes.length).toBe(0)
  })

  test('leaves a reason in words out rather than the code [MQTT-3.14.2-3]', async () => {
    const small = await connected({ maximumPacketSize: 40 }, { clientId: 'small' })
    small.sendBytes([0xf0, 0])
    const disconnect = await small.next('disconnect')
    expect(disconnect.reasonCode).toBe(ReasonCode.protocolError)
    expect(disconnect.properties?.reasonString).toBeUndefined()
  })
})

describe('reasons in words', () => {
  test('leaves reasons of acknowledgements out where the client takes no packet as large', async () => {
    bench.put('user', 'u', { tags: [], credentials: {} })
    bench.set('security.anonymous', 'always')
    const client = await connected({ maximumPacketSize: 30 }, { clientId: 'tiny' })
    const suback = await client.subscribe('secret')
    expect(suback.granted).toEqual([ReasonCode.notAuthorized])
    for (const [qos, answer] of [
      [1, 'puback'],
      [2, 'pubrec'],
    ] as const) {
      client.publish('secret', 'x', { qos, messageId: 9 })
      const { reasonCode, properties } = await client.next(answer)
      expect({ reasonCode, words: properties?.reasonString }).toEqual({
        reasonCode: ReasonCode.notAuthorized,
        words: undefined,
      })
    }
    client.send({ cmd: 'pubrel', messageId: 3, reasonCode: 0 })
    expect((await client.next('pubcomp')).reasonCode).toBe(ReasonCode.packetIdentifierNotFound)
  })

  test('come with a DISCONNECT unless the client wants none', async () => {
    const asks = await connected()
    asks.sendBytes([0xf0, 0])
    expect((await asks.next('disconnect')).properties?.reasonString).toContain('authentication')
    const asksNot = await connected({ requestProblemInformation: false })
    asksNot.sendBytes([0xf0, 0])
    expect((await asksNot.next('disconnect')).properties?.reasonString).toBeUndefined()
  })

  test('come with SUBACK, PUBACK and CONNACK unless the client wants none [MQTT-3.1.2-29]', async () => {
    bench.put('user', 'u', { tags: [], credentials: {} })
    bench.set('security.anonymous', 'always')
    for (const wanted of [true, false]) {
      const client = await connected({ requestProblemInformation: wanted })
      const suback = await client.subscribe('secret')
      expect(suback.granted).toEqual([ReasonCode.notAuthorized])
      client.publish('secret', 'x', { qos: 1, messageId: 9 })
      const puback = await client.next('puback')
      expect(puback.reasonCode).toBe(ReasonCode.notAuthorized)
      const refused = await bench.raw()
      const connack = await refused.connect({
        username: 'u',
        password: Buffer.from('x'),
        properties: { requestProblemInformation: wanted },
      })
      expect(connack.reasonCode).toBe(ReasonCode.badUserNameOrPassword)
      const words = [suback, puback, connack].map((packet) => packet.properties?.reasonString)
      expect(words.map((text) => text !== undefined)).toEqual([wanted, wanted, wanted])
    }
  })
})

describe('what operators settle', () => {
  test('a longer keep alive, or none, is answered with ours [MQTT-3.2.2-21] [MQTT-3.1.2-21]', async () => {
    bench.set('mqtt.keep-alive-max-seconds', 30)
    for (const [asked, told] of [
      [0, 30],
      [60, 30],
      [20, undefined],
    ] as const) {
      const client = await connected({}, { keepalive: asked })
      expect(client.connack.properties?.serverKeepAlive).toBe(told)
    }
    const silent = await connected({}, { keepalive: 600 })
    await bench.advance(50_000)
    expect((await silent.next('disconnect')).reasonCode).toBe(ReasonCode.keepAliveTimeout)
  })

  test('a session is kept no longer than that, and the client is told', async () => {
    bench.set('mqtt.session-expiry-max-seconds', 100)
    const clientId = 'expiring'
    const first = await connected({ sessionExpiryInterval: 1_000 }, { clientId })
    expect(first.connack.properties?.sessionExpiryInterval).toBe(100)
    first.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 500 } })
    await first.closed()
    await bench.advance(90_000)
    const second = await connected({ sessionExpiryInterval: 50 }, { clientId, clean: false })
    expect(second.connack).toMatchObject({ sessionPresent: true })
    expect(second.connack.properties?.sessionExpiryInterval).toBeUndefined()
    second.drop()
    await bench.advance(60_000)
    const third = await connected({}, { clientId, clean: false })
    expect(third.connack.sessionPresent).toBe(false)
  })

  test('response information is told to who asks for it, with its names [MQTT-3.1.2-28]', async () => {
    const asks = { requestResponseInformation: true }
    expect((await connected(asks)).connack.properties?.responseInformation).toBeUndefined()
    bench.set('mqtt.response-information', 'responses/%c')
    const told = await connected(asks, { clientId: 'asker' })
    expect(told.connack.properties?.responseInformation).toBe('responses/asker')
    const other = await connected({}, { clientId: 'asker' })
    expect(other.connack.properties?.responseInformation).toBeUndefined()
  })

  test('a payload that is not the UTF-8 it is said to be is refused with 0x99 where asked', async () => {
    const text = { payloadFormatIndicator: true }
    const bad = Buffer.from([0xff])
    const pub = await connected()
    pub.publish('format', 'x', { qos: 1, messageId: 1, payload: bad, properties: text })
    expect((await pub.next('puback')).reasonCode).toBe(0)
    bench.set('mqtt.payload-format-check', true)
    for (const [qos, answer] of [
      [1, 'puback'],
      [2, 'pubrec'],
    ] as const) {
      pub.publish('format', 'x', { qos, messageId: 2, payload: bad, properties: text })
      expect((await pub.next(answer)).reasonCode).toBe(ReasonCode.payloadFormatInvalid)
      pub.publish('format', 'ä', { qos, messageId: 3, properties: text })
      expect((await pub.next(answer)).reasonCode).toBe(0)
    }
    pub.publish('format', 'x', { payload: bad, properties: text })
    expect((await pub.next('disconnect')).reasonCode).toBe(ReasonCode.payloadFormatInvalid)
    const will = { topic: 'format', payload: bad, qos: 0 as const, retain: false, properties: text }
    const connack = await (await bench.raw()).connect({ will })
    expect(connack.reasonCode).toBe(ReasonCode.payloadFormatInvalid)
  })

  test('a client is sent to the same entrance of another broker', async () => {
    const client = await connected()
    const servers = ['mqtt:1']
    const serversBy = (entrance: string) => [`other-${entrance}:1`]
    bench.servers[0]?.moveClients(1_000, { servers, serversBy, closeOthers: false })
    const { reasonCode, properties } = await client.next('disconnect')
    expect(reasonCode).toBe(ReasonCode.useAnotherServer)
    expect(properties?.serverReference).toBe('other-mqtt:1')
    bench.refusals.push({ cause: 'throttled', reason: 'the broker is drained', server: 'there:1' })
    const connack = await (await bench.raw()).connect()
    expect(connack.reasonCode).toBe(ReasonCode.useAnotherServer)
    expect(connack.properties?.serverReference).toBe('there:1')
  })
})
