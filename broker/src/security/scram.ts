/**
 * SCRAM with SHA-256 or SHA-512 (RFC 5802, RFC 7677), the server's side, and what is stored of a password for each.
 * Without channel binding. Whoever steals what is stored can try passwords, but cannot log in by it.
 */
import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import type { Access } from './access.ts'
import type {
  AuthenticationExchange,
  AuthenticationMethod,
  ClientPlace,
  ExchangeStep,
} from './enhanced.ts'

const HASHES = {
  'SCRAM-SHA-256': { hash: 'sha256', keyBytes: 32 },
  'SCRAM-SHA-512': { hash: 'sha512', keyBytes: 64 },
} as const

export type ScramName = keyof typeof HASHES

export const SCRAM_NAMES = Object.keys(HASHES) as ScramName[]

export const SCRAM_ITERATIONS = 16_384
const SALT_BYTES = 16
const SECRET_BYTES = 32
const NONCE_BYTES = 18
/** A client message may be as long as that; names and nonces are far shorter. */
const MESSAGE_BYTES_MAX = 4_096

export interface ScramVerifier {
  readonly iterations: number
  readonly salt: Buffer
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

/** Of each method, by the names that they have among the credentials of a user. */
export async function scramVerifiers(password: string): Promise<Record<string, string>> {
  const made = await Promise.all(
    SCRAM_NAMES.map(async (name) => [SCRAM_FIELDS[name], await scramVerifier(password, name)]),
  )
  return Object.fromEntries(made)
}

/** Where a user's credentials keep the verifier. */
export const SCRAM_FIELDS: Readonly<Record<ScramName, string>> = {
  'SCRAM-SHA-256': 'scram',
  'SCRAM-SHA-512': 'scram512',
}

export async function scramVerifier(password: string, name: ScramName): Promise<string> {
  const salt = randomBytes(SALT_BYTES)
  const salted = await derive(password.normalize('NFKC'), salt, name)
  return verifierText(name, { salted, salt, iterations: SCRAM_ITERATIONS })
}

export interface SaltedPassword {
  readonly salted: Buffer
  readonly salt: Buffer
  readonly iterations: number
}

/** `NAME$ITERATIONS:SALT$STORED_KEY:SERVER_KEY`, the last three in base64. */
export function verifierText(
  name: ScramName,
  { salted, salt, iterations }: SaltedPassword,
): string {
  const storedKey = hash(hmac(salted, 'Client Key', name), name).toString('base64')
  const serverKey = hmac(salted, 'Server Key', name).toString('base64')
  return `${name}$${iterations}:${salt.toString('base64')}$${storedKey}:${serverKey}`
}

/** Undefined for a text that is no verifier of the method. */
export function parseScramVerifier(stored: string, name: ScramName): ScramVerifier | undefined {
  const [scheme, work = '', keys = ''] = stored.split('$')
  const [count, salt = ''] = work.split(':')
  const [storedKey, serverKey] = keys.split(':').map((key) => Buffer.from(key, 'base64'))
  const iterations = Number(count)
  const { keyBytes } = HASHES[name]
  const isGood =
    scheme === name &&
    Number.isInteger(iterations) &&
    iterations > 0 &&
    salt !== '' &&
    storedKey?.length === keyBytes &&
    serverKey?.length === keyBytes
  if (!isGood) return undefined
  return { iterations, salt: Buffer.from(salt, 'base64'), storedKey, serverKey }
}

export interface ScramUsers {
  /** Undefined: nobody may come in by this name and method. */
  verifierOf(user: string, method: ScramName): ScramVerifier | undefined
  /** What the user may do, as this client; undefined: everything. */
  accessOf(user: string, client: ClientPlace): Access | undefined
}

export class ScramMethod implements AuthenticationMethod {
  readonly name: ScramName
  readonly #users: ScramUsers
  /** Of this process only: names that are not known get a salt of their own too. */
  readonly #secret = randomBytes(SECRET_BYTES)
  readonly #nextNonce: () => string

  /** `nextNonce`: printable, without commas, and never the same. */
  constructor(
    name: ScramName,
    users: ScramUsers,
    nextNonce = () => randomBytes(NONCE_BYTES).toString('base64'),
  ) {
    this.name = name
    this.#users = users
    this.#nextNonce = nextNonce
  }

  begin(client: ClientPlace): AuthenticationExchange {
    return new ScramExchange({
      name: this.name,
      nextNonce: this.#nextNonce,
      accessOf: (user) => this.#users.accessOf(user, client),
      verifierOf: (user) => this.#users.verifierOf(user, this.name) ?? this.#nobody(user),
    })
  }

  /** No password fits it, and nothing tells it from a real one. */
  #nobody(user: string): ScramVerifier {
    const { name } = this
    const salt = hmac(this.#secret, `salt ${user}`, name).subarray(0, SALT_BYTES)
    const storedKey = hmac(this.#secret, `key ${user}`, name)
    return { iterations: SCRAM_ITERATIONS, salt, storedKey, serverKey: storedKey }
  }
}

interface Challenge {
  readonly user: string
  readonly verifier: ScramVerifier
  readonly gs2Header: string
  readonly clientNonce: string
  readonly nonce: string
  /** What client and server have said, as both sign it. */
  readonly said: string
}

interface ScramServer {
  readonly name: ScramName
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
    this.#challenge = { user, verifier, gs2Header, clientNonce, nonce, said }
    return { kind: 'continue', data: Buffer.from(challenge) }
  }

  #final(text: string, challenge: Challenge): ExchangeStep {
    const found = /^(c=([A-Za-z0-9+/=]+),r=([^,]+)(?:,.*)?),p=([A-Za-z0-9+/=]+)$/.exec(text)
    if (found === null) return MALFORMED
    const [, withoutProof = '', binding = '', nonce = '', proofText = ''] = found
    const { user, verifier, gs2Header, said } = challenge
    const { name } = this.#server
    const isBound = Buffer.from(binding, 'base64').toString() === gs2Header
    const proof = Buffer.from(proofText, 'base64')
    // librdkafka before 2.6 puts its own part before the whole once more.
    const { clientNonce } = challenge
    const isOurs = [challenge.nonce, clientNonce + challenge.nonce].includes(nonce)
    if (!isBound || !isOurs || proof.length !== HASHES[name].keyBytes) return WRONG
    const all = `${said},${withoutProof}`
    const signature = hmac(verifier.storedKey, all, name)
    const clientKey = Buffer.from(proof.map((byte, at) => byte ^ (signature[at] as number)))
    if (!timingSafeEqual(hash(clientKey, name), verifier.storedKey)) return WRONG
    const data = Buffer.from(`v=${hmac(verifier.serverKey, all, name).toString('base64')}`)
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

function hmac(key: Buffer, text: string, name: ScramName): Buffer {
  return createHmac(HASHES[name].hash, key).update(text).digest()
}

function hash(bytes: Buffer, name: ScramName): Buffer {
  return createHash(HASHES[name].hash).update(bytes).digest()
}

function derive(password: string, salt: Buffer, name: ScramName): Promise<Buffer> {
  const { hash: digest, keyBytes } = HASHES[name]
  return new Promise((resolve, reject) => {
    pbkdf2(password, salt, SCRAM_ITERATIONS, keyBytes, digest, (error, key) => {
      if (error) reject(error)
      else resolve(key)
    })
  })
}
