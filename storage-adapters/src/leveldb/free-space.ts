/**
 * Room on the disk, asked for at most once a second and counted down in between, so that a full disk is
 * refused before LevelDB runs into it: a write that fails there ends the adapter.
 */

export interface FreeSpaceOptions {
  /** Bytes that must stay free for LevelDB's own work. */
  readonly reserveBytes: number
  /** Bytes that are free now. */
  readonly measure: () => Promise<number>
  /** Monotonic milliseconds. */
  readonly now: () => number
}

const refreshMs = 1000

export class FreeSpace {
  readonly #options: FreeSpaceOptions
  #freeBytes = Number.POSITIVE_INFINITY
  #measuredAt = Number.NEGATIVE_INFINITY
  #measuring: Promise<void> | undefined

  constructor(options: FreeSpaceOptions) {
    this.#options = options
  }

  /** 0 while there is four times the reserve, 1 when only the reserve is left. */
  get pressure(): number {
    const { reserveBytes, now } = this.#options
    if (now() - this.#measuredAt >= refreshMs) this.#measuring ??= this.refresh()
    if (reserveBytes === 0 || this.#freeBytes === Number.POSITIVE_INFINITY) return 0
    const share = (4 * reserveBytes - this.#freeBytes) / (3 * reserveBytes)
    return Math.min(1, Math.max(0, share))
  }

  /** Counts the bytes as taken if there is room for them. */
  take(bytes: number): boolean {
    if (this.#options.now() - this.#measuredAt >= refreshMs) this.#measuring ??= this.refresh()
    // A byte is written twice: to the log, then to a table.
    if (this.#freeBytes - 2 * bytes < this.#options.reserveBytes) return false
    this.#freeBytes -= 2 * bytes
    return true
  }

  /** A disk that cannot be measured counts as having room: the write itself will tell. */
  async refresh(): Promise<void> {
    try {
      this.#freeBytes = await this.#options.measure()
    } catch {
      this.#freeBytes = Number.POSITIVE_INFINITY
    }
    this.#measuredAt = this.#options.now()
    this.#measuring = undefined
  }
}
