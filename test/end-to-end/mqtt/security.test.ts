import type { IClientOptions } from 'mqtt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../../support/cluster.ts'
import { type Client, connect, mosquittoPub } from '../../support/mqtt-clients.ts'

let cluster: TestCluster
const open: Client[] = []

beforeAll(async () => {
  cluster = await startCluster('--nodes', '2', '--placement', '1')
})

afterAll(async () => {
  await Promise.all(open.map((client) => client.end()))
  await cluster.purge()
})

async function client(node: number, options: IClientOptions = {}): Promise<Client> {
  const connected = await connect(cluster.mqttPort(node), options)
  open.push(connected)
  return connected
}

async function robust(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.robust(...args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

/** The reason code of the CONNACK that refuses, 0 when the client is let in. */
async function refusal(node: number, options: IClientOptions): Promise<number> {
  try {
    await client(node, options)
    return 0
  } catch (error) {
    return (error as { code?: number }).code ?? -1
  }
}

const as = (username: string, more: IClientOptions = {}): IClientOptions => ({
  username,
  password: `${username}-pw`,
  ...more,
})

describe('users and their rights', () => {
  test('the first user ends the time of anonymous clients, on every broker', async () => {
    const early = await client(1)
    await robust('user', 'create', 'admin', '--admin', '--password', 'admin-pw')
    await expect.poll(() => early.mqtt.connected).toBe(false)
    for (const node of [1, 2]) {
      await expect.poll(() => refusal(node, {})).toBe(0x87)
      expect(await refusal(node, as('admin'))).toBe(0)
      expect(await refusal(node, { ...as('admin'), password: 'wrong' })).toBe(0x86)
      expect(await refusal(node, { ...as('admin'), password: 'x', protocolVersion: 4 })).toBe(4)
      expect(await refusal(node, { protocolVersion: 4 })).toBe(5)
    }
    await mosquittoPub(
      cluster.mqttPort(1),
      '-u',
      'admin',
      '-P',
      'admin-pw',
      '-q',
      '1',
      '-t',
      'a',
      '-m',
      'x',
    )
    await expect(mosquittoPub(cluster.mqttPort(1), '-t', 'a', '-m', 'x')).rejects.toThrow()
  })

  test('a user may do what a rule allows and none denies, and each refusal has its code', async () => {
    await robust('user', 'create', 'sensor', '--password', 'sensor-pw')
    await robust('acl', 'allow', 'sensor', 'publish', 'plant/%c/#')
    await robust('acl', 'deny', 'sensor', 'publish', 'plant/%c/secret')
    await robust('acl', 'allow', 'sensor', 'subscribe', 'orders/%u')
    await expect.poll(() => refusal(2, as('sensor'))).toBe(0)
    const watcher = await client(1, as('admin'))
    await watcher.mqtt.subscribeAsync('plant/#', { qos: 1 })
    const sensor = await client(2, as('sensor', { clientId: 'line-1' }))
    const publish = (topic: string, qos: 0 | 1 | 2) =>
      sensor.mqtt.publishAsync(topic, `${topic} ${qos}`, { qos })
    for (const qos of [0, 1, 2] as const) await publish('plant/line-1/temperature', qos)
    await publish('plant/line-2/temperature', 0)
    await expect(publish('plant/line-2/temperature', 1)).rejects.toMatchObject({ code: 0x87 })
    await expect(publish('plant/line-1/secret', 2)).rejects.toMatchObject({ code: 0x87 })
    const refused = sensor.mqtt.subscribeAsync('orders/other', { qos: 1 })
    await expect(refused).rejects.toMatchObject({ packet: { granted: [0x87] } })
    await sensor.mqtt.subscribeAsync('orders/sensor', { qos: 1 })
    await watcher.mqtt.publishAsync('orders/sensor', 'go', { qos: 1 })
    await expect.poll(sensor.texts).toEqual(['go'])
    const old = await client(2, as('sensor', { clientId: 'line-3', protocolVersion: 4 }))
    await old.mqtt.publishAsync('plant/line-9/x', 'acknowledged, and goes nowhere', { qos: 1 })
    await expect
      .poll(() => watcher.texts().sort())
      .toEqual([0, 1, 2].map((qos) => `plant/line-1/temperature ${qos}`))
  })

  test('a will that may not be published keeps its client out', async () => {
    const will = (topic: string): IClientOptions =>
      as('sensor', { clientId: 'line-1', will: { topic, payload: Buffer.from('w'), qos: 1 } })
    expect(await refusal(1, will('plant/line-2/gone'))).toBe(0x87)
    expect(await refusal(1, will('plant/line-1/gone'))).toBe(0)
  })

  test('a change of rights, a new password or the end of a user reaches connected clients', async () => {
    const codes: (number | undefined)[] = []
    const connected = async (): Promise<Client> => {
      const one = await client(2, as('sensor', { password: 'sensor-pw' }))
      one.mqtt.on('disconnect', ({ reasonCode }) => codes.push(reasonCode))
      return one
    }
    const subscriber = await connected()
    await subscriber.mqtt.subscribeAsync('orders/sensor', { qos: 1 })
    const rules = JSON.parse(await robust('acl', 'list', 'sensor', '-o', 'json'))
    const { id } = rules.find(({ action }: { action: string }) => action === 'subscribe')
    await robust('acl', 'delete', id)
    await expect.poll(() => codes).toEqual([0x87])
    await connected()
    await robust('user', 'passwd', 'sensor', '--password', 'another')
    await expect.poll(() => codes).toEqual([0x87, 0x87])
    expect(await refusal(2, as('sensor'))).toBe(0x86)
    expect(await refusal(2, { ...as('sensor'), password: 'another' })).toBe(0)
    await robust('user', 'delete', 'sensor')
    await expect.poll(() => refusal(1, { ...as('sensor'), password: 'another' })).toBe(0x86)
    expect(JSON.parse(await robust('acl', 'list', 'sensor', '-o', 'json'))).toEqual([])
  })

  test.each([
    [['user', 'create', 'admin', '--password', 'x'], 1, 'USER_EXISTS'],
    [['user', 'delete', 'nobody'], 66, 'NO_SUCH_USER'],
    [['acl', 'delete', 'nothing'], 66, 'NO_SUCH_RULE'],
    [['acl', 'allow', 'admin', 'eat', '#'], 64, 'USAGE'],
    [['acl', 'allow', 'admin', 'all', 'a/#/b'], 64, 'USAGE'],
  ])('%j is refused', async (args, code, id) => {
    const ran = await cluster.robust(...args)
    expect(ran.code).toBe(code)
    expect(ran.stderr).toContain(`error[${id}]`)
  })
})
