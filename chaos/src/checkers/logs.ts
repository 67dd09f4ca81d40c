/**
 * What readers of logs saw, against what producers were told: the checks of the queue workload of Jepsen's reports
 * (lost write, duplicate, inconsistent offset, non-monotonic read, aborted read, torn transaction).
 */
import type { Read, Send, Transaction } from '../history.ts'
import type { Finding } from './verdict.ts'

/** Two readers, or one at two times, saw different values at one place. */
export function inconsistentOffsets(reads: readonly Read[]): readonly Finding[] {
  const known = new Map<string, string>()
  const found = new Map<string, Finding>()
  for (const { partition, offset, value } of reads) {
    const place = `${partition}@${offset}`
    const before = known.get(place)
    if (before === undefined) known.set(place, value)
    else if (before !== value) {
      found.set(place, { kind: 'inconsistent offset', what: `${place}: ${before} and ${value}` })
    }
  }
  return [...found.values()]
}

/** A value at two places of the logs: it was appended twice. */
export function duplicatesIn(reads: readonly Read[]): readonly Finding[] {
  const places = new Map<string, Set<string>>()
  for (const { partition, offset, value } of reads) {
    const known = places.get(value) ?? new Set()
    places.set(value, known.add(`${partition}@${offset}`))
  }
  return [...places]
    .filter(([, where]) => where.size > 1)
    .map(([value, where]) => ({ kind: 'duplicated', what: `${value} at ${[...where].join(', ')}` }))
}

/** A reader that reads a partition from one end to the other goes forward only. */
export function nonMonotonic(reads: readonly Read[]): readonly Finding[] {
  const last = new Map<string, number>()
  const found: Finding[] = []
  for (const { client, partition, offset } of reads) {
    const lane = `${client}\0${partition}`
    const before = last.get(lane) ?? -1
    if (offset <= before) {
      found.push({
        kind: 'non-monotonic read',
        what: `${client} read ${partition}@${offset} after ${before}`,
      })
    }
    last.set(lane, Math.max(before, offset))
  }
  return found
}

/** Values of one sender lie in a partition in the order in which they were sent. */
export function misplaced(sends: readonly Send[], reads: readonly Read[]): readonly Finding[] {
  const sent = new Map(sends.map(({ value, client }, at) => [value, { at, client }]))
  const sorted = [...reads].sort((a, b) => a.offset - b.offset)
  const last = new Map<string, number>()
  const found: Finding[] = []
  for (const { partition, value, offset } of sorted) {
    const send = sent.get(value)
    if (send === undefined) continue
    const lane = `${partition}\0${send.client}`
    if ((last.get(lane) ?? -1) > send.at) {
      found.push({ kind: 'reordered', what: `${value} at ${partition}@${offset}` })
    }
    last.set(lane, Math.max(send.at, last.get(lane) ?? -1))
  }
  return found
}

/** All of a transaction is read, or nothing; nothing of one that was aborted, all of one that was committed. */
export function checkTransactions(
  transactions: readonly Transaction[],
  reads: readonly Read[],
): readonly Finding[] {
  const seen = new Set(reads.map(({ value }) => value))
  const found: Finding[] = []
  for (const { values, outcome } of transactions) {
    const there = values.filter((value) => seen.has(value))
    if (outcome === 'fail') {
      found.push(...there.map((value): Finding => ({ kind: 'aborted read', what: value })))
    } else if (outcome === 'ok') {
      const lost = values.filter((value) => !seen.has(value))
      found.push(...lost.map((value): Finding => ({ kind: 'lost', what: value })))
    } else if (there.length > 0 && there.length < values.length) {
      found.push({
        kind: 'torn transaction',
        what: `${there.join(', ')} of ${values.join(', ')}`,
      })
    }
  }
  return found
}
