/** The load of this broker, as it is told to the Placement Center with each heartbeat. */
import { monitorEventLoopDelay } from 'node:perf_hooks'
import type { placement } from '@robust/proto'

export interface Load {
  readonly connections: number
  readonly sessions: number
  readonly subscriptions: number
  /** These since the start of the process. */
  readonly messagesIn: number
  readonly messagesOut: number
  readonly bytesIn: number
  readonly bytesOut: number
  readonly clientsMoved: number
  readonly throttled: boolean
  readonly shards: readonly ShardCounters[]
}

/** Since the shard was opened here. */
export interface ShardCounters {
  readonly shard: number
  /** Tells two times that it was opened apart. */
  readonly epoch: number
  readonly commits: number
  readonly operations: number
  readonly bytes: number
  readonly sessions: number
}

/** Each sample wakes the process up, so there are few. */
const LOOP_RESOLUTION_MS = 50

/** Each call reports the rates since the call before. */
export function createRuntimeReport(load: () => Load): {
  report(): placement.RuntimeReport
  stop(): void
} {
  const loop = monitorEventLoopDelay({ resolution: LOOP_RESOLUTION_MS })
  loop.enable()
  let at = performance.now()
  let before = load()
  let cpu = process.cpuUsage()
  return {
    report: () => {
      const now = performance.now()
      const seconds = Math.max(0.001, (now - at) / 1000)
      const newest = load()
      const spent = process.cpuUsage(cpu)
      const earlier = before
      at = now
      before = newest
      cpu = process.cpuUsage()
      const delayMs = Number.isFinite(loop.mean) ? loop.mean / 1e6 - LOOP_RESOLUTION_MS : 0
      loop.reset()
      return {
        connections: newest.connections,
        sessions: newest.sessions,
        subscriptions: newest.subscriptions,
        messagesInPerSecond: (newest.messagesIn - earlier.messagesIn) / seconds,
        messagesOutPerSecond: (newest.messagesOut - earlier.messagesOut) / seconds,
        bytesInPerSecond: (newest.bytesIn - earlier.bytesIn) / seconds,
        bytesOutPerSecond: (newest.bytesOut - earlier.bytesOut) / seconds,
        eventLoopDelayMs: Math.max(0, delayMs),
        memoryBytes: process.memoryUsage.rss(),
        cpuFraction: (spent.user + spent.system) / 1e6 / seconds,
        shards: shardRates(newest.shards, earlier.shards, seconds),
        throttled: newest.throttled,
        clientsMoved: newest.clientsMoved,
      }
    },
    stop: () => loop.disable(),
  }
}

/** A shard that was opened since the last report counts from its opening. */
export function shardRates(
  newest: readonly ShardCounters[],
  earlier: readonly ShardCounters[],
  seconds: number,
): placement.ShardLoad[] {
  const known = new Map(earlier.map((counters) => [counters.shard, counters]))
  return newest.map((now) => {
    const last = known.get(now.shard)
    const before = last?.epoch === now.epoch ? last : undefined
    return {
      shard: now.shard,
      commitsPerSecond: (now.commits - (before?.commits ?? 0)) / seconds,
      operationsPerSecond: (now.operations - (before?.operations ?? 0)) / seconds,
      bytesPerSecond: (now.bytes - (before?.bytes ?? 0)) / seconds,
      sessions: now.sessions,
    }
  })
}
