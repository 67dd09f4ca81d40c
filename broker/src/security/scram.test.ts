import { createHash, createHmac, pbkdf2Sync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import { ScramClient } from '../testing/scram-client.ts'
import type { ExchangeStep } from './enhanced.ts'
import { parseScramVerifier, ScramMethod, type ScramName, scramVerifier } from './scram.ts'

const CLIENT = { clientId: 'c', address: '127.0.0.1' }
const SHA_256 = 'SCRAM-SHA-256'

const text = (step: ExchangeStep): string =>
  step.kind === 'refused' ? step.reason : (step.data?.toString() ?? '')

async function methodFor(password: string, name: ScramName = SHA_256) {
  const verifier = parseScramVerifier(await scramVerifier(password, name), name)
  return new ScramMethod(name, {
    verifierOf: (user) => (user === 'u,=' ? verifier : undefined),
    accessOf: () => undefined,
  })
}

describe('ScramMethod', () => {
  test('speaks the exchange of RFC 7677', async () => {
    const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64')
    const salted = pbkdf2Sync('pencil', salt, 4096, 32, 'sha256')
    const key = (name: string): Buffer => createHmac('sha256', salted).update(name).digest()
    const storedKey = createHash('sha256').update(key('Client Key')).digest()
    const verifier = { iterations: 4096, salt, storedKey, serverKey: key('Server Key') }
    const method = new ScramMethod(
      SHA_256,
      { verifierOf: () => verifier, accessOf: () => undefined },
      () => '%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
    )
    const exchange = method.begin(CLIENT)
    const first = await exchange.next(Buffer.from('n,,n=user,r=rOprNGfwEbeRWgbNEkqO'))
    expect(text(first)).toBe(
      'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
    )
    const final =
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,' +
      'p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ='
    const last = await exchange.next(Buffer.from(final))
    expect(last).toMatchObject({ kind: 'in', user: 'user' })
    expect(text(last)).toBe('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=')
  })

  test('knows the password of a stored verifier and no other, and names with = and ,', async () => {
    const method = await methodFor('pässword')
    for (const [password, kind] of [
      ['pässword', 'in'],
      ['password', 'refused'],
    ]) {
      const client = new ScramClient('u=2C=3D', password as string)
      const exchange = method.begin(CLIENT)
      const challenge = await exchange.next(client.first())
      const step = await exchange.next(client.final(Buffer.from(text(challenge))))
      expect(step.kind).toBe(kind)
      if (step.kind === 'in') expect(client.trusts(step.data)).toBe(true)
    }
  })

  test('takes a nonce that begins with the client’s own twice', async () => {
    const method = await methodFor('x')
    const client = new ScramClient('u=2C=3D', 'x')
    const exchange = method.begin(CLIENT)
    const challenge = Buffer.from(text(await exchange.next(client.first())))
    const step = await exchange.next(client.final(challenge, { repeats: true }))
    expect(step).toMatchObject({ kind: 'in', user: 'u,=' })
  })

  test('asks an unknown name for its proof too, with the same salt each time', async () => {
    const method = await methodFor('x')
    const challenges: string[] = []
    for (let i = 0; i < 2; i++) {
      const client = new ScramClient('nobody', 'x')
      const exchange = method.begin(CLIENT)
      const challenge = text(await exchange.next(client.first()))
      challenges.push(/,s=.*$/.exec(challenge)?.[0] ?? '')
      expect((await exchange.next(client.final(Buffer.from(challenge)))).kind).toBe('refused')
    }
    expect(challenges[0]).toMatch(/^,s=.{20,},i=16384$/)
    expect(challenges[0]).toBe(challenges[1])
  })

  test.each([
    'p=tls-unique,,n=u,r=abc',
    'n,a=other,n=u,r=abc',
    'n,,r=abc,n=u',
    'n,,n=u=2X,r=abc',
    'n,,n=,r=abc',
    'nonsense',
  ])('refuses to begin with %s', async (first) => {
    const method = await methodFor('x')
    const step = await method.begin(CLIENT).next(Buffer.from(first))
    expect(step.kind).toBe('refused')
  })

  test('refuses a repeated, foreign or unbound final message', async () => {
    const method = await methodFor('x')
    const begin = async () => {
      const client = new ScramClient('u=2C=3D', 'x')
      const exchange = method.begin(CLIENT)
      const challenge = Buffer.from(text(await exchange.next(client.first())))
      return { exchange, final: client.final(challenge).toString() }
    }
    const { final: foreign } = await begin()
    for (const change of [
      () => foreign,
      (final: string) => final.replace('c=biws', 'c=eSws'),
      (final: string) => `${final.slice(0, -8)}AAAAAAA=`,
      () => '',
    ]) {
      const { exchange, final } = await begin()
      expect((await exchange.next(Buffer.from(change(final)))).kind).toBe('refused')
    }
  })
})

describe('parseScramVerifier', () => {
  test('takes what scramVerifier makes, and nothing else', async () => {
    const stored = await scramVerifier('x', SHA_256)
    expect(stored).toMatch(/^SCRAM-SHA-256\$16384:[^$:]+\$[^$:]+:[^$:]+$/)
    expect(await scramVerifier('x', SHA_256)).not.toBe(stored)
    expect(parseScramVerifier(stored, SHA_256)).toMatchObject({ iterations: 16_384 })
    for (const bad of ['', 'x', stored.replace('256$', '1$'), stored.slice(0, -5)]) {
      expect(parseScramVerifier(bad, SHA_256)).toBeUndefined()
    }
  })
})
