/** The decision log: what was decided, when and why, bounded. Part of the replicated state. */

export interface DecisionEvent {
  /** Grows by one with each event. */
  readonly sequence: number
  /** Log index of the command that it came with. */
  readonly index: number
  /** Wall clock of the leader that proposed the command. */
  readonly timeMs: number
  readonly kind: string
  /** A node id. */
  readonly subject: string
  readonly reason: string
  readonly shards: readonly number[]
}

/** About 1 MB of memory and of snapshot. */
export const EVENTS_MAX = 5_000

/** Old events are dropped many at once, so that each append stays cheap. */
const SLACK = 500

export class EventLog {
  #events: DecisionEvent[] = []
  #sequence = 0

  /** Sequence of the newest event ever, 0 for none. */
  get sequence(): number {
    return this.#sequence
  }

  append(event: Omit<DecisionEvent, 'sequence'>): void {
    this.#sequence += 1
    this.#events.push({ sequence: this.#sequence, ...event })
    if (this.#events.length >= EVENTS_MAX + SLACK) this.#events = this.#events.slice(-EVENTS_MAX)
  }

  /** Oldest first, those after a sequence; `limit` 0 means all that are kept. */
  after(sequence: number, limit = 0): readonly DecisionEvent[] {
    const kept = this.#events.slice(-EVENTS_MAX)
    const first = kept[0]?.sequence ?? 1
    const from = Math.max(0, sequence + 1 - first)
    return kept.slice(from, limit === 0 ? undefined : from + limit)
  }

  replace(events: readonly DecisionEvent[], sequence: number): void {
    this.#events = [...events]
    this.#sequence = sequence
  }
}
