/**
 * Runs one request of the wire on an adapter and gives its answer, in several parts where it could become
 * large: reads and scans go on page by page, as fast as the parts are taken. Never throws: what goes wrong
 * is an answer too.
 */
import type { storage } from '@robust/proto'
import { StorageError } from '../errors.ts'
import { baseOffset, nextOffset } from '../record-batch/record-batch.ts'
import type { StorageAdapter } from '../storage-adapter.ts'
import { itemOverheadBytes } from '../wire/channel.ts'
import { failureOf } from '../wire/failures.ts'
import { decodeOperation } from '../wire/operations.ts'

export type AnswerKind = NonNullable<storage.Response['kind']>

export interface AnswerPart {
  readonly kind: AnswerKind
  readonly bytes: number
}

/** A part is sent when it has this many bytes; a single larger entry goes alone. */
const partBytesTarget = 4 * 1024 * 1024

export async function* answer(
  adapter: StorageAdapter,
  kind: Request,
  onUnexpected: (error: unknown) => void,
): AsyncGenerator<AnswerPart> {
  try {
    if (kind?.$case === 'read') yield* readParts(adapter, kind.value)
    else if (kind?.$case === 'scan') yield* scanParts(adapter, kind.value)
    else yield* await run(adapter, kind)
  } catch (error) {
    yield failed(error, onUnexpected)
  }
}

/** The same for a commit, of which there are many, at a fraction of the cost. */
export async function answerCommit(
  adapter: StorageAdapter,
  commit: storage.Commit,
  onUnexpected: (error: unknown) => void,
): Promise<AnswerPart> {
  try {
    const { shard, epoch, commitNumber } = commit
    const operations = commit.operations.map(decodeOperation)
    await adapter.commit({ shard, epoch, commitNumber, operations })
    return done
  } catch (error) {
    return failed(error, onUnexpected)
  }
}

function failed(error: unknown, onUnexpected: (error: unknown) => void): AnswerPart {
  if (!(error instanceof StorageError)) onUnexpected(error)
  const failure =
    error instanceof StorageError
      ? error
      : new StorageError('UNAVAILABLE', 'The storage node failed', { cause: error })
  // It may name a log or a key.
  const bytes = itemOverheadBytes + 3 * failure.message.length
  return { kind: { $case: 'failure', value: failureOf(failure) }, bytes }
}

export type Request = Exclude<storage.Request['kind'], { $case: 'commit' }>
type OneAnswer = Exclude<Request, { $case: 'read' } | { $case: 'scan' }>

async function run(adapter: StorageAdapter, kind: OneAnswer): Promise<AnswerPart[]> {
  switch (kind?.$case) {
    case 'open':
      return [single({ $case: 'opened', value: await adapter.open(kind.value) })]
    case 'get': {
      const value = await adapter.get(kind.value.shard, kind.value.key)
      const found = value !== undefined
      const bytes = itemOverheadBytes + (value?.length ?? 0)
      return [{ kind: { $case: 'value', value: { found, value: value ?? noBytes } }, bytes }]
    }
    case 'logs': {
      const logs = await adapter.logs(kind.value.shard)
      const parts = split(logs, ({ log }) => log.length * 3 + itemOverheadBytes)
      return parts.map(({ items, bytes }) => ({
        kind: { $case: 'logs', value: { logs: items } },
        bytes,
      }))
    }
    case 'shards': {
      const shards = await adapter.shards()
      return [{ kind: { $case: 'shards', value: { shards } }, bytes: 8 * shards.length }]
    }
    case 'stats':
      return [single({ $case: 'stats', value: await adapter.stats(kind.value.shard) })]
    case 'close':
      await adapter.close(kind.value.shard, kind.value.epoch)
      return [done]
    case 'drop':
      await adapter.drop(kind.value.shard, kind.value.epoch)
      return [done]
    case undefined:
      throw new StorageError('INVALID', 'Unknown request')
    default:
      kind satisfies never
      throw new StorageError('INVALID', 'Unknown request')
  }
}

/** The log's ends are those of the first page; what the owner trims meanwhile ends the answer. */
async function* readParts(
  adapter: StorageAdapter,
  request: storage.Read,
): AsyncGenerator<AnswerPart> {
  const { bytesMax } = request
  let at = request.fromOffset
  let bytes = 0
  let ends: { startOffset: number; endOffset: number } | undefined
  for (;;) {
    const left = Math.min(bytesMax - bytes, partBytesTarget)
    const page = await adapter.read({ ...request, fromOffset: at, bytesMax: left })
    const isFirst = ends === undefined
    ends ??= { startOffset: page.startOffset, endOffset: page.endOffset }
    const batches: Uint8Array[] = []
    let pageBytes = itemOverheadBytes
    for (const batch of page.batches) {
      const isJoined = isFirst || baseOffset(batch) === at
      // A page has one batch at least; the whole answer has, too, and fits else.
      if (!isJoined || (bytes > 0 && bytes + batch.length > bytesMax)) break
      batches.push(batch)
      at = nextOffset(batch)
      bytes += batch.length
      pageBytes += batch.length
    }
    if (isFirst || batches.length > 0) {
      yield {
        kind: { $case: 'read', value: { batches, batchBytes: [], ...ends } },
        bytes: pageBytes,
      }
    }
    if (batches.length === 0 || bytes >= bytesMax || at >= ends.endOffset) return
  }
}

async function* scanParts(
  adapter: StorageAdapter,
  request: storage.Scan,
): AsyncGenerator<AnswerPart> {
  const { shard, reverse, range } = request
  let { from, to } = range ?? { from: '', to: '' }
  let left = request.limit
  let limit = firstPageKeys
  for (let isFirst = true; ; isFirst = false) {
    const wanted = Math.min(left, limit)
    const entries = await adapter.scan({ shard, from, to, limit: wanted, reverse })
    left -= entries.length
    const parts = split(entries, ({ key, value }) => key.length * 3 + value.length)
    for (const { items, bytes } of parts) {
      if (items.length > 0 || isFirst) {
        yield { kind: { $case: 'scan', value: { entries: items } }, bytes }
      }
    }
    const last = entries.at(-1)
    if (last === undefined || entries.length < wanted || left === 0) return
    if (reverse && last.key === '') return
    if (reverse) to = last.key
    else from = `${last.key}\u0000`
    const bytes = parts.reduce((sum, part) => sum + part.bytes, 0)
    limit = Math.min(pageKeysMax, Math.max(1, Math.floor(partBytesTarget / (bytes / wanted))))
  }
}

/** The sizes of values are not known before the first page. */
const firstPageKeys = 64
const pageKeysMax = 5000

/** At least one part, even for no items. */
function split<Item>(
  items: readonly Item[],
  sizeOf: (item: Item) => number,
): { items: Item[]; bytes: number }[] {
  let part = { items: [] as Item[], bytes: itemOverheadBytes }
  const parts = [part]
  for (const item of items) {
    const size = sizeOf(item) + 8
    if (part.items.length > 0 && part.bytes + size > partBytesTarget) {
      part = { items: [], bytes: itemOverheadBytes }
      parts.push(part)
    }
    part.items.push(item)
    part.bytes += size
  }
  return parts
}

function single(kind: AnswerKind): AnswerPart {
  return { kind, bytes: itemOverheadBytes }
}

const done = single({ $case: 'done', value: {} })
const noBytes = new Uint8Array(0)
