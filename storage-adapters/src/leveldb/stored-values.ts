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

/**
 * The head of the log that the last writes of its shard have changed, when it was one: kept with the head of the
 * shard, which every write changes, it costs no entry of its own. It counts, whatever the log's own entry says.
 */
export interface HostedLog extends LogHead {
  readonly name: string
}

const headFlag = { dropped: 1, hasLog: 2 } as const
const headBytes = 25
const logHeadBytes = 24

/**
 *     epoch:8 commit:8 commit-epoch:8 flags:1 owner
 *     epoch:8 commit:8 commit-epoch:8 flags:1 owner-length:4 owner log-head:24 log     with a log
 */
export function encodeShardHead(head: ShardHead, log?: HostedLog): Buffer {
  const ownerBytes = Buffer.byteLength(head.owner)
  const ownerAt = headBytes + (log === undefined ? 0 : 4)
  const logBytes = log === undefined ? 0 : logHeadBytes + Buffer.byteLength(log.name)
  const payload = Buffer.allocUnsafe(ownerAt + ownerBytes + logBytes)
  writeCount(payload, 0, head.epoch)
  writeCount(payload, 8, head.commitNumber)
  writeCount(payload, 16, head.commitEpoch)
  payload[24] = (head.dropped ? headFlag.dropped : 0) | (log === undefined ? 0 : headFlag.hasLog)
  payload.write(head.owner, ownerAt)
  if (log !== undefined) {
    payload.writeUInt32BE(ownerBytes, headBytes)
    writeLogHead(payload, ownerAt + ownerBytes, log)
    payload.write(log.name, ownerAt + ownerBytes + logHeadBytes)
  }
  return payload
}

export function decodeShardHead(payload: Buffer): ShardHead {
  const hasLog = ((payload[24] ?? 0) & headFlag.hasLog) !== 0
  const ownerAt = headBytes + (hasLog ? 4 : 0)
  const ownerEnd = hasLog ? ownerAt + payload.readUInt32BE(headBytes) : payload.length
  return {
    epoch: readCount(payload, 0),
    commitNumber: readCount(payload, 8),
    commitEpoch: readCount(payload, 16),
    dropped: ((payload[24] ?? 0) & headFlag.dropped) !== 0,
    owner: payload.toString('utf8', ownerAt, ownerEnd),
  }
}

/** Of a head of a shard. */
export function decodeHostedLog(payload: Buffer): HostedLog | undefined {
  if (((payload[24] ?? 0) & headFlag.hasLog) === 0) return undefined
  const at = headBytes + 4 + payload.readUInt32BE(headBytes)
  return { ...readLogHead(payload, at), name: payload.toString('utf8', at + logHeadBytes) }
}

export function encodeLogHead(head: LogHead): Buffer {
  const payload = Buffer.allocUnsafe(logHeadBytes)
  writeLogHead(payload, 0, head)
  return payload
}

export function decodeLogHead(payload: Buffer): LogHead {
  return readLogHead(payload, 0)
}

function writeLogHead(payload: Buffer, at: number, head: LogHead): void {
  writeCount(payload, at, head.startOffset)
  writeCount(payload, at + 8, head.endOffset)
  writeCount(payload, at + 16, head.bytes)
}

function readLogHead(payload: Buffer, at: number): LogHead {
  return {
    startOffset: readCount(payload, at),
    endOffset: readCount(payload, at + 8),
    bytes: readCount(payload, at + 16),
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
