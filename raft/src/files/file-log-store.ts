/**
 * The log and the election state in segments: files that are filled with zeros ahead and then written over,
 * so that a write costs one flush of its data and none of the file system's. Each write is one frame with
 * a checksum and a number; a segment that holds nothing of the log any more is used again.
 *
 * Only the very last write can have been torn by a crash. One that is damaged before others, or that is
 * known to have been synced, is an error, never a shorter log.
 */
import assert from 'node:assert'
import { randomBytes } from 'node:crypto'
import { LogDamagedError, LogFormatError, LogIdentityError } from '../errors.ts'
import type { LogIdentity, LogStore, LogWrite, StoredLog } from '../ports/log-store.ts'
import { RecordDamagedError } from '../record.ts'
import { type Disk, type DiskFile, NodeDisk } from './disk.ts'
import { FrameEncoder } from './frame.ts'
import { type KnownSegment, LogTail, type Replayed, replay, type SegmentBytes } from './replay.ts'
import {
  decodeHeader,
  encodeHeader,
  SEGMENT_HEADER_BYTES,
  type SegmentHeader,
  segmentName,
  segmentNumber,
} from './segment.ts'
import { Watermark } from './watermark.ts'

export interface FileLogStoreOptions {
  /** Created when missing; one process at a time has it. */
  readonly directory: string
  /** A segment is left when it has reached this size; default 16 MiB. */
  readonly segmentBytes?: number
  /** Instead of the directory, for tests. */
  readonly disk?: Disk
}

const SEGMENT_BYTES = 16 * 1024 * 1024
/** Zeros are written so far ahead, a slice at once, so that a write in between does not wait long. */
const AHEAD_BYTES = 1024 * 1024
const ZEROS = new Uint8Array(256 * 1024)
const UNFINISHED = 'unfinished'
const SPARE = 'spare'

interface Active {
  readonly file: DiskFile
  readonly salt: number
  readonly known: KnownSegment
  /** Where the next frame goes. */
  at: number
  /** The file has this size. */
  filledBytes: number
}

export class FileLogStore implements LogStore {
  readonly #disk: Disk
  readonly #segmentBytes: number
  readonly #encoder = new FrameEncoder()
  #identity: LogIdentity = { clusterId: '', nodeId: '' }
  #unlock: (() => Promise<void>) | undefined
  #watermark: Watermark | undefined
  #active: Active | undefined
  #segments: KnownSegment[] = []
  #hasSpare = false
  /** Without entries, but for those of open. */
  #log = new LogTail(NEW_LOG)
  #sequence = 0
  #filling: Promise<void> | undefined
  #writing: Promise<void> = Promise.resolve()
  #failure: unknown

  constructor(options: FileLogStoreOptions) {
    this.#disk = options.disk ?? new NodeDisk(options.directory)
    this.#segmentBytes = options.segmentBytes ?? SEGMENT_BYTES
  }

  async open(identity: LogIdentity): Promise<StoredLog> {
    this.#identity = identity
    this.#segments = []
    this.#log = new LogTail(NEW_LOG)
    this.#sequence = 0
    this.#unlock = await this.#disk.lock()
    try {
      const names = await this.#disk.names()
      if (names.includes('log')) throw new LogFormatError()
      await this.#disk.remove(UNFINISHED)
      this.#hasSpare = names.includes(SPARE)
      this.#watermark = await Watermark.open(this.#disk)
      const numbers = names.map(segmentNumber).filter((number) => number !== undefined)
      const segments = await this.#readAll(numbers.sort((left, right) => left - right))
      if (segments.length === 0) await this.#initialise()
      else await this.#continue(replay(segments), segments)
    } catch (error) {
      await this.close()
      throw asDamage(error)
    }
    const { hardState, base, entries } = this.#log
    this.#log.entries = []
    return { hardState, base, entries }
  }

