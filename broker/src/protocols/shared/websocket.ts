/**
 * WebSocket as a carrier of byte streams: upgrades HTTP connections and gives a stream for each. Knows no
 * protocol but the names of its subprotocols.
 */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { Duplex } from 'node:stream'
import { type WebSocket, WebSocketServer } from 'ws'

export interface WebSocketOptions {
  /** Subprotocols, the preferred first. A client that names others only is refused. */
  readonly subprotocols: readonly string[]
  readonly paths: readonly string[]
  /** Largest message; a larger one closes the connection with 1009. */
  readonly messageBytesMax: number
  readonly onStream: (stream: Duplex, from: Duplex) => void
}

const HEADERS_TIMEOUT_MS = 10_000

export class WebSocketUpgrade {
  readonly #http: Server
  readonly #server: WebSocketServer
  readonly #options: WebSocketOptions

  constructor(options: WebSocketOptions) {
    this.#options = options
    this.#http = createServer({ headersTimeout: HEADERS_TIMEOUT_MS }, refusePlain)
    this.#server = new WebSocketServer({
      noServer: true,
      maxPayload: options.messageBytesMax,
      perMessageDeflate: false,
      handleProtocols: (offered) => options.subprotocols.find((name) => offered.has(name)) ?? false,
    })
    this.#http.on('upgrade', (request, socket, head) => this.#upgrade(request, socket, head))
    this.#http.on('clientError', (_error, socket) => socket.destroy())
  }

  /** A connection on which a client is about to speak HTTP, or has begun: then `begun` are its first bytes. */
  accept(socket: Duplex, begun?: Buffer): void {
    if (begun !== undefined) {
      socket.pause()
      socket.unshift(begun)
    }
    this.#http.emit('connection', socket)
    if (begun !== undefined) socket.resume()
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    const { paths, subprotocols, onStream } = this.#options
    const path = (request.url ?? '').replace(/\?.*$/, '')
    if (!paths.includes(path)) {
      endHttp(socket, '404 Not Found', `WebSocket is at ${paths.join(', ')}`)
      return
    }
    const offered = (request.headers['sec-websocket-protocol'] ?? '').split(/\s*,\s*/)
    if (offered[0] !== '' && !offered.some((name) => subprotocols.includes(name))) {
      endHttp(socket, '400 Bad Request', `the subprotocol is ${subprotocols.join(' or ')}`)
      return
    }
    this.#server.handleUpgrade(request, socket, head, (webSocket) => {
      onStream(new WebSocketStream(webSocket), socket)
    })
  }
}

function refusePlain(_request: IncomingMessage, response: ServerResponse): void {
  response.writeHead(426, { Connection: 'close', Upgrade: 'websocket' })
  response.end('This is a WebSocket endpoint.\n')
}

function endHttp(socket: Duplex, status: string, text: string): void {
  const head = `HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Type: text/plain\r\n`
  socket.end(`${head}Content-Length: ${Buffer.byteLength(text)}\r\n\r\n${text}`)
}

/** Binary messages, one after the other, as bytes; each write is a message. */
class WebSocketStream extends Duplex {
  readonly #webSocket: WebSocket

  constructor(webSocket: WebSocket) {
    super({ allowHalfOpen: false })
    this.#webSocket = webSocket
    webSocket.binaryType = 'nodebuffer'
    webSocket.on('message', (data: Buffer, isBinary: boolean) => {
      // A text frame closes the connection. [MQTT-6.0.0-1]
      if (!isBinary) webSocket.close(1003, 'binary frames only')
      else if (!this.push(data)) webSocket.pause()
    })
    webSocket.on('close', () => {
      this.push(null)
      this.destroy()
    })
    webSocket.on('error', (error) => this.destroy(error))
  }

  override _read(): void {
    if (this.#webSocket.isPaused) this.#webSocket.resume()
  }

  override _write(chunk: Buffer, _encoding: string, done: (error?: Error | null) => void): void {
    this.#webSocket.send(chunk, { binary: true }, done)
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#webSocket.close(1000)
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#webSocket.terminate()
    done(error)
  }
}
