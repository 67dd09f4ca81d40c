import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { MqttBench } from '../../testing/mqtt-bench.ts'
import { eventually } from '../../testing/virtual-clock.ts'
import { ReasonCode } from './packets.ts'

let bench: MqttBench

beforeAll(async () => {
  bench = await MqttBench.start()
})
afterEach(() => bench.reset())
afterAll(() => bench.stop())

const connected = (...args: Parameters<MqttBench['connected']>) => bench.connected(...args)

async function codeOf(more: object = {}): Promise<number> {
  const client = await bench.raw()
  const connack = await client.connect(more)
  return connack.reasonCode ?? connack.returnCode ?? -1
}

describe('rates', () => {
  test('slow a client down that publishes faster, and lose nothing', async () => {
    bench.set('limits.client-messages-per-second', 10)
    const sub = await connected()
    await sub.subscribe('fast', 1)
    const client = await connected({}, { keepalive: 5 })
    const other = await connected()
    await bench.advance(2_000)
    const send = (from: number): void => {
      // All in one chunk.
      client.socket.cork()
      for (let i = from; i < from + 40; i++) {
        client.publish('fast', `${i}`, { qos: 1, messageId: i + 1 })
      }
      client.socket.uncork()
    }
    send(0)
    for (let i = 0; i < 40; i++) await client.next('puback')
    send(40)
    other.publish('fast', 'other', { qos: 1, messageId: 1 })
    await other.next('puback')
    expect(client.inbox).toEqual([])
    await bench.advance(2_000)
    expect(client.inbox).toEqual([])
    await bench.advance(2_000)
    for (let i = 0; i < 40; i++) await client.next('puback')
    // Held back for longer than its keep alive, which is not its fault.
    await bench.advance(4_100)
    await client.ping()
    expect(client.isClosed).toBe(false)
  })

  test('count the bytes of a user over all of its clients', async () => {
    bench.set('limits.user-bytes-per-second', 1_000)
    const [one, two] = [await connected(), await connected()]
    await bench.advance(2_000)
    one.publish('bytes', 'x'.repeat(3_000), { qos: 1, messageId: 1 })
    await one.next('puback')
    // Its first chunk is read, and pays for both.
    await two.ping()
    two.publish('bytes', 'x', { qos: 1, messageId: 1 })
    await bench.advance(1_000)
    expect(two.inbox).toEqual([])
    await bench.advance(2_000)
    await two.next('puback')
  })

  test('disconnect with 0x96 where that is wanted', async () => {
    bench.set('limits.client-messages-per-second', 1)
    bench.set('limits.excess', 'disconnect')
    const client = await connected()
    for (let i = 0; i < 20; i++) client.publish('fast', 'x')
    expect((await client.next('disconnect')).reasonCode).toBe(ReasonCode.messageRateTooHigh)
  })
})

describe('connections', () => {
  test('of the broker and of a user are limited', async () => {
    const first = await connected()
    bench.set('limits.user-connections-max', 1)
    expect(await codeOf()).toBe(ReasonCode.quotaExceeded)
    expect(await codeOf({ protocolVersion: 4 })).toBe(3)
    first.send({ cmd: 'disconnect' })
    await first.closed()
    await expect.poll(() => codeOf()).toBe(0)
    bench.set('limits.user-connections-max', null)
    bench.set('limits.connections-max', 1)
    expect(await codeOf()).toBe(ReasonCode.quotaExceeded)
  })

  test('that come too fast are refused with 0x9F', async () => {
    bench.set('limits.listener-connections-per-second', 1)
    await bench.advance(2_000)
    const codes = [await codeOf(), await codeOf(), await codeOf()]
    expect(codes).toContain(ReasonCode.connectionRateExceeded)
    await bench.advance(2_000)
    expect(await codeOf()).toBe(0)
    bench.set('limits.listener-connections-per-second', null)
    bench.set('limits.user-connections-per-second', 1)
    await bench.advance(2_000)
    const next = [await codeOf(), await codeOf(), await codeOf()]
    expect(next).toContain(ReasonCode.connectionRateExceeded)
  })

  test('have ten seconds for CONNECT, also when it dribbles in', async () => {
    const client = await bench.raw()
    const bytes = Buffer.from('100d00044d515454040200000001', 'hex')
    for (const byte of bytes) {
      client.sendBytes([byte])
      await bench.advance(1_000)
    }
    await client.closed()
    expect(client.bytes.length).toBe(0)
  })
})

