/**
 * Collects what is sent in one turn of the event loop into frames, and stops writing when the stream says
 * so until it has drained. A message larger than a frame goes in parts, one frame each. Order is kept. The
 * queue is bounded by who fills it: `queuedBytes`.
 */
import type { storage } from '@robust/proto'
import { frameBytesTarget } from './channel.ts'

export interface FrameSenderOptions<Message> {
  /** Writes one frame; false when the stream wants no more until it has drained. */
  readonly write: (frame: Outgoing<Message>) => boolean
  readonly encode: (message: Message) => Uint8Array
  /** Called when everything queued has been written. */
  readonly onIdle?: () => void
}

export interface Outgoing<Message> {
  readonly messages: Message[]
  readonly part: storage.Part | undefined
  /** Of the messages, in their order. */
  readonly attached: Uint8Array[]
}

type Content<Message> =
  | { readonly message: Message; readonly attached: readonly Uint8Array[] }
  | { readonly part: storage.Part }

interface Item<Message> {
  readonly content: Content<Message>
  readonly bytes: number
}

/** A message of about that size is not sent in parts, so that it may have something attached. */
export function isWhole(bytes: number): boolean {
  return bytes <= frameBytesTarget
}

const nothing: readonly Uint8Array[] = []

export class FrameSender<Message> {
  readonly #options: FrameSenderOptions<Message>
  #items: Item<Message>[] = []
  #queuedBytes = 0
  #isBlocked = false
  #isScheduled = false
  #isClosed = false
  #waiting: { readonly bytes: number; readonly proceed: () => void }[] = []

  constructor(options: FrameSenderOptions<Message>) {
    this.#options = options
  }

  get queuedBytes(): number {
    return this.#queuedBytes
  }

  get isIdle(): boolean {
    return this.#items.length === 0
  }

  /** `bytes` is about what the message takes, with all that is attached; only a whole one has that. */
  push(message: Message, bytes: number, attached: readonly Uint8Array[] = nothing): void {
    if (this.#isClosed) return
    if (isWhole(bytes)) this.#pushItem({ content: { message, attached }, bytes })
    else this.#pushParts(message)
    if (this.#isScheduled || this.#isBlocked) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      this.#flush()
    })
  }

  /** Resolves when no more than so many bytes are queued, or all is over. */
  room(bytes: number): Promise<void> {
    if (this.#queuedBytes <= bytes || this.#isClosed) return Promise.resolve()
    return new Promise((proceed) => this.#waiting.push({ bytes, proceed }))
  }

  /** The stream has drained. */
  resume(): void {
    this.#isBlocked = false
    this.#flush()
  }

  /** Forgets what is queued; nothing is written any more. */
  close(): void {
    this.#isClosed = true
    this.#items = []
    this.#queuedBytes = 0
    this.#wake()
  }

  #pushParts(message: Message): void {
    const encoded = this.#options.encode(message)
    for (let at = 0; at < encoded.length; at += frameBytesTarget) {
      const data = encoded.subarray(at, at + frameBytesTarget)
      const last = at + frameBytesTarget >= encoded.length
      this.#pushItem({ content: { part: { data, last } }, bytes: data.length })
    }
  }

  #pushItem(item: Item<Message>): void {
    this.#items.push(item)
    this.#queuedBytes += item.bytes
  }

  #flush(): void {
    while (this.#items.length > 0 && !this.#isBlocked && !this.#isClosed) {
      this.#isBlocked = !this.#writeFrame()
    }
    this.#wake()
    if (this.#items.length === 0) this.#options.onIdle?.()
  }

  /** Messages up to the size of a frame, or up to the first part, which ends it. */
  #writeFrame(): boolean {
    const messages: Message[] = []
    const attached: Uint8Array[] = []
    let part: storage.Part | undefined
    let bytes = 0
    let count = 0
    for (const item of this.#items) {
      if (count > 0 && bytes + item.bytes > frameBytesTarget) break
      bytes += item.bytes
      count += 1
      if ('part' in item.content) {
        part = item.content.part
        break
      }
      messages.push(item.content.message)
      for (const bytes of item.content.attached) attached.push(bytes)
    }
    this.#items.splice(0, count)
    this.#queuedBytes -= bytes
    return this.#options.write({ messages, part, attached })
  }

  #wake(): void {
    if (this.#waiting.length === 0) return
    const waiting = this.#waiting
    this.#waiting = []
    for (const one of waiting) {
      if (this.#isClosed || this.#queuedBytes <= one.bytes) one.proceed()
      else this.#waiting.push(one)
    }
  }
}
