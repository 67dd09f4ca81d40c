/** Callers that wait: proposals and changes for their commit, reads for their barrier, a transfer for its end. */
import type { RaftNode } from '../core/node.ts'
import {
  LeadershipLostError,
  LeadershipTransferFailedError,
  type NotLeaderError,
} from '../errors.ts'
import type { ProposalResult } from '../raft.ts'

export interface Waiter<T> {
  resolve(value: T): void
  reject(error: Error): void
}

/** Measures how long callers wait. */
export interface Watch {
  nowMs(): number
  took(ms: number): void
}

interface Timed<T> {
  readonly waiter: Waiter<T>
  readonly sinceMs: number
}

/** The proposals of one leadership: gone with it, their outcome unknown. */
export class PendingProposals {
  readonly #waiters = new Map<number, Timed<ProposalResult>>()
  readonly #watch: Watch
  #term = 0

  constructor(watch: Watch) {
    this.#watch = watch
  }

  add(position: { index: number; term: number }, waiter: Waiter<ProposalResult>): void {
    this.#term = position.term
    this.#waiters.set(position.index, { waiter, sinceMs: this.#watch.nowMs() })
  }

  /** An entry with the term that proposals were appended in is that proposal. */
  applied(outcome: ProposalResult): void {
    if (outcome.term !== this.#term) return
    const timed = this.#waiters.get(outcome.index)
    if (timed === undefined) return
    this.#waiters.delete(outcome.index)
    this.#watch.took(this.#watch.nowMs() - timed.sinceMs)
    timed.waiter.resolve(outcome)
  }

  /** Call when the member is not, or no longer, the leader of `leadingTerm`. */
  keepOnly(leadingTerm: number | undefined): void {
    if (this.#waiters.size > 0 && leadingTerm !== this.#term) {
      this.failAll('the leadership ended before the command was known to be committed')
    }
  }

  failAll(reason: string, cause?: Error): void {
    const waiters = [...this.#waiters.values()]
    this.#waiters.clear()
    for (const { waiter } of waiters) waiter.reject(new LeadershipLostError(reason, { cause }))
  }
}

/** Reads: first for a majority to confirm the leadership, then for the state machine to catch up. */
export class PendingReads {
  readonly #unconfirmed = new Map<number, Timed<number>>()
  readonly #watch: Watch
  #confirmed: (Timed<number> & { readonly index: number })[] = []
  #lastToken = 0
  #term = 0

  constructor(watch: Watch) {
    this.#watch = watch
  }

  get size(): number {
    return this.#unconfirmed.size + this.#confirmed.length
  }

  /** Returns the token to ask the core with; a token is never used again. */
  add(term: number, waiter: Waiter<number>): number {
    this.#term = term
    this.#lastToken += 1
    this.#unconfirmed.set(this.#lastToken, { waiter, sinceMs: this.#watch.nowMs() })
    return this.#lastToken
  }

  confirmed(read: { readonly token: number; readonly index: number }): void {
    const timed = this.#unconfirmed.get(read.token)
    if (timed === undefined) return
    this.#unconfirmed.delete(read.token)
    this.#confirmed.push({ ...timed, index: read.index })
  }

  appliedTo(index: number): void {
    if (this.#confirmed.length === 0) return
    const ready = this.#confirmed.filter((read) => read.index <= index)
    this.#confirmed = this.#confirmed.filter((read) => read.index > index)
    const nowMs = this.#watch.nowMs()
    for (const read of ready) {
      this.#watch.took(nowMs - read.sinceMs)
      read.waiter.resolve(read.index)
    }
  }

  keepOnly(leadingTerm: number | undefined, error: () => NotLeaderError): void {
    if (this.#unconfirmed.size === 0 || leadingTerm === this.#term) return
    const waiters = [...this.#unconfirmed.values()]
    this.#unconfirmed.clear()
    for (const { waiter } of waiters) waiter.reject(error())
  }

  failAll(error: Error): void {
    const waiters = [...this.#unconfirmed.values(), ...this.#confirmed]
    this.#unconfirmed.clear()
    this.#confirmed = []
    for (const { waiter } of waiters) waiter.reject(error)
  }
}

/** A change of members: at most one waits. It can commit in the same moment that ends the leadership. */
export class PendingChange {
  #waiting:
    | { readonly index: number; readonly term: number; readonly waiter: Waiter<{ index: number }> }
    | undefined

  add(position: { index: number; term: number }, waiter: Waiter<{ index: number }>): void {
    this.#waiting = { index: position.index, term: position.term, waiter }
  }

  /** Call after every step of the core, before anything that a change of role ends. */
  settle(node: Pick<RaftNode, 'log' | 'role' | 'term'>): void {
    if (this.#waiting === undefined) return
    const { index, term, waiter } = this.#waiting
    const isCommitted = index <= node.log.commitIndex && node.log.termAt(index) === term
    if (isCommitted) {
      this.#waiting = undefined
      waiter.resolve({ index })
    } else if (node.role !== 'leader' || node.term !== term) {
      this.fail(new LeadershipLostError('the leadership ended before the change was committed'))
    }
  }

  fail(error: Error): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.waiter.reject(error)
  }
}

/** A transfer of the leadership: at most one waits, and never longer than its deadline. */
export class PendingTransfer {
  #waiting:
    | {
        readonly to: string
        readonly term: number
        readonly deadlineTick: number
        readonly waiter: Waiter<void>
      }
    | undefined

  add(
    started: { readonly to: string; readonly term: number; readonly deadlineTick: number },
    waiter: Waiter<void>,
  ): void {
    // One of an earlier leadership may still wait to hear who leads now.
    this.fail(new LeadershipTransferFailedError('timed-out'))
    const { to, term, deadlineTick } = started
    this.#waiting = { to, term, deadlineTick, waiter }
  }

  /** Call after every step of the core. */
  settle(node: Pick<RaftNode, 'term' | 'leaderId' | 'now'>): void {
    if (this.#waiting === undefined) return
    const { to, term, deadlineTick, waiter } = this.#waiting
    if (node.term > term && node.leaderId === to) {
      this.#waiting = undefined
      waiter.resolve()
    } else if (node.term > term && node.leaderId !== undefined) {
      this.fail(new LeadershipTransferFailedError('another-leads'))
    } else if (node.now >= deadlineTick) {
      this.fail(new LeadershipTransferFailedError('timed-out'))
    }
  }

  fail(error: Error): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.waiter.reject(error)
  }
}
