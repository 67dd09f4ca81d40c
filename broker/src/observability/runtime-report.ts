/** The load of this broker, as it is told to the Placement Center with each heartbeat. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { placement } from '@robust/proto'

export interface LoadSource {
  connections(): number
  sessions(): number
  subscriptions(): number
  /** Since the start of the process. */
  totals(): { messagesIn: number; messagesOut: number; bytesIn: number; bytesOut: number }
}

const LOOP_RESOLUTION_MS = 10

/** Each call reports the rates since the call before. */
export function createRuntimeReport(source: LoadSource): {
  report(): placement.RuntimeReport
  stop(): void
} {
  const loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS })
  loop.enable()
  let at = performance.now()
  let totals = source.totals()
  let cpu = process.cpuUsage()
  return {
    report: () => {
      const now = performance.now()
      const seconds = Math.max(0.001, (now - at) / 1000)
      const newest = source.totals()
      const spent = process.cpuUsage(cpu)
      const before = totals
      at = now
      totals = newest
      cpu = process.cpuUsage()
      const delayMs = Number.isFinite(loop.mean) ? loop.mean / 1e6 - LOOP_RESOLUTION_MS : 0
      loop.reset()
      return {
        connections: source.connections(),
        sessions: source.sessions(),
        subscriptions: source.subscriptions(),
        messagesInPerSecond: (newest.messagesIn - before.messagesIn) / seconds,
        messagesOutPerSecond: (newest.messagesOut - before.messagesOut) / seconds,
        bytesInPerSecond: (newest.bytesIn - before.bytesIn) / seconds,
        bytesOutPerSecond: (newest.bytesOut - before.bytesOut) / seconds,
        eventLoopDelayMs: Math.max(0, delayMs),
        memoryBytes: process.memoryUsage.rss(),
        cpuFraction: (spent.user + spent.system) / 1e6 / seconds,
      }
    },
    stop: () => loop.disable(),
  }
}
