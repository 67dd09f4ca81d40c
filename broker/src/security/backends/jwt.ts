/**
 * A token as the password: HS, RS, PS, ES or EdDSA, checked by a set of keys that is in a file or at a URL. The
 * library keeps the keys of a URL, and asks again for one that it does not know.
 */
import { readFile, stat } from 'node:fs/promises'
import {
  createLocalJWKSet,
  createRemoteJWKSet,
  errors,
  type JSONWebKeySet,
  type JWK,
  type JWTHeaderParameters,
  type JWTPayload,
  type JWTVerifyGetKey,
  jwtVerify,
} from 'jose'
import {
  type Backend,
  type BackendAnswer,
  type BackendCredentials,
  BackendError,
  rulesOf,
} from './backend.ts'

export interface JwtOptions {
  /** `https://...` or `file:PATH` of a JSON Web Key Set. */
  readonly keys: string
  /** That tokens may be signed by; empty: those that are known here. Throws Error for others. */
  readonly algorithms: readonly string[]
  readonly audience: string | undefined
  readonly issuer: string | undefined
  readonly userClaim: string
  readonly wallMs: () => number
}

const TOKEN = /^[\w-]+\.[\w-]+\.[\w-]*$/
const ALGORITHMS = [
  ...['HS256', 'HS384', 'HS512', 'RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
  ...['ES256', 'ES384', 'ES512', 'EdDSA'],
]
const TIMEOUT_MS = 5_000

/** What says that the token is bad, and not that the keys cannot be had. */
const BAD_TOKEN: readonly (new (...args: never[]) => Error)[] = [
  errors.JWTExpired,
  errors.JWTClaimValidationFailed,
  errors.JWTInvalid,
  errors.JWSInvalid,
  errors.JWSSignatureVerificationFailed,
  errors.JWKSNoMatchingKey,
  errors.JWKSMultipleMatchingKeys,
  errors.JOSEAlgNotAllowed,
  errors.JOSENotSupported,
]

export class JwtBackend implements Backend {
  readonly name = 'jwt'
  readonly #options: JwtOptions
  readonly #keys: JWTVerifyGetKey
  readonly #algorithms: string[]

  constructor(options: JwtOptions) {
    this.#options = options
    const { keys, algorithms } = options
    const unknown = algorithms.find((name) => !ALGORITHMS.includes(name))
    if (unknown !== undefined) throw new Error(`tokens cannot be signed by ${unknown}`)
    this.#algorithms = algorithms.length === 0 ? ALGORITHMS : [...algorithms]
    this.#keys = keys.startsWith('file:')
      ? keysOfFile(keys.slice('file:'.length))
      : createRemoteJWKSet(new URL(keys), { timeoutDuration: TIMEOUT_MS })
  }

  async check({ username, password }: BackendCredentials): Promise<BackendAnswer> {
    const token = password && Buffer.from(password).toString('latin1')
    if (token === undefined || !TOKEN.test(token)) return { kind: 'unknown' }
    const { audience, issuer, wallMs } = this.#options
    try {
      const { payload } = await jwtVerify(token, this.#keys, {
        algorithms: this.#algorithms,
        currentDate: new Date(wallMs()),
        ...(audience !== undefined && { audience }),
        ...(issuer !== undefined && { issuer }),
      })
      return this.#in(payload, username)
    } catch (error) {
      if (BAD_TOKEN.some((kind) => error instanceof kind)) return { kind: 'bad-credentials' }
      throw error
    }
  }

  /** Who names a user beside the token must be that user. */
  #in(payload: JWTPayload, username: string | undefined): BackendAnswer {
    const user = payload[this.#options.userClaim]
    const isOther = username !== undefined && username !== '' && username !== user
    if (typeof user !== 'string' || user === '' || isOther) return { kind: 'bad-credentials' }
    const until = payload.exp === undefined ? undefined : payload.exp * 1_000
    const isAdmin = payload['is_superuser'] === true
    return { kind: 'in', user, isAdmin, rules: rulesOf(payload['acl']), until }
  }

  stop(): void {}
}

/** Read again when the file changes. Secrets (`oct`) are for HS only, public keys for all the others. */
function keysOfFile(path: string): JWTVerifyGetKey {
  let seen = ''
  let known = parsed('{"keys":[]}')
  return async (header, token) => {
    const { mtimeMs, size } = await stat(path)
    const stamp = `${mtimeMs} ${size}`
    if (stamp !== seen) {
      known = parsed(await readFile(path, 'utf8'))
      seen = stamp
    }
    const isSecret = header.alg.startsWith('HS')
    return isSecret ? secretOf(known, header) : known.publicKeys(header, token)
  }
}

interface Keys {
  readonly secrets: readonly JWK[]
  readonly publicKeys: JWTVerifyGetKey
}

function secretOf({ secrets }: Keys, { alg, kid }: JWTHeaderParameters): Uint8Array {
  const fitting = secrets.filter(
    (key) => (kid === undefined || key.kid === kid) && (key.alg ?? alg) === alg,
  )
  const [key] = fitting
  if (key?.k === undefined) throw new errors.JWKSNoMatchingKey()
  if (fitting.length > 1) throw new errors.JWKSMultipleMatchingKeys()
  return Buffer.from(key.k, 'base64url')
}

function parsed(text: string): Keys {
  try {
    const { keys } = JSON.parse(text) as JSONWebKeySet
    const publicKeys = keys.filter(({ kty }) => kty !== 'oct')
    return {
      secrets: keys.filter(({ kty }) => kty === 'oct'),
      publicKeys: createLocalJWKSet({ keys: publicKeys }),
    }
  } catch {
    throw new BackendError('the file of keys is no JSON Web Key Set')
  }
}
