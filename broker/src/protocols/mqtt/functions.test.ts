import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { MqttBench } from '../../testing/mqtt-bench.ts'
import { ReasonCode } from './packets.ts'

let bench: MqttBench

beforeAll(async () => {
  bench = await MqttBench.start(2)
})
afterEach(() => bench.reset())
afterAll(() => bench.stop())

const connected = (...args: Parameters<MqttBench['connected']>) => bench.connected(...args)
const keeps = { sessionExpiryInterval: 1_000 }

describe('a delayed publish', () => {
  test('comes at its time, of any QoS, retained too, whichever broker it was sent to', async () => {
    const subscriber = await connected({}, {}, 1)
    await subscriber.subscribe('later/#', 2)
    const publisher = await connected()
    publisher.publish('$delayed/5/later/0', 'zero')
    publisher.publish('$delayed/5/later/1', 'one', { qos: 1, messageId: 1, retain: true })
    expect(await publisher.next('puback')).toMatchObject({ messageId: 1, reasonCode: 0 })
    publisher.publish('$delayed/4/later/2', 'two', { qos: 2, messageId: 2 })
    expect(await publisher.next('pubrec')).toMatchObject({ messageId: 2 })
    publisher.send({ cmd: 'pubrel', messageId: 2 })
    await publisher.next('pubcomp')
    await publisher.ping()
    await bench.advance(3_900)
    await subscriber.ping()
    expect(subscriber.publishes).toEqual([])
    await bench.advance(200)
    expect(await subscriber.next('publish')).toMatchObject({ topic: 'later/2', qos: 2 })
    await bench.advance(1_000)
    const rest = [await subscriber.next('publish'), await subscriber.next('publish')]
    expect(rest.map(({ topic, qos }) => `${topic} ${qos}`).sort()).toEqual([
      'later/0 0',
      'later/1 1',
    ])
    const late = await connected({}, {}, 1)
    await late.subscribe('later/1', 1)
    expect(await late.next('publish')).toMatchObject({ retain: true })
    publisher.publish('later/1', '', { retain: true })
    await publisher.ping()
  })

  test('is refused with 0x90 when it is malformed, and 0 seconds are no delay', async () => {
    const client = await connected()
    await client.subscribe('now')
    for (const topic of ['$delayed/x/a', '$delayed/5', '$delayed/5/', '$delayed/5000000000/a']) {
      client.publish(topic, 'x', { qos: 1, messageId: 1 })
      expect(await client.next('puback')).toMatchObject({ reasonCode: ReasonCode.topicNameInvalid })
    }
    client.publish('$delayed/0/now', 'x')
    expect(await client.next('publish')).toMatchObject({ topic: 'now' })
  })
})

describe('an exclusive subscription', () => {
  test('is had by one session of the cluster at a time', async () => {
    const one = await connected({}, {}, 0)
    expect((await one.subscribe('$exclusive/only/a', 1)).granted).toEqual([1])
    const two = await connected({}, {}, 1)
    const refused = await two.subscribe('$exclusive/only/a', 1)
    expect(refused.granted).toEqual([ReasonCode.quotaExceeded])
    expect((await two.subscribe('only/a', 0)).granted).toEqual([0])
    two.publish('only/a', 'x', { qos: 1, messageId: 1 })
    expect(await one.next('publish')).toMatchObject({ topic: 'only/a', qos: 1 })
    one.send({ cmd: 'unsubscribe', messageId: 5, unsubscriptions: ['$exclusive/only/a'] })
    expect((await one.next('unsuback')).granted).toEqual([0])
    expect((await two.subscribe('$exclusive/only/a', 1)).granted).toEqual([1])
    expect((await two.subscribe('$exclusive/only/a', 1)).granted).toEqual([1])
  })

  test('is free again when its session has ended, and not before', async () => {
    const live = await connected()
    await live.subscribe('$exclusive/only/live')
    live.drop()
    const kept = await connected(keeps, { clientId: 'exclusive-kept' })
    await kept.subscribe('$exclusive/only/kept')
    kept.drop()
    const next = await connected({}, {}, 1)
    await expect
      .poll(async () => (await next.subscribe('$exclusive/only/live')).granted)
      .toEqual([0])
    expect((await next.subscribe('$exclusive/only/kept')).granted).toEqual([0x97])
    await bench.advance(1_001_000)
    expect((await next.subscribe('$exclusive/only/kept')).granted).toEqual([0])
  })

  test('of two who ask at once goes to one', async () => {
    for (const properties of [{}, keeps]) {
      const all = await Promise.all([0, 1, 0, 1].map((broker) => connected(properties, {}, broker)))
      const topic = `$exclusive/race/${Object.keys(properties).length}`
      const codes = await Promise.all(all.map(async (c) => (await c.subscribe(topic)).granted[0]))
      expect(codes.filter((code) => code === 0)).toHaveLength(1)
      expect(codes.filter((code) => code === 0x97)).toHaveLength(3)
    }
  })

  test('is refused with 0x8F where it is switched off, or no filter', async () => {
    const client = await connected()
    expect((await client.subscribe('$exclusive/')).granted).toEqual([0x8f])
    bench.set('mqtt.exclusive-subscriptions', false)
    expect((await client.subscribe('$exclusive/off')).granted).toEqual([0x8f])
  })

  test('needs the right to its filter', async () => {
    bench.put('user', 'u', { tags: [], credentials: {} })
    bench.set('security.anonymous', 'always')
    bench.put('permission', 'r', { user: '*', action: 'all', pattern: 'may/#', allow: true })
    const client = await connected()
    expect((await client.subscribe('$exclusive/may/a')).granted).toEqual([0])
    expect((await client.subscribe('$exclusive/not')).granted).toEqual([0x87])
  })
})

