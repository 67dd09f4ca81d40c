/** The platform's time. */
import type { Clock } from '../core/ports/clock.ts'

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after: (ms, run) => {
    const timer = setTimeout(run, ms)
    return { cancel: () => clearTimeout(timer) }
  },
  defer: (run) => {
    setImmediate(run)
  },
}
