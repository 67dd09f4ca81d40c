/**
 * Node processes: started detached, each with its own log file, and signalled only while pid and start time
 * are those of the state file.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, statSync } from 'node:fs'
import { dirname } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { CliError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { faultsOfNode } from '../faults/node-faults.ts'
import { PROGRAM } from '../installation.ts'
import { makeFolder } from './folders.ts'
import { identify, type ProcessState, processState, sendSignal } from './process-table.ts'
import { type NodeRecord, processOf } from './state.ts'

export interface StartedNode {
  /** With its pid. */
  readonly node: NodeRecord
  /** Where this run begins in the log file, in bytes. */
  readonly logStart: number
  /** Set when the process has ended. */
  exit(): { readonly code: number | null } | undefined
}

const pollMs = 20

/** Throws CANNOT_WRITE when the log file cannot be made. */
export function startNode(node: NodeRecord): StartedNode {
  const log = openLog(node)
  try {
    const logStart = statSync(node.logFile).size
    const whole = [...faultsFor(node), process.execPath, PROGRAM, node.role, 'start', ...node.args]
    const [command = '', ...args] = whole
    const child = spawn(command, args, {
      detached: true,
      stdio: ['ignore', log, log],
      cwd: dirname(node.logFile),
    })
    child.unref()
    const { pid } = child
    if (pid === undefined) throw cannotStart(node, 'no process could be made')
    const startTime = identify(pid)?.startTime ?? null
    return { node: { ...node, pid, startTime }, logStart, exit: watchExit(child) }
  } finally {
    closeSync(log)
  }
}

/** What sets its environment, which the process then takes the place of. */
function faultsFor(node: NodeRecord): readonly string[] {
  const faults = faultsOfNode(node)
  if (faults === undefined) return []
  faults.settle()
  return ['env', ...Object.entries(faults.environment).map(([name, value]) => `${name}=${value}`)]
}

export function nodeState(node: NodeRecord): ProcessState {
  return processState(processOf(node))
}

/** False when it does not run. */
export function signalNode(node: NodeRecord, signal: NodeJS.Signals): boolean {
  const identity = processOf(node)
  return identity !== undefined && sendSignal(identity, signal)
}

/**
 * SIGTERM, and SIGKILL when the grace is over; resolves when the process is gone. Answers whether it went
 * by itself.
 */
export async function stopNode(node: NodeRecord, graceMs: number): Promise<boolean> {
  if (!signalNode(node, 'SIGTERM')) return true
  // A paused process takes no other signal.
  signalNode(node, 'SIGCONT')
  if (await isGone(node, graceMs)) return true
  signalNode(node, 'SIGKILL')
  await isGone(node, graceMs)
  return false
}

/** Whether the process ends within the time. */
export async function isGone(node: NodeRecord, withinMs: number): Promise<boolean> {
  const end = performance.now() + withinMs
  while (nodeState(node) !== 'stopped') {
    if (performance.now() > end) return false
    await sleep(pollMs)
  }
  return true
}

function watchExit(child: ChildProcess): StartedNode['exit'] {
  let ended: { code: number | null } | undefined
  child.once('exit', (code) => {
    ended = { code }
  })
  return () => ended
}

function openLog(node: NodeRecord): number {
  try {
    makeFolder(dirname(node.logFile), 'log folder')
    return openSync(node.logFile, 'a')
  } catch (error) {
    throw cannotStart(node, error instanceof Error ? error.message : String(error))
  }
}

function cannotStart(node: NodeRecord, cause: string): CliError {
  return new CliError('CANNOT_WRITE', {
    message: `${node.name} cannot be started`,
    cause,
    exit: exitCodes.cannotCreate,
  })
}
