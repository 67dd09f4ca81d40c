/**
 * Makes a group durable: its batches to a segment file when they are many bytes, then all of it, with places
 * in their stead, in one synced write of the database. Many small batches cost less in the database, since a
 * segment file is a second sync.
 */
import { asStorageError, type Engine } from './engine.ts'
import { sealedBatchBytes } from './keys.ts'
import type { Frame, Place } from './segment-file.ts'
import type { Segments } from './segments.ts'
import { encodePlace } from './stored-values.ts'
import type { PutOperation, WriteGroup, WriteOperation } from './write-group.ts'
import type { WriteLedger } from './write-ledger.ts'

/**
 * What goes to a segment file: batches of that size, when a group has that many bytes of them. Smaller ones
 * are read faster from the database, and few bytes do not pay for a second sync; see docs/benchmarks.md.
 */
export interface SegmentLimits {
  readonly batchBytesMin: number
  readonly groupBytesMin: number
}

export const defaultLimits: SegmentLimits = { batchBytesMin: 8 * 1024, groupBytesMin: 128 * 1024 }

export interface GroupStoreParts {
  readonly engine: Engine
  readonly segments: Segments
  readonly ledger: WriteLedger
  readonly segmentLimits?: SegmentLimits | undefined
}

/** Rejects with what the engine or the file system says; what is stored then is not known. */
export async function storeGroup(parts: GroupStoreParts, group: WriteGroup): Promise<void> {
  const { engine, segments, ledger } = parts
  for (const shard of group.shards) shard.writeHeads(group)
  if (group.operations.length === 0) return
  const places = await storeBatches(parts, group)
  const batch = engine.batch()
  // A chained batch: the binding's list form copies its options into each operation, ten times the cost.
  const add = (operation: WriteOperation): void => {
    if (operation.type === 'del') batch.del(operation.key)
    else batch.put(operation.key, operation.value)
  }
  // Where the batches of this group are, up to the operation that comes next.
  const placed = new Map<string, Place>()
  for (const operation of group.operations) {
    releaseOld(segments, operation, placed)
    const place = places.get(operation)
    if (place === undefined) add(operation)
    else {
      placed.set(operation.key.toString('latin1'), place)
      batch.put(operation.key, encodePlace(operation.key, place))
    }
  }
  for (const operation of segments.operations()) add(operation)
  add(ledger.next(Array.from(group.shards, ({ shard }) => shard)))
  await batch.write({ sync: true })
  await segments.removeGone().catch((error) => {
    throw asStorageError(error, 'A segment file cannot be removed')
  })
}

type Places = Map<WriteOperation, Place>

async function storeBatches(
  { segments, segmentLimits = defaultLimits }: GroupStoreParts,
  group: WriteGroup,
): Promise<Places> {
  const batches: PutOperation[] = []
  const places: Places = new Map()
  let bytes = 0
  for (const operation of group.operations) {
    if (operation.type !== 'put' || operation.isBatch !== true) continue
    if (operation.place !== undefined) {
      segments.want(operation.place)
      places.set(operation, operation.place)
      continue
    }
    if (operation.value.length < segmentLimits.batchBytesMin) continue
    batches.push(operation)
    bytes += operation.value.length
  }
  if (batches.length === 0 || bytes < segmentLimits.groupBytesMin) return places
  const frames: Frame[] = batches.map(({ key, value }) => ({ key, value }))
  for (const [at, place] of (await segments.append(frames)).entries()) {
    const operation = batches[at] as PutOperation
    if (operation.stored) operation.stored.place = place
    places.set(operation, place)
  }
  return places
}

/** What the operation takes away: a value stored before, or one that the same group has put. */
function releaseOld(
  segments: Segments,
  operation: WriteOperation,
  placed: Map<string, Place>,
): void {
  const { from, key } = operation
  const bytes = sealedBatchBytes(key)
  if (from !== undefined) segments.release(from, bytes)
  if (operation.type === 'put' || placed.size === 0) return
  const name = key.toString('latin1')
  const place = placed.get(name)
  if (place === undefined) return
  segments.release(place, bytes)
  placed.delete(name)
}
