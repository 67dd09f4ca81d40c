/**
 * Linearizable reads: a read is bound to the commit index and to a round of heartbeats that goes out
 * after it came, and is confirmed when a majority answered that round or a later one. A round number is
 * never used twice, so a late answer cannot confirm a newer read. (thesis section 6.4)
 */

export interface ConfirmedRead {
  readonly token: number
  readonly index: number
}

interface BoundReads {
  readonly round: number
  readonly index: number
  readonly tokens: readonly number[]
}

export class ReadQueue {
  #waiting: number[] = []
  #bound: BoundReads[] = []

  add(token: number): void {
    this.#waiting.push(token)
  }

  get hasWaiting(): boolean {
    return this.#waiting.length > 0
  }

  /** Whether a round is out that reads depend on. */
  get isConfirming(): boolean {
    return this.#bound.length > 0
  }

  /** Call before the heartbeats of `round` go out, with an entry of the own term committed. */
  bind(round: number, commitIndex: number): void {
    if (this.#waiting.length === 0) return
    this.#bound.push({ round, index: commitIndex, tokens: this.#waiting })
    this.#waiting = []
  }

  /** The reads that a majority's answers up to `round` prove. */
  confirm(round: number): ConfirmedRead[] {
    const confirmed = this.#bound.filter((reads) => reads.round <= round)
    if (confirmed.length === 0) return []
    this.#bound = this.#bound.filter((reads) => reads.round > round)
    return confirmed.flatMap((reads) =>
      reads.tokens.map((token) => ({ token, index: reads.index })),
    )
  }
}
