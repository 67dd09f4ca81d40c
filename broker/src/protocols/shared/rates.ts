/**
 * How fast clients may send: messages and bytes a second of each client, of all clients of a user, and of all
 * that came by one listener. Nothing is dropped: who sends more is told how long to wait before it is read again.
 */
import type { Clock } from '../../core/ports/clock.ts'
import { TokenBucket } from './token-bucket.ts'

/** Null: no limit. */
export interface RateLimit {
  readonly messages: number | null
  readonly bytes: number | null
}

export interface RateLimits {
  readonly client: RateLimit
  readonly user: RateLimit
  readonly listener: RateLimit
  /** None is set, which is the usual case. */
  readonly isOpen: boolean
}

/** Of whoever is limited. */
class Pair {
  readonly #messages: TokenBucket
  readonly #bytes: TokenBucket
  /** Connections that share it. */
  users = 0

  constructor(clock: Clock) {
    this.#messages = new TokenBucket(clock)
    this.#bytes = new TokenBucket(clock)
  }

  spend({ messages, bytes }: RateLimit, sent: Sent): number {
    const byMessages = messages === null ? 0 : this.#messages.spend(messages, sent.messages)
    const byBytes = bytes === null ? 0 : this.#bytes.spend(bytes, sent.bytes)
    return Math.max(byMessages, byBytes)
  }
}

export interface Sent {
  readonly messages: number
  readonly bytes: number
}

export class Rates {
  readonly #clock: Clock
  readonly #limits: () => RateLimits
  readonly #shared = new Map<string, Pair>()

  constructor(clock: Clock, limits: () => RateLimits) {
    this.#clock = clock
    this.#limits = limits
  }

  /** For one connection, until `leave`. */
  enter(user: string, listener: string): ClientRates {
    const keys = [`user ${user}`, `listener ${listener}`] as const
    const [ofUser, ofListener] = keys.map((key) => this.#join(key)) as [Pair, Pair]
    // An idle client among many needs none until there is a limit.
    let own = this.#limits().isOpen ? undefined : new Pair(this.#clock)
    return {
      spend: (sent) => {
        const limits = this.#limits()
        if (limits.isOpen) return 0
        own ??= new Pair(this.#clock)
        return Math.max(
          own.spend(limits.client, sent),
          ofUser.spend(limits.user, sent),
          ofListener.spend(limits.listener, sent),
        )
      },
      leave: () => {
        for (const key of keys) this.#part(key)
      },
    }
  }

  #join(key: string): Pair {
    const pair = this.#shared.get(key) ?? new Pair(this.#clock)
    this.#shared.set(key, pair)
    pair.users++
    return pair
  }

  #part(key: string): void {
    const pair = this.#shared.get(key)
    if (pair !== undefined && --pair.users === 0) this.#shared.delete(key)
  }
}

export interface ClientRates {
  /** What came since the last call. Answers for how long not to read, ms. */
  spend(sent: Sent): number
  leave(): void
}
