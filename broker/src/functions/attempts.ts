/**
 * Receives that may be asked again: the same attempt gets the same messages, while all of them are leased still. Not
 * stored: at the next owner the leases hold, and the attempt gets others.
 */
import { BROKER_ATTEMPT, type Received } from '../core/queues/queue-requests.ts'
import type { Entry } from './entry.ts'

export interface Given {
  readonly entry: Entry
  readonly received: Received
}

interface Attempt {
  readonly given: readonly Given[]
  readonly untilMs: number
}

/** Of clients, as Amazon SQS has it; of brokers, well above what a new stream between two takes. */
const CLIENT_MS = 300_000
const BROKER_MS = 30_000
/** They keep their messages in memory. */
const ATTEMPTS_MAX = 2_000

export class Attempts {
  readonly #nowMs: () => number
  /** Each in the order of their ends. */
  readonly #ofClients = new Map<string, Attempt>()
  readonly #ofBrokers = new Map<string, Attempt>()

  /** Wall clock, ms. */
  constructor(nowMs: () => number) {
    this.#nowMs = nowMs
  }

  remember(name: string, given: readonly Given[]): void {
    const isBrokers = name.startsWith(BROKER_ATTEMPT)
    const attempts = isBrokers ? this.#ofBrokers : this.#ofClients
    const now = this.#nowMs()
    for (const [other, { untilMs }] of attempts) {
      if (untilMs > now && attempts.size < ATTEMPTS_MAX) break
      attempts.delete(other)
    }
    attempts.delete(name)
    attempts.set(name, { given, untilMs: now + (isBrokers ? BROKER_MS : CLIENT_MS) })
  }

  /** What it got before. Undefined: it is another one, or some of it is not leased to it any more. */
  find(name: string): readonly Received[] | undefined {
    const known = this.#ofBrokers.get(name) ?? this.#ofClients.get(name)
    if (known === undefined || known.untilMs <= this.#nowMs()) return undefined
    const holds = known.given.every(
      ({ entry, received }) => entry.state === 'leased' && entry.lease === received.receipt.lease,
    )
    return holds ? known.given.map(({ received }) => received) : undefined
  }
}
