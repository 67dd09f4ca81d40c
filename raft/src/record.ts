/**
 * How a record lies on the medium: version byte, CRC-32C of version and payload, payload. The store
 * below checks nothing by itself, so every record is checked when it is read.
 * An entry repeats its index inside, so that a record under the wrong key is noticed too.
 */
import type { LogEntry, LogEntryKind } from './core/messages.ts'
import { crc32c } from './crc32c.ts'

const FORMAT_VERSION = 1
const HEADER_BYTES = 5
const ENTRY_HEADER_BYTES = 17
const TWO_POW_32 = 2 ** 32

/** In the order of their number on the medium, which never changes. */
export const KINDS: readonly LogEntryKind[] = [
  'command',
  'no-op',
  'configuration',
  'state-check',
  'state-verdict',
]

export class RecordDamagedError extends Error {
  override readonly name = 'RecordDamagedError'
}

export function encodeRecord(payload: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(HEADER_BYTES + payload.byteLength)
  bytes[0] = FORMAT_VERSION
  bytes.set(payload, HEADER_BYTES)
  viewOf(bytes).setUint32(1, checksum(bytes))
  return bytes
}

/** @throws RecordDamagedError */
export function decodeRecord(bytes: Uint8Array): Uint8Array {
  if (bytes.byteLength < HEADER_BYTES) throw new RecordDamagedError('a record is too short')
  if (viewOf(bytes).getUint32(1) !== checksum(bytes)) {
    throw new RecordDamagedError('the checksum of a record does not hold')
  }
  if (bytes[0] !== FORMAT_VERSION) {
    throw new RecordDamagedError(`a record has the unknown version ${bytes[0]}`)
  }
  return bytes.subarray(HEADER_BYTES)
}

/** One piece of memory, filled in place: this is most of what a write costs besides the disk. */
export function encodeEntry(entry: LogEntry): Uint8Array {
  const { data } = entry
  const bytes = new Uint8Array(HEADER_BYTES + ENTRY_HEADER_BYTES + data.byteLength)
  const view = viewOf(bytes)
  bytes[0] = FORMAT_VERSION
  bytes[HEADER_BYTES] = KINDS.indexOf(entry.kind)
  setUint53(view, HEADER_BYTES + 1, entry.index)
  setUint53(view, HEADER_BYTES + 9, entry.term)
  bytes.set(data, HEADER_BYTES + ENTRY_HEADER_BYTES)
  view.setUint32(1, checksum(bytes))
  return bytes
}

/** @throws RecordDamagedError */
export function decodeEntry(bytes: Uint8Array): LogEntry {
  const payload = decodeRecord(bytes)
  if (payload.byteLength < ENTRY_HEADER_BYTES) throw new RecordDamagedError('an entry is too short')
  const view = viewOf(payload)
  const kind = KINDS[view.getUint8(0)]
  if (kind === undefined) throw new RecordDamagedError('an entry has an unknown kind')
  return {
    index: getUint53(view, 1),
    term: getUint53(view, 9),
    kind,
    data: new Uint8Array(payload.subarray(ENTRY_HEADER_BYTES)),
  }
}

/** For the small records that are no entries. */
export function encodeJsonRecord(value: object): Uint8Array {
  return encodeRecord(new TextEncoder().encode(JSON.stringify(value)))
}

/** @throws RecordDamagedError when it is not one object. */
export function decodeJsonRecord(bytes: Uint8Array): Readonly<Record<string, unknown>> {
  const text = new TextDecoder().decode(decodeRecord(bytes))
  const value: unknown = JSON.parse(text)
  if (typeof value !== 'object' || value === null) {
    throw new RecordDamagedError('a record is not an object')
  }
  return { ...value }
}

export function setUint53(view: DataView, at: number, value: number): void {
  view.setUint32(at, Math.floor(value / TWO_POW_32))
  view.setUint32(at + 4, value % TWO_POW_32)
}

export function getUint53(view: DataView, at: number): number {
  return view.getUint32(at) * TWO_POW_32 + view.getUint32(at + 4)
}

function checksum(record: Uint8Array): number {
  return crc32c(record, { seed: crc32c(record, { to: 1 }), from: HEADER_BYTES })
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
