/**
 * Runs one request of the wire on an adapter and gives its answer, in several parts where one message
 * could become too large. Never rejects: what goes wrong is an answer too.
 */
import type { storage } from '@robust/proto'
import { StorageError } from '../errors.ts'
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

export async function answer(
  adapter: StorageAdapter,
  request: storage.Request,
  onUnexpected: (error: unknown) => void,
): Promise<AnswerPart[]> {
  try {
    return await run(adapter, request)
  } catch (error) {
    if (!(error instanceof StorageError)) onUnexpected(error)
    const failure =
      error instanceof StorageError
        ? error
        : new StorageError('UNAVAILABLE', 'The storage node failed', { cause: error })
    return [single({ $case: 'failure', value: failureOf(failure) })]
  }
}

async function run(adapter: StorageAdapter, { kind }: storage.Request): Promise<AnswerPart[]> {
  switch (kind?.$case) {
    case 'open':
      return [single({ $case: 'opened', value: await adapter.open(kind.value) })]
    case 'commit': {
      const operations = kind.value.operations.map(decodeOperation)
      await adapter.commit({ ...kind.value, operations })
      return [done]
    }
    case 'read':
      return readParts(adapter, kind.value)
    case 'get': {
      const value = await adapter.get(kind.value.shard, kind.value.key)
      const found = value !== undefined
      const bytes = itemOverheadBytes + (value?.length ?? 0)
      return [{ kind: { $case: 'value', value: { found, value: value ?? noBytes } }, bytes }]
    }
    case 'scan':
      return scanParts(adapter, kind.value)
    case 'logs': {
      const logs = await adapter.logs(kind.value.shard)
      const parts = split(logs, ({ log }) => log.length * 3 + itemOverheadBytes)
      return parts.map(({ items, bytes }) => ({
        kind: { $case: 'logs', value: { logs: items } },
        bytes,
      }))
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

async function readParts(adapter: StorageAdapter, request: storage.Read): Promise<AnswerPart[]> {
  const { batches, startOffset, endOffset } = await adapter.read(request)
  return split(batches, (batch) => batch.length).map(({ items, bytes }) => ({
    kind: { $case: 'read', value: { batches: items, startOffset, endOffset } },
    bytes,
  }))
}

async function scanParts(adapter: StorageAdapter, request: storage.Scan): Promise<AnswerPart[]> {
  const { shard, limit, reverse, range } = request
  const { from, to } = range ?? { from: '', to: '' }
  const entries = await adapter.scan({ shard, from, to, limit, reverse })
  const parts = split(entries, ({ key, value }) => key.length * 3 + value.length)
  return parts.map(({ items, bytes }) => ({
    kind: { $case: 'scan', value: { entries: items } },
    bytes,
  }))
}

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
