/** Time, as the core and the protocols take it. */

export interface Timer {
  cancel(): void
}

export interface Clock {
  /** Monotonic, ms. */
  nowMs(): number
  /** Wall clock, ms since the epoch; only for stamps that outlive the process. */
  wallMs(): number
  after(ms: number, run: () => void): Timer
  /** Runs `run` once, after the input that is ready now has been handled. */
  defer(run: () => void): void
}
