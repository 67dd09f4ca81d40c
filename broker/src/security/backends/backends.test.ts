import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exportJWK, generateKeyPair, type JWK, SignJWT } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ResourceCache } from '../../cluster/resource-cache.ts'
import { VirtualClock } from '../../testing/virtual-clock.ts'
import { Authenticator } from '../authenticator.ts'
import type { Backend, BackendAnswer, BackendCredentials } from './backend.ts'
import { rulesOf } from './backend.ts'
import { CachedBackend } from './cached.ts'
import { HttpBackend } from './http.ts'
import { JwtBackend } from './jwt.ts'

const NOW = 1_800_000_000_000
let folder = ''
let server: Server
let url = ''
let answer = (_body: Record<string, unknown>, response: ServerResponse): void => {
  response.end()
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'robust-backends-'))
  server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const text = Buffer.concat(chunks).toString()
      answer(text === '' ? {} : JSON.parse(text), response)
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
})

afterAll(async () => {
  rmSync(folder, { recursive: true, force: true })
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

const credentials = (more: Partial<BackendCredentials> & { secret?: string } = {}) => ({
  ...{ clientId: 'c', username: 'u', certificateName: undefined, remoteAddress: '10.0.0.1' },
  password: more.secret === undefined ? undefined : Buffer.from(more.secret),
  ...more,
})

describe('JwtBackend', () => {
  const options = (keys: string, more: object = {}) => ({
    ...{
      keys,
      algorithms: [],
      audience: undefined,
      issuer: undefined,
      userClaim: 'sub',
      wallMs: () => NOW,
    },
    ...more,
  })

  async function keyOf(
    alg: string,
  ): Promise<{ jwk: JWK; sign: (claims: object) => Promise<string> }> {
    const kid = `key-${alg}`
    const claimsOf = (claims: object) => ({ sub: 'u', exp: NOW / 1_000 + 60, ...claims })
    if (alg.startsWith('HS')) {
      const secret = Buffer.from('0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef')
      return {
        jwk: { kty: 'oct', k: secret.toString('base64url'), alg, kid },
        sign: (claims) =>
          new SignJWT(claimsOf(claims)).setProtectedHeader({ alg, kid }).sign(secret),
      }
    }
    const { publicKey, privateKey } = await generateKeyPair(alg)
    return {
      jwk: { ...(await exportJWK(publicKey)), alg, kid },
      sign: (claims) =>
        new SignJWT(claimsOf(claims)).setProtectedHeader({ alg, kid }).sign(privateKey),
    }
  }

  test.each(['HS256', 'RS256', 'ES256', 'PS256', 'EdDSA'])(
    'takes tokens of %s, with their rules',
    async (alg) => {
      const { jwk, sign } = await keyOf(alg)
      const path = join(folder, `${alg}.json`)
      writeFileSync(path, JSON.stringify({ keys: [jwk] }))
      const backend = new JwtBackend(options(`file:${path}`))
      const acl = [{ permission: 'deny', action: 'publish', topic: 'a/#', qos: [2], retain: true }]
      const secret = await sign({ acl, is_superuser: false })
      expect(await backend.check(credentials({ secret }))).toEqual({
        ...{ kind: 'in', user: 'u', isAdmin: false, until: NOW + 60_000 },
        rules: [{ action: 'publish', pattern: 'a/#', allow: false, qos: [2], retain: true }],
      })
      expect(await backend.check(credentials({ secret: `${secret.slice(0, -4)}AAAA` }))).toEqual({
        kind: 'bad-credentials',
      })
    },
  )

  test('refuses what is expired, of another issuer, for others, of another user, or without one', async () => {
    const { jwk, sign } = await keyOf('ES256')
    const path = join(folder, 'claims.json')
    writeFileSync(path, JSON.stringify({ keys: [jwk] }))
    const backend = new JwtBackend(options(`file:${path}`, { audience: 'a', issuer: 'i' }))
    const good = { aud: 'a', iss: 'i' }
    const check = async (claims: object, username: string | undefined = 'u') =>
      (await backend.check(credentials({ secret: await sign({ ...good, ...claims }), username })))
        .kind
    expect(await check({})).toBe('in')
    expect(await check({}, undefined)).toBe('in')
    for (const bad of [
      { exp: NOW / 1_000 - 1 },
      { iss: 'x' },
      { aud: 'x' },
      { sub: 'v' },
      { sub: 7 },
    ]) {
      expect(await check(bad), JSON.stringify(bad)).toBe('bad-credentials')
    }
    const [head = '', body = ''] = (await sign(good)).split('.')
    const none = `${Buffer.from('{"alg":"none"}').toString('base64url')}.${body}.`
    expect((await backend.check(credentials({ secret: none }))).kind).toBe('bad-credentials')
    expect((await backend.check(credentials({ secret: `${head}.${body}.` }))).kind).toBe(
      'bad-credentials',
    )
    expect((await backend.check(credentials({ secret: 'password' }))).kind).toBe('unknown')
    expect((await backend.check(credentials())).kind).toBe('unknown')
  })

  test('fetches the keys of a URL, and is down while it cannot', async () => {
    const { jwk, sign } = await keyOf('RS256')
    answer = (_body, response) => response.writeHead(503).end()
    const backend = new JwtBackend(options(url))
    const secret = await sign({})
    await expect(backend.check(credentials({ secret }))).rejects.toThrow()
    answer = (_body, response) => response.end(JSON.stringify({ keys: [jwk] }))
    await expect
      .poll(() =>
        backend.check(credentials({ secret })).then(
          ({ kind }) => kind,
          () => 'down',
        ),
      )
      .toBe('in')
    await expect(
      new JwtBackend(options('file:/no/such/file')).check(credentials({ secret })),
    ).rejects.toThrow()
  })
})

describe('HttpBackend', () => {
  const backend = () => new HttpBackend({ url, timeoutMs: 1_000 })
  const answered = async (status: number, body: unknown): Promise<BackendAnswer> => {
    answer = (_body, response) =>
      response.writeHead(status).end(typeof body === 'string' ? body : JSON.stringify(body))
    return backend().check(credentials({ secret: 'pw' }))
  }

  test('is asked with everything that is known', async () => {
    let asked = {}
    answer = (body, response) => {
      asked = body
      response.end('{"result":"allow","is_superuser":true,"user":"x","expire_at":9}')
    }
    expect(await backend().check(credentials({ secret: 'pw' }))).toEqual({
      ...{ kind: 'in', user: 'x', isAdmin: true, rules: [], until: 9_000 },
    })
    expect(asked).toEqual({
      ...{ clientid: 'c', username: 'u', password: 'pw', certificate: null, ipaddress: '10.0.0.1' },
    })
  })

  test.each([
    [200, { result: 'allow', acl: { pub: ['a'], all: ['b/#'] } }, 'in'],
    [200, { result: 'deny' }, 'bad-credentials'],
    [200, { result: 'ignore' }, 'unknown'],
    [401, '', 'bad-credentials'],
    [403, '', 'bad-credentials'],
    [404, '', 'unknown'],
  ])('status %i with %j says %s', async (status, body, kind) => {
    expect((await answered(status, body)).kind).toBe(kind)
  })

  test.each([
    [500, ''],
    [302, ''],
    [204, ''],
    [200, 'nonsense'],
    [200, '[]'],
    [200, { result: 'maybe' }],
    [200, { result: 'allow', acl: 'all' }],
    [200, { result: 'allow', acl: [{ topic: 'a' }] }],
  ])('status %i with %j counts as down', async (status, body) => {
    await expect(answered(status, body)).rejects.toThrow()
  })

  test('is down when it does not answer in time, or nobody listens', async () => {
    answer = () => undefined
    const slow = new HttpBackend({ url, timeoutMs: 50 })
    await expect(slow.check(credentials())).rejects.toThrow()
    const nobody = new HttpBackend({ url: 'http://127.0.0.1:1/', timeoutMs: 1_000 })
    await expect(nobody.check(credentials())).rejects.toThrow()
  })
})

describe('CachedBackend', () => {
  test('keeps good and bad answers for their times, by everything that was asked, and no failure', async () => {
    const clock = new VirtualClock()
    const asked: string[] = []
    let next: () => Promise<BackendAnswer> = async () => ({ kind: 'bad-credentials' })
    const backend: Backend = {
      name: 'x',
      check: ({ password }) => {
        asked.push(Buffer.from(password ?? '').toString())
        return next()
      },
      stop: () => undefined,
    }
    const cached = new CachedBackend(backend, clock, () => ({ goodMs: 1_000, badMs: 100 }))
    const check = (secret: string) => cached.check(credentials({ secret })).catch(() => undefined)
    await Promise.all([check('a'), check('a'), check('b')])
    expect(asked).toEqual(['a', 'b'])
    await clock.advance(101)
    const good = { kind: 'in', user: 'u', isAdmin: false, rules: [], until: undefined } as const
    next = async () => good
    await check('a')
    await clock.advance(900)
    expect(await check('a')).toEqual(good)
    expect(asked).toHaveLength(3)
    await clock.advance(101)
    next = () => Promise.reject(new Error('down'))
    await check('a')
    await check('a')
    expect(asked).toHaveLength(5)
  })
})

describe('rulesOf', () => {
  test('takes lists by action and rules one by one', () => {
    expect(rulesOf(undefined)).toEqual([])
    expect(rulesOf({ sub: ['a'] })).toEqual([{ action: 'subscribe', pattern: 'a', allow: true }])
    expect(rulesOf([{ permission: 'allow', action: 'all', topic: '#', qos: 1 }])).toEqual([
      { action: 'all', pattern: '#', allow: true, qos: [1] },
    ])
    for (const bad of [
      'x',
      [1],
      { pub: 'a' },
      [{ permission: 'allow', action: 'all', topic: '#', qos: 3 }],
    ]) {
      expect(() => rulesOf(bad)).toThrow()
    }
  })
})

describe('Authenticator with back ends', () => {
  const from = (security: Authenticator, username: string | undefined) =>
    security.authenticate({
      ...credentials({ secret: 'pw' }),
      username,
      remoteAddress: '127.0.0.1',
    })

  function setUp(...answers: (BackendAnswer['kind'] | 'down')[]) {
    const resources = new ResourceCache()
    const asked: string[] = []
    const backends = answers.map(
      (kind, at): Backend => ({
        name: `b${at}`,
        check: async () => {
          asked.push(`b${at}`)
          if (kind === 'down') throw new Error('down')
          const rules = [{ action: 'publish' as const, pattern: 'theirs', allow: true }]
          return kind === 'in' ? { kind, user: 'f', isAdmin: false, rules, until: 5 } : { kind }
        },
        stop: () => undefined,
      }),
    )
    const errors: string[] = []
    const security = new Authenticator({
      resources,
      anonymous: () => 'loopback',
      backends: () => backends,
      onBackendError: (name) => errors.push(name),
    })
    const put = (kind: string, name: string, value: object, version = 1): void => {
      resources.apply(
        [{ kind, tenant: '', name, created: version, version, value: JSON.stringify(value) }],
        [],
      )
    }
    return { security, asked, errors, put }
  }

  test('asks one after the other, and the first that knows decides', async () => {
    const { security, asked } = setUp('unknown', 'in', 'down')
    expect(await from(security, 'x')).toMatchObject({ kind: 'in', user: 'f', until: 5 })
    expect(asked).toEqual(['b0', 'b1'])
    expect((await from(setUp('bad-credentials', 'in').security, 'x')).kind).toBe('bad-credentials')
  })

  test('lets nobody in while one is down, not even by the next, and nobody who is known to none', async () => {
    const { security, errors, asked } = setUp('down', 'in')
    expect((await from(security, 'x')).kind).toBe('unavailable')
    expect([errors, asked]).toEqual([['b0'], ['b0']])
    expect((await from(setUp('unknown').security, 'x')).kind).toBe('bad-credentials')
    expect((await from(setUp('unknown').security, undefined)).kind).toBe('not-authorised')
  })

  test('does not ask about users of the metadata', async () => {
    const { security, asked, put } = setUp('in')
    put('user', 'x', { tags: [], credentials: {} })
    expect((await from(security, 'x')).kind).toBe('bad-credentials')
    expect(asked).toEqual([])
  })

  test('adds the rules of the metadata to those of the back end, as they change', async () => {
    const { security, put } = setUp('in')
    const found = await from(security, 'x')
    const access = found.kind === 'in' ? found.access : undefined
    expect(access?.mayPublish('theirs')).toBe(true)
    expect(access?.mayPublish('ours')).toBe(false)
    put('permission', 'p', { user: 'f', action: 'all', pattern: 'ours', allow: true })
    put('permission', 'q', { user: '*', action: 'publish', pattern: 'theirs', allow: false }, 2)
    expect(access?.mayPublish('ours')).toBe(true)
    expect(access?.mayPublish('theirs')).toBe(false)
  })
})
