/** How late the event loop is, and how long garbage collections take. */
import { constants, PerformanceObserver } from 'node:perf_hooks'
import { Latencies, NamedLatencies } from '../core/ports/telemetry.ts'

/** Each look wakes the process up, so there are few. */
const LOOK_MS = 100

const KINDS: Readonly<Record<number, string>> = {
  [constants.NODE_PERFORMANCE_GC_MINOR]: 'minor',
  [constants.NODE_PERFORMANCE_GC_MAJOR]: 'major',
  [constants.NODE_PERFORMANCE_GC_INCREMENTAL]: 'incremental',
  [constants.NODE_PERFORMANCE_GC_WEAKCB]: 'weak-callbacks',
}

export class ProcessLatencies {
  readonly loop = new Latencies()
  readonly collections = new NamedLatencies()
  readonly #observer: PerformanceObserver
  readonly #timer: NodeJS.Timeout

  constructor() {
    let before = performance.now()
    this.#timer = setInterval(() => {
      const now = performance.now()
      this.loop.record(Math.max(0, now - before - LOOK_MS))
      before = now
    }, LOOK_MS).unref()
    this.#observer = new PerformanceObserver((list) => {
      for (const entry of list.getEntries()) {
        const { duration, detail } = entry as typeof entry & { readonly detail?: unknown }
        const { kind = 0 } = (detail ?? {}) as { readonly kind?: number }
        this.collections.of(KINDS[kind] ?? 'other').record(duration)
      }
    })
    this.#observer.observe({ entryTypes: ['gc'] })
  }

  stop(): void {
    clearInterval(this.#timer)
    this.#observer.disconnect()
  }
}
