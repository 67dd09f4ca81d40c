/** When a message expires: by its own time, or by its age in the queue, whichever is earlier. */
import type { NewRecord } from '@robust/storage-adapters'
import { DueHeap } from '../core/due-heap.ts'
import { HEADER, numberHeader } from '../core/queues/headers.ts'
import type { QueuePolicy } from '../core/queues/queue-policy.ts'

/** Wall clock, ms; 0 never. */
export function expiresAtMs(
  record: NewRecord,
  { retentionMs, retentionFrom }: Pick<QueuePolicy, 'retentionMs' | 'retentionFrom'>,
): number {
  const own = numberHeader(record, HEADER.expiresAt) ?? 0
  const sent = retentionFrom === 'sent' ? numberHeader(record, HEADER.sentAt) : undefined
  const byAge = retentionMs === undefined ? 0 : (sent ?? record.timestamp) + retentionMs
  if (own > 0 && byAge > 0) return Math.min(own, byAge)
  return own > 0 ? own : byAge
}

export function isExpired(expiresAt: number, nowMs: number): boolean {
  return expiresAt > 0 && expiresAt <= nowMs
}

interface LanePlace {
  readonly level: number
  readonly offset: number
}

interface SurveyedLane {
  readonly level: number
  readonly next: number
  readonly end: number
  record(offset: number): Promise<NewRecord | undefined>
}

const NOTED_MAX = 100_000
const SURVEYED_AT_ONCE = 2_000

/**
 * Messages with an expiry of their own, which may come anywhere in the queue. Those that are too many to note, and
 * those of the owner before that were not walked past yet, go when it is their turn.
 */
export class Expiring {
  readonly #due = new DueHeap<LanePlace>()
  /** There have been such messages. */
  isUsed = false
  /** Per level: how far the messages of the owner before were looked through, and where they end. */
  readonly #survey = new Map<number, { next: number; readonly end: number }>()

  note(record: NewRecord, place: LanePlace): void {
    const at = numberHeader(record, HEADER.expiresAt)
    if (at === undefined || at <= 0) return
    this.isUsed = true
    if (this.#due.size < NOTED_MAX) this.#due.push(at, place)
  }

  /** What was in the lanes when this owner began is looked through. */
  resume(isUsed: boolean, lanes: readonly SurveyedLane[]): void {
    this.isUsed = isUsed
    if (!isUsed) return
    for (const { level, next, end } of lanes) this.#survey.set(level, { next, end })
  }

  /** Goes on with that, a piece at a time. Rejects with a StorageError. */
  async survey({ lanes }: { readonly lanes: readonly SurveyedLane[] }): Promise<void> {
    for (const lane of lanes) {
      const survey = this.#survey.get(lane.level)
      if (survey === undefined) continue
      survey.next = Math.max(survey.next, lane.next)
      for (let count = 0; count < SURVEYED_AT_ONCE && survey.next < survey.end; count++) {
        const offset = survey.next++
        const record = await lane.record(offset)
        if (record !== undefined) this.note(record, { level: lane.level, offset })
      }
      if (survey.next >= survey.end) this.#survey.delete(lane.level)
    }
  }

  due(nowMs: number): LanePlace[] {
    const due: LanePlace[] = []
    for (let place = this.#due.pop(nowMs); place !== undefined; place = this.#due.pop(nowMs)) {
      due.push(place)
    }
    return due
  }
}
