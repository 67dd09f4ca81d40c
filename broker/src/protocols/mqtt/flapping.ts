/** Client ids that connect again and again are kept out for a while, by the broker that saw it. */
import type { Clock } from '../../core/ports/clock.ts'
import type { FlappingPolicy } from './policy.ts'

interface Seen {
  sinceMs: number
  connects: number
  /** 0: it may come in. */
  bannedUntilMs: number
}

/** Names that are remembered; past it the oldest window is forgotten first. */
const SEEN_MAX = 100_000

export class Flapping {
  readonly #clock: Clock
  readonly #policy: () => FlappingPolicy
  readonly #seen = new Map<string, Seen>()

  constructor(clock: Clock, policy: () => FlappingPolicy) {
    this.#clock = clock
    this.#policy = policy
  }

  /** Counts a connection. `begins` when it is the one too many, `banned` while it lasts. */
  connects(clientId: string): 'in' | 'begins' | 'banned' {
    const { connectsMax, windowMs, banMs } = this.#policy()
    if (connectsMax === null) return 'in'
    const now = this.#clock.nowMs()
    const seen = this.#seen.get(clientId)
    if (seen !== undefined && seen.bannedUntilMs > now) return 'banned'
    if (seen === undefined || seen.bannedUntilMs > 0 || now - seen.sinceMs > windowMs) {
      this.#begin(clientId, now)
      return 'in'
    }
    seen.connects++
    if (seen.connects <= connectsMax) return 'in'
    seen.bannedUntilMs = now + banMs
    return 'begins'
  }

  #begin(clientId: string, now: number): void {
    this.#seen.delete(clientId)
    this.#seen.set(clientId, { sinceMs: now, connects: 1, bannedUntilMs: 0 })
    if (this.#seen.size <= SEEN_MAX) return
    for (const [oldest, { bannedUntilMs }] of this.#seen) {
      if (bannedUntilMs > now) continue
      this.#seen.delete(oldest)
      return
    }
  }
}
