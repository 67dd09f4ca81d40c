/**
 * What stands behind a key: a CRC-32C, then the payload. The checksum covers the key too, so that a value
 * that turns up under another key is seen. LevelDB's own checksums are not verified on read by its
 * binding, and a flipped bit would come back as good data.
 *
 * A record batch carries a checksum of its own over most of it; ours covers the rest, which holds that
 * checksum, so that each byte is summed once.
 */
import { StorageError } from '../errors.ts'
import type { ShardHead } from '../fencing.ts'
import { crc32c } from '../record-batch/crc32c.ts'
import {
  baseOffset,
  batchPreambleBytes,
  checkBatch,
  nextOffset,
  RecordBatchError,
} from '../record-batch/record-batch.ts'
import { describeBatchKey } from './keys.ts'

const crcBytes = 4

export function sealValue(key: Buffer, payload: Uint8Array): Buffer {
  return seal(payload, crc32c(payload, crc32c(key)))
}

/** The payload as a view. Throws DATA_LOSS. */
export function unsealValue(key: Buffer, stored: Buffer): Buffer {
  const payload = stored.subarray(crcBytes)
  if (stored.length < crcBytes || stored.readUInt32BE(0) !== crc32c(payload, crc32c(key))) {
    throw new StorageError(
      'DATA_LOSS',
      `A stored value fails its checksum (key ${key.toString('hex')})`,
    )
  }
  return payload
}

export function sealBatch(key: Buffer, batch: Uint8Array): Buffer {
  return seal(batch, crc32c(batch.subarray(0, batchPreambleBytes), crc32c(key)))
}

/** The batch as a view, intact and where its key says. Throws DATA_LOSS. */
export function unsealBatch(key: Buffer, stored: Buffer): Buffer {
  const batch = stored.subarray(crcBytes)
  const { lastOffset } = describeBatchKey(key)
  const preamble = batch.subarray(0, batchPreambleBytes)
  try {
    checkBatch(batch)
  } catch (error) {
    if (!(error instanceof RecordBatchError)) throw error
    throw new StorageError('DATA_LOSS', `The batch up to offset ${lastOffset}: ${error.message}`, {
      cause: error,
    })
  }
  if (
    stored.readUInt32BE(0) !== crc32c(preamble, crc32c(key)) ||
    nextOffset(batch) !== lastOffset + 1
  ) {
    throw new StorageError('DATA_LOSS', `The batch up to offset ${lastOffset} fails its checksum`)
  }
  return batch
}

/** The durable facts about a log. */
export interface LogHead {
  startOffset: number
  endOffset: number
  bytes: number
}

export function encodeShardHead(head: ShardHead): Buffer {
  const ownerBytes = Buffer.byteLength(head.owner)
  const payload = Buffer.allocUnsafe(25 + ownerBytes)
  writeCount(payload, 0, head.epoch)
  writeCount(payload, 8, head.commitNumber)
  writeCount(payload, 16, head.commitEpoch)
  payload[24] = head.dropped ? 1 : 0
  payload.write(head.owner, 25)
  return payload
}

export function decodeShardHead(payload: Buffer): ShardHead {
  return {
    epoch: readCount(payload, 0),
    commitNumber: readCount(payload, 8),
    commitEpoch: readCount(payload, 16),
    dropped: payload[24] === 1,
    owner: payload.toString('utf8', 25),
  }
}

export function encodeLogHead(head: LogHead): Buffer {
  const payload = Buffer.allocUnsafe(24)
  writeCount(payload, 0, head.startOffset)
  writeCount(payload, 8, head.endOffset)
  writeCount(payload, 16, head.bytes)
  return payload
}

export function decodeLogHead(payload: Buffer): LogHead {
  return {
    startOffset: readCount(payload, 0),
    endOffset: readCount(payload, 8),
    bytes: readCount(payload, 16),
  }
}

export function encodeCount(count: number): Buffer {
  const payload = Buffer.allocUnsafe(8)
  writeCount(payload, 0, count)
  return payload
}

/** A safe integer from eight bytes. */
export function readCount(payload: Buffer, at: number): number {
  return payload.readUInt32BE(at) * 0x1_0000_0000 + payload.readUInt32BE(at + 4)
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

function seal(payload: Uint8Array, crc: number): Buffer {
  const stored = Buffer.allocUnsafe(crcBytes + payload.length)
  stored.writeUInt32BE(crc, 0)
  stored.set(payload, crcBytes)
  return stored
}

function writeCount(payload: Buffer, at: number, count: number): void {
  payload.writeUInt32BE(Math.floor(count / 0x1_0000_0000), at)
  payload.writeUInt32BE(count >>> 0, at + 4)
}
