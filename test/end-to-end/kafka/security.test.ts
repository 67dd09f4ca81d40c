// Kafka clients that say who they are: kafkajs and kcat by SASL and by certificate, over TLS and without.

import { execFile } from 'node:child_process'
import { generateKeyPairSync, type KeyObject, sign } from 'node:crypto'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Admin, type AdminOptions } from '@platformatic/kafka'
import {
  AclOperationTypes,
  AclPermissionTypes,
  AclResourceTypes,
  Kafka,
  type KafkaConfig,
  logLevel,
  ResourcePatternTypes,
  type SASLOptions,
} from 'kafkajs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { TestAuthority } from '../../support/certificates.ts'
import { startCluster, type TestCluster } from '../../support/cluster.ts'

let cluster: TestCluster
let folder: string
let authority: TestAuthority

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'robust-kafka-tls-'))
  authority = await TestAuthority.create(folder, 'test')
  const server = await authority.issue('localhost')
  const settings = {
    'tls-cert': server.certificate,
    'tls-key': server.key,
    'tls-client-ca': authority.file,
  }
  const flags = Object.entries(settings).flatMap(([name, file]) => [
    '--set',
    `broker.${name}=${file}`,
  ])
  cluster = await startCluster('--nodes', '2', '--storage', 'memory:', ...flags)
  await robust('user', 'create', 'root', '--admin', '--password', 'toor')
  await robust('user', 'create', 'ann', '--password', 'secret')
})

afterAll(async () => {
  await cluster?.purge()
  rmSync(folder, { recursive: true, force: true })
})

async function robust(...args: string[]): Promise<string> {
  const ran = await cluster.robust(...args)
  expect(ran).toMatchObject({ code: 0 })
  return ran.stdout
}

const sasl = (mechanism: string, username: string, password: string): SASLOptions =>
  ({ mechanism, username, password }) as SASLOptions

function kafkaOf(more: Partial<KafkaConfig>): Kafka {
  const isSecure = more.ssl !== undefined
  const port = isSecure ? cluster.kafkaTlsPort(1) : cluster.kafkaPort(1)
  return new Kafka({
    ...{ clientId: 'test', brokers: [`127.0.0.1:${port}`], logLevel: logLevel.NOTHING },
    retry: { retries: 3, initialRetryTime: 50 },
    ...more,
  })
}

async function topicsOf(more: Partial<KafkaConfig>): Promise<string[]> {
  const admin = kafkaOf(more).admin()
  try {
    await admin.connect()
    return await admin.listTopics()
  } finally {
    await admin.disconnect()
  }
}

interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

function kcat(flags: readonly string[], input = ''): Promise<Ran> {
  return new Promise((resolve) => {
    const run = execFile(
      '/usr/bin/kcat',
      [...flags],
      { timeout: 20_000 },
      (error, stdout, stderr) => resolve({ code: error === null ? 0 : 1, stdout, stderr }),
    )
    run.stdin?.end(input)
  })
}

const option = (settings: Readonly<Record<string, string>>): string[] =>
  Object.entries(settings).flatMap(([name, value]) => ['-X', `${name}=${value}`])

const tls = () => ({ ca: [readFileSync(authority.file, 'utf8')], servername: 'localhost' })

describe('kafkajs', () => {
  test.each(['plain', 'scram-sha-256', 'scram-sha-512'])('comes in by %s', async (mechanism) => {
    expect(await topicsOf({ sasl: sasl(mechanism, 'root', 'toor') })).toEqual([])
    expect(await topicsOf({ sasl: sasl(mechanism, 'root', 'toor'), ssl: tls() })).toEqual([])
    await expect(topicsOf({ sasl: sasl(mechanism, 'root', 'wrong') })).rejects.toMatchObject({
      name: 'KafkaJSSASLAuthenticationError',
    })
  })

  test('is nobody without a user, and a user by its certificate', async () => {
    await expect(topicsOf({})).rejects.toThrow()
    await expect(topicsOf({ ssl: tls() })).rejects.toThrow()
    const { certificate, key } = await authority.issue('root')
    const cert = readFileSync(certificate, 'utf8')
    const ssl = { ...tls(), cert, key: readFileSync(key, 'utf8') }
    expect(await topicsOf({ ssl })).toEqual([])
  })

  test('says again who it is before its session ends', async () => {
    await robust('config', 'set', 'kafka.reauthentication-seconds', '2')
    const kafka = kafkaOf({
      sasl: sasl('scram-sha-512', 'root', 'toor'),
      reauthenticationThreshold: 500,
    })
    const admin = kafka.admin()
    const disconnects: unknown[] = []
    admin.on(admin.events.DISCONNECT, (event) => disconnects.push(event))
    await admin.connect()
    const until = Date.now() + 2_500
    await expect
      .poll(async () => (await admin.listTopics()).length === 0 && Date.now() > until, {
        ...{ timeout: 10_000, interval: 200 },
      })
      .toBe(true)
    await admin.disconnect()
    expect(disconnects).toHaveLength(1)
    await robust('config', 'unset', 'kafka.reauthentication-seconds')
  })
})

