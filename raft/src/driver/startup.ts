/** From what is on the medium to a core and a state machine that agree, or an error. */

import type { SnapshotMeta } from '../core/messages.ts'
import { RaftNode } from '../core/node.ts'
import type { TickTimings } from '../core/state.ts'
import { LogDamagedError, SnapshotDamagedError } from '../errors.ts'
import { DEFAULT_LIMITS, DEFAULT_TIMINGS, type RaftLimits, type RaftTimings } from '../options.ts'
import type { SnapshotStore } from '../ports/snapshot-store.ts'
import type { StateMachine } from '../ports/state-machine.ts'
import type { RaftOptions } from '../raft.ts'

export interface Opened {
  readonly node: RaftNode
  readonly snapshot: SnapshotMeta | undefined
}

export interface Settings {
  readonly timings: RaftTimings
  readonly ticks: TickTimings
  readonly limits: RaftLimits
}

/** @throws RangeError, Error for options that cannot work. */
export function checkOptions(options: RaftOptions): Settings {
  const timings = { ...DEFAULT_TIMINGS, ...options.timings }
  const limits = { ...DEFAULT_LIMITS, ...options.limits }
  for (const [name, value] of Object.entries({ ...timings, ...limits })) {
    if (!Number.isFinite(value) || value < 0) throw new RangeError(`${name} must not be ${value}`)
  }
  if (timings.tickMs <= 0 || timings.heartbeatMs < timings.tickMs) {
    throw new RangeError('tickMs must be positive and not above heartbeatMs')
  }
  if (timings.electionMinMs < 2 * timings.heartbeatMs) {
    throw new RangeError('electionMinMs must be at least two heartbeats')
  }
  if (
    timings.electionMaxMs < timings.electionMinMs ||
    timings.bootstrapElectionMaxMs < timings.bootstrapElectionMinMs
  ) {
    throw new RangeError('the end of an election range lies before its start')
  }
  if (options.join !== true && options.members.some((member) => member.role === 'learner')) {
    throw new Error('the initial members of a cluster are voters')
  }
  const ids = options.members.map((member) => member.id)
  if (new Set(ids).size !== ids.length) throw new Error('two members have the same id')
  if (!ids.includes(options.nodeId)) throw new Error(`${options.nodeId} is not among the members`)
  return { timings, limits, ticks: toTicks(timings) }
}

/**
 * Opens both stores, restores the newest snapshot that verifies and fits the log.
 * @throws LogDamagedError when the log was compacted and no such snapshot is left.
 */
export async function openMember(options: RaftOptions, settings: Settings): Promise<Opened> {
  const { clusterId, nodeId, logStore, snapshotStore, stateMachine, logger } = options
  await snapshotStore.open()
  const stored = await logStore.open({ clusterId, nodeId })
  const loaded = await loadSnapshot(snapshotStore, stored.base.index, (error, meta) =>
    logger?.error('a snapshot is damaged and passed over', { index: meta.index, error }),
  )
  if (loaded === undefined && stored.base.index > 0) {
    throw new LogDamagedError(`the log starts after ${stored.base.index} and no snapshot fits it`)
  }
  if (loaded !== undefined) (await prepareRestore(stateMachine, loaded.content))()
  const node = new RaftNode({
    id: nodeId,
    clusterId,
    incarnation: options.incarnation,
    members: options.members,
    isJoining: options.join ?? false,
    isHashing: stateMachine.hash !== undefined,
    timings: settings.ticks,
    limits: settings.limits,
    random: options.random,
    stored,
    snapshot: loaded?.meta,
  })
  return { node, snapshot: loaded?.meta }
}

async function loadSnapshot(
  store: SnapshotStore,
  baseIndex: number,
  onDamage: (error: SnapshotDamagedError, meta: SnapshotMeta) => void,
): Promise<{ readonly meta: SnapshotMeta; readonly content: Uint8Array } | undefined> {
  for (const meta of await store.list()) {
    if (meta.index < baseIndex) return undefined
    try {
      return { meta, content: await readWhole(store.read(meta)) }
    } catch (error) {
      if (!(error instanceof SnapshotDamagedError)) throw error
      onDamage(error, meta)
    }
  }
  return undefined
}

/** What carries the restore out; the long part of it is done when this resolves, if the machine can. */
export async function prepareRestore(
  machine: StateMachine,
  content: Uint8Array,
): Promise<() => void> {
  return (await machine.prepareRestore?.(content)) ?? (() => machine.restore(content))
}

export async function readWhole(chunks: AsyncIterable<Uint8Array>): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const chunk of chunks) parts.push(chunk)
  const whole = new Uint8Array(parts.reduce((sum, part) => sum + part.byteLength, 0))
  let at = 0
  for (const part of parts) {
    whole.set(part, at)
    at += part.byteLength
  }
  return whole
}

function toTicks(timings: RaftTimings): TickTimings {
  const ticks = (ms: number): number => Math.max(1, Math.round(ms / timings.tickMs))
  return {
    heartbeat: ticks(timings.heartbeatMs),
    electionMin: ticks(timings.electionMinMs),
    electionMax: ticks(timings.electionMaxMs),
    bootstrapElectionMin: ticks(timings.bootstrapElectionMinMs),
    bootstrapElectionMax: ticks(timings.bootstrapElectionMaxMs),
    storageStall: ticks(timings.storageStallMs),
    stateCheck: timings.stateCheckMs === 0 ? 0 : ticks(timings.stateCheckMs),
  }
}
