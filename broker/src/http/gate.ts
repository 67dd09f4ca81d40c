/**
 * Who may use the administration: an administrator, by Basic credentials or by a Bearer token that a back end
 * takes. While there are no users: whoever is on the loopback interface, and says so in the Host header too, so
 * that no page of a browser comes in under a name that leads here.
 */
import { type Authenticated, type Credentials, isLoopback } from '../security/authenticator.ts'
import { ProblemError } from './problem.ts'

export type Authenticate = (credentials: Credentials) => Promise<Authenticated>

export interface Visitor {
  readonly authorization: string | undefined
  readonly host: string | undefined
  readonly address: string
}

const CLIENT_ID = 'http'

/** Answers who it is. Throws ProblemError. */
export async function admit(authenticate: Authenticate, visitor: Visitor): Promise<string> {
  const given = credentialsOf(visitor.authorization)
  const found = await authenticate({
    ...given,
    clientId: CLIENT_ID,
    certificateName: undefined,
    remoteAddress: visitor.address,
  })
  switch (found.kind) {
    case 'in':
      break
    case 'unavailable':
      throw new ProblemError('unavailable', 'who could know the user does not answer')
    case 'bad-credentials':
      throw new ProblemError('unauthorised', 'bad user name, password or token')
    case 'not-authorised':
      throw new ProblemError('unauthorised', 'a user name and password, or a token, are needed')
    default:
      found satisfies never
  }
  if (found.isUnproved === true) {
    if (isLoopback(visitor.address) && isLoopbackHost(visitor.host)) return found.user
    throw new ProblemError('forbidden', 'there are no users: only the loopback interface is open')
  }
  if (found.access !== undefined) {
    throw new ProblemError('forbidden', `${found.user} is no administrator`)
  }
  return found.user
}

type Given = Pick<Credentials, 'username' | 'password'>

function credentialsOf(authorization: string | undefined): Given {
  if (authorization === undefined) return { username: undefined, password: undefined }
  const [, scheme = '', value = ''] = /^(\S+) +(\S+)$/.exec(authorization) ?? []
  if (scheme.toLowerCase() === 'bearer') {
    return { username: undefined, password: Buffer.from(value) }
  }
  const decoded = Buffer.from(value, 'base64').toString('utf8')
  const colon = decoded.indexOf(':')
  if (scheme.toLowerCase() !== 'basic' || colon < 0) {
    throw new ProblemError('unauthorised', 'Authorization is neither Basic nor Bearer')
  }
  return {
    username: decoded.slice(0, colon),
    password: Buffer.from(decoded.slice(colon + 1)),
  }
}

function isLoopbackHost(host: string | undefined): boolean {
  const name = (host ?? '').replace(/:\d+$/, '')
  return name === 'localhost' || name === '[::1]' || isLoopback(name)
}
