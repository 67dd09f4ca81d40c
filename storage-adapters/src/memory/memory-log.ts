/** One log in memory: batches in order, found by binary search over their last offsets. */
import { baseOffset, nextOffset } from '../record-batch/record-batch.ts'
import type { AppendOperation, ReadResult } from '../storage-adapter.ts'

interface StoredBatch {
  readonly lastOffset: number
  readonly bytes: Uint8Array
}

export class MemoryLog {
  startOffset = 0
  endOffset = 0
  bytes = 0
  readonly #batches: StoredBatch[] = []

  /** Of an empty log. */
  beginAt(offset: number): void {
    this.startOffset = offset
    this.endOffset = offset
  }

  /** The batch follows the log's end: the caller has checked. Keeps a copy, unless the bytes are given up. */
  append({ batch, verified }: Pick<AppendOperation, 'batch' | 'verified'>): void {
    this.endOffset = nextOffset(batch)
    const bytes = verified === true && fillsItsMemory(batch) ? batch : new Uint8Array(batch)
    this.#batches.push({ lastOffset: this.endOffset - 1, bytes })
    this.bytes += batch.length
  }

  /** Returns what was freed. */
  trim(beforeOffset: number): { bytes: number; batches: number } {
    const count = this.#indexOf(beforeOffset)
    const removed = this.#batches.splice(0, count)
    const freed = removed.reduce((sum, batch) => sum + batch.bytes.length, 0)
    this.bytes -= freed
    this.startOffset = (removed.at(-1)?.lastOffset ?? this.startOffset - 1) + 1
    return { bytes: freed, batches: removed.length }
  }

  /** Whether stored batches begin and end where this one does. */
  hasBoundaries(batch: Uint8Array): boolean {
    const first = this.#batches[this.#indexOf(baseOffset(batch))]
    const last = this.#batches[this.#indexOf(nextOffset(batch) - 1)]
    if (first === undefined || last === undefined) return false
    return (
      baseOffset(first.bytes) === baseOffset(batch) && last.lastOffset + 1 === nextOffset(batch)
    )
  }

  /** Boundaries have been checked. Returns how many more are held now. */
  replace(batch: Uint8Array): { bytes: number; batches: number } {
    const from = this.#indexOf(baseOffset(batch))
    const lastOffset = nextOffset(batch) - 1
    const count = this.#indexOf(lastOffset) + 1 - from
    const placed = { lastOffset, bytes: new Uint8Array(batch) }
    const removed = this.#batches.splice(from, count, placed)
    const grown = batch.length - removed.reduce((sum, { bytes }) => sum + bytes.length, 0)
    this.bytes += grown
    return { bytes: grown, batches: 1 - removed.length }
  }

  read(fromOffset: number, bytesMax: number): ReadResult {
    const batches: Uint8Array[] = []
    let size = 0
    for (let index = this.#indexOf(fromOffset); index < this.#batches.length; index += 1) {
      const batch = this.#batches[index]?.bytes
      if (batch === undefined || (batches.length > 0 && size + batch.length > bytesMax)) break
      batches.push(batch)
      size += batch.length
    }
    return { batches, startOffset: this.startOffset, endOffset: this.endOffset }
  }

  /** Index of the first batch whose last offset is not before `offset`. */
  #indexOf(offset: number): number {
    let low = 0
    let high = this.#batches.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if ((this.#batches[middle]?.lastOffset ?? 0) < offset) low = middle + 1
      else high = middle
    }
    return low
  }
}

/** A view keeps all of the memory that it is a part of, but only its own bytes are counted: the rest is an eighth at most. */
function fillsItsMemory({ byteLength, buffer }: Uint8Array): boolean {
  return byteLength >= buffer.byteLength * 0.875
}
