/**
 * Reads. They need no lease, so a commit of the owner may come between the parts of one: what does not fit
 * together is read again, in one script, and only what does not fit then is DATA_LOSS.
 */
import { StorageError } from '../errors.ts'
import { compareKeys } from '../key-order.ts'
import { baseOffset } from '../record-batch/record-batch.ts'
import { checkJoins, unsealBatch, unsealValue } from '../sealed-values.ts'
import type { KeyValue, LogInfo, ReadRequest, ReadResult, ScanRequest } from '../storage-adapter.ts'
import {
  type BatchId,
  type OldBatch,
  oldFrom,
  parseBatchId,
  parseOldHead,
  sealKeys,
  shardKeys,
} from './keys.ts'
import type { Link } from './link.ts'
import { countScript, oldScript, readScript, scanScript } from './scripts.ts'
import { decodeLog, type StoredLog } from './stored-values.ts'

interface Place {
  readonly shard: number
  readonly log: string
}

/** Fetched in one go: bounds what Redis copies while it does nothing else. */
const pageBytesMax = 4 * 1024 * 1024
const pageBatchesMax = 1000
const pageKeys = 1000

export async function readLogHead(
  link: Link,
  prefix: string,
  place: Place,
): Promise<StoredLog | undefined> {
  const stored = await link.command('hget', [shardKeys(prefix, place.shard).logs, place.log])
  return Buffer.isBuffer(stored) ? decodeLog(place, stored) : undefined
}

/** The last batch that ends at or before the offset. */
export async function findBatch(
  link: Link,
  prefix: string,
  at: Place & { offset: number },
): Promise<BatchId | undefined> {
  const keys = shardKeys(prefix, at.shard)
  const stream = keys.logPrefix + at.log
  const [entry] = entriesOf(await link.command('xrevrange', [stream, at.offset, '-', 'COUNT', 1]))
  const args = [`(${oldFrom(at.offset + 1)}`, '-', 1, 'r']
  const heads = await link.read({ script: oldScript, keys: [keys.oldPrefix + at.log], args })
  const [old] = (heads as Buffer[]).map((head) => parseOldHead(head.toString()))
  const inStream = entry && parseBatchId(entry.id)
  return (old?.nextOffset ?? -1) > (inStream?.nextOffset ?? -1) ? old : inStream
}

/** Old batches whose next offset is within [from, to). */
export async function findOld(
  link: Link,
  prefix: string,
  range: Place & { from: number; to: number },
): Promise<readonly OldBatch[]> {
  const keys = [shardKeys(prefix, range.shard).oldPrefix + range.log]
  const found: OldBatch[] = []
  let low = `[${oldFrom(range.from)}`
  for (;;) {
    const args = [low, `(${oldFrom(range.to)}`, pageKeys, 'f']
    const heads = (await link.read({ script: oldScript, keys, args })) as Buffer[]
    found.push(...heads.map((head) => parseOldHead(head.toString())))
    const last = found[found.length - 1]
    if (heads.length < pageKeys || last === undefined) return found
    low = `[${oldFrom(last.nextOffset + 1)}`
  }
}

export async function readLog(
  link: Link,
  prefix: string,
  request: ReadRequest,
): Promise<ReadResult> {
  const head = await readLogHead(link, prefix, request)
  if (head === undefined) return { batches: [], startOffset: 0, endOffset: 0 }
  const source = { link, prefix, request, head }
  const isEven = head.oldBatches === 0 && head.batchBytesMax <= unevenFactor * meanBytes(head)
  if (isEven) {
    try {
      return resultOf(head, await collect(source, (at, left) => readByCount(source, at, left)))
    } catch (error) {
      if (!(error instanceof StorageError) || error.code !== 'DATA_LOSS') throw error
    }
  }
  return readAtomically(link, prefix, request)
}

interface Source {
  readonly link: Link
  readonly prefix: string
  readonly request: ReadRequest
  readonly head: StoredLog
}

