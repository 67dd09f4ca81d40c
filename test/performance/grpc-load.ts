// A gRPC client for load: unary calls over HTTP/2 written by hand, so that it costs a few microseconds a
// call and the servers are what is measured. A call has succeeded when a reply message came; an error of
// gRPC comes without one. Requests of one turn of the event loop leave in one write. No TLS, no deadlines.

import { connect, type Socket } from 'node:net'

const DATA = 0
const HEADERS = 1
const RST_STREAM = 3
const SETTINGS = 4
const PING = 6
const GOAWAY = 7
const WINDOW_UPDATE = 8

const END_STREAM = 1
const ACK = 1
const END_HEADERS = 4

const FRAME_HEADER_BYTES = 9
const MESSAGE_HEADER_BYTES = 5
const WINDOW_BYTES = 65_535
/** Replies are never to wait for a window. */
const RECEIVE_WINDOW_MORE_BYTES = 2 ** 31 - 1 - WINDOW_BYTES

interface Call {
  hasReply: boolean
  readonly done: (ok: boolean) => void
}

export class GrpcLoad {
  readonly #socket: Socket
  readonly #headers: Buffer
  readonly #calls = new Map<number, Call>()
  #received: Buffer = Buffer.alloc(0)
  #out: Buffer[] = []
  #isFlushPending = false
  #waiting: { readonly body: Buffer; readonly done: (ok: boolean) => void }[] = []
  #window = WINDOW_BYTES
  #nextStream = 1
  #isClosed = false

  private constructor(socket: Socket, headers: Buffer) {
    this.#socket = socket
    this.#headers = headers
    socket.setNoDelay(true)
    socket.on('data', (chunk) => this.#read(chunk))
    socket.on('error', () => undefined)
    socket.on('close', () => this.close())
    this.#out.push(
      Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
      frame(SETTINGS, { payload: Buffer.alloc(0) }),
      frame(WINDOW_UPDATE, { payload: uint32(RECEIVE_WINDOW_MORE_BYTES) }),
    )
    this.#flush()
  }

  /** `path` is that of the method which every call of this connection is for. Rejects when refused. */
  static open(port: number, path: string): Promise<GrpcLoad> {
    return new Promise((resolve, reject) => {
      const socket = connect(port, '127.0.0.1')
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new GrpcLoad(socket, requestHeaders(path, `127.0.0.1:${port}`)))
      })
    })
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Resolves with whether a reply came; false too when the connection ends. */
  call(message: Uint8Array): Promise<boolean> {
    return new Promise((done) => {
      if (this.#isClosed) {
        done(false)
        return
      }
      const body = Buffer.allocUnsafe(MESSAGE_HEADER_BYTES + message.byteLength)
      body[0] = 0
      body.writeUInt32BE(message.byteLength, 1)
      body.set(message, MESSAGE_HEADER_BYTES)
      this.#waiting.push({ body, done })
      this.#sendWaiting()
    })
  }

  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#socket.destroy()
    for (const { done } of [...this.#calls.values(), ...this.#waiting]) done(false)
    this.#calls.clear()
    this.#waiting = []
  }

  #sendWaiting(): void {
    let sent = 0
    for (const { body, done } of this.#waiting) {
      if (body.byteLength > this.#window) break
      sent += 1
      this.#window -= body.byteLength
      const stream = this.#nextStream
      this.#nextStream += 2
      this.#calls.set(stream, { hasReply: false, done })
      this.#out.push(
        frame(HEADERS, { flags: END_HEADERS, stream, payload: this.#headers }),
        frame(DATA, { flags: END_STREAM, stream, payload: body }),
      )
    }
    if (sent > 0) this.#waiting.splice(0, sent)
    this.#flushSoon()
  }

  #flushSoon(): void {
    if (this.#isFlushPending || this.#out.length === 0) return
    this.#isFlushPending = true
    setImmediate(() => {
      this.#isFlushPending = false
      this.#flush()
    })
  }

  #flush(): void {
    if (this.#isClosed || this.#out.length === 0) return
    this.#socket.write(Buffer.concat(this.#out))
    this.#out = []
  }

  #read(chunk: Buffer): void {
    const bytes = this.#received.byteLength === 0 ? chunk : Buffer.concat([this.#received, chunk])
    let at = 0
    while (bytes.byteLength - at >= FRAME_HEADER_BYTES) {
      const end = at + FRAME_HEADER_BYTES + bytes.readUIntBE(at, 3)
      if (end > bytes.byteLength) break
      const payload = bytes.subarray(at + FRAME_HEADER_BYTES, end)
      const stream = bytes.readUInt32BE(at + 5) & 0x7fffffff
      this.#frame(bytes[at + 3] as number, { flags: bytes[at + 4] as number, stream, payload })
      at = end
    }
    this.#received = bytes.subarray(at)
  }

  #frame(type: number, { flags, stream, payload }: Required<Frame>): void {
    const isEnd = (flags & END_STREAM) !== 0
    if (type === DATA || type === HEADERS) {
      const call = this.#calls.get(stream)
      if (call === undefined) return
      if (type === DATA && payload.byteLength >= MESSAGE_HEADER_BYTES) call.hasReply = true
      if (isEnd) this.#end(stream, call.hasReply)
    } else if (type === RST_STREAM) {
      this.#end(stream, false)
    } else if (type === SETTINGS && (flags & ACK) === 0) {
      this.#out.push(frame(SETTINGS, { flags: ACK, payload: Buffer.alloc(0) }))
    } else if (type === PING && (flags & ACK) === 0) {
      this.#out.push(frame(PING, { flags: ACK, payload }))
    } else if (type === WINDOW_UPDATE && stream === 0) {
      this.#window += payload.readUInt32BE(0) & 0x7fffffff
      this.#sendWaiting()
    } else if (type === GOAWAY) {
      this.close()
    }
    this.#flushSoon()
  }

  #end(stream: number, ok: boolean): void {
    const call = this.#calls.get(stream)
    this.#calls.delete(stream)
    call?.done(ok)
  }
}

interface Frame {
  readonly flags?: number
  readonly stream?: number
  readonly payload: Buffer
}

function frame(type: number, { flags = 0, stream = 0, payload }: Frame): Buffer {
  const bytes = Buffer.allocUnsafe(FRAME_HEADER_BYTES + payload.byteLength)
  bytes.writeUIntBE(payload.byteLength, 0, 3)
  bytes[3] = type
  bytes[4] = flags
  bytes.writeUInt32BE(stream, 5)
  bytes.set(payload, FRAME_HEADER_BYTES)
  return bytes
}

/** HPACK without any state: indexes of the static table, and texts as they are. (RFC 7541) */
function requestHeaders(path: string, authority: string): Buffer {
  const [methodPost, schemeHttp] = [0x83, 0x86]
  const [pathIs, authorityIs, contentTypeIs, newNameIs] = [[0x04], [0x01], [0x0f, 0x10], [0x00]]
  return Buffer.concat([
    Buffer.from([methodPost, schemeHttp, ...pathIs]),
    text(path),
    Buffer.from(authorityIs),
    text(authority),
    Buffer.from(contentTypeIs),
    text('application/grpc'),
    Buffer.from(newNameIs),
    text('te'),
    text('trailers'),
  ])
}

/** At most 126 bytes, so that its length is one byte. */
function text(value: string): Buffer {
  const bytes = Buffer.from(value, 'latin1')
  return Buffer.concat([Buffer.from([bytes.byteLength]), bytes])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
