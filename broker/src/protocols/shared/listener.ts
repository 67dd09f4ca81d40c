/**
 * A listener: opens a port or a Unix socket, says clearly why it cannot, reads what a load balancer says of a
 * client, does the TLS handshake, and hands over what is then a stream of the protocol's bytes.
 */
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer, type TLSSocket, type Server as TlsServer } from 'node:tls'
import {
  type Certificates,
  loadCertificates,
  type TlsOptions,
} from '../../security/tls-certificates.ts'
import { type ProxyHeader, parseProxyHeader } from './proxy-header.ts'
import { removeDeadSocket } from './unix-socket.ts'

export class ListenError extends Error {
  readonly code: string
  readonly host: string
  readonly port: number

  constructor(
    message: string,
    options: { code: string; host: string; port: number; cause: unknown },
  ) {
    super(message, { cause: options.cause })
    this.name = 'ListenError'
    this.code = options.code
    this.host = options.host
    this.port = options.port
  }
}

/** Who is at the other end of a connection. */
export interface Peer {
  readonly stream: Duplex
  readonly address: string
  readonly port: number
  /** Common name of the client certificate, when one was asked for and verified. */
  readonly certificateName: string | undefined
  readonly secure: boolean
  /** Address of this machine that the client dialled; undefined: not known, as behind a load balancer. */
  readonly dialled?: string | undefined
}

export interface ListenerOptions {
  readonly host: string
  /** 0 takes a free one. */
  readonly port: number
  /** A Unix socket instead of host and port. */
  readonly path?: string | undefined
  readonly tls?: TlsOptions | undefined
  /** Every connection begins with a PROXY header; one without is closed. */
  readonly proxyProtocol?: boolean
  readonly onPeer: (peer: Peer) => void
  readonly onError: (error: Error) => void
  /** The certificates were read again, or cannot be. */
  readonly onCertificates?: (error: Error | undefined) => void
}

export interface Listener {
  readonly port: number
  /** No new sockets; the open ones are the caller's. */
  stop(): Promise<void>
}

const BACKLOG = 4_096
/** From the first byte to the end of a PROXY header or a TLS handshake. */
const HANDSHAKE_MS = 10_000

/** Rejects with ListenError: the port cannot be opened, or the certificates cannot be used. */
export async function listen(options: ListenerOptions): Promise<Listener> {
  const tls = options.tls && tlsFront(options, options.tls)
  const accept = acceptor(options, tls?.server)
  const server = createServer({ noDelay: true }, accept)
  if (options.path !== undefined) await removeDeadSocket(options.path)
  await opened(server, options)
  server.on('error', options.onError)
  return {
    port: options.path === undefined ? (server.address() as AddressInfo).port : 0,
    stop: () => {
      tls?.certificates.stop()
      return new Promise((resolve) => {
        server.close(() => resolve())
      })
    },
  }
}

function acceptor(
  { onPeer, proxyProtocol = false }: ListenerOptions,
  tls: TlsServer | undefined,
): (socket: Socket) => void {
  /** Of connections that are at their handshake, by the balancer's own address. */
  const headers = new Map<string, ProxyHeader>()
  const hand = (socket: Socket, header: ProxyHeader | undefined): void => {
    if (tls === undefined) {
      onPeer(peerOf(socket, header))
      return
    }
    if (header !== undefined) {
      const key = addressOf(socket)
      headers.set(key, header)
      socket.once('close', () => headers.delete(key))
    }
    tls.emit('connection', socket)
  }
  tls?.on('secureConnection', (stream) => onPeer(peerOf(stream, headers.get(addressOf(stream)))))
  if (!proxyProtocol) return (socket) => hand(socket, undefined)
  return (socket) => readHeader(socket, (header) => hand(socket, header))
}

function addressOf({ remoteAddress, remotePort }: Socket): string {
  return `${remoteAddress} ${remotePort}`
}

function peerOf(stream: Socket | TLSSocket, header: ProxyHeader | undefined): Peer {
  const secure = 'encrypted' in stream
  const own = secure && stream.authorized ? stream.getPeerCertificate().subject?.CN : undefined
  return {
    stream,
    address: header?.source?.address ?? stream.remoteAddress ?? 'unix',
    port: header?.source?.port ?? stream.remotePort ?? 0,
    certificateName: (Array.isArray(own) ? own[0] : own) ?? header?.certificateName,
    secure,
    dialled: header === undefined ? stream.localAddress : undefined,
  }
}

/** Does the handshakes; sockets come from the listener's own server. */
function tlsFront(
  options: ListenerOptions,
  tls: TlsOptions,
): { server: TlsServer; certificates: Certificates } {
  const certificates = certificatesOf(options, tls, (error) => {
    if (error === undefined) server.setSecureContext(certificates.standard)
    options.onCertificates?.(error)
  })
  const asks = tls.clientAuthorities !== undefined
  const server = createTlsServer({
    ...certificates.standard,
    requestCert: asks,
    rejectUnauthorized: asks && tls.requireClientCertificate,
    handshakeTimeout: HANDSHAKE_MS,
    SNICallback: (name, done) => done(null, certificates.forName(name)),
  })
  server.on('tlsClientError', (_error, socket) => socket.destroy())
  return { server, certificates }
}

function certificatesOf(
  { host, port }: ListenerOptions,
  tls: TlsOptions,
  onChange: (error: Error | undefined) => void,
): Certificates {
  try {
    return loadCertificates(tls, onChange)
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause)
    const message = `the certificate cannot be used: ${why}`
    throw new ListenError(message, { code: 'BAD_CERTIFICATE', host, port, cause })
  }
}

/** Reads the header and nothing behind it. */
function readHeader(socket: Socket, done: (header: ProxyHeader) => void): void {
  let bytes: Buffer = Buffer.alloc(0)
  const timer = setTimeout(() => socket.destroy(), HANDSHAKE_MS)
  const finish = (): void => {
    clearTimeout(timer)
    socket.off('data', read)
    socket.off('close', finish)
    socket.off('error', ignore)
  }
  const read = (chunk: Buffer): void => {
    bytes = bytes.length === 0 ? chunk : Buffer.concat([bytes, chunk])
    try {
      const header = parseProxyHeader(bytes)
      if (header === undefined) return
      finish()
      socket.pause()
      if (bytes.length > header.length) socket.unshift(bytes.subarray(header.length))
      done(header)
      socket.resume()
    } catch {
      finish()
      socket.destroy()
    }
  }
  socket.on('data', read)
  socket.on('close', finish)
  socket.on('error', ignore)
}

function ignore(): void {
  // 'close' follows.
}

function opened(server: Server, { host, port, path }: ListenerOptions): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) => {
      const why = cause.code === 'EADDRINUSE' ? 'is in use' : `cannot be opened: ${cause.message}`
      const code = cause.code ?? 'UNKNOWN'
      const where = path ?? `${host}:${port}`
      reject(new ListenError(`${where} ${why}`, { code, host, port, cause }))
    })
    server.listen(path === undefined ? { host, port, backlog: BACKLOG } : { path }, () => {
      server.removeAllListeners('error')
      resolve()
    })
  })
}