describe('auto-subscription', () => {
  test('subscribes every client when it connects, with its names', async () => {
    bench.put('auto-subscription', 'a', { topic: 'inbox/%c', qos: 1 })
    bench.put('auto-subscription', 'b', { topic: 'all', retainHandling: 2 })
    const kept = await connected()
    for (const topic of ['inbox/auto', 'all']) {
      kept.publish(topic, 'kept', { qos: 1, messageId: 1, retain: true })
      await kept.next('puback')
    }
    for (const properties of [{}, keeps]) {
      const client = await connected(properties, { clientId: 'auto' })
      expect(await client.next('publish')).toMatchObject({ topic: 'inbox/auto', retain: true })
      kept.publish('all', 'x')
      expect((await client.next('publish')).topic).toBe('all')
      kept.publish('inbox/other', 'x', { qos: 1, messageId: 1 })
      await client.ping()
      expect(client.publishes).toEqual([])
    }
  })

  test('gives nobody what is not allowed', async () => {
    bench.put('auto-subscription', 'a', { topic: 'secret' })
    bench.put('user', 'u', { tags: [], credentials: {} })
    bench.set('security.anonymous', 'always')
    bench.put('permission', 'r', { user: '*', action: 'publish', pattern: '#', allow: true })
    const client = await connected()
    client.publish('secret', 'x', { qos: 1, messageId: 1 })
    await client.next('puback')
    await client.ping()
    expect(client.publishes).toEqual([])
  })
})

describe('topic rewrite', () => {
  test('gives what clients publish and subscribe to another name, before rights are looked at', async () => {
    bench.put('topic-rewrite', '1', { action: 'publish', filter: 'old/+/#', target: 'new/$1/$2' })
    bench.put('topic-rewrite', '2', { action: 'subscribe', filter: 'mine/#', target: 'new/%c/$1' })
    bench.put('user', 'u', { tags: [], credentials: {} })
    bench.set('security.anonymous', 'always')
    bench.put('permission', 'r', { user: '*', action: 'all', pattern: 'new/#', allow: true })
    const sub = await connected(keeps, { clientId: 'c9' })
    expect((await sub.subscribe('mine/#', 2)).granted).toEqual([2])
    const pub = await connected({}, { protocolVersion: 5 }, 1)
    for (const qos of [0, 1, 2] as const) {
      pub.publish('old/c9/a', 'x', { qos, messageId: 1 + qos })
      const { topic, messageId } = await sub.next('publish')
      expect(topic).toBe('new/c9/a')
      if (qos === 1) sub.send({ cmd: 'puback', messageId: messageId as number, reasonCode: 0 })
    }
    pub.publish('old/c9/alias', 'x', { properties: { topicAlias: 1 } })
    pub.publish('', 'x', { properties: { topicAlias: 1 } })
    for (let i = 0; i < 2; i++) expect((await sub.next('publish')).topic).toBe('new/c9/alias')
    sub.send({ cmd: 'unsubscribe', messageId: 5, unsubscriptions: ['mine/#'] })
    expect((await sub.next('unsuback')).granted).toEqual([0])
  })

  test('also a will', async () => {
    bench.put('topic-rewrite', '1', { action: 'all', filter: 'will/%c', target: 'gone' })
    const sub = await connected()
    await sub.subscribe('gone')
    const will = { topic: 'will/w1', payload: Buffer.from('x'), qos: 0 as const, retain: false }
    const client = await connected({}, { clientId: 'w1', will })
    client.drop()
    expect((await sub.next('publish')).topic).toBe('gone')
  })
})

