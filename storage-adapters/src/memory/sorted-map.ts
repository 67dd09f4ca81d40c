/**
 * An ordered map of keys to bytes: sorted chunks of bounded size, found by binary search, so that an
 * insert moves a few hundred entries at most whatever the size of the map.
 */
import { compareKeys } from '../key-order.ts'

const chunkEntriesMax = 512

interface Entry {
  readonly key: string
  value: Uint8Array
}

export class SortedMap {
  readonly #values = new Map<string, Entry>()
  /** Never holds an empty chunk. */
  readonly #chunks: Entry[][] = []

  get size(): number {
    return this.#values.size
  }

  get(key: string): Uint8Array | undefined {
    return this.#values.get(key)?.value
  }

  set(key: string, value: Uint8Array): void {
    const present = this.#values.get(key)
    if (present !== undefined) {
      present.value = value
      return
    }
    const entry = { key, value }
    this.#values.set(key, entry)
    const chunkIndex = Math.min(this.#chunkOf(key), this.#chunks.length - 1)
    const chunk = this.#chunks[chunkIndex]
    if (chunk === undefined) {
      this.#chunks.push([entry])
      return
    }
    chunk.splice(lowerBound(chunk, key), 0, entry)
    if (chunk.length > chunkEntriesMax) {
      this.#chunks.splice(chunkIndex + 1, 0, chunk.splice(chunkEntriesMax >> 1))
    }
  }

  delete(key: string): boolean {
    if (!this.#values.delete(key)) return false
    const chunkIndex = this.#chunkOf(key)
    const chunk = this.#chunks[chunkIndex] ?? []
    chunk.splice(lowerBound(chunk, key), 1)
    if (chunk.length === 0) this.#chunks.splice(chunkIndex, 1)
    return true
  }

  /** Entries within [from, to) in order; an empty `to` is no bound. The map must not change meanwhile. */
  *range(from: string, to: string): Generator<Readonly<Entry>> {
    for (let c = this.#chunkOf(from); c < this.#chunks.length; c += 1) {
      const chunk = this.#chunks[c] ?? []
      for (let i = lowerBound(chunk, from); i < chunk.length; i += 1) {
        const entry = chunk[i]
        if (entry === undefined || (to !== '' && compareKeys(entry.key, to) >= 0)) return
        yield entry
      }
    }
  }

  /** The same range from its end. */
  *rangeReverse(from: string, to: string): Generator<Readonly<Entry>> {
    const last = this.#chunks.length - 1
    for (let c = to === '' ? last : Math.min(this.#chunkOf(to), last); c >= 0; c -= 1) {
      const chunk = this.#chunks[c] ?? []
      for (let i = (to === '' ? chunk.length : lowerBound(chunk, to)) - 1; i >= 0; i -= 1) {
        const entry = chunk[i]
        if (entry === undefined || compareKeys(entry.key, from) < 0) return
        yield entry
      }
    }
  }

  /** Index of the first chunk whose last key is not before `key`. */
  #chunkOf(key: string): number {
    let low = 0
    let high = this.#chunks.length
    while (low < high) {
      const middle = (low + high) >>> 1
      const lastKey = this.#chunks[middle]?.at(-1)?.key ?? ''
      if (compareKeys(lastKey, key) < 0) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** Index of the first entry that is not before `key`. */
function lowerBound(chunk: readonly Entry[], key: string): number {
  let low = 0
  let high = chunk.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if (compareKeys(chunk[middle]?.key ?? '', key) < 0) low = middle + 1
    else high = middle
  }
  return low
}
