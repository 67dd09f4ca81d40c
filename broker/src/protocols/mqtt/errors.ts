/** The core's errors as MQTT 5 reason codes; the codec turns them into what older versions know. */
import { BrokerError, type BrokerErrorCode } from '../../core/errors.ts'
import { ReasonCode } from './packets.ts'

const REASON: Record<BrokerErrorCode, number> = {
  UNAVAILABLE: ReasonCode.serverUnavailable,
  TAKEN_OVER: ReasonCode.sessionTakenOver,
  REFUSED: ReasonCode.quotaExceeded,
  SHUTTING_DOWN: ReasonCode.serverShuttingDown,
}

export function reasonOf(error: unknown): number {
  return error instanceof BrokerError ? REASON[error.code] : ReasonCode.unspecifiedError
}
