/** What a check found. */

export const FINDINGS = [
  'lost',
  'duplicated',
  'reordered',
  'phantom',
  'stuck',
  'aborted read',
  'torn transaction',
  'inconsistent offset',
  'non-monotonic read',
  'not linearizable',
  'undecided',
  'two owners',
] as const

export type FindingKind = (typeof FINDINGS)[number]

export interface Finding {
  readonly kind: FindingKind
  /** Which values, clients or offsets. */
  readonly what: string
}

export interface Verdict {
  readonly acknowledged: number
  readonly unknown: number
  readonly delivered: number
  /** Beyond the first delivery of each value; no finding where the promise is at least once. */
  readonly redelivered: number
  readonly findings: readonly Finding[]
}
