/** The port's error codes on the wire: a total map in both directions. */
import { storage } from '@robust/proto'
import { StorageError, type StorageErrorCode } from '../errors.ts'

const wireCodes: Record<StorageErrorCode, storage.FailureCode> = {
  FENCED: storage.FailureCode.FAILURE_CODE_FENCED,
  NOT_OPEN: storage.FailureCode.FAILURE_CODE_NOT_OPEN,
  GAP: storage.FailureCode.FAILURE_CODE_GAP,
  DATA_LOSS: storage.FailureCode.FAILURE_CODE_DATA_LOSS,
  TOO_LARGE: storage.FailureCode.FAILURE_CODE_TOO_LARGE,
  FULL: storage.FailureCode.FAILURE_CODE_FULL,
  INVALID: storage.FailureCode.FAILURE_CODE_INVALID,
  UNAVAILABLE: storage.FailureCode.FAILURE_CODE_UNAVAILABLE,
}

const portCodes = new Map<storage.FailureCode, StorageErrorCode>(
  Object.entries(wireCodes).map(([code, wire]) => [wire, code as StorageErrorCode]),
)

export function failureOf(error: StorageError): storage.Failure {
  return { code: wireCodes[error.code], message: error.message }
}

/** A code that this version does not know is UNAVAILABLE: the outcome is unknown. */
export function errorOf(failure: storage.Failure): StorageError {
  return new StorageError(portCodes.get(failure.code) ?? 'UNAVAILABLE', failure.message)
}
