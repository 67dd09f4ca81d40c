// Who a client is, as it sees it: mechanisms, what may be asked before, sessions that end, bytes that are too many.

import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import fc from 'fast-check'
import { SignJWT } from 'jose'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ResourceCache } from '../../cluster/resource-cache.ts'
import { type Anonymous, Authenticator } from '../../security/authenticator.ts'
import { JwtBackend } from '../../security/backends/jwt.ts'
import { hashPassword } from '../../security/password-hash.ts'
import { scramVerifiers } from '../../security/scram.ts'
import { KafkaBench, type KafkaClient } from '../../testing/kafka-fixtures.ts'
import { ScramClient } from '../../testing/scram-client.ts'
import { settle } from '../../testing/virtual-clock.ts'
import { API_VERSIONS, METADATA } from './codec/log-apis.ts'
import { SASL_AUTHENTICATE, SASL_HANDSHAKE } from './codec/security-apis.ts'
import { ERROR } from './errors.ts'
import { SASL_REQUEST_BYTES_MAX } from './limits.ts'

let bench: KafkaBench
let client: KafkaClient
let resources: ResourceCache
let anonymous: Anonymous
let backends: JwtBackend[]
let folder: string
let version = 0

beforeEach(async () => {
  folder = mkdtempSync(join(tmpdir(), 'robust-sasl-'))
  anonymous = 'loopback'
  backends = []
  resources = new ResourceCache()
  bench = await new KafkaBench().start()
  bench.authenticator = new Authenticator({
    ...{ resources, anonymous: () => anonymous, backends: () => backends },
  })
  await user('ann', 'secret')
})

afterEach(() => rmSync(folder, { recursive: true }))

async function user(name: string, password: string, more: object = {}): Promise<void> {
  const credentials = {
    password: await hashPassword(password),
    ...(await scramVerifiers(password)),
  }
  const value = JSON.stringify({ credentials: { ...credentials, ...more } })
  version++
  resources.apply([{ kind: 'user', tenant: '', name, created: version, version, value }], [])
}

async function handshake(mechanism: string, apiVersion = 1) {
  return client.ask(SASL_HANDSHAKE, apiVersion, { mechanism })
}

/** Work that leaves the thread is waited for as long as it takes; time stands still meanwhile. */
async function say(bytes: Buffer | string, apiVersion = 2) {
  const before = client.answers.length
  client.send(SASL_AUTHENTICATE, apiVersion, { authBytes: Buffer.from(bytes) })
  await expect
    .poll(async () => {
      await bench.logs.clock.advance(1_000)
      return client.answers.length
    })
    .toBeGreaterThan(before)
  return client.read(SASL_AUTHENTICATE, apiVersion, before)
}

function plain(name: string, password: string): string {
  return `\0${name}\0${password}`
}

async function metadata() {
  const { topics } = await client.ask(METADATA, 5, {
    ...{ topics: [], allowAutoTopicCreation: false },
    ...{ includeClusterAuthorizedOperations: false, includeTopicAuthorizedOperations: false },
  })
  return topics
}

describe('before authentication', () => {
  beforeEach(async () => {
    client = await bench.connect()
  })

  test('ApiVersions is answered, anything else closes the connection', async () => {
    const software = { clientSoftwareName: 'x', clientSoftwareVersion: '1' }
    expect(await client.ask(API_VERSIONS, 2, software)).toMatchObject({ errorCode: 0 })
    await expect(metadata()).rejects.toThrow()
    expect(client.isClosed).toBe(true)
  })

  test('a frame is short, and there is not for ever', async () => {
    const other = await bench.connect()
    const length = Buffer.alloc(4)
    length.writeInt32BE(SASL_REQUEST_BYTES_MAX + 1)
    client.stream.receive(length)
    await settle()
    expect(client.isClosed).toBe(true)
    await bench.logs.clock.advance(31_000)
    expect(other.isClosed).toBe(true)
  })

  test('bytes that make no sense end the connection, and are no fault of the broker', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 60 }),
        fc.constantFrom(17, 18, 36),
        async (rest, key) => {
          const stranger = await bench.connect()
          const head = Buffer.from([0, key, 0, key === 18 ? 2 : 1, 0, 0, 0, 1, 0xff, 0xff])
          stranger.raw(head, Buffer.from(rest))
          stranger.raw(Buffer.from(rest))
          await bench.logs.clock.advance(40_000)
          await settle()
          expect(stranger.isClosed).toBe(true)
        },
      ),
      { numRuns: 60 },
    )
    const faults = bench.refusedBy.filter((fields) => 'err' in fields)
    expect(faults).toEqual([])
  })

  test('mechanisms are told, also for one that is not known', async () => {
    expect(await handshake('GSSAPI')).toEqual({
      errorCode: ERROR.UNSUPPORTED_SASL_MECHANISM,
      mechanisms: ['PLAIN', 'SCRAM-SHA-256', 'SCRAM-SHA-512'],
    })
    expect(await handshake('PLAIN')).toMatchObject({ errorCode: 0 })
  })

  test('SaslAuthenticate without a handshake is told so, and ends it', async () => {
    expect(await say(plain('ann', 'secret'))).toMatchObject({
      errorCode: ERROR.ILLEGAL_SASL_STATE,
    })
    await expect.poll(() => client.isClosed).toBe(true)
  })
})

