import { describe, expect, test } from 'vitest'
import { ResourceCache } from '../cluster/resource-cache.ts'
import { Access, type Rule } from './access.ts'
import { type Anonymous, Authenticator, type Credentials } from './authenticator.ts'
import { hashPassword, isPassword } from './password-hash.ts'

let version = 0

function bench(anonymous: Anonymous = 'loopback') {
  const resources = new ResourceCache()
  const put = (kind: string, name: string, value: object): void => {
    version++
    const json = JSON.stringify(value)
    resources.apply([{ kind, tenant: '', name, created: version, version, value: json }], [])
  }
  const remove = (kind: string, name: string): void => {
    resources.apply([], [{ kind, tenant: '', name }])
  }
  const security = new Authenticator({ resources, anonymous: () => anonymous })
  const revoked: string[] = []
  security.onRevoked((user) => revoked.push(user))
  const from = (more: Partial<Credentials> = {}) =>
    security.authenticate({
      clientId: 'c1',
      username: undefined,
      password: undefined,
      certificateName: undefined,
      remoteAddress: '127.0.0.1',
      ...more,
    })
  const login = (username: string, password: string, more: Partial<Credentials> = {}) =>
    from({ username, password: Buffer.from(password), ...more })
  return { put, remove, from, login, revoked }
}

describe('hashPassword', () => {
  test('isPassword knows the password and no other, and refuses what is no hash', async () => {
    const hash = await hashPassword('sécret')
    expect(hash).toMatch(/^scrypt\$16384\$8\$1\$/)
    expect(await hashPassword('sécret')).not.toBe(hash)
    expect(await isPassword('sécret', hash)).toBe(true)
    expect(await isPassword('secret', hash)).toBe(false)
    for (const bad of ['', 'plain', 'scrypt$3$8$1$eA==$eA==', 'scrypt$99999999999$8$1$eA==$eA==']) {
      expect(await isPassword('sécret', bad)).toBe(false)
    }
  })
})

describe('Authenticator', () => {
  test('without users lets in who comes by loopback, whatever they say, and nobody else', async () => {
    const { from, login } = bench()
    expect(await from()).toMatchObject({ kind: 'in', access: undefined })
    expect(await login('x', 'y')).toMatchObject({ kind: 'in', access: undefined })
    for (const remoteAddress of ['::1', '::ffff:127.0.0.1', 'unix']) {
      expect((await from({ remoteAddress })).kind).toBe('in')
    }
    expect((await from({ remoteAddress: '10.0.0.1' })).kind).toBe('not-authorised')
    expect((await bench('always').from({ remoteAddress: '10.0.0.1' })).kind).toBe('in')
    expect((await bench('never').from()).kind).toBe('not-authorised')
  })

  test('the first user ends that, and is told from all others', async () => {
    const { put, from, login, revoked } = bench()
    put('user', 'ann', { credentials: { password: await hashPassword('pw') }, tags: ['admin'] })
    expect(revoked).toEqual(['anonymous'])
    expect((await from()).kind).toBe('not-authorised')
    expect((await login('ann', 'wrong')).kind).toBe('bad-credentials')
    expect((await login('bob', 'pw')).kind).toBe('bad-credentials')
    expect((await from({ username: 'ann' })).kind).toBe('bad-credentials')
    expect(await login('ann', 'pw')).toMatchObject({ kind: 'in', user: 'ann', access: undefined })
    expect(await login('ann', 'pw', { remoteAddress: '10.0.0.1' })).toMatchObject({ kind: 'in' })
  })

  test('a password that changed is wrong at once, though it was right before', async () => {
    const { put, login, revoked } = bench()
    put('user', 'ann', { credentials: { password: await hashPassword('old') } })
    expect((await login('ann', 'old')).kind).toBe('in')
    put('user', 'ann', { credentials: { password: await hashPassword('new') } })
    expect(revoked).toContain('ann')
    expect((await login('ann', 'old')).kind).toBe('bad-credentials')
    expect((await login('ann', 'new')).kind).toBe('in')
    put('user', 'ann', { credentials: { password: await hashPassword('new') }, disabled: true })
    expect((await login('ann', 'new')).kind).toBe('bad-credentials')
  })

  test('a verified certificate is as good as a password for the user of its name', async () => {
    const { put, from } = bench()
    put('user', 'device', { credentials: {} })
    expect(await from({ certificateName: 'device' })).toMatchObject({ kind: 'in', user: 'device' })
    expect((await from({ certificateName: 'other' })).kind).toBe('not-authorised')
    expect((await from({ username: 'device' })).kind).toBe('bad-credentials')
  })

  test('rules hold as they are now, those of everybody too', async () => {
    const { put, remove, login } = bench()
    put('user', 'ann', { credentials: { password: await hashPassword('pw') } })
    const found = await login('ann', 'pw')
    const access = found.kind === 'in' ? found.access : undefined
    expect(access?.mayPublish('a/b')).toBe(false)
    put('permission', '1', { user: 'ann', action: 'publish', pattern: 'a/#', allow: true })
    expect(access?.mayPublish('a/b')).toBe(true)
    put('permission', '2', { user: '*', action: 'all', pattern: 'a/secret', allow: false })
    expect(access?.mayPublish('a/secret')).toBe(false)
    remove('permission', '1')
    expect(access?.mayPublish('a/b')).toBe(false)
  })
})

