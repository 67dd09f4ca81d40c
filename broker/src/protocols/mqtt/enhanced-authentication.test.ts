import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import { scramVerifier } from '../../security/scram.ts'
import { MqttBench } from '../../testing/mqtt-bench.ts'
import { ScramClient } from '../../testing/scram-client.ts'
import { ReasonCode } from './packets.ts'

const METHOD = 'SCRAM-SHA-256'
let bench: MqttBench
let scram: string

beforeAll(async () => {
  scram = await scramVerifier('pw', 'SCRAM-SHA-256')
  bench = await MqttBench.start()
})
afterEach(() => bench.reset())
afterAll(() => bench.stop())

const auth = (reasonCode: number, data: Buffer | undefined, method = METHOD) => ({
  cmd: 'auth' as const,
  reasonCode,
  properties: {
    authenticationMethod: method,
    ...(data !== undefined && { authenticationData: data }),
  },
})

const connectWith = (data: Buffer | undefined, more: object = {}) => ({
  cmd: 'connect' as const,
  protocolId: 'MQTT' as const,
  protocolVersion: 5 as const,
  clean: true,
  keepalive: 0,
  clientId: 'c',
  properties: auth(0, data).properties,
  ...more,
})

const dataOf = (packet: { properties?: { authenticationData?: Buffer } | undefined }): Buffer =>
  packet.properties?.authenticationData ?? Buffer.alloc(0)

/** Connected as `u`, who may publish to `mine`. */
async function loggedIn(more: object = {}) {
  bench.put('user', 'u', { tags: [], credentials: { scram } })
  bench.put('user', 'v', { tags: [], credentials: { scram } })
  bench.put('permission', 'r', { user: 'u', action: 'all', pattern: 'mine/#', allow: true })
  const client = await bench.raw()
  const scramClient = new ScramClient('u', 'pw')
  client.send(connectWith(scramClient.first(), more))
  const challenge = await client.next('auth')
  expect(challenge).toMatchObject({
    reasonCode: ReasonCode.continueAuthentication,
    properties: { authenticationMethod: METHOD },
  })
  client.send(auth(0x18, scramClient.final(dataOf(challenge))))
  const connack = await client.next('connack')
  return Object.assign(client, { connack, scramClient })
}

