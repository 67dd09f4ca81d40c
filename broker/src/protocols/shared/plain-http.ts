/**
 * The plain case of HTTP/1.1, a POST of a known length with nothing unusual about it, read straight from the socket:
 * Node's server makes two streams and a dozen events of each request, which is half of what a small one costs. What is
 * not certainly plain is not looked at any further: the connection goes to Node's server with every byte of it, and
 * stays there. So this knows no error of HTTP, no time limit of a request and no way to refuse one. RFC 9112.
 */
import { Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../../core/ports/clock.ts'

export interface PlainRequest {
  readonly url: string
  /** By their names in small letters; none came twice. */
  readonly headers: Readonly<Record<string, string>>
  readonly body: Buffer
}

export interface PlainConnectionOptions {
  readonly stream: Duplex
  readonly clock: Clock
  /** A connection by which nothing comes for so long, and which waits for no answer, ends. */
  readonly idleMs: number
  /** One at a time: the next comes when this one was answered. False: it is for Node's server. */
  readonly onRequest: (request: PlainRequest) => boolean
  /** Not plain: from now on Node's server has the stream. */
  readonly onOther: () => void
}

/** What is longer, or is not all there after a moment, is for those who count time and bytes. */
const BODY_BYTES_MAX = 256 * 1_024
const HEAD_BYTES_MAX = 8 * 1_024
const INCOMPLETE_MS = 1_000

export class PlainConnection {
  readonly #options: PlainConnectionOptions
  #chunks: Buffer[] = []
  #bytes = 0
  /** Before so many have come there is nothing to look at. */
  #wanted = 1
  #isBusy = false
  #isOver = false
  #timer: Timer | undefined

  constructor(options: PlainConnectionOptions) {
    this.#options = options
    const { stream, idleMs } = options
    stream.on('data', this.#read)
    if (stream instanceof Socket) stream.setTimeout(idleMs).on('timeout', this.#idle)
    stream.once('close', () => this.#leave())
  }

  /** To the request that came last; `isLast`: the connection ends with it. */
  answer(text: string, { encoding, isLast }: { encoding: BufferEncoding; isLast: boolean }): void {
    const { stream } = this.#options
    if (this.#isOver) return
    if (isLast) {
      this.#leave()
      stream.end(text, encoding, () => stream.destroy())
      return
    }
    // Who does not take his answers asks no more.
    if (stream.write(text, encoding)) this.#next()
    else stream.once('drain', () => this.#next())
  }

  readonly #read = (chunk: Buffer): void => {
    this.#chunks.push(chunk)
    this.#bytes += chunk.byteLength
    if (!this.#isBusy) this.#look()
    else if (this.#bytes > BODY_BYTES_MAX) this.#options.stream.pause()
  }

  readonly #idle = (): void => {
    if (!this.#isBusy) this.#options.stream.destroy()
  }

  #next(): void {
    this.#isBusy = false
    if (this.#isOver) return
    if (this.#options.stream.isPaused()) this.#options.stream.resume()
    if (this.#bytes > 0) this.#look()
  }

  #look(): void {
    if (this.#bytes < this.#wanted) return
    const [first] = this.#chunks
    const bytes =
      this.#chunks.length === 1 && first !== undefined
        ? first
        : Buffer.concat(this.#chunks, this.#bytes)
    const found = readPlain(bytes)
    if (found.kind === 'more') {
      this.#wait(bytes, found.bytes)
      return
    }
    this.#timer?.cancel()
    this.#timer = undefined
    this.#isBusy = true
    if (found.kind === 'other') {
      this.#give(bytes)
      return
    }
    // What came behind it.
    this.#wanted = 1
    this.#bytes = bytes.byteLength - found.bytes
    this.#chunks = this.#bytes === 0 ? [] : [bytes.subarray(found.bytes)]
    if (!this.#options.onRequest(found.request)) this.#give(bytes)
  }

  #wait(bytes: Buffer, wanted: number): void {
    this.#chunks = [bytes]
    this.#wanted = wanted
    this.#timer ??= this.#options.clock.after(INCOMPLETE_MS, () => {
      this.#timer = undefined
      if (!this.#isOver) this.#give(Buffer.concat(this.#chunks, this.#bytes))
    })
  }

  #give(bytes: Buffer): void {
    this.#leave()
    const { stream, onOther } = this.#options
    stream.pause()
    stream.unshift(bytes)
    onOther()
    stream.resume()
  }

  #leave(): void {
    const { stream } = this.#options
    this.#isOver = true
    this.#timer?.cancel()
    stream.off('data', this.#read)
    if (stream instanceof Socket) stream.setTimeout(0).off('timeout', this.#idle)
  }
}

export type PlainFound =
  /** `bytes`: of it, from the first. */
  | { readonly kind: 'request'; readonly request: PlainRequest; readonly bytes: number }
  /** Not all of it is there; `bytes`: how many must be, at least, to look again. */
  | { readonly kind: 'more'; readonly bytes: number }
  | { readonly kind: 'other' }

const OTHER: PlainFound = { kind: 'other' }
const BEGINNING = 'POST /'
const LINE = /POST (\/[\x21-\x7e]*) HTTP\/1\.1\r\n/y
/** A name of letters, digits and hyphens; a value of visible characters, without white space around it. */
const FIELD = /([A-Za-z\d-]+):[ \t]*([\x21-\x7e](?:[\x20-\x7e\t]*[\x21-\x7e])?)[ \t]*\r\n/y
const LENGTH = /^\d{1,6}$/
/** They ask for more than to be read and answered. */
const UNUSUAL: ReadonlySet<string> = new Set([
  ...['transfer-encoding', 'expect', 'upgrade', 'trailer', 'te', 'http2-settings'],
])

/** What the bytes begin with. */
export function readPlain(bytes: Buffer): PlainFound {
  const end = bytes.indexOf('\r\n\r\n', 0, 'latin1')
  if (end < 0) {
    const text = bytes.toString('latin1', 0, BEGINNING.length)
    const isPossible = BEGINNING.startsWith(text) && bytes.byteLength < HEAD_BYTES_MAX
    return isPossible ? { kind: 'more', bytes: bytes.byteLength + 1 } : OTHER
  }
  if (end > HEAD_BYTES_MAX) return OTHER
  const head = bytes.toString('latin1', 0, end + 2)
  LINE.lastIndex = 0
  const url = LINE.exec(head)?.[1]
  const headers = url === undefined ? undefined : readFields(head, LINE.lastIndex)
  if (url === undefined || headers === undefined) return OTHER
  const length = headers['content-length'] ?? ''
  const bodyBytes = LENGTH.test(length) ? Number(length) : Infinity
  if (bodyBytes > BODY_BYTES_MAX) return OTHER
  const from = end + 4
  if (bytes.byteLength < from + bodyBytes) return { kind: 'more', bytes: from + bodyBytes }
  const body = bytes.subarray(from, from + bodyBytes)
  return { kind: 'request', request: { url, headers, body }, bytes: from + bodyBytes }
}

/** Undefined: one is not plain, or came twice, or there is no host. */
function readFields(head: string, from: number): Record<string, string> | undefined {
  const headers: Record<string, string> = {}
  FIELD.lastIndex = from
  while (FIELD.lastIndex < head.length) {
    const found = FIELD.exec(head)
    if (found === null) return undefined
    const name = (found[1] as string).toLowerCase()
    if (headers[name] !== undefined || UNUSUAL.has(name)) return undefined
    headers[name] = found[2] as string
  }
  const { host, connection = 'keep-alive' } = headers
  return host === undefined || connection.toLowerCase() !== 'keep-alive' ? undefined : headers
}

const REASONS: Readonly<Record<number, string>> = {
  200: 'OK',
  400: 'Bad Request',
  403: 'Forbidden',
  404: 'Not Found',
  413: 'Content Too Large',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
}

/** The first line of an answer with what every answer has, but for its own fields and the empty line behind them. */
export class PlainHeads {
  readonly #clock: Clock
  readonly #keepAlive: string
  #second = Number.NaN
  #date = ''

  constructor(clock: Clock, keepAliveMs: number) {
    this.#clock = clock
    this.#keepAlive = `Connection: keep-alive\r\nKeep-Alive: timeout=${keepAliveMs / 1_000}\r\n`
  }

  begin(status: number, isLast: boolean): string {
    const second = Math.floor(this.#clock.wallMs() / 1_000)
    if (second !== this.#second) {
      this.#second = second
      this.#date = `Date: ${new Date(second * 1_000).toUTCString()}\r\n`
    }
    const connection = isLast ? 'Connection: close\r\n' : this.#keepAlive
    return `HTTP/1.1 ${status} ${REASONS[status] ?? ''}\r\n${this.#date}${connection}`
  }
}