describe('Access', () => {
  const access = (rules: readonly Rule[], clientId = 'c1') =>
    new Access('ann', { clientId, address: '127.0.0.1' }, () => rules)
  const allow = (action: Rule['action'], pattern: string): Rule => ({
    action,
    pattern,
    allow: true,
  })
  const deny = (action: Rule['action'], pattern: string): Rule => ({
    action,
    pattern,
    allow: false,
  })

  test('what no rule allows is denied, and a rule that denies wins', () => {
    const { mayPublish, maySubscribe } = bound(
      access([allow('all', 'a/#'), deny('publish', 'a/x')]),
    )
    expect(['a', 'a/b', 'a/x', 'b'].map(mayPublish)).toEqual([true, true, false, false])
    expect(['a/#', 'a/+', '#', '+/b'].map(maySubscribe)).toEqual([true, true, false, false])
  })

  test('a subscription that would see something denied is denied as a whole', () => {
    const { maySubscribe } = bound(access([allow('subscribe', '#'), deny('subscribe', 'a/secret')]))
    expect(['a/+', 'a/#', '#', 'a/open', 'b/#'].map(maySubscribe)).toEqual([
      ...[false, false, false, true, true],
    ])
  })

  test('the user and the client id stand in patterns, unless they would change their meaning', () => {
    const rules = [allow('publish', 'from/%u/%c')]
    expect(access(rules).mayPublish('from/ann/c1')).toBe(true)
    expect(access(rules).mayPublish('from/ann/c2')).toBe(false)
    expect(access(rules, '#').mayPublish('from/ann/anything')).toBe(false)
    expect(access(rules, 'a/b').mayPublish('from/ann/a/b')).toBe(false)
  })

  function bound(of: Access) {
    return {
      mayPublish: (address: string) => of.mayPublish(address),
      maySubscribe: (filter: string) => of.maySubscribe(filter),
    }
  }
})

describe('Access by QoS and retain', () => {
  const access = (...rules: Rule[]) =>
    new Access('u', { clientId: 'c', address: '127.0.0.1' }, () => rules)
  const all = { action: 'all', pattern: '#', allow: true } as const

  test('denies what a rule denies for its QoS, and nothing else', () => {
    const it = access(all, { ...all, pattern: 'a', allow: false, qos: [1, 2] })
    const may = (qos: number) => it.mayPublish('a', { qos, retain: false })
    expect([may(0), may(1), may(2), may(0)]).toEqual([true, false, false, true])
    expect([it.maySubscribe('a', 0), it.maySubscribe('a', 2)]).toEqual([true, false])
    expect(it.mayPublish('b', { qos: 2, retain: false })).toBe(true)
  })

  test('allows what a rule allows for messages that are not to be retained', () => {
    const it = access({ ...all, retain: false })
    expect(it.mayPublish('a', { qos: 1, retain: false })).toBe(true)
    expect(it.mayPublish('a', { qos: 1, retain: true })).toBe(false)
    expect(it.maySubscribe('a', 1)).toBe(true)
  })

  test('a prefix is for what begins so, also of a filter, and is for no wildcard', () => {
    const it = access({ ...all, pattern: 'shop/or', prefix: true })
    expect([it.mayPublish('shop/orders'), it.mayPublish('shop/other')]).toEqual([true, false])
    const may = (filter: string) => it.maySubscribe(filter)
    expect(['shop/orders/+', 'shop/or#', 'shop/+', 'shop/#', '#'].map(may)).toEqual([
      ...[true, false, false, false, false],
    ])
    const denied = access(all, { ...all, pattern: 'shop/or', prefix: true, allow: false })
    const mayNot = ['shop/orders/+', 'shop/+', 'shop/#', '#', 'shop', 'park/#'].map((filter) =>
      denied.maySubscribe(filter),
    )
    expect(mayNot).toEqual([false, false, false, false, true, true])
  })

  test('a rule for an address of clients is for no others', () => {
    expect(access({ ...all, host: '127.0.0.1' }).mayPublish('a')).toBe(true)
    expect(access({ ...all, host: '127.0.0.2' }).mayPublish('a')).toBe(false)
    expect(access(all, { ...all, host: '127.0.0.1', allow: false }).maySubscribe('a')).toBe(false)
  })

  test('a rule for a group is for no address, and a topic is not called like a question', () => {
    const it = access(
      { ...all, on: 'group', pattern: '*' },
      { ...all, pattern: 'create address x' },
    )
    expect([it.mayPublish('a'), it.maySubscribe('a')]).toEqual([false, false])
    expect(it.may('subscribe', 'group', 'a/#')).toBe(true)
    expect(it.mayPublish('create address x')).toBe(true)
    expect(it.may('create', 'address', 'x')).toBe(false)
  })

  test('who may with some of a kind, and is not denied all of it, may with any', () => {
    const may = (...rules: Rule[]) => access(...rules).mayWithAny('publish', 'address')
    expect(may({ ...all, pattern: 'a' })).toBe(true)
    expect(may({ ...all, pattern: 'a' }, { ...all, pattern: 'a/b', allow: false })).toBe(true)
    expect(may(all, { ...all, allow: false })).toBe(false)
    expect(may({ ...all, action: 'subscribe' })).toBe(false)
  })
})
