/**
 * What a leader does: replicate, count what is durable, commit, prove that it still leads.
 * (Raft sections 5.3, 5.4.2 and 6.2 to 6.4 of the thesis)
 */
import assert from 'node:assert'
import { encodeConfiguration } from './configuration.ts'
import { entryBytes } from './log.ts'
import { hasOwnTermCommit } from './membership-rules.ts'
import type { AppendResponse, HeartbeatResponse, LogEntryKind, RaftMessage } from './messages.ts'
import { Progress } from './progress.ts'
import { countsForCommit, quorumValue } from './quorum.ts'
import { ReadQueue } from './read-index.ts'
import {
  becomeFollower,
  hasPendingChange,
  isStorageStalled,
  type Leadership,
  type NodeState,
  previousMembers,
  refreshMembers,
  send,
} from './state.ts'
import { advanceTransfer, askToCampaign, mostCompleteVoter, tickTransfer } from './transfer.ts'

export function becomeLeader(state: NodeState): void {
  const { log } = state
  const leadership: Leadership = {
    kind: 'leader',
    progress: new Map(),
    termStartIndex: log.lastIndex + 1,
    reads: new ReadQueue(),
    round: 0,
    heartbeatElapsed: 0,
    uncommittedBytes: 0,
    check: undefined,
    checkElapsed: 0,
    hasNewCommands: true,
    transfer: undefined,
    timeoutNow: undefined,
  }
  state.counters.leaderships += 1
  state.role = leadership
  state.leaderId = state.id
  state.leaderWasHeard = true
  // The first entry of the term lets everything before it be committed. In a log that holds no
  // configuration yet it records the initial one.
  const isRecorded =
    state.snapshotMembers !== undefined || log.configurationAt(log.lastIndex) !== undefined
  if (isRecorded) appendOwn(state, 'no-op', new Uint8Array(0))
  else appendOwn(state, 'configuration', encodeConfiguration(state.initialMembers))
  refreshMembers(state)
  syncProgress(state, leadership)
  broadcastHeartbeat(state, leadership)
}

/**
 * Who is replicated to: all members, and who is being removed until that is committed and for a while
 * after, so that it learns of it and stands down. Call whenever the configuration changed or committed.
 */
export function syncProgress(state: NodeState, leadership: Leadership): void {
  const { progress } = leadership
  const leaving = hasPendingChange(state) ? previousMembers(state) : []
  const targets = new Set([...state.members, ...leaving].map((member) => member.id))
  targets.delete(state.id)
  for (const id of targets) {
    const known = progress.get(id)
    if (known !== undefined && known.leaveTick === undefined) continue
    // Its answers show how far back its log really ends. What one that was removed had is not held for
    // true when it is added again: it may come with another disk.
    const start = { nextIndex: leadership.termStartIndex, tick: state.now }
    progress.set(id, new Progress(id, start))
  }
  for (const known of progress.values()) {
    if (!targets.has(known.id)) known.leaveTick ??= state.now + state.timings.electionMin
  }
}

export function appendOwn(state: NodeState, kind: LogEntryKind, data: Uint8Array): number {
  const index = state.log.lastIndex + 1
  state.log.append({ index, term: state.hardState.term, kind, data })
  return index
}

export type ProposeOutcome =
  | { readonly kind: 'appended'; readonly index: number; readonly term: number }
  | { readonly kind: 'not-leader' }
  | { readonly kind: 'overloaded'; readonly uncommittedBytes: number }
  | { readonly kind: 'transferring'; readonly to: string }

export function propose(state: NodeState, command: Uint8Array): ProposeOutcome {
  const { role } = state
  if (role.kind !== 'leader') return { kind: 'not-leader' }
  if (role.transfer !== undefined) return { kind: 'transferring', to: role.transfer.to }
  const { uncommittedBytes } = role
  // An empty queue takes any command, so the limit can never block one for good.
  const isOver = uncommittedBytes + command.byteLength > state.limits.uncommittedBytesMax
  if (uncommittedBytes > 0 && isOver) {
    state.counters.proposalsOverloaded += 1
    return { kind: 'overloaded', uncommittedBytes }
  }
  state.counters.proposals += 1
  const index = appendOwn(state, 'command', command)
  role.uncommittedBytes += entryBytes(state.log.entryAt(index))
  role.hasNewCommands = true
  return { kind: 'appended', index, term: state.hardState.term }
}

