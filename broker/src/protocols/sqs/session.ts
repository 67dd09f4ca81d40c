/**
 * One request of a client, from what came over the wire to what goes back: who asks, what is asked in which of the
 * two forms, and the answer or the error in the same form.
 */
import type { Message } from '../../core/message.ts'
import type { Clock } from '../../core/ports/clock.ts'
import { Latencies } from '../../core/ports/telemetry.ts'
import type { Queues } from '../../core/queues/queues.ts'
import type { AccessKeys } from '../../security/access-keys.ts'
import type { Authenticated, Authenticator } from '../../security/authenticator.ts'
import {
  parseSignature,
  type Signature,
  SignatureError,
  SignatureVerifier,
  type SignedRequest,
} from '../../security/signature-v4.ts'
import type { ProtocolLog } from '../shared/protocol-server.ts'
import type { Call, Caller, SqsServices } from './call.ts'
import { decodeJson } from './codec/json.ts'
import { QueryForm } from './codec/query.ts'
import { encodeXml, encodeXmlError } from './codec/xml.ts'
import { SqsError, sqsErrorOf } from './errors.ts'
import { handlers } from './handlers/index.ts'
import { PRESIGNED_SECONDS_MAX, SIGNATURE_SKEW_MS } from './limits.ts'
import { DEFAULT_ACCOUNT, DEFAULT_REGION, isAccount } from './mapping.ts'
import { ACTIONS, type ActionName, isAction } from './packets.ts'

export interface WireRequest extends SignedRequest {
  readonly body: Buffer
  readonly remoteAddress: string
  readonly certificateName: string | undefined
  /** Scheme, host and port as the client knows them. */
  readonly origin: string
  /** Aborted when the client has gone away; made when it is asked for. */
  readonly signal: () => AbortSignal
  /** Told who it is. Undefined: come in; else why not. */
  readonly enter: (user: string) => string | undefined
}

export interface WireAnswer {
  readonly status: number
  readonly contentType: string
  readonly body: string
  readonly requestId: string
  /** Of the JSON form: the code that clients of the older form know. */
  readonly queryError?: string
}

export interface SqsSessionOptions {
  readonly queues: Queues
  readonly authenticator: Authenticator
  readonly accessKeys: AccessKeys
  readonly clock: Clock
  readonly publish: (message: Message) => Promise<void>
  /** A UUID. */
  readonly nextId: () => string
  readonly log: ProtocolLog
}

const JSON_TYPE = 'application/x-amz-json-1.0'
const XML_TYPE = 'text/xml'
const TARGET = 'AmazonSQS.'
const VERSIONS: readonly string[] = ['2012-11-05', '2011-10-01', '2009-02-01']
const SERVICE = 'sqs'

type Form = 'json' | 'query'

interface Known {
  readonly caller: Caller
  readonly region: string
}

interface Asked {
  readonly action: ActionName
  readonly input: object
}

export class SqsSession {
  readonly #options: SqsSessionOptions
  readonly #verifier = new SignatureVerifier()
  readonly services: SqsServices

  constructor(options: SqsSessionOptions) {
    this.#options = options
    const counts = { messagesIn: 0, messagesOut: 0, acknowledged: 0, redelivered: 0, denied: 0 }
    const latencies = { publish: new Latencies(), delivery: new Latencies() }
    this.services = { ...options, counts, latencies }
  }

