/** `robust cluster logs NODE`: the end of a node's log, for people on a terminal and as it is elsewhere. */
import { setTimeout as sleep } from 'node:timers/promises'
import { followLog, formatLogLine, lastLines } from '../cluster/log-files.ts'
import { type Context, requireCluster } from '../context.ts'
import { interrupted } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { findNode } from './cluster-nodes.ts'

export interface LogsOptions {
  readonly name?: string
  readonly lines: number
  readonly follow?: boolean
  /** Whether stdout is read by a person. */
  readonly pretty: boolean
}

const pollMs = 200

export async function showLogs(
  context: Context,
  wanted: string,
  options: LogsOptions,
): Promise<number> {
  const { output, signal } = context
  const { logFile } = await findNode(requireCluster(context, options.name), wanted)
  const print = (line: string): void =>
    output.print(options.pretty ? formatLogLine(line, output.paint) : line)
  const follower = followLog(logFile)
  lastLines(logFile, options.lines).forEach(print)
  if (options.follow !== true) return exitCodes.ok
  while (!signal.aborted) {
    follower.next().forEach(print)
    await sleep(pollMs, undefined, { signal }).catch(() => undefined)
  }
  throw interrupted(signal.reason)
}
