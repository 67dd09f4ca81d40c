/**
 * Messages and what must be durable before they may leave. A promise to a peer (a vote, an acknowledged
 * entry, a term) leaves only after the write that keeps it; a message of an old term never leaves late.
 */
import type { RaftMessage } from './messages.ts'

export interface Requirement {
  /** The log must be durable up to here. */
  readonly stableIndex: number
  /** The election state with this number must be durable. */
  readonly hardStateVersion: number
}

interface HeldMessage {
  readonly message: RaftMessage
  readonly requirement: Requirement
}

export class Outbox {
  #free: RaftMessage[] = []
  #held: HeldMessage[] = []

  /** Leaves with the next take. */
  push(message: RaftMessage): void {
    this.#free.push(message)
  }

  hold(message: RaftMessage, requirement: Requirement): void {
    this.#held.push({ message, requirement })
  }

  /** Frees what is durable by now, in order. */
  release(durable: Requirement): void {
    if (this.#held.length === 0) return
    const rest: HeldMessage[] = []
    for (const item of this.#held) {
      const { stableIndex, hardStateVersion } = item.requirement
      const isFree =
        stableIndex <= durable.stableIndex && hardStateVersion <= durable.hardStateVersion
      if (isFree) this.#free.push(item.message)
      else rest.push(item)
    }
    this.#held = rest
  }

  /** The term changed: what was promised in the old one and is not out is void. */
  dropHeld(): void {
    this.#held = []
  }

  get isEmpty(): boolean {
    return this.#free.length === 0
  }

  take(): readonly RaftMessage[] {
    const messages = this.#free
    this.#free = []
    return messages
  }
}
