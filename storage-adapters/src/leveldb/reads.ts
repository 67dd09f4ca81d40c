/**
 * Reads of what is committed, each on one snapshot, each stored value checked. Nothing damaged is ever
 * skipped: the read that meets it rejects with DATA_LOSS, others do not notice.
 */
import { StorageError } from '../errors.ts'
import { newShardHead } from '../fencing.ts'
import { baseOffset } from '../record-batch/record-batch.ts'
import { checkJoins, unsealBatch, unsealValue } from '../sealed-values.ts'
import type {
  KeyValue,
  LogInfo,
  ReadRequest,
  ReadResult,
  ScanRequest,
  ShardStats,
} from '../storage-adapter.ts'
import { type Engine, type Snapshot, walk } from './engine.ts'
import {
  allShardsRange,
  batchRange,
  describeBatchKey,
  type KeyRange,
  logHeadKey,
  logHeadRange,
  nameOf,
  shardHeadKey,
  shardOf,
  valueKey,
  valueRange,
} from './keys.ts'
import { decodeLogHead, decodeShardHead, type LogHead } from './stored-values.ts'

export async function readLog(engine: Engine, request: ReadRequest): Promise<ReadResult> {
  const snapshot = engine.snapshot()
  try {
    const key = logHeadKey(request.shard, request.log)
    const stored = await engine.get(key, { snapshot })
    if (!stored) return { batches: [], startOffset: 0, endOffset: 0 }
    const head = decodeLogHead(unsealValue(key, stored))
    const batches = await readBatches(engine, request, { snapshot, head })
    return { batches, startOffset: head.startOffset, endOffset: head.endOffset }
  } finally {
    await snapshot.close()
  }
}

async function readBatches(
  engine: Engine,
  request: ReadRequest,
  at: { snapshot: Snapshot; head: LogHead },
): Promise<Uint8Array[]> {
  const { startOffset, endOffset } = at.head
  const fromOffset = Math.max(request.fromOffset, startOffset)
  const batches: Uint8Array[] = []
  if (fromOffset >= endOffset) return batches
  const pages = walk(engine, batchRange(request, fromOffset), {
    snapshot: at.snapshot,
    pageBytes: Math.min(Math.max(request.bytesMax, 1), pageBytesMax),
  })
  let bytes = 0
  let expected: number | undefined
  for await (const page of pages) {
    for (const [key, stored] of page) {
      const batch = unsealBatch(key, stored, describeBatchKey(key).lastOffset)
      if (batches.length > 0 && bytes + batch.length > request.bytesMax) return batches
      expected =
        expected === undefined ? checkFirst(batch, fromOffset) : checkJoins(batch, expected)
      batches.push(batch)
      bytes += batch.length
      if (bytes >= request.bytesMax) return batches
    }
  }
  if (expected !== endOffset) {
    throw new StorageError(
      'DATA_LOSS',
      `Log ${request.log} of shard ${request.shard} has no records from offset ${expected ?? fromOffset} to ${endOffset}`,
    )
  }
  return batches
}

/** The first batch holds the wanted offset: its key has shown that it does not end before. */
function checkFirst(batch: Uint8Array, fromOffset: number): number {
  return checkJoins(batch, Math.min(fromOffset, baseOffset(batch)))
}

export async function readValue(
  engine: Engine,
  shard: number,
  key: string,
): Promise<Uint8Array | undefined> {
  const storedKey = valueKey(shard, key)
  const stored = await engine.get(storedKey)
  return stored && unsealValue(storedKey, stored)
}

export async function scanValues(engine: Engine, request: ScanRequest): Promise<KeyValue[]> {
  const found: KeyValue[] = []
  const range = valueRange(request.shard, request.from, request.to)
  if (request.limit === 0 || range.from.compare(range.to) >= 0) return found
  const { limit, reverse = false } = request
  for await (const page of walk(engine, range, { limit, reverse })) {
    for (const [key, stored] of page)
      found.push({ key: nameOf(key), value: unsealValue(key, stored) })
  }
  return found
}

export async function readLogs(engine: Engine, shard: number): Promise<LogInfo[]> {
  const infos: LogInfo[] = []
  for await (const page of walk(engine, logHeadRange(shard))) {
    for (const [key, stored] of page) {
      infos.push({ log: nameOf(key), ...decodeLogHead(unsealValue(key, stored)) })
    }
  }
  return infos
}

/** One seek for each shard. */
export async function readShards(engine: Engine): Promise<number[]> {
  const shards: number[] = []
  let next: number | undefined = 0
  while (next !== undefined) {
    const range: KeyRange = { from: shardHeadKey(next), to: allShardsRange.to }
    const [key] = await engine.keys({ gte: range.from, lt: range.to, limit: 1 }).all()
    if (key === undefined) break
    const shard = shardOf(key)
    shards.push(shard)
    next = shard < 0xffff_ffff ? shard + 1 : undefined
  }
  return shards
}

export async function readStats(
  engine: Engine,
  shard: number,
): Promise<Omit<ShardStats, 'incarnation'>> {
  const headKey = shardHeadKey(shard)
  const stored = await engine.get(headKey)
  const head = stored ? decodeShardHead(unsealValue(headKey, stored)) : newShardHead()
  const logs = await readLogs(engine, shard)
  let keys = 0
  let bytes = logs.reduce((sum, log) => sum + log.bytes, 0)
  for await (const page of walk(engine, valueRange(shard, '', ''))) {
    for (const [key, value] of page) {
      keys += 1
      bytes += unsealValue(key, value).length
    }
  }
  return { epoch: head.epoch, commitNumber: head.commitNumber, logs: logs.length, keys, bytes }
}

/** Bytes fetched from LevelDB in one go: bounds the memory of a read with a large limit. */
const pageBytesMax = 1024 * 1024
