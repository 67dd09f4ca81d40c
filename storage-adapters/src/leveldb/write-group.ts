/**
 * What one synced write will carry, in order. A commit is staged beside the group and joins it as a whole
 * or not at all. Range deletions see what the group already holds, which the database does not yet.
 */
import { type Engine, walkKeys } from './engine.ts'
import type { KeyRange } from './keys.ts'
import type { ShardWriter } from './shard-writer.ts'

export type WriteOperation =
  | { readonly type: 'put'; readonly key: Buffer; readonly value: Buffer }
  | { readonly type: 'del'; readonly key: Buffer }

export class WriteGroup {
  readonly operations: WriteOperation[] = []
  /** Shards whose heads must be written with the group. */
  readonly shards = new Set<ShardWriter>()
  readonly #engine: Engine

  constructor(engine: Engine) {
    this.#engine = engine
  }

  add(operations: readonly WriteOperation[]): void {
    for (const operation of operations) this.operations.push(operation)
  }

  /** Keys in the range as they will be once the group and `staged` are written; in no order. */
  async keysWithin(range: KeyRange, staged: readonly WriteOperation[]): Promise<Iterable<Buffer>> {
    const keys = new Map<string, Buffer>()
    for await (const page of walkKeys(this.#engine, range)) {
      for (const key of page) keys.set(key.toString('latin1'), key)
    }
    for (const operations of [this.operations, staged]) {
      for (const { type, key } of operations) {
        if (key.compare(range.from) < 0 || key.compare(range.to) >= 0) continue
        if (type === 'put') keys.set(key.toString('latin1'), key)
        else keys.delete(key.toString('latin1'))
      }
    }
    return keys.values()
  }
}
