/**
 * The only file that touches sockets: an HTTP connection and the requests that come by it. What does not fit is
 * refused before it is read; who goes away is not waited for.
 */
import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Clock } from '../../core/ports/clock.ts'
import type { AdmissionPort, Refusal } from '../shared/admission.ts'
import type { Peer } from '../shared/listener.ts'
import { PlainConnection, type PlainHeads, type PlainRequest } from '../shared/plain-http.ts'
import type { ConnectedClient } from '../shared/protocol-server.ts'
import { SqsError } from './errors.ts'
import { REQUEST_BYTES_MAX } from './limits.ts'
import type { SqsSession, WireAnswer, WireRequest } from './session.ts'

export interface SqsConnectionOptions {
  readonly peer: Peer
  readonly entrance: string
  readonly session: SqsSession
  readonly admission: AdmissionPort
  readonly clock: Clock
  readonly heads: PlainHeads
  /** A client that asks nothing for so long is not kept. */
  readonly idleMs: number
  /** A request that is answered here has come. */
  readonly onRequest: () => void
  /** Its requests go through Node's server, which has the stream from now on. */
  readonly onUnusual: () => void
  readonly onClose: () => void
}

/** What has been refused is still read, and thrown away, for so long: else the client would not see the answer. */
const DISCARD_MS = 2_000
const HEALTHY = '{"status":"ok"}'
const STOPPING = '{"status":"stopping"}'
const NO_BODY = Buffer.alloc(0)

export class SqsConnection {
  readonly id: string
  readonly #options: SqsConnectionOptions
  #refusal: Refusal | undefined
  readonly #connectedAtMs: number
  readonly #users = new Set<string>()
  /** Requests that wait for messages. */
  readonly #waiting = new Set<AbortController>()
  #active = 0
  #isEnding = false
  #requests = 0

  constructor(options: SqsConnectionOptions) {
    this.#options = options
    const { peer, admission, clock } = options
    this.id = `sqs-${peer.address}:${peer.port}`
    this.#connectedAtMs = clock.wallMs()
    peer.stream.once('close', () => {
      for (const user of this.#users) admission.leave(user)
      this.#abortWaiting()
      options.onClose()
    })
    peer.stream.on('error', () => peer.stream.destroy())
  }

  get bytesIn(): number {
    return bytesOf(this.#options.peer.stream).bytesRead ?? 0
  }

  get bytesOut(): number {
    return bytesOf(this.#options.peer.stream).bytesWritten ?? 0
  }

  get client(): ConnectedClient {
    const { peer, entrance } = this.#options
    return {
      clientId: this.id,
      user: [...this.#users].join(' '),
      protocol: 'SQS',
      remote: `${peer.address}:${peer.port}`,
      entrance,
      connectedAtMs: this.#connectedAtMs,
      keepAliveSeconds: 0,
      expirySeconds: 0,
      subscriptions: [],
      messagesIn: this.#requests,
      messagesOut: this.#requests - this.#active,
      dropped: 0,
    }
  }

  /** When it is counted among the connections. Who is not let in is told so with each request. */
  admit(): void {
    const { admission, entrance, peer, clock, idleMs, onUnusual } = this.#options
    this.#refusal = admission.admit(entrance)
    const plain: PlainConnection = new PlainConnection({
      stream: peer.stream,
      ...{ clock, idleMs, onOther: onUnusual },
      onRequest: (request) => this.#servePlain(plain, request),
    })
  }

  /** False: it is refused, or is not to be answered with the service's words. */
  #servePlain(plain: PlainConnection, request: PlainRequest): boolean {
    if (request.url === '/health' || this.#refusalOf(request) !== undefined) return false
    this.#active++
    this.#requests++
    this.#options.onRequest()
    let waiting: AbortController | undefined
    const asked = this.#wireRequest({ method: 'POST', ...request }, request.body, () => {
      waiting = new AbortController()
      this.#waiting.add(waiting)
      return waiting.signal
    })
    void this.#options.session.answer(asked).then((answer) => {
      if (waiting !== undefined) this.#waiting.delete(waiting)
      this.#active--
      this.#writePlain(plain, answer)
    })
    return true
  }

