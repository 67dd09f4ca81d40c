/** The log out of its segments, oldest first. All that was synced is there, or it is damaged. */
import type { LogEntry } from '../core/messages.ts'
import { LogDamagedError } from '../errors.ts'
import type { HardState, LogPosition, LogWrite } from '../ports/log-store.ts'
import { decodeFrame, findFrame } from './frame.ts'
import { SEGMENT_HEADER_BYTES, type SegmentHeader, segmentName } from './segment.ts'

export interface SegmentBytes {
  readonly header: SegmentHeader
  readonly bytes: Uint8Array
}

/** A segment that is there, as the store goes on with it. */
export interface KnownSegment {
  readonly number: number
  /** The highest index of an entry that it holds, 0 for none. */
  highestIndex: number
}

export interface Replayed {
  readonly log: LogTail
  readonly segments: KnownSegment[]
  /** Of the last write that was found. */
  readonly sequence: number
  /** Where it begins and ends in the last segment. */
  readonly lastFrame: { readonly from: number; readonly end: number }
}

/** Where the log stands, with the entries that were found since the first segment was begun. */
export class LogTail {
  hardState: HardState
  base: LogPosition
  last: LogPosition
  entries: LogEntry[] = []

  constructor({ hardState, base, last }: Pick<SegmentHeader, 'hardState' | 'base' | 'last'>) {
    this.hardState = hardState
    this.base = base
    this.last = last
  }

  /** @throws LogDamagedError when the write does not fit. */
  apply(write: LogWrite): void {
    this.hardState = write.hardState ?? this.hardState
    if (write.reset !== undefined) {
      this.entries = []
      this.base = write.reset
      this.last = write.reset
    }
    if (write.truncateFrom !== undefined) this.#truncate(write.truncateFrom)
    for (const entry of write.entries) {
      if (entry.index !== this.last.index + 1 || entry.term < this.last.term) {
        throw new LogDamagedError(`entry ${entry.index} of the log is out of place`)
      }
      this.entries.push(entry)
      this.last = entry
    }
    if (write.compactTo !== undefined) this.#compact(write.compactTo)
  }

  #truncate(from: number): void {
    while ((this.entries.at(-1)?.index ?? 0) >= from) this.entries.pop()
    const last = this.entries.at(-1)
    // What is cut into and not here lay in segments that are gone: it was compacted since, or is missed below.
    const term = Math.min(this.last.term, last?.term ?? this.base.term)
    this.last = last ?? { index: Math.min(this.last.index, from - 1), term }
  }

  #compact(to: LogPosition): void {
    const first = this.entries[0]?.index ?? to.index + 1
    this.entries.splice(0, Math.max(0, to.index + 1 - first))
    this.base = to
    if (this.last.index < to.index) this.last = to
  }

  /** @throws LogDamagedError unless the entries follow the base and end where the log does. */
  check(): void {
    const first = this.entries[0]?.index ?? this.last.index + 1
    if (first !== this.base.index + 1) {
      throw new LogDamagedError(`the log begins at ${first}, not after ${this.base.index}`)
    }
    if (this.hardState.term < this.last.term) {
      const terms = `${this.hardState.term} is behind the log's ${this.last.term}`
      throw new LogDamagedError(`the term ${terms}`)
    }
  }
}

/** At least one segment, oldest first. @throws LogDamagedError */
export function replay(segments: readonly SegmentBytes[]): Replayed {
  const first = segments[0] as SegmentBytes
  const log = new LogTail(first.header)
  const known: KnownSegment[] = []
  let sequence = first.header.firstSequence - 1
  let lastFrame = { from: SEGMENT_HEADER_BYTES, end: SEGMENT_HEADER_BYTES }
  for (const [at, segment] of segments.entries()) {
    checkOrder(segment.header, { first: first.header, at, sequence })
    const next = segments[at + 1]?.header.firstSequence
    const found = readSegment(segment, { log, sequence, next })
    if (found.isReset) for (const before of known) before.highestIndex = 0
    known.push({ number: segment.header.number, highestIndex: found.highestIndex })
    ;({ sequence, lastFrame } = found)
  }
  log.check()
  return { log, segments: known, sequence, lastFrame }
}

function checkOrder(
  header: SegmentHeader,
  { first, at, sequence }: { first: SegmentHeader; at: number; sequence: number },
): void {
  if (header.number !== first.number + at) {
    throw new LogDamagedError(`segment ${segmentName(first.number + at)} of the log is missing`)
  }
  if (header.firstSequence !== sequence + 1) {
    const name = segmentName(header.number)
    throw new LogDamagedError(`the log ends with write ${sequence} before ${name}`)
  }
}

function readSegment(
  { header, bytes }: SegmentBytes,
  from: { readonly log: LogTail; readonly sequence: number; readonly next: number | undefined },
) {
  const { salt } = header
  let { sequence } = from
  let highestIndex = 0
  let isReset = false
  let lastFrame = { from: SEGMENT_HEADER_BYTES, end: SEGMENT_HEADER_BYTES }
  while (sequence + 1 !== from.next) {
    const frame = decodeFrame(bytes, lastFrame.end, salt)
    if (frame?.sequence !== sequence + 1) break
    from.log.apply(frame.write)
    const { reset, entries } = frame.write
    if (reset !== undefined) {
      isReset = true
      highestIndex = 0
    }
    highestIndex = Math.max(highestIndex, entries.at(-1)?.index ?? 0)
    sequence += 1
    lastFrame = { from: lastFrame.end, end: frame.end }
  }
  // One write at a time: a torn one is the last, and whatever follows was synced after it.
  const wanted = { from: lastFrame.end, salt, sequenceMin: sequence + 1 }
  const later = from.next === undefined ? findFrame(bytes, wanted) : undefined
  if (later !== undefined) {
    const place = `${segmentName(header.number)} at ${lastFrame.end}`
    throw new LogDamagedError(`write ${sequence + 1} is damaged (${place}), and others follow it`)
  }
  return { sequence, highestIndex, isReset, lastFrame }
}
