/** Batches wherever they are: behind their key, or in the segment file that stands there. */
import { StorageError } from '../errors.ts'
import type { Engine } from './engine.ts'
import { sealedBatchBytes } from './keys.ts'
import type { Segments } from './segments.ts'
import { decodePlace, isPlace } from './stored-values.ts'

export interface BatchStore {
  readonly engine: Engine
  readonly segments: Segments
}

/** The segment file has gone since the place was read: what was read is old, and is to be read again. */
export class SegmentGoneError extends Error {
  override readonly name = 'SegmentGoneError'
}

/**
 * The sealed batch, not checked yet. Rejects with DATA_LOSS when the place is damaged or the file too short,
 * and with SegmentGoneError.
 */
export async function loadBatch(
  { segments }: BatchStore,
  key: Buffer,
  stored: Buffer,
): Promise<Buffer> {
  if (!isPlace(stored)) return stored
  const place = decodePlace(key, stored)
  const sealed = await segments.read(place, sealedBatchBytes(key))
  if (sealed === undefined) throw new SegmentGoneError(`Segment ${place.segment} is gone`)
  return sealed
}

const attemptsMax = 4

/** Runs a read, once more when a segment file went under it. A file that stays away is DATA_LOSS. */
export async function withSegments<T>(read: () => Promise<T>): Promise<T> {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await read()
    } catch (error) {
      if (!(error instanceof SegmentGoneError)) throw error
      if (attempt === attemptsMax) {
        throw new StorageError('DATA_LOSS', error.message, { cause: error })
      }
    }
  }
}
