/**
 * What a connection has to send, collected during a turn of the event loop and written once at its end.
 * Neighbouring slices of the same buffer become one, so that a run of packets that is passed on as it came
 * costs one write and no copy.
 */
import type { Duplex } from 'node:stream'

/** Small packets are built here, one after the other, so that they join into one slice. Never reused. */
const ARENA_BYTES = 256 * 1024
/** Up to here pieces are copied together; above, the socket writes them as they are. */
const JOIN_BYTES_MAX = 64 * 1024
const SMALL_BYTES = 512

class Arena {
  buffer = Buffer.allocUnsafeSlow(ARENA_BYTES)
  #used = 0

  /** Room for `bytes` at the returned index of `buffer`. */
  take(bytes: number): number {
    if (this.#used + bytes > ARENA_BYTES) {
      this.buffer = Buffer.allocUnsafeSlow(ARENA_BYTES)
      this.#used = 0
    }
    const at = this.#used
    this.#used += bytes
    return at
  }
}

/** Answers to the sender and packets for receivers alternate: apart, each of them makes a run. */
const answers = new Arena()
const packets = new Arena()

interface Piece {
  readonly bytes: Buffer
  readonly start: number
  end: number
}

/** Stands for no pieces; never written to. */
const NO_PIECES: Piece[] = []

const dirty: Outbox[] = []
let scheduled = false

function flushAll(): void {
  scheduled = false
  // Flushing may close connections, but never queues anything for this turn.
  for (let i = 0; i < dirty.length; i++) (dirty[i] as Outbox).flush()
  dirty.length = 0
}

export class Outbox {
  readonly #socket: Duplex
  /** The first piece apart: most turns of most connections have no other. */
  #bytes: Buffer | undefined
  #start = 0
  #end = 0
  #more: Piece[] = NO_PIECES
  #queued = 0
  #dirty = false
  #closed = false
  /** Since the connection began. */
  bytesWritten = 0
  /** Slices that were given to it, each of them a packet. */
  packets = 0

  constructor(socket: Duplex) {
    this.#socket = socket
  }

  /** Bytes that the kernel has not taken yet. */
  get pendingBytes(): number {
    return this.#queued + this.#socket.writableLength
  }

  /** Sends bytes[start, end). They must not be changed any more. */
  slice(bytes: Buffer, start: number, end: number): void {
    this.packets++
    this.#queued += end - start
    if (this.#bytes === undefined) {
      this.#bytes = bytes
      this.#start = start
      this.#end = end
      if (!this.#dirty) this.#mark()
      return
    }
    const more = this.#more
    if (more.length === 0) {
      if (this.#bytes === bytes && this.#end === start) {
        this.#end = end
        return
      }
      this.#more = [{ bytes, start, end }]
      return
    }
    const last = more[more.length - 1] as Piece
    if (last.bytes === bytes && last.end === start) last.end = end
    else more.push({ bytes, start, end })
  }

  /** Room for a packet of `length` bytes: fill `buffer` from `at` on, now. */
  reserve(length: number): { buffer: Buffer; at: number } {
    if (length > SMALL_BYTES) {
      const buffer = Buffer.allocUnsafe(length)
      this.slice(buffer, 0, length)
      return { buffer, at: 0 }
    }
    const at = packets.take(length)
    this.slice(packets.buffer, at, at + length)
    return { buffer: packets.buffer, at }
  }

  /** An answer of four bytes. */
  word(first: number, second: number, rest: number): void {
    const at = answers.take(4)
    const { buffer } = answers
    buffer[at] = first
    buffer[at + 1] = second
    buffer[at + 2] = rest >> 8
    buffer[at + 3] = rest & 0xff
    this.slice(buffer, at, at + 4)
  }

  /** Drops what is queued and takes nothing more. */
  close(): void {
    this.#closed = true
    this.#clear()
  }

  flush(): void {
    this.#dirty = false
    const first = this.#bytes
    if (first === undefined) return
    if (this.#closed || this.#socket.destroyed) {
      this.#clear()
      return
    }
    this.bytesWritten += this.#queued
    const head = first.subarray(this.#start, this.#end)
    const more = this.#more
    const queued = this.#queued
    this.#clear()
    if (more.length === 0) this.#socket.write(head)
    else if (queued <= JOIN_BYTES_MAX) this.#socket.write(joined(head, more, queued))
    else {
      this.#socket.cork()
      this.#socket.write(head)
      for (const { bytes, start, end } of more) this.#socket.write(bytes.subarray(start, end))
      this.#socket.uncork()
    }
  }

  #clear(): void {
    this.#bytes = undefined
    this.#more = NO_PIECES
    this.#queued = 0
  }

  #mark(): void {
    this.#dirty = true
    dirty.push(this)
    if (scheduled) return
    scheduled = true
    setImmediate(flushAll)
  }
}

function joined(head: Buffer, more: readonly Piece[], length: number): Buffer {
  const all = Buffer.allocUnsafe(length)
  let at = head.copy(all, 0)
  for (const { bytes, start, end } of more) at += bytes.copy(all, at, start, end)
  return all
}
