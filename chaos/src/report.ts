/** What a run was, and what it found: enough to judge it, and to do the same again. */
import type { Verdict } from './checkers/verdict.ts'
import type { Send } from './history.ts'

export interface Event {
  /** Since the first fault, ms. */
  readonly atMs: number
  readonly text: string
}

export interface Recovery {
  readonly fault: string
  readonly workload: string
  /** The longest time that each client was without success, from the fault on until it was served after it, ms. */
  readonly outageMs: readonly number[]
  /** Of each client, from the end of the fault on: the end of the first request made after it that succeeded, ms. */
  readonly fromEndMs: readonly number[]
}

export interface Report {
  readonly version: 1
  readonly scenario: string
  /** The whole file, so that it can be run again. */
  readonly text: string
  readonly seed: number
  readonly durationMs: number
  readonly startedAt: string
  readonly storage: string
  readonly events: readonly Event[]
  readonly faults: number
  /** What could not be done to the cluster, or not be undone, and why: the run says nothing about it. */
  readonly notInflicted: readonly Event[]
  readonly recoveries: readonly Recovery[]
  /** Of each workload, of all that was acknowledged. */
  readonly latencies: Readonly<Record<string, Latency>>
  readonly verdicts: Readonly<Record<string, Verdict>>
}

/** ms */
export interface Latency {
  readonly medianMs: number
  readonly p99Ms: number
  readonly worstMs: number
}

export function latencyOf(
  sends: readonly Pick<Send, 'startedMs' | 'endedMs' | 'outcome'>[],
): Latency {
  const ms = sends
    .filter(({ outcome }) => outcome === 'ok')
    .map(({ startedMs, endedMs }) => endedMs - startedMs)
  const at = (share: number): number => percentile(ms, share) ?? 0
  return { medianMs: at(0.5), p99Ms: at(0.99), worstMs: at(1) }
}

export function isGood({ verdicts }: Pick<Report, 'verdicts'>): boolean {
  return Object.values(verdicts).every(({ findings }) => findings.length === 0)
}

/** Smallest value that this share of all does not exceed; undefined: there are none. */
export function percentile(values: readonly number[], share: number): number | undefined {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * share) - 1)]
}

export interface RecoveryRow {
  readonly fault: string
  readonly workload: string
  readonly times: number
  readonly medianMs: number
  readonly p95Ms: number
  readonly worstMs: number
}

/** By kind of fault and workload; each client counts. */
export function recoveryRows(recoveries: readonly Recovery[]): readonly RecoveryRow[] {
  const groups = new Map<string, { fault: string; workload: string; times: number; ms: number[] }>()
  for (const recovery of recoveries) {
    const { fault, workload } = recovery
    const key = `${fault}\0${workload}`
    const group = groups.get(key) ?? { fault, workload, times: 0, ms: [] }
    group.times++
    group.ms.push(...recovery.outageMs)
    groups.set(key, group)
  }
  return [...groups.values()].map(({ fault, workload, times, ms }) => ({
    ...{ fault, workload, times },
    medianMs: percentile(ms, 0.5) ?? 0,
    p95Ms: percentile(ms, 0.95) ?? 0,
    worstMs: percentile(ms, 1) ?? 0,
  }))
}