describe('PLAIN', () => {
  beforeEach(async () => {
    client = await bench.connect()
    await handshake('PLAIN')
  })

  test('lets a user in', async () => {
    expect(await say(plain('ann', 'secret'))).toMatchObject({ errorCode: 0, sessionLifetimeMs: 0 })
    expect(await metadata()).toEqual([])
  })

  test.each([
    plain('ann', 'wrong'),
    plain('bob', 'secret'),
    'ann\0secret',
    plain('ann', ''),
    `bob\0ann\0secret`,
  ])('refuses %j, and ends it', async (message) => {
    const { errorCode, errorMessage } = await say(message)
    expect(errorCode).toBe(ERROR.SASL_AUTHENTICATION_FAILED)
    expect(errorMessage).toContain('PLAIN')
    await expect.poll(() => client.isClosed).toBe(true)
    expect(bench.refusedBy).toMatchObject([{ errId: 'KAFKA_NOT_AUTHORISED' }])
  })

  test('refuses a user that is banned', async () => {
    bench.banned.add('ann')
    expect(await say(plain('ann', 'secret'))).toMatchObject({
      errorCode: ERROR.SASL_AUTHENTICATION_FAILED,
    })
  })
})

describe.each([
  ['SCRAM-SHA-256', 'sha256'],
  ['SCRAM-SHA-512', 'sha512'],
] as const)('%s', (mechanism, digest) => {
  test.each([
    ['secret', 0],
    ['wrong', ERROR.SASL_AUTHENTICATION_FAILED],
  ])('with the password %s: %s', async (password, errorCode) => {
    client = await bench.connect()
    await handshake(mechanism)
    const scram = new ScramClient('ann', password, { digest })
    const { authBytes } = await say(scram.first(), 1)
    const last = await say(scram.final(authBytes), 1)
    expect(last.errorCode).toBe(errorCode)
    if (errorCode === 0) expect(scram.trusts(last.authBytes)).toBe(true)
  })
})

test('SCRAM-SHA-512 needs a password that was set since it is known', async () => {
  await user('old', 'secret', { scram512: undefined })
  for (const [mechanism, digest, errorCode] of [
    ['SCRAM-SHA-256', 'sha256', 0],
    ['SCRAM-SHA-512', 'sha512', ERROR.SASL_AUTHENTICATION_FAILED],
  ] as const) {
    client = await bench.connect()
    await handshake(mechanism)
    const scram = new ScramClient('old', 'secret', { digest })
    const { authBytes } = await say(scram.first())
    expect((await say(scram.final(authBytes))).errorCode).toBe(errorCode)
  }
})

test('after SaslHandshake 0 messages come by themselves', async () => {
  client = await bench.connect()
  await handshake('PLAIN', 0)
  client.raw(Buffer.from(plain('ann', 'secret')))
  await expect.poll(() => client.answers.length).toBe(2)
  expect(client.answers[1]).toHaveLength(0)
  expect(await metadata()).toEqual([])
})

test('where anybody may come in, a client may still say who it is', async () => {
  anonymous = 'always'
  client = await bench.connect()
  expect(await metadata()).toEqual([])
  await handshake('PLAIN')
  expect(await say(plain('ann', 'secret'))).toMatchObject({ errorCode: 0 })
})

