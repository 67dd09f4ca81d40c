/** The clock of the operating system. */
import { performance } from 'node:perf_hooks'
import type { Clock } from '../ports/clock.ts'

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  every: (ms, fn) => {
    const timer = setInterval(fn, ms)
    return { stop: () => clearInterval(timer) }
  },
}
