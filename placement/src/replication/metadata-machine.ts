/** The metadata as raft-ts drives it: commands in log order, snapshots, and news of each change. */
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { CommittedCommand, StateMachine } from 'raft-ts'
import { type ApplyResult, applyCommand } from '../metadata/apply.ts'
import { decodeCommand } from '../metadata/commands.ts'
import { decodeInSteps, decodeSnapshot, snapshotChunks } from '../metadata/snapshot.ts'
import { emptyState, type MetadataChange, type MetadataState } from '../metadata/state.ts'
import { hashOfState } from '../metadata/state-hash.ts'

export interface MetadataListener {
  /** After each command that changed nodes, shards or resources, in log order. Must not throw. */
  changed(change: MetadataChange): void
  /** The whole state was replaced by that of a snapshot. Must not throw. */
  restored(): void
}

export class MetadataMachine implements StateMachine {
  readonly #listeners: MetadataListener[] = []
  #state: MetadataState = emptyState()

  /** As of the newest command applied on this member. Not to be changed. */
  get state(): MetadataState {
    return this.#state
  }

  observe(listener: MetadataListener): void {
    this.#listeners.push(listener)
  }

  apply(entries: readonly CommittedCommand[]): ApplyResult[] {
    return entries.map(({ command, index }) => {
      const { result, change } = applyCommand(this.#state, decodeCommand(command), index)
      if (change !== undefined) for (const listener of this.#listeners) listener.changed(change)
      return result
    })
  }

  /** Frozen at the call; encoded a slice a turn, so that a large one holds nobody up. */
  snapshot(): AsyncIterable<Uint8Array> {
    return inTurns(snapshotChunks(this.#state))
  }

  /** Members that have applied the same have the same one. */
  hash(): string {
    return hashOfState(this.#state)
  }

  restore(snapshot: Uint8Array): void {
    this.#replace(decodeSnapshot(snapshot))
  }

  /** A slice a turn: who asks meanwhile is answered from the state before. */
  async prepareRestore(snapshot: Uint8Array): Promise<() => void> {
    const steps = decodeInSteps(snapshot)
    for (;;) {
      const { done, value } = steps.next()
      if (done === true) return () => this.#replace(value)
      await nextTurn()
    }
  }

  #replace(state: MetadataState): void {
    this.#state = state
    for (const listener of this.#listeners) listener.restored()
  }
}

async function* inTurns(chunks: Iterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  for (const chunk of chunks) {
    yield chunk
    await nextTurn()
  }
}