describe('bans', () => {
  test('keep clients, users and addresses out with 0x8A, and end connections with 0x98', async () => {
    const client = await connected({}, { clientId: 'banned' })
    bench.put('ban', '1', { kind: 'client', who: 'banned' })
    expect((await client.next('disconnect')).reasonCode).toBe(ReasonCode.administrativeAction)
    expect(await codeOf({ clientId: 'banned' })).toBe(ReasonCode.banned)
    expect(await codeOf({ clientId: 'banned', protocolVersion: 4 })).toBe(5)
    expect(await codeOf({ clientId: 'other' })).toBe(0)
    bench.put('ban', '2', { kind: 'user', who: 'anonymous' })
    expect(await codeOf({ clientId: 'other' })).toBe(ReasonCode.banned)
    bench.remove('ban', '2')
    bench.put('ban', '3', { kind: 'address', who: '127.0.0.0/8' })
    expect(await codeOf({ clientId: 'other' })).toBe(ReasonCode.banned)
    bench.remove('ban', '3')
    expect(await codeOf({ clientId: 'other' })).toBe(0)
  })

  test('end with their time', async () => {
    const until = bench.cluster.clock.wallMs() + 60_000
    bench.put('ban', '1', { kind: 'client', who: 'for-a-while', until })
    expect(await codeOf({ clientId: 'for-a-while' })).toBe(ReasonCode.banned)
    await bench.advance(61_000)
    expect(await codeOf({ clientId: 'for-a-while' })).toBe(0)
  })
})

describe('a broker that is short of memory', () => {
  test('lets nobody in, and reads publishers slower', async () => {
    const sub = await connected()
    await sub.subscribe('memory', 1)
    const pub = await connected()
    bench.isOutOfMemory = true
    expect(await codeOf()).toBe(ReasonCode.serverBusy)
    expect(await codeOf({ protocolVersion: 4 })).toBe(3)
    pub.publish('memory', '1', { qos: 1, messageId: 1 })
    await pub.next('puback')
    pub.publish('memory', '2', { qos: 1, messageId: 2 })
    // Who does not publish is not held back.
    const { messageId } = await sub.next('publish')
    sub.send({ cmd: 'puback', messageId: messageId as number, reasonCode: 0 })
    await sub.ping()
    expect(pub.inbox).toEqual([])
    await bench.advance(600)
    await pub.next('puback')
    bench.isOutOfMemory = false
    expect(await codeOf()).toBe(0)
  })
})

describe('a client that does not read', () => {
  test('loses QoS 0 messages, keeps QoS 1 ones up to a limit, and costs no more than that', async () => {
    bench.set('limits.client-unsent-bytes', 65_536)
    bench.set('limits.client-waiting-bytes', 1_000_000)
    const slow = await connected({}, { clientId: 'does-not-read' })
    await slow.subscribe('slow/#', 1)
    slow.socket.pause()
    const pub = await connected()
    const payload = 'x'.repeat(100_000)
    const dropped = (): number => bench.servers[0]?.counters().dropped ?? 0
    const before = dropped()
    // More than the kernel's buffers take.
    for (let i = 0; i < 200; i++) pub.publish('slow/0', payload)
    await pub.ping()
    expect(dropped() - before).toBeGreaterThan(10)
    for (let i = 0; i < 5; i++) pub.publish('slow/1', payload, { qos: 1, messageId: i + 1 })
    for (let i = 0; i < 5; i++) await pub.next('puback')
    slow.socket.resume()
    const kept = () => slow.publishes.filter(({ topic }) => topic === 'slow/1').length
    await eventually(() => {
      void bench.advance(1_000)
      return kept() === 5
    })
    slow.socket.pause()
    for (let i = 0; i < 400; i++) pub.publish('slow/1', payload, { qos: 1, messageId: i + 1 })
    for (let i = 0; i < 400; i++) await pub.next('puback')
    slow.socket.resume()
    expect((await slow.next('disconnect')).reasonCode).toBe(ReasonCode.quotaExceeded)
  })

  test('with a lasting session has a bounded part of its inbox on its way', async () => {
    const slow = await connected({ sessionExpiryInterval: 100 }, { clientId: 'lasting' })
    await slow.subscribe('lasting', 1)
    const pub = await connected()
    const payload = 'x'.repeat(1_000_000)
    for (let i = 0; i < 30; i++) {
      pub.publish('lasting', payload, { qos: 1, messageId: i + 1 })
      await pub.next('puback')
    }
    await eventually(() => slow.publishes.length >= 16)
    await slow.ping()
    expect(slow.publishes.length).toBeLessThan(20)
    for (let i = 0; i < 30; i++) {
      const { messageId } = await slow.next('publish')
      slow.send({ cmd: 'puback', messageId: messageId as number, reasonCode: 0 })
    }
  })
})
