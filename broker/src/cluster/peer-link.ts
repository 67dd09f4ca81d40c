/**
 * One stream to another broker, whoever dialled it. Items handed in within a turn of the event loop share a
 * frame. When the stream breaks, every request without an answer is told `undefined`: outcome unknown.
 */
import type { broker } from '@robust/proto'
import type { Message } from '../core/message.ts'
import { LiveFrameError, LiveReader, LiveWriter } from './live-frames.ts'

export type PeerKind = NonNullable<broker.PeerItem['kind']>

/** Either end of the way to a peer. `error` comes before `close`, if there is one. */
export interface PeerStream {
  write(frame: broker.PeerFrame): boolean
  /** Of live-frames.ts. */
  writeLive(frame: Buffer): boolean
  end(): void
  on(event: 'data', listener: (frame: broker.PeerFrame) => void): unknown
  on(event: 'live', listener: (frame: Buffer) => void): unknown
  on(event: 'drain' | 'end' | 'close', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
}

export interface PeerLinkEvents {
  item(link: PeerLink, item: broker.PeerItem): void
  /** A view of what was received: copy what is kept. */
  live(link: PeerLink, message: Message): void
  closed(link: PeerLink): void
}

/** Items that wait while the stream is full; past it only what somebody waits for is taken. */
const QUEUE_ITEMS_MAX = 20_000
const FRAME_ITEMS_MAX = 2_000
/** Live messages that wait, in bytes; more are dropped. */
const LIVE_BYTES_MAX = 16 * 1024 * 1024
const LIVE_FRAME_BYTES = 1024 * 1024
/** A frame ends with the item that reaches this, far below what a link takes in one frame. */
const FRAME_BYTES = 4 * 1024 * 1024

export class PeerLink {
  readonly #stream: PeerStream
  readonly #events: PeerLinkEvents
  readonly #replies = new Map<number, (kind: PeerKind | undefined) => void>()
  #queue: (broker.PeerItem | Buffer)[] = []
  /** Behind the queue: live messages that came since its last item. */
  readonly #live = new LiveWriter()
  readonly #liveReader = new LiveReader()
  #liveBytes = 0
  #nextId = 1
  #scheduled = false
  #full = false
  #closed = false
  /** Set when the peer has said who it is. */
  hello: broker.Hello | undefined

  constructor(stream: PeerStream, events: PeerLinkEvents) {
    this.#stream = stream
    this.#events = events
    stream.on('data', (frame) => this.#receive(frame))
    stream.on('live', (frame) => this.#receiveLive(frame))
    stream.on('drain', () => {
      this.#full = false
      this.#flush()
    })
    stream.on('error', () => this.close())
    stream.on('end', () => this.close())
    stream.on('close', () => this.close())
  }

  get closed(): boolean {
    return this.#closed
  }

  /** Whether items that may be dropped should be. */
  get crowded(): boolean {
    return this.#queue.length >= QUEUE_ITEMS_MAX || this.#liveBytes >= LIVE_BYTES_MAX
  }

  send(kind: PeerKind, replyTo = 0): void {
    this.#push({ id: 0, replyTo, kind })
  }

  /** At most once, in order with everything else. It is encoded at once. */
  sendLive(message: Message): void {
    if (this.#closed) return
    const before = this.#live.length
    this.#live.push(message)
    this.#liveBytes += this.#live.length - before
    if (this.#live.length >= LIVE_FRAME_BYTES) this.#closeLive()
    this.#schedule()
  }

  /** Returns its id; 0: the stream is closed. */
  request(kind: PeerKind, onReply: (kind: PeerKind | undefined) => void): number {
    if (this.#closed) {
      onReply(undefined)
      return 0
    }
    const id = this.#nextId++
    this.#replies.set(id, onReply)
    this.#push({ id, replyTo: 0, kind })
    return id
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#stream.end()
    const replies = [...this.#replies.values()]
    this.#replies.clear()
    this.#queue = []
    this.#events.closed(this)
    for (const reply of replies) reply(undefined)
  }

  #push(item: broker.PeerItem): void {
    if (this.#closed) return
    this.#closeLive()
    this.#queue.push(item)
    this.#schedule()
  }

  #closeLive(): void {
    if (this.#live.length > 0) this.#queue.push(this.#live.take())
  }

  #schedule(): void {
    if (this.#scheduled || this.#full) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#flush()
    })
  }

  #flush(): void {
    this.#closeLive()
    while (!this.#full && !this.#closed && this.#queue.length > 0) {
      if (!this.#writeNext()) this.#full = true
    }
  }

  /** False: stop until the stream has drained. */
  #writeNext(): boolean {
    const [first] = this.#queue
    if (!Buffer.isBuffer(first)) return this.#stream.write({ items: this.#takeItems() })
    this.#queue.shift()
    this.#liveBytes -= first.length
    return this.#stream.writeLive(first)
  }

  #takeItems(): broker.PeerItem[] {
    const queue = this.#queue
    const items: broker.PeerItem[] = []
    let bytes = 0
    while (items.length < queue.length && items.length < FRAME_ITEMS_MAX && bytes < FRAME_BYTES) {
      const item = queue[items.length]
      if (item === undefined || Buffer.isBuffer(item)) break
      bytes += payloadBytes(item.kind)
      items.push(item)
    }
    if (items.length < queue.length) queue.splice(0, items.length)
    else this.#queue = []
    return items
  }

  #receiveLive(frame: Buffer): void {
    try {
      this.#liveReader.read(frame, (message) => {
        if (!this.#closed) this.#events.live(this, message)
      })
    } catch (error) {
      if (!(error instanceof LiveFrameError)) throw error
      // The texts of the two sides are not the same any more.
      this.close()
    }
  }

  #receive(frame: broker.PeerFrame): void {
    for (const item of frame.items) {
      if (this.#closed) return
      if (item.replyTo === 0) {
        this.#events.item(this, item)
        continue
      }
      const reply = this.#replies.get(item.replyTo)
      this.#replies.delete(item.replyTo)
      reply?.(item.kind)
    }
  }
}

/** What may be large in an item. */
function payloadBytes(kind: broker.PeerItem['kind']): number {
  switch (kind?.$case) {
    case 'publish':
      return kind.value.message?.payload.byteLength ?? 0
    case 'sessionPush':
      return kind.value.messages.reduce((sum, { message }) => sum + sizeOf(message), 0)
    case 'shardReply':
      return kind.value.retained.reduce(
        (sum, message) => sum + sizeOf(message),
        answerBytes(kind.value.queue),
      )
    case 'shardRequest':
      return requestBytes(kind.value)
    default:
      return 0
  }
}

function requestBytes({ kind }: broker.ShardRequest): number {
  const request = kind?.$case === 'queue' ? kind.value.request : undefined
  if (request?.$case === 'send') return request.value.records.byteLength
  return request?.$case === 'prepare' ? request.value.record.byteLength : 0
}

function answerBytes(answer: broker.QueueAnswer | undefined): number {
  const reply = answer?.reply
  const hasRecords =
    reply?.$case === 'received' || reply?.$case === 'peeked' || reply?.$case === 'delayed'
  return hasRecords ? reply.value.records.byteLength : 0
}

function sizeOf(message: broker.Message | undefined): number {
  return message?.payload.byteLength ?? 0
}
