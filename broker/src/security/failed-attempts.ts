/** Clients that fail to say who they are get their answers ever later, by their address, so that guessing is slow. */
import type { Clock } from '../core/ports/clock.ts'

interface Attempts {
  failed: number
  lastMs: number
}

const FIRST_DELAY_MS = 100
const DELAY_MS_MAX = 5_000
/** After so long without a failure an address begins anew. */
const FORGOTTEN_MS = 60_000
/** Addresses that are remembered; past it the oldest are forgotten first. */
const ADDRESSES_MAX = 10_000

export class FailedAttempts {
  readonly #clock: Clock
  readonly #known = new Map<string, Attempts>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Counts one, and answers how long to hold back the answer to it, ms. */
  failed(address: string): number {
    const nowMs = this.#clock.nowMs()
    const known = this.#known.get(address)
    const isRecent = known !== undefined && nowMs - known.lastMs < FORGOTTEN_MS
    const failed = isRecent ? known.failed + 1 : 1
    this.#known.delete(address)
    this.#known.set(address, { failed, lastMs: nowMs })
    if (this.#known.size > ADDRESSES_MAX) this.#forgetOldest()
    return Math.min(DELAY_MS_MAX, FIRST_DELAY_MS * 2 ** (failed - 1))
  }

  #forgetOldest(): void {
    for (const address of this.#known.keys()) {
      this.#known.delete(address)
      return
    }
  }
}
