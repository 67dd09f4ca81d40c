/** Cuts what comes into frames: a length in four bytes, and as many bytes. Nothing is set aside before it comes. */
/** The connection cannot go on: where the next frame begins is not known. */
export class FrameError extends Error {
  override readonly name = 'FrameError'
}

const LENGTH_BYTES = 4

export class Frames {
  readonly #bytesMax: () => number
  #chunks: Buffer[] = []
  #bytes = 0

  /** `bytesMax`: of one frame, as it holds when its length has come. */
  constructor(bytesMax: () => number) {
    this.#bytesMax = bytesMax
  }

  /** Whole frames without their lengths, each with memory of its own. Throws FrameError. */
  take(chunk: Buffer): Buffer[] {
    this.#chunks.push(chunk)
    this.#bytes += chunk.length
    const frames: Buffer[] = []
    for (let length = this.#nextLength(); length !== undefined; length = this.#nextLength()) {
      if (this.#bytes < LENGTH_BYTES + length) break
      frames.push(this.#cut(length))
    }
    return frames
  }

  /** Copied once, however many chunks it came in: requests of producers are large. */
  #cut(length: number): Buffer {
    const frame = Buffer.allocUnsafe(length)
    this.#bytes -= LENGTH_BYTES + length
    let skip = LENGTH_BYTES
    let filled = 0
    let used = 0
    for (const chunk of this.#chunks) {
      const end = Math.min(chunk.length, skip + length - filled)
      filled += chunk.copy(frame, filled, skip, end)
      skip = 0
      if (end < chunk.length) {
        this.#chunks[used] = chunk.subarray(end)
        break
      }
      used++
    }
    this.#chunks.splice(0, used)
    return frame
  }

  #nextLength(): number | undefined {
    if (this.#bytes < LENGTH_BYTES) return undefined
    const [first] = this.#chunks
    const head = first !== undefined && first.length >= LENGTH_BYTES ? first : this.#joined()
    const length = head.readInt32BE(0)
    if (length < 0 || length > this.#bytesMax()) throw new FrameError(`a frame of ${length} bytes`)
    return length
  }

  #joined(): Buffer {
    const [first] = this.#chunks
    if (first !== undefined && this.#chunks.length === 1) return first
    const all = Buffer.concat(this.#chunks, this.#bytes)
    this.#chunks = [all]
    return all
  }
}
