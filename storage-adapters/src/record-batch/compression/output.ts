/** What comes out of a decompressor: grows as it needs, never beyond its bound, whatever the input claims. */
import { RecordBatchError } from '../record-batch.ts'

const FIRST_BYTES = 64 * 1024

export class Output {
  #bytes: Buffer
  #length = 0
  readonly #bytesMax: number

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
    this.#bytes = Buffer.allocUnsafe(Math.min(FIRST_BYTES, bytesMax))
  }

  get length(): number {
    return this.#length
  }

  /** Throws TOO_LARGE unless there may be so many more. */
  reserve(more: number): void {
    const wanted = this.#length + more
    if (wanted > this.#bytesMax) {
      throw new RecordBatchError(
        'TOO_LARGE',
        `Uncompressed it has more than ${this.#bytesMax} bytes`,
      )
    }
    if (wanted <= this.#bytes.length) return
    const size = Math.min(this.#bytesMax, Math.max(wanted, this.#bytes.length * 2))
    const grown = Buffer.allocUnsafe(size)
    this.#bytes.copy(grown, 0, 0, this.#length)
    this.#bytes = grown
  }

  /** The range must be within the source. */
  append(source: Uint8Array, from: number, to: number): void {
    this.reserve(to - from)
    this.#bytes.set(source.subarray(from, to), this.#length)
    this.#length += to - from
  }

  fill(byte: number, count: number): void {
    this.reserve(count)
    this.#bytes.fill(byte, this.#length, this.#length + count)
    this.#length += count
  }

  /** What was put out `distance` bytes before, also where it overlaps with what it makes. */
  repeat(distance: number, count: number): void {
    if (distance < 1 || distance > this.#length) throw malformed('A match begins before the data')
    this.reserve(count)
    const bytes = this.#bytes
    let to = this.#length
    const end = to + count
    if (distance >= count) bytes.copyWithin(to, to - distance, end - distance)
    else for (; to < end; to++) bytes[to] = bytes[to - distance] as number
    this.#length = end
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length)
  }
}

export function malformed(message: string): RecordBatchError {
  return new RecordBatchError('MALFORMED', message)
}

/** Bytes one after the other. Throws MALFORMED at the end. */
export class Input {
  at: number
  readonly bytes: Uint8Array
  readonly end: number

  constructor(bytes: Uint8Array, at = 0, end = bytes.length) {
    this.bytes = bytes
    this.at = at
    this.end = end
  }

  get left(): number {
    return this.end - this.at
  }

  byte(): number {
    const byte = this.at < this.end ? this.bytes[this.at] : undefined
    if (byte === undefined) throw malformed('The compressed data ends too early')
    this.at++
    return byte
  }

  /** Little endian, up to four bytes. */
  number(count: number): number {
    let value = 0
    for (let shift = 0; shift < count; shift++) value += this.byte() * 2 ** (8 * shift)
    return value
  }

  /** Where the bytes begin that are passed over. */
  skip(count: number): number {
    const from = this.at
    if (count < 0 || count > this.left) throw malformed('The compressed data ends too early')
    this.at += count
    return from
  }
}
