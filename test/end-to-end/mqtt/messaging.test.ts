import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../../support/cluster.ts'
import {
  type Client,
  connect,
  mosquittoPub,
  mosquittoSub,
  rawSocket,
  startMosquittoSub,
} from '../../support/mqtt-clients.ts'

let cluster: TestCluster
let port: (node: number) => number
const open: Client[] = []

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3')
  port = (node) => cluster.mqttPort(node)
})

afterAll(async () => {
  await Promise.all(open.map((client) => client.end()))
  await cluster.purge()
})

async function client(...args: Parameters<typeof connect>): Promise<Client> {
  const connected = await connect(...args)
  open.push(connected)
  return connected
}

describe('MQTT over three brokers', () => {
  test('mosquitto_sub on broker 1 gets what mosquitto_pub sends to broker 3', async () => {
    const sub = await startMosquittoSub(port(1), '-V', '5', '-q', '1', '-t', 'sensors/#')
    await mosquittoPub(port(3), '-q', '1', '-t', 'sensors/a', '-m', 'hi')
    await expect.poll(sub.lines).toEqual(['sensors/a hi'])
    sub.stop()
  })

  test.each([4, 5] as const)(
    'MQTT.js gets every QoS over every pair of brokers, version %i',
    async (version) => {
      const topic = `pairs/${version}`
      const options = { protocolVersion: version }
      const subscribers = await Promise.all([1, 2, 3].map((node) => client(port(node), options)))
      for (const { mqtt } of subscribers) await mqtt.subscribeAsync(`${topic}/+`, { qos: 2 })
      const publishers = await Promise.all([1, 2, 3].map((node) => client(port(node), options)))
      for (const [node, { mqtt }] of publishers.entries()) {
        for (const qos of [0, 1, 2] as const)
          await mqtt.publishAsync(`${topic}/${node}`, `${qos}`, { qos })
      }
      for (const { received } of subscribers) {
        const seen = (): string[] =>
          received.map(({ topic: at, text, packet }) => `${at} ${text} ${packet.qos}`).sort()
        const expected = [0, 1, 2].flatMap((node) =>
          [0, 1, 2].map((qos) => `${topic}/${node} ${qos} ${qos}`),
        )
        await expect.poll(seen).toEqual(expected)
      }
    },
  )

  test('QoS is the lower one of publishing and subscribing [MQTT-3.8.4-8]', async () => {
    const sub = await client(port(1))
    await sub.mqtt.subscribeAsync('qos/zero', { qos: 0 })
    await sub.mqtt.subscribeAsync('qos/one', { qos: 1 })
    const pub = await client(port(2))
    await pub.mqtt.publishAsync('qos/zero', 'a', { qos: 2 })
    await pub.mqtt.publishAsync('qos/one', 'b', { qos: 2 })
    await expect.poll(() => sub.received.map(({ packet }) => packet.qos).sort()).toEqual([0, 1])
  })

  test('messages of one publisher stay in order over brokers [MQTT-4.6.0-5]', async () => {
    const sub = await client(port(1))
    await sub.mqtt.subscribeAsync('order', { qos: 1 })
    const pub = await client(port(3))
    const numbers = Array.from({ length: 500 }, (_, i) => String(i))
    await Promise.all(numbers.map((text) => pub.mqtt.publishAsync('order', text, { qos: 1 })))
    await expect.poll(sub.texts).toEqual(numbers)
  })

  test('all properties pass unaltered, and subscription identifiers are told [MQTT-3.3.2-20]', async () => {
    const sub = await client(port(1))
    await sub.mqtt.subscribeAsync('props', { qos: 1, properties: { subscriptionIdentifier: 7 } })
    const pub = await client(port(2))
    const properties = {
      payloadFormatIndicator: true,
      contentType: 'text/plain',
      responseTopic: 'answers',
      correlationData: Buffer.from([1, 2, 3]),
      userProperties: { a: ['1', '2'], b: 'x' },
    }
    await pub.mqtt.publishAsync('props', 'x', { qos: 1, properties })
    await expect
      .poll(() => sub.received[0]?.packet.properties)
      .toMatchObject({
        ...properties,
        subscriptionIdentifier: 7,
      })
  })

  test('no local and retain as published are kept [MQTT-3.8.3-3]', async () => {
    const self = await client(port(1), { clientId: 'self' })
    await self.mqtt.subscribeAsync('local', { qos: 1, nl: true })
    const other = await client(port(2))
    await other.mqtt.subscribeAsync('local', { qos: 1, rap: true })
    await self.mqtt.publishAsync('local', 'x', { qos: 1, retain: true })
    await expect.poll(() => other.received.map(({ packet }) => packet.retain)).toEqual([true])
    expect(self.received).toEqual([])
    await self.mqtt.publishAsync('local', '', { qos: 1, retain: true })
  })

  test('retained messages reach later subscribers of any broker, with their flag', async () => {
    await mosquittoPub(port(1), '-q', '1', '-r', '-t', 'kept/a', '-m', '1')
    await mosquittoPub(port(2), '-q', '0', '-r', '-t', 'kept/b', '-m', '2')
    const sub = await client(port(3), { protocolVersion: 4 })
    await sub.mqtt.subscribeAsync('kept/#', { qos: 1 })
    await expect.poll(() => sub.texts().sort()).toEqual(['1', '2'])
    expect(sub.received.every(({ packet }) => packet.retain)).toBe(true)
    await mosquittoPub(port(3), '-q', '1', '-r', '-t', 'kept/a', '-n')
    const later = await client(port(1))
    await later.mqtt.subscribeAsync('kept/#', { qos: 1 })
    await expect.poll(later.texts).toEqual(['2'])
  })

  test('a will is published when the connection breaks, not when the client says goodbye', async () => {
    const watcher = await client(port(1))
    await watcher.mqtt.subscribeAsync('wills/#', { qos: 1 })
    const will = (topic: string) => ({
      will: { topic, payload: Buffer.from('w'), qos: 1 as const },
    })
    const polite = await client(port(2), will('wills/polite'))
    await polite.mqtt.endAsync()
    const broken = await client(port(2), will('wills/broken'))
    broken.mqtt.stream.destroy()
    await expect.poll(() => watcher.received.map(({ topic }) => topic)).toEqual(['wills/broken'])
  })

  test('a client id connects anywhere and takes its session over [MQTT-3.1.4-3]', async () => {
    const options = { clientId: 'roamer', clean: false, properties: { sessionExpiryInterval: 600 } }
    const first = await client(port(1), options)
    await first.mqtt.subscribeAsync('roam', { qos: 1 })
    const reasons: (number | undefined)[] = []
    first.mqtt.on('disconnect', (packet) => reasons.push(packet.reasonCode))
    const second = await client(port(3), options)
    await expect.poll(() => reasons).toEqual([0x8e])
    const pub = await client(port(2))
    await pub.mqtt.publishAsync('roam', 'found', { qos: 1 })
    await expect.poll(second.texts).toEqual(['found'])
    expect(first.texts()).toEqual([])
  })

  test('a persistent session keeps QoS 1 and 2 messages while it is away', async () => {
    const id = ['-c', '-i', 'sleeper', '-V', '5', '-x', '600', '-q', '2', '-t', 'away/#']
    await mosquittoSub(port(2), ...id, '-E')
    for (const [text, qos] of [
      ['one', '1'],
      ['two', '2'],
      ['zero', '0'],
    ] as const) {
      await mosquittoPub(port(1), '-q', qos, '-t', 'away/x', '-m', text)
    }
    const output = await mosquittoSub(port(3), ...id, '-C', '2', '-W', '10', '-F', '%p %q')
    expect(output).toBe('one 1\ntwo 2\n')
  })

  test('a publish that no durable session wants after all is acknowledged at once', async () => {
    const publisher = await client(port(1))
    // Ten names, so that some live on shards of the publisher's own broker.
    for (let i = 0; i < 10; i++) {
      const sleeper = await client(port(1), {
        clientId: `lowly-${i}`,
        clean: false,
        properties: { sessionExpiryInterval: 600 },
      })
      await sleeper.mqtt.subscribeAsync(`lowly/${i}`, { qos: 0 })
      await publisher.mqtt.publishAsync(`lowly/${i}`, 'x', { qos: 1 })
      await expect.poll(sleeper.texts).toEqual(['x'])
    }
  })

  test('a session ends with its expiry, and clean start forgets it', async () => {
    const options = { clientId: 'brief', clean: false, properties: { sessionExpiryInterval: 600 } }
    const first = await client(port(1), options)
    await first.mqtt.subscribeAsync('brief', { qos: 1 })
    await first.mqtt.endAsync(false, { properties: { sessionExpiryInterval: 0 } })
    expect((await client(port(2), options)).connack.sessionPresent).toBe(false)
    expect((await client(port(3), options)).connack.sessionPresent).toBe(true)
    expect((await client(port(1), { ...options, clean: true })).connack.sessionPresent).toBe(false)
  })

  test('an MQTT 5 client without a name is given one [MQTT-3.1.3-6]', async () => {
    const { connack } = await client(port(1), { clientId: '' })
    expect(connack.properties?.assignedClientIdentifier).toMatch(/^auto-/)
  })
})

