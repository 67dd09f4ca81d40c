/**
 * One open link: frames both ways over one TCP connection, in order. What is sent in one turn of the event
 * loop is written at once. It ends once, cleanly (both sides have ended) or with an error; a new one is made
 * by whoever needs it.
 *
 *   open -> end() here or `ended` from there -> both -> closed(undefined)
 *   any  -> destroy, a violation, silence, the connection breaks -> closed(error)
 */
import assert from 'node:assert'
import type { Socket } from 'node:net'
import { type FrameReader, FrameWriter, LinkKind, SERVICE_KIND_MIN } from './frames.ts'
import { type Greeting, LinkBrokenError, type LinkHello } from './hello.ts'

export interface LinkEvents {
  /**
   * A view of what was received: copy what is kept. What it throws ends the link.
   * Not called while the link is paused, nor after `closed`.
   */
  frame(kind: number, payload: Buffer): void
  /** `send` said stop, and all of it has been handed to the system since. */
  drained?(): void
  /** The other side sends no more. Without this the link ends itself as well. */
  ended?(): void
  /** Once, the last call. Undefined: both sides had ended. */
  closed(error: LinkBrokenError | undefined): void
}

export interface LinkOptions {
  /** Of a frame's payload, in bytes. */
  readonly frameBytesMax: number
  /** A peer that is silent for so long is taken for dead. The same on both sides. */
  readonly silenceMs?: number
  /**
   * When what was sent is written: with all that is sent in this turn of the event loop (the default), or when
   * the running callback and what it resolved is done. The second saves a turn where all of it comes at once.
   */
  readonly writesAfter?: 'turn' | 'callback'
}

const SILENCE_MS = 4_000
/** `send` says stop above this. */
const UNSENT_BYTES_HIGH = 1024 * 1024

export class Link {
  readonly peer: LinkHello
  readonly remoteAddress: string
  readonly #socket: Socket
  readonly #reader: FrameReader
  readonly #writer = new FrameWriter()
  readonly #silenceMs: number
  readonly #writesAfter: 'turn' | 'callback'
  readonly #frameBytesMax: number
  #events: LinkEvents | undefined
  #isPaused = false
  #isReading = false
  #isFlushDue = false
  #isBlocked = false
  /** `send` has returned false since the last `drained`. */
  #isStopTold = false
  #hasSent = false
  #isEnding = false
  #isFinished = false
  #isPeerEnded = false
  #isCutOff = false
  #isClosed = false
  #lastHeardMs = performance.now()
  #lastCheckMs = performance.now()
  readonly #timer: NodeJS.Timeout

