/**
 * At which offsets of a log the epochs of its owners begin, so that a reader that has seen more than there is now finds
 * out where it must go back to (KIP-101, KIP-320). No I/O.
 */

/** Records from the offset on were appended in the epoch, up to the next entry. */
export type EpochStart = readonly [epoch: number, offset: number]

export interface EpochEnd {
  readonly epoch: number
  /** Offset after the last record of the epoch. */
  readonly endOffset: number
}

/** Of a log that moves every hour, three weeks; older ones count as one. */
const EPOCHS_MAX = 500

export class EpochHistory {
  readonly #starts: EpochStart[]

  constructor(starts: readonly EpochStart[] = []) {
    this.#starts = [...starts]
  }

  get starts(): readonly EpochStart[] {
    return this.#starts
  }

  /** True: a new epoch begins with this batch, which must be stored. */
  note(epoch: number, offset: number): boolean {
    const last = this.#starts[this.#starts.length - 1]
    if (last !== undefined && epoch <= last[0]) return false
    // An epoch in which nothing was appended after all.
    while ((this.#starts[this.#starts.length - 1]?.[1] ?? -1) >= offset) this.#starts.pop()
    this.#starts.push([epoch, offset])
    if (this.#starts.length > EPOCHS_MAX) this.#starts.shift()
    return true
  }

  /** Epochs that end at or before the offset are forgotten. */
  trim(beforeOffset: number): void {
    while ((this.#starts[1]?.[1] ?? Number.POSITIVE_INFINITY) <= beforeOffset) this.#starts.shift()
  }

  /** -1: before everything that is known. */
  at(offset: number): number {
    return this.#starts.findLast(([, start]) => start <= offset)?.[0] ?? -1
  }

  /**
   * Where the epoch ended, or the newest one before it that has records; undefined: it has not been here. `current`
   * is the epoch that lasts, up to the end of the log.
   */
  endOf(epoch: number, current: EpochEnd): EpochEnd | undefined {
    if (epoch === current.epoch) return current
    const next = this.#starts.find(([other]) => other > epoch)
    if (next === undefined && epoch > current.epoch) return undefined
    const endOffset = next?.[1] ?? current.endOffset
    const known = this.#starts.findLast(([other]) => other <= epoch)
    return { epoch: known?.[0] ?? epoch, endOffset }
  }
}