describe('limits of retained messages', () => {
  test('one that is too large is refused with 0x97', async () => {
    bench.set('mqtt.retained-bytes-max', 10)
    const client = await connected()
    client.publish('kept/large', 'x'.repeat(11), { qos: 1, messageId: 1, retain: true })
    expect((await client.next('puback')).reasonCode).toBe(ReasonCode.quotaExceeded)
    client.publish('kept/large', 'x'.repeat(11), { qos: 1, messageId: 1 })
    expect((await client.next('puback')).reasonCode).toBe(0)
    client.publish('kept/large', 'x'.repeat(10), { qos: 1, messageId: 2, retain: true })
    expect((await client.next('puback')).reasonCode).toBe(0)
  })

  test('more than may be kept are delivered but not kept; others are replaced and forgotten as before', async () => {
    const client = await connected()
    const send = async (topic: string, payload: string) => {
      client.publish(topic, payload, { qos: 1, messageId: 1, retain: true })
      return (await client.next('puback')).reasonCode
    }
    const kept = async () => {
      const sub = await connected()
      await sub.subscribe('many/#')
      await sub.ping()
      return sub.publishes.map(({ topic, payload }) => `${topic}=${payload}`).sort()
    }
    for (let i = 0; i < 40; i++) await send(`many/${i}`, 'a')
    bench.cluster.retainedLimits = { messagesMax: 1, expirySeconds: undefined }
    const live = await connected({}, {}, 1)
    await live.subscribe('many/40')
    expect(await send('many/40', 'a')).toBe(ReasonCode.quotaExceeded)
    expect((await live.next('publish')).payload.toString()).toBe('a')
    client.publish('many/41', 'a', { qos: 2, messageId: 2, retain: true })
    expect((await client.next('pubrec')).reasonCode).toBe(ReasonCode.quotaExceeded)
    // Before MQTT 5 there is no way to say so.
    const old = await connected({}, { protocolVersion: 4 })
    old.publish('many/42', 'a', { qos: 1, messageId: 1, retain: true })
    await old.next('puback')
    expect(await send('many/7', 'b')).toBe(0)
    expect(await send('many/8', '')).toBe(0)
    const found = await kept()
    expect(found).toHaveLength(39)
    expect(found).toContain('many/7=b')
    expect(
      [...bench.cluster.nodes.values()]
        .flatMap(({ hosted }) => [...hosted.all()])
        .reduce((sum, { retained }) => sum + retained.refused, 0),
    ).toBe(3)
    bench.cluster.retainedLimits = { messagesMax: undefined, expirySeconds: undefined }
  })

  test('none is kept for longer than that', async () => {
    bench.cluster.retainedLimits = { messagesMax: undefined, expirySeconds: 100 }
    const client = await connected()
    client.publish('short/a', 'x', { qos: 1, messageId: 1, retain: true })
    const properties = { messageExpiryInterval: 30 }
    client.publish('short/b', 'x', { qos: 1, messageId: 2, retain: true, properties })
    await client.next('puback')
    await client.next('puback')
    const kept = async () => {
      const sub = await connected()
      await sub.subscribe('short/+')
      await sub.ping()
      return sub.publishes.map(({ properties: got }) => got?.messageExpiryInterval).sort()
    }
    expect(await kept()).toEqual([100, 30])
    await bench.advance(40_000)
    expect(await kept()).toEqual([60])
    await bench.advance(61_000)
    expect(await kept()).toEqual([])
    bench.cluster.retainedLimits = { messagesMax: undefined, expirySeconds: undefined }
  })
})