describe('rights', () => {
  test('that an admin gives by Kafka are those of robust acl, and hold at every broker', {
    timeout: 60_000,
  }, async () => {
    const admin = kafkaOf({ sasl: sasl('plain', 'root', 'toor') }).admin()
    await admin.connect()
    await admin.createTopics({ topics: [{ topic: 'shared', numPartitions: 4 }] })
    const kafka = kafkaOf({ sasl: sasl('scram-sha-256', 'ann', 'secret'), retry: { retries: 0 } })
    const producer = kafka.producer({ retry: { retries: 0 } })
    await producer.connect()
    const messages = Array.from({ length: 8 }, (_, at) => ({ key: String(at), value: 'x' }))
    const send = () => producer.send({ topic: 'shared', messages })
    await expect(send()).rejects.toThrow(/access topics/)
    const rule = {
      ...{ resourceType: AclResourceTypes.TOPIC, resourceName: 'sha', host: '*' },
      ...{ resourcePatternType: ResourcePatternTypes.PREFIXED, principal: 'User:ann' },
      ...{ operation: AclOperationTypes.WRITE, permissionType: AclPermissionTypes.ALLOW },
    }
    expect(await admin.createAcls({ acl: [rule] })).toBe(true)
    await send()
    const denied = { ...rule, operation: AclOperationTypes.READ }
    await robust('acl', 'allow', 'ann', 'subscribe', 'shared')
    await robust('acl', 'deny', 'ann', 'subscribe', 'sha', '--prefix')
    const { resources } = await admin.describeAcls({
      ...{ ...denied, permissionType: AclPermissionTypes.DENY },
    })
    expect(resources).toMatchObject([{ resourceName: 'sha', acls: [{ principal: 'User:ann' }] }])
    await expect(consumeOnce(kafka)).rejects.toThrow(/group coordinator/)
    await robust('acl', 'allow', 'ann', 'subscribe', 'g', '--on', 'group')
    await expect(consumeOnce(kafka)).rejects.toThrow(/topic/i)
    const deny = { ...denied, permissionType: AclPermissionTypes.DENY }
    const { filterResponses } = await admin.deleteAcls({ filters: [deny] })
    expect(filterResponses[0]?.matchingAcls).toHaveLength(1)
    expect(await consumeOnce(kafka)).toBe('x')
    await Promise.all([admin.disconnect(), producer.disconnect()])
  })
})

/** The first value of the topic, or why the group came to nothing. */
async function consumeOnce(kafka: Kafka): Promise<string> {
  const consumer = kafka.consumer({ groupId: 'g', retry: { retries: 0 } })
  try {
    await consumer.connect()
    await consumer.subscribe({ topic: 'shared', fromBeginning: true })
    return await new Promise((resolve, reject) => {
      consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error))
      void consumer.run({
        eachMessage: async ({ message }) => resolve(String(message.value)),
      })
    })
  } finally {
    await consumer.disconnect()
  }
}

describe('kcat', () => {
  test('writes with one mechanism and reads with another, over TLS and at both brokers', {
    timeout: 60_000,
  }, async () => {
    const common = { 'sasl.username': 'root', 'sasl.password': 'toor' }
    const plain = { ...common, 'security.protocol': 'SASL_PLAINTEXT' }
    const secure = {
      ...{ ...common, 'security.protocol': 'SASL_SSL', 'ssl.ca.location': authority.file },
    }
    const lines = Array.from({ length: 20 }, (_, at) => `line ${at}`)
    const written = await kcat(
      [
        ...['-b', `127.0.0.1:${cluster.kafkaTlsPort(2)}`, '-P', '-t', 'orders'],
        ...option({ ...secure, 'sasl.mechanism': 'SCRAM-SHA-512' }),
      ],
      lines.map((line) => `${line}\n`).join(''),
    )
    expect(written).toMatchObject({ code: 0, stderr: '' })
    for (const mechanism of ['PLAIN', 'SCRAM-SHA-256']) {
      const read = await kcat([
        ...['-b', `127.0.0.1:${cluster.kafkaPort(1)}`, '-C', '-e', '-q', '-t', 'orders'],
        ...option({ ...plain, 'sasl.mechanism': mechanism }),
      ])
      expect(read.stdout.trim().split('\n').sort()).toEqual([...lines].sort())
    }
  })

  test('is told when its password is wrong', async () => {
    const refused = await kcat([
      ...['-b', `127.0.0.1:${cluster.kafkaPort(1)}`, '-L', '-m', '2'],
      ...option({
        ...{ 'security.protocol': 'SASL_PLAINTEXT', 'sasl.mechanism': 'SCRAM-SHA-512' },
        ...{ 'sasl.username': 'ann', 'sasl.password': 'wrong' },
      }),
    ])
    expect(refused.code).not.toBe(0)
    expect(refused.stderr).toContain('bad user name or password')
  })
})

