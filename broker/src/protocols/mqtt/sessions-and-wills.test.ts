import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { MqttBench } from '../../testing/mqtt-bench.ts'
import { eventually } from '../../testing/virtual-clock.ts'
import { ReasonCode } from './packets.ts'

let bench: MqttBench
let names = 0

beforeAll(async () => {
  bench = await MqttBench.start(2)
})
afterEach(() => bench.reset())
afterAll(() => bench.stop())

const nextName = (): string => `client-${names++}`

const connected = (...args: Parameters<MqttBench['connected']>) => bench.connected(...args)

const willOf = (topic: string, properties: object = {}) => ({
  will: { topic, payload: Buffer.from('gone'), qos: 1 as const, retain: false, properties },
})

async function watcher(filter: string) {
  const client = await connected()
  await client.subscribe(filter, 1)
  return client
}

describe('a will', () => {
  test('is published when the connection breaks, and not after DISCONNECT [MQTT-3.1.2-8] [MQTT-3.1.2-10] [MQTT-3.14.4-3]', async () => {
    const watch = await watcher('will/a')
    const polite = await connected({}, willOf('will/a'))
    polite.send({ cmd: 'disconnect', reasonCode: 0 })
    await polite.closed()
    const rude = await connected({}, willOf('will/a'))
    rude.drop()
    expect((await watch.next('publish')).payload.toString()).toBe('gone')
    await watch.ping()
    expect(watch.publishes).toEqual([])
  })

  test('is published after DISCONNECT with reason 0x04', async () => {
    const watch = await watcher('will/asked')
    const client = await connected({}, willOf('will/asked'))
    client.send({ cmd: 'disconnect', reasonCode: ReasonCode.disconnectWithWillMessage })
    expect((await watch.next('publish')).payload.toString()).toBe('gone')
  })

  test('waits for its delay, and is not published when the client is back in time [MQTT-3.1.3-9]', async () => {
    const watch = await watcher('will/delay')
    const clientId = nextName()
    const will = willOf('will/delay', { willDelayInterval: 10 })
    const first = await connected({ sessionExpiryInterval: 100 }, { clientId, ...will })
    first.drop()
    await bench.advance(9_000)
    const back = await connected(
      { sessionExpiryInterval: 100 },
      { clientId, clean: false, ...will },
    )
    await bench.advance(20_000)
    await watch.ping()
    expect(watch.publishes).toEqual([])
    back.drop()
    await bench.advance(11_000)
    expect((await watch.next('publish')).payload.toString()).toBe('gone')
  })

  test('is published at the end of the session when that comes before its delay', async () => {
    const watch = await watcher('will/end')
    const client = await connected(
      { sessionExpiryInterval: 5 },
      willOf('will/end', { willDelayInterval: 1_000 }),
    )
    client.drop()
    await bench.advance(6_000)
    expect((await watch.next('publish')).payload.toString()).toBe('gone')
  })

  test('is published at once when DISCONNECT 0x04 ends the session, whatever its delay', async () => {
    const watch = await watcher('will/now')
    const client = await connected(
      { sessionExpiryInterval: 500 },
      willOf('will/now', { willDelayInterval: 300 }),
    )
    client.send({
      cmd: 'disconnect',
      reasonCode: ReasonCode.disconnectWithWillMessage,
      properties: { sessionExpiryInterval: 0 },
    })
    expect((await watch.next('publish')).payload.toString()).toBe('gone')
  })

  test('is published when a clean start ends the session that it waits in', async () => {
    const watch = await watcher('will/clean')
    const clientId = nextName()
    const will = willOf('will/clean', { willDelayInterval: 300 })
    const client = await connected({ sessionExpiryInterval: 500 }, { clientId, ...will })
    client.drop()
    await connected({}, { clientId, clean: true })
    expect((await watch.next('publish')).payload.toString()).toBe('gone')
  })

  test('lives for its expiry from its publication on, however long the client was connected', async () => {
    const watch = await watcher('will/expiry')
    const client = await connected({}, willOf('will/expiry', { messageExpiryInterval: 60 }))
    await bench.advance(3_600_000)
    client.drop()
    const { properties } = await watch.next('publish')
    expect(properties?.messageExpiryInterval).toBe(60)
  })

  test('has its properties forwarded, and is retained where asked [MQTT-3.1.2-15] [MQTT-3.1.3-10]', async () => {
    const properties = {
      contentType: 'text/plain',
      responseTopic: 'r',
      correlationData: Buffer.from([1, 2]),
      payloadFormatIndicator: true,
      userProperties: { a: ['1', '2'] },
    }
    const { will } = willOf('will/kept', properties)
    const client = await connected({}, { will: { ...will, retain: true } })
    client.drop()
    const late = await connected()
    await eventually(() => bench.servers.every(({ connections }) => connections <= 1))
    await late.subscribe('will/kept', 1)
    const { properties: got, retain } = await late.next('publish')
    expect(retain).toBe(true)
    expect(got).toMatchObject(properties)
    late.publish('will/kept', '', { retain: true, qos: 1, messageId: 1 })
    await late.next('puback')
  })

  test('is published when keep alive runs out, or the protocol is broken [MQTT-3.1.2-22] [MQTT-4.13.1-1]', async () => {
    const watch = await watcher('will/broken/#')
    await connected({}, { keepalive: 10, ...willOf('will/broken/silent') })
    await bench.advance(20_000)
    expect((await watch.next('publish')).topic).toBe('will/broken/silent')
    const bad = await connected({}, willOf('will/broken/bad'))
    bad.sendBytes([0xf0, 0])
    expect((await watch.next('publish')).topic).toBe('will/broken/bad')
  })
})