  #writePlain(plain: PlainConnection, answer: WireAnswer): void {
    const { status, contentType, body, requestId, queryError } = answer
    const isLast = this.#isEnding
    const length = Buffer.byteLength(body)
    const more = queryError === undefined ? '' : `x-amzn-query-error: ${queryError}\r\n`
    const head = this.#options.heads.begin(status, isLast)
    const text = `${head}x-amzn-RequestId: ${requestId}\r\nContent-Type: ${contentType}\r\nContent-Length: ${length}\r\n${more}\r\n${body}`
    // One byte a character: it need not be encoded.
    plain.answer(text, { encoding: length === body.length ? 'latin1' : 'utf8', isLast })
  }

  /** Whoever waits for messages is told that there are none; the connection ends with its last answer. */
  end(): void {
    this.#isEnding = true
    this.#abortWaiting()
    if (this.#active === 0) this.destroy()
  }

  destroy(): void {
    this.#options.peer.stream.destroy()
  }

  isTooLarge({ headers }: Pick<IncomingMessage, 'headers'>): boolean {
    return Number(headers['content-length'] ?? 0) > REQUEST_BYTES_MAX
  }

  handle(request: IncomingMessage, response: ServerResponse): void {
    this.#active++
    this.#requests++
    response.once('close', () => {
      this.#active--
      if (this.#isEnding && this.#active === 0) this.destroy()
    })
    if (request.url === '/health') {
      this.#health(response)
      return
    }
    const refusal = this.#refusalOf(request)
    if (refusal !== undefined) {
      this.#refuse(request, response, refusal)
      return
    }
    this.#read(request, response)
  }

  #health(response: ServerResponse): void {
    const isWell = !this.#isEnding && this.#refusal === undefined
    const body = isWell ? HEALTHY : STOPPING
    response.writeHead(isWell ? 200 : 503, [
      ...['Content-Type', 'application/json'],
      ...['Content-Length', String(body.length)],
    ])
    response.end(body)
  }

  #refusalOf(request: Pick<IncomingMessage, 'headers'>): SqsError | undefined {
    if (this.isTooLarge(request)) return tooLarge()
    if (this.#refusal !== undefined) return unavailable(this.#refusal.reason)
    if (this.#isEnding) return unavailable('the broker is going away')
    if (this.#options.admission.isOutOfMemory) return unavailable('the broker is short of memory')
    return undefined
  }

  /** The answer goes before the request has come; the connection ends with it. */
  #refuse(request: IncomingMessage, response: ServerResponse, error: SqsError): void {
    this.#isEnding = true
    request.removeAllListeners('data')
    // Thrown away, not kept.
    request.resume()
    const timer = this.#options.clock.after(DISCARD_MS, () => this.destroy())
    response.once('close', () => timer.cancel())
    this.#write(response, this.#options.session.refuse({ headers: request.headers }, error))
  }

  #read(request: IncomingMessage, response: ServerResponse): void {
    const chunks: Buffer[] = []
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.byteLength
      if (bytes > REQUEST_BYTES_MAX) {
        chunks.length = 0
        this.#refuse(request, response, tooLarge())
      } else {
        chunks.push(chunk)
      }
    })
    request.on('error', () => this.destroy())
    request.on('end', () => {
      if (bytes > REQUEST_BYTES_MAX) return
      const [first = NO_BODY] = chunks
      const body = chunks.length <= 1 ? first : Buffer.concat(chunks, bytes)
      const asked = this.#wireRequest(request, body, () => this.#signal(response))
      void this.#answer(asked, response)
    })
  }

  async #answer(request: WireRequest, response: ServerResponse): Promise<void> {
    const answer = await this.#options.session.answer(request)
    this.#write(response, answer)
  }

  #write(response: ServerResponse, answer: WireAnswer): void {
    if (response.destroyed) return
    const { status, contentType, body, requestId, queryError } = answer
    const headers = [
      ...['x-amzn-RequestId', requestId],
      ...['Content-Type', contentType],
      ...['Content-Length', String(Buffer.byteLength(body))],
    ]
    if (queryError !== undefined) headers.push('x-amzn-query-error', queryError)
    if (this.#isEnding) headers.push('Connection', 'close')
    response.writeHead(status, headers)
    response.end(body)
  }

  #wireRequest(
    { method = 'GET', url = '/', headers }: Pick<IncomingMessage, 'method' | 'url' | 'headers'>,
    body: Buffer,
    signal: () => AbortSignal,
  ): WireRequest {
    const { peer } = this.#options
    const at = url.indexOf('?')
    return {
      method,
      path: at < 0 ? url : url.slice(0, at),
      query: at < 0 ? '' : url.slice(at + 1),
      headers,
      body,
      remoteAddress: peer.address,
      certificateName: peer.certificateName,
      origin: originOf(headers, peer),
      signal,
      enter: (user) => this.#enter(user),
    }
  }

  #signal(response: ServerResponse): AbortSignal {
    const waiting = new AbortController()
    this.#waiting.add(waiting)
    response.once('close', () => {
      this.#waiting.delete(waiting)
      waiting.abort()
    })
    return waiting.signal
  }

  #abortWaiting(): void {
    for (const waiting of this.#waiting) waiting.abort()
    this.#waiting.clear()
  }

  #enter(user: string): string | undefined {
    if (this.#users.has(user)) return undefined
    const refusal = this.#options.admission.enter(user)
    if (refusal !== undefined) return refusal.reason
    this.#users.add(user)
    return undefined
  }
}

function bytesOf(stream: object): { bytesRead?: number; bytesWritten?: number } {
  return stream
}

/** What the client called to come here: behind a proxy, what it called there. */
function originOf(headers: IncomingMessage['headers'], peer: Peer): string {
  const forwarded = headers['x-forwarded-proto']
  const scheme =
    forwarded === 'https' || forwarded === 'http' ? forwarded : peer.secure ? 'https' : 'http'
  return `${scheme}://${headers.host ?? 'localhost'}`
}

function tooLarge(): SqsError {
  const message = `The request must be shorter than ${REQUEST_BYTES_MAX} bytes.`
  return new SqsError('RequestEntityTooLarge', message)
}

function unavailable(reason: string): SqsError {
  return new SqsError('ServiceUnavailable', `Try it again: ${reason}.`)
}
