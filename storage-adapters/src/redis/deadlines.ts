/** Answers that must come within the same time, each from when it was asked for: one timer for all of them. */

interface Waiting {
  readonly lateAtMs: number
  isDone: boolean
  readonly late: () => void
}

export class Deadlines {
  readonly #ms: number
  /** In the order in which they are late. */
  #waiting: Waiting[] = []
  #from = 0
  #timer: NodeJS.Timeout | undefined

  constructor(ms: number) {
    this.#ms = ms
  }

  /** `late` runs when the returned one was not marked as done in time. */
  begin(late: () => void): { isDone: boolean } {
    const waiting: Waiting = { lateAtMs: performance.now() + this.#ms, isDone: false, late }
    this.#forgetDone()
    this.#waiting.push(waiting)
    this.#schedule(this.#ms)
    return waiting
  }

  #look(): void {
    this.#timer = undefined
    const nowMs = performance.now()
    this.#forgetDone()
    for (;;) {
      const first = this.#waiting[this.#from]
      if (first === undefined) return
      if (first.lateAtMs > nowMs) {
        this.#schedule(first.lateAtMs - nowMs)
        return
      }
      first.isDone = true
      first.late()
      this.#forgetDone()
    }
  }

  /** What is asked keeps the process alive by its connection. */
  #schedule(ms: number): void {
    this.#timer ??= setTimeout(() => this.#look(), ms).unref()
  }

  #forgetDone(): void {
    const waiting = this.#waiting
    while (waiting[this.#from]?.isDone === true) this.#from++
    if (this.#from === waiting.length) {
      this.#waiting = []
      this.#from = 0
    } else if (this.#from > 1_024) {
      this.#waiting = waiting.slice(this.#from)
      this.#from = 0
    }
  }
}
