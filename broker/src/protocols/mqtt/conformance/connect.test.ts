// CONNECT, CONNACK, PINGREQ, DISCONNECT and what breaks the protocol, over sockets. docs/mqtt-conformance.md
// names these tests.

import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { MqttBench } from '../../../testing/mqtt-bench.ts'
import { AFTER_CONNECT, CONNECT, frame, MALFORMED, type Row } from '../../../testing/mqtt-rules.ts'
import { eventually } from '../../../testing/virtual-clock.ts'
import { ReasonCode } from '../packets.ts'

let bench: MqttBench

beforeAll(async () => {
  bench = await MqttBench.start()
})
afterEach(() => bench.reset())
afterAll(() => bench.stop())

const connected = (...args: Parameters<MqttBench['connected']>) => bench.connected(...args)
const V311 = { protocolVersion: 4 as const }
const VERSIONS = [{ protocolVersion: 4 as const }, { protocolVersion: 5 as const }]
const CLEAN_311 = '100c00044d51545404020000' // CONNECT of 3.1.1 but for its client id

describe('CONNECT', () => {
  test.each(CONNECT)('%s (level %i) is answered, and ends the connection', async (...row: Row) => {
    const [, version, header, body, code] = row
    const client = await bench.raw()
    client.version = version
    client.sendBytes(frame(header, body))
    await client.closed()
    const answer = client.bytes.toString('hex')
    if (header !== 0x10) expect(answer).toBe('')
    else if (version === 5) {
      expect(answer.slice(0, 2)).toBe('20')
      expect(client.bytes[2]).toBe(0)
      expect(client.bytes[3]).toBe(code)
    } else expect(answer).toBe(code === ReasonCode.unsupportedProtocolVersion ? '20020001' : '')
  })

  test('must be the first packet', async () => {
    for (const bytes of ['c000', '30050001617878', 'e000', 'f000']) {
      const client = await bench.raw()
      client.sendBytes(bytes)
      await client.closed()
      expect(client.bytes.length).toBe(0)
    }
  })

  test('a second one ends the connection', async () => {
    for (const version of VERSIONS) {
      const client = await connected({}, version)
      client.sendBytes(`${CLEAN_311}`.replace('100c', '100d'), '000161')
      await client.closed()
      const last = client.inbox.at(-1)
      if (version.protocolVersion === 5) {
        expect(last).toMatchObject({ cmd: 'disconnect', reasonCode: ReasonCode.protocolError })
      } else expect(last).toBeUndefined()
    }
  })

  test('client ids of 1 to 23 letters and digits are taken, and longer and stranger ones', async () => {
    for (const clientId of ['a', '0123456789abcdefghijklm', 'Z'.repeat(200), 'ä/+#$ 💡']) {
      for (const version of VERSIONS) await connected({}, { clientId, ...version })
    }
  })

  test('of 3.1.1 without an id needs a clean session, and gets an id of its own', async () => {
    const refused = await bench.raw()
    refused.sendBytes('100c00044d515454040000000000')
    await refused.closed()
    expect(refused.bytes.toString('hex')).toBe('20020002')
    const first = await connected({}, { clientId: '', ...V311 })
    const second = await connected({}, { clientId: '', ...V311 })
    await first.subscribe('nameless')
    second.publish('nameless', 'x')
    expect((await first.next('publish')).payload.toString()).toBe('x')
  })

  test('of 5.0 without an id is told the one it gets, which nobody else has', async () => {
    const ids = new Set<string | undefined>()
    for (let i = 0; i < 20; i++) {
      const { connack } = await connected({}, { clientId: '' })
      ids.add(connack.properties?.assignedClientIdentifier)
    }
    expect(ids.size).toBe(20)
    expect(ids.has(undefined)).toBe(false)
    const named = await connected({}, { clientId: 'named' })
    expect(named.connack.properties?.assignedClientIdentifier).toBeUndefined()
  })

  test('the id is what a session is found by', async () => {
    const clientId = 'found-by-id'
    const first = await connected({ sessionExpiryInterval: 100 }, { clientId })
    await first.subscribe('found', 1)
    first.drop()
    const other = await connected({}, { clientId: 'another', clean: false })
    expect(other.connack.sessionPresent).toBe(false)
    const back = await connected({ sessionExpiryInterval: 100 }, { clientId, clean: false })
    expect(back.connack.sessionPresent).toBe(true)
  })

  test('that is refused ends the connection, and what follows it is not looked at', async () => {
    bench.put('user', 'u', { tags: [], credentials: {} })
    const watch = await bench.raw()
    for (const version of VERSIONS) {
      const client = await bench.raw()
      client.send({
        ...{ cmd: 'connect', protocolId: 'MQTT', clean: true, keepalive: 0 },
        ...{ clientId: 'x', username: 'u', password: Buffer.from('x') },
        ...version,
      } as never)
      client.version = version.protocolVersion
      client.publish('refused', 'x', { retain: true })
      await client.closed()
      const answer = version.protocolVersion === 5 ? '86' : '04'
      expect(client.bytes.toString('hex').slice(4, 8)).toBe(`00${answer}`)
    }
    bench.remove('user', 'u')
    await watch.connect()
    await watch.subscribe('refused')
    await watch.ping()
    expect(watch.publishes).toEqual([])
  })

  test('packets that come right behind it are worked on after CONNACK', async () => {
    const client = await bench.raw()
    client.version = 4
    client.sendBytes(
      '100d00044d515454040200000001',
      '7a',
      '8206000100016100',
      '30030001617a'.replace('7a', ''),
      'c000',
    )
    await eventually(() => client.bytes.length >= 11)
    expect(client.bytes[0]).toBe(0x20)
  })

  test('user name and password are what the flags say', async () => {
    // Each is cut off where the flags promise a field, or longer than they do.
    for (const [flags, rest] of [
      ['82', ''],
      ['c2', '000175'],
      ['02', '000175'],
      ['82', '000175000170'],
    ] as const) {
      const client = await bench.raw()
      const body = `00044d51545404${flags}0000000163${rest}`
      client.sendBytes(frame(0x10, body))
      await client.closed()
      expect(client.bytes.length).toBe(0)
    }
  })

  test('a password without a user name is taken by 5.0 only', async () => {
    const five = await bench.raw()
    five.sendBytes(frame(0x10, '00044d5154540542000000 000163 000170'))
    expect((await five.next('connack')).reasonCode).toBe(0)
  })
})

