/** Time that passes only when told to, for tests of what is built on the Clock port. */
import type { Clock } from '../ports/clock.ts'

interface Timer {
  readonly everyMs: number
  readonly fn: () => void
  dueMs: number
}

export class ManualClock implements Clock {
  readonly #timers = new Set<Timer>()
  #nowMs: number

  constructor(nowMs = 0) {
    this.#nowMs = nowMs
  }

  nowMs(): number {
    return this.#nowMs
  }

  every(ms: number, fn: () => void): { stop(): void } {
    const timer = { everyMs: Math.max(ms, 1), fn, dueMs: this.#nowMs + Math.max(ms, 1) }
    this.#timers.add(timer)
    return { stop: () => void this.#timers.delete(timer) }
  }

  /** Lets time pass, with every call that falls due on the way, in order. */
  advance(ms: number): void {
    const endMs = this.#nowMs + ms
    for (;;) {
      const next = [...this.#timers].sort((a, b) => a.dueMs - b.dueMs)[0]
      if (next === undefined || next.dueMs > endMs) break
      this.#nowMs = next.dueMs
      next.dueMs += next.everyMs
      next.fn()
    }
    this.#nowMs = endMs
  }
}
