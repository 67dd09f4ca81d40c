/** The closed list of the core's operating errors. Each dialect maps them to its wire codes. */

export type BrokerErrorCode =
  /** The shard has no owner now, or it did not answer in time. Try again. */
  | 'UNAVAILABLE'
  /** Another connection has taken the session. */
  | 'TAKEN_OVER'
  /** A limit is reached. */
  | 'REFUSED'
  /** There is nothing of that name. */
  | 'NOT_FOUND'
  /** The broker is going away. */
  | 'SHUTTING_DOWN'

export class BrokerError extends Error {
  readonly code: BrokerErrorCode

  constructor(code: BrokerErrorCode, message: string, options?: { cause?: unknown }) {
    super(message, options)
    this.name = 'BrokerError'
    this.code = code
  }
}
