/**
 * One stream to a storage service, from its opening to its end. Requests are pipelined and matched to
 * their answers by id. When it breaks, everything unanswered rejects with UNAVAILABLE, and it is of no
 * use any more: opening the next one is its owner's part.
 */
import { type ClientDuplexStream, credentials } from '@grpc/grpc-js'
import { storage } from '@robust/proto'
import { StorageError } from '../errors.ts'
import { channelOptions, protocolVersion } from '../wire/channel.ts'
import { errorOf } from '../wire/failures.ts'
import { FrameSender } from '../wire/frame-sender.ts'
import { PartJoiner } from '../wire/part-joiner.ts'

export type RequestKind = NonNullable<storage.Request['kind']>
export type ResponseKind = Exclude<NonNullable<storage.Response['kind']>, { $case: 'failure' }>

export interface ConnectionOptions {
  /** `host:port` */
  readonly address: string
  /** Milliseconds until the service must have greeted. */
  readonly greetingMs: number
  /** Milliseconds without any answer to the oldest request until the stream is given up. */
  readonly requestMs: number
  /** Bytes of requests that may wait for the stream to drain. */
  readonly queueBytesMax: number
  /** Ends the wait for the greeting. */
  readonly signal: AbortSignal
}

interface Pending {
  /** Parts that came before the last one. */
  parts: ResponseKind[] | undefined
  touchedAt: number
  readonly resolve: (parts: ResponseKind[]) => void
  readonly reject: (error: StorageError) => void
}

type Stream = ClientDuplexStream<storage.RequestFrame, storage.ResponseFrame>

export class Connection {
  readonly address: string
  readonly capabilities: storage.Capabilities
  /** Resolves with the reason when the stream has ended. */
  readonly closed: Promise<StorageError>
  readonly #link: Link
  readonly #options: ConnectionOptions
  readonly #sender: FrameSender<storage.Request>
  readonly #pending = new Map<number, Pending>()
  readonly #watch: NodeJS.Timeout
  #lastId = 0
  #onIdle: (() => void) | undefined
  #broken: StorageError | undefined

  private constructor(link: Link, capabilities: storage.Capabilities, options: ConnectionOptions) {
    this.address = options.address
    this.capabilities = capabilities
    this.#link = link
    this.#options = options
    this.#sender = new FrameSender({
      write: (requests, part) => link.stream.write({ requests, part }),
      encode: (request) => storage.Request.encode(request).finish(),
    })
    link.stream.on('drain', () => this.#sender.resume())
    link.onResponse = (response) => this.#onResponse(response)
    this.closed = link.ended.then((error) => this.#break(error))
    this.#watch = setInterval(() => this.#checkSilence(), Math.min(1000, options.requestMs))
  }

  /** Resolves when the service has greeted; rejects with UNAVAILABLE, saying which address and why. */
  static async open(options: ConnectionOptions): Promise<Connection> {
    const link = new Link(options.address)
    const timer = setTimeout(
      () => link.end(unavailable(options.address, `no greeting within ${options.greetingMs} ms`)),
      options.greetingMs,
    )
    const onAbort = () => link.end(unavailable(options.address, 'given up'))
    options.signal.addEventListener('abort', onAbort)
    try {
      const greeting = await Promise.race([link.greeting, link.ended])
      if (greeting instanceof StorageError) throw greeting
      if (greeting.protocolVersion !== protocolVersion || !greeting.capabilities) {
        const reason = `it speaks version ${greeting.protocolVersion}, not ${protocolVersion}`
        throw unavailable(options.address, reason)
      }
      return new Connection(link, greeting.capabilities, options)
    } catch (error) {
      onAbort()
      throw error
    } finally {
      clearTimeout(timer)
      options.signal.removeEventListener('abort', onAbort)
    }
  }

  /** As the service last told it. */
  get pressure(): number {
    return this.#link.pressure
  }

  /** All parts of the answer. `bytes` is about what the request takes. */
  request(kind: RequestKind, bytes: number): Promise<ResponseKind[]> {
    if (this.#broken) return Promise.reject(this.#broken)
    if (this.#sender.queuedBytes > this.#options.queueBytesMax) {
      return Promise.reject(unavailable(this.address, 'too much waits to be sent'))
    }
    const id = this.#nextId()
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { parts: undefined, touchedAt: performance.now(), resolve, reject })
      this.#sender.push({ id, kind }, bytes)
    })
  }

  /** Waits for the answers that are due, then closes. */
  async close(): Promise<void> {
    if (this.#pending.size > 0 && !this.#broken) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
    }
    this.#link.end(unavailable(this.address, 'closed'))
    await this.closed
  }

  #nextId(): number {
    do {
      this.#lastId = this.#lastId >= 0xffff_ffff ? 1 : this.#lastId + 1
    } while (this.#pending.has(this.#lastId))
    return this.#lastId
  }

  #onResponse({ id, more, kind }: storage.Response): void {
    const pending = this.#pending.get(id)
    if (!pending) return
    pending.touchedAt = performance.now()
    if (kind === undefined) {
      this.#link.end(unavailable(this.address, 'an answer that is not understood'))
    } else if (kind.$case === 'failure') {
      this.#settle(id)
      pending.reject(errorOf(kind.value))
    } else if (more) {
      pending.parts ??= []
      pending.parts.push(kind)
    } else {
      this.#settle(id)
      pending.resolve(pending.parts ? [...pending.parts, kind] : [kind])
    }
  }

  #settle(id: number): void {
    this.#pending.delete(id)
    if (this.#pending.size === 0) this.#onIdle?.()
  }

  /** The oldest request comes first in the map; parts of its answer count as a sign of life. */
  #checkSilence(): void {
    const [oldest] = this.#pending.values()
    if (oldest && performance.now() - oldest.touchedAt > this.#options.requestMs) {
      const reason = `no answer within ${this.#options.requestMs} ms`
      this.#link.end(unavailable(this.address, reason))
    }
  }

  #break(error: StorageError): StorageError {
    this.#broken = error
    clearInterval(this.#watch)
    this.#sender.close()
    const pending = Array.from(this.#pending.values())
    this.#pending.clear()
    for (const { reject } of pending) reject(error)
    this.#onIdle?.()
    return error
  }
}

