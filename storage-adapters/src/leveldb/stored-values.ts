/** What this adapter stores behind its keys, as bytes; the checksums are those of sealed-values.ts. */
import type { ShardHead } from '../fencing.ts'
import { readCount, writeCount } from '../sealed-values.ts'

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
