/**
 * What is remembered of the clients' sessions: the results that may still be asked for. Bounded, and the
 * same on every member: it changes by log index and sequence only, never by time.
 */

export interface SessionLimits {
  /** The session that was used least lately goes when there are more. */
  readonly sessionsMax: number
  /** Commands of a session whose results are kept; more are forgotten, the oldest first. */
  readonly resultsPerSessionMax: number
}

export const DEFAULT_SESSION_LIMITS: SessionLimits = {
  sessionsMax: 10_000,
  resultsPerSessionMax: 64,
}

/** Plain data, as it lies in a snapshot; sessions in the order in which they were last used. */
export interface SessionRecord {
  readonly id: number
  /** Results below are forgotten, or were never asked for. */
  readonly floor: number
  readonly results: readonly (readonly [sequence: number, result: string])[]
}

interface Session {
  floor: number
  readonly results: Map<number, string>
}

export type Known =
  | { readonly kind: 'no-session' }
  | { readonly kind: 'new' }
  | { readonly kind: 'repeated'; readonly result: string }
  | { readonly kind: 'forgotten' }

export class SessionTable {
  readonly #limits: SessionLimits
  /** A Map keeps the order of insertion: the first one was used least lately. */
  readonly #sessions = new Map<number, Session>()

  constructor(limits: SessionLimits) {
    this.#limits = limits
  }

  get size(): number {
    return this.#sessions.size
  }

  open(id: number): void {
    this.#sessions.set(id, { floor: 1, results: new Map() })
    for (const oldest of this.#sessions.keys()) {
      if (this.#sessions.size <= this.#limits.sessionsMax) return
      this.#sessions.delete(oldest)
    }
  }

  close(id: number): boolean {
    return this.#sessions.delete(id)
  }

  /** Whether a command was carried out before, and how it ended. Counts as a use of the session. */
  lookUp(id: number, sequence: number): Known {
    const session = this.#sessions.get(id)
    if (session === undefined) return { kind: 'no-session' }
    this.#sessions.delete(id)
    this.#sessions.set(id, session)
    const result = session.results.get(sequence)
    if (result !== undefined) return { kind: 'repeated', result }
    return sequence < session.floor ? { kind: 'forgotten' } : { kind: 'new' }
  }

  keep(id: number, sequence: number, result: string): void {
    const session = this.#sessions.get(id)
    if (session === undefined) return
    session.results.set(sequence, result)
    while (session.results.size > this.#limits.resultsPerSessionMax) {
      this.forget(id, Math.min(...session.results.keys()) + 1)
    }
  }

  /** The client will not ask for what is below. */
  forget(id: number, below: number): void {
    const session = this.#sessions.get(id)
    if (session === undefined || below <= session.floor) return
    session.floor = below
    for (const sequence of session.results.keys()) {
      if (sequence < below) session.results.delete(sequence)
    }
  }

  records(): SessionRecord[] {
    return [...this.#sessions].map(([id, { floor, results }]) => ({
      id,
      floor,
      results: [...results],
    }))
  }

  restore(records: readonly SessionRecord[]): void {
    this.#sessions.clear()
    for (const { id, floor, results } of records) {
      this.#sessions.set(id, { floor, results: new Map(results) })
    }
  }
}
