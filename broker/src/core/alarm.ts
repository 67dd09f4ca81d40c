/** One timer for many things that fall due: set for the earliest of them. */
import type { Clock, Timer } from './ports/clock.ts'

/** Longer waits are taken in pieces: timers hold 31 bits of milliseconds. */
const WAIT_MS_MAX = 3_600_000

export class Alarm {
  readonly #clock: Clock
  readonly #ring: () => void
  #timer: Timer | undefined
  #at = Number.POSITIVE_INFINITY
  #stopped = false

  /** `ring` sets it again for what is still to come. */
  constructor(clock: Clock, ring: () => void) {
    this.#clock = clock
    this.#ring = ring
  }

  /** Rings at this wall clock time, ms, or earlier. */
  set(at: number | undefined): void {
    if (at === undefined || at >= this.#at || this.#stopped) return
    this.#timer?.cancel()
    this.#at = at
    const waitMs = Math.min(Math.max(0, at - this.#clock.wallMs()), WAIT_MS_MAX)
    this.#timer = this.#clock.after(waitMs, () => {
      this.#at = Number.POSITIVE_INFINITY
      this.#timer = undefined
      this.#ring()
    })
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }
}
