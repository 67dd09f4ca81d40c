// A bounds-checked, big-endian cursor over a region of a buffer. It copies nothing and knows no
// protocol: what an unexpected end means is decided by the codec that catches ShortInputError.

const EMPTY = Buffer.alloc(0)

/** The input ended before the value that was asked for. */
export class ShortInputError extends Error {
  override readonly name = 'ShortInputError'
}

/** A variable-length integer did not end within the bytes it may take. */
export class LongVarintError extends Error {
  override readonly name = 'LongVarintError'
}

export class ByteReader {
  bytes: Buffer = EMPTY
  /** Index in `bytes` of the next byte to be read. */
  position = 0
  /** Index in `bytes` just after the last byte that may be read. */
  end = 0

  constructor(bytes: Buffer = EMPTY) {
    this.bytes = bytes
    this.end = bytes.length
  }

  /** Points an existing reader at another buffer, so that a hot path needs only one of them. */
  reset(bytes: Buffer, start: number): this {
    this.bytes = bytes
    this.position = start
    this.end = bytes.length
    return this
  }

  /** Narrows the reader to [position, end); the end may not lie outside the buffer. */
  limit(end: number): this {
    if (end < this.position || end > this.bytes.length)
      throw new ShortInputError('end outside input')
    this.end = end
    return this
  }

  get remaining(): number {
    return this.end - this.position
  }

  uint8(): number {
    const at = this.#take(1)
    return this.bytes[at] as number
  }

  uint16(): number {
    const at = this.#take(2)
    return ((this.bytes[at] as number) << 8) | (this.bytes[at + 1] as number)
  }

  uint32(): number {
    return this.bytes.readUInt32BE(this.#take(4))
  }

  /**
   * An unsigned little-endian base-128 integer of at most `bytesMax` (1 to 4) bytes.
   * Throws LongVarintError when the last of them still says that more follow.
   */
  varint(bytesMax: number): number {
    let value = 0
    for (let index = 0; index < bytesMax; index++) {
      const byte = this.uint8()
      value |= (byte & 0x7f) << (7 * index)
      if (byte < 0x80) return value
    }
    throw new LongVarintError(`variable-length integer of more than ${bytesMax} bytes`)
  }

  /** Moves on by `length` bytes and returns the index of the first of them. */
  skip(length: number): number {
    return this.#take(length)
  }

  /** A view of the next `length` bytes: it shares memory with the input. */
  view(length: number): Buffer {
    const at = this.#take(length)
    return this.bytes.subarray(at, at + length)
  }

  /** A copy of the next `length` bytes, for what outlives the input. */
  copy(length: number): Buffer {
    return Buffer.from(this.view(length))
  }

  #take(length: number): number {
    const at = this.position
    if (length > this.end - at) {
      throw new ShortInputError(`${length} bytes wanted, ${this.end - at} left`)
    }
    this.position = at + length
    return at
  }
}
