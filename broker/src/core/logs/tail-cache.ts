/**
 * The newest batches of all logs of a broker, so that readers at the end of a log do not touch storage. One
 * bound for all; the oldest batch goes first, whichever log it is of.
 */
import { baseOffset, nextOffset } from '@robust/storage-adapters'

export class TailCache {
  readonly #bytesMax: number
  /** In the order in which they came. Of one log, neighbours join. */
  readonly #queue: { tail: LogTail; batch: Uint8Array }[] = []
  #head = 0
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get bytes(): number {
    return this.#bytes
  }

  newTail(): LogTail {
    return new LogTail(this)
  }

  /** For `LogTail` only. */
  admit(tail: LogTail, batch: Uint8Array): void {
    this.#queue.push({ tail, batch })
    this.#bytes += batch.byteLength
    while (this.#bytes > this.#bytesMax && this.#head < this.#queue.length) {
      const oldest = this.#queue[this.#head++]
      if (oldest === undefined) break
      this.#bytes -= oldest.batch.byteLength
      oldest.tail.dropOldest(oldest.batch)
    }
    if (this.#head > 1024 && this.#head * 2 > this.#queue.length) {
      this.#queue.splice(0, this.#head)
      this.#head = 0
    }
  }
}

export class LogTail {
  readonly #cache: TailCache
  #batches: Uint8Array[] = []

  constructor(cache: TailCache) {
    this.#cache = cache
  }

  /** The batch is committed. */
  add(batch: Uint8Array): void {
    const last = this.#batches[this.#batches.length - 1]
    if (last !== undefined && nextOffset(last) !== baseOffset(batch)) this.#batches = []
    this.#batches.push(batch)
    this.#cache.admit(this, batch)
  }

  /** What was rewritten or trimmed must not be read from here any more. */
  clear(): void {
    this.#batches = []
  }

  dropOldest(batch: Uint8Array): void {
    if (this.#batches[0] === batch) this.#batches.shift()
  }

  /** Whole batches from the one that holds the offset on; undefined: it is not here. */
  read(fromOffset: number, bytesMax: number): Uint8Array[] | undefined {
    const [first] = this.#batches
    if (first === undefined || fromOffset < baseOffset(first)) return undefined
    const found: Uint8Array[] = []
    let bytes = 0
    for (let at = this.#indexOf(fromOffset); at < this.#batches.length; at++) {
      const batch = this.#batches[at] as Uint8Array
      if (found.length > 0 && bytes + batch.byteLength > bytesMax) break
      found.push(batch)
      bytes += batch.byteLength
    }
    return found
  }

  #indexOf(offset: number): number {
    let low = 0
    let high = this.#batches.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (nextOffset(this.#batches[middle] as Uint8Array) <= offset) low = middle + 1
      else high = middle
    }
    return low
  }
}
