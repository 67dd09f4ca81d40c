/** One host of a simulated world: its process, its disk, its clock, and the state machine that runs there. */
import { decodeConfiguration } from '../core/configuration.ts'
import type { LogEntry } from '../core/messages.ts'
import type { RaftNode } from '../core/node.ts'
import type { LogWrite } from '../ports/log-store.ts'
import { SimulatedDisk } from './disk.ts'
import { votersOf } from './invariants.ts'

export interface Host {
  readonly id: string
  readonly disk: SimulatedDisk
  life: number
  node: RaftNode | undefined
  write: { readonly content: LogWrite; readonly dueTick: number } | undefined
  /** The state machine: a hash chain over everything applied. */
  state: string
  sinceSnapshot: number
  readonly reads: Map<number, number>
  /** Own hashes, by the index of the state check. */
  readonly hashes: Map<number, string>
  /** Its process does not run; what comes waits. */
  pausedAt: number | undefined
  /** Above 0: its clock is fast by this part; below: slow. */
  drift: number
  /** Its disk was damaged: it will not start again, unless the damage was overwritten. */
  isDamaged: boolean
}

export function newHost(id: string): Host {
  return {
    id,
    disk: new SimulatedDisk(),
    life: 0,
    node: undefined,
    write: undefined,
    state: '',
    sinceSnapshot: 0,
    reads: new Map(),
    hashes: new Map(),
    pausedAt: undefined,
    drift: 0,
    isDamaged: false,
  }
}

/** Any divergence shows in all that follows. */
export function chain(state: string, entry: LogEntry): string {
  if (state === 'corrupt') return state
  const text = `${state}|${entry.index}:${entry.term}:${Buffer.from(entry.data).toString('latin1')}`
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at += 1) {
    hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193) >>> 0
  }
  return hash.toString(16)
}

/** The voters by the configurations that it may act by: its newest, and the one before it. */
export function recordedVoters({ node, disk }: Host): readonly (readonly string[])[] {
  if (node !== undefined) {
    const before = node.membersAt(node.configurationIndex - 1)
    return [votersOf(node.members), votersOf(before)].filter(({ length }) => length > 0)
  }
  const entries = disk.written.entries.filter(({ kind }) => kind === 'configuration')
  const recorded = entries.map(({ data }) => decodeConfiguration(data))
  const inSnapshot = disk.writtenSnapshot?.meta.members
  if (inSnapshot !== undefined) recorded.unshift(inSnapshot)
  return recorded.slice(-2).map(votersOf)
}
