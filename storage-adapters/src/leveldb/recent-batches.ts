/**
 * The newest batches of a log, so that a trim need not ask the database which there are: a queue that is trimmed
 * as fast as it is filled would hold up the write of everybody each time. Kept from the first trim on, since most
 * logs are never trimmed near their end. A copy that is staged and given up does no harm: what it has written behind
 * the end of the other is written over.
 */

import type { Place } from './segment-file.ts'

/** Of a log: some 8 KiB of memory, more when they are large. */
const countMax = 512
const never = Number.POSITIVE_INFINITY

/** Where a batch is, once it is written: undefined is in the database itself. */
export interface Stored {
  place: Place | undefined
}

export interface BatchEnd {
  readonly lastOffset: number
  readonly bytes: number
  /** Undefined: it is so small that it is in the database itself. */
  readonly stored: Stored | undefined
}

export class RecentBatches {
  /** All batches that begin here or later are known. */
  #since = never
  #lastOffsets: number[] = []
  #bytes: number[] = []
  #stored: (Stored | undefined)[] = []
  #from = 0
  #to = 0

  copy(): RecentBatches {
    const copy = new RecentBatches()
    copy.#since = this.#since
    copy.#lastOffsets = this.#lastOffsets
    copy.#bytes = this.#bytes
    copy.#stored = this.#stored
    copy.#from = this.#from
    copy.#to = this.#to
    return copy
  }

  /** It ends the log now. Nothing is noted before something was `trimmed`. */
  append({ lastOffset, bytes, stored }: BatchEnd): void {
    if (this.#since === never) return
    if (this.#to - this.#from >= countMax) {
      this.#from += countMax / 2
      this.#since = (this.#lastOffsets[this.#from - 1] as number) + 1
    }
    if (this.#from >= countMax) this.#moveToFront()
    this.#lastOffsets[this.#to] = lastOffset
    this.#bytes[this.#to] = bytes
    this.#stored[this.#to] = stored
    this.#to += 1
  }

  /** What is known of batches before the offset is not so any more. */
  restart(offset: number): void {
    if (this.#since !== never) this.#begin(offset)
  }

  /** What ends before the offset has been looked for, and goes. */
  trimmed(beforeOffset: number, endOffset: number): void {
    if (this.#since === never) this.#begin(endOffset)
    else this.#takeBefore(beforeOffset)
  }

  /** All batches that end before the offset, which are forgotten; undefined: not all are known. */
  take(startOffset: number, beforeOffset: number): readonly BatchEnd[] | undefined {
    return startOffset < this.#since ? undefined : this.#takeBefore(beforeOffset)
  }

  #takeBefore(offset: number): readonly BatchEnd[] {
    const taken: BatchEnd[] = []
    for (; this.#from < this.#to; this.#from += 1) {
      const lastOffset = this.#lastOffsets[this.#from] as number
      if (lastOffset >= offset) break
      const bytes = this.#bytes[this.#from] as number
      taken.push({ lastOffset, bytes, stored: this.#stored[this.#from] })
    }
    return taken
  }

  /** In arrays of its own: others may still have these. */
  #moveToFront(): void {
    this.#lastOffsets = this.#lastOffsets.slice(this.#from, this.#to)
    this.#bytes = this.#bytes.slice(this.#from, this.#to)
    this.#stored = this.#stored.slice(this.#from, this.#to)
    this.#to -= this.#from
    this.#from = 0
  }

  #begin(offset: number): void {
    this.#since = offset
    this.#from = this.#to
    this.#moveToFront()
  }
}
