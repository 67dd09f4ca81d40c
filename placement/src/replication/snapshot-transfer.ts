/** A snapshot over a link of its own: both sides. No more than about a MiB waits in memory on either. */
import { type Link, LinkBrokenError, type LinkEvents, raft as wire } from '@robust/proto'
import type { RaftMessage, SnapshotHeader, TransportReceiver } from 'raft-ts'
import {
  fromWireMessage,
  fromWireSnapshotHeader,
  type Sender,
  toWireMessage,
  toWireSnapshotHeader,
} from './wire.ts'

/** `end`: all chunks were sent, and a link that breaks without it was cut off. `failure`: why, in words. */
const Kind = { header: 16, chunk: 17, end: 18, answer: 19, failure: 20 } as const

/** Of a chunk, with room to spare. */
export const SNAPSHOT_FRAME_BYTES_MAX = 4 * 1024 * 1024
/** For the whole transfer and its installation. */
const TRANSFER_TIMEOUT_MS = 120_000
const WAITING_BYTES_MAX = 1024 * 1024

/** Collects what a receiver of a snapshot says. Made before the link is dialled. */
export class SnapshotSending {
  readonly #answer: Promise<RaftMessage>
  #resolve: (answer: RaftMessage) => void = () => undefined
  #reject: (error: Error) => void = () => undefined
  #isSettled = false
  #onRoom: (() => void) | undefined

  constructor() {
    this.#answer = new Promise((resolve, reject) => {
      this.#resolve = resolve
      this.#reject = reject
    })
    this.#answer.catch(() => undefined)
  }

  events(link: Link, receiver: Sender): LinkEvents {
    return {
      frame: (kind, payload) => {
        if (kind === Kind.failure) this.#settle(() => this.#reject(new Error(payload.toString())))
        if (kind === Kind.answer) {
          const answer = fromWireMessage(receiver, wire.RaftMessage.decode(payload))
          if (answer === undefined) throw new Error('an answer that is not understood')
          this.#settle(() => this.#resolve(answer))
        }
        link.end()
      },
      drained: () => this.#onRoom?.(),
      closed: (error) => {
        this.#settle(() => this.#reject(error ?? new LinkBrokenError('ended without an answer')))
      },
    }
  }

  /** Rejects when the link breaks, the follower fails, or the time is over. */
  async run(link: Link, header: SnapshotHeader, chunks: AsyncIterable<Uint8Array>) {
    const timer = setTimeout(() => link.destroy('the transfer takes too long'), TRANSFER_TIMEOUT_MS)
    try {
      link.send(Kind.header, wire.SnapshotHeader.encode(toWireSnapshotHeader(header)).finish())
      for await (const chunk of chunks) {
        // The follower may answer before the end: it has the snapshot already, or refuses it.
        if (this.#isSettled) break
        if (!link.send(Kind.chunk, chunk)) await this.#room()
      }
      link.send(Kind.end)
      return await this.#answer
    } catch (error) {
      link.destroy('the snapshot cannot be sent')
      throw error
    } finally {
      clearTimeout(timer)
      link.end()
    }
  }

  #room(): Promise<void> {
    if (this.#isSettled) return Promise.resolve()
    return new Promise((resolve) => {
      this.#onRoom = resolve
    })
  }

  #settle(settle: () => void): void {
    settle()
    this.#isSettled = true
    this.#onRoom?.()
  }
}

/** Hands a snapshot that comes over a link to the receiver, and its answer back. */
export function receiveSnapshot(
  link: Link,
  sender: Sender,
  receiver: TransportReceiver,
): LinkEvents {
  const chunks = new Chunks(link)
  const run = async (header: SnapshotHeader): Promise<void> => {
    try {
      const answer = await receiver.snapshot(header, chunks)
      link.send(Kind.answer, wire.RaftMessage.encode(toWireMessage(answer)).finish())
    } catch (error) {
      link.send(Kind.failure, Buffer.from(error instanceof Error ? error.message : String(error)))
    }
    // What the sender still has on its way is read and dropped, so that it sees the answer and ends.
    chunks.drop()
  }
  let isRunning = false
  return {
    frame: (kind, payload) => {
      if (!isRunning) {
        if (kind !== Kind.header) throw new Error('a snapshot begins with its header')
        isRunning = true
        void run(fromWireSnapshotHeader(sender, wire.SnapshotHeader.decode(payload)))
      } else if (kind === Kind.chunk) chunks.push(payload)
      else if (kind === Kind.end) chunks.finish()
      else throw new Error(`a frame of the unknown kind ${kind}`)
    },
    closed: () => chunks.fail(new Error('the snapshot stream broke')),
  }
}

/** The chunks of a link for one reader; the link is paused while enough of them wait. */
class Chunks implements AsyncIterable<Uint8Array> {
  readonly #link: Link
  #waiting: Uint8Array[] = []
  #bytes = 0
  #state: 'open' | 'complete' | 'dropped' | Error = 'open'
  #wake: (() => void) | undefined

  constructor(link: Link) {
    this.#link = link
  }

  push(chunk: Uint8Array): void {
    if (this.#state === 'dropped') return
    if (this.#state !== 'open') throw new Error('a chunk after the end')
    this.#waiting.push(chunk)
    this.#bytes += chunk.length
    if (this.#bytes > WAITING_BYTES_MAX) this.#link.pause()
    this.#wake?.()
  }

  finish(): void {
    if (this.#state === 'open') this.#state = 'complete'
    this.#wake?.()
  }

  fail(error: Error): void {
    if (this.#state === 'open') this.#state = error
    this.#wake?.()
  }

  drop(): void {
    this.#state = 'dropped'
    this.#waiting = []
    this.#link.resume()
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Uint8Array> {
    for (;;) {
      const chunk = this.#waiting.shift()
      if (chunk !== undefined) {
        this.#bytes -= chunk.length
        if (this.#bytes <= WAITING_BYTES_MAX / 2) this.#link.resume()
        yield chunk
        continue
      }
      if (this.#state instanceof Error) throw this.#state
      if (this.#state !== 'open') return
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}
