/** Checks that the appends of one commit follow the ends of their logs, before anything is applied. */
import { StorageError } from './errors.ts'
import { baseOffset, nextOffset } from './record-batch/record-batch.ts'
import type { Operation } from './storage-adapter.ts'

/** Throws GAP. `logOf` gives the stored end of a log, undefined for one that does not exist. */
export function checkLogEnds(
  operations: readonly Operation[],
  logOf: (log: string) => number | undefined,
): void {
  const ends = new Map<string, number>()
  const exists = new Map<string, boolean>()
  for (const operation of operations) {
    if (operation.kind === 'drop-log') {
      ends.set(operation.log, 0)
      exists.set(operation.log, false)
    }
    if (operation.kind === 'begin-log') {
      const { log, offset } = operation
      if (exists.get(log) ?? logOf(log) !== undefined) {
        throw new StorageError('GAP', `Log ${log} exists, and cannot begin at ${offset}`)
      }
      ends.set(log, offset)
      exists.set(log, true)
    }
    if (operation.kind !== 'append') continue
    const { log, expectedOffset, batch } = operation
    const end = ends.get(log) ?? logOf(log) ?? 0
    if (expectedOffset !== end) {
      throw unexpectedOffset(log, { end, offset: expectedOffset })
    }
    ends.set(log, nextOffset(batch))
    exists.set(log, true)
  }
}

/** What an append that does not follow the end of its log is refused with. */
export function unexpectedOffset(
  log: string,
  { end, offset }: { readonly end: number; readonly offset: number },
): StorageError {
  return new StorageError('GAP', `Log ${log} ends at ${end}, append expects ${offset}`)
}

/** What a replacement of batches that are not there, or do not end where it does, is refused with. */
export function noSuchBatches(log: string, batch: Uint8Array): StorageError {
  const range = `${baseOffset(batch)} to ${nextOffset(batch)}`
  return new StorageError('GAP', `Log ${log} has no batches that cover just the offsets ${range}`)
}
