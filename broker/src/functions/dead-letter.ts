/**
 * Where messages go that a queue is done with but that were not acknowledged: into another queue, with the story
 * of how they came there. A message that only runs in circles, without anybody having failed or refused it, is
 * dropped, as RabbitMQ does.
 */
import type { NewRecord } from '@robust/storage-adapters'
import { HEADER, textHeader, withHeaders } from '../core/queues/headers.ts'
import type { LeavingReason } from './entry.ts'

/** One queue and reason, the newest first: the `dead-letters` header is a JSON list of them. */
export interface DeadLetterStep {
  readonly queue: string
  readonly reason: Exclude<LeavingReason, 'redrive'>
  /** Times it left that queue for that reason. */
  readonly count: number
  /** Deliveries there, the last time. */
  readonly deliveries: number
  /** Wall clock, ms: the first time. */
  readonly firstAtMs: number
  readonly lastAtMs: number
  /** What it was published to. */
  readonly address: string | undefined
  /** The expiry that it had, ms since 1970. */
  readonly expiresAtMs: number | undefined
}

export interface Departure {
  readonly queue: string
  readonly to: string
  readonly reason: DeadLetterStep['reason']
  readonly deliveries: number
  readonly nowMs: number
}

export function deadLettersOf(record: NewRecord): DeadLetterStep[] {
  const text = textHeader(record, HEADER.deadLetters)
  if (text === undefined) return []
  try {
    const steps: unknown = JSON.parse(text)
    return Array.isArray(steps) ? (steps as DeadLetterStep[]) : []
  } catch {
    return []
  }
}

/** The record as it arrives there; undefined: it runs in circles, and is dropped. */
export function deadLettered(record: NewRecord, departure: Departure): NewRecord | undefined {
  const before = deadLettersOf(record)
  const { queue, reason, deliveries, nowMs, to } = departure
  const isAutomatic = (step: Pick<DeadLetterStep, 'reason'>) =>
    step.reason === 'expired' || step.reason === 'overflow'
  const wasThere = to === queue || before.some((step) => step.queue === to)
  if (wasThere && isAutomatic({ reason }) && before.every(isAutomatic)) return undefined
  const same = before.find((step) => step.queue === queue && step.reason === reason)
  const expiresAt = textHeader(record, HEADER.expiresAt)
  const step: DeadLetterStep = {
    queue,
    reason,
    count: (same?.count ?? 0) + 1,
    deliveries,
    firstAtMs: same?.firstAtMs ?? nowMs,
    lastAtMs: nowMs,
    address: same?.address ?? textHeader(record, HEADER.address),
    expiresAtMs: expiresAt === undefined ? same?.expiresAtMs : Number(expiresAt),
  }
  const steps = [step, ...before.filter((each) => each !== same)]
  const moved = withHeaders(record, {
    [HEADER.deadLetters]: JSON.stringify(steps),
    // It has expired already, or would there for a reason that is not that queue's.
    [HEADER.expiresAt]: undefined,
    ...arriving(record),
  })
  return { ...moved, timestamp: nowMs }
}

/** Back where it came from: the story stays, so that a circle is still known. */
export function redriven(record: NewRecord, nowMs: number): NewRecord {
  return { ...withHeaders(record, arriving(record)), timestamp: nowMs }
}

/** The queue in which it was before it was dead-lettered for the first time; undefined: it never was. */
export function originOf(record: NewRecord): string | undefined {
  const [newest] = deadLettersOf(record)
  return newest?.queue
}

function arriving(record: NewRecord): Record<string, string | undefined> {
  return {
    [HEADER.sentAt]: textHeader(record, HEADER.sentAt) ?? String(record.timestamp),
    [HEADER.deliverAt]: undefined,
    [HEADER.sequence]: undefined,
  }
}
