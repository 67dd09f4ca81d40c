/**
 * Gives committed entries to the state machine, in slices, and answers who proposed them. Takes the hash
 * of the state exactly at each state-check entry, and holds it against the verdict of the majority.
 */
import { entryBytes } from '../core/log.ts'
import type { LogEntry } from '../core/messages.ts'
import type { RaftNode } from '../core/node.ts'
import { decodeVerdict } from '../core/state-check.ts'
import { StateDeviationError } from '../errors.ts'
import type { Clock } from '../ports/clock.ts'
import type { CommittedCommand, StateMachine } from '../ports/state-machine.ts'
import type { ProposalResult } from '../raft.ts'

/** Entries given to the state machine at once; small, so that a turn can end in time. */
const APPLY_SLICE = 64
/** A turn that applied for so long lets the event loop go first. */
const APPLY_TURN_MS = 5
/** Own hashes that wait for their verdict. */
const HASHES_KEPT = 8

export interface ApplierOptions {
  readonly node: RaftNode
  readonly stateMachine: StateMachine
  readonly clock: Clock
  /** A command was applied. */
  applied(outcome: ProposalResult): void
  /** So much of the log was applied. */
  progressed(entries: number, bytes: number): void
}

export class Applier {
  readonly #options: ApplierOptions
  readonly #ownHashes = new Map<number, string>()

  constructor(options: ApplierOptions) {
    this.#options = options
  }

  /**
   * Returns whether there is more than one turn may take.
   * @throws StateDeviationError, and what the state machine throws: fatal.
   */
  applyCommitted(): boolean {
    const { clock, node } = this.#options
    const startMs = clock.nowMs()
    for (;;) {
      const entries = node.nextCommitted(APPLY_SLICE)
      if (entries.length === 0) return false
      this.#apply(entries)
      if (clock.nowMs() - startMs >= APPLY_TURN_MS) return true
    }
  }

  /** The state is that of a snapshot: what was found before says nothing about it. */
  restored(): void {
    this.#ownHashes.clear()
  }

  #apply(entries: readonly LogEntry[]): void {
    let commands: CommittedCommand[] = []
    let bytes = 0
    for (const entry of entries) {
      bytes += entryBytes(entry)
      const { index, term, data, kind } = entry
      if (kind === 'command') commands.push({ index, term, command: data })
      if (kind !== 'state-check' && kind !== 'state-verdict') continue
      this.#applyCommands(commands)
      commands = []
      if (kind === 'state-check') this.#takeHash(index)
      else this.#compare(data)
    }
    this.#applyCommands(commands)
    const last = entries.at(-1)
    if (last !== undefined) this.#options.node.applied(last.index)
    this.#options.progressed(entries.length, bytes)
  }

  #applyCommands(commands: readonly CommittedCommand[]): void {
    if (commands.length === 0) return
    const results = this.#options.stateMachine.apply(commands)
    if (results.length !== commands.length) {
      throw new Error('the state machine must return one result per entry')
    }
    for (const [at, { index, term }] of commands.entries()) {
      this.#options.applied({ index, term, result: results[at] })
    }
  }

  #takeHash(index: number): void {
    const hash = this.#options.stateMachine.hash?.()
    if (hash === undefined) return
    this.#ownHashes.set(index, hash)
    for (const old of this.#ownHashes.keys()) {
      if (this.#ownHashes.size <= HASHES_KEPT) break
      this.#ownHashes.delete(old)
    }
    this.#options.node.reportStateHash(index, hash)
  }

  #compare(data: Uint8Array): void {
    const { index, hash } = decodeVerdict(data)
    const own = this.#ownHashes.get(index)
    this.#ownHashes.delete(index)
    if (own !== undefined && own !== hash) {
      throw new StateDeviationError({ index, hash: own, expected: hash })
    }
  }
}