/** The first page and the head are of one moment: what does not fit together there is damage. */
async function readAtomically(
  link: Link,
  prefix: string,
  request: ReadRequest,
): Promise<ReadResult> {
  const place = { shard: request.shard, log: request.log }
  const first = await readPage(link, prefix, { place, ...pageFrom(request.fromOffset, request) })
  const { head } = first
  if (head === undefined) return { batches: [], startOffset: 0, endOffset: 0 }
  const source = { link, prefix, request, head }
  let isFirst = true
  const batches = await collect(source, async (at, left) => {
    if (isFirst) {
      isFirst = false
      return first.entries
    }
    const page = await readPage(link, prefix, { place, at, left })
    // The owner has trimmed meanwhile: what was read so far is the answer.
    return page.head === undefined || page.head.startOffset > at ? undefined : page.entries
  })
  return resultOf(head, batches)
}

function pageFrom(at: number, { bytesMax }: ReadRequest): { at: number; left: number } {
  return { at, left: Math.min(bytesMax, pageBytesMax) }
}

function resultOf({ startOffset, endOffset }: StoredLog, batches: Uint8Array[]): ReadResult {
  return { batches, startOffset, endOffset }
}

/**
 * Checks and joins pages until the bytes are reached or the log ends; a page that is undefined ends it.
 * Throws DATA_LOSS.
 */
async function collect(
  { request, head }: Source,
  nextPage: (at: number, left: number) => Promise<Entry[] | undefined>,
): Promise<Uint8Array[]> {
  const { shard, log, bytesMax } = request
  const fromOffset = Math.max(request.fromOffset, head.startOffset)
  const batches: Uint8Array[] = []
  let bytes = 0
  let at = fromOffset
  while (at < head.endOffset) {
    const page = await nextPage(at, Math.min(bytesMax - bytes, pageBytesMax))
    if (page === undefined) return batches
    for (const { id, stored } of page) {
      const { nextOffset } = parseBatchId(id)
      if (nextOffset > head.endOffset) break
      const batch = unsealBatch(sealKeys.batch(shard, log, nextOffset), stored, nextOffset - 1)
      if (batches.length > 0 && bytes + batch.length > bytesMax) return batches
      const isFirst = batches.length === 0
      at = checkJoins(batch, isFirst ? Math.min(at, baseOffset(batch)) : at)
      batches.push(batch)
      bytes += batch.length
    }
    if (bytes >= bytesMax) return batches
    if (page.length === 0) throw missing(request, at)
  }
  return batches
}

async function readByCount(
  { link, prefix, request, head }: Source,
  at: number,
  left: number,
): Promise<Entry[]> {
  const count = Math.min(Math.max(1, Math.floor(left / meanBytes(head))), pageBatchesMax)
  const stream = shardKeys(prefix, request.shard).logPrefix + request.log
  return entriesOf(await link.command('xrange', [stream, at + 1, '+', 'COUNT', count]))
}

export async function readPage(
  link: Link,
  prefix: string,
  { place, at, left }: { place: Place; at: number; left: number },
): Promise<{ head: StoredLog | undefined; entries: Entry[] }> {
  const { logs, logPrefix, oldPrefix } = shardKeys(prefix, place.shard)
  const keys = [logs, logPrefix + place.log, oldPrefix + place.log]
  const args = [place.log, at + 1, Math.max(left, 1)]
  const reply = await link.read({ script: readScript, keys, args })
  const [head, ...flat] = reply as [Buffer | null, ...Buffer[]]
  const entries = Array.from({ length: flat.length / 2 }, (_, index) => ({
    id: (flat[2 * index] as Buffer).toString(),
    stored: flat[2 * index + 1] as Buffer,
  }))
  return { head: head === null ? undefined : decodeLog(place, head), entries }
}

function meanBytes({ endByte, batches }: StoredLog): number {
  return Math.max(1, endByte / Math.max(1, batches))
}

/** Batches within this factor of their mean are fetched by their number. */
const unevenFactor = 4

interface Entry {
  readonly id: string
  readonly stored: Buffer
}

export function entriesOf(reply: unknown): Entry[] {
  return (reply as [Buffer, Buffer[]][]).map(([id, fields]) => ({
    id: id.toString(),
    stored: fields[1] ?? Buffer.alloc(0),
  }))
}

