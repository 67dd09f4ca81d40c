/**
 * A small file beside the segments: the number of a write that was durable. A damaged last write looks like
 * one that was torn by a crash; a log that ends before this number has lost a synced one.
 * Written after the fact, seldom, and not synced, so it may lag behind: a lower bound, never more.
 */
import { crc32c } from '../crc32c.ts'
import { LogDamagedError } from '../errors.ts'
import { getUint53, setUint53 } from '../record.ts'
import type { Disk, DiskFile } from './disk.ts'

export const WATERMARK_NAME = 'watermark'
const SLOT_BYTES = 16
/** Two slots are written in turn, so that a torn write leaves the other. */
const SLOT_COUNT = 2
const LAG_MS = 50

export class Watermark {
  readonly #file: DiskFile
  #latest: number
  #written: number
  #slot = 0
  #timer: NodeJS.Timeout | undefined
  #running: Promise<void> | undefined

  private constructor(file: DiskFile, value: number) {
    this.#file = file
    this.#latest = value
    this.#written = value
  }

  /** Makes a new file that says 0, durably but for its name. */
  static async create(disk: Disk): Promise<Watermark> {
    const file = await disk.open(WATERMARK_NAME, true)
    for (let slot = 0; slot < SLOT_COUNT; slot += 1) {
      await file.write(encodeSlot(0), slot * SLOT_BYTES)
    }
    await file.close()
    return new Watermark(await disk.open(WATERMARK_NAME, false), 0)
  }

  /** Undefined when there is no file. @throws LogDamagedError */
  static async open(disk: Disk): Promise<Watermark | undefined> {
    const bytes = await disk.read(WATERMARK_NAME)
    if (bytes === undefined) return undefined
    const values = [decodeSlot(bytes, 0), decodeSlot(bytes, 1)].filter(
      (value) => value !== undefined,
    )
    if (values.length === 0) throw new LogDamagedError('the watermark file cannot be read')
    return new Watermark(await disk.open(WATERMARK_NAME, false), Math.max(...values))
  }

  get value(): number {
    return this.#latest
  }

  /** Returns at once; numbers that come within a short while are written as one. */
  advance(value: number): void {
    this.#latest = value
    this.#timer ??= setTimeout(() => {
      this.#timer = undefined
      this.#running ??= this.#drain()
    }, LAG_MS).unref()
  }

  async #drain(): Promise<void> {
    while (this.#written < this.#latest) {
      const value = this.#latest
      // A failure leaves an older number behind, which is still true; the log's own writes report disks.
      await this.#file.write(encodeSlot(value), this.#slot * SLOT_BYTES).catch(() => undefined)
      this.#slot = (this.#slot + 1) % SLOT_COUNT
      this.#written = value
    }
    this.#running = undefined
  }

  async close(): Promise<void> {
    clearTimeout(this.#timer)
    this.#running ??= this.#drain()
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
