/** Records of a log by their times, exact within batches. Segments and batches that cannot hold what is looked for are passed over. */
import {
  baseOffset,
  maxTimestamp,
  nextOffset,
  openRecordBatch,
  RecordBatchError,
} from '@robust/storage-adapters'
import type { PartitionLog } from './partition-log.ts'

export interface TimedOffset {
  readonly offset: number
  /** ms. */
  readonly timestamp: number
}

type Looked = Pick<PartitionLog, 'segments' | 'read' | 'startOffset' | 'endOffset'>

const READ_BYTES = 1024 * 1024

/** The first record whose time is this or later; undefined: there is none. */
export async function offsetForTime(
  log: Looked,
  timestamp: number,
): Promise<TimedOffset | undefined> {
  const segment = log.segments.atTime(timestamp)
  if (segment === undefined) return undefined
  for await (const batch of batchesOf(log, segment.base, log.endOffset)) {
    const found = firstAtTime(batch, timestamp, log.startOffset)
    if (found !== undefined) return found
  }
  return undefined
}

/** The first of the records with the highest time; undefined: there is none. */
export async function newestRecord(log: Looked): Promise<TimedOffset | undefined> {
  const segments = [...log.segments.all].sort(
    (one, other) => other.maxTimestamp - one.maxTimestamp || one.base - other.base,
  )
  let newest: TimedOffset | undefined
  for (const { base, end, maxTimestamp: highest } of segments) {
    if (newest !== undefined && highest <= newest.timestamp) break
    for await (const batch of batchesOf(log, base, Math.min(end, log.endOffset))) {
      // Compaction may have removed the record that was the newest.
      const least = newest === undefined ? Number.NEGATIVE_INFINITY : newest.timestamp + 1
      if (maxTimestamp(batch) < least) continue
      for (const record of recordsOf(batch)) {
        if (record.offset < log.startOffset) continue
        if (newest === undefined || record.timestamp > newest.timestamp) newest = record
      }
    }
  }
  return newest && { offset: newest.offset, timestamp: newest.timestamp }
}

async function* batchesOf(log: Looked, from: number, to: number): AsyncGenerator<Uint8Array> {
  let next = Math.max(from, log.startOffset)
  while (next < to) {
    const { batches } = await log.read(next, READ_BYTES)
    if (batches.length === 0) return
    for (const batch of batches) {
      if (baseOffset(batch) >= to) return
      next = nextOffset(batch)
      yield batch
    }
  }
}

function firstAtTime(
  batch: Uint8Array,
  timestamp: number,
  startOffset: number,
): TimedOffset | undefined {
  if (maxTimestamp(batch) < timestamp) return undefined
  for (const record of recordsOf(batch)) {
    if (record.timestamp >= timestamp && record.offset >= startOffset) {
      return { offset: record.offset, timestamp: record.timestamp }
    }
  }
  return undefined
}

/** Of what cannot be looked into the batch stands for its records: whoever asked finds them from its start. */
function recordsOf(batch: Uint8Array): readonly TimedOffset[] {
  try {
    return openRecordBatch(batch)
  } catch (error) {
    if (!(error instanceof RecordBatchError)) throw error
    return [{ offset: baseOffset(batch), timestamp: maxTimestamp(batch) }]
  }
}