  /** Never rejects. */
  async answer(request: WireRequest): Promise<WireAnswer> {
    const requestId = this.#options.nextId()
    const form = formOf(request)
    try {
      const known = this.#identify(request)
      const { caller, region } = known instanceof Promise ? await known : known
      const { user } = caller
      const refusal = user === undefined ? undefined : request.enter(user)
      if (refusal !== undefined) throw new SqsError('RequestThrottled', refusal)
      const { action, input } = form === 'json' ? readTarget(request) : readForm(request)
      const { origin, signal } = request
      const isUnescaped = form === 'json' && isPlainJson(request.body)
      const call: Call = { services: this.services, caller, origin, region, isUnescaped, signal }
      const handle = handlers[action] as (input: object, call: Call) => Promise<object>
      const output = await handle(input, call)
      return { ...encode(form, action, { output, requestId }), status: 200, requestId }
    } catch (error) {
      return { ...this.#failed(error, form, requestId), requestId }
    }
  }

  /** Throws, or rejects with, SqsError: the signature is missing, wrong, or of nobody. */
  #identify(request: WireRequest): Known | Promise<Known> {
    const { authenticator } = this.#options
    if (authenticator.isOpen) {
      refuseOtherSites(request)
      if (!authenticator.isOpenTo(request.remoteAddress)) throw noToken()
      const { keyId, region } = claimOf(request)
      // An id of twelve digits stands for the account, as other local services have it.
      const account = keyId !== undefined && isAccount(keyId) ? keyId : DEFAULT_ACCOUNT
      return { caller: { user: undefined, access: undefined, account }, region }
    }
    const signature = signatureOf(request)
    if (signature === undefined) {
      return this.#anonymous(request).then((authenticated) => ({
        caller: callerOf(authenticated, undefined),
        region: DEFAULT_REGION,
      }))
    }
    const key = this.#options.accessKeys.find(signature.keyId)
    if (key === undefined) {
      const message = 'The security token included in the request is invalid.'
      throw new SqsError('InvalidClientTokenId', message)
    }
    this.#checkTime(signature)
    const isRight =
      signature.service === SERVICE && this.#verifier.verify(request, signature, key.secret)
    if (!isRight) throw new SqsError('SignatureDoesNotMatch', MISMATCH)
    const caller = callerOf(authenticator.admit(key.user, request.remoteAddress), key.account)
    return { caller, region: signature.region }
  }

  #anonymous(request: WireRequest): Promise<Authenticated> {
    const { remoteAddress, certificateName } = request
    refuseOtherSites(request)
    return this.#options.authenticator.authenticate({
      clientId: '',
      username: undefined,
      password: undefined,
      certificateName,
      remoteAddress,
    })
  }

  #checkTime({ atMs, timestamp, expiresSeconds }: Signature): void {
    const nowMs = this.#options.clock.wallMs()
    const lastsMs = expiresSeconds === undefined ? SIGNATURE_SKEW_MS : expiresSeconds * 1_000
    if (expiresSeconds !== undefined && expiresSeconds > PRESIGNED_SECONDS_MAX) {
      const message = `X-Amz-Expires must be at most ${PRESIGNED_SECONDS_MAX} seconds`
      throw new SqsError('IncompleteSignature', message)
    }
    if (atMs - nowMs > SIGNATURE_SKEW_MS) {
      throw new SqsError('SignatureDoesNotMatch', `Signature not yet current: ${timestamp}`)
    }
    if (nowMs - atMs <= lastsMs) return
    const name = expiresSeconds === undefined ? 'SignatureDoesNotMatch' : 'RequestExpired'
    throw new SqsError(name, `Signature expired: ${timestamp}`)
  }

  /** For what was not even read. */
  refuse(request: Pick<WireRequest, 'headers'>, error: SqsError): WireAnswer {
    const requestId = this.#options.nextId()
    return { ...encodeError(formOf(request), error, requestId), requestId }
  }

  #failed(error: unknown, form: Form, requestId: string) {
    const known = sqsErrorOf(error)
    if (known === undefined) {
      const reason = error instanceof Error ? (error.stack ?? error.message) : String(error)
      const fields = { errId: 'SQS_REQUEST_FAILED', requestId, reason }
      this.#options.log.error(fields, 'a request failed by a fault of the broker')
    }
    const told = known ?? new SqsError('InternalFailure', 'The request failed; try it again.')
    return encodeError(form, told, requestId)
  }
}

const MISMATCH =
  'The request signature we calculated does not match the signature you provided. Check your AWS Secret Access Key and signing method. Consult the service documentation for details.'

function formOf({ headers }: Pick<WireRequest, 'headers'>): Form {
  return headers['x-amz-target'] === undefined ? 'query' : 'json'
}

function encodeError(form: Form, error: SqsError, requestId: string) {
  const { status, code, fault, type } = error.model
  const { message } = error
  if (form === 'json') {
    const body = JSON.stringify({ __type: type, message })
    return { status, contentType: JSON_TYPE, body, queryError: `${code};${fault}` }
  }
  // The older form has another text for just this one.
  const told =
    error.name === 'QueueDoesNotExist' ? message.replace(/\.$/, ' for this wsdl version.') : message
  const body = encodeXmlError({ fault, code, message: told }, requestId)
  return { status, contentType: XML_TYPE, body }
}

