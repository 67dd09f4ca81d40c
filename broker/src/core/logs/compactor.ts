/**
 * Compacts a log by key, a group of neighbouring segments at a time: each group is one atomic step, so an owner
 * may go at any moment. Never at or behind the first open transaction, nor in the open segment.
 */
import { nextOffset } from '@robust/storage-adapters'
import type { Clock } from '../ports/clock.ts'
import { cleanBatches, NewestOffsets } from './compaction.ts'
import { COMPACTED_BATCH_BYTES, COMPACTION_KEYS_MAX } from './log-limits.ts'
import { segmentBytesOf } from './log-policy.ts'
import type { PartitionLog } from './partition-log.ts'
import type { Segment } from './segments.ts'
import type { TaskBudget } from './task-budget.ts'

export interface CompactionContext {
  readonly clock: Clock
  readonly budget: TaskBudget
  readonly isStopped: () => boolean
}

/** Whether enough has come since the last time, or tombstones are due. */
export function wantsCompaction(log: PartitionLog, nowMs: number): boolean {
  const { policy } = log
  if (!policy.compact) return false
  const segments = compactible(log, nowMs)
  let dirty = 0
  let total = 0
  for (const segment of segments) {
    total += segment.bytes
    if (segment.end > log.cleanedTo) dirty += segment.bytes
    else if (tombstonesDue(segment, policy.tombstoneDelayMs, nowMs)) return true
  }
  return dirty > 0 && dirty >= total * policy.dirtyRatio
}

/** Resolves when the log is compacted as far as it may be now, or the shard is given up. */
export async function compact(log: PartitionLog, context: CompactionContext): Promise<void> {
  const { clock, isStopped } = context
  const segments = compactible(log, clock.wallMs())
  const dirty = segments.filter(({ end }) => end > log.cleanedTo)
  const newest = new NewestOffsets(COMPACTION_KEYS_MAX)
  const until = await collect(log, { ...context, segments: dirty, newest })
  if (until === undefined) return
  const wanted = segments.filter(({ end }) => end <= until)
  for (const group of groupsOf(wanted, segmentBytesOf(log.policy))) {
    if (isStopped() || !(await cleanGroup(log, { ...context, group, newest }))) return
  }
  if (until > log.cleanedTo) {
    log.cleanedTo = until
    log.storeState()
  }
}

function compactible(log: PartitionLog, nowMs: number): readonly Segment[] {
  const { compactionLagMs } = log.policy
  const { stableOffset } = log
  const young = log.closedSegments.findIndex(
    ({ end, maxTimestamp }) =>
      end > stableOffset || (compactionLagMs > 0 && maxTimestamp > nowMs - compactionLagMs),
  )
  return young < 0 ? log.closedSegments : log.closedSegments.slice(0, young)
}

function tombstonesDue(segment: Segment, delayMs: number, nowMs: number): boolean {
  return segment.tombstones && segment.cleanedAtMs > 0 && nowMs - segment.cleanedAtMs >= delayMs
}

interface Collect extends CompactionContext {
  readonly segments: readonly Segment[]
  readonly newest: NewestOffsets
}

/** Learns the newest offset of each key. Returns up to where; undefined when the shard was given up. */
async function collect(log: PartitionLog, options: Collect): Promise<number | undefined> {
  const { segments, newest, isStopped } = options
  const isAborted = abortedIn(log)
  let until = log.cleanedTo
  for (const segment of segments) {
    const batches = await readSegment(log, segment, options)
    if (batches === undefined || isStopped()) return undefined
    // A segment is taken in whole or not at all, and the first always: else nothing would ever move.
    const taken = batches.every((batch) => newest.add(batch, isAborted))
    if (!taken && segment !== segments[0]) break
    until = segment.end
    if (!taken) break
  }
  return until
}

interface CleanGroup extends CompactionContext {
  readonly group: readonly Segment[]
  readonly newest: NewestOffsets
}

/** False: records went meanwhile, or the shard; the next round begins afresh. */
async function cleanGroup(log: PartitionLog, options: CleanGroup): Promise<boolean> {
  const { group, newest, clock } = options
  const [first] = group
  const last = group[group.length - 1]
  if (first === undefined || last === undefined) return true
  const { generation } = log
  const batches: Uint8Array[] = []
  for (const segment of group) {
    const read = await readSegment(log, segment, options)
    if (read === undefined) return false
    batches.push(...read)
  }
  const nowMs = clock.wallMs()
  const due = group.filter((one) => tombstonesDue(one, log.policy.tombstoneDelayMs, nowMs))
  const cleaned = cleanBatches(batches, {
    newest,
    isAborted: abortedIn(log),
    tombstonesBefore: due[due.length - 1]?.end ?? 0,
    batchBytesMax: COMPACTED_BATCH_BYTES,
  })
  if (options.isStopped() || log.generation !== generation) return false
  const bytes = cleaned.batches.reduce((sum, { byteLength }) => sum + byteLength, 0)
  const merged: Segment = {
    ...first,
    end: last.end,
    bytes,
    maxTimestamp: Math.max(...group.map(({ maxTimestamp }) => maxTimestamp)),
    cleanedAtMs: cleanedAt(group, nowMs),
    tombstones: cleaned.tombstones,
  }
  const changed = cleaned.removedRecords > 0 || group.length > 1
  log.replace(
    group,
    changed ? cleaned.batches.filter((batch) => !batches.includes(batch)) : [],
    merged,
  )
  await options.budget.take(bytes)
  return true
}

/** The newest time of its parts, so that no tombstone goes early; `nowMs` when some part was never compacted. */
function cleanedAt(group: readonly Segment[], nowMs: number): number {
  const times = group.map(({ cleanedAtMs }) => cleanedAtMs)
  return times.includes(0) ? nowMs : Math.max(...times)
}

function groupsOf(segments: readonly Segment[], bytesMax: number): Segment[][] {
  const groups: Segment[][] = []
  let bytes = Number.POSITIVE_INFINITY
  for (const segment of segments) {
    if (bytes + segment.bytes > bytesMax) {
      groups.push([])
      bytes = 0
    }
    groups[groups.length - 1]?.push(segment)
    bytes += segment.bytes
  }
  return groups
}

/** All batches of the segment, paid for. Undefined: some are gone. */
async function readSegment(
  log: PartitionLog,
  segment: Segment,
  { budget, isStopped }: CompactionContext,
): Promise<Uint8Array[] | undefined> {
  const found: Uint8Array[] = []
  const { generation } = log
  let next = segment.base
  while (next < segment.end) {
    const { batches } = await log.readStored(next, Math.max(1, segment.bytes))
    if (isStopped() || log.generation !== generation || batches.length === 0) return undefined
    for (const batch of batches) {
      if (nextOffset(batch) > segment.end) break
      found.push(batch)
      next = nextOffset(batch)
    }
    await budget.take(segment.bytes)
  }
  return found
}

function abortedIn(log: PartitionLog): (producerId: number, offset: number) => boolean {
  return (producerId, offset) => log.producers.isAborted(producerId, offset)
}
