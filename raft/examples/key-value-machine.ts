/** The state machine of the examples: text under keys. Commands are JSON, which is slow and easy to read. */
import { createHash } from 'node:crypto'
import type { CommittedCommand, StateMachine } from 'raft-ts'

export type KeyValueCommand =
  | { readonly kind: 'put'; readonly key: string; readonly value: string }
  | { readonly kind: 'delete'; readonly key: string }
  /** Puts only if the value is the one that was read before: decided where it is applied. */
  | {
      readonly kind: 'compare-and-set'
      readonly key: string
      readonly expected: string | null
      readonly value: string
    }

export type KeyValueResult = { readonly isDone: boolean }

export function encodeCommand(command: KeyValueCommand): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(command))
}

export class KeyValueMachine implements StateMachine {
  #values = new Map<string, string>()

  /** As far as this member has applied the log; see Raft.readIndex for a read that misses nothing. */
  get(key: string): string | undefined {
    return this.#values.get(key)
  }

  apply(entries: readonly CommittedCommand[]): KeyValueResult[] {
    return entries.map(({ command }) => this.#applyOne(command))
  }

  #applyOne(bytes: Uint8Array): KeyValueResult {
    const command = JSON.parse(new TextDecoder().decode(bytes)) as KeyValueCommand
    const { kind, key } = command
    if (kind === 'delete') return { isDone: this.#values.delete(key) }
    const isExpected =
      kind === 'put' || (this.#values.get(key) ?? null) === (command.expected ?? null)
    if (isExpected) this.#values.set(key, command.value)
    return { isDone: isExpected }
  }

  /** Sorted, so that equal states have equal bytes. */
  snapshot(): Uint8Array {
    const sorted = [...this.#values].sort(([a], [b]) => (a < b ? -1 : 1))
    return new TextEncoder().encode(JSON.stringify(sorted))
  }

  restore(snapshot: Uint8Array): void {
    this.#values = new Map(JSON.parse(new TextDecoder().decode(snapshot)) as [string, string][])
  }

  /** Whole and not incremental: fine for an example, too slow for a million keys. */
  hash(): string {
    return createHash('sha256').update(this.snapshot()).digest('hex')
  }
}