export function tickLeader(state: NodeState, leadership: Leadership): void {
  const isStalled = isStorageStalled(state)
  const lastContact = quorumContactTick(state, leadership)
  if (isStalled) state.counters.storageStalls += 1
  if (isStalled || state.now - lastContact > state.timings.electionMin) {
    becomeFollower(state, state.hardState.term, undefined)
    return
  }
  for (const progress of leadership.progress.values()) {
    const { leaveTick = Number.POSITIVE_INFINITY } = progress
    if (leaveTick <= state.now) leadership.progress.delete(progress.id)
  }
  leadership.heartbeatElapsed += 1
  if (leadership.heartbeatElapsed >= state.timings.heartbeat) broadcastHeartbeat(state, leadership)
  for (const progress of leadership.progress.values()) tellCommit(state, progress)
  if (tickTransfer(state, leadership)) advanceTransfer(state, leadership)
}

/** The latest tick at which a majority, this member with it, had been in contact. */
function quorumContactTick(state: NodeState, leadership: Leadership): number {
  return quorumValue(
    state.voters.map((id) =>
      id === state.id ? state.now : (leadership.progress.get(id)?.lastActiveTick ?? 0),
    ),
  )
}

/** Every broadcast is a new round; the reads that wait are bound to it. */
function broadcastHeartbeat(state: NodeState, leadership: Leadership): void {
  leadership.heartbeatElapsed = 0
  leadership.round += 1
  if (hasCommittedInTerm(state, leadership)) {
    leadership.reads.bind(leadership.round, state.log.commitIndex)
  }
  for (const progress of leadership.progress.values()) {
    const commitIndex = Math.min(progress.matchIndex, state.log.commitIndex)
    progress.sentCommitIndex = Math.max(progress.sentCommitIndex, commitIndex)
    send(
      state,
      { kind: 'heartbeat-request', commitIndex, round: leadership.round },
      { to: progress.id },
    )
  }
  confirmReads(state, leadership)
}

function hasCommittedInTerm(state: NodeState, leadership: Leadership): boolean {
  const { termStartIndex } = leadership
  return hasOwnTermCommit({ commitIndex: state.log.commitIndex, termStartIndex })
}

/** The newest round that a majority answered. */
export function quorumRound(state: NodeState, leadership: Leadership): number {
  return quorumValue(
    state.voters.map((id) =>
      id === state.id ? leadership.round : (leadership.progress.get(id)?.ackedRound ?? 0),
    ),
  )
}

function confirmReads(state: NodeState, leadership: Leadership): void {
  state.confirmedReads.push(...leadership.reads.confirm(quorumRound(state, leadership)))
}

/** Sends what there is to send. Called once per turn, so that what came together leaves together. */
export function replicate(state: NodeState, leadership: Leadership): void {
  const { reads } = leadership
  const canBind = reads.hasWaiting && !reads.isConfirming && hasCommittedInTerm(state, leadership)
  if (canBind) broadcastHeartbeat(state, leadership)
  for (const progress of leadership.progress.values()) {
    while (
      !progress.isPaused(state.limits) &&
      !isWorthWaiting(state, progress) &&
      (progress.nextIndex <= state.log.lastIndex || progress.state === 'probe')
    ) {
      sendAppend(state, progress)
    }
  }
}

function isWorthWaiting({ limits, log }: NodeState, progress: Progress): boolean {
  const isBusy = progress.inFlight >= limits.partAppendsInFlightMax
  return isBusy && !log.fills(progress.nextIndex, limits.appendBytesMax)
}

function sendAppend(
  state: NodeState,
  progress: Progress,
  content: 'entries' | 'nothing' = 'entries',
): void {
  const { log } = state
  const prevLogIndex = progress.nextIndex - 1
  const prevLogTerm = log.termAt(prevLogIndex)
  if (prevLogTerm === undefined) {
    progress.becomeSnapshot(log.baseIndex)
    return
  }
  const entries =
    content === 'entries' ? log.slice(progress.nextIndex, state.limits.appendBytesMax) : []
  const lastSent = prevLogIndex + entries.length
  progress.sent(
    lastSent,
    entries.reduce((sum, entry) => sum + entryBytes(entry), 0),
  )
  progress.sentCommitIndex = Math.max(progress.sentCommitIndex, Math.min(log.commitIndex, lastSent))
  send(
    state,
    { kind: 'append-request', prevLogIndex, prevLogTerm, commitIndex: log.commitIndex, entries },
    { to: progress.id },
  )
}

