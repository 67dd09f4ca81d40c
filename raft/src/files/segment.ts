/**
 * The first page of a segment: whose it is, which one, and where the log stood when it was begun, so that
 * the segments before it can go. Frames follow from SEGMENT_HEADER_BYTES on.
 */
import assert from 'node:assert'
import { LogDamagedError } from '../errors.ts'
import type { HardState, LogIdentity, LogPosition } from '../ports/log-store.ts'
import { decodeJsonRecord, encodeJsonRecord } from '../record.ts'

export const SEGMENT_HEADER_BYTES = 4096
const MAGIC = new TextEncoder().encode('RAFTLOG1')
const LENGTH_BYTES = 4

export interface SegmentHeader extends LogIdentity {
  /** Counts up by one from segment to segment. */
  readonly number: number
  /** Random, 32 bits: the frames of this life of the file are told by it. */
  readonly salt: number
  /** Of the write that its first frame holds. */
  readonly firstSequence: number
  readonly hardState: HardState
  readonly base: LogPosition
  /** The last entry of the log. */
  readonly last: LogPosition
}

export function segmentName(number: number): string {
  return `${number.toString(16).padStart(12, '0')}.log`
}

/** Undefined for a name that is not one of a segment. */
export function segmentNumber(name: string): number | undefined {
  const digits = /^([0-9a-f]{12})\.log$/.exec(name)?.[1]
  return digits === undefined ? undefined : Number.parseInt(digits, 16)
}

export function encodeHeader(header: SegmentHeader): Uint8Array {
  const votedFor = header.hardState.votedFor ?? null
  const hardState = { term: header.hardState.term, votedFor }
  const record = encodeJsonRecord({ ...header, hardState })
  const bytes = new Uint8Array(SEGMENT_HEADER_BYTES)
  const from = MAGIC.byteLength + LENGTH_BYTES
  assert(from + record.byteLength <= bytes.byteLength, 'ids are too long for a segment')
  bytes.set(MAGIC)
  new DataView(bytes.buffer).setUint32(MAGIC.byteLength, record.byteLength)
  bytes.set(record, from)
  return bytes
}

/** @throws LogDamagedError, RecordDamagedError */
export function decodeHeader(bytes: Uint8Array, name: string): SegmentHeader {
  const isShort = bytes.byteLength < SEGMENT_HEADER_BYTES
  if (isShort || !MAGIC.every((byte, at) => bytes[at] === byte)) {
    throw new LogDamagedError(`${name} does not begin like a segment of a log`)
  }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const from = MAGIC.byteLength + LENGTH_BYTES
  const to = Math.min(SEGMENT_HEADER_BYTES, from + view.getUint32(MAGIC.byteLength))
  // The checksum held, so what it says is what was written.
  const { hardState, ...rest } = decodeJsonRecord(bytes.subarray(from, to)) as unknown as Omit<
    SegmentHeader,
    'hardState'
  > & { readonly hardState: { readonly term: number; readonly votedFor: string | null } }
  const { term, votedFor } = hardState
  return { ...rest, hardState: { term, votedFor: votedFor ?? undefined } }
}
