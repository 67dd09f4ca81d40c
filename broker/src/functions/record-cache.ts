/** Records of a lane that will be wanted soon: those just appended, and those read together with others. */
import type { NewRecord } from '@robust/storage-adapters'
import { recordBytes } from '../core/queues/headers.ts'

export class RecordCache {
  readonly #bytesMax: number
  readonly #records = new Map<number, NewRecord>()
  #bytes = 0

  constructor(bytesMax: number) {
    this.#bytesMax = bytesMax
  }

  get(offset: number): NewRecord | undefined {
    return this.#records.get(offset)
  }

  /** False: there is no room. What is there already is wanted earlier than what comes. */
  add(offset: number, record: NewRecord): boolean {
    if (this.#bytes >= this.#bytesMax) return false
    if (this.#records.has(offset)) return true
    this.#records.set(offset, record)
    this.#bytes += recordBytes(record)
    return true
  }

  delete(offset: number): void {
    const record = this.#records.get(offset)
    if (record === undefined) return
    this.#records.delete(offset)
    this.#bytes -= recordBytes(record)
  }

  clear(): void {
    this.#records.clear()
    this.#bytes = 0
  }
}
