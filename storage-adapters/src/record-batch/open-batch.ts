/**
 * Records of a batch that its producer has compressed, by any of Kafka's codecs. Bounded, whatever the batch claims: what
 * is too large to be looked into is told so.
 */
import { gunzipSync } from 'node:zlib'
import { decodeRecords, type StoredRecord } from './codec.ts'
import { readLz4 } from './compression/lz4.ts'
import { Output } from './compression/output.ts'
import { readSnappy } from './compression/snappy.ts'
import { readZstd } from './compression/zstd.ts'
import {
  attributes,
  batchAttribute,
  batchHeaderBytes,
  RecordBatchError,
  recordCount,
} from './record-batch.ts'

/** Uncompressed bytes of one batch, and its records: each becomes an object. */
const BYTES_MAX = 16 * 1024 * 1024
const RECORDS_MAX = 200_000

/** The codecs by the low bits of a batch's attributes; 0 is none. */
const READERS: Readonly<Record<number, (bytes: Uint8Array) => Buffer>> = {
  1: readGzip,
  2: (bytes) => readWith(readSnappy, bytes),
  3: (bytes) => readWith(readLz4, bytes),
  4: (bytes) => readWith(readZstd, bytes),
}

/**
 * As `decodeRecordBatch`, of any batch that `checkBatch` accepts. Throws RecordBatchError: TOO_LARGE, or MALFORMED when
 * it cannot be uncompressed or lengths inside do not add up.
 */
export function openRecordBatch(batch: Uint8Array): StoredRecord[] {
  const codec = attributes(batch) & batchAttribute.compressionMask
  if (recordCount(batch) > RECORDS_MAX) {
    throw new RecordBatchError('TOO_LARGE', `The batch has more than ${RECORDS_MAX} records`)
  }
  if (codec === 0) return decodeRecords(batch, { bytes: batch, from: batchHeaderBytes })
  const read = READERS[codec]
  if (read === undefined) throw new RecordBatchError('MALFORMED', `There is no codec ${codec}`)
  return decodeRecords(batch, { bytes: read(batch.subarray(batchHeaderBytes)), from: 0 })
}

function readWith(read: (bytes: Uint8Array, output: Output) => void, bytes: Uint8Array): Buffer {
  const output = new Output(BYTES_MAX)
  read(bytes, output)
  return output.finish()
}

function readGzip(bytes: Uint8Array): Buffer {
  try {
    return gunzipSync(bytes, { maxOutputLength: BYTES_MAX })
  } catch (error) {
    const isLarge = error instanceof RangeError
    const message = error instanceof Error ? error.message : String(error)
    throw new RecordBatchError(isLarge ? 'TOO_LARGE' : 'MALFORMED', message)
  }
}
