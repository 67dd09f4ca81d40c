/** One call of the commit script, collected from the operations of one or several commits of a shard. */

import {
  type BatchId,
  formatBatchId,
  formatOldHead,
  type OldBatch,
  oldFrom,
  type ShardKeys,
} from './keys.ts'
import type { Argument } from './link.ts'

export class Program {
  readonly keys: string[]
  /** Nothing in it takes room: it may run when memory is short. */
  isFreeing = true
  readonly #shardKeys: ShardKeys
  readonly #places = new Map<string, number>()
  #kindsOfPlaces = ''
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
    this.#logs.push('o', this.#old(log), '-', `(${oldFrom(startOffset + 1)}`)
  }

  dropBatches(log: string): void {
    this.#logs.push('u', this.#stream(log))
    this.#logs.push('u', this.#old(log))
  }

  /** Batches that end within (fromOffset, id.nextOffset] go, and this one is in their place. */
  replace(log: string, { fromOffset, id, batch }: Replacement): void {
    this.isFreeing = false
    const [first, end] = [fromOffset + 1, id.nextOffset + 1]
    // The ids of a stream are compared by their first part here, which no two share.
    this.#logs.push('x', this.#stream(log), first, `(${end}-0`)
    this.#logs.push('o', this.#old(log), `[${oldFrom(first)}`, `(${oldFrom(end)}`)
    this.#logs.push('z', this.#old(log), Buffer.concat([Buffer.from(formatOldHead(id)), batch]))
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
    const args: Argument[] = [this.#kinds()]
    for (const argument of this.#logs) args.push(argument)
    for (const argument of this.#values) args.push(argument)
    for (const [log, head] of heads) {
      if (head === undefined) args.push('g', log)
      else args.push('l', log, head)
    }
    return args
  }

  /** A letter for each key but the head: a hash, a sorted set, a stream, or not touched. */
  #kinds(): string {
    const values = this.#values.length > 0 ? 'pz' : '--'
    return `l${values}${this.#kindsOfPlaces}`
  }

  #stream(log: string): number {
    return this.#place(this.#shardKeys.logPrefix + log, 's')
  }

  #old(log: string): number {
    return this.#place(this.#shardKeys.oldPrefix + log, 'o')
  }

  /** Its place among the keys, counted as Lua does. */
  #place(key: string, kind: 's' | 'o'): number {
    let at = this.#places.get(key)
    if (at === undefined) {
      at = this.keys.push(key)
      this.#places.set(key, at)
      this.#kindsOfPlaces += kind
    }
    return at
  }
}

export interface Replacement {
  readonly fromOffset: number
  readonly id: OldBatch
  /** Sealed. */
  readonly batch: Buffer
}
