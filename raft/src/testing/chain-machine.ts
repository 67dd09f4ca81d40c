/** A state machine for tests: (count, hash of everything applied), so that any divergence shows at once. */
import { createHash } from 'node:crypto'
import type { CommittedCommand, StateMachine } from '../ports/state-machine.ts'

export class ChainMachine implements StateMachine {
  count = 0
  digest = ''
  readonly indexes: number[] = []

  /** The result of a command is its number. */
  apply(entries: readonly CommittedCommand[]): unknown[] {
    return entries.map((entry) => {
      this.count += 1
      this.indexes.push(entry.index)
      this.digest = createHash('sha256').update(this.digest).update(entry.command).digest('hex')
      return this.count
    })
  }

  snapshot(): Uint8Array {
    return new TextEncoder().encode(JSON.stringify({ count: this.count, hash: this.digest }))
  }

  restore(snapshot: Uint8Array): void {
    const { count, hash } = JSON.parse(new TextDecoder().decode(snapshot)) as {
      count: number
      hash: string
    }
    this.count = count
    this.digest = hash
  }

  hash(): string {
    return this.digest
  }
}