describe('CONNACK', () => {
  test('is the first packet, and comes once', async () => {
    for (const version of VERSIONS) {
      const client = await connected({}, version)
      expect(client.bytes[0]).toBe(0x20)
      await client.ping()
      expect(client.inbox).toEqual([])
    }
  })

  test('says whether there was a session', async () => {
    for (const [version, clientId] of [
      [VERSIONS[0], 'present-4'],
      [VERSIONS[1], 'present-5'],
    ] as const) {
      const keeps = { sessionExpiryInterval: 100 }
      const connect = async (clean: boolean) => {
        const client = await connected(keeps, { clientId, clean, ...version })
        expect(client.bytes[2]).toBe(client.connack.sessionPresent ? 1 : 0)
        return client.connack.sessionPresent
      }
      expect(await connect(false)).toBe(false)
      expect(await connect(false)).toBe(true)
      expect(await connect(true)).toBe(false)
    }
  })

  test('offers every QoS, retained messages, wildcards and identifiers by saying nothing else', async () => {
    const { connack } = await connected()
    expect(connack.properties).toMatchObject({ receiveMaximum: expect.any(Number) })
    for (const name of ['maximumQoS', 'retainAvailable', 'wildcardSubscriptionAvailable']) {
      expect(connack.properties).not.toHaveProperty(name)
    }
    expect(connack.properties).not.toHaveProperty('subscriptionIdentifiersAvailable')
  })
})

describe('keep alive', () => {
  test('is one and a half times what the client says; any packet counts', async () => {
    for (const version of VERSIONS) {
      const client = await connected({}, { keepalive: 10, ...version })
      for (let i = 0; i < 3; i++) {
        await bench.advance(13_000)
        await client.ping()
      }
      await bench.advance(13_000)
      expect(client.isClosed).toBe(false)
      await bench.advance(6_000)
      await client.closed()
    }
  })

  test('of 0 never ends a connection', async () => {
    const client = await connected({}, { keepalive: 0 })
    await bench.advance(3_600_000)
    await client.ping()
  })
})

describe('DISCONNECT', () => {
  test('is the last thing that is looked at', async () => {
    for (const version of VERSIONS) {
      const watch = await connected()
      await watch.subscribe('after/bye')
      const client = await connected({}, version)
      client.send({ cmd: 'disconnect' })
      client.publish('after/bye', 'x')
      await client.closed()
      await watch.ping()
      expect(watch.publishes).toEqual([])
    }
  })

  test('from the server is the last packet, and the connection ends', async () => {
    const client = await connected()
    client.sendBytes('f000', 'c000')
    await client.closed()
    expect(client.inbox.map(({ cmd }) => cmd)).toEqual(['disconnect'])
    expect(client.inbox[0]).not.toHaveProperty('properties.sessionExpiryInterval')
  })
})

describe('what breaks the protocol', () => {
  test.each(AFTER_CONNECT)('%s (level %i) ends the connection [%#]', async (...row: Row) => {
    const [, version, header, body, code] = row
    const client = await connected({}, { protocolVersion: version as 4 | 5 })
    const before = client.bytes.length
    client.sendBytes(frame(header, body))
    await client.closed()
    const answer = client.bytes.subarray(before)
    if (version === 5) {
      expect(answer[0]).toBe(0xe0)
      expect(answer[2]).toBe(code)
    } else expect(answer.length).toBe(0)
  })

  test.each(['20020000', '40020001', '50020001', '9003000100', 'b0020001', 'd000'])(
    'packet %s from a client has no effect on others',
    async (bytes) => {
      const bystander = await connected()
      await bystander.subscribe('by/stander')
      const client = await connected({}, V311)
      client.sendBytes(bytes)
      bystander.publish('by/stander', 'x')
      await bystander.next('publish')
    },
  )

  test('is told before the connection ends, and publishes the will', async () => {
    const watch = await connected()
    await watch.subscribe('broken')
    const will = { topic: 'broken', payload: Buffer.from('x'), qos: 0 as const, retain: false }
    const client = await connected({}, { will })
    client.sendBytes('c100')
    expect((await client.next('disconnect')).reasonCode).toBe(MALFORMED)
    await watch.next('publish')
  })
})

describe('PINGREQ', () => {
  test('is answered', async () => {
    for (const version of VERSIONS) await (await connected({}, version)).ping()
  })
})
