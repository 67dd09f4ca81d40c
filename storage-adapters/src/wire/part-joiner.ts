/** Joins the parts of one message. Throws RangeError when they are more than any message has. */
import type { storage } from '@robust/proto'
import { commitBytesMax } from '../limits.ts'

/** The largest commit or value, and room for its names and framing. */
const joinedBytesMax = commitBytesMax + 8 * 1024 * 1024

export class PartJoiner {
  #parts: Uint8Array[] = []
  #bytes = 0

  /** Bytes that are held. */
  get bytes(): number {
    return this.#bytes
  }

  /** The whole message with the last part, else undefined. */
  add({ data, last }: storage.Part): Uint8Array | undefined {
    this.#bytes += data.length
    if (this.#bytes > joinedBytesMax) throw new RangeError('A message in parts is too large')
    this.#parts.push(data)
    if (!last) return undefined
    const joined = Buffer.concat(this.#parts, this.#bytes)
    this.#parts = []
    this.#bytes = 0
    return joined
  }
}