describe('a session', () => {
  test('that ends with its connection cannot be extended by DISCONNECT', async () => {
    const watch = await watcher('extend')
    const client = await connected({}, willOf('extend'))
    client.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 10 } })
    expect((await client.next('disconnect')).reasonCode).toBe(ReasonCode.protocolError)
    expect((await watch.next('publish')).payload.toString()).toBe('gone')
  })

  test('is kept for as long as DISCONNECT says in the end', async () => {
    const clientId = nextName()
    const client = await connected({ sessionExpiryInterval: 10 }, { clientId })
    client.send({ cmd: 'disconnect', reasonCode: 0, properties: { sessionExpiryInterval: 100 } })
    await client.closed()
    await bench.advance(60_000)
    const back = await connected({ sessionExpiryInterval: 10 }, { clientId, clean: false }, 1)
    expect(back.connack.sessionPresent).toBe(true)
  })

  test('that is taken over is told so, on any broker [MQTT-3.1.4-3]', async () => {
    const clientId = nextName()
    const first = await connected({}, { clientId })
    await connected({}, { clientId }, 1)
    expect((await first.next('disconnect')).reasonCode).toBe(ReasonCode.sessionTakenOver)
    await first.closed()
  })

  test('forgets everything with a clean start, and says that nothing is there [MQTT-3.1.2-4] [MQTT-3.2.2-2]', async () => {
    const clientId = nextName()
    const client = await connected({ sessionExpiryInterval: 100 }, { clientId })
    await client.subscribe('clean/a', 1)
    client.drop()
    const again = await connected({ sessionExpiryInterval: 100 }, { clientId, clean: true })
    expect(again.connack.sessionPresent).toBe(false)
    again.publish('clean/a', 'x', { qos: 1, messageId: 1 })
    await again.next('puback')
    await again.ping()
    expect(again.publishes).toEqual([])
  })

  test('keeps subscriptions and what was published meanwhile [MQTT-3.1.2-5] [MQTT-3.2.2-3] [MQTT-4.1.0-1]', async () => {
    const clientId = nextName()
    const client = await connected({ sessionExpiryInterval: 100 }, { clientId })
    await client.subscribe('kept/a', 1)
    client.drop()
    const pub = await connected()
    pub.publish('kept/a', 'x', { qos: 1, messageId: 1 })
    await pub.next('puback')
    const back = await connected({ sessionExpiryInterval: 100 }, { clientId, clean: false }, 1)
    expect(back.connack.sessionPresent).toBe(true)
    expect((await back.next('publish')).payload.toString()).toBe('x')
  })
})

