/** A token bucket that holds a second's worth, and at least one. The rate is named with each call: it may change. */
import type { Clock } from '../../core/ports/clock.ts'

export class TokenBucket {
  readonly #clock: Clock
  #tokens: number
  #atMs: number

  constructor(clock: Clock, tokens = 1) {
    this.#clock = clock
    this.#tokens = tokens
    this.#atMs = clock.nowMs()
  }

  /** Whether there was one. */
  take(perSecond: number): boolean {
    this.#earn(perSecond)
    if (perSecond <= 0 || this.#tokens < 1) return false
    this.#tokens -= 1
    return true
  }

  /** Takes them, on credit too, and answers how long to wait until the debt is paid, ms. */
  spend(perSecond: number, count: number): number {
    this.#earn(perSecond)
    this.#tokens -= count
    return this.#tokens >= 0 ? 0 : Math.ceil((-this.#tokens / perSecond) * 1_000)
  }

  #earn(perSecond: number): void {
    const nowMs = this.#clock.nowMs()
    const earned = ((nowMs - this.#atMs) / 1_000) * perSecond
    this.#atMs = nowMs
    this.#tokens = Math.min(Math.max(1, perSecond), this.#tokens + earned)
  }
}
