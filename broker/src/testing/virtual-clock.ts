/** A clock that moves when a test says so. Deferred work runs on real microtasks, in order. */
import type { Clock, Timer } from '../core/ports/clock.ts'

export class VirtualClock implements Clock {
  #now = 1_000_000
  #timers: { at: number; run: () => void }[] = []

  nowMs(): number {
    return this.#now
  }

  wallMs(): number {
    return this.#now
  }

  after(ms: number, run: () => void): Timer {
    const timer = { at: this.#now + ms, run }
    this.#timers.push(timer)
    return {
      cancel: () => {
        this.#timers = this.#timers.filter((other) => other !== timer)
      },
    }
  }

  defer(run: () => void): void {
    queueMicrotask(run)
  }

  /** Runs what falls due, in order, and lets promises settle in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms
    for (;;) {
      await settle()
      const next = this.#timers.filter(({ at }) => at <= end).sort((a, b) => a.at - b.at)[0]
      if (next === undefined) break
      this.#timers = this.#timers.filter((timer) => timer !== next)
      this.#now = Math.max(this.#now, next.at)
      next.run()
    }
    this.#now = end
    await settle()
  }
}

/** Lets everything that is ready to run do so. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 5; i++) await new Promise((resolve) => setImmediate(resolve))
}

/** For what real sockets bring about: looks again until it holds. Rejects after a long time. */
export async function eventually(holds: () => boolean): Promise<void> {
  const end = performance.now() + 15_000
  while (!holds()) {
    if (performance.now() > end) throw new Error(`in vain: ${holds}`)
    await new Promise((resolve) => setTimeout(resolve, 2))
  }
}