function encode(
  form: Form,
  action: ActionName,
  { output, requestId }: { output: object; requestId: string },
) {
  if (form === 'json') {
    const isEmpty = Object.keys(ACTIONS[action].output).length === 0
    return { contentType: JSON_TYPE, body: isEmpty ? '{}' : JSON.stringify(output) }
  }
  const members = ACTIONS[action].output
  return { contentType: XML_TYPE, body: encodeXml(action, output, { members, requestId }) }
}

function readTarget({ headers, body }: WireRequest): Asked {
  const target = headers['x-amz-target']
  const name = typeof target === 'string' && target.startsWith(TARGET) ? target.slice(10) : ''
  if (!isAction(name)) {
    throw new SqsError('InvalidAction', `The action ${target} is not valid for this endpoint.`)
  }
  return { action: name, input: decodeJson(body, ACTIONS[name].input) }
}

/** One look at all bytes instead of one at each character of each message. */
function isPlainJson(body: Buffer): boolean {
  return body.indexOf(BACKSLASH) < 0 && body.indexOf(LAST_CHARACTERS) < 0
}

const BACKSLASH = 0x5c
/** U+FFFE and U+FFFF need no escape in JSON, and begin with it. */
const LAST_CHARACTERS = 0xef

function readForm(request: WireRequest): Asked {
  const { method, query, body, path } = request
  const form = QueryForm.parse(method === 'GET' ? query : body.toString('utf8'))
  const action = form.text('Action')
  if (action === undefined) {
    throw new SqsError('MissingAction', 'The request must contain the parameter Action.')
  }
  if (!isAction(action)) {
    throw new SqsError('InvalidAction', `The action ${action} is not valid for this endpoint.`)
  }
  const version = form.text('Version')
  if (version !== undefined && !VERSIONS.includes(version)) {
    throw new SqsError('NoSuchVersion', `The requested version ( ${version} ) is not valid.`)
  }
  if (form.text('QueueUrl') === undefined && path.length > 1) form.set('QueueUrl', path)
  return { action, input: form.read(ACTIONS[action].input) }
}

/** A page of somebody else's, in a browser on this machine, is not this machine. */
function refuseOtherSites({ headers }: WireRequest): void {
  const site = headers['sec-fetch-site']
  if (site === undefined || site === 'none' || site === 'same-origin') return
  throw new SqsError('AccessDenied', 'Pages of other sites may not call this service.')
}

function noToken(): SqsError {
  return new SqsError('MissingAuthenticationToken', 'Request is missing Authentication Token')
}

function signatureOf(request: WireRequest): Signature | undefined {
  try {
    return parseSignature(request)
  } catch (error) {
    if (!(error instanceof SignatureError)) throw error
    throw new SqsError('IncompleteSignature', error.message)
  }
}

/** What the client says, unproved. */
function claimOf({ headers, query }: WireRequest): { keyId: string | undefined; region: string } {
  const { authorization } = headers
  const text = typeof authorization === 'string' ? authorization : decodeURIComponent(safe(query))
  const found = /Credential=([^/,&\s]+)\/\d{8}\/([\w-]+)\//.exec(text)
  return { keyId: found?.[1], region: found?.[2] ?? DEFAULT_REGION }
}

/** Of a presigned request the credential, which is all that is looked for; nothing where it is spoiled. */
function safe(query: string): string {
  return /X-Amz-Credential=(?:[\w/.-]|%2F)+/i.exec(query)?.[0] ?? ''
}

/** Throws SqsError. */
function callerOf(authenticated: Authenticated, account: string | undefined): Caller {
  switch (authenticated.kind) {
    case 'in': {
      const { user, access } = authenticated
      return { user, access, account: account ?? DEFAULT_ACCOUNT }
    }
    case 'unavailable':
      throw new SqsError('ServiceUnavailable', 'who you are cannot be asked now')
    case 'bad-credentials':
      throw new SqsError('InvalidClientTokenId', 'The user of this key may not come in.')
    case 'not-authorised':
      throw noToken()
    default:
      return authenticated satisfies never
  }
}
