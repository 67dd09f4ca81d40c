/**
 * A small file beside the database: the number of a write that was durable. LevelDB drops damaged tail
 * records silently at open; a database that is behind this number has lost synced writes.
 * Written after the fact and not synced, so it may lag behind a power loss: a lower bound, never more.
 */
import { type FileHandle, open, readFile } from 'node:fs/promises'
import { crc32c } from '../crc32c.ts'
import { LogDamagedError } from '../errors.ts'
import { getUint53, setUint53 } from '../record.ts'

const SLOT_BYTES = 16
/** Two slots are written in turn, so that a torn write leaves the other. */
const SLOT_COUNT = 2

export class Watermark {
  readonly #file: FileHandle
  #latest: number
  #written: number
  #slot = 0
  #running: Promise<void> | undefined

  private constructor(file: FileHandle, value: number) {
    this.#file = file
    this.#latest = value
    this.#written = value
  }

  /** Makes a new file that says 0, durably. */
  static async create(path: string): Promise<Watermark> {
    const file = await open(path, 'wx')
    for (let slot = 0; slot < SLOT_COUNT; slot += 1) {
      await file.write(encodeSlot(0), 0, SLOT_BYTES, slot * SLOT_BYTES)
    }
    await file.sync()
    return new Watermark(file, 0)
  }

  /** Undefined when there is no file. */
  static async open(path: string): Promise<Watermark | undefined> {
    const bytes = await readFile(path).catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined
      throw error
    })
    if (bytes === undefined) return undefined
    const values = [decodeSlot(bytes, 0), decodeSlot(bytes, 1)].filter(
      (value) => value !== undefined,
    )
    if (values.length === 0) throw new LogDamagedError('the watermark file cannot be read')
    return new Watermark(await open(path, 'r+'), Math.max(...values))
  }

  get value(): number {
    return this.#latest
  }

  /** Returns at once; numbers that come while one is written are written as one. */
  advance(value: number): void {
    this.#latest = value
    this.#running ??= this.#drain()
  }

  async #drain(): Promise<void> {
    while (this.#written < this.#latest) {
      const value = this.#latest
      // A failure leaves an older number behind, which is still true; the log's own sync reports disks.
      await this.#file
        .write(encodeSlot(value), 0, SLOT_BYTES, this.#slot * SLOT_BYTES)
        .catch(() => undefined)
      this.#slot = (this.#slot + 1) % SLOT_COUNT
      this.#written = value
    }
    this.#running = undefined
  }

  async close(): Promise<void> {
    await this.#running
    await this.#file.close()
  }
}

function encodeSlot(value: number): Uint8Array {
  const bytes = new Uint8Array(SLOT_BYTES)
  const view = new DataView(bytes.buffer)
  setUint53(view, 0, value)
  view.setUint32(8, crc32c(bytes.subarray(0, 8)))
  return bytes
}

function decodeSlot(file: Uint8Array, slot: number): number | undefined {
  const bytes = file.subarray(slot * SLOT_BYTES, (slot + 1) * SLOT_BYTES)
  if (bytes.byteLength < SLOT_BYTES) return undefined
  const view = new DataView(bytes.buffer, bytes.byteOffset, SLOT_BYTES)
  return view.getUint32(8) === crc32c(bytes.subarray(0, 8)) ? getUint53(view, 0) : undefined
}
