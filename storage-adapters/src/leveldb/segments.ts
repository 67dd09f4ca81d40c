/**
 * The segment files of a database: which there are, how much of each is still wanted, and the two that are
 * written: by the writes of the database, and ahead of them. The counts are in the database, changed by the write
 * that changes what they count; a file of which nothing is wanted goes. Called by one write at a time; what is
 * appended ahead, and reads, may overlap with everything.
 */

import type { FileHandle } from 'node:fs/promises'
import { mkdir, readdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import { StorageError } from '../errors.ts'
import { sealValue, unsealValue } from '../sealed-values.ts'
import { type Engine, walk } from './engine.ts'
import { segmentKey, segmentOf, segmentRange } from './keys.ts'
import { OpenFiles } from './open-files.ts'
import { appendFrames, createFile, type Frame, type Place, readExactly } from './segment-file.ts'
import { decodeSegmentCount, encodeSegmentCount, type SegmentCount } from './stored-values.ts'
import type { WriteOperation } from './write-group.ts'

export const segmentsName = 'segments'

/** A file that is full is not written any more. */
const segmentBytesMax = 64 * 1024 * 1024
/** Of a full file with less than this share wanted, the rest is copied and the file goes. */
const wantedShareMin = 0.5
const openFilesMax = 128

interface Current {
  readonly segment: number
  readonly file: FileHandle
  position: number
}

export class Segments {
  readonly #folder: string
  readonly #counts: Map<number, SegmentCount>
  readonly #files = new OpenFiles(openFilesMax)
  readonly #changed = new Set<number>()
  readonly #gone = new Set<number>()
  /** Those whose rest cannot be copied: they are damaged, and stay. */
  readonly #stuck = new Set<number>()
  /** Written by commits, and ahead of them. */
  readonly #written: { commits?: Current; ahead?: Current } = {}
  /** What was appended ahead and is not wanted yet: its bytes. */
  readonly #pending = new Map<Place, number>()
  #ahead: Promise<unknown> = Promise.resolve()
  #next: number

  private constructor(folder: string, counts: Map<number, SegmentCount>, next: number) {
    this.#folder = folder
    this.#counts = counts
    this.#next = next
    // What had nothing wanted while it was written, when the process ended.
    for (const [segment, { wantedBytes }] of counts) {
      if (wantedBytes === 0) this.#changed.add(segment)
    }
  }

  /** `isWhole`: nothing of the database is known to be lost, so that a file it does not know is of no use. */
  static async load(directory: string, engine: Engine, isWhole: boolean): Promise<Segments> {
    const folder = join(directory, segmentsName)
    await mkdir(folder, { recursive: true })
    const counts = new Map<number, SegmentCount>()
    for await (const page of walk(engine, segmentRange)) {
      for (const [key, stored] of page) counts.set(segmentOf(key), readCount(key, stored))
    }
    const files = (await readdir(folder)).map((name) => Number(/^(\d+)\.seg$/.exec(name)?.[1] ?? 0))
    const next = Math.max(0, ...files, ...counts.keys()) + 1
    if (isWhole) {
      const unknown = files.filter((segment) => segment > 0 && !counts.has(segment))
      for (const segment of unknown) await rm(pathOf(folder, segment), { force: true })
    }
    return new Segments(folder, counts, next)
  }

  /** Where the values are, on the disk. Rejects with the system's error. */
  async append(frames: readonly Frame[]): Promise<Place[]> {
    const places = await this.#append('commits', frames)
    for (const [at, { value }] of frames.entries()) this.#count(places[at] as Place, value.length)
    return places
  }

  /**
   * The same for a write that comes later, so that other writes need not wait for it. Each place is to be told to
   * `want` by that write, or else to `forget`; a place that the process does not live to tell is of no use.
   */
  appendAhead(frames: readonly Frame[]): Promise<Place[]> {
    const appended = this.#ahead.then(async () => {
      const places = await this.#append('ahead', frames)
      for (const [at, { value }] of frames.entries()) {
        this.#pending.set(places[at] as Place, value.length)
      }
      return places
    })
    this.#ahead = appended.catch(() => undefined)
    return appended
  }

  /** What was appended ahead counts, once the next write is durable. */
  want(place: Place): void {
    this.#count(place, this.#pending.get(place) ?? 0)
    this.#pending.delete(place)
  }

  /** Nobody came to want it. */
  forget(place: Place): void {
    if (this.#pending.delete(place)) this.#changed.add(place.segment)
  }

  /** The value is not wanted any more, once the write that says so is durable. */
  release({ segment }: Place, bytes: number): void {
    const count = this.#counts.get(segment)
    if (count === undefined) return
    const wantedBytes = Math.max(0, count.wantedBytes - bytes)
    this.#counts.set(segment, { ...count, wantedBytes })
    this.#changed.add(segment)
  }

  /** What the write has to say of the counts. */
  operations(): WriteOperation[] {
    const operations = Array.from(this.#changed, (segment): WriteOperation => {
      const key = segmentKey(segment)
      const count = this.#counts.get(segment)
      if (count === undefined || (count.wantedBytes === 0 && !this.#isInUse(segment))) {
        this.#gone.add(segment)
        return { type: 'del', key }
      }
      return { type: 'put', key, value: sealValue(key, encodeSegmentCount(count)) }
    })
    this.#changed.clear()
    return operations
  }

  /** After that write: removes what is not wanted. A file that stays by mistake goes at the next start. */
  async removeGone(): Promise<void> {
    const gone = Array.from(this.#gone)
    this.#gone.clear()
    for (const segment of gone) {
      this.#counts.delete(segment)
      const path = pathOf(this.#folder, segment)
      this.#files.leave(path)
      await rm(path, { force: true })
    }
  }

  /** Undefined: the file has gone meanwhile, or never was. Rejects with DATA_LOSS when it is too short. */
  read({ segment, position }: Place, bytes: number): Promise<Buffer | undefined> {
    return this.use(segment, (file) => readExactly(file, position, bytes))
  }

  /** The full file of which the smallest share is wanted, when that is small enough to copy it. */
  worst(): { readonly segment: number; readonly bytes: number } | undefined {
    let worst: { segment: number; bytes: number; share: number } | undefined
    for (const [segment, { wantedBytes, bytes }] of this.#counts) {
      if (this.#stuck.has(segment) || this.#isInUse(segment)) continue
      const share = wantedBytes / bytes
      if (share < (worst?.share ?? wantedShareMin)) worst = { segment, bytes, share }
    }
    return worst
  }

  giveUp(segment: number): void {
    this.#stuck.add(segment)
  }

  /** Undefined, without a use, when the file is not there. */
  use<T>(segment: number, read: (file: FileHandle) => Promise<T>): Promise<T | undefined> {
    return this.#files.use(pathOf(this.#folder, segment), read)
  }

  async stop(): Promise<void> {
    await this.#ahead
    this.#files.leaveAll()
    for (const stream of ['commits', 'ahead'] as const) {
      await this.#written[stream]?.file.close()
      delete this.#written[stream]
    }
  }

  async #append(stream: 'commits' | 'ahead', frames: readonly Frame[]): Promise<Place[]> {
    const current = await this.#fileOf(stream)
    const places = await appendFrames(current.file, current, frames)
    const { wantedBytes } = this.#counts.get(current.segment) ?? { wantedBytes: 0 }
    this.#counts.set(current.segment, { wantedBytes, bytes: current.position })
    this.#changed.add(current.segment)
    return places
  }

  #count({ segment }: Place, bytes: number): void {
    const count = this.#counts.get(segment)
    if (count === undefined) return
    this.#counts.set(segment, { ...count, wantedBytes: count.wantedBytes + bytes })
    this.#changed.add(segment)
  }

  /** More will be wanted of it. */
  #isInUse(segment: number): boolean {
    const { commits, ahead } = this.#written
    if (segment === commits?.segment || segment === ahead?.segment) return true
    for (const place of this.#pending.keys()) if (place.segment === segment) return true
    return false
  }

  async #fileOf(stream: 'commits' | 'ahead'): Promise<Current> {
    const before = this.#written[stream]
    if (before && before.position < segmentBytesMax) return before
    const segment = this.#next
    this.#next += 1
    const file = await createFile(this.#folder, pathOf(this.#folder, segment))
    const current = { segment, file, position: 0 }
    this.#written[stream] = current
    if (before !== undefined) {
      await before.file.close()
      // It counts as full from now on, and may have nothing left that is wanted.
      this.#changed.add(before.segment)
    }
    return current
  }
}

function pathOf(folder: string, segment: number): string {
  return join(folder, `${String(segment).padStart(10, '0')}.seg`)
}

/** A count that is damaged keeps its file. */
function readCount(key: Buffer, stored: Buffer): SegmentCount {
  try {
    return decodeSegmentCount(unsealValue(key, stored))
  } catch (error) {
    if (!(error instanceof StorageError) || error.code !== 'DATA_LOSS') throw error
    return { wantedBytes: Number.POSITIVE_INFINITY, bytes: Number.POSITIVE_INFINITY }
  }
}
