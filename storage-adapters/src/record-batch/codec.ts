/**
 * Records to and from a Kafka record batch, format 2. Encoding takes one buffer and two passes; decoding
 * gives views of the batch, never copies. Compression is left to the dialect that needs it.
 */
import { crc32c } from './crc32c.ts'
import {
  attributes,
  baseOffset,
  baseTimestamp,
  batchAttribute,
  batchFieldAt,
  batchHeaderBytes,
  maxTimestamp,
  RecordBatchError,
  recordCount,
} from './record-batch.ts'

export interface StoredRecord {
  readonly offset: number
  /** Milliseconds since 1970. */
  readonly timestamp: number
  readonly key: Uint8Array | null
  readonly value: Uint8Array | null
  readonly headers: readonly RecordHeader[]
}

export type RecordHeader = readonly [name: string, value: Uint8Array]

export type NewRecord = Omit<StoredRecord, 'offset'>

export interface EncodeOptions {
  /** Offset of the first record; the others follow one by one. */
  readonly baseOffset: number
  readonly leaderEpoch: number
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly baseSequence?: number
  /** `batchAttribute` bits but compression; default 0. */
  readonly attributes?: number
}

/** One batch with all records, uncompressed. Throws RangeError for no records. */
export function encodeRecordBatch(
  records: readonly NewRecord[],
  options: EncodeOptions,
): Uint8Array {
  const first = records[0]
  if (first === undefined) throw new RangeError('A batch holds at least one record')
  if ((options.attributes ?? 0) & batchAttribute.compressionMask) {
    throw new RangeError('This encoder writes uncompressed batches only')
  }
  const sizes: number[] = new Array(records.length)
  let total = batchHeaderBytes
  let latest = first.timestamp
  for (let index = 0; index < records.length; index += 1) {
    const record = records[index] as NewRecord
    const size = recordBytes(record, index, record.timestamp - first.timestamp)
    sizes[index] = size
    total += size + varintBytes(size)
    if (record.timestamp > latest) latest = record.timestamp
  }
  const batch = Buffer.allocUnsafe(total)
  let position = batchHeaderBytes
  for (let index = 0; index < records.length; index += 1) {
    const record = records[index] as NewRecord
    position = writeVarint(batch, position, sizes[index] as number)
    position = writeRecord(batch, position, {
      record,
      index,
      timestampDelta: record.timestamp - first.timestamp,
    })
  }
  const { length: count } = records
  writeHeader(batch, options, { count, span: count, earliest: first.timestamp, latest })
  return batch
}

export interface CompactedBatchOptions {
  readonly baseOffset: number
  /** Offset that follows the batch. */
  readonly nextOffset: number
  readonly leaderEpoch: number
  /** Newest timestamp of everything the batch stands for, ms: what it says when no record is left. */
  readonly maxTimestamp: number
  /** `batchAttribute.logAppendTime` or 0. */
  readonly attributes: number
}

/** One batch that covers all offsets from `baseOffset` to `nextOffset`, of which these records, or none, are left. */
export function encodeCompactedBatch(
  records: readonly StoredRecord[],
  options: CompactedBatchOptions,
): Uint8Array {
  const earliest = records[0]?.timestamp ?? options.maxTimestamp
  const sizes: number[] = []
  let total = batchHeaderBytes
  let latest = records.length === 0 ? options.maxTimestamp : earliest
  for (const record of records) {
    const size = recordBytes(
      record,
      record.offset - options.baseOffset,
      record.timestamp - earliest,
    )
    sizes.push(size)
    total += size + varintBytes(size)
    if (record.timestamp > latest) latest = record.timestamp
  }
  const batch = Buffer.allocUnsafe(total)
  let position = batchHeaderBytes
  for (const [at, record] of records.entries()) {
    position = writeVarint(batch, position, sizes[at] as number)
    const index = record.offset - options.baseOffset
    position = writeRecord(batch, position, {
      record,
      index,
      timestampDelta: record.timestamp - earliest,
    })
  }
  const span = options.nextOffset - options.baseOffset
  writeHeader(batch, options, { count: records.length, span, earliest, latest })
  return batch
}

/**
 * The records of a batch that `checkBatch` accepts, or the first ones. Keys, values and header values are views of `batch`.
 * Throws RecordBatchError: COMPRESSED, or MALFORMED when lengths inside do not add up.
 */
export function decodeRecordBatch(batch: Uint8Array, recordsMax?: number): StoredRecord[] {
  if (attributes(batch) & batchAttribute.compressionMask) {
    throw new RecordBatchError('COMPRESSED', 'The batch is compressed')
  }
  return decodeRecords(batch, { bytes: batch, from: batchHeaderBytes }, recordsMax)
}

