/**
 * One link to a storage service, from its opening to its end. Requests are pipelined and matched to
 * their answers by id. When it breaks, everything unanswered rejects with UNAVAILABLE, and it is of no
 * use any more: opening the next one is its owner's part.
 */
import {
  dialLink,
  type Link,
  type LinkBrokenError,
  type LinkEvents,
  type LinkIdentity,
  storage,
} from '@robust/proto'
import { StorageError } from '../errors.ts'
import { attachToResponse, decodeFrame, encodeFrame } from '../wire/attachments.ts'
import { frameBytesMax, frameKind, protocolVersion, serviceName } from '../wire/channel.ts'
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
  /** Milliseconds without any answer to the oldest request until the link is given up. */
  readonly requestMs: number
  /** Bytes of requests that may wait for the link to drain. */
  readonly queueBytesMax: number
  readonly identity: LinkIdentity
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

export class Connection {
  readonly address: string
  readonly capabilities: storage.Capabilities
  /** Resolves with the reason when the link has ended. */
  readonly closed: Promise<StorageError>
  readonly #link: Link
  readonly #events: Events
  readonly #options: ConnectionOptions
  readonly #sender: FrameSender<storage.Request>
  readonly #pending = new Map<number, Pending>()
  readonly #watch: NodeJS.Timeout
  #lastId = 0
  #onIdle: (() => void) | undefined
  #broken: StorageError | undefined

  private constructor(link: Link, events: Events, options: ConnectionOptions) {
    this.address = options.address
    this.#link = link
    this.#events = events
    this.#options = options
    this.capabilities = capabilitiesOf(link)
    this.#sender = new FrameSender({
      write: ({ messages: requests, part, attached }) => {
        const frame = storage.RequestFrame.encode({ requests, part }).finish()
        return link.send(frameKind, ...encodeFrame(frame, attached))
      },
      encode: (request) => storage.Request.encode(request).finish(),
    })
    events.onDrained = () => this.#sender.resume()
    events.onResponse = (response) => this.#onResponse(response)
    this.closed = events.over.then((error) => this.#break(error))
    this.#watch = setInterval(() => this.#checkSilence(), Math.min(1000, options.requestMs))
  }

  /** Resolves when the service has greeted; rejects with UNAVAILABLE, saying which address and why. */
  static async open(options: ConnectionOptions): Promise<Connection> {
    const { address, greetingMs, signal, identity } = options
    const events = new Events(address)
    const what = { service: serviceName, protocolVersion, frameBytesMax, connectMs: greetingMs }
    try {
      const opened = await dialLink({ ...what, address, identity, signal }, (link) => {
        events.link = link
        return events
      })
      return new Connection(opened, events, options)
    } catch (error) {
      throw unavailable(address, error instanceof Error ? error.message : String(error))
    }
  }

  /** As the service last told it. */
  get pressure(): number {
    return this.#events.pressure
  }

  /** All parts of the answer. `bytes` is about what the request takes, with what is attached. */
  request(
    kind: RequestKind,
    bytes: number,
    attached?: readonly Uint8Array[],
  ): Promise<ResponseKind[]> {
    if (this.#broken) return Promise.reject(this.#broken)
    if (this.#sender.queuedBytes > this.#options.queueBytesMax) {
      return Promise.reject(unavailable(this.address, 'too much waits to be sent'))
    }
    const id = this.#nextId()
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { parts: undefined, touchedAt: performance.now(), resolve, reject })
      this.#sender.push({ id, kind }, bytes, attached)
    })
  }

  /** Waits for the answers that are due, then closes. */
  async close(): Promise<void> {
    if (this.#pending.size > 0 && !this.#broken) {
      await new Promise<void>((resolve) => {
        this.#onIdle = resolve
      })
    }
    this.#link.end()
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
      this.#link.destroy('an answer that is not understood')
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
      this.#link.destroy(`no answer within ${this.#options.requestMs} ms`)
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

/** What of the link is to be told to the connection that uses it. */
class Events implements LinkEvents {
  readonly over: Promise<StorageError>
  onResponse: ((response: storage.Response) => void) | undefined
  onDrained: (() => void) | undefined
  link: Link | undefined
  pressure = 0
  readonly #address: string
  readonly #joiner = new PartJoiner()
  #resolveOver: (error: StorageError) => void = () => undefined

  constructor(address: string) {
    this.#address = address
    this.over = new Promise((resolve) => {
      this.#resolveOver = resolve
    })
  }

  frame(_kind: number, payload: Buffer): void {
    const { message, next } = decodeFrame(payload)
    const { pressure, responses, part } = storage.ResponseFrame.decode(message)
    if (pressure !== undefined) this.pressure = pressure
    for (const response of responses) {
      attachToResponse(response, next)
      this.onResponse?.(response)
    }
    if (part === undefined) return
    const joined = this.#joiner.add(part)
    if (joined !== undefined) this.onResponse?.(storage.Response.decode(joined))
  }

  drained(): void {
    this.onDrained?.()
  }

  /** It has answered all that it will. */
  ended(): void {
    this.#resolveOver(unavailable(this.#address, 'it has ended the link'))
    this.link?.end()
  }

  closed(error: LinkBrokenError | undefined): void {
    this.#resolveOver(unavailable(this.#address, error?.message ?? 'closed'))
  }
}

function capabilitiesOf(link: Link): storage.Capabilities {
  const { capabilities } = storage.Hello.decode(link.peer.detail)
  if (capabilities !== undefined) return capabilities
  link.destroy('it does not say what it promises')
  throw new StorageError('UNAVAILABLE', 'it does not say what it promises')
}

function unavailable(address: string, reason: string): StorageError {
  return new StorageError('UNAVAILABLE', `Storage at ${address}: ${reason}`)
}