/** Lets an idle follower learn of a commit within a tick instead of with the next heartbeat. */
function tellCommit(state: NodeState, progress: Progress): void {
  const isBehind = progress.sentCommitIndex < Math.min(state.log.commitIndex, progress.matchIndex)
  if (isBehind && progress.state === 'replicate') sendAppend(state, progress, 'nothing')
}

/** Any answer of this term is contact. A new incarnation has lost what was on its way to the old one. */
export function noteContact(state: NodeState, message: RaftMessage): Progress | undefined {
  if (state.role.kind !== 'leader') return undefined
  const progress = state.role.progress.get(message.from)
  if (progress === undefined) return undefined
  progress.lastActiveTick = state.now
  if (progress.incarnation !== message.incarnation) {
    const isRestart = progress.incarnation !== undefined
    progress.incarnation = message.incarnation
    if (isRestart && progress.state === 'replicate') progress.becomeProbe()
  }
  return progress
}

export function handleAppendResponse(state: NodeState, message: AppendResponse): void {
  const progress = noteContact(state, message)
  if (progress === undefined) return
  if (message.index > state.log.lastIndex) {
    state.counters.droppedInvalid += 1
    return
  }
  if (message.accepted) {
    if (progress.accepted(message.index)) maybeCommit(state)
    if (state.role.kind === 'leader') advanceTransfer(state, state.role)
    return
  }
  const isRegression = progress.state === 'probe' && message.index === progress.matchIndex
  if (isRegression && message.hintIndex < progress.matchIndex) state.counters.peerRegressions += 1
  const agreement = state.log.findAgreement(message.hintIndex, message.hintTerm)
  progress.refused(message.index, agreement.index)
}

export function handleHeartbeatResponse(state: NodeState, message: HeartbeatResponse): void {
  const progress = noteContact(state, message)
  if (progress === undefined || state.role.kind !== 'leader') return
  if (message.round > state.role.round) return
  progress.ackedRound = Math.max(progress.ackedRound, message.round)
  confirmReads(state, state.role)
  progress.probeSent = false
  // A lost append shows when the peer refuses the one after it; an empty one is enough.
  const mayHaveLost = progress.state === 'replicate' && progress.matchIndex < state.log.lastIndex
  if (mayHaveLost) sendAppend(state, progress, 'nothing')
}

/**
 * Commits what a majority has durably, this member counting like the others. Only an entry of the own
 * term is counted; those before it follow with it. (Raft section 5.4.2, figure 8)
 */
export function maybeCommit(state: NodeState): void {
  const { role, log } = state
  if (role.kind !== 'leader') return
  const durable = state.voters.map((id) =>
    id === state.id ? log.stableIndex : (role.progress.get(id)?.matchIndex ?? 0),
  )
  const index = quorumValue(durable)
  const hadPendingChange = hasPendingChange(state)
  if (index <= log.commitIndex) return
  if (!countsForCommit(log.termAt(index), state.hardState.term)) return
  for (let at = log.commitIndex + 1; at <= index; at += 1) {
    const entry = log.entryAt(at)
    if (entry?.kind === 'command' && entry.term === state.hardState.term) {
      role.uncommittedBytes -= entryBytes(entry)
    }
  }
  assert(role.uncommittedBytes >= 0, 'more was committed than was proposed')
  log.commitTo(index)
  if (hadPendingChange && !hasPendingChange(state)) configurationCommitted(state, role)
}

/** Who was removed may go now; that may be this leader, which led until here. (thesis section 4.2.2) */
function configurationCommitted(state: NodeState, leadership: Leadership): void {
  syncProgress(state, leadership)
  if (state.voters.includes(state.id)) return
  const heir = mostCompleteVoter(state, leadership)
  if (heir?.matchIndex === state.log.lastIndex) askToCampaign(state, leadership, heir.id)
  broadcastHeartbeat(state, leadership)
  becomeFollower(state, state.hardState.term, undefined)
}
