/** What this adapter stores behind its keys, as bytes; the checksums are those of sealed-values.ts. */
import type { ShardHead } from '../fencing.ts'
import { readCount, sealValue, unsealValue, writeCount } from '../sealed-values.ts'
import type { Place } from './segment-file.ts'

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

/** Of a segment file: bytes of values that are wanted, and bytes in all. */
export interface SegmentCount {
  readonly wantedBytes: number
  readonly bytes: number
}

export function encodeSegmentCount({ wantedBytes, bytes }: SegmentCount): Buffer {
  const payload = Buffer.allocUnsafe(16)
  writeCount(payload, 0, wantedBytes)
  writeCount(payload, 8, bytes)
  return payload
}

export function decodeSegmentCount(payload: Buffer): SegmentCount {
  return { wantedBytes: readCount(payload, 0), bytes: readCount(payload, 8) }
}

const placeBytes = 12
const crcBytes = 4

/** What stands behind a batch's key in place of the batch. */
export function encodePlace(key: Buffer, { segment, position }: Place): Buffer {
  const payload = Buffer.allocUnsafe(placeBytes)
  payload.writeUInt32BE(segment, 0)
  writeCount(payload, 4, position)
  return sealValue(key, payload)
}

/** Whether it is a place: a batch is longer, with its header alone. */
export function isPlace(stored: Buffer): boolean {
  return stored.length === crcBytes + placeBytes
}

/** Throws DATA_LOSS. */
export function decodePlace(key: Buffer, stored: Buffer): Place {
  const payload = unsealValue(key, stored, 'The place of a batch')
  return { segment: payload.readUInt32BE(0), position: readCount(payload, 4) }
}
