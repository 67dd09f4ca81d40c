/**
 * SCRAM-SHA-256 (RFC 5802, RFC 7677), the server's side, and what is stored of a password for it. Without
 * channel binding. Whoever steals what is stored can try passwords, but cannot log in by it.
 */
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Access } from './access.ts'
import type { AuthenticationExchange, AuthenticationMethod, ExchangeStep } from './enhanced.ts'

export const SCRAM_SHA_256 = 'SCRAM-SHA-256'

const ITERATIONS = 16_384
const SALT_BYTES = 16
const KEY_BYTES = 32
const NONCE_BYTES = 18
/** A client message may be as long as that; names and nonces are far shorter. */
const MESSAGE_BYTES_MAX = 4_096

export interface ScramVerifier {
  readonly iterations: number
  readonly salt: Buffer
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

/** `SCRAM-SHA-256$ITERATIONS:SALT$STORED_KEY:SERVER_KEY`, the last three in base64. */
export async function scramVerifier(password: string): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const salted = await derive(password.normalize('NFKC'), salt)
  const storedKey = hash(hmac(salted, 'Client Key')).toString('base64')
  const serverKey = hmac(salted, 'Server Key').toString('base64')
  return `${SCRAM_SHA_256}$${ITERATIONS}:${salt.toString('base64')}$${storedKey}:${serverKey}`
}

/** Undefined for a text that is no such verifier. */
export function parseScramVerifier(stored: string): ScramVerifier | undefined {
  const [scheme, work = '', keys = ''] = stored.split('$')
  const [count, salt = ''] = work.split(':')
  const [storedKey, serverKey] = keys.split(':').map((key) => Buffer.from(key, 'base64'))
  const iterations = Number(count)
  const isGood =
    scheme === SCRAM_SHA_256 &&
    Number.isInteger(iterations) &&
    iterations > 0 &&
    salt !== '' &&
    storedKey?.length === KEY_BYTES &&
    serverKey?.length === KEY_BYTES
  if (!isGood) return undefined
  return { iterations, salt: Buffer.from(salt, 'base64'), storedKey, serverKey }
}

export interface ScramUsers {
  /** Undefined: nobody may come in by this name and method. */
  verifierOf(user: string): ScramVerifier | undefined
  /** What the user may do, as this client; undefined: everything. */
  accessOf(user: string, clientId: string): Access | undefined
}

export class ScramMethod implements AuthenticationMethod {
  readonly name = SCRAM_SHA_256
  readonly #users: ScramUsers
  /** Of this process only: names that are not known get a salt of their own too. */
  readonly #secret = randomBytes(KEY_BYTES)
  readonly #nextNonce: () => string

  /** `nextNonce`: printable, without commas, and never the same. */
  constructor(users: ScramUsers, nextNonce = () => randomBytes(NONCE_BYTES).toString('base64')) {
    this.#users = users
    this.#nextNonce = nextNonce
  }

  begin({ clientId }: { readonly clientId: string }): AuthenticationExchange {
    return new ScramExchange({
      nextNonce: this.#nextNonce,
      accessOf: (user) => this.#users.accessOf(user, clientId),
      verifierOf: (user) => this.#users.verifierOf(user) ?? this.#nobody(user),
    })
  }

  /** No password fits it, and nothing tells it from a real one. */
  #nobody(user: string): ScramVerifier {
    const salt = hmac(this.#secret, `salt ${user}`).subarray(0, SALT_BYTES)
    const storedKey = hmac(this.#secret, `key ${user}`)
    return { iterations: ITERATIONS, salt, storedKey, serverKey: storedKey }
  }
}

interface Challenge {
  readonly user: string
  readonly verifier: ScramVerifier
  readonly gs2Header: string
  readonly nonce: string
  /** What client and server have said, as both sign it. */
  readonly said: string
}

interface ScramServer {
  readonly nextNonce: () => string
  readonly accessOf: (user: string) => Access | undefined
  readonly verifierOf: (user: string) => ScramVerifier
}

class ScramExchange implements AuthenticationExchange {
  readonly #server: ScramServer
  #challenge: Challenge | undefined

