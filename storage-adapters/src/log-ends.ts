/** Checks that the appends of one commit follow the ends of their logs, before anything is applied. */
import { StorageError } from './errors.ts'
import { baseOffset, nextOffset } from './record-batch/record-batch.ts'
import type { Operation } from './storage-adapter.ts'

/** Throws GAP. `endOf` gives the stored end of a log, 0 for one that does not exist. */
export function checkLogEnds(
  operations: readonly Operation[],
  endOf: (log: string) => number,
): void {
  const ends = new Map<string, number>()
  for (const operation of operations) {
    if (operation.kind === 'drop-log') ends.set(operation.log, 0)
    if (operation.kind !== 'append') continue
    const { log, expectedOffset, batch } = operation
    const end = ends.get(log) ?? endOf(log)
    if (expectedOffset !== end) {
      throw new StorageError('GAP', `Log ${log} ends at ${end}, append expects ${expectedOffset}`)
    }
    ends.set(log, nextOffset(batch))
  }
}

/** What a replacement of batches that are not there, or do not end where it does, is refused with. */
export function noSuchBatches(log: string, batch: Uint8Array): StorageError {
  const range = `${baseOffset(batch)} to ${nextOffset(batch)}`
  return new StorageError('GAP', `Log ${log} has no batches that cover just the offsets ${range}`)
}
