/** What goes wrong for the person at the terminal: an id for programs, what happened, why, and what to do. */
import { exitCodes } from './exit-codes.ts'

export type ErrorId =
  | 'USAGE'
  | 'PORT_IN_USE'
  | 'NO_SUCH_CLUSTER'
  | 'NO_SUCH_NODE'
  | 'CLUSTER_EXISTS'
  | 'CLUSTER_BUSY'
  | 'LINKS_NOT_BREAKABLE'
  | 'PROCESSES_NOT_BREAKABLE'
  | 'NO_COMPILER'
  | 'CANNOT_WRITE'
  | 'DATA_LOSS'
  | 'BAD_STATE_FILE'
  | 'NODE_FAILED'
  | 'NODE_NOT_RUNNING'
  | 'NOT_READY'
  | 'NO_LEADER'
  | 'UNREACHABLE'
  | 'REFUSED'
  | 'CONFLICT'
  | 'NO_SUCH_SETTING'
  | 'NO_SUCH_CLIENT'
  | 'NO_SUCH_GROUP'
  | 'NO_SUCH_TOPIC'
  | 'TOPIC_EXISTS'
  | 'NO_SUCH_QUEUE'
  | 'QUEUE_EXISTS'
  | 'QUEUE_FULL'
  | 'REDRIVE_ENDED'
  | 'NO_SUCH_USER'
  | 'USER_EXISTS'
  | 'NO_SUCH_ACCESS_KEY'
  | 'ACCESS_KEY_EXISTS'
  | 'NO_SUCH_BRIDGE'
  | 'BRIDGE_EXISTS'
  | 'NO_SUCH_RULE'
  | 'NO_SUCH_VERSION'
  | 'BAD_VALUE'
  | 'INTERRUPTED'
  | 'INTERNAL'

export interface Failure {
  readonly message: string
  readonly exit: number
  readonly cause?: string
  /** A command or a step that helps. */
  readonly hint?: string
  /** Lines shown before the error: the log of the node that failed. */
  readonly log?: readonly string[]
}

export class CliError extends Error {
  override readonly name = 'CliError'
  readonly id: ErrorId
  readonly failure: Failure

  constructor(id: ErrorId, failure: Failure) {
    super(failure.message)
    this.id = id
    this.failure = failure
  }
}

export function usageError(message: string, hint?: string): CliError {
  return new CliError('USAGE', { message, exit: exitCodes.usage, ...(hint && { hint }) })
}

/** Anything thrown, as an error that can be shown. */
export function asCliError(error: unknown): CliError {
  if (error instanceof CliError) return error
  const cause = error instanceof Error ? (error.stack ?? error.message) : String(error)
  return new CliError('INTERNAL', {
    message: 'this is a fault in robust itself',
    cause,
    exit: exitCodes.internal,
  })
}

export function interrupted(reason: unknown): CliError {
  const exit = reason === 'SIGINT' ? exitCodes.interrupted : exitCodes.terminated
  return new CliError('INTERRUPTED', { message: `interrupted by ${String(reason)}`, exit })
}

export function formatError(error: CliError): string {
  const { message, cause, hint, log } = error.failure
  const lines = [`error[${error.id}] ${message}`]
  if (cause !== undefined) lines.push(`cause: ${cause}`)
  if (hint !== undefined) lines.push(`try: ${hint}`)
  if (log !== undefined && log.length > 0) lines.unshift(...log)
  return `${lines.join('\n')}\n`
}

export function formatErrorJson(error: CliError): string {
  const { message, cause, hint, log, exit } = error.failure
  return `${JSON.stringify({ error: { id: error.id, message, cause, hint, exit, log } })}\n`
}
