/**
 * A write to the log as it lies in a segment: checksum, magic, length, number, then its parts; padded so
 * that frames begin at multiples of ALIGNMENT. The checksum begins with the salt of the segment, so that a
 * frame of the file's earlier life, or one that is hidden in the bytes of a command, is none.
 */
import { crc32 } from 'node:zlib'
import type { LogEntry } from '../core/messages.ts'
import type { HardState, LogPosition, LogWrite } from '../ports/log-store.ts'
import { getUint53, KINDS, RecordDamagedError, setUint53 } from '../record.ts'

export const ALIGNMENT = 16
const MAGIC = 0x52465231
const HEADER_BYTES = 24
const ENTRY_HEADER_BYTES = 13
const Part = { hardState: 1, reset: 2, truncate: 4, compact: 8 } as const
const NO_VOTE = 0xffff
const FIRST_BUFFER_BYTES = 64 * 1024

export interface Frame {
  readonly sequence: number
  readonly write: LogWrite
  /** Where the next one begins. */
  readonly end: number
}

/** Fills one buffer again and again: what it returns holds until the next call. */
export class FrameEncoder {
  #bytes = Buffer.alloc(FIRST_BUFFER_BYTES)
  #view = viewOf(this.#bytes)
  #at = 0

  encode(write: LogWrite, { sequence, salt }: { sequence: number; salt: number }): Uint8Array {
    const { hardState, reset, truncateFrom, compactTo, entries } = write
    const vote = Buffer.from(hardState?.votedFor ?? '')
    this.#reserve(boundOf(write) + vote.byteLength)
    const view = this.#view
    this.#at = HEADER_BYTES + 1
    let parts = 0
    if (hardState !== undefined) {
      parts |= Part.hardState
      this.#uint53(hardState.term)
      view.setUint16(this.#at, hardState.votedFor === undefined ? NO_VOTE : vote.byteLength)
      this.#bytes.set(vote, this.#at + 2)
      this.#at += 2 + vote.byteLength
    }
    if (reset !== undefined) parts |= this.#position(Part.reset, reset)
    if (truncateFrom !== undefined) {
      parts |= Part.truncate
      this.#uint53(truncateFrom)
    }
    if (compactTo !== undefined) parts |= this.#position(Part.compact, compactTo)
    this.#bytes[HEADER_BYTES] = parts
    this.#uint53(entries[0]?.index ?? 0)
    view.setUint32(this.#at, entries.length)
    this.#at += 4
    for (const entry of entries) this.#entry(entry)
    return this.#finish(sequence, salt)
  }

  #entry({ kind, term, data }: LogEntry): void {
    this.#bytes[this.#at] = KINDS.indexOf(kind)
    setUint53(this.#view, this.#at + 1, term)
    this.#view.setUint32(this.#at + 9, data.byteLength)
    this.#bytes.set(data, this.#at + ENTRY_HEADER_BYTES)
    this.#at += ENTRY_HEADER_BYTES + data.byteLength
  }

  #finish(sequence: number, salt: number): Uint8Array {
    const view = this.#view
    const end = aligned(this.#at)
    this.#bytes.fill(0, this.#at, end)
    view.setUint32(4, MAGIC)
    view.setUint32(8, this.#at - HEADER_BYTES)
    view.setUint32(12, 0)
    setUint53(view, 16, sequence)
    view.setUint32(0, crc32(this.#bytes.subarray(4, this.#at), salt))
    return this.#bytes.subarray(0, end)
  }

  #uint53(value: number): void {
    setUint53(this.#view, this.#at, value)
    this.#at += 8
  }

  #position(part: number, { index, term }: LogPosition): number {
    this.#uint53(index)
    this.#uint53(term)
    return part
  }

  #reserve(bytes: number): void {
    if (bytes <= this.#bytes.byteLength) return
    this.#bytes = Buffer.alloc(2 ** Math.ceil(Math.log2(bytes)))
    this.#view = viewOf(this.#bytes)
  }
}

/** Undefined when no whole frame lies there. */
export function decodeFrame(bytes: Uint8Array, at: number, salt: number): Frame | undefined {
  if (at + HEADER_BYTES > bytes.byteLength) return undefined
  const view = viewOf(bytes)
  if (view.getUint32(at + 4) !== MAGIC) return undefined
  const last = at + HEADER_BYTES + view.getUint32(at + 8)
  if (last > bytes.byteLength) return undefined
  if (crc32(bytes.subarray(at + 4, last), salt) !== view.getUint32(at)) return undefined
  const sequence = getUint53(view, at + 16)
  const write = new Reader(bytes, at + HEADER_BYTES).write()
  return { sequence, write, end: aligned(last) }
}

/** Where, from a place on, a whole frame with at least this number lies; undefined when there is none. */
export function findFrame(
  bytes: Uint8Array,
  wanted: { readonly from: number; readonly salt: number; readonly sequenceMin: number },
): number | undefined {
  const view = viewOf(bytes)
  for (let at = wanted.from; at + HEADER_BYTES <= bytes.byteLength; at += ALIGNMENT) {
    if (view.getUint32(at + 4) !== MAGIC) continue
    const frame = decodeFrame(bytes, at, wanted.salt)
    if (frame !== undefined && frame.sequence >= wanted.sequenceMin) return at
  }
  return undefined
}

class Reader {
  readonly #bytes: Uint8Array
  readonly #view: DataView
  #at: number

  constructor(bytes: Uint8Array, at: number) {
    this.#bytes = bytes
    this.#view = viewOf(bytes)
    this.#at = at
  }

  write(): LogWrite {
    const parts = this.#bytes[this.#at] as number
    this.#at += 1
    const has = (part: number): boolean => (parts & part) !== 0
    const hardState = has(Part.hardState) ? this.#hardState() : undefined
    const reset = has(Part.reset) ? this.#position() : undefined
    const truncateFrom = has(Part.truncate) ? this.#uint53() : undefined
    const compactTo = has(Part.compact) ? this.#position() : undefined
    return { hardState, reset, truncateFrom, entries: this.#entries(), compactTo }
  }

  #hardState(): HardState {
    const term = this.#uint53()
    const length = this.#view.getUint16(this.#at)
    this.#at += 2
    if (length === NO_VOTE) return { term, votedFor: undefined }
    const vote = this.#bytes.subarray(this.#at, this.#at + length)
    this.#at += length
    return { term, votedFor: new TextDecoder().decode(vote) }
  }

  #entries(): LogEntry[] {
    const first = this.#uint53()
    const count = this.#view.getUint32(this.#at)
    this.#at += 4
    return Array.from({ length: count }, (_, at) => this.#entry(first + at))
  }

  #entry(index: number): LogEntry {
    const kind = KINDS[this.#bytes[this.#at] as number]
    if (kind === undefined) throw new RecordDamagedError('an entry has an unknown kind')
    const term = getUint53(this.#view, this.#at + 1)
    const from = this.#at + ENTRY_HEADER_BYTES
    this.#at = from + this.#view.getUint32(this.#at + 9)
    // A copy: the log keeps entries, and must not keep the whole file with them.
    return { index, term, kind, data: this.#bytes.slice(from, this.#at) }
  }

  #position(): LogPosition {
    return { index: this.#uint53(), term: this.#uint53() }
  }

  #uint53(): number {
    this.#at += 8
    return getUint53(this.#view, this.#at - 8)
  }
}

function boundOf({ entries }: LogWrite): number {
  const fixed = HEADER_BYTES + ALIGNMENT + 128
  return entries.reduce((sum, { data }) => sum + ENTRY_HEADER_BYTES + data.byteLength, fixed)
}

export function aligned(at: number): number {
  return Math.ceil(at / ALIGNMENT) * ALIGNMENT
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
