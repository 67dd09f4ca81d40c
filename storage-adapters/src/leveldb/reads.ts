/**
 * Reads of what is committed, each on one snapshot, each stored value checked. Nothing damaged is ever
 * skipped: the read that meets it rejects with DATA_LOSS, others do not notice.
 */
import { StorageError } from '../errors.ts'
import { newShardHead } from '../fencing.ts'
import { compareKeys } from '../key-order.ts'
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
import { type BatchStore, loadBatch, withSegments } from './batch-store.ts'
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
import {
  decodeHostedLog,
  decodeLogHead,
  decodeShardHead,
  type HostedLog,
  isPlace,
  type LogHead,
} from './stored-values.ts'

export function readLog(store: BatchStore, request: ReadRequest): Promise<ReadResult> {
  return withSegments(() => readLogOnce(store, request))
}

async function readLogOnce(store: BatchStore, request: ReadRequest): Promise<ReadResult> {
  const { engine } = store
  const snapshot = engine.snapshot()
  try {
    const head = await readLogHead(engine, request, snapshot)
    if (head === undefined) return { batches: [], startOffset: 0, endOffset: 0 }
    const batches = await readBatches(store, request, { snapshot, head })
    return { batches, startOffset: head.startOffset, endOffset: head.endOffset }
  } finally {
    await snapshot.close()
  }
}

async function readLogHead(
  engine: Engine,
  { shard, log }: ReadRequest,
  snapshot: Snapshot,
): Promise<LogHead | undefined> {
  const [shardKey, key] = [shardHeadKey(shard), logHeadKey(shard, log)]
  const [shardHead, stored] = await engine.getMany([shardKey, key], { snapshot })
  const hosted = shardHead && decodeHostedLog(unsealValue(shardKey, shardHead))
  if (hosted?.name === log) return hosted
  return stored && decodeLogHead(unsealValue(key, stored))
}

async function readBatches(
  store: BatchStore,
  request: ReadRequest,
  at: { snapshot: Snapshot; head: LogHead },
): Promise<Uint8Array[]> {
  const { startOffset, endOffset } = at.head
  const fromOffset = Math.max(request.fromOffset, startOffset)
  const batches: Uint8Array[] = []
  if (fromOffset >= endOffset) return batches
  const pages = walk(store.engine, batchRange(request, fromOffset), {
    snapshot: at.snapshot,
    pageBytes: Math.min(Math.max(request.bytesMax, 1), pageBytesMax),
  })
  let bytes = 0
  let expected: number | undefined
  for await (const page of pages) {
    const wanted = withinBytes(page, request.bytesMax - bytes)
    const loaded = await loadAll(store, wanted)
    for (const [at, sealed] of loaded.entries()) {
      const key = wanted[at]?.[0] as Buffer
      const batch = unsealBatch(key, sealed, describeBatchKey(key).lastOffset)
      if (batches.length > 0 && bytes + batch.length > request.bytesMax) return batches
      expected =
        expected === undefined ? checkFirst(batch, fromOffset) : checkJoins(batch, expected)
      batches.push(batch)
      bytes += batch.length
      if (bytes >= request.bytesMax) return batches
    }
    if (wanted.length < page.length) return batches
  }
  if (expected !== endOffset) {
    throw new StorageError(
      'DATA_LOSS',
      `Log ${request.log} of shard ${request.shard} has no records from offset ${expected ?? fromOffset} to ${endOffset}`,
    )
  }
  return batches
}

/** Entries up to the one that does not fit, and one at least; their keys tell how large they are. */
function withinBytes(page: [Buffer, Buffer][], bytesMax: number): [Buffer, Buffer][] {
  let bytes = 0
  let count = 0
  for (const [key] of page) {
    bytes += describeBatchKey(key).bytes
    if (count > 0 && bytes > bytesMax) break
    count += 1
  }
  return count === page.length ? page : page.slice(0, count)
}

/** In order; those in segment files side by side, up to so many bytes. */
async function loadAll(store: BatchStore, entries: [Buffer, Buffer][]): Promise<Buffer[]> {
  const loaded: Buffer[] = []
  let piece: (Buffer | Promise<Buffer>)[] = []
  let bytes = 0
  for (const [key, stored] of entries) {
    piece.push(isPlace(stored) ? loadBatch(store, key, stored) : stored)
    bytes += describeBatchKey(key).bytes
    if (bytes < pageBytesMax) continue
    loaded.push(...(await Promise.all(piece)))
    piece = []
    bytes = 0
  }
  loaded.push(...(await Promise.all(piece)))
  return loaded
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
  const snapshot = engine.snapshot()
  try {
    const key = shardHeadKey(shard)
    const head = await engine.get(key, { snapshot })
    const hosted = head && decodeHostedLog(unsealValue(key, head))
    for await (const page of walk(engine, logHeadRange(shard), { snapshot })) {
      for (const [key, stored] of page) {
        const log = nameOf(key)
        if (log !== hosted?.name) infos.push({ log, ...decodeLogHead(unsealValue(key, stored)) })
      }
    }
    if (hosted !== undefined) insertInOrder(infos, hosted)
    return infos
  } finally {
    await snapshot.close()
  }
}

function insertInOrder(infos: LogInfo[], { name: log, ...head }: HostedLog): void {
  let at = infos.length
  while (at > 0 && compareKeys(infos[at - 1]?.log ?? '', log) > 0) at -= 1
  infos.splice(at, 0, { log, ...head })
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
