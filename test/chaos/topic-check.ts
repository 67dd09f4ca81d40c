/** Judges what a topic holds against what its publishers were told. Pure. */
import type { History, Kept } from './topic-workload.ts'

export interface Verdict {
  /** Acknowledged, and not there. */
  readonly lost: readonly string[]
  /** There before a value that was acknowledged earlier. */
  readonly reordered: readonly string[]
  /** There, and never sent. */
  readonly phantom: readonly string[]
  /** Partitions whose offsets do not follow each other one by one. */
  readonly gaps: readonly string[]
  /** There more than once: allowed, and counted. */
  readonly duplicates: number
}

export function judge(histories: readonly History[], kept: readonly Kept[]): Verdict {
  const first = new Map<string, number>()
  let duplicates = 0
  for (const [at, { address, value }] of kept.entries()) {
    const name = `${address}=${value}`
    if (first.has(name)) duplicates++
    else first.set(name, at)
  }
  const lost: string[] = []
  const reordered: string[] = []
  const sent = new Set<string>()
  for (const { publisher, acknowledged, unknown } of histories) {
    const nameOf = (number: number): string => `chaos/${publisher}=${number}`
    for (const number of [...acknowledged, ...unknown]) sent.add(nameOf(number))
    let before = -1
    for (const name of acknowledged.map(nameOf)) {
      const at = first.get(name)
      if (at === undefined) lost.push(name)
      else if (at < before) reordered.push(name)
      before = Math.max(before, at ?? before)
    }
  }
  const phantom = [...first.keys()].filter((name) => !sent.has(name))
  return { lost, reordered, phantom, gaps: gapsIn(kept), duplicates }
}

function gapsIn(kept: readonly Kept[]): string[] {
  const next = new Map<number, number>()
  const gaps: string[] = []
  for (const { partition, offset } of kept) {
    const expected = next.get(partition) ?? 0
    if (offset !== expected)
      gaps.push(`partition ${partition}: ${offset} where ${expected} was due`)
    next.set(partition, offset + 1)
  }
  return gaps
}

export function isGood({ lost, reordered, phantom, gaps }: Verdict): boolean {
  return lost.length + reordered.length + phantom.length + gaps.length === 0
}