describe('enhanced authentication', () => {
  test('lets in who proves the password, and proves that the broker knows it [MQTT-4.12.0-2] [MQTT-4.12.0-5]', async () => {
    const client = await loggedIn()
    expect(client.connack.reasonCode).toBe(0)
    expect(client.connack.properties?.authenticationMethod).toBe(METHOD)
    expect(client.scramClient.trusts(dataOf(client.connack))).toBe(true)
    client.publish('mine/a', 'x', { qos: 1, messageId: 1 })
    expect((await client.next('puback')).reasonCode).toBe(0)
    client.publish('other', 'x', { qos: 1, messageId: 2 })
    expect((await client.next('puback')).reasonCode).toBe(ReasonCode.notAuthorized)
  })

  test('begins with the method only, and asks for the first message then', async () => {
    bench.put('user', 'u', { tags: [], credentials: { scram } })
    const client = await bench.raw()
    const scramClient = new ScramClient('u', 'pw')
    client.send(connectWith(undefined))
    expect(dataOf(await client.next('auth')).length).toBe(0)
    client.send(auth(0x18, scramClient.first()))
    client.send(auth(0x18, scramClient.final(dataOf(await client.next('auth')))))
    expect((await client.next('connack')).reasonCode).toBe(0)
  })

  test.each([
    ['u', 'wrong'],
    ['nobody', 'pw'],
    ['disabled', 'pw'],
    ['passwordless', 'pw'],
  ])('refuses %s with %s by CONNACK 0x86 [MQTT-4.12.0-4]', async (user, password) => {
    bench.put('user', 'u', { tags: [], credentials: { scram } })
    bench.put('user', 'disabled', { tags: [], credentials: { scram }, disabled: true })
    bench.put('user', 'passwordless', { tags: [], credentials: {} })
    const client = await bench.raw()
    const scramClient = new ScramClient(user, password)
    client.send(connectWith(scramClient.first()))
    client.send(auth(0x18, scramClient.final(dataOf(await client.next('auth')))))
    expect((await client.next('connack')).reasonCode).toBe(ReasonCode.badUserNameOrPassword)
    await client.closed()
  })

  test('refuses a method that it does not know with 0x8C [MQTT-4.12.0-1]', async () => {
    const client = await bench.raw()
    client.send(connectWith(Buffer.from('x'), { properties: auth(0, undefined, 'X').properties }))
    expect((await client.next('connack')).reasonCode).toBe(ReasonCode.badAuthenticationMethod)
    await client.closed()
  })

  test('takes nothing but AUTH and DISCONNECT before CONNACK [MQTT-3.1.2-30] [MQTT-3.1.4-6]', async () => {
    const client = await bench.raw()
    client.send(connectWith(new ScramClient('u', 'pw').first()))
    await client.next('auth')
    client.publish('mine/a', 'x')
    expect((await client.next('connack')).reasonCode).toBe(ReasonCode.protocolError)
    await client.closed()
  })

  test('has no more time than CONNECT itself', async () => {
    const client = await bench.raw()
    client.send(connectWith(new ScramClient('u', 'pw').first()))
    await client.next('auth')
    await bench.advance(15_000)
    await client.closed()
  })

  test('is not begun by the broker, and not by AUTH alone [MQTT-4.12.0-6] [MQTT-4.12.0-7]', async () => {
    const client = await bench.raw()
    const connack = await client.connect()
    expect(connack.properties?.authenticationMethod).toBeUndefined()
    client.send(auth(0x19, Buffer.from('x')))
    expect((await client.next('disconnect')).reasonCode).toBe(ReasonCode.protocolError)
  })

  test('again: succeeds with AUTH 0x00, while messages flow [MQTT-4.12.1-1]', async () => {
    const client = await loggedIn()
    const again = new ScramClient('u', 'pw', { nonce: 'another-nonce' })
    client.send(auth(0x19, again.first()))
    client.publish('mine/a', 'x', { qos: 1, messageId: 7 })
    const challenge = await client.next('auth')
    expect((await client.next('puback')).messageId).toBe(7)
    client.send(auth(0x18, again.final(dataOf(challenge))))
    const done = await client.next('auth')
    expect(done.reasonCode).toBe(0)
    expect(again.trusts(dataOf(done))).toBe(true)
    await client.ping()
  })

  test.each([
    ['u', 'wrong'],
    ['v', 'pw'],
  ])(
    'again: as %s with %s ends the connection with 0x87 [MQTT-4.12.1-2]',
    async (user, password) => {
      const client = await loggedIn()
      const again = new ScramClient(user, password, { nonce: 'n2' })
      client.send(auth(0x19, again.first()))
      client.send(auth(0x18, again.final(dataOf(await client.next('auth')))))
      expect((await client.next('disconnect')).reasonCode).toBe(ReasonCode.notAuthorized)
      await client.closed()
    },
  )

  test.each([
    ['another method', auth(0x19, Buffer.from('x'), 'X')],
    ['a continuation that nobody asked for', auth(0x18, Buffer.from('x'))],
    ['a success', auth(0, undefined)],
  ])('%s is a protocol error', async (_name, packet) => {
    const client = await loggedIn()
    client.send(packet)
    expect((await client.next('disconnect')).reasonCode).toBe(ReasonCode.protocolError)
    await client.closed()
  })

  test('a will that may not be published keeps its client out', async () => {
    const will = { topic: 'other', payload: Buffer.from('x'), qos: 0, retain: false }
    const client = await loggedIn({ will })
    expect(client.connack.reasonCode).toBe(ReasonCode.notAuthorized)
  })

  test('other methods can be offered besides', async () => {
    const begin = () => ({
      next: async () => ({ kind: 'in' as const, user: 'x', access: undefined, data: undefined }),
    })
    const more = await MqttBench.start(1, [{ name: 'OPEN', begin }])
    const client = await more.raw()
    client.send(connectWith(undefined, { properties: auth(0, undefined, 'OPEN').properties }))
    expect((await client.next('connack')).reasonCode).toBe(0)
    await more.stop()
  })
})
