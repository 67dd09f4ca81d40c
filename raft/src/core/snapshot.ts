/**
 * Snapshots as the core sees them: who needs one, may one be taken over, what may be forgotten.
 * Their bytes pass by the core. (Raft section 7)
 */

import assert from 'node:assert'
import { followLeader } from './follower.ts'
import { noteContact } from './leader.ts'
import { entryBytes } from './log.ts'
import type { SnapshotHeader, SnapshotMeta, SnapshotResponse } from './messages.ts'
import {
  becomeFollower,
  type NodeState,
  refreshMembers,
  resetElectionTimer,
  send,
} from './state.ts'

/** The peers that wait for a snapshot and may be offered one now. */
export function peersNeedingSnapshot(state: NodeState): readonly string[] {
  if (state.role.kind !== 'leader') return []
  return [...state.role.progress.values()]
    .filter((progress) => progress.state === 'snapshot' && progress.snapshotRetryTick <= state.now)
    .map((progress) => progress.id)
}

/** The leader's driver sends this snapshot to the peer; until it reports, the peer is not offered another. */
export function snapshotStarted(state: NodeState, peer: string, index: number): void {
  if (state.role.kind !== 'leader') return
  const progress = state.role.progress.get(peer)
  if (progress?.state !== 'snapshot') return
  progress.snapshotIndex = index
  progress.snapshotRetryTick = Number.POSITIVE_INFINITY
}

/** The transfer broke, or was refused: offer again after an election time-out. */
export function snapshotFailed(state: NodeState, peer: string): void {
  if (state.role.kind !== 'leader') return
  const progress = state.role.progress.get(peer)
  if (progress?.state !== 'snapshot') return
  progress.snapshotRetryTick = state.now + state.timings.electionMin
}

/** The leader's side of an answer in its term. */
export function handleSnapshotResponse(state: NodeState, message: SnapshotResponse): void {
  const progress = noteContact(state, message)
  if (progress === undefined) return
  if (!message.accepted || message.index > state.log.lastIndex) {
    snapshotFailed(state, progress.id)
    return
  }
  progress.accepted(message.index)
  if (progress.state === 'snapshot') progress.becomeProbe()
  progress.snapshotRetryTick = 0
}

export type SnapshotVerdict = 'receive' | 'have' | 'stale'

/** The follower's side: a leader announces a snapshot. Also asked again when all bytes are there. */
export function judgeSnapshot(state: NodeState, header: SnapshotHeader): SnapshotVerdict {
  if (header.term < state.hardState.term) return 'stale'
  assert(
    state.role.kind !== 'leader' || header.term > state.hardState.term,
    `two leaders in term ${header.term}`,
  )
  if (header.term > state.hardState.term) becomeFollower(state, header.term, header.from)
  followLeader(state, header.from)
  const { index } = header.snapshot
  if (index <= state.log.commitIndex) return 'have'
  return 'receive'
}

/** Answers a snapshot that needs nothing more; leaves when what it claims is durable. */
export function answerSnapshot(state: NodeState, header: SnapshotHeader, accepted: boolean): void {
  const { index } = header.snapshot
  send(
    state,
    { kind: 'snapshot-response', accepted, index },
    { to: header.from, stableIndex: accepted ? index : 0 },
  )
}

/** The state machine was restored from this snapshot: now, and not before, the log takes it over. */
export function adoptSnapshot(state: NodeState, snapshot: SnapshotMeta): void {
  state.log.restore({ index: snapshot.index, term: snapshot.term })
  recordSnapshot(state, snapshot)
  refreshMembers(state)
  resetElectionTimer(state)
}

function recordSnapshot(state: NodeState, snapshot: SnapshotMeta): void {
  state.snapshotMembers = snapshot.members
  state.snapshotConfigurationIndex = snapshot.configurationIndex ?? 0
}

/** A verified snapshot exists: forget what it covers, except for a tail for peers that lag a little. */
export function compactBehind(state: NodeState, snapshot: SnapshotMeta): void {
  const { log, limits } = state
  recordSnapshot(state, snapshot)
  let index = Math.min(snapshot.index, log.appliedIndex)
  let kept = 0
  let bytes = 0
  while (index > log.baseIndex && kept < limits.trailingEntries) {
    bytes += entryBytes(log.entryAt(index))
    if (bytes > limits.trailingBytes) break
    kept += 1
    index -= 1
  }
  log.compactTo(index)
}
