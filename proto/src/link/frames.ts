/**
 * Frames of a link: u32 length of the payload (big endian), u8 kind, payload. The length is checked before
 * anything is kept for it. Pure.
 */

/** Kinds below are the link's own. */
export const SERVICE_KIND_MIN = 16

export const LinkKind = { hello: 0, refusal: 1, alive: 2, end: 3 } as const

/** What each side sends before its first frame. Not what HTTP/2, HTTP/1 or TLS begin with. */
export const MAGIC = Buffer.from([0x89, 0x52, 0x4c, 0x31])

export interface Frame {
  readonly kind: number
  readonly payload: Buffer
}

const HEADER_BYTES = 5
const NOTHING = Buffer.alloc(0)

/** The other side sent what is not a link, or more than it may. */
export class LinkViolation extends Error {
  override readonly name = 'LinkViolation'
}

/**
 * Chunks in, frames out. A frame that lies in one chunk is a view of it; one that does not is put together in
 * a buffer of its own, once.
 */
export class FrameReader {
  #bytesMax: number
  #chunk: Buffer = NOTHING
  #at = 0
  readonly #header = Buffer.alloc(HEADER_BYTES)
  #headerBytes = 0
  #payload: Buffer | undefined
  #payloadBytes = 0

  /** Payloads above `bytesMax` are refused. */
  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  allow(bytesMax: number): void {
    this.#bytesMax = bytesMax
  }

  /** The chunk is the reader's from here on. */
  push(chunk: Buffer): void {
    const rest = this.#chunk.length - this.#at
    this.#chunk = rest > 0 ? Buffer.concat([this.#chunk.subarray(this.#at), chunk]) : chunk
    this.#at = 0
  }

  /**
   * Undefined when more bytes are needed.
   * @throws LinkViolation
   */
  next(): Frame | undefined {
    if (this.#payload === undefined) {
      if (!this.#readHeader()) return undefined
      const length = this.#header.readUInt32BE(0)
      if (length > this.#bytesMax) {
        throw new LinkViolation(`a frame of ${length} bytes, ${this.#bytesMax} are allowed`)
      }
      if (length <= this.#chunk.length - this.#at) {
        const payload = this.#chunk.subarray(this.#at, this.#at + length)
        this.#at += length
        return this.#finish(payload)
      }
      this.#payload = Buffer.allocUnsafeSlow(length)
      this.#payloadBytes = 0
    }
    const payload = this.#payload
    this.#payloadBytes += this.#take(payload, this.#payloadBytes)
    return this.#payloadBytes === payload.length ? this.#finish(payload) : undefined
  }

  /** Whether all that came was made into frames. */
  get isBetweenFrames(): boolean {
    return this.#at === this.#chunk.length && this.#headerBytes === 0 && this.#payload === undefined
  }

  /**
   * The next `length` bytes as they are, for what comes before the first frame; undefined until they are there.
   */
  raw(length: number): Buffer | undefined {
    if (this.#chunk.length - this.#at < length) return undefined
    this.#at += length
    return this.#chunk.subarray(this.#at - length, this.#at)
  }

  #readHeader(): boolean {
    this.#headerBytes += this.#take(this.#header, this.#headerBytes)
    return this.#headerBytes === HEADER_BYTES
  }

  #take(into: Buffer, at: number): number {
    const count = this.#chunk.copy(into, at, this.#at)
    this.#at += count
    return count
  }

  #finish(payload: Buffer): Frame {
    this.#headerBytes = 0
    this.#payload = undefined
    if (this.#at === this.#chunk.length) {
      this.#chunk = NOTHING
      this.#at = 0
    }
    return { kind: this.#header[4] as number, payload }
  }
}

/** Small payloads are copied together; larger ones are written from where they lie. */
const COPIED_BYTES_MAX = 4 * 1024
const SLAB_BYTES = 64 * 1024

/** Frames in, few buffers out. */
export class FrameWriter {
  #slab: Buffer = NOTHING
  /** What of the slab is in use, and from where on it is not in `#out` yet. */
  #slabEnd = 0
  #slabStart = 0
  #out: Uint8Array[] = []
  #bytes = 0

  /** What waits to be taken. */
  get bytes(): number {
    return this.#bytes
  }

  /** The parts together are the payload; they must not change until they are sent. */
  push(kind: number, parts: readonly Uint8Array[]): void {
    let length = 0
    for (const part of parts) length += part.length
    this.#bytes += HEADER_BYTES + length
    const at = this.#reserve(HEADER_BYTES)
    this.#slab.writeUInt32BE(length, at)
    this.#slab[at + 4] = kind
    for (const part of parts) {
      if (part.length > COPIED_BYTES_MAX) {
        this.#cut()
        this.#out.push(part)
      } else if (part.length > 0) {
        const start = this.#reserve(part.length)
        this.#slab.set(part, start)
      }
    }
  }

  /** Everything that was pushed since, in order. */
  take(): readonly Uint8Array[] {
    this.#cut()
    const out = this.#out
    this.#out = []
    this.#bytes = 0
    return out
  }

  /** So many bytes in the slab, after what was reserved before unless `#cut` came between. */
  #reserve(bytes: number): number {
    if (this.#slabEnd + bytes > this.#slab.length) {
      this.#cut()
      this.#slab = Buffer.allocUnsafeSlow(SLAB_BYTES)
      this.#slabStart = 0
      this.#slabEnd = 0
    }
    const at = this.#slabEnd
    this.#slabEnd += bytes
    return at
  }

  #cut(): void {
    if (this.#slabEnd === this.#slabStart) return
    this.#out.push(this.#slab.subarray(this.#slabStart, this.#slabEnd))
    this.#slabStart = this.#slabEnd
  }
}
