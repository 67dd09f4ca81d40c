/**
 * The SASL mechanisms that are not challenges: PLAIN (RFC 4616), and OAUTHBEARER (RFC 7628) with tokens that are
 * signed. SCRAM is in scram.ts; a dialect offers what `mechanismsOf` names.
 */
import type { Authenticated, Authenticator } from './authenticator.ts'
import type {
  AuthenticationExchange,
  AuthenticationMethod,
  ClientPlace,
  ExchangeStep,
} from './enhanced.ts'
import { SCRAM_NAMES } from './scram.ts'

type Users = Pick<
  Authenticator,
  'authenticate' | 'authenticateToken' | 'takesTokens' | 'method' | 'failures'
>

/** In the order in which clients are told; of a token nothing is said where none can be checked. */
export function mechanismsOf(users: Users): readonly AuthenticationMethod[] {
  const scram = SCRAM_NAMES.flatMap((name) => users.method(name) ?? []).map((method) =>
    counted(method, users),
  )
  const bearer = users.takesTokens
    ? [method('OAUTHBEARER', (client) => bearerOf(users, client))]
    : []
  return [method('PLAIN', (client) => plainOf(users, client)), ...scram, ...bearer]
}

function method(
  name: string,
  begin: (client: ClientPlace) => AuthenticationExchange,
): AuthenticationMethod {
  return { name, begin }
}

/** The other two are counted where they are checked. */
function counted(of: AuthenticationMethod, { failures }: Users): AuthenticationMethod {
  return method(of.name, (client) => {
    const exchange = of.begin(client)
    return {
      next: async (data) => {
        const step = await exchange.next(data)
        if (step.kind === 'refused') failures.add('bad-credentials')
        return step
      },
    }
  })
}

const NO_BYTES = Buffer.alloc(0)
const MALFORMED: ExchangeStep = { kind: 'refused', reason: 'no message of the mechanism' }
/** Names and passwords are far shorter. */
const PLAIN_BYTES_MAX = 4_096

function plainOf(users: Users, client: ClientPlace): AuthenticationExchange {
  return {
    next: async (data) => {
      if (data === undefined || data.length > PLAIN_BYTES_MAX) return MALFORMED
      const parts = data.toString('utf8').split('\0')
      const [actsAs = '', username = '', password = ''] = parts
      if (parts.length !== 3 || username === '' || password === '') return MALFORMED
      if (actsAs !== '' && actsAs !== username) return ACTS_AS
      const { clientId, address: remoteAddress } = client
      const given = { username, password: Buffer.from(password), certificateName: undefined }
      return stepOf(await users.authenticate({ clientId, remoteAddress, ...given }))
    },
  }
}

const ACTS_AS: ExchangeStep = { kind: 'refused', reason: 'nobody may act as another user' }

function stepOf(found: Authenticated): ExchangeStep {
  if (found.kind === 'in') return { ...found, data: NO_BYTES }
  return { kind: 'refused', reason: REASONS[found.kind] }
}

const REASONS = {
  'bad-credentials': 'bad user name or password',
  'not-authorised': 'a user is needed',
  unavailable: 'who could know the user does not answer',
} as const

const INVALID_TOKEN = Buffer.from('{"status":"invalid_token"}')

function bearerOf(users: Users, client: ClientPlace): AuthenticationExchange {
  /** The client was told what is wrong, and answers so that it can be told of the failure. [RFC 7628 3.2.3] */
  let isTold = false
  return {
    next: async (data) => {
      if (isTold) return { kind: 'refused', reason: 'the token is not good' }
      const found = tokenIn(data?.toString('latin1') ?? '')
      if (found === undefined) return MALFORMED
      const { token, actsAs } = found
      const answer = await users.authenticateToken(Buffer.from(token, 'latin1'), client)
      if (answer.kind === 'unavailable') return stepOf(answer)
      if (answer.kind === 'in') {
        return actsAs === '' || actsAs === answer.user ? stepOf(answer) : ACTS_AS
      }
      isTold = true
      return { kind: 'continue', data: INVALID_TOKEN }
    },
  }
}

/** GS2 header, then fields that end with a control character each, of which `auth` is the token, and one more. */
function tokenIn(message: string): { token: string; actsAs: string } | undefined {
  const [header = '', ...fields] = message.split('\u0001')
  const gs2 = /^n,(?:a=([^,]*))?,$/.exec(header)
  const isEnded = fields.length >= 3 && fields.at(-1) === '' && fields.at(-2) === ''
  const pairs = fields.slice(0, -2)
  if (gs2 === null || !isEnded || !pairs.every((pair) => /^[A-Za-z]+=/.test(pair))) return undefined
  const tokens = pairs.flatMap((pair) => /^auth=bearer +(\S+)$/i.exec(pair)?.[1] ?? [])
  const [token] = tokens
  return token === undefined || tokens.length > 1 ? undefined : { token, actsAs: gs2[1] ?? '' }
}
