// A growing, big-endian output buffer. It knows no protocol. A value that does not fit its field is
// a programmer's error (RangeError), never cut off.

/** The bytes that `value` takes as an unsigned base-128 integer. */
export function varintBytes(value: number): number {
  if (value < 0x80) return 1
  if (value < 0x4000) return 2
  if (value < 0x20_0000) return 3
  return 4
}

/** The largest value of a four-byte base-128 integer. */
export const VARINT_MAX = 0xfff_ffff

/** Writes a base-128 integer into `target` and returns the index after it. */
export function writeVarint(target: Buffer, offset: number, value: number): number {
  let rest = value
  let at = offset
  while (rest > 0x7f) {
    target[at++] = (rest & 0x7f) | 0x80
    rest >>>= 7
  }
  target[at++] = rest
  return at
}

export class ByteWriter {
  #bytes: Buffer
  #length: number

  /** Room for `headBytes` is left free in front, to be filled in when the length is known. */
  constructor(options: { headBytes: number; capacityBytes: number }) {
    this.#bytes = Buffer.allocUnsafe(options.headBytes + options.capacityBytes)
    this.#length = options.headBytes
  }

  /** Bytes written so far, with the head. */
  get length(): number {
    return this.#length
  }

  uint8(value: number): void {
    const at = this.#reserve(1)
    this.#bytes.writeUInt8(value, at)
  }

  uint16(value: number): void {
    const at = this.#reserve(2)
    this.#bytes.writeUInt16BE(value, at)
  }

  uint32(value: number): void {
    const at = this.#reserve(4)
    this.#bytes.writeUInt32BE(value, at)
  }

  varint(value: number): void {
    if (!Number.isInteger(value) || value < 0 || value > VARINT_MAX) {
      throw new RangeError(`${value} does not fit a four-byte variable-length integer`)
    }
    const at = this.#reserve(varintBytes(value))
    writeVarint(this.#bytes, at, value)
  }

  bytes(value: Uint8Array): void {
    const at = this.#reserve(value.length)
    this.#bytes.set(value, at)
  }

  /** UTF-8 text behind its length in two bytes. */
  utf8WithLength16(value: string): void {
    const length = Buffer.byteLength(value)
    this.uint16(length)
    const at = this.#reserve(length)
    this.#bytes.write(value, at)
  }

  /** Bytes behind their length in two bytes. */
  bytesWithLength16(value: Uint8Array): void {
    this.uint16(value.length)
    this.bytes(value)
  }

  /** What was written, from index `start`. It shares the writer's memory: write no more after this. */
  finish(start: number): Buffer {
    return this.#bytes.subarray(start, this.#length)
  }

  #reserve(length: number): number {
    const at = this.#length
    const needed = at + length
    if (needed > this.#bytes.length) {
      const grown = Buffer.allocUnsafe(Math.max(needed, this.#bytes.length * 2))
      this.#bytes.copy(grown, 0, 0, at)
      this.#bytes = grown
    }
    this.#length = needed
    return at
  }
}
