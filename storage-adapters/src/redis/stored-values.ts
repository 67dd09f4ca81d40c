/** Heads of shards and logs as this adapter stores them: fixed fields, sealed. */
import type { ShardHead } from '../fencing.ts'
import { newShardHead } from '../fencing.ts'
import { readCount, sealValue, unsealValue, writeCount } from '../sealed-values.ts'
import { sealKeys } from './keys.ts'

/** A head in Redis is compared as a whole by every script: any change to a shard changes it. */
export interface StoredHead extends ShardHead {
  /** New with every open: a script that was sent before it has no effect after it. */
  session: string
  isOpen: boolean
  /** Of the data; see OpenResult. */
  incarnation: string
  /** Counts drops, after which commit numbers begin anew. */
  generation: number
}

export const sessionBytes = 12

export function newStoredHead(): StoredHead {
  return {
    ...newShardHead(),
    session: ''.padStart(2 * sessionBytes, '0'),
    isOpen: false,
    incarnation: '',
    generation: 0,
  }
}

const fixedBytes = 3 * 8 + 4 + 1 + sessionBytes + 1

export function encodeHead(shard: number, head: StoredHead): Buffer {
  const incarnation = Buffer.from(head.incarnation)
  const owner = Buffer.from(head.owner)
  const payload = Buffer.alloc(fixedBytes + incarnation.length + owner.length)
  writeCount(payload, 0, head.epoch)
  writeCount(payload, 8, head.commitNumber)
  writeCount(payload, 16, head.commitEpoch)
  payload.writeUInt32BE(head.generation, 24)
  payload[28] = (head.dropped ? 1 : 0) | (head.isOpen ? 2 : 0)
  payload.write(head.session, 29, 'hex')
  payload[29 + sessionBytes] = incarnation.length
  incarnation.copy(payload, fixedBytes)
  owner.copy(payload, fixedBytes + incarnation.length)
  return sealValue(sealKeys.head(shard), payload)
}

/** Throws DATA_LOSS. */
export function decodeHead(shard: number, stored: Buffer): StoredHead {
  const payload = unsealValue(sealKeys.head(shard), stored, `The head of shard ${shard}`)
  const flags = payload[28] ?? 0
  const incarnationEnd = fixedBytes + (payload[29 + sessionBytes] ?? 0)
  return {
    epoch: readCount(payload, 0),
    commitNumber: readCount(payload, 8),
    commitEpoch: readCount(payload, 16),
    generation: payload.readUInt32BE(24),
    dropped: (flags & 1) !== 0,
    isOpen: (flags & 2) !== 0,
    session: payload.toString('hex', 29, 29 + sessionBytes),
    incarnation: payload.toString('utf8', fixedBytes, incarnationEnd),
    owner: payload.toString('utf8', incarnationEnd),
  }
}

export interface StoredLog {
  startOffset: number
  endOffset: number
  /** Bytes of the log's batches ever, before the start and before the end. */
  startByte: number
  endByte: number
  /** Batches ever, and the largest one: what a reader may expect. */
  batches: number
  batchBytesMax: number
  /** Batches that took the place of others, and the bytes that this saved. */
  oldBatches: number
  savedBytes: number
}

const logBytes = 7 * 8 + 4

export function encodeLog(place: { shard: number; log: string }, head: StoredLog): Buffer {
  const payload = Buffer.allocUnsafe(logBytes)
  writeCount(payload, 0, head.startOffset)
  writeCount(payload, 8, head.endOffset)
  writeCount(payload, 16, head.startByte)
  writeCount(payload, 24, head.endByte)
  writeCount(payload, 32, head.batches)
  writeCount(payload, 40, head.oldBatches)
  writeCount(payload, 48, head.savedBytes)
  payload.writeUInt32BE(head.batchBytesMax, 56)
  return sealValue(sealKeys.log(place.shard, place.log), payload)
}

/** Throws DATA_LOSS. */
export function decodeLog(place: { shard: number; log: string }, stored: Buffer): StoredLog {
  const what = `The head of log ${place.log} of shard ${place.shard}`
  const payload = unsealValue(sealKeys.log(place.shard, place.log), stored, what)
  return {
    startOffset: readCount(payload, 0),
    endOffset: readCount(payload, 8),
    startByte: readCount(payload, 16),
    endByte: readCount(payload, 24),
    batches: readCount(payload, 32),
    oldBatches: readCount(payload, 40),
    savedBytes: readCount(payload, 48),
    batchBytesMax: payload.readUInt32BE(56),
  }
}
