/**
 * Keys of the database. All numbers are big-endian, so that LevelDB's byte order is theirs; a name is
 * either last or has its length before it, so that no name can reach into another's keys.
 *
 *     00 "identity"                                        format and incarnation
 *     01 slot:4                                            write ledger
 *     02 shard:4 00                                        head of the shard
 *     02 shard:4 01 log                                    head of a log
 *     02 shard:4 02 length:4 log last-offset:8 bytes:4     record batch
 *     02 shard:4 03 key                                    value
 *     03 segment:4                                         how much of a segment file is wanted
 */

export const identityKey = Buffer.from('\u0000identity')
const ledgerTag = 1
const shardTag = 2
const segmentTag = 3
const shardPrefixBytes = 6
const batchSuffixBytes = 12

const part = { head: 0, logHead: 1, batch: 2, value: 3, end: 4 } as const

/** Keys within [from, to). */
export interface KeyRange {
  readonly from: Buffer
  readonly to: Buffer
}

export function ledgerKey(slot: number): Buffer {
  const key = Buffer.allocUnsafe(5)
  key[0] = ledgerTag
  key.writeUInt32BE(slot, 1)
  return key
}

export const segmentRange: KeyRange = {
  from: Buffer.of(segmentTag),
  to: Buffer.of(segmentTag + 1),
}

export function segmentKey(segment: number): Buffer {
  const key = Buffer.allocUnsafe(5)
  key[0] = segmentTag
  key.writeUInt32BE(segment, 1)
  return key
}

export function segmentOf(key: Buffer): number {
  return key.readUInt32BE(1)
}

/** Of a key of the ledger. */
export function slotOf(key: Buffer): number {
  return key.readUInt32BE(1)
}

export const ledgerRange: KeyRange = { from: Buffer.of(ledgerTag), to: Buffer.of(ledgerTag + 1) }

/** Everything but the identity and the ledger. */
export const allShardsRange: KeyRange = { from: Buffer.of(shardTag), to: Buffer.of(shardTag + 1) }

/** Of any key of a shard. */
export function shardOf(key: Buffer): number {
  return key.readUInt32BE(1)
}

export function shardHeadKey(shard: number): Buffer {
  return shardKey(shard, part.head, '')
}

export function logHeadKey(shard: number, log: string): Buffer {
  return shardKey(shard, part.logHead, log)
}

export function logHeadRange(shard: number): KeyRange {
  return { from: shardKey(shard, part.logHead, ''), to: shardKey(shard, part.batch, '') }
}

export function valueKey(shard: number, key: string): Buffer {
  return shardKey(shard, part.value, key)
}

/** An empty `to` is no upper bound. */
export function valueRange(shard: number, from: string, to: string): KeyRange {
  return {
    from: valueKey(shard, from),
    to: to === '' ? shardKey(shard, part.end, '') : valueKey(shard, to),
  }
}

/** Everything of the shard. */
export function shardRange(shard: number): KeyRange {
  return { from: shardKey(shard, part.head, ''), to: shardKey(shard, 0xff, '') }
}

/** Everything of the shard but its head. */
export function shardContentRange(shard: number): KeyRange {
  return { from: shardKey(shard, part.logHead, ''), to: shardKey(shard, part.end, '') }
}

export function batchKey(
  place: { shard: number; log: string },
  lastOffset: number,
  bytes: number,
): Buffer {
  const key = batchKeyOf(place, lastOffset)
  key.writeUInt32BE(bytes, key.length - 4)
  return key
}

/** Batches of a log whose last offset is within [fromOffset, beforeOffset). */
export function batchRange(
  place: { shard: number; log: string },
  fromOffset: number,
  beforeOffset = Number.MAX_SAFE_INTEGER,
): KeyRange {
  return { from: batchKeyOf(place, fromOffset), to: batchKeyOf(place, beforeOffset) }
}

/** What a key of a shard stands for; undefined when it is none of ours. */
export function describeKey(
  key: Buffer,
): { kind: 'head' | 'log' | 'batch' | 'value'; name: string } | undefined {
  const name = key.subarray(shardPrefixBytes)
  switch (key[5]) {
    case part.head:
      return name.length === 0 ? { kind: 'head', name: '' } : undefined
    case part.logHead:
      return { kind: 'log', name: name.toString() }
    case part.batch: {
      const bytes = name.length < 4 + batchSuffixBytes ? -1 : name.readUInt32BE(0)
      if (bytes !== name.length - 4 - batchSuffixBytes) return undefined
      return { kind: 'batch', name: name.toString('utf8', 4, 4 + bytes) }
    }
    case part.value:
      return { kind: 'value', name: name.toString() }
    default:
      return undefined
  }
}

/** What the key of a batch says about it. */
export function describeBatchKey(key: Buffer): { lastOffset: number; bytes: number } {
  const at = key.length - batchSuffixBytes
  const lastOffset = key.readUInt32BE(at) * 0x1_0000_0000 + key.readUInt32BE(at + 4)
  return { lastOffset, bytes: key.readUInt32BE(at + 8) }
}

/** Of the value behind the key of a batch, in the database or in a segment file. */
export function sealedBatchBytes(key: Buffer): number {
  return key.readUInt32BE(key.length - 4) + 4
}

/** The log's name, or the key's, at the end of a key of a log head or a value. */
export function nameOf(key: Buffer): string {
  return key.toString('utf8', shardPrefixBytes)
}

function shardKey(shard: number, which: number, name: string): Buffer {
  const key = Buffer.allocUnsafe(shardPrefixBytes + Buffer.byteLength(name))
  key[0] = shardTag
  key.writeUInt32BE(shard, 1)
  key[5] = which
  key.write(name, shardPrefixBytes)
  return key
}

function batchKeyOf(place: { shard: number; log: string }, offset: number): Buffer {
  const nameBytes = Buffer.byteLength(place.log)
  const key = Buffer.allocUnsafe(shardPrefixBytes + 4 + nameBytes + batchSuffixBytes)
  key[0] = shardTag
  key.writeUInt32BE(place.shard, 1)
  key[5] = part.batch
  key.writeUInt32BE(nameBytes, shardPrefixBytes)
  key.write(place.log, shardPrefixBytes + 4)
  const at = key.length - batchSuffixBytes
  key.writeUInt32BE(Math.floor(offset / 0x1_0000_0000), at)
  key.writeUInt32BE(offset >>> 0, at + 4)
  key.writeUInt32BE(0, at + 8)
  return key
}
