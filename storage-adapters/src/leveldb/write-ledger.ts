/**
 * A ring of the numbers of the last writes, one entry per synced write. When LevelDB recovers after a
 * crash it silently skips the parts of its log that are damaged, synced or not; a missing number shows
 * it. Spans more writes than its log can hold, so that no skipped one goes unseen unless it was the last.
 */
import type { StorageError } from '../errors.ts'
import { readCount, sealValue, unsealValue } from '../sealed-values.ts'
import { type Engine, walk } from './engine.ts'
import { ledgerKey, ledgerRange } from './keys.ts'
import { encodeCount } from './stored-values.ts'
import type { WriteOperation } from './write-group.ts'

/** The smallest write takes about 120 bytes of the two write buffers that can be in the log. */
const slots = 2 ** 17

export class WriteLedger {
  /** What is missing, for people; undefined when nothing is. */
  readonly damage: string | undefined
  #last: number

  constructor(last: number, damage?: string) {
    this.#last = last
    this.damage = damage
  }

  static async load(engine: Engine): Promise<WriteLedger> {
    const found = new Set<number>()
    let last = 0
    let unreadable = 0
    for await (const page of walk(engine, ledgerRange)) {
      for (const [key, stored] of page) {
        const number = readEntry(key, stored)
        if (number === undefined) unreadable += 1
        else {
          found.add(number)
          last = Math.max(last, number)
        }
      }
    }
    const missing: number[] = []
    for (let number = Math.max(1, last - slots + 1); number <= last; number += 1) {
      if (!found.has(number)) missing.push(number)
    }
    if (missing.length === 0 && unreadable === 0) return new WriteLedger(last)
    const range = missing.length > 0 ? ` (${missing[0]} to ${missing.at(-1)})` : ''
    return new WriteLedger(
      last,
      `${Math.max(missing.length, unreadable)} synced writes are missing or damaged${range}`,
    )
  }

  /** The entry for the next write. */
  next(): WriteOperation {
    this.#last += 1
    const key = ledgerKey(this.#last % slots)
    return { type: 'put', key, value: sealValue(key, encodeCount(this.#last)) }
  }
}

/** Operations that forget all entries. */
export async function clearLedger(engine: Engine): Promise<WriteOperation[]> {
  const operations: WriteOperation[] = []
  for await (const page of walk(engine, ledgerRange)) {
    for (const [key] of page) operations.push({ type: 'del', key })
  }
  return operations
}

function readEntry(key: Buffer, stored: Buffer): number | undefined {
  try {
    return readCount(unsealValue(key, stored), 0)
  } catch (error) {
    if ((error as StorageError).code !== 'DATA_LOSS') throw error
    return undefined
  }
}
