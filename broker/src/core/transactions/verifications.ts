/**
 * Questions to coordinators whether a producer's transaction goes on, while they are asked. An answer counts for
 * nothing when the transaction has ended meanwhile: what is written then would open one that nobody ends (KIP-890).
 */
import type { JoinOutcome } from './transaction-requests.ts'

export class Verification {
  readonly outcome: Promise<JoinOutcome>
  isOver = false
  users = 0

  constructor(outcome: Promise<JoinOutcome>) {
    this.outcome = outcome
  }
}

export class Verifications {
  readonly #byProducer = new Map<number, Map<string, Verification>>()

  /** Whoever asks the same shares the answer, so that writes keep their order. To be given to `done`. */
  begin(producerId: number, about: string, ask: () => Promise<JoinOutcome>): Verification {
    let asked = this.#byProducer.get(producerId)
    if (asked === undefined) {
      asked = new Map()
      this.#byProducer.set(producerId, asked)
    }
    let verification = asked.get(about)
    if (verification === undefined) {
      verification = new Verification(ask())
      asked.set(about, verification)
    }
    verification.users++
    return verification
  }

  done(producerId: number, about: string, verification: Verification): void {
    verification.users--
    const asked = this.#byProducer.get(producerId)
    if (verification.users > 0 || asked?.get(about) !== verification) return
    asked.delete(about)
    if (asked.size === 0) this.#byProducer.delete(producerId)
  }

  /** The producer's transaction ends. */
  end(producerId: number): void {
    for (const verification of this.#byProducer.get(producerId)?.values() ?? []) {
      verification.isOver = true
    }
    this.#byProducer.delete(producerId)
  }
}
