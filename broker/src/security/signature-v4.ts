/**
 * AWS Signature Version 4, as a server checks it: by the Authorization header, or by the query of a presigned request.
 * It says which key signed and whether the signature is right; whose key that is, is not its matter.
 */
import { createHash, createHmac, timingSafeEqual } from 'node:crypto'

export interface SignedRequest {
  readonly method: string
  /** As it came, still encoded. */
  readonly path: string
  /** Without the question mark. */
  readonly query: string
  readonly headers: Readonly<Record<string, string | readonly string[] | undefined>>
  readonly body: Uint8Array
}

export interface Signature {
  readonly keyId: string
  /** `20261127` */
  readonly date: string
  readonly region: string
  readonly service: string
  readonly signedHeaders: readonly string[]
  /** Hexadecimal. */
  readonly value: string
  /** `20261127T235959Z` */
  readonly timestamp: string
  readonly atMs: number
  /** Of a presigned request. */
  readonly expiresSeconds: number | undefined
}

export class SignatureError extends Error {
  constructor(message: string) {
    super(message)
    this.name = 'SignatureError'
  }
}

const ALGORITHM = 'AWS4-HMAC-SHA256'
const UNSIGNED = 'UNSIGNED-PAYLOAD'
const KEYS_MAX = 1_000

/** Undefined: the request is not signed. Throws SignatureError: it is, but not completely. */
export function parseSignature(request: SignedRequest): Signature | undefined {
  const { authorization } = request.headers
  if (typeof authorization === 'string') return parseHeader(authorization, request)
  if (!request.query.includes('X-Amz-Algorithm')) return undefined
  return parsePresigned(new URLSearchParams(request.query))
}

function parseHeader(authorization: string, { headers }: SignedRequest): Signature {
  if (!authorization.startsWith(`${ALGORITHM} `)) {
    throw new SignatureError(`Unsupported AWS 'algorithm': '${authorization.split(' ', 1)[0]}'.`)
  }
  const fields = new Map<string, string>()
  for (const field of authorization.slice(ALGORITHM.length + 1).split(',')) {
    const at = field.indexOf('=')
    fields.set(field.slice(0, at).trim(), field.slice(at + 1).trim())
  }
  const needed = (name: string): string => {
    const value = fields.get(name)
    if (value) return value
    throw new SignatureError(`Authorization header requires '${name}' parameter.`)
  }
  return signatureOf({
    credential: needed('Credential'),
    signedHeaders: needed('SignedHeaders'),
    value: needed('Signature'),
    timestamp: single(headers['x-amz-date']) ?? '',
    expiresSeconds: undefined,
  })
}

function parsePresigned(query: URLSearchParams): Signature {
  const needed = (name: string): string => {
    const value = query.get(name)
    if (value) return value
    throw new SignatureError(`AWS query-string parameters must include '${name}'.`)
  }
  if (needed('X-Amz-Algorithm') !== ALGORITHM) {
    throw new SignatureError(`Unsupported AWS 'algorithm': '${query.get('X-Amz-Algorithm')}'.`)
  }
  const expires = needed('X-Amz-Expires')
  if (!/^\d{1,7}$/.test(expires)) throw new SignatureError('X-Amz-Expires should be a number')
  return signatureOf({
    credential: needed('X-Amz-Credential'),
    signedHeaders: needed('X-Amz-SignedHeaders'),
    value: needed('X-Amz-Signature'),
    timestamp: needed('X-Amz-Date'),
    expiresSeconds: Number(expires),
  })
}

interface Fields {
  readonly credential: string
  readonly signedHeaders: string
  readonly value: string
  readonly timestamp: string
  readonly expiresSeconds: number | undefined
}

function signatureOf({ credential, signedHeaders, timestamp, ...rest }: Fields): Signature {
  const parts = credential.split('/')
  const [terminator, service, region, date] = parts.slice(-4).reverse()
  const keyId = parts.slice(0, -4).join('/')
  if (!keyId || !date || !region || !service || terminator !== 'aws4_request') {
    throw new SignatureError(
      `Credential must have at least 5 slash-delimited elements, e.g. keyid/date/region/service/term, got '${credential}'`,
    )
  }
  const atMs = timeOf(timestamp)
  if (atMs === undefined || !timestamp.startsWith(date)) {
    throw new SignatureError('Date in Credential scope does not match X-Amz-Date of the request')
  }
  const names = signedHeaders.split(';')
  return { ...rest, keyId, date, region, service, signedHeaders: names, timestamp, atMs }
}

