/** The closed list of the port's error codes. Adapters map what their engine says to these. */

export type StorageErrorCode =
  /** Another owner holds a higher epoch: this one must drop all state of the shard. */
  | 'FENCED'
  /** The shard is not open at this epoch: open it first. */
  | 'NOT_OPEN'
  /** A commit number or an append offset does not follow the stored one. Nothing was applied. */
  | 'GAP'
  /** Stored bytes fail their CRC, offsets do not join, or the data went back in time. */
  | 'DATA_LOSS'
  /** A limit of the adapter is passed; nothing was applied. */
  | 'TOO_LARGE'
  /** No room for writes; nothing was applied, reads go on. */
  | 'FULL'
  /** The request itself is wrong; nothing was applied. */
  | 'INVALID'
  /** No answer, or the engine failed: the outcome is unknown. */
  | 'UNAVAILABLE'

export class StorageError extends Error {
  readonly code: StorageErrorCode

  constructor(code: StorageErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'StorageError'
    this.code = code
  }
}
