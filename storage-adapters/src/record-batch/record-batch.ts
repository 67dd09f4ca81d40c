/**
 * Header of a Kafka record batch, format 2 (magic 2), read and changed in place without decoding the
 * records. Layout: KIP-98, https://kafka.apache.org/documentation/#recordbatch. Formats 0 and 1 are
 * refused.
 */
import { crc32c } from './crc32c.ts'

/** Bytes before the first record. */
export const batchHeaderBytes = 61
/** Bytes before `crc` ends: what the batch's own checksum does not cover. */
export const batchPreambleBytes = 21
/** Bytes that `batchLength` does not count: base offset and the length itself. */
const lengthPrefixBytes = 12

const at = {
  baseOffset: 0,
  batchLength: 8,
  leaderEpoch: 12,
  magic: 16,
  crc: 17,
  attributes: 21,
  lastOffsetDelta: 23,
  baseTimestamp: 27,
  maxTimestamp: 35,
  producerId: 43,
  producerEpoch: 51,
  baseSequence: 53,
  recordCount: 57,
} as const
export const batchFieldAt: Readonly<typeof at> = at

/** Bits of the `attributes` field. */
export const batchAttribute = {
  compressionMask: 0x07,
  logAppendTime: 0x08,
  transactional: 0x10,
  control: 0x20,
} as const

export type RecordBatchFault =
  | 'TRUNCATED'
  | 'BAD_MAGIC'
  | 'BAD_LENGTH'
  | 'BAD_CRC'
  | 'COMPRESSED'
  | 'MALFORMED'
  /** Uncompressed it is more than is looked into. */
  | 'TOO_LARGE'

export class RecordBatchError extends Error {
  readonly fault: RecordBatchFault

  constructor(fault: RecordBatchFault, message: string) {
    super(message)
    this.name = 'RecordBatchError'
    this.fault = fault
  }
}

export const baseOffset = (batch: Uint8Array): number => readInt64(batch, at.baseOffset)
/** The length field: bytes of the batch after it, so 12 less than the whole. */
export const batchLength = (batch: Uint8Array): number => readInt32(batch, at.batchLength)
export const leaderEpoch = (batch: Uint8Array): number => readInt32(batch, at.leaderEpoch)
export const magic = (batch: Uint8Array): number => batch[at.magic] ?? -1
export const crc = (batch: Uint8Array): number => readInt32(batch, at.crc) >>> 0
export const attributes = (batch: Uint8Array): number => readInt16(batch, at.attributes)
export const lastOffsetDelta = (batch: Uint8Array): number => readInt32(batch, at.lastOffsetDelta)
/** Milliseconds. */
export const baseTimestamp = (batch: Uint8Array): number => readInt64(batch, at.baseTimestamp)
/** Milliseconds. */
export const maxTimestamp = (batch: Uint8Array): number => readInt64(batch, at.maxTimestamp)
/** -1: no producer. */
export const producerId = (batch: Uint8Array): number => readInt64(batch, at.producerId)
export const producerEpoch = (batch: Uint8Array): number => readInt16(batch, at.producerEpoch)
export const baseSequence = (batch: Uint8Array): number => readInt32(batch, at.baseSequence)
export const recordCount = (batch: Uint8Array): number => readInt32(batch, at.recordCount)
/** Offset that the record after this batch gets. */
export const nextOffset = (batch: Uint8Array): number =>
  baseOffset(batch) + lastOffsetDelta(batch) + 1

/** Size of the batch that begins at `position`, header included, from its length field. */
export function batchBytes(bytes: Uint8Array, position = 0): number {
  if (bytes.length - position < lengthPrefixBytes) {
    throw new RecordBatchError('TRUNCATED', 'The bytes end before the length of the batch')
  }
  return readInt32(bytes, position + at.batchLength) + lengthPrefixBytes
}

const checkedRange = { from: at.attributes }

/** Throws RecordBatchError unless the bytes are exactly one batch of format 2 with a valid checksum. */
export function checkBatch(bytes: Uint8Array): void {
  if (bytes.length < batchHeaderBytes) {
    throw new RecordBatchError('TRUNCATED', `A batch has 61 bytes at least, not ${bytes.length}`)
  }
  if (magic(bytes) !== 2) {
    throw new RecordBatchError('BAD_MAGIC', `Record format ${magic(bytes)} is not supported`)
  }
  const wanted = batchLength(bytes) + lengthPrefixBytes
  if (wanted !== bytes.length) {
    throw new RecordBatchError(
      'BAD_LENGTH',
      `The batch says ${wanted} bytes, ${bytes.length} given`,
    )
  }
  if (lastOffsetDelta(bytes) < 0 || recordCount(bytes) < 0 || baseOffset(bytes) < 0) {
    throw new RecordBatchError('MALFORMED', 'Negative offset or count in the batch header')
  }
  const computed = crc32c(bytes, 0, checkedRange)
  if (computed !== crc(bytes)) {
    throw new RecordBatchError('BAD_CRC', `Checksum is ${computed}, the batch says ${crc(bytes)}`)
  }
}

/** In place; the checksum does not cover it. */
export function setBaseOffset(batch: Uint8Array, offset: number): void {
  writeInt64(batch, at.baseOffset, offset)
}

/** In place; the checksum does not cover it. */
export function setLeaderEpoch(batch: Uint8Array, epoch: number): void {
  writeInt32(batch, at.leaderEpoch, epoch)
}

/** In place: its records have this time, ms, whatever they say themselves. */
export function setAppendTime(batch: Uint8Array, timestamp: number): void {
  batch[at.attributes + 1] = byteAt(batch, at.attributes + 1) | batchAttribute.logAppendTime
  writeInt64(batch, at.maxTimestamp, timestamp)
  writeInt32(batch, at.crc, crc32c(batch, 0, checkedRange))
}

function readInt16(bytes: Uint8Array, position: number): number {
  return ((byteAt(bytes, position) << 24) | (byteAt(bytes, position + 1) << 16)) >> 16
}

function readInt32(bytes: Uint8Array, position: number): number {
  return (
    (byteAt(bytes, position) << 24) |
    (byteAt(bytes, position + 1) << 16) |
    (byteAt(bytes, position + 2) << 8) |
    byteAt(bytes, position + 3)
  )
}

/** Not exact beyond 2^53, which no offset, time or producer id reaches. */
function readInt64(bytes: Uint8Array, position: number): number {
  return readInt32(bytes, position) * 0x1_0000_0000 + (readInt32(bytes, position + 4) >>> 0)
}

function writeInt32(bytes: Uint8Array, position: number, value: number): void {
  bytes[position] = value >>> 24
  bytes[position + 1] = value >>> 16
  bytes[position + 2] = value >>> 8
  bytes[position + 3] = value
}

function writeInt64(bytes: Uint8Array, position: number, value: number): void {
  writeInt32(bytes, position, Math.floor(value / 0x1_0000_0000))
  writeInt32(bytes, position + 4, value >>> 0)
}

function byteAt(bytes: Uint8Array, position: number): number {
  const byte = bytes[position]
  if (byte === undefined) {
    throw new RecordBatchError('TRUNCATED', `The batch ends before byte ${position}`)
  }
  return byte
}