/** The gRPC client and its one stream. Ends once, with a reason, whoever ends it. */
class Link {
  readonly stream: Stream
  readonly greeting: Promise<storage.Hello>
  readonly ended: Promise<StorageError>
  onResponse: ((response: storage.Response) => void) | undefined
  pressure = 0
  readonly #client: storage.StorageClient
  readonly #joiner = new PartJoiner()
  #resolveEnded: (error: StorageError) => void = () => undefined

  constructor(address: string) {
    this.#client = new storage.StorageClient(address, credentials.createInsecure(), {
      ...channelOptions,
      // Shared subchannels would share their back-off; ours decides when to try again.
      'grpc.use_local_subchannel_pool': 1,
    })
    const { stream, greeting } = this.#open()
    this.stream = stream
    this.greeting = greeting
    this.ended = new Promise((resolve) => {
      this.#resolveEnded = resolve
    })
    stream.on('error', (error) => this.end(unavailable(address, error.message)))
    stream.on('end', () => this.end(unavailable(address, 'it closed the stream')))
    stream.on('close', () => this.end(unavailable(address, 'the stream is closed')))
  }

  #onPart(part: storage.Part): void {
    try {
      const joined = this.#joiner.add(part)
      if (joined) this.onResponse?.(storage.Response.decode(joined))
    } catch {
      this.end(new StorageError('UNAVAILABLE', 'The storage service sent what is not understood'))
    }
  }

  end(reason: StorageError): void {
    this.#resolveEnded(reason)
    this.stream.cancel()
    this.#client.close()
  }

  #open(): { stream: Stream; greeting: Promise<storage.Hello> } {
    const stream = this.#client.exchange()
    const greeting = new Promise<storage.Hello>((resolve) => {
      stream.on('data', (frame: storage.ResponseFrame) => {
        if (frame.pressure !== undefined) this.pressure = frame.pressure
        if (frame.hello) resolve(frame.hello)
        for (const response of frame.responses) this.onResponse?.(response)
        if (frame.part) this.#onPart(frame.part)
      })
    })
    return { stream, greeting }
  }
}

function unavailable(address: string, reason: string): StorageError {
  return new StorageError('UNAVAILABLE', `Storage at ${address}: ${reason}`)
}
