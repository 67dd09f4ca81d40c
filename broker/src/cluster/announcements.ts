/**
 * Filters that every peer must know before a subscriber may be told that it is subscribed. Numbered; each
 * peer confirms in order; a number is settled when every member has confirmed it, and no broker that was
 * removed without a word can still acknowledge by what it knew.
 */
import { ACKNOWLEDGE_GRACE_MS } from '../core/limits.ts'
import type { Clock } from '../core/ports/clock.ts'

interface Waiter {
  readonly sequence: number
  readonly resolve: () => void
}

export class Announcements {
  #sequence = 0
  readonly #confirmed = new Map<string, number>()
  #waiters: Waiter[] = []
  readonly #clock: Clock
  #lastGhostMs = Number.NEGATIVE_INFINITY

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** The number of the newest announcement. */
  get newest(): number {
    return this.#sequence
  }

  next(): number {
    this.#sequence++
    return this.#sequence
  }

  /**
   * Members that are not named any more are not waited for, but for the time that they may acknowledge
   * without knowing, unless they have `left` in order. New ones have confirmed nothing.
   */
  members(names: readonly string[], left: (name: string) => boolean = () => false): void {
    for (const name of this.#confirmed.keys()) {
      if (names.includes(name)) continue
      this.#confirmed.delete(name)
      if (left(name)) continue
      this.#lastGhostMs = this.#clock.nowMs() + ACKNOWLEDGE_GRACE_MS
      this.#awaitGhosts()
    }
    for (const name of names) if (!this.#confirmed.has(name)) this.#confirmed.set(name, 0)
    this.#settle()
  }

  confirm(name: string, sequence: number): void {
    const known = this.#confirmed.get(name)
    if (known === undefined || known >= sequence) return
    this.#confirmed.set(name, sequence)
    this.#settle()
  }

  /** Resolves when everything up to now is settled. */
  settled(): Promise<void> {
    const sequence = this.#sequence
    if (this.#settledThrough() >= sequence) return Promise.resolve()
    return new Promise((resolve) => this.#waiters.push({ sequence, resolve }))
  }

  /** Timers may run a little early, so the clock has the last word. */
  #awaitGhosts(): void {
    const rest = this.#lastGhostMs - this.#clock.nowMs()
    if (rest > 0) this.#clock.after(rest, () => this.#awaitGhosts())
    else this.#settle()
  }

  #settledThrough(): number {
    if (this.#clock.nowMs() < this.#lastGhostMs) return -1
    let lowest = Number.POSITIVE_INFINITY
    for (const sequence of this.#confirmed.values()) if (sequence < lowest) lowest = sequence
    return lowest
  }

  #settle(): void {
    const lowest = this.#settledThrough()
    const waiting: Waiter[] = []
    for (const waiter of this.#waiters) {
      if (waiter.sequence <= lowest) waiter.resolve()
      else waiting.push(waiter)
    }
    this.#waiters = waiting
  }
}
