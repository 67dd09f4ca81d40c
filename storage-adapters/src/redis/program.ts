/** One call of the commit script, collected from the operations of one or several commits of a shard. */

import { type BatchId, formatBatchId, type ShardKeys } from './keys.ts'
import type { Argument } from './link.ts'

export class Program {
  readonly keys: string[]
  /** Nothing in it takes room: it may run when memory is short. */
  isFreeing = true
  readonly #shardKeys: ShardKeys
  readonly #streams = new Map<string, number>()
  readonly #logs: Argument[] = []
  readonly #values: Argument[] = []

  constructor(shardKeys: ShardKeys) {
    this.#shardKeys = shardKeys
    this.keys = [shardKeys.head, shardKeys.logs, shardKeys.values, shardKeys.keys]
  }

  append(log: string, id: BatchId, batch: Buffer): void {
    this.isFreeing = false
    this.#logs.push('a', this.#stream(log), formatBatchId(id), batch)
  }

  /** Batches whose records lie before the offset go. */
  trim(log: string, startOffset: number): void {
    this.#logs.push('t', this.#stream(log), startOffset + 1)
  }

  dropBatches(log: string): void {
    this.#logs.push('u', this.#stream(log))
  }

  put(key: string, value: Buffer): void {
    this.isFreeing = false
    this.#values.push('p', key, value)
  }

  delete(key: string): void {
    this.#values.push('d', key)
  }

  deleteRange(from: string, to: string): void {
    this.#values.push('r', `[${from}`, to === '' ? '+' : `(${to}`)
  }

  /** `heads`: the head of each log that was touched, undefined when it is gone. */
  args(heads: Iterable<readonly [log: string, head: Buffer | undefined]>): Argument[] {
    const args = this.#logs.concat(this.#values)
    for (const [log, head] of heads) {
      if (head === undefined) args.push('g', log)
      else args.push('l', log, head)
    }
    return args
  }

  /** Its place among the keys, counted as Lua does. */
  #stream(log: string): number {
    let at = this.#streams.get(log)
    if (at === undefined) {
      at = this.keys.push(this.#shardKeys.logPrefix + log)
      this.#streams.set(log, at)
    }
    return at
  }
}