function tokenOf(claims: object, key: KeyObject): string {
  const parts = [{ alg: 'ES256' }, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString('base64url'),
  )
  const said = parts.join('.')
  const signature = sign('sha256', Buffer.from(said), { key, dsaEncoding: 'ieee-p1363' })
  return `${said}.${signature.toString('base64url')}`
}

describe('@platformatic/kafka', () => {
  const adminOf = (sasl: NonNullable<AdminOptions['sasl']>): Admin =>
    new Admin({
      ...{ clientId: 'platformatic', retries: 0, sasl },
      bootstrapBrokers: [`127.0.0.1:${cluster.kafkaPort(2)}`],
    })

  test('comes in by a signed token, for as long as the broker’s rules say', async () => {
    const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    const keys = join(folder, 'keys.json')
    writeFileSync(keys, JSON.stringify({ keys: [publicKey.export({ format: 'jwk' })] }))
    await robust('config', 'set', 'security.jwt-keys', `file:${keys}`)
    await robust('config', 'set', 'security.jwt-audience', 'kafka')
    await robust('config', 'set', 'security.jwt-algorithms', 'ES256')
    await robust('config', 'set', 'security.backends', 'jwt')
    const exp = Math.floor(Date.now() / 1_000) + 300
    await robust('acl', 'allow', 'tom', 'describe', '#')
    const listed = async (audience: string): Promise<string[]> => {
      const claims = { sub: 'tom', aud: audience, exp }
      const admin = adminOf({ mechanism: 'OAUTHBEARER', token: tokenOf(claims, privateKey) })
      try {
        return await admin.listTopics()
      } finally {
        await admin.close()
      }
    }
    await expect.poll(() => listed('kafka').then(Array.isArray, String)).toBe(true)
    await expect(listed('mqtt')).rejects.toThrow()
    await robust('config', 'unset', 'security.backends')
  })

  test('sets quotas, settings and rules by the cluster’s own', async () => {
    const admin = adminOf({ mechanism: 'SCRAM-SHA-512', username: 'root', password: 'toor' })
    const entities = [{ entityType: 'user', entityName: 'ann' }]
    const ops = [{ key: 'producer_byte_rate', value: 1_000, remove: false }]
    await admin.alterClientQuotas({ entries: [{ entities, ops }] } as never)
    const components = [{ entityType: 'user', matchType: 0, match: 'ann' }]
    const [quota] = await admin.describeClientQuotas({ components, strict: true } as never)
    expect(quota).toMatchObject({ values: [{ key: 'producer_byte_rate', value: 1_000 }] })
    await admin.createTopics({ topics: ['measured'], partitions: 1, replicas: 1 })
    const configs = [{ name: 'retention.ms', configOperation: 0, value: '60000' }]
    const resources = [{ resourceType: 2, resourceName: 'measured', configs }]
    await admin.incrementalAlterConfigs({ resources } as never)
    const configurationKeys = ['retention.ms']
    const [described] = await admin.describeConfigs({
      resources: [{ resourceType: 2, resourceName: 'measured', configurationKeys }],
    } as never)
    expect(described?.configs).toMatchObject([{ name: 'retention.ms', value: '60000' }])
    await robust('acl', 'allow', 'ann', 'publish', 'measured')

    // Who is above a quota is told to wait, and waits.
    const kafka = kafkaOf({ sasl: sasl('plain', 'ann', 'secret') })
    const producer = kafka.producer()
    await producer.connect()
    const send = () =>
      producer.send({ topic: 'measured', messages: [{ value: 'x'.repeat(1_500) }] })
    await send()
    const beganMs = Date.now()
    await send()
    await send()
    expect(Date.now() - beganMs).toBeGreaterThan(1_000)
    const remove = ops.map((op) => ({ ...op, remove: true }))
    await admin.alterClientQuotas({ entries: [{ entities, ops: remove }] } as never)
    await Promise.all([admin.close(), producer.disconnect()])
  })
})