/** The records of the batch, which are not compressed in these bytes. Throws RecordBatchError MALFORMED. */
export function decodeRecords(
  batch: Uint8Array,
  content: { readonly bytes: Uint8Array; readonly from: number },
  recordsMax = Number.POSITIVE_INFINITY,
): StoredRecord[] {
  const { buffer, byteOffset, byteLength } = content.bytes
  const bytes = Buffer.from(buffer, byteOffset, byteLength)
  const reader = new RecordReader(bytes, content.from)
  const count = Math.min(recordCount(batch), recordsMax)
  const firstOffset = baseOffset(batch)
  const firstTimestamp = baseTimestamp(batch)
  const appendTime =
    attributes(batch) & batchAttribute.logAppendTime ? maxTimestamp(batch) : undefined
  const records: StoredRecord[] = []
  for (let index = 0; index < count; index += 1) {
    const end = reader.recordEnd()
    reader.skipByte()
    const timestampDelta = reader.varint()
    const offset = firstOffset + reader.varint()
    const key = reader.bytesOrNull()
    const value = reader.bytesOrNull()
    const headers = reader.headers()
    if (reader.position !== end) throw malformed('A record is longer or shorter than it says')
    records.push({
      offset,
      timestamp: appendTime ?? firstTimestamp + timestampDelta,
      key,
      value,
      headers,
    })
  }
  const isAll = count === recordCount(batch)
  if (isAll && reader.position !== bytes.length) throw malformed('Bytes follow the last record')
  return records
}

class RecordReader {
  position: number
  readonly #bytes: Buffer

  constructor(bytes: Buffer, position: number) {
    this.#bytes = bytes
    this.position = position
  }

  /** Where the record that begins here ends; moves behind the length. */
  recordEnd(): number {
    const length = this.varint()
    const end = this.position + length
    if (length < 0 || end > this.#bytes.length) throw malformed('A record runs past the batch')
    return end
  }

  skipByte(): void {
    this.position += 1
  }

  /** Zigzag varint of up to 64 bits; exact for safe integers. */
  varint(): number {
    const bytes = this.#bytes
    let byte = bytes[this.position++]
    if (byte === undefined) throw malformed('The batch ends inside a number')
    if (byte < 0x80) return (byte >>> 1) ^ -(byte & 1)
    let low = byte & 0x7f
    for (let shift = 7; shift < 28; shift += 7) {
      byte = bytes[this.position++]
      if (byte === undefined) throw malformed('The batch ends inside a number')
      low |= (byte & 0x7f) << shift
      if (byte < 0x80) return (low >>> 1) ^ -(low & 1)
    }
    return this.#longVarint(low)
  }

  #longVarint(low28: number): number {
    let high = 0
    let scale = 1
    for (let count = 0; count < 6; count += 1) {
      const byte = this.#bytes[this.position++]
      if (byte === undefined) throw malformed('The batch ends inside a number')
      high += (byte & 0x7f) * scale
      if (byte < 0x80) {
        const half = high * 0x800_0000 + (low28 >>> 1)
        return low28 & 1 ? -half - 1 : half
      }
      scale *= 0x80
    }
    throw malformed('A number has more than ten bytes')
  }

  bytesOrNull(): Uint8Array | null {
    const length = this.varint()
    if (length < 0) return null
    return this.#take(length)
  }

  headers(): readonly RecordHeader[] {
    const count = this.varint()
    if (count === 0) return noHeaders
    if (count < 0) throw malformed('A record has a negative number of headers')
    const headers: RecordHeader[] = []
    for (let index = 0; index < count; index += 1) {
      const length = this.varint()
      if (length < 0) throw malformed('A header has no name')
      const nameAt = this.position
      this.#skip(length)
      const name = this.#bytes.toString('utf8', nameAt, nameAt + length)
      headers.push([name, this.bytesOrNull() ?? noBytes])
    }
    return headers
  }

  #take(length: number): Uint8Array {
    const start = this.position
    this.#skip(length)
    return this.#bytes.subarray(start, start + length)
  }

  #skip(length: number): void {
    const end = this.position + length
    if (end > this.#bytes.length) throw malformed('A field runs past the batch')
    this.position = end
  }
}

const noHeaders: readonly RecordHeader[] = []
const noBytes = new Uint8Array(0)

function recordBytes(record: NewRecord, index: number, timestampDelta: number): number {
  let size = 1 + longVarintBytes(timestampDelta) + varintBytes(index)
  size += record.key === null ? 1 : varintBytes(record.key.length) + record.key.length
  size += record.value === null ? 1 : varintBytes(record.value.length) + record.value.length
  size += varintBytes(record.headers.length)
  const { headers } = record
  for (let at = 0; at < headers.length; at += 1) {
    const [name, value] = headers[at] as RecordHeader
    const nameBytes = nameBytesOf(name).length
    size += varintBytes(nameBytes) + nameBytes + varintBytes(value.length) + value.length
  }
  return size
}

const knownNamesMax = 1024
const knownNameLengthMax = 128
const knownNames = new Map<string, Uint8Array>()

