/**
 * Who runs on this machine, from /proc (Linux). A process is a pid together with its start time, so that
 * nothing is ever done to a stranger who got the pid later.
 */
import { readdirSync, readFileSync, readlinkSync } from 'node:fs'

export interface ProcessIdentity {
  readonly pid: number
  /** Clock ticks since boot, and which boot. */
  readonly startTime: string
}

export type ProcessState = 'running' | 'paused' | 'stopped'

/** Undefined when there is no such process, or only its remains that its parent has not collected. */
export function identify(pid: number): ProcessIdentity | undefined {
  const stat = readStat(pid)
  return stat && { pid, startTime: stat.startTime }
}

export function processState(identity: ProcessIdentity | undefined): ProcessState {
  const stat = identity && readStat(identity.pid)
  if (stat === undefined || stat.startTime !== identity?.startTime) return 'stopped'
  return stat.state === 'T' || stat.state === 't' ? 'paused' : 'running'
}

/** False when the process is gone. Throws what the system says when it may not be signalled. */
export function sendSignal(identity: ProcessIdentity, signal: NodeJS.Signals): boolean {
  if (processState(identity) === 'stopped') return false
  try {
    process.kill(identity.pid, signal)
    return true
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return false
    throw error
  }
}

/** Its short name, or undefined when it is gone. */
export function processName(pid: number): string | undefined {
  return read(`/proc/${pid}/comm`)?.trim()
}

/** The process that holds a socket; undefined when it is another user's. */
export function ownerOfSocket(inode: string): number | undefined {
  const wanted = `socket:[${inode}]`
  for (const entry of readdirSync('/proc')) {
    if (/^\d+$/.test(entry) && holdsFile(entry, wanted)) return Number(entry)
  }
  return undefined
}

function holdsFile(pid: string, target: string): boolean {
  try {
    const folder = `/proc/${pid}/fd`
    return readdirSync(folder).some((name) => linkOf(`${folder}/${name}`) === target)
  } catch {
    // Another user's process, or one that has just ended.
    return false
  }
}

function linkOf(path: string): string | undefined {
  try {
    return readlinkSync(path)
  } catch {
    return undefined
  }
}

function readStat(pid: number): { state: string; startTime: string } | undefined {
  const stat = read(`/proc/${pid}/stat`)
  if (stat === undefined) return undefined
  // The name, in brackets, may itself hold brackets and spaces: fields are counted after the last one.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  const state = fields[0] ?? ''
  if (state === 'Z' || state === 'X') return undefined
  return { state, startTime: `${fields[19]}@${bootId()}` }
}

let boot: string | undefined

function bootId(): string {
  boot ??= read('/proc/sys/kernel/random/boot_id')?.trim() ?? 'unknown'
  return boot
}

function read(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}
