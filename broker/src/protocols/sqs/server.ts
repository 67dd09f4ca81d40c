/** SQS: its listeners, its HTTP server, its connections. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import type { TlsOptions } from '../../security/tls-certificates.ts'
import type { AdmissionPort } from '../shared/admission.ts'
import { type Listener, listen, type Peer } from '../shared/listener.ts'
import { PlainHeads } from '../shared/plain-http.ts'
import type {
  ClientMove,
  ConnectedClient,
  ListeningEndpoint,
  ProtocolCounters,
  ProtocolLatencies,
  ProtocolServer,
} from '../shared/protocol-server.ts'
import { SqsConnection } from './connection.ts'
import { SqsSession, type SqsSessionOptions } from './session.ts'

export type SqsListenerName = 'sqs' | 'sqss'

export interface SqsEntrances {
  readonly host: string
  /** Plain, and over TLS; undefined: not offered. */
  readonly ports: Readonly<Record<SqsListenerName, number | undefined>>
  readonly tls: TlsOptions | undefined
  /** Listeners behind a load balancer that sends PROXY headers; names of other protocols do not matter. */
  readonly proxied: readonly string[]
}

export interface SqsServerOptions extends SqsSessionOptions {
  readonly entrances: SqsEntrances
  readonly admission: AdmissionPort
}

/** Longer than a client waits for messages at most, and than the pools of clients keep a connection. */
const KEEP_ALIVE_MS = 75_000
/** From the first byte of a request to its last. */
const REQUEST_MS = 60_000
const HEADERS_MS = 20_000
const HEADER_BYTES_MAX = 32 * 1_024
const STOP_MS = 4_000

export class SqsServer implements ProtocolServer {
  readonly protocol = 'sqs'
  readonly #options: SqsServerOptions
  readonly #session: SqsSession
  readonly #http: Server
  readonly #heads: PlainHeads
  readonly #connections = new Map<Duplex, SqsConnection>()
  readonly #listeners: Listener[] = []
  readonly #ended = { bytesIn: 0, bytesOut: 0, opened: 0 }
  #requests = 0
  #onEmpty: (() => void) | undefined

  constructor(options: SqsServerOptions) {
    this.#options = options
    this.#session = new SqsSession(options)
    this.#heads = new PlainHeads(options.clock, KEEP_ALIVE_MS)
    const limits = {
      keepAliveTimeout: KEEP_ALIVE_MS,
      requestTimeout: REQUEST_MS,
      headersTimeout: HEADERS_MS,
      maxHeaderSize: HEADER_BYTES_MAX,
    }
    this.#http = createServer(limits, (request, response) => this.#handle(request, response))
    // A body that will be refused need not be sent.
    this.#http.on('checkContinue', (request, response) => {
      const connection = this.#connections.get(request.socket)
      if (connection?.isTooLarge(request) !== true) response.writeContinue()
      this.#handle(request, response)
    })
    this.#http.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (!socket.writable || error.code === 'ECONNRESET') socket.destroy()
      else socket.end(`HTTP/1.1 ${statusOf(error.code)}\r\nConnection: close\r\n\r\n`)
    })
  }

  get latencies(): ProtocolLatencies {
    return this.#session.services.latencies
  }

  get connections(): number {
    return this.#connections.size
  }

  async start(): Promise<readonly ListeningEndpoint[]> {
    const { host, ports, tls, proxied } = this.#options.entrances
    const endpoints: ListeningEndpoint[] = []
    for (const [entrance, port] of Object.entries(ports)) {
      if (port === undefined) continue
      const listener = await listen({
        host,
        port,
        tls: entrance === 'sqss' ? tls : undefined,
        proxyProtocol: proxied.includes(entrance),
        onPeer: (peer) => this.#accept(peer, entrance),
        onError: (error) => this.#failed('SQS_LISTENER_FAILED', error),
        onCertificates: (error) => error && this.#failed('BAD_CERTIFICATE', error),
      })
      this.#listeners.push(listener)
      endpoints.push({ protocol: entrance, host, port: listener.port })
    }
    // The sockets are handed to it; with this it watches their times as if they were its own.
    this.#http.emit('listening')
    return endpoints
  }

  async stop(): Promise<void> {
    // Each is stopped when its sockets have ended.
    const stopped = this.#listeners.map((listener) => listener.stop())
    for (const connection of [...this.#connections.values()]) connection.end()
    if (this.#connections.size > 0) await this.#empty()
    this.disconnectAll()
    await Promise.all(stopped)
    this.#http.close()
  }

  #empty(): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(STOP_MS, resolve)
      this.#onEmpty = () => {
        timer.cancel()
        resolve()
      }
    })
  }

  disconnectAll(): void {
    for (const connection of [...this.#connections.values()]) connection.destroy()
  }

  /** HTTP has no word for it: connections are ended, and clients open others. */
  moveClients(count: number, { closeOthers }: ClientMove): number {
    if (!closeOthers) return 0
    let moved = 0
    for (const connection of [...this.#connections.values()]) {
      if (moved === count) break
      connection.end()
      moved++
    }
    return moved
  }

  counters(): ProtocolCounters {
    const { messagesIn, messagesOut, acknowledged, redelivered, denied } =
      this.#session.services.counts
    let { bytesIn, bytesOut } = this.#ended
    for (const connection of this.#connections.values()) {
      bytesIn += connection.bytesIn
      bytesOut += connection.bytesOut
    }
    const { opened } = this.#ended
    return {
      connections: this.#connections.size,
      opened,
      ...{ messagesIn, messagesOut, bytesIn, bytesOut },
      ...{ acknowledged, redelivered, denied, dropped: 0 },
      more: { requests: this.#requests },
    }
  }

  *clients(): Generator<ConnectedClient> {
    for (const connection of this.#connections.values()) yield connection.client
  }

  kick(clientId: string): boolean {
    for (const connection of this.#connections.values()) {
      if (connection.id !== clientId) continue
      connection.destroy()
      return true
    }
    return false
  }

  #accept(peer: Peer, entrance: string): void {
    const { admission, clock } = this.#options
    this.#ended.opened++
    if (admission.isOverrun) {
      peer.stream.destroy()
      return
    }
    const { stream } = peer
    const onClose = (): void => {
      this.#ended.bytesIn += connection.bytesIn
      this.#ended.bytesOut += connection.bytesOut
      this.#connections.delete(stream)
      if (this.#connections.size === 0) this.#onEmpty?.()
    }
    const session = this.#session
    const connection = new SqsConnection({
      ...{ peer, entrance, session, admission, clock, onClose },
      ...{ heads: this.#heads, idleMs: KEEP_ALIVE_MS },
      onRequest: () => {
        this.#requests++
      },
      onUnusual: () => this.#http.emit('connection', stream),
    })
    this.#connections.set(stream, connection)
    connection.admit()
  }

  #handle(request: IncomingMessage, response: ServerResponse): void {
    this.#requests++
    const connection = this.#connections.get(request.socket)
    if (connection === undefined) request.socket.destroy()
    else connection.handle(request, response)
  }

  #failed(errId: 'SQS_LISTENER_FAILED' | 'BAD_CERTIFICATE', err: Error): void {
    this.#options.log.error({ errId, err }, 'a listener has trouble')
  }
}

function statusOf(code: string | undefined): string {
  if (code === 'HPE_HEADER_OVERFLOW') return '431 Request Header Fields Too Large'
  if (code === 'ERR_HTTP_REQUEST_TIMEOUT') return '408 Request Timeout'
  return '400 Bad Request'
}
