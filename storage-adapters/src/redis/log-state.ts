/**
 * The logs of a shard as its writer knows them, and how each operation changes them. A trim has to know how
 * many bytes go: the ends of the batches that were appended here are kept, others are asked for.
 */
import { noSuchBatches } from '../log-ends.ts'
import { baseOffset, nextOffset } from '../record-batch/record-batch.ts'
import { sealBatch } from '../sealed-values.ts'
import type { Operation } from '../storage-adapter.ts'
import { type BatchId, type OldBatch, sealKeys } from './keys.ts'
import type { Program } from './program.ts'
import type { StoredLog } from './stored-values.ts'

export interface LogState extends StoredLog {
  exists: boolean
  /**
   * Ends of the newest batches, in order: of all that begin at `markedFrom` or later. The first `markCount` count: a
   * copy of the state that is given up may have written behind them.
   */
  marks: BatchId[]
  markCount: number
  markedFrom: number
}

const noLog: Readonly<LogState> = {
  exists: false,
  startOffset: 0,
  endOffset: 0,
  startByte: 0,
  endByte: 0,
  batches: 0,
  batchBytesMax: 0,
  oldBatches: 0,
  savedBytes: 0,
  marks: [],
  markCount: 0,
  markedFrom: 0,
}

export type LogOperation = Extract<Operation, { log: string }>

const marksMax = 64

/** What is asked of storage about the batches of a log. */
export interface Finder {
  /** The last batch that ends at or before the offset; undefined when there is none. */
  batch(log: string, offset: number): Promise<BatchId | undefined>
  /** Batches that took the place of others and end within (fromOffset, untilOffset]. */
  old(log: string, fromOffset: number, untilOffset: number): Promise<readonly OldBatch[]>
}

export function newLog(): LogState {
  return { ...noLog, marks: [] }
}

export function beginLog(log: LogState, offset: number): void {
  Object.assign(log, newLog(), {
    exists: true,
    startOffset: offset,
    endOffset: offset,
    markedFrom: offset,
  })
}

export function appendTo(
  log: LogState,
  operation: Extract<LogOperation, { kind: 'append' }>,
  at: { shard: number; program: Program },
): void {
  const { batch } = operation
  const id = { nextOffset: nextOffset(batch), endByte: log.endByte + batch.length }
  const key = sealKeys.batch(at.shard, operation.log, id.nextOffset)
  at.program.append(operation.log, id, sealBatch(key, batch))
  log.exists = true
  log.endOffset = id.nextOffset
  log.endByte = id.endByte
  log.batches += 1
  log.batchBytesMax = Math.max(log.batchBytesMax, batch.length)
  if (log.markCount >= marksMax) {
    log.markedFrom = log.marks[marksMax / 2 - 1]?.nextOffset ?? log.markedFrom
    setMarks(log, log.marks.slice(marksMax / 2, log.markCount))
  }
  log.marks[log.markCount] = id
  log.markCount += 1
}

function setMarks(log: LogState, marks: BatchId[]): void {
  log.marks = marks
  log.markCount = marks.length
}

function marksOf(log: LogState): BatchId[] {
  return log.marks.slice(0, log.markCount)
}

export async function trimLog(
  log: LogState,
  operation: Extract<LogOperation, { kind: 'trim' }>,
  { program, find }: { program: Program; find: Finder },
): Promise<void> {
  const { beforeOffset } = operation
  if (beforeOffset <= log.startOffset || log.startOffset === log.endOffset) return
  if (beforeOffset >= log.endOffset) {
    program.dropBatches(operation.log)
    log.startOffset = log.endOffset
    log.startByte = log.endByte
    log.oldBatches = 0
    log.savedBytes = 0
    setMarks(log, [])
    log.markedFrom = log.endOffset
    return
  }
  const marked = lastMark(marksOf(log), beforeOffset)
  const isStored = marked === undefined && log.markedFrom > log.startOffset
  const last = isStored ? await find.batch(operation.log, beforeOffset) : marked
  if (last === undefined || last.nextOffset <= log.startOffset) return
  if (log.oldBatches > 0) forget(log, await find.old(operation.log, 0, last.nextOffset))
  log.startOffset = last.nextOffset
  log.startByte = last.endByte
  const left = marksOf(log).filter((mark) => mark.nextOffset > last.nextOffset)
  setMarks(log, left)
  program.trim(operation.log, last.nextOffset)
}

/** Throws GAP when no stored batches cover just the same offsets. */
export async function replaceBatches(
  log: LogState,
  { log: name, batch }: Extract<LogOperation, { kind: 'replace' }>,
  { program, find, shard }: { program: Program; find: Finder; shard: number },
): Promise<void> {
  const from = baseOffset(batch)
  const until = nextOffset(batch)
  const isFirst = from === log.startOffset
  const before = isFirst ? undefined : await find.batch(name, from)
  const last = await find.batch(name, until)
  const begins = isFirst || before?.nextOffset === from
  if (!begins || last?.nextOffset !== until || from < log.startOffset) {
    throw noSuchBatches(name, batch)
  }
  if (log.oldBatches > 0) forget(log, await find.old(name, from, until))
  const saved = last.endByte - (before?.endByte ?? log.startByte) - batch.length
  const sealed = sealBatch(sealKeys.batch(shard, name, until), batch)
  program.replace(name, { fromOffset: from, id: { ...last, saved }, batch: sealed })
  log.oldBatches += 1
  log.savedBytes += saved
  log.batchBytesMax = Math.max(log.batchBytesMax, batch.length)
  const left = marksOf(log).filter(({ nextOffset }) => nextOffset <= from || nextOffset >= until)
  setMarks(log, left)
}

function forget(log: LogState, gone: readonly OldBatch[]): void {
  log.oldBatches -= gone.length
  for (const { saved } of gone) log.savedBytes -= saved
}

function lastMark(marks: readonly BatchId[], offset: number): BatchId | undefined {
  let found: BatchId | undefined
  for (const mark of marks) {
    if (mark.nextOffset > offset) break
    found = mark
  }
  return found
}