describe('events of clients', () => {
  const json = (packet: { payload: string | Buffer }) => JSON.parse(packet.payload.toString())

  test('tell who comes and goes, on every broker', async () => {
    const watch = await connected({}, { clientId: 'watcher' }, 1)
    await watch.subscribe('$SYS/brokers/+/clients/#')
    await bench.advance(1_000)
    watch.inbox.length = 0
    const client = await connected(
      { sessionExpiryInterval: 7 },
      { clientId: 'a/b+c', keepalive: 9 },
    )
    const came = await watch.next('publish')
    expect(came.topic).toBe('$SYS/brokers/b0/clients/a%2Fb%2Bc/connected')
    expect(json(came)).toMatchObject({
      ...{ clientid: 'a/b+c', username: 'anonymous', node: 'b0', ipaddress: '127.0.0.1' },
      ...{ proto_ver: 5, keepalive: 9, clean_start: true, expiry_interval: 7 },
    })
    client.send({ cmd: 'disconnect' })
    const went = await watch.next('publish')
    expect(went.topic).toBe('$SYS/brokers/b0/clients/a%2Fb%2Bc/disconnected')
    expect(json(went)).toMatchObject({ clientid: 'a/b+c', reason_code: 0 })
    bench.set('mqtt.client-events', false)
    await connected()
    await watch.ping()
    expect(watch.publishes).toEqual([])
  })

  test('a client that is behind is slow, until it has caught up', async () => {
    bench.set('mqtt.slow-after-ms', 5_000)
    const watch = await connected()
    await watch.subscribe('$SYS/brokers/b0/clients/snail/+')
    for (const properties of [{}, keeps]) {
      const snail = await connected({ receiveMaximum: 1, ...properties }, { clientId: 'snail' })
      await watch.next('publish')
      await snail.subscribe('to/snail', 1)
      for (let i = 1; i <= 2; i++) watch.publish('to/snail', 'x', { qos: 1, messageId: i })
      const first = await snail.next('publish')
      await bench.advance(8_000)
      expect((await watch.next('publish')).topic).toBe('$SYS/brokers/b0/clients/snail/slow')
      expect(bench.log.at(-1)?.fields.errId).toBe('MQTT_SLOW_CLIENT')
      snail.send({ cmd: 'puback', messageId: first.messageId as number, reasonCode: 0 })
      const second = await snail.next('publish')
      snail.send({ cmd: 'puback', messageId: second.messageId as number, reasonCode: 0 })
      await snail.ping()
      await bench.advance(2_000)
      expect((await watch.next('publish')).topic).toBe('$SYS/brokers/b0/clients/snail/caught-up')
      snail.send({ cmd: 'disconnect' })
      await watch.next('publish')
    }
  })

  test('a client that connects too often is kept out for a time', async () => {
    bench.set('mqtt.flapping-connects-max', 3)
    bench.set('mqtt.flapping-window-seconds', 10)
    bench.set('mqtt.flapping-ban-seconds', 60)
    const watch = await connected({}, { clientId: '' })
    await watch.subscribe('$SYS/brokers/b0/clients/flip/flapping')
    const clientId = 'flip'
    for (let i = 0; i < 3; i++) await connected({}, { clientId })
    for (const protocolVersion of [5, 4] as const) {
      const refused = await bench.raw()
      const connack = await refused.connect({ clientId, protocolVersion })
      expect(connack.reasonCode ?? connack.returnCode).toBe(protocolVersion === 5 ? 0x8a : 5)
      await refused.closed()
    }
    expect(json(await watch.next('publish'))).toMatchObject({ clientid: 'flip' })
    await bench.advance(61_000)
    await connected({}, { clientId })
    for (let i = 0; i < 10; i++) {
      await bench.advance(11_000)
      await connected({}, { clientId })
    }
  })
})

describe('a client that is not let in', () => {
  test('gets no client id banned', async () => {
    bench.set('mqtt.flapping-connects-max', 2)
    bench.put('user', 'u', { tags: [], credentials: {} })
    for (let i = 0; i < 10; i++) {
      const stranger = await bench.raw()
      const connack = await stranger.connect({ clientId: 'victim', username: 'x' })
      expect(connack.reasonCode).toBe(ReasonCode.badUserNameOrPassword)
    }
    bench.remove('user', 'u')
    await connected({}, { clientId: 'victim' })
  })
})

