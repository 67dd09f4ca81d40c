/**
 * One open stream to another member, from either side of it. Keeps order. While the stream is full, frames
 * wait up to a bound; past it they are dropped, which Raft survives.
 */
import type { raft as wire } from '@robust/proto'

/** Either side of the gRPC stream. */
export interface FrameStream {
  write(frame: wire.RaftFrame): boolean
  end(): void
  on(event: 'data', listener: (frame: wire.RaftFrame) => void): unknown
  on(event: 'drain' | 'end' | 'close', listener: () => void): unknown
  on(event: 'error', listener: (error: Error) => void): unknown
}

export interface PeerStreamEvents {
  frame(stream: PeerStream, frame: wire.RaftFrame): void
  /** Once. */
  closed(stream: PeerStream, error: Error | undefined): void
}

/** A few rounds of heartbeats and a full pipeline of small appends; what is older is stale anyway. */
const WAITING_FRAMES_MAX = 256

export class PeerStream {
  readonly #stream: FrameStream
  readonly #events: PeerStreamEvents
  #waiting: wire.RaftFrame[] = []
  #isFull = false
  #isClosed = false
  /** Set when the other side has said who it is. */
  peer: string | undefined

  constructor(stream: FrameStream, events: PeerStreamEvents) {
    this.#stream = stream
    this.#events = events
    stream.on('data', (frame) => {
      if (!this.#isClosed) events.frame(this, frame)
    })
    stream.on('drain', () => {
      this.#isFull = false
      this.#drain()
    })
    stream.on('error', (error) => this.close(error))
    stream.on('end', () => this.close())
    stream.on('close', () => this.close())
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** Returns false when the frame was dropped. */
  send(frame: wire.RaftFrame): boolean {
    if (this.#isClosed) return false
    if (!this.#isFull) {
      this.#isFull = !this.#stream.write(frame)
      return true
    }
    if (this.#waiting.length >= WAITING_FRAMES_MAX) return false
    this.#waiting.push(frame)
    return true
  }

  close(error?: Error): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#waiting = []
    this.#stream.end()
    this.#events.closed(this, error)
  }

  #drain(): void {
    const waiting = this.#waiting
    this.#waiting = []
    for (const frame of waiting) this.send(frame)
  }
}
