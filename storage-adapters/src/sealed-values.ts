/**
 * What adapters store behind a key: a CRC-32C, then the payload. The checksum covers the key too, so that
 * a value that turns up under another key is seen. Engines do not protect us: LevelDB's binding verifies
 * no checksum on read, and Redis has none in its append-only file.
 *
 * A record batch carries a checksum of its own over most of it; ours covers the rest, which holds that
 * checksum, so that each byte is summed once.
 */
import { StorageError } from './errors.ts'
import { crc32c } from './record-batch/crc32c.ts'
import {
  baseOffset,
  batchPreambleBytes,
  checkBatch,
  nextOffset,
  RecordBatchError,
} from './record-batch/record-batch.ts'

const crcBytes = 4
const payloadRange = { from: crcBytes }
const preambleRange = { from: 0, to: batchPreambleBytes }

export function sealValue(key: Uint8Array, payload: Uint8Array): Buffer {
  return seal(payload, crc32c(payload, crc32c(key)))
}

/** The payload as a view. Throws DATA_LOSS, naming `what` it was. */
export function unsealValue(key: Uint8Array, stored: Buffer, what = 'A stored value'): Buffer {
  const isWhole = stored.length >= crcBytes
  if (!isWhole || stored.readUInt32BE(0) !== crc32c(stored, crc32c(key), payloadRange)) {
    const name = Buffer.from(key).toString('hex')
    throw new StorageError('DATA_LOSS', `${what} fails its checksum (key ${name})`)
  }
  return stored.subarray(crcBytes)
}

export function sealBatch(key: Uint8Array, batch: Uint8Array): Buffer {
  return seal(batch, crc32c(batch, crc32c(key), preambleRange))
}

/** The batch as a view, intact and ending at `lastOffset`. Throws DATA_LOSS. */
export function unsealBatch(key: Uint8Array, stored: Buffer, lastOffset: number): Buffer {
  const batch = stored.subarray(crcBytes)
  try {
    checkBatch(batch)
  } catch (error) {
    if (!(error instanceof RecordBatchError)) throw error
    throw new StorageError('DATA_LOSS', `The batch up to offset ${lastOffset}: ${error.message}`, {
      cause: error,
    })
  }
  if (
    stored.readUInt32BE(0) !== crc32c(batch, crc32c(key), preambleRange) ||
    nextOffset(batch) !== lastOffset + 1
  ) {
    throw new StorageError('DATA_LOSS', `The batch up to offset ${lastOffset} fails its checksum`)
  }
  return batch
}

/** Where the next batch has to begin; throws DATA_LOSS when it begins elsewhere. */
export function checkJoins(batch: Uint8Array, expectedOffset: number): number {
  if (baseOffset(batch) !== expectedOffset) {
    throw new StorageError(
      'DATA_LOSS',
      `A batch begins at offset ${baseOffset(batch)} where ${expectedOffset} was expected`,
    )
  }
  return nextOffset(batch)
}

/** A safe integer in eight bytes. */
export function writeCount(payload: Buffer, at: number, count: number): void {
  payload.writeUInt32BE(Math.floor(count / 0x1_0000_0000), at)
  payload.writeUInt32BE(count >>> 0, at + 4)
}

export function readCount(payload: Buffer, at: number): number {
  return payload.readUInt32BE(at) * 0x1_0000_0000 + payload.readUInt32BE(at + 4)
}

function seal(payload: Uint8Array, crc: number): Buffer {
  const stored = Buffer.allocUnsafe(crcBytes + payload.length)
  stored.writeUInt32BE(crc, 0)
  stored.set(payload, crcBytes)
  return stored
}