  async #readAll(numbers: readonly number[]): Promise<readonly SegmentBytes[]> {
    const { clusterId, nodeId } = this.#identity
    const segments: SegmentBytes[] = []
    for (const number of numbers) {
      const name = segmentName(number)
      const bytes = await this.#disk.read(name)
      if (bytes === undefined) throw new LogDamagedError(`${name} of the log is gone`)
      const header = decodeHeader(bytes, name)
      if (header.clusterId !== clusterId || header.nodeId !== nodeId) {
        const whose = `node ${header.nodeId} of cluster ${header.clusterId}`
        throw new LogIdentityError(`the log belongs to ${whose}`)
      }
      if (header.number !== number) throw new LogDamagedError(`${name} is another segment`)
      segments.push({ header, bytes })
    }
    return segments
  }

  /** The watermark is there before the first segment is, so a segment without one means damage. */
  async #initialise(): Promise<void> {
    if ((this.#watermark?.value ?? 0) > 0)
      throw new LogDamagedError('the log has lost its segments')
    this.#watermark ??= await Watermark.create(this.#disk)
    await this.#begin(1)
  }

  async #continue(found: Replayed, segments: readonly SegmentBytes[]): Promise<void> {
    const { log, sequence, lastFrame } = found
    if (this.#watermark === undefined) throw new LogDamagedError('the watermark file is gone')
    if (sequence < this.#watermark.value) {
      const durable = `write ${this.#watermark.value} was durable`
      throw new LogDamagedError(`${durable} but the log ends with write ${sequence}`)
    }
    const { header, bytes } = segments.at(-1) as SegmentBytes
    const known = found.segments.at(-1) as KnownSegment
    const file = await this.#disk.open(segmentName(header.number), true)
    const { salt } = header
    this.#active = { file, salt, known, at: lastFrame.end, filledBytes: bytes.byteLength }
    // It was read, and may never have reached the disk if the process died of a failed sync.
    await file.write(bytes.subarray(lastFrame.from, lastFrame.end), lastFrame.from)
    this.#segments = found.segments
    this.#log = log
    this.#sequence = sequence
    this.#watermark.advance(sequence)
  }

  write(write: LogWrite): Promise<void> {
    this.#writing = this.#write(write)
    return this.#writing
  }

  async #write(write: LogWrite): Promise<void> {
    if (this.#active === undefined) throw new Error('the log store is closed')
    if (this.#failure !== undefined) {
      throw new Error('an earlier write failed', { cause: this.#failure })
    }
    try {
      await this.#append(write)
      if (write.compactTo !== undefined || write.reset !== undefined) await this.#dropSegments()
    } catch (error) {
      this.#failure = error
      throw error
    }
  }

  async #append(write: LogWrite): Promise<void> {
    const sequence = this.#sequence + 1
    const encode = (): Uint8Array =>
      this.#encoder.encode(write, { sequence, salt: this.#current.salt })
    let frame = encode()
    if (this.#isFullFor(frame.byteLength)) {
      await this.#begin(this.#current.known.number + 1)
      frame = encode()
    }
    const active = this.#current
    const end = active.at + frame.byteLength
    if (end > active.filledBytes) {
      await this.#filling
      active.filledBytes = Math.max(active.filledBytes, end)
    }
    await active.file.write(frame, active.at)
    active.at = end
    this.#sequence = sequence
    this.#note(write, active.known)
    this.#watermark?.advance(sequence)
    this.#fillAhead(active)
  }

  get #current(): Active {
    assert(this.#active !== undefined, 'the log store is open')
    return this.#active
  }

  /** A frame that is larger than a segment has one for itself. */
  #isFullFor(bytes: number): boolean {
    const { at } = this.#current
    return at > SEGMENT_HEADER_BYTES && at + bytes > this.#segmentBytes
  }

  /** What the header of the next segment will say, and which segments still hold entries. */
  #note(write: LogWrite, known: KnownSegment): void {
    if (write.reset !== undefined) for (const segment of this.#segments) segment.highestIndex = 0
    known.highestIndex = Math.max(known.highestIndex, write.entries.at(-1)?.index ?? 0)
    this.#log.apply(write)
    // The driver keeps the entries.
    this.#log.entries = []
  }

  /** A segment has its name only when its header is durable, so one with a name has a header. */
  async #begin(number: number): Promise<void> {
    const before = this.#active
    await this.#filling
    const salt = randomBytes(4).readUInt32BE()
    const { hardState, base, last } = this.#log
    const position = { hardState, base, last: { index: last.index, term: last.term } }
    const firstSequence = this.#sequence + 1
    const header: SegmentHeader = { ...this.#identity, number, salt, firstSequence, ...position }
    const isReused = this.#hasSpare
    if (isReused) {
      await this.#disk.rename(SPARE, UNFINISHED)
      this.#hasSpare = false
      // Else a power loss could show the new header under the name that the file had.
      await this.#disk.syncNames()
    }
    const file = await this.#disk.open(UNFINISHED, true)
    await file.write(encodeHeader(header), 0)
    await this.#disk.rename(UNFINISHED, segmentName(number))
    await this.#disk.syncNames()
    const known = { number, highestIndex: 0 }
    this.#segments.push(known)
    const filledBytes = isReused ? this.#segmentBytes : SEGMENT_HEADER_BYTES
    this.#active = { file, salt, known, at: SEGMENT_HEADER_BYTES, filledBytes }
    await before?.file.close()
    if (!isReused) this.#fillAhead(this.#active)
  }

  #fillAhead(active: Active): void {
    const wanted = Math.min(this.#segmentBytes, active.at + AHEAD_BYTES)
    const isEnough = active.filledBytes >= Math.min(wanted, active.at + AHEAD_BYTES / 2)
    if (isEnough || this.#filling !== undefined) return
    const fill = async (): Promise<void> => {
      while (active.filledBytes < wanted) {
        const bytes = Math.min(ZEROS.byteLength, wanted - active.filledBytes)
        await active.file.write(ZEROS.subarray(0, bytes), active.filledBytes)
        active.filledBytes += bytes
      }
    }
    // A full disk is told by the write that needs the room.
    this.#filling = fill()
      .catch(() => undefined)
      .finally(() => {
        this.#filling = undefined
      })
  }

  /** Those before the first one that holds an entry behind the base; the newest stays. */
  async #dropSegments(): Promise<void> {
    const { index } = this.#log.base
    let isChanged = false
    while (this.#segments.length > 1 && (this.#segments[0] as KnownSegment).highestIndex <= index) {
      const { number } = this.#segments.shift() as KnownSegment
      if (this.#hasSpare) await this.#disk.remove(segmentName(number))
      else await this.#disk.rename(segmentName(number), SPARE)
      this.#hasSpare = true
      isChanged = true
    }
    if (isChanged) await this.#disk.syncNames()
  }

  async close(): Promise<void> {
    await this.#writing.catch(() => undefined)
    await this.#filling
    const [active, watermark, unlock] = [this.#active, this.#watermark, this.#unlock]
    this.#active = undefined
    this.#watermark = undefined
    this.#unlock = undefined
    await watermark?.close()
    await active?.file.close()
    await unlock?.()
  }
}

const NEW_LOG = {
  hardState: { term: 0, votedFor: undefined },
  base: { index: 0, term: 0 },
  last: { index: 0, term: 0 },
}

function asDamage(error: unknown): unknown {
  const isDamage = error instanceof RecordDamagedError || error instanceof SyntaxError
  return isDamage ? new LogDamagedError('the log cannot be read', { cause: error }) : error
}
