/** Answers of gRPC services: a promise, and its error as a status. */
import { type ServerUnaryCall, type sendUnaryData, status } from '@grpc/grpc-js'
import { BrokerError, type BrokerErrorCode } from '../core/errors.ts'

const STATUS: Readonly<Partial<Record<BrokerErrorCode, status>>> = {
  NOT_FOUND: status.NOT_FOUND,
  REFUSED: status.FAILED_PRECONDITION,
}

/** `signal`: whoever asked has gone. */
export function answering<Request, Reply>(
  answer: (request: Request, signal: AbortSignal) => Promise<Reply>,
) {
  return (call: ServerUnaryCall<Request, Reply>, done: sendUnaryData<Reply>): void => {
    const asker = new AbortController()
    call.on('cancelled', () => asker.abort())
    answer(call.request, asker.signal).then(
      (reply) => done(null, reply),
      (error: unknown) => {
        const known = error instanceof BrokerError ? STATUS[error.code] : undefined
        const details = error instanceof Error ? error.message : String(error)
        done({ code: known ?? status.UNAVAILABLE, details })
      },
    )
  }
}
