/** A service of the operator's own, asked by POST with JSON. */
import {
  type Backend,
  type BackendAnswer,
  type BackendCredentials,
  BackendError,
  rulesOf,
} from './backend.ts'

export interface HttpOptions {
  readonly url: string
  readonly timeoutMs: number
}

const ANSWER_BYTES_MAX = 256 * 1024

export class HttpBackend implements Backend {
  readonly name = 'http'
  readonly #options: HttpOptions

  constructor(options: HttpOptions) {
    this.#options = options
  }

  async check(credentials: BackendCredentials): Promise<BackendAnswer> {
    const { clientId, username, password, certificateName, remoteAddress } = credentials
    const { url, timeoutMs } = this.#options
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json', accept: 'application/json' },
      body: JSON.stringify({
        clientid: clientId,
        username: username ?? null,
        password: password === undefined ? null : Buffer.from(password).toString('utf8'),
        certificate: certificateName ?? null,
        ipaddress: remoteAddress,
      }),
      redirect: 'error',
      signal: AbortSignal.timeout(timeoutMs),
    })
    if (response.status === 401 || response.status === 403) return { kind: 'bad-credentials' }
    if (response.status === 404) return { kind: 'unknown' }
    if (response.status !== 200) throw new BackendError(`status ${response.status}`)
    const text = await response.text()
    if (text.length > ANSWER_BYTES_MAX) throw new BackendError('the answer is too long')
    return answerOf(text, username ?? certificateName ?? clientId)
  }

  stop(): void {}
}

function answerOf(text: string, called: string): BackendAnswer {
  const answer = parsed(text)
  const { result, user = called, is_superuser: isAdmin, acl, expire_at: expireAt } = answer
  if (result === 'deny') return { kind: 'bad-credentials' }
  if (result === 'ignore') return { kind: 'unknown' }
  if (result !== 'allow' || typeof user !== 'string') {
    throw new BackendError('the result is none of allow, deny, ignore')
  }
  const until = typeof expireAt === 'number' ? expireAt * 1_000 : undefined
  return { kind: 'in', user, isAdmin: isAdmin === true, rules: rulesOf(acl), until }
}

function parsed(text: string): Record<string, unknown> {
  try {
    const answer: unknown = JSON.parse(text)
    if (typeof answer === 'object' && answer !== null) return answer as Record<string, unknown>
  } catch {
    // Said below.
  }
  throw new BackendError('the answer is no JSON object')
}