describe('bad input on the MQTT port', () => {
  const CONNECT = Buffer.from('101000044d51545404020000000474657374', 'hex')

  test.each([
    ['garbage', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['a packet before CONNECT', Buffer.from('c000', 'hex')],
    ['a second CONNECT', Buffer.concat([CONNECT, CONNECT])],
    ['a remaining length of five bytes', Buffer.from('10ffffffffff01', 'hex')],
    ['an unknown protocol', Buffer.from('100f00034d515404020000000474657374', 'hex')],
    ['a publish of QoS 3', Buffer.concat([CONNECT, Buffer.from('360700016100016869', 'hex')])],
    [
      'a topic with a wildcard',
      Buffer.concat([CONNECT, Buffer.from('300500012368 69'.replace(' ', ''), 'hex')]),
    ],
    ['a packet that is too large', Buffer.concat([CONNECT, Buffer.from('30ffffff7f', 'hex')])],
  ])('%s closes that connection only', async (_name, bytes) => {
    const bystander = await client(port(1))
    await bystander.mqtt.subscribeAsync('by/stander', { qos: 1 })
    const socket = await rawSocket(port(1))
    socket.write(bytes)
    await socket.closed_
    await bystander.mqtt.publishAsync('by/stander', 'alive', { qos: 1 })
    await expect.poll(bystander.texts).toEqual(['alive'])
  })

  test('a packet cut off in the middle leaves nothing behind', async () => {
    const socket = await rawSocket(port(1))
    socket.write(Buffer.concat([CONNECT, Buffer.from('3040000161', 'hex')]))
    socket.destroy()
    await socket.closed_
    const bystander = await client(port(1))
    await bystander.mqtt.publishAsync('by/stander', 'alive', { qos: 1 })
  })

  test('an unsupported version is told so', async () => {
    const socket = await rawSocket(port(1))
    socket.write(Buffer.from('101000044d51545409020000000474657374', 'hex'))
    const answer = await socket.closed_
    expect(answer.subarray(0, 1).toString('hex')).toBe('20')
  })
})