  constructor(server: ScramServer) {
    this.#server = server
  }

  async next(data: Buffer | undefined): Promise<ExchangeStep> {
    // A client may name the method only, and speak when it is asked.
    if (data === undefined || data.length === 0) {
      return this.#challenge === undefined ? { kind: 'continue', data: NO_BYTES } : MALFORMED
    }
    if (data.length > MESSAGE_BYTES_MAX) return MALFORMED
    const text = data.toString('utf8')
    return this.#challenge === undefined ? this.#first(text) : this.#final(text, this.#challenge)
  }

  #first(text: string): ExchangeStep {
    // GS2 header: no channel binding, an optional identity to act as, then name and nonce.
    const found = /^((?:n|y),(?:a=([^,]*))?,)n=([^,]+),r=([\x21-\x2b\x2d-\x7e]+)(?:,|$)/.exec(text)
    if (found === null) return MALFORMED
    const [, gs2Header = '', actsAs, name = '', clientNonce = ''] = found
    const user = unescaped(name)
    if (user === undefined) return MALFORMED
    if (actsAs !== undefined && actsAs !== name) {
      return { kind: 'refused', reason: 'nobody may act as another user' }
    }
    const verifier = this.#server.verifierOf(user)
    const nonce = clientNonce + this.#server.nextNonce()
    const { iterations, salt } = verifier
    const challenge = `r=${nonce},s=${salt.toString('base64')},i=${iterations}`
    const said = `${text.slice(gs2Header.length)},${challenge}`
    this.#challenge = { user, verifier, gs2Header, nonce, said }
    return { kind: 'continue', data: Buffer.from(challenge) }
  }

  #final(text: string, challenge: Challenge): ExchangeStep {
    const found = /^(c=([A-Za-z0-9+/=]+),r=([^,]+)(?:,.*)?),p=([A-Za-z0-9+/=]+)$/.exec(text)
    if (found === null) return MALFORMED
    const [, withoutProof = '', binding = '', nonce = '', proofText = ''] = found
    const { user, verifier, gs2Header, said } = challenge
    const isBound = Buffer.from(binding, 'base64').toString() === gs2Header
    const proof = Buffer.from(proofText, 'base64')
    if (!isBound || nonce !== challenge.nonce || proof.length !== KEY_BYTES) return WRONG
    const all = `${said},${withoutProof}`
    const signature = hmac(verifier.storedKey, all)
    const clientKey = Buffer.from(proof.map((byte, at) => byte ^ (signature[at] as number)))
    if (!timingSafeEqual(hash(clientKey), verifier.storedKey)) return WRONG
    const data = Buffer.from(`v=${hmac(verifier.serverKey, all).toString('base64')}`)
    return { kind: 'in', user, access: this.#server.accessOf(user), data }
  }
}

const NO_BYTES = Buffer.alloc(0)
const MALFORMED: ExchangeStep = { kind: 'refused', reason: 'no message of SCRAM' }
const WRONG: ExchangeStep = { kind: 'refused', reason: 'bad user name or password' }

/** Names are written with `=2C` for a comma and `=3D` for an equals sign. */
function unescaped(name: string): string | undefined {
  if (/=(?!2C|3D)/.test(name)) return undefined
  return name.replaceAll('=2C', ',').replaceAll('=3D', '=')
}

function hmac(key: Buffer, text: string): Buffer {
  return createHmac('sha256', key).update(text).digest()
}

function hash(bytes: Buffer): Buffer {
  return createHash('sha256').update(bytes).digest()
}

function derive(password: string, salt: Buffer): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    pbkdf2(password, salt, ITERATIONS, KEY_BYTES, 'sha256', (error, key) => {
      if (error) reject(error)
      else resolve(key)
    })
  })
}
