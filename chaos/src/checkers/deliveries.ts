/** From what was sent and what was delivered to what was lost, doubled, reordered or made up. */
import type { Delivery, Send } from '../history.ts'
import type { Finding, Verdict } from './verdict.ts'

export interface DeliveryPromise {
  /** A value comes once, also when its sender was not told that it was taken. */
  readonly exactlyOnce: boolean
  /** Values of one sender come to a stream in the order in which they were sent. */
  readonly ordered: boolean
}

export function checkDeliveries(
  sends: readonly Send[],
  deliveries: readonly Delivery[],
  promise: DeliveryPromise,
): Verdict {
  const sent = new Map(sends.map((send, at) => [send.value, { ...send, at }]))
  const counts = countsOf(deliveries)
  const acknowledged = sends.filter(({ outcome }) => outcome === 'ok')
  const redelivered = [...counts.values()].reduce((sum, count) => sum + count - 1, 0)
  const found: Finding[] = []
  for (const { value } of acknowledged) {
    if (!counts.has(value)) found.push({ kind: 'lost', what: value })
  }
  for (const [value, count] of counts) {
    const outcome = sent.get(value)?.outcome
    if (outcome === undefined) found.push({ kind: 'phantom', what: `${value} was never sent` })
    if (outcome === 'fail') found.push({ kind: 'phantom', what: `${value} was refused` })
    if (promise.exactlyOnce && count > 1) {
      found.push({ kind: 'duplicated', what: `${value}, ${count} times` })
    }
  }
  if (promise.ordered) found.push(...reorderedIn(deliveries, sent))
  return {
    acknowledged: acknowledged.length,
    unknown: sends.filter(({ outcome }) => outcome === 'unknown').length,
    delivered: counts.size,
    redelivered,
    findings: found,
  }
}

function countsOf(deliveries: readonly Delivery[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const { value } of deliveries) counts.set(value, (counts.get(value) ?? 0) + 1)
  return counts
}

/** Of first deliveries only: what comes again comes later than it was sent. */
function reorderedIn(
  deliveries: readonly Delivery[],
  sent: ReadonlyMap<string, Send & { readonly at: number }>,
): readonly Finding[] {
  const seen = new Set<string>()
  const last = new Map<string, { at: number; value: string }>()
  const found: Finding[] = []
  for (const { value, stream } of deliveries) {
    const send = sent.get(value)
    if (send === undefined || seen.has(value)) continue
    seen.add(value)
    const lane = `${stream}\0${send.client}`
    const before = last.get(lane)
    if (before !== undefined && before.at > send.at) {
      found.push({ kind: 'reordered', what: `${value} came after ${before.value} (${stream})` })
    } else last.set(lane, { at: send.at, value })
  }
  return found
}