describe('message expiry', () => {
  test('tells the rest of the time, from the inbox and of retained messages [MQTT-3.3.2-6]', async () => {
    const clientId = nextName()
    const client = await connected({ sessionExpiryInterval: 1_000 }, { clientId })
    await client.subscribe('expiry/a', 1)
    client.drop()
    const pub = await connected()
    const properties = { messageExpiryInterval: 100 }
    pub.publish('expiry/a', 'x', { qos: 1, messageId: 1, retain: true, properties })
    await pub.next('puback')
    await bench.advance(40_000)
    const back = await connected({ sessionExpiryInterval: 1_000 }, { clientId, clean: false })
    expect((await back.next('publish')).properties?.messageExpiryInterval).toBe(60)
    const late = await watcher('expiry/a')
    expect((await late.next('publish')).properties?.messageExpiryInterval).toBe(60)
    await bench.advance(61_000)
    const later = await watcher('expiry/a')
    await later.ping()
    expect(later.publishes).toEqual([])
  })

  test('ends what has not been sent, in an inbox and behind a window [MQTT-3.3.2-5]', async () => {
    for (const expiry of [0, 1_000]) {
      const sub = await connected({ receiveMaximum: 1, sessionExpiryInterval: expiry })
      await sub.subscribe('expiry/b', 1)
      const pub = await connected()
      const properties = { messageExpiryInterval: 10 }
      pub.publish('expiry/b', 'first', { qos: 1, messageId: 1 })
      pub.publish('expiry/b', 'late', { qos: 1, messageId: 2, properties })
      pub.publish('expiry/b', 'last', { qos: 1, messageId: 3 })
      for (let i = 0; i < 3; i++) await pub.next('puback')
      const first = await sub.next('publish')
      await bench.advance(11_000)
      sub.send({ cmd: 'puback', messageId: first.messageId as number, reasonCode: 0 })
      expect((await sub.next('publish')).payload.toString()).toBe('last')
    }
  })
})

describe('MQTT 3.1', () => {
  const old = { protocolId: 'MQIsdp' as const, protocolVersion: 3 as const }

  test('takes names of more than 23 characters, and none that is empty', async () => {
    await connected({}, { ...old, clientId: 'x'.repeat(64) })
    const nameless = await bench.raw()
    nameless.sendBytes('100e0006', Buffer.from('MQIsdp'), '030200000000')
    await nameless.closed()
    expect(nameless.bytes.toString('hex')).toBe('20020002')
  })

  test('is told of no session, and of a refused filter as in 3.1.1', async () => {
    bench.put('user', 'u', { tags: [], credentials: {} })
    bench.put('permission', 'r', { user: '*', action: 'all', pattern: 'may', allow: true })
    bench.set('security.anonymous', 'always')
    for (let i = 0; i < 2; i++) {
      const client = await connected({}, { ...old, clientId: 'old-session', clean: false })
      expect(client.bytes.toString('hex')).toBe('20020000')
      const suback = await client.subscribe(i === 0 ? 'may' : 'may/not', 1)
      expect(suback.granted).toEqual([i === 0 ? 1 : 0x80])
    }
  })

  test('speaks with clients of the others, and repeats with DUP', async () => {
    const sub = await connected({}, old)
    // SUBSCRIBE with DUP set, as 3.1 clients repeat it.
    sub.sendBytes('8a0a0001', '0005', Buffer.from('old/+'), '01')
    await sub.next('suback')
    const pub = await connected({}, { protocolVersion: 5 })
    pub.publish('old/a', 'x', { qos: 1, messageId: 1, properties: { contentType: 'a' } })
    expect(await sub.next('publish')).toMatchObject({ topic: 'old/a', qos: 1 })
  })
})
