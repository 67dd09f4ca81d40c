/**
 * What background tasks may move: a bucket that fills with time, the slower the more the tasks are felt. They
 * are felt when commits of clients take longer while tasks are at work than while they rest; so that this is
 * always known, tasks that go on for long rest for a moment now and then.
 */
import type { Clock } from '../ports/clock.ts'

export interface TaskBudgetOptions {
  readonly clock: Clock
  /** At most; while nobody feels it. */
  readonly bytesPerSecond: number
}

/** What has not been used adds up to this much: steps come one by one, with room for clients in between. */
const BURST_SECONDS = 1 / 128
/** Commits count as beside tasks up to this long after a step, ms. */
const FELT_MS = 100
/** How much longer commits may take beside tasks; the promise is 1.3. */
const RATIO_MAX = 1.15
/** The least share of the full rate, so that tasks get somewhere. */
const SHARE_MIN = 1 / 16
const ADJUST_MS = 100
/** Without a commit for so long nobody is there to feel anything, ms. */
const NOBODY_MS = 1_000
/** Tasks rest so long, so often, to see what commits take without them, ms. */
const REST_MS = 400
const REST_EVERY_MS = 10_000
/** Weight of a new sample in the moving means. */
const BESIDE_WEIGHT = 1 / 16
const ALONE_WEIGHT = 1 / 64

export class TaskBudget {
  readonly #clock: Clock
  readonly #bytesPerSecond: number
  #bytes = 0
  #share = 1
  #filledAtMs: number
  #adjustedAtMs: number
  #stepAtMs = Number.NEGATIVE_INFINITY
  #commitAtMs = Number.NEGATIVE_INFINITY
  #restedAtMs: number
  /** Moving means of what a commit takes, ms. */
  #aloneMs: number | undefined
  #besideMs: number | undefined
  #turn: Promise<void> = Promise.resolve()

  constructor({ clock, bytesPerSecond }: TaskBudgetOptions) {
    this.#clock = clock
    this.#bytesPerSecond = bytesPerSecond
    const now = clock.nowMs()
    this.#filledAtMs = now
    this.#adjustedAtMs = now
    this.#restedAtMs = now
  }

  /** Of the full rate, now. */
  get share(): number {
    return this.#share
  }

  /** Resolves when the bytes that were moved are paid for. First come, first served. */
  take(bytes: number): Promise<void> {
    const mine = this.#turn.then(() => this.#pay(bytes))
    this.#turn = mine
    return mine
  }

  /** A commit of clients took so long, ms. */
  noteCommit(ms: number): void {
    const now = this.#clock.nowMs()
    this.#commitAtMs = now
    if (now - this.#stepAtMs <= FELT_MS + ms) {
      this.#besideMs = moved(this.#besideMs, ms, BESIDE_WEIGHT)
    } else {
      this.#aloneMs = moved(this.#aloneMs, ms, ALONE_WEIGHT)
      this.#restedAtMs = now
    }
  }

  #pay(bytes: number): Promise<void> {
    this.#adjust()
    this.#fill()
    this.#bytes -= bytes
    const now = this.#clock.nowMs()
    this.#stepAtMs = now
    const debtMs = Math.ceil((-this.#bytes / this.#rate) * 1_000)
    const isRestDue = this.#isFelt(now) && now - this.#restedAtMs > REST_EVERY_MS
    if (isRestDue) this.#restedAtMs = now
    const waitMs = Math.max(debtMs, isRestDue ? REST_MS : 0)
    if (waitMs <= 0) return Promise.resolve()
    return new Promise((resolve) => this.#clock.after(waitMs, resolve))
  }

  get #rate(): number {
    return this.#bytesPerSecond * this.#share
  }

  #isFelt(now: number): boolean {
    return now - this.#commitAtMs < NOBODY_MS
  }

  #adjust(): void {
    const now = this.#clock.nowMs()
    if (now - this.#adjustedAtMs < ADJUST_MS) return
    this.#adjustedAtMs = now
    if (!this.#isFelt(now)) this.#share = Math.min(1, this.#share * 2)
    else if (this.#aloneMs === undefined || this.#besideMs === undefined) return
    else if (this.#besideMs > this.#aloneMs * RATIO_MAX) {
      this.#share = Math.max(SHARE_MIN, this.#share * 0.7)
    } else this.#share = Math.min(1, this.#share * 1.1)
  }

  #fill(): void {
    const now = this.#clock.nowMs()
    const filled = this.#bytes + ((now - this.#filledAtMs) / 1_000) * this.#rate
    this.#bytes = Math.min(filled, this.#rate * BURST_SECONDS)
    this.#filledAtMs = now
  }
}

function moved(mean: number | undefined, sample: number, weight: number): number {
  return mean === undefined ? sample : mean + (sample - mean) * weight
}
