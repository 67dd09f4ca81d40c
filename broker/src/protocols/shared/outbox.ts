/**
 * What a connection has to send, collected during a turn of the event loop and written once at its end.
 * Neighbouring slices of the same buffer become one, so that a run of packets that is passed on as it came
 * costs one write and no copy.
 */
import type { Socket } from 'node:net'

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

const dirty: Outbox[] = []
let scheduled = false

function flushAll(): void {
  scheduled = false
  // Flushing may close connections, but never queues anything for this turn.
  for (let i = 0; i < dirty.length; i++) (dirty[i] as Outbox).flush()
  dirty.length = 0
}

export class Outbox {
  readonly #socket: Socket
  #buffers: Buffer[] = []
  #starts: number[] = []
  #ends: number[] = []
  #queued = 0
  #dirty = false
  #closed = false
  /** Since the connection began. */
  bytesWritten = 0

  constructor(socket: Socket) {
    this.#socket = socket
  }

  /** Bytes that the kernel has not taken yet. */
  get pendingBytes(): number {
    return this.#queued + this.#socket.writableLength
  }

  /** Sends bytes[start, end). They must not be changed any more. */
  slice(bytes: Buffer, start: number, end: number): void {
    const last = this.#buffers.length - 1
    if (last >= 0 && this.#buffers[last] === bytes && this.#ends[last] === start) {
      this.#ends[last] = end
    } else {
      this.#buffers.push(bytes)
      this.#starts.push(start)
      this.#ends.push(end)
    }
    this.#queued += end - start
    if (!this.#dirty) this.#mark()
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
    const count = this.#buffers.length
    if (count === 0) return
    if (this.#closed || this.#socket.destroyed) {
      this.#clear()
      return
    }
    this.bytesWritten += this.#queued
    if (count === 1) {
      this.#socket.write(this.#piece(0))
    } else if (this.#queued <= JOIN_BYTES_MAX) {
      this.#socket.write(this.#joined())
    } else {
      this.#socket.cork()
      for (let i = 0; i < count; i++) this.#socket.write(this.#piece(i))
      this.#socket.uncork()
    }
    this.#clear()
  }

  #piece(index: number): Buffer {
    return (this.#buffers[index] as Buffer).subarray(this.#starts[index], this.#ends[index])
  }

  #joined(): Buffer {
    const joined = Buffer.allocUnsafe(this.#queued)
    let at = 0
    for (let i = 0; i < this.#buffers.length; i++) {
      at += (this.#buffers[i] as Buffer).copy(joined, at, this.#starts[i], this.#ends[i])
    }
    return joined
  }

  #clear(): void {
    this.#buffers = []
    this.#starts = []
    this.#ends = []
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