  constructor(socket: Socket, greeting: Greeting, options: LinkOptions) {
    this.#socket = socket
    this.peer = greeting.hello
    this.#reader = greeting.reader
    this.#frameBytesMax = options.frameBytesMax
    this.#reader.allow(options.frameBytesMax)
    this.#silenceMs = options.silenceMs ?? SILENCE_MS
    this.#writesAfter = options.writesAfter ?? 'turn'
    socket.setNoDelay(true)
    socket.setKeepAlive(true, this.#silenceMs)
    this.remoteAddress = `${socket.remoteAddress}:${socket.remotePort}`
    this.#timer = setInterval(() => this.#check(), this.#silenceMs / 4)
    this.#timer.unref()
  }

  /** Frames come from here on. Called once, in the turn in which the link was made. */
  start(events: LinkEvents): void {
    assert(this.#events === undefined, 'a link is started once')
    this.#events = events
    const socket = this.#socket
    socket.on('data', (chunk: Buffer) => {
      this.#lastHeardMs = performance.now()
      this.#reader.push(chunk)
      this.#read()
    })
    socket.on('end', () => this.#onEnd())
    socket.on('drain', () => this.#onDrain())
    socket.on('error', (error) => this.#break(error.message, error))
    socket.on('close', () => this.#onClose())
    // Once the caller has its link; something may have come together with the hello.
    setImmediate(() => {
      if (socket.destroyed) this.#break('the connection broke')
      else this.#proceed()
    })
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Bytes that the system has not taken yet. */
  get unsentBytes(): number {
    return this.#writer.bytes + this.#socket.writableLength
  }

  /**
   * Never throws on a broken link: frames for one that has ended are dropped. The parts together are the
   * payload; they must not change until they are written. False: it is taken, but stop until `drained`.
   */
  send(kind: number, ...parts: readonly Uint8Array[]): boolean {
    assert(kind >= SERVICE_KIND_MIN && kind <= 255, 'a kind of the service')
    if (this.#isEnding || this.#isClosed) return false
    this.#push(kind, parts)
    if (this.unsentBytes < UNSENT_BYTES_HIGH) return true
    this.#isStopTold = true
    return false
  }

  /** No frame comes until `resume`; the other side is slowed when the buffers between are full. */
  pause(): void {
    this.#isPaused = true
    this.#socket.pause()
  }

  resume(): void {
    if (!this.#isPaused || this.#isClosed) return
    this.#isPaused = false
    this.#lastHeardMs = performance.now()
    this.#proceed()
  }

  /** Sends what was taken, and no more after. The other side may go on. Idempotent. */
  end(): void {
    if (this.#isEnding || this.#isClosed) return
    this.#push(LinkKind.end, [])
    this.#isEnding = true
  }

  /** At once; what is unsent is lost. */
  destroy(reason: string): void {
    this.#break(reason)
  }

  #push(kind: number, parts: readonly Uint8Array[]): void {
    let bytes = 0
    for (const part of parts) bytes += part.length
    assert(bytes <= this.#frameBytesMax, `a frame of ${bytes} bytes is too large`)
    this.#writer.push(kind, parts)
    if (this.#isFlushDue || this.#isBlocked) return
    this.#isFlushDue = true
    const flush = (): void => {
      this.#isFlushDue = false
      this.#flush()
    }
    if (this.#writesAfter === 'turn') setImmediate(flush)
    else process.nextTick(flush)
  }

  #flush(): void {
    if (this.#isClosed || this.#isBlocked) return
    const pieces = this.#writer.take()
    const socket = this.#socket
    let isFull = false
    if (pieces.length > 1) socket.cork()
    for (const piece of pieces) isFull = !socket.write(piece)
    if (pieces.length > 1) socket.uncork()
    if (pieces.length > 0) this.#hasSent = true
    this.#isBlocked = isFull
    if (isFull) return
    if (this.#isEnding) this.#finish()
    else this.#tellDrained()
  }

  #onDrain(): void {
    this.#isBlocked = false
    this.#flush()
  }

  #tellDrained(): void {
    if (!this.#isStopTold || this.#socket.writableLength > 0) return
    this.#isStopTold = false
    this.#events?.drained?.()
  }

  #finish(): void {
    if (this.#isFinished) return
    this.#isFinished = true
    this.#socket.end()
  }

  #proceed(): void {
    if (this.#isPaused || this.#isClosed) return
    this.#read()
    if (this.#isPaused || this.#isClosed) return
    if (this.#isCutOff) this.#onEnd()
    else this.#socket.resume()
  }

  #read(): void {
    if (this.#isReading) return
    this.#isReading = true
    try {
      while (!this.#isPaused && !this.#isClosed) {
        const frame = this.#reader.next()
        if (frame === undefined) break
        this.#take(frame.kind, frame.payload)
      }
    } catch (error) {
      this.#break(error instanceof Error ? error.message : String(error), error)
    } finally {
      this.#isReading = false
    }
  }

  #take(kind: number, payload: Buffer): void {
    if (this.#isPeerEnded) throw new Error('a frame after the end')
    if (kind >= SERVICE_KIND_MIN) this.#events?.frame(kind, payload)
    else if (kind === LinkKind.end) this.#peerEnded()
    else if (kind !== LinkKind.alive) throw new Error(`a frame of the unknown kind ${kind}`)
  }

  #peerEnded(): void {
    this.#isPeerEnded = true
    if (this.#events?.ended === undefined) this.end()
    else this.#events.ended()
  }

  /** A process that is killed closes its connections too: only the frame before makes it an end. */
  #onEnd(): void {
    if (this.#isPeerEnded) return
    // Frames that came before a pause may be left, and the end may be among them.
    this.#isCutOff = this.#isPaused
    if (!this.#isPaused) this.#break('the connection was cut off')
  }

  #onClose(): void {
    if (this.#isPeerEnded && this.#isEnding) this.#close(undefined)
    else this.#break('the connection was cut off')
  }

  #check(): void {
    const nowMs = performance.now()
    // After a pause of this process what has come meanwhile is not read yet.
    const isLate = nowMs - this.#lastCheckMs > this.#silenceMs / 2
    this.#lastCheckMs = nowMs
    if (isLate || this.#isPaused || this.#isPeerEnded) this.#lastHeardMs = nowMs
    else if (nowMs - this.#lastHeardMs > this.#silenceMs) {
      this.#break(`nothing was heard of it for ${this.#silenceMs} ms`)
      return
    }
    if (!this.#hasSent && !this.#isEnding) this.#push(LinkKind.alive, [])
    this.#hasSent = false
  }

  #break(reason: string, cause?: unknown): void {
    if (this.#isClosed) return
    const who = this.peer.senderId === '' ? this.peer.service : this.peer.senderId
    this.#close(new LinkBrokenError(`${who}: ${reason}`, { cause }))
    this.#socket.destroy()
  }

  #close(error: LinkBrokenError | undefined): void {
    if (this.#isClosed) return
    this.#isClosed = true
    clearInterval(this.#timer)
    this.#events?.closed(error)
  }
}