function missing({ shard, log }: Place, offset: number): StorageError {
  return new StorageError(
    'DATA_LOSS',
    `Log ${log} of shard ${shard} has no records at offset ${offset}`,
  )
}

export async function readValue(
  link: Link,
  prefix: string,
  { shard, key }: { shard: number; key: string },
): Promise<Uint8Array | undefined> {
  const stored = await link.command('hget', [shardKeys(prefix, shard).values, key])
  if (!Buffer.isBuffer(stored)) return undefined
  return unsealValue(sealKeys.value(shard, key), stored, valueName(shard, key))
}

export async function scanValues(
  link: Link,
  prefix: string,
  request: ScanRequest,
): Promise<KeyValue[]> {
  const { shard, from, to, limit, reverse = false } = request
  const { values, keys } = shardKeys(prefix, shard)
  const found: KeyValue[] = []
  if (to !== '' && compareKeys(from, to) >= 0) return found
  let low = `[${from}`
  let high = to === '' ? '+' : `(${to}`
  while (found.length < limit) {
    const [first, last] = reverse ? [high, low] : [low, high]
    const args = [first, last, Math.min(limit - found.length, pageKeys), pageBytesMax]
    const call = { script: scanScript, keys: [values, keys], args: [...args, reverse ? 'r' : 'f'] }
    const page = (await link.read(call)) as (Buffer | null)[]
    for (let at = 0; at < page.length; at += 2) {
      const key = (page[at] as Buffer).toString()
      const stored = page[at + 1]
      const what = valueName(shard, key)
      if (!stored) throw new StorageError('DATA_LOSS', `${what} is missing`)
      found.push({ key, value: unsealValue(sealKeys.value(shard, key), stored, what) })
    }
    if (page.length === 0) break
    const edge = `(${found.at(-1)?.key ?? ''}`
    if (reverse) high = edge
    else low = edge
  }
  return found
}

export async function logNames(link: Link, prefix: string, shard: number): Promise<string[]> {
  const heads = await logHeads(link, prefix, shard)
  return Array.from(heads.keys())
}

export async function readLogs(link: Link, prefix: string, shard: number): Promise<LogInfo[]> {
  const infos: LogInfo[] = []
  for (const [log, stored] of await logHeads(link, prefix, shard)) {
    const { startOffset, endOffset, ...head } = decodeLog({ shard, log }, stored)
    const bytes = head.endByte - head.startByte - head.savedBytes
    infos.push({ log, startOffset, endOffset, bytes })
  }
  return infos.sort((a, b) => compareKeys(a.log, b.log))
}

/** Keys of the shard and the bytes of their values. */
export async function countValues(
  link: Link,
  prefix: string,
  shard: number,
): Promise<{ keys: number; bytes: number }> {
  const shardsKeys = shardKeys(prefix, shard)
  const sum = { keys: 0, bytes: 0 }
  let from = '-'
  for (;;) {
    const keys = [shardsKeys.values, shardsKeys.keys]
    const reply = await link.read({ script: countScript, keys, args: [from, pageKeys] })
    const [last, count, bytes] = reply as [Buffer, number, number]
    sum.keys += count
    sum.bytes += bytes - count * sealBytes
    if (count < pageKeys) return sum
    from = `(${last.toString()}`
  }
}

const sealBytes = 4

/** In steps, since it may be long: a log that comes or goes meanwhile may be in it or not. */
export async function logHeads(
  link: Link,
  prefix: string,
  shard: number,
): Promise<Map<string, Buffer>> {
  const heads = new Map<string, Buffer>()
  const { logs } = shardKeys(prefix, shard)
  let cursor = '0'
  do {
    const reply = await link.command('hscan', [logs, cursor, 'COUNT', 2000])
    const [next, flat] = reply as [Buffer, Buffer[]]
    for (let at = 0; at < flat.length; at += 2) {
      heads.set((flat[at] as Buffer).toString(), flat[at + 1] as Buffer)
    }
    cursor = next.toString()
  } while (cursor !== '0')
  return heads
}

function valueName(shard: number, key: string): string {
  return `The value of ${JSON.stringify(key.slice(0, 100))} in shard ${shard}`
}
