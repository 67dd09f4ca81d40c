/**
 * Errors as gRPC statuses. A known leader goes along in the trailer `leader-address`, the version that stands
 * in the way of a change in `current-version`. UNAVAILABLE says in `outcome` whether what was asked may have
 * been done: `none` or `unknown`; without it, it came from the connection and is unknown.
 */
import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import { PlacementError, type PlacementErrorCode } from '../errors.ts'

const STATUS: Readonly<Record<PlacementErrorCode, status>> = {
  NOT_LEADER: status.FAILED_PRECONDITION,
  NO_LEADER: status.UNAVAILABLE,
  DUPLICATE_NODE: status.ALREADY_EXISTS,
  UNKNOWN_NODE: status.NOT_FOUND,
  WRONG_CLUSTER: status.INVALID_ARGUMENT,
  CONFLICT: status.ABORTED,
  NO_SUCH_RESOURCE: status.NOT_FOUND,
  INVALID: status.INVALID_ARGUMENT,
  OVERLOADED: status.RESOURCE_EXHAUSTED,
  OUTCOME_UNKNOWN: status.UNAVAILABLE,
  SLOW_WATCHER: status.RESOURCE_EXHAUSTED,
}

export const LEADER_ADDRESS_KEY = 'leader-address'
export const CURRENT_VERSION_KEY = 'current-version'
const OUTCOME_KEY = 'outcome'

const OUTCOME: Partial<Record<PlacementErrorCode, string>> = {
  NO_LEADER: 'none',
  OUTCOME_UNKNOWN: 'unknown',
}

export type StatusError = Pick<ServiceError, 'code' | 'details' | 'metadata'>

/** Undefined for what is no operating error. */
export function toStatus(error: unknown): StatusError | undefined {
  if (!(error instanceof PlacementError)) return undefined
  const metadata = new Metadata()
  if (error.leaderAddress !== undefined) metadata.set(LEADER_ADDRESS_KEY, error.leaderAddress)
  if (error.currentVersion !== undefined) {
    metadata.set(CURRENT_VERSION_KEY, String(error.currentVersion))
  }
  const outcome = OUTCOME[error.code]
  if (outcome !== undefined) metadata.set(OUTCOME_KEY, outcome)
  return { code: STATUS[error.code], details: error.message, metadata }
}
