/** The operating errors of the Placement Center. Each edge maps the codes with a total table. */

export type PlacementErrorCode =
  /** Another member leads; nothing was done. */
  | 'NOT_LEADER'
  /** No leader is known, or the leader is not ready or has no majority; nothing was done. */
  | 'NO_LEADER'
  /** Another process is a member under this node id. */
  | 'DUPLICATE_NODE'
  | 'UNKNOWN_NODE'
  | 'WRONG_CLUSTER'
  /** A resource has another version than was expected; nothing was done. */
  | 'CONFLICT'
  | 'NO_SUCH_RESOURCE'
  | 'INVALID'
  /** Nothing was done; try later. */
  | 'OVERLOADED'
  /** The leadership was lost on the way: what was asked may or may not be done. */
  | 'OUTCOME_UNKNOWN'
  /** The watcher does not take what it is sent. */
  | 'SLOW_WATCHER'

export class PlacementError extends Error {
  override readonly name = 'PlacementError'
  readonly code: PlacementErrorCode
  /** `host:port` of the member to ask instead, where one is known. */
  readonly leaderAddress: string | undefined
  /** Of CONFLICT: the version that the resource has, 0 for none. */
  readonly currentVersion: number | undefined

  constructor(code: PlacementErrorCode, message: string, options: PlacementErrorOptions = {}) {
    super(message, options)
    this.code = code
    this.leaderAddress = options.leaderAddress
    this.currentVersion = options.currentVersion
  }
}

export interface PlacementErrorOptions {
  readonly leaderAddress?: string
  readonly currentVersion?: number
  readonly cause?: unknown
}
