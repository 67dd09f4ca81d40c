import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { hashPassword } from '@robust/broker'
import mqtt, { type IClientOptions, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../../support/cluster.ts'
import { type Client, connect } from '../../support/mqtt-clients.ts'
import { type RedisServer, startRedis } from '../../support/redis-servers.ts'

let cluster: TestCluster
let redis: RedisServer
const open: Client[] = []

beforeAll(async () => {
  redis = await startRedis({ settings: [] })
  cluster = await startCluster('--nodes', '2', '--placement', '1')
})

afterAll(async () => {
  await Promise.all(open.map((client) => client.end()))
  await cluster.purge()
  await redis.remove()
})

async function robust(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await cluster.robust(...args)
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
  return stdout
}

/** The reason code of the CONNACK, 0 when the client is let in. */
async function codeOf(node: number, options: IClientOptions): Promise<number> {
  try {
    open.push(await connect(cluster.mqttPort(node), options))
    return 0
  } catch (error) {
    return (error as { code?: number }).code ?? -1
  }
}

const ann = { username: 'ann', password: 'ann-pw' }

describe('users in Redis', () => {
  test('come in with their rights, and nobody does while it is down', async () => {
    await redis.command('HSET', 'mqtt_user:ann', 'password_hash', await hashPassword('ann-pw'))
    await redis.command('HSET', 'mqtt_acl:ann', 'plant/#', 'all')
    await robust('config', 'set', 'security.redis-url', `redis://127.0.0.1:${redis.port}/0`)
    await robust('config', 'set', 'security.cache-seconds', '0')
    await robust('config', 'set', 'security.backends', 'redis')
    for (const node of [1, 2]) {
      await expect.poll(() => codeOf(node, {})).toBe(0x87)
      expect(await codeOf(node, { ...ann, password: 'wrong' })).toBe(0x86)
      expect(await codeOf(node, { ...ann, username: 'nobody' })).toBe(0x86)
    }
    const client = await connect(cluster.mqttPort(1), ann)
    open.push(client)
    await client.mqtt.subscribeAsync('plant/+', { qos: 1 })
    await client.mqtt.publishAsync('plant/a', 'x', { qos: 1 })
    await expect.poll(client.texts).toEqual(['x'])
    await expect(client.mqtt.publishAsync('other', 'x', { qos: 1 })).rejects.toThrow()
    await redis.kill()
    expect(await codeOf(1, ann)).toBe(0x88)
    expect(await codeOf(2, { ...ann, protocolVersion: 4 })).toBe(3)
    await redis.restart()
    await redis.command('HSET', 'mqtt_user:ann', 'password_hash', await hashPassword('ann-pw'))
    await expect.poll(() => codeOf(1, ann)).toBe(0)
    await robust('config', 'unset', 'security.backends')
  })
})

/** The client's side of SCRAM-SHA-256, for MQTT.js. */
function withScram(client: MqttClient, user: string, password: string): void {
  const bare = `n=${user},r=nonce`
  const sign = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest()
  client.handleAuth = (packet, done) => {
    const challenge = packet.properties?.authenticationData?.toString() ?? ''
    const [, nonce = '', salt = '', count] = /^r=([^,]+),s=([^,]+),i=(\d+)$/.exec(challenge) ?? []
    const salted = pbkdf2Sync(password, Buffer.from(salt, 'base64'), Number(count), 32, 'sha256')
    const clientKey = sign(salted, 'Client Key')
    const final = `c=biws,r=${nonce}`
    const stored = createHash('sha256').update(clientKey).digest()
    const signature = sign(stored, `${bare},${challenge},${final}`)
    const proof = Buffer.from(clientKey.map((byte, at) => byte ^ (signature[at] ?? 0)))
    const data = Buffer.from(`${final},p=${proof.toString('base64')}`)
    const properties = { authenticationMethod: 'SCRAM-SHA-256', authenticationData: data }
    done(undefined, { cmd: 'auth', reasonCode: 0x18, properties })
  }
}

describe('SCRAM-SHA-256 with MQTT.js', () => {
  test.each([
    ['bob-pw', 'connected'],
    ['wrong', 'Bad User Name or Password'],
  ])('of a user that was made on the command line, password %s: %s', async (password, expected) => {
    await cluster.robust('user', 'create', 'bob', '--password', 'bob-pw')
    const attempt = (): Promise<string> => {
      const client = mqtt.connect({
        ...{ host: '127.0.0.1', port: cluster.mqttPort(1), protocolVersion: 5 },
        ...{ reconnectPeriod: 0, manualConnect: true },
        properties: {
          authenticationMethod: 'SCRAM-SHA-256',
          authenticationData: Buffer.from('n,,n=bob,r=nonce'),
        },
      })
      withScram(client, 'bob', password)
      return new Promise<string>((resolve) => {
        client.once('connect', () => resolve('connected'))
        client.once('error', ({ message }) => resolve(message))
        client.connect()
      }).finally(() => client.end(true))
    }
    await expect.poll(attempt).toContain(expected)
  })
})

describe('bans and rights on the command line', () => {
  test('reach connected clients, and are taken back', async () => {
    await robust('acl', 'allow', 'bob', 'all', 'plant/#', '--qos', '0,1')
    expect(await robust('acl', 'list')).toContain('plant/# (QoS 0, 1)')
    const options = { username: 'bob', password: 'bob-pw', clientId: 'pump' }
    const client = await connect(cluster.mqttPort(1), options)
    open.push(client)
    await expect
      .poll(async () => {
        const answer = await client.mqtt.subscribeAsync('plant/a', { qos: 1 }).catch(() => [])
        return answer.map(({ qos }) => qos)
      })
      .toEqual([1])
    await expect(client.mqtt.subscribeAsync('plant/b', { qos: 2 })).rejects.toThrow()
    await robust('ban', 'add', 'client', 'pump', '--reason', 'it leaks')
    await expect.poll(() => client.mqtt.connected).toBe(false)
    await expect.poll(() => codeOf(2, options)).toBe(0x8a)
    expect(await robust('ban', 'list')).toContain('it leaks')
    await robust('ban', 'remove', 'client', 'pump')
    await expect.poll(() => codeOf(2, options)).toBe(0)
  })
})