/** Names of headers are few and come with every record. */
function nameBytesOf(name: string): Uint8Array {
  if (name.length > knownNameLengthMax) return Buffer.from(name)
  let bytes = knownNames.get(name)
  if (bytes === undefined) {
    bytes = Buffer.from(name)
    if (knownNames.size >= knownNamesMax) knownNames.clear()
    knownNames.set(name, bytes)
  }
  return bytes
}

interface PlacedRecord {
  readonly record: NewRecord
  readonly index: number
  readonly timestampDelta: number
}

function writeRecord(batch: Buffer, start: number, placed: PlacedRecord): number {
  const { record } = placed
  batch[start] = 0
  let position = writeLongVarint(batch, start + 1, placed.timestampDelta)
  position = writeVarint(batch, position, placed.index)
  position = writeBytesOrNull(batch, position, record.key)
  position = writeBytesOrNull(batch, position, record.value)
  position = writeVarint(batch, position, record.headers.length)
  const { headers } = record
  for (let at = 0; at < headers.length; at += 1) {
    const [name, value] = headers[at] as RecordHeader
    position = writeBytes(batch, position, nameBytesOf(name))
    position = writeBytes(batch, position, value)
  }
  return position
}

function writeHeader(
  batch: Buffer,
  options: EncodeOptions,
  records: { count: number; span: number; earliest: number; latest: number },
): void {
  batch.writeBigInt64BE(BigInt(options.baseOffset), batchFieldAt.baseOffset)
  batch.writeInt32BE(batch.length - 12, batchFieldAt.batchLength)
  batch.writeInt32BE(options.leaderEpoch, batchFieldAt.leaderEpoch)
  batch[batchFieldAt.magic] = 2
  batch.writeInt16BE(options.attributes ?? 0, batchFieldAt.attributes)
  batch.writeInt32BE(records.span - 1, batchFieldAt.lastOffsetDelta)
  batch.writeBigInt64BE(BigInt(records.earliest), batchFieldAt.baseTimestamp)
  batch.writeBigInt64BE(BigInt(records.latest), batchFieldAt.maxTimestamp)
  batch.writeBigInt64BE(BigInt(options.producerId ?? -1), batchFieldAt.producerId)
  batch.writeInt16BE(options.producerEpoch ?? -1, batchFieldAt.producerEpoch)
  batch.writeInt32BE(options.baseSequence ?? -1, batchFieldAt.baseSequence)
  batch.writeInt32BE(records.count, batchFieldAt.recordCount)
  batch.writeUInt32BE(crc32c(batch.subarray(batchFieldAt.attributes)), batchFieldAt.crc)
}

function writeBytesOrNull(batch: Buffer, start: number, bytes: Uint8Array | null): number {
  if (bytes === null) return writeVarint(batch, start, -1)
  return writeBytes(batch, start, bytes)
}

/** Above it the copy of the runtime is faster than ours. */
const shortBytesMax = 48

function writeBytes(batch: Buffer, start: number, bytes: Uint8Array): number {
  const { length } = bytes
  const position = writeVarint(batch, start, length)
  if (length > shortBytesMax) batch.set(bytes, position)
  else for (let at = 0; at < length; at += 1) batch[position + at] = bytes[at] as number
  return position + length
}

function varintBytes(value: number): number {
  const zigzag = ((value << 1) ^ (value >> 31)) >>> 0
  if (zigzag < 0x80) return 1
  if (zigzag < 0x4000) return 2
  if (zigzag < 0x20_0000) return 3
  return zigzag < 0x1000_0000 ? 4 : 5
}

function writeVarint(batch: Buffer, start: number, value: number): number {
  let zigzag = ((value << 1) ^ (value >> 31)) >>> 0
  let position = start
  while (zigzag >= 0x80) {
    batch[position++] = (zigzag & 0x7f) | 0x80
    zigzag >>>= 7
  }
  batch[position++] = zigzag
  return position
}

const fitsInt32 = (value: number): boolean => (value | 0) === value

function longVarintBytes(value: number): number {
  if (fitsInt32(value)) return varintBytes(value)
  let zigzag = zigzagLong(value)
  let size = 1
  while (zigzag >= 0x80n) {
    zigzag >>= 7n
    size += 1
  }
  return size
}

function writeLongVarint(batch: Buffer, start: number, value: number): number {
  if (fitsInt32(value)) return writeVarint(batch, start, value)
  let zigzag = zigzagLong(value)
  let position = start
  while (zigzag >= 0x80n) {
    batch[position++] = Number(zigzag & 0x7fn) | 0x80
    zigzag >>= 7n
  }
  batch[position++] = Number(zigzag)
  return position
}

function zigzagLong(value: number): bigint {
  return value < 0 ? BigInt(-value) * 2n - 1n : BigInt(value) * 2n
}

function malformed(message: string): RecordBatchError {
  return new RecordBatchError('MALFORMED', message)
}
