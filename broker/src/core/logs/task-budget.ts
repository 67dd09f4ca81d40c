/** The bytes that background tasks may move per second: a bucket that fills with time. */
import type { Clock } from '../ports/clock.ts'

/** Tasks of a moment that may run at once before they are slowed. */
const BURST_SECONDS = 1

export class TaskBudget {
  readonly #clock: Clock
  readonly #bytesPerSecond: number
  #bytes: number
  #filledAtMs: number
  #turn: Promise<void> = Promise.resolve()

  constructor(clock: Clock, bytesPerSecond: number) {
    this.#clock = clock
    this.#bytesPerSecond = bytesPerSecond
    this.#bytes = bytesPerSecond * BURST_SECONDS
    this.#filledAtMs = clock.nowMs()
  }

  /** Resolves when the bytes that were moved are paid for. First come, first served. */
  take(bytes: number): Promise<void> {
    const mine = this.#turn.then(() => this.#pay(bytes))
    this.#turn = mine
    return mine
  }

  #pay(bytes: number): Promise<void> {
    this.#fill()
    this.#bytes -= bytes
    if (this.#bytes >= 0) return Promise.resolve()
    const waitMs = Math.ceil((-this.#bytes / this.#bytesPerSecond) * 1_000)
    return new Promise((resolve) => this.#clock.after(waitMs, resolve))
  }

  #fill(): void {
    const now = this.#clock.nowMs()
    const filled = this.#bytes + ((now - this.#filledAtMs) / 1_000) * this.#bytesPerSecond
    this.#bytes = Math.min(filled, this.#bytesPerSecond * BURST_SECONDS)
    this.#filledAtMs = now
  }
}