describe('a session that ends', () => {
  beforeEach(async () => {
    bench.reauthenticationMs = 60_000
    client = await bench.connect()
    await handshake('PLAIN')
    expect((await say(plain('ann', 'secret'))).sessionLifetimeMs).toBe(60_000)
  })

  test('closes the connection when anything is asked then', async () => {
    expect(await metadata()).toEqual([])
    await bench.logs.clock.advance(60_001)
    await expect(metadata()).rejects.toThrow()
    expect(client.isClosed).toBe(true)
  })

  test('goes on when the user says again who it is', async () => {
    await bench.logs.clock.advance(50_000)
    await handshake('PLAIN')
    expect((await say(plain('ann', 'secret'))).errorCode).toBe(0)
    await bench.logs.clock.advance(50_000)
    expect(await metadata()).toEqual([])
  })

  test('is nobody else’s', async () => {
    await user('bob', 'other')
    await handshake('PLAIN')
    expect((await say(plain('bob', 'other'))).errorCode).toBe(ERROR.SASL_AUTHENTICATION_FAILED)
    await expect.poll(() => client.isClosed).toBe(true)
  })

  test('keeps its mechanism', async () => {
    expect(await handshake('SCRAM-SHA-256')).toMatchObject({ errorCode: ERROR.ILLEGAL_SASL_STATE })
    await expect.poll(() => client.isClosed).toBe(true)
  })
})

describe('OAUTHBEARER', () => {
  const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })

  beforeEach(async () => {
    const path = join(folder, 'keys.json')
    writeFileSync(path, JSON.stringify({ keys: [publicKey.export({ format: 'jwk' })] }))
    const wallMs = () => bench.logs.clock.wallMs()
    backends = [
      new JwtBackend({
        ...{ keys: `file:${path}`, algorithms: ['ES256'], userClaim: 'sub', wallMs },
        ...{ audience: 'kafka', issuer: 'us' },
      }),
    ]
    client = await bench.connect()
    expect((await handshake('OAUTHBEARER')).errorCode).toBe(0)
  })

  function token(claims: object = {}): Promise<string> {
    const now = Math.floor(bench.logs.clock.wallMs() / 1_000)
    const usual = { sub: 'tom', aud: 'kafka', iss: 'us', exp: now + 300, ...claims }
    return new SignJWT(usual).setProtectedHeader({ alg: 'ES256' }).sign(privateKey)
  }

  const bearer = (text: string, header = 'n,,'): string =>
    `${header}\u0001auth=Bearer ${text}\u0001extra=1\u0001\u0001`

  test('lets in whom a token names, for as long as it is good', async () => {
    const answer = await say(bearer(await token()))
    expect(answer.errorCode).toBe(0)
    expect(answer.sessionLifetimeMs).toBeGreaterThan(290_000)
    expect(answer.sessionLifetimeMs).toBeLessThanOrEqual(300_000)
    expect(await metadata()).toEqual([])
    await bench.logs.clock.advance(301_000)
    await expect(metadata()).rejects.toThrow()
  })

  test.each([
    ['of others', { aud: 'mqtt' }],
    ['of another issuer', { iss: 'them' }],
    ['that is over', { exp: 1 }],
    ['that is not good yet', { nbf: 4_000_000_000 }],
    ['that never ends', { exp: undefined }],
    ['of nobody', { sub: undefined }],
  ])('a token %s is refused as RFC 7628 says', async (_, claims) => {
    const told = await say(bearer(await token(claims)))
    expect(told).toMatchObject({ errorCode: 0 })
    expect(JSON.parse(String(told.authBytes))).toEqual({ status: 'invalid_token' })
    expect(await say('\u0001')).toMatchObject({ errorCode: ERROR.SASL_AUTHENTICATION_FAILED })
    await expect.poll(() => client.isClosed).toBe(true)
  })

  test('what is no message of it, or is for another user, is refused', async () => {
    for (const message of [
      `n,,\u0001auth=Bearer ${await token()}`,
      bearer(await token(), 'y,,'),
      bearer(await token(), 'n,a=ann,'),
      'nonsense',
    ]) {
      client = await bench.connect()
      await handshake('OAUTHBEARER')
      expect((await say(message)).errorCode, message).toBe(ERROR.SASL_AUTHENTICATION_FAILED)
    }
  })
})
