/**
 * The core's errors, and refusals of connections, as MQTT 5 reason codes; the codec turns them into what
 * older versions know.
 */
import { BrokerError, type BrokerErrorCode } from '../../core/errors.ts'
import type { Refusal } from '../shared/admission.ts'
import { ReasonCode } from './packets.ts'

const REASON: Record<BrokerErrorCode, number> = {
  UNAVAILABLE: ReasonCode.serverUnavailable,
  TAKEN_OVER: ReasonCode.sessionTakenOver,
  REFUSED: ReasonCode.quotaExceeded,
  SHUTTING_DOWN: ReasonCode.serverShuttingDown,
  NOT_FOUND: ReasonCode.implementationSpecificError,
}

export function reasonOf(error: unknown): number {
  return error instanceof BrokerError ? REASON[error.code] : ReasonCode.unspecifiedError
}

export function refusalReason({ cause, server }: Refusal): number {
  switch (cause) {
    case 'throttled':
      return server === undefined ? ReasonCode.serverBusy : ReasonCode.useAnotherServer
    case 'too-many':
      return ReasonCode.quotaExceeded
    case 'no-memory':
      return ReasonCode.serverBusy
    case 'too-fast':
      return ReasonCode.connectionRateExceeded
    default:
      return cause satisfies never
  }
}