function timeOf(timestamp: string): number | undefined {
  const found = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z$/.exec(timestamp)
  if (found === null) return undefined
  const [, year, month, day, hour, minute, second] = found.map(Number)
  const atMs = Date.UTC(year ?? 0, (month ?? 1) - 1, day, hour, minute, second)
  return Number.isNaN(atMs) ? undefined : atMs
}

export class SignatureVerifier {
  /** Signing keys, which hold for a day. */
  readonly #keys = new Map<string, Buffer>()

  /** Whether `secret` made the signature of just this request. */
  verify(request: SignedRequest, signature: Signature, secret: string): boolean {
    const { signedHeaders, value, date, region, service, timestamp } = signature
    // What decides about the meaning of a request must not be changed on the way.
    const isTargetOpen =
      request.headers['x-amz-target'] !== undefined && !signedHeaders.includes('x-amz-target')
    if (!signedHeaders.includes('host') || isTargetOpen) return false
    const scope = `${date}/${region}/${service}/aws4_request`
    const canonical = createHash('sha256')
      .update(canonicalRequest(request, signature))
      .digest('hex')
    const text = `${ALGORITHM}\n${timestamp}\n${scope}\n${canonical}`
    const wanted = createHmac('sha256', this.#keyOf(signature, secret)).update(text).digest()
    const given = Buffer.from(value, 'hex')
    return given.byteLength === wanted.byteLength && timingSafeEqual(given, wanted)
  }

  #keyOf({ date, region, service }: Signature, secret: string): Buffer {
    const name = `${secret}\0${date}\0${region}\0${service}`
    const known = this.#keys.get(name)
    if (known !== undefined) return known
    const step = (key: string | Buffer, text: string): Buffer =>
      createHmac('sha256', key).update(text).digest()
    const key = step(step(step(step(`AWS4${secret}`, date), region), service), 'aws4_request')
    if (this.#keys.size >= KEYS_MAX) this.#keys.clear()
    this.#keys.set(name, key)
    return key
  }
}

function canonicalRequest(request: SignedRequest, signature: Signature): string {
  const { method, path, query, headers } = request
  const lines = signature.signedHeaders.map((name) => `${name}:${canonicalValue(headers[name])}\n`)
  return [
    method,
    canonicalPath(path),
    canonicalQuery(query),
    lines.join(''),
    signature.signedHeaders.join(';'),
    payloadHash(request),
  ].join('\n')
}

/** What says of itself that its content is not signed proves nothing about its content, and is not taken. */
function payloadHash({ headers, body }: SignedRequest): string {
  const named = single(headers['x-amz-content-sha256'])
  const hash = createHash('sha256').update(body).digest('hex')
  return named === UNSIGNED ? `${UNSIGNED} is not taken` : hash
}

function canonicalPath(path: string): string {
  if (path === '' || path === '/') return '/'
  return path.split('/').map(encoded).join('/')
}

function canonicalQuery(query: string): string {
  if (query === '') return ''
  const pairs: [string, string][] = []
  for (const [name, value] of new URLSearchParams(query)) {
    if (name !== 'X-Amz-Signature') pairs.push([encoded(name), encoded(value)])
  }
  const order = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0)
  pairs.sort((a, b) => order(a[0], b[0]) || order(a[1], b[1]))
  return pairs.map(([name, value]) => `${name}=${value}`).join('&')
}

/** RFC 3986: all but the unreserved characters. */
function encoded(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (character) => `%${character.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}

function canonicalValue(value: string | readonly string[] | undefined): string {
  const text = typeof value === 'string' ? value : (value ?? []).join(',')
  return text.trim().replace(/ +/g, ' ')
}

function single(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : undefined
}
