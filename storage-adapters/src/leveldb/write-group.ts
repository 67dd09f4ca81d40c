/**
 * What one synced write will carry, in order. A commit is staged beside the group and joins it as a whole
 * or not at all. Range deletions see what the group already holds, which the database does not yet.
 */
import { StorageError } from '../errors.ts'
import { type Engine, walk, walkKeys } from './engine.ts'
import { describeKey, type KeyRange } from './keys.ts'
import type { Stored } from './recent-batches.ts'
import type { Place } from './segment-file.ts'
import type { ShardWriter } from './shard-writer.ts'
import { decodePlace, isPlace } from './stored-values.ts'

export interface PutOperation {
  readonly type: 'put'
  readonly key: Buffer
  readonly value: Buffer
  /** It may go to a segment file. */
  readonly isBatch?: true
  /** Where it was before. */
  readonly from?: Place
  /** Where it is already, ahead of the write. */
  place?: Place
  /** To be told where it is, by the write. */
  readonly stored?: Stored
}

export type WriteOperation =
  | PutOperation
  | {
      readonly type: 'del'
      readonly key: Buffer
      /** The stored value, when it is a place in a segment file. */
      readonly from?: Place
    }

export class WriteGroup {
  readonly operations: WriteOperation[] = []
  /** Shards whose heads must be written with the group. */
  readonly shards = new Set<ShardWriter>()
  readonly #engine: Engine

  constructor(engine: Engine) {
    this.#engine = engine
  }

  add(operations: Iterable<WriteOperation>): void {
    for (const operation of operations) this.operations.push(operation)
  }

  /**
   * Deletes what is in the range once the group and `staged` are written; in no order. Batches that are
   * in segment files are released.
   */
  async deletionsWithin(
    range: KeyRange,
    staged: readonly WriteOperation[],
  ): Promise<Iterable<WriteOperation>> {
    const deletions = new Map<string, WriteOperation>()
    for await (const page of walk(this.#engine, range)) {
      for (const [key, stored] of page) {
        // A value can be as short as a place; only batches are places.
        const isBatch = describeKey(key)?.kind === 'batch' && isPlace(stored)
        const from = isBatch ? placeOrNothing(key, stored) : undefined
        deletions.set(key.toString('latin1'), { type: 'del', key, ...(from && { from }) })
      }
    }
    for (const operations of [this.operations, staged]) {
      for (const { type, key } of operations) {
        if (key.compare(range.from) < 0 || key.compare(range.to) >= 0) continue
        if (type === 'put') deletions.set(key.toString('latin1'), { type: 'del', key })
        else deletions.delete(key.toString('latin1'))
      }
    }
    return deletions.values()
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

/** A place that is damaged names no file; its bytes are never released. */
function placeOrNothing(key: Buffer, stored: Buffer): Place | undefined {
  try {
    return decodePlace(key, stored)
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'DATA_LOSS') throw error
    return undefined
  }
}
