/**
 * The newest batches of a log, so that a trim need not ask the database which there are: a queue that is trimmed
 * as fast as it is filled would hold up the write of everybody each time. Kept from the first trim on, since most
 * logs are never trimmed near their end. A copy that is staged and given up does no harm: what it has written behind
 * the end of the other is written over.
 */

/** Of a log: 8 KiB of memory. */
const countMax = 512
const never = Number.POSITIVE_INFINITY

export interface BatchEnd {
  readonly lastOffset: number
  readonly bytes: number
}

export class RecentBatches {
  /** All batches that begin here or later are known. */
  #since: number
  /** Last offset and bytes, in turn. */
  #ends: number[] = []
  #from = 0
  #to = 0

  /** Knows of nothing, and notes nothing before something was `trimmed`. */
  constructor() {
    this.#since = never
  }

  copy(): RecentBatches {
    const copy = new RecentBatches()
    copy.#since = this.#since
    copy.#ends = this.#ends
    copy.#from = this.#from
    copy.#to = this.#to
    return copy
  }

  /** It ends the log now. */
  append({ lastOffset, bytes }: BatchEnd): void {
    if (this.#since === never) return
    if (this.#to - this.#from >= 2 * countMax) {
      this.#from += countMax
      this.#since = (this.#ends[this.#from - 2] as number) + 1
    }
    if (this.#from >= 2 * countMax) {
      this.#ends = this.#ends.slice(this.#from, this.#to)
      this.#to -= this.#from
      this.#from = 0
    }
    this.#ends[this.#to] = lastOffset
    this.#ends[this.#to + 1] = bytes
    this.#to += 2
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
    while (this.#from < this.#to) {
      const lastOffset = this.#ends[this.#from] as number
      if (lastOffset >= offset) break
      taken.push({ lastOffset, bytes: this.#ends[this.#from + 1] as number })
      this.#from += 2
    }
    return taken
  }

  #begin(offset: number): void {
    this.#since = offset
    this.#ends = []
    this.#from = 0
    this.#to = 0
  }
}
