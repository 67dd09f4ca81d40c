/**
 * The state that the roles share, and the changes of role.
 *
 *   follower ── time-out ──> pre-candidate ── majority would vote ──> candidate ── majority votes ──> leader
 *       ^                         │                                      │                             │
 *       └── a leader, a higher term, a lost vote; a leader: no contact with a majority, a stalled disk ──┘
 *
 * What only one role needs lives in its role object and is gone with the role.
 */
import assert from 'node:assert'
import type { RaftLimits } from '../options.ts'
import type { HardState } from '../ports/log-store.ts'
import { decodeConfiguration, type RaftMember } from './configuration.ts'
import type { RaftLog } from './log.ts'
import { type MessageBody, PROTOCOL_VERSION, type RaftMessage } from './messages.ts'
import type { Outbox } from './outbox.ts'
import type { Progress } from './progress.ts'
import type { ConfirmedRead, ReadQueue } from './read-index.ts'

/** All times of the core, in ticks. */
export interface TickTimings {
  readonly heartbeat: number
  readonly electionMin: number
  readonly electionMax: number
  readonly bootstrapElectionMin: number
  readonly bootstrapElectionMax: number
  readonly storageStall: number
}

export interface Leadership {
  readonly kind: 'leader'
  readonly progress: ReadonlyMap<string, Progress>
  /** The index of the first entry of this term; reads wait until it is committed. */
  readonly termStartIndex: number
  readonly reads: ReadQueue
  round: number
  heartbeatElapsed: number
  uncommittedBytes: number
}

export type Role =
  | { readonly kind: 'follower' }
  | { readonly kind: 'pre-candidate'; readonly votes: Map<string, boolean> }
  | { readonly kind: 'candidate'; readonly votes: Map<string, boolean> }
  | Leadership

export interface Counters {
  elections: number
  leaderships: number
  stepDowns: number
  votesGranted: number
  votesRefused: number
  proposals: number
  proposalsOverloaded: number
  appendsRefused: number
  storageStalls: number
  peerRegressions: number
  droppedVersion: number
  droppedCluster: number
  droppedAddress: number
  droppedPeer: number
  droppedInvalid: number
}

export interface NodeState {
  readonly id: string
  readonly clusterId: string
  readonly incarnation: string
  readonly timings: TickTimings
  readonly limits: RaftLimits
  readonly random: () => number
  readonly log: RaftLog
  readonly outbox: Outbox
  readonly counters: Counters
  /** From the options: what holds until the log or a snapshot says more, and the addresses that win. */
  readonly initialMembers: readonly RaftMember[]
  /** From the newest snapshot, if there is one. */
  snapshotMembers: readonly RaftMember[] | undefined
  members: readonly RaftMember[]
  hardState: HardState
  /** Counts changes of hardState. */
  hardStateVersion: number
  durableHardStateVersion: number
  role: Role
  leaderId: string | undefined
  /** Never heard of a leader since start: with an empty log, a new cluster. */
  leaderWasHeard: boolean
  now: number
  electionElapsed: number
  electionTimeout: number
  /** Tick at which the running write was taken. */
  writingSince: number | undefined
  confirmedReads: ConfirmedRead[]
}

export function memberIds(state: NodeState): readonly string[] {
  return state.members.map((member) => member.id)
}

export function peersOf(state: NodeState): readonly string[] {
  return memberIds(state).filter((id) => id !== state.id)
}

export function isStorageStalled(state: NodeState): boolean {
  const since = state.writingSince
  return since !== undefined && state.now - since > state.timings.storageStall
}

/** A leader is alive as far as this member knows: votes are refused. (thesis section 4.2.3) */
export function hasLiveLeader(state: NodeState): boolean {
  if (state.role.kind === 'leader') return true
  return state.leaderId !== undefined && state.electionElapsed < state.timings.electionMin
}

export function setHardState(state: NodeState, hardState: HardState): void {
  assert(hardState.term >= state.hardState.term, 'the term never goes back')
  if (hardState.term > state.hardState.term) state.outbox.dropHeld()
  state.hardState = hardState
  state.hardStateVersion += 1
}

export function becomeFollower(state: NodeState, term: number, leaderId: string | undefined): void {
  if (term > state.hardState.term) setHardState(state, { term, votedFor: undefined })
  if (state.role.kind === 'leader') state.counters.stepDowns += 1
  state.role = { kind: 'follower' }
  state.leaderId = leaderId
  if (leaderId !== undefined) state.leaderWasHeard = true
  resetElectionTimer(state)
}

export function resetElectionTimer(state: NodeState): void {
  const { timings } = state
  const isNewCluster = state.log.lastIndex === 0 && !state.leaderWasHeard
  const min = isNewCluster ? timings.bootstrapElectionMin : timings.electionMin
  const max = isNewCluster ? timings.bootstrapElectionMax : timings.electionMax
  state.electionElapsed = 0
  state.electionTimeout = min + Math.floor(state.random() * (max - min + 1))
}

/** Recomputes who is a member, after entries or the snapshot changed. */
export function refreshMembers(state: NodeState): void {
  state.members = membersAt(state, state.log.lastIndex)
}

export function membersAt(state: NodeState, index: number): readonly RaftMember[] {
  const entry = state.log.configurationAt(index)
  const recorded = entry === undefined ? state.snapshotMembers : decodeConfiguration(entry.data)
  if (recorded === undefined) return state.initialMembers
  return recorded.map(
    (member) => state.initialMembers.find((initial) => initial.id === member.id) ?? member,
  )
}

/** What a message may wait for besides the current election state. */
export interface SendOptions {
  readonly to: string
  /** The log must be durable up to here first. */
  readonly stableIndex?: number
  /** Promises nothing, so it waits for nothing; carries this term. */
  readonly advisoryTerm?: number
}

export function send(state: NodeState, body: MessageBody, options: SendOptions): void {
  const message: RaftMessage = {
    ...body,
    protocolVersion: PROTOCOL_VERSION,
    clusterId: state.clusterId,
    from: state.id,
    to: options.to,
    incarnation: state.incarnation,
    term: options.advisoryTerm ?? state.hardState.term,
  }
  const stableIndex = options.stableIndex ?? 0
  const isFree =
    options.advisoryTerm !== undefined ||
    (state.durableHardStateVersion === state.hardStateVersion &&
      stableIndex <= state.log.stableIndex)
  if (isFree) state.outbox.push(message)
  else state.outbox.hold(message, { stableIndex, hardStateVersion: state.hardStateVersion })
}
