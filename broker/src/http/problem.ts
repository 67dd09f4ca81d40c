/** What went wrong, as RFC 9457 has it: `application/problem+json`, the same shape for every error. */
import { BrokerError, type BrokerErrorCode } from '../core/errors.ts'

export type ProblemId =
  | 'bad-request'
  | 'unauthorised'
  | 'forbidden'
  | 'not-found'
  | 'unavailable'
  | 'internal'

export interface Problem {
  readonly type: string
  readonly title: string
  readonly status: number
  readonly detail: string
}

export const PROBLEMS: Readonly<Record<ProblemId, { status: number; title: string }>> = {
  'bad-request': { status: 400, title: 'The request cannot be understood' },
  unauthorised: { status: 401, title: 'Credentials are needed' },
  forbidden: { status: 403, title: 'The user may not do this' },
  'not-found': { status: 404, title: 'There is nothing of that name' },
  unavailable: { status: 503, title: 'A part of the cluster does not answer' },
  internal: { status: 500, title: 'The broker failed' },
}

const BY_CODE: Readonly<Record<BrokerErrorCode, ProblemId>> = {
  UNAVAILABLE: 'unavailable',
  TAKEN_OVER: 'unavailable',
  REFUSED: 'unavailable',
  NOT_FOUND: 'not-found',
  SHUTTING_DOWN: 'unavailable',
}

export const PROBLEM_TYPE = 'application/problem+json'

/** Thrown by routes; the server answers with it. */
export class ProblemError extends Error {
  readonly id: ProblemId

  constructor(id: ProblemId, detail: string) {
    super(detail)
    this.name = 'ProblemError'
    this.id = id
  }
}

export function problem(id: ProblemId, detail: string): Problem {
  const { status, title } = PROBLEMS[id]
  return { type: `urn:robust:problem:${id}`, title, status, detail }
}

/** What nobody expected is told to the log, not to the client. */
export function problemOf(error: unknown): Problem {
  if (error instanceof ProblemError) return problem(error.id, error.message)
  if (error instanceof BrokerError) return problem(BY_CODE[error.code], error.message)
  const { statusCode, message } = error as { statusCode?: number; message?: string }
  if (statusCode !== undefined && statusCode >= 400 && statusCode < 500) {
    return problem('bad-request', message ?? '')
  }
  return problem('internal', 'see the log of the broker')
}
