/**
 * The number of the last write, in a file beside the database that is not synced: a hint, never newer than
 * what is durable. When LevelDB comes back with less than it says, the end of its log is gone, which
 * nothing inside the database can tell. After a power loss it may be old or unreadable, and then says nothing.
 */
import { readFile, rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { StorageError } from '../errors.ts'
import { sealValue, unsealValue } from '../sealed-values.ts'
import { decodeLedgerEntry, type LedgerEntry } from './write-ledger.ts'

export const watermarkName = 'WATERMARK'

const sealKey = Buffer.from(watermarkName)
/** Of each write it would cost as much as the write itself. */
const everyMs = 200

export class Watermark {
  readonly #path: string
  #noted: Buffer | undefined
  #wanted: Buffer | undefined
  #writing: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined

  constructor(directory: string) {
    this.#path = join(directory, watermarkName)
  }

  /** Undefined when there is none that can be read. */
  async read(): Promise<LedgerEntry | undefined> {
    try {
      return decodeLedgerEntry(unsealValue(sealKey, await readFile(this.#path)))
    } catch (error) {
      if (error instanceof StorageError || isAbsent(error)) return undefined
      throw error
    }
  }

  /** What is durable now. Told a little later, or what is noted until then. */
  note(entry: Buffer): void {
    this.#noted = entry
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#wanted = this.#noted
      this.#writing ??= this.#write()
    }, everyMs)
  }

  /** Writes what was noted last. */
  async stop(entry: Buffer): Promise<void> {
    clearTimeout(this.#timer)
    this.#wanted = entry
    this.#writing ??= this.#write()
    await this.#writing
  }

  async remove(): Promise<void> {
    await rm(this.#path, { force: true })
  }

  /** A failure is none: what it tells gets old. */
  async #write(): Promise<void> {
    while (this.#wanted !== undefined) {
      const bytes = sealValue(sealKey, this.#wanted)
      this.#wanted = undefined
      try {
        await writeFile(`${this.#path}.new`, bytes)
        await rename(`${this.#path}.new`, this.#path)
      } catch {
        break
      }
    }
    this.#writing = undefined
  }
}

function isAbsent(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
