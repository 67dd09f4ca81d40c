/**
 * Whether what was measured again and again grows. The first quarter does not count: caches fill, code is compiled. Of
 * what is left, a quantile of the second half may be above that of the first one by a share and a floor.
 */
import { percentile } from '@robust/chaos'

export const MEASURES = ['rss', 'heap', 'files', 'disk', 'latency'] as const
export type Measure = (typeof MEASURES)[number]

export interface Rule {
  /** Which value of a half stands for it: low for memory, since only what a collection leaves is kept. */
  readonly quantile: number
  /** Of the first half's value. */
  readonly share: number
  /** In the unit of what is measured. */
  readonly floor: number
}

const MIB = 1024 * 1024

/** Bytes, open files, and ms. */
export const RULES: Readonly<Record<Measure, Rule>> = {
  rss: { quantile: 0.25, share: 0.1, floor: 24 * MIB },
  heap: { quantile: 0.25, share: 0.1, floor: 8 * MIB },
  files: { quantile: 0.5, share: 0, floor: 16 },
  disk: { quantile: 0.5, share: 0.1, floor: 64 * MIB },
  latency: { quantile: 0.5, share: 0.5, floor: 100 },
}

export interface Growth {
  readonly first: number
  readonly second: number
  /** What the second half may be. */
  readonly allowed: number
  readonly hasGrown: boolean
}

const POINTS_MIN = 8

/** In the order of time. Undefined: these are too few to be judged. */
export function growthOf(points: readonly number[], rule: Rule): Growth | undefined {
  const counted = points.slice(Math.ceil(points.length / 4))
  if (counted.length < POINTS_MIN) return undefined
  const middle = Math.floor(counted.length / 2)
  const first = percentile(counted.slice(0, middle), rule.quantile) ?? 0
  const second = percentile(counted.slice(middle), rule.quantile) ?? 0
  const allowed = first * (1 + rule.share) + rule.floor
  return { first, second, allowed, hasGrown: second > allowed }
}
