/** What a soak was, what it measured, and what that says. */
import type { Report as Round } from '@robust/chaos'
import { type Growth, growthOf, MEASURES, type Measure, RULES } from './growth.ts'
import type { Sample } from './sampler.ts'

export interface SoakReport {
  readonly version: 1
  readonly startedAt: string
  readonly storage: string
  readonly hours: number
  readonly acknowledged: number
  readonly samples: readonly Sample[]
  /** The 99th percentile of each workload in each round, ms. */
  readonly latencies: Readonly<Record<string, readonly number[]>>
  readonly judged: readonly Judged[]
  /** Of checkers, of processes that ended, and of what grew. */
  readonly findings: readonly string[]
}

export interface Judged {
  /** A process, or a workload. */
  readonly of: string
  readonly measure: Measure
  readonly worst: number
  /** Undefined: there are too few points. */
  readonly growth: Growth | undefined
}

export function judge(
  samples: readonly Sample[],
  latencies: SoakReport['latencies'],
): readonly Judged[] {
  const nodes = [...new Set(samples.map(({ node }) => node))]
  const ofProcesses = nodes.flatMap((node) => {
    const own = samples.filter((sample) => sample.node === node)
    return MEASURES.flatMap((measure) => {
      if (measure === 'latency') return []
      const points = own.map((sample) => sample[measure]).filter((point) => point !== undefined)
      return points.length === 0 ? [] : [judged(node, measure, points)]
    })
  })
  const ofLoads = Object.entries(latencies).map(([load, points]) => judged(load, 'latency', points))
  return [...ofProcesses, ...ofLoads]
}

function judged(of: string, measure: Measure, points: readonly number[]): Judged {
  const worst = points.reduce((most, point) => Math.max(most, point), 0)
  return { of, measure, worst, growth: growthOf(points, RULES[measure]) }
}

export function findingsOf(judgements: readonly Judged[]): readonly string[] {
  return judgements.flatMap(({ of, measure, growth }) => {
    if (growth?.hasGrown !== true) return []
    const [first, second] = [growth.first, growth.second].map((value) => text(measure, value))
    return [`${measure} of ${of} grows: ${first}, then ${second}`]
  })
}

/** By workload, what its checker found in a round. */
export function roundFindings({ verdicts }: Round): readonly string[] {
  return Object.entries(verdicts).flatMap(([name, { findings }]) =>
    findings.map(({ kind, what }) => `${kind} ${name}: ${what}`),
  )
}

const TITLES = ['OF', 'MEASURE', 'FIRST HALF', 'SECOND HALF', 'MAY BE', 'WORST', 'GROWS']

export function formatTable(judgements: readonly Judged[]): string {
  const rows = judgements.map(({ of, measure, worst, growth }) => [
    ...[of, measure],
    ...[growth?.first, growth?.second, growth?.allowed, worst].map((value) => text(measure, value)),
    growth === undefined ? 'too short' : growth.hasGrown ? 'YES' : 'no',
  ])
  const widths = TITLES.map((title, at) =>
    Math.max(title.length, ...rows.map((row) => row[at]?.length ?? 0)),
  )
  return [TITLES, ...rows]
    .map((row) =>
      row
        .map((cell, at) => cell.padEnd(widths[at] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

function text(measure: Measure, value: number | undefined): string {
  if (value === undefined) return '-'
  if (measure === 'files') return String(value)
  return measure === 'latency' ? `${value.toFixed(1)} ms` : `${(value / 1024 ** 2).toFixed(1)} MiB`
}
