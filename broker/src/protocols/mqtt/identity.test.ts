import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Backend } from '../../security/backends/backend.ts'
import { hashPassword } from '../../security/password-hash.ts'
import { MqttBench } from '../../testing/mqtt-bench.ts'
import { ReasonCode } from './packets.ts'

let bench: MqttBench
let password: string

beforeAll(async () => {
  password = await hashPassword('pw')
  bench = await MqttBench.start(2)
})
afterEach(() => bench.reset())
afterAll(() => bench.stop())

const as = (username: string, more: object = {}) => ({
  ...{ username, password: Buffer.from('pw') },
  ...more,
})

function users(...names: string[]): void {
  for (const name of names) bench.put('user', name, { tags: [], credentials: { password } })
  bench.put('permission', 'all', { user: '*', action: 'all', pattern: '#', allow: true })
}

async function codeOf(more: object, broker = 0): Promise<number> {
  const client = await bench.raw(broker)
  const connack = await client.connect(more)
  return connack.reasonCode ?? connack.returnCode ?? -1
}

describe('a client id', () => {
  test('is taken over by its own user only, on any broker, also when it is away', async () => {
    users('ann', 'bob')
    const keeps = { sessionExpiryInterval: 100 }
    const ann = await bench.connected(keeps, as('ann', { clientId: 'pump' }))
    for (const broker of [0, 1]) {
      expect(await codeOf(as('bob', { clientId: 'pump', clean: true }), broker)).toBe(0x87)
      expect(await codeOf(as('bob', { clientId: 'pump', protocolVersion: 4 }), broker)).toBe(5)
    }
    await ann.ping()
    ann.drop()
    expect(await codeOf(as('bob', { clientId: 'pump' }), 1)).toBe(0x87)
    const back = await bench.connected(keeps, as('ann', { clientId: 'pump', clean: false }), 1)
    expect(back.connack.sessionPresent).toBe(true)
  })

  test('is anyone’s where that is wanted, and free when its session has ended', async () => {
    users('ann', 'bob')
    const ann = await bench.connected({}, as('ann', { clientId: 'tap' }))
    ann.send({ cmd: 'disconnect' })
    await ann.closed()
    await expect.poll(() => codeOf(as('bob', { clientId: 'tap' }))).toBe(0)
    await bench.connected({}, as('ann', { clientId: 'valve' }))
    bench.set('security.client-id-owner', 'anyone')
    expect(await codeOf(as('bob', { clientId: 'valve' }))).toBe(0)
  })

  test('is nobody’s while there are no users', async () => {
    await bench.connected({}, as('somebody', { clientId: 'open' }))
    expect(await codeOf(as('else', { clientId: 'open' }))).toBe(0)
  })
})

describe('rights by QoS and retain', () => {
  test('are looked at for what is published, subscribed and left as a will', async () => {
    users('ann')
    bench.put('permission', 'q', {
      ...{ user: 'ann', action: 'all', pattern: 'low/#', allow: false, qos: [2] },
    })
    bench.put('permission', 'r', {
      ...{ user: 'ann', action: 'publish', pattern: 'fleeting/#', allow: false, retain: true },
    })
    const ann = await bench.connected({}, as('ann'))
    expect((await ann.subscribe('low/a', 1)).granted).toEqual([1])
    expect((await ann.subscribe('low/b', 2)).granted).toEqual([ReasonCode.notAuthorized])
    const puback = async (topic: string, retain: boolean) => {
      ann.publish(topic, 'x', { qos: 1, messageId: 1, retain })
      return (await ann.next('puback')).reasonCode
    }
    expect([await puback('fleeting/a', false), await puback('fleeting/a', true)]).toEqual([0, 0x87])
    ann.publish('low/a', 'x', { qos: 2, messageId: 1 })
    expect((await ann.next('pubrec')).reasonCode).toBe(0x87)
    const will = { topic: 'fleeting/will', payload: Buffer.from('x'), qos: 0, retain: true }
    expect(await codeOf(as('ann', { will }))).toBe(0x87)
  })
})

describe('a back end', () => {
  test('that is down keeps clients out with 0x88, and users of the metadata come in', async () => {
    const backend: Backend = {
      name: 'x',
      check: () => Promise.reject(new Error('down')),
      stop: () => undefined,
    }
    users('ann')
    bench.backends.push(backend)
    expect(await codeOf(as('other'))).toBe(ReasonCode.serverUnavailable)
    expect(await codeOf(as('other', { protocolVersion: 4 }))).toBe(3)
    expect(await codeOf(as('ann'))).toBe(0)
  })

  test('says for how long a client may stay, and what it may do', async () => {
    const until = bench.cluster.clock.wallMs() + 30_000
    const rules = [{ action: 'publish' as const, pattern: 'mine', allow: true }]
    bench.backends.push({
      name: 'x',
      check: async () => ({ kind: 'in', user: 'f', isAdmin: false, rules, until }),
      stop: () => undefined,
    })
    const client = await bench.connected({}, as('f'))
    client.publish('mine', 'x', { qos: 1, messageId: 1 })
    expect((await client.next('puback')).reasonCode).toBe(0)
    client.publish('not', 'x', { qos: 1, messageId: 2 })
    expect((await client.next('puback')).reasonCode).toBe(0x87)
    await bench.advance(32_000)
    expect((await client.next('disconnect')).reasonCode).toBe(ReasonCode.notAuthorized)
  })
})