describe('$SYS', () => {
  test('has mosquitto’s names with true counts, for subscribers of the broker and for all', async () => {
    bench.set('mqtt.sys-interval-seconds', 5)
    const client = await connected({}, {}, 0)
    await client.subscribe('count/#')
    for (let i = 0; i < 7; i++) client.publish('count/a', 'four')
    await client.subscribe('$share/a/other/#')
    await client.subscribe('$share/b/other/#')
    // It is sent, and never acknowledged.
    await client.subscribe('owed', 1)
    client.publish('owed', 'x', { qos: 1, messageId: 9 })
    await client.ping()
    await bench.advance(6_000)
    const near = await connected({}, {}, 0)
    await near.subscribe('$SYS/broker/#')
    await near.ping()
    const values = new Map(near.publishes.map((p) => [p.topic, p.payload.toString()]))
    expect(near.publishes.every(({ retain }) => retain)).toBe(true)
    const value = (name: string) => Number(values.get(`$SYS/broker/${name}`))
    expect(values.get('$SYS/broker/version')).toMatch(/^robust version /)
    expect(value('clients/connected')).toBe(1)
    expect(value('publish/messages/received')).toBeGreaterThanOrEqual(7)
    expect(value('load/publish/received/1min')).toBeGreaterThan(0)
    expect(value('shared_subscriptions/count')).toBe(2)
    expect(value('messages/inflight')).toBe(1)
    expect(value('messages/stored')).toBe(3)
    expect(value('store/messages/count')).toBe(3)
    expect(value('clients/expired')).toBe(2)
    expect(value('connection/site/state')).toBe(1)
    const before = value('publish/bytes/sent')
    near.inbox.length = 0
    for (let i = 0; i < 5; i++) client.publish('count/a', 'four')
    await client.ping()
    const far = await connected({}, {}, 1)
    await far.subscribe('$SYS/brokers/b0/publish/bytes/#')
    await far.subscribe('$SYS/broker/clients/connected')
    far.inbox.length = 0
    await bench.advance(6_000)
    await near.ping()
    const sent = near.publishes.find(({ topic }) => topic === '$SYS/broker/publish/bytes/sent')
    expect(Number(sent?.payload.toString())).toBeGreaterThanOrEqual(before + 20)
    expect(sent?.retain).toBe(false)
    const seen = new Set<string>()
    for (let i = 0; i < 3; i++) seen.add((await far.next('publish')).topic)
    expect([...seen].sort()).toEqual([
      '$SYS/broker/clients/connected',
      '$SYS/brokers/b0/publish/bytes/received',
      '$SYS/brokers/b0/publish/bytes/sent',
    ])
  })

  test('is not what # matches, and not for clients to publish', async () => {
    bench.set('mqtt.sys-interval-seconds', 1)
    const client = await connected()
    await client.subscribe('#', 0, { rh: 2 })
    await client.subscribe('+/broker/#', 0, { rh: 2 })
    client.publish('$SYS/broker/version', 'x', { qos: 1, messageId: 1, retain: true })
    expect((await client.next('puback')).reasonCode).toBe(ReasonCode.notAuthorized)
    await bench.advance(3_000)
    await client.ping()
    expect(client.publishes).toEqual([])
    const will = { topic: '$SYS/a', payload: Buffer.from('x'), qos: 0 as const, retain: false }
    expect((await (await bench.raw()).connect({ will })).reasonCode).toBe(0x87)
  })

  test('needs a right of its own as soon as there are users', async () => {
    bench.put('user', 'u', { tags: [], credentials: {} })
    bench.set('security.anonymous', 'always')
    bench.put('permission', 'r', { user: '*', action: 'all', pattern: '#', allow: true })
    const client = await connected()
    expect((await client.subscribe('$SYS/#')).granted).toEqual([0x87])
    bench.put('permission', 's', { user: '*', action: 'subscribe', pattern: '$SYS/#', allow: true })
    expect((await client.subscribe('$SYS/#')).granted).toEqual([0])
  })
})
