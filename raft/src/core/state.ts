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
import { isChangePending, isVoter } from './membership-rules.ts'
import { type MessageBody, PROTOCOL_VERSION, type RaftMessage } from './messages.ts'
import type { Outbox } from './outbox.ts'
import type { Progress } from './progress.ts'
import type { ConfirmedRead, ReadQueue } from './read-index.ts'
import type { StateCheck, StateDeviation } from './state-check.ts'

/** Members, with room for what asks while it is not known yet. */
const ADDRESSES_MAX = 256

/** All times of the core, in ticks. */
export interface TickTimings {
  readonly heartbeat: number
  readonly electionMin: number
  readonly electionMax: number
  readonly bootstrapElectionMin: number
  readonly bootstrapElectionMax: number
  readonly storageStall: number
  /** 0: never. */
  readonly stateCheck: number
}

export interface Leadership {
  readonly kind: 'leader'
  /** Of everyone it replicates to: members, and those that leave until their removal is committed. */
  readonly progress: Map<string, Progress>
  /** The index of the first entry of this term; reads wait until it is committed. */
  readonly termStartIndex: number
  readonly reads: ReadQueue
  round: number
  heartbeatElapsed: number
  uncommittedBytes: number
  /** The newest comparison of states, the ticks since it began, and whether there is anything new. */
  check: StateCheck | undefined
  checkElapsed: number
  hasNewCommands: boolean
  /** While it runs, no proposal and no change of members is taken. */
  transfer: { readonly to: string; readonly deadlineTick: number } | undefined
  /** The newest request to campaign that went out: when, and after which heartbeat round. */
  timeoutNow: { readonly to: string; readonly round: number; readonly tick: number } | undefined
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
  membershipChanges: number
  transfers: number
  stateChecks: number
  stateDeviations: number
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
  readonly address: string
  /** The state machine has a hash, so this member as leader has the states compared. */
  readonly isHashing: boolean
  /** Has no configuration of its own: it waits for the log or a snapshot to bring one. */
  readonly isJoining: boolean
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
  snapshotConfigurationIndex: number
  /** The newest configuration in the log, committed or not. */
  members: readonly RaftMember[]
  configurationIndex: number
  /** The ids of those members that vote. */
  voters: readonly string[]
  /** Where everyone is that was ever a member or has asked something. */
  readonly addresses: Map<string, RaftMember>
  hardState: HardState
  /** Counts changes of hardState. */
  hardStateVersion: number
  durableHardStateVersion: number
  role: Role
  leaderId: string | undefined
  /** Never heard of a leader since start: with an empty log, a new cluster. */
  leaderWasHeard: boolean
  /** The newest heartbeat round of this term. */
  heardRound: number
  now: number
  electionElapsed: number
  electionTimeout: number
  /** Tick at which the running write was taken. */
  writingSince: number | undefined
  confirmedReads: ConfirmedRead[]
  deviations: StateDeviation[]
}

export function otherVoters(state: NodeState): readonly string[] {
  return state.voters.filter((id) => id !== state.id)
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
  if (hardState.term > state.hardState.term) {
    state.outbox.dropHeld()
    state.heardRound = 0
  }
  state.hardState = hardState
  state.hardStateVersion += 1
}

export function becomeFollower(state: NodeState, term: number, leaderId: string | undefined): void {
  if (term > state.hardState.term) {
    setHardState(state, { term, votedFor: undefined })
  }
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
  const { lastIndex } = state.log
  state.members = membersAt(state, lastIndex)
  state.configurationIndex = configurationIndexAt(state, lastIndex)
  state.voters = state.members.filter(isVoter).map((member) => member.id)
  for (const member of state.members) state.addresses.set(member.id, member)
}

/** Remembers where to answer one that is not known as a member. */
export function noteAddress(state: NodeState, stranger: RaftMember): void {
  const { addresses, initialMembers } = state
  if (initialMembers.some((initial) => initial.id === stranger.id)) return
  if (addresses.size >= ADDRESSES_MAX && !addresses.has(stranger.id)) {
    const kept = [...initialMembers, ...state.members]
    addresses.clear()
    for (const member of kept) addresses.set(member.id, member)
  }
  addresses.set(stranger.id, stranger)
}

/** The configuration before the newest one. Call only while that is not known to be committed. */
export function previousMembers(state: NodeState): readonly RaftMember[] {
  return membersAt(state, state.configurationIndex - 1)
}

/** The newest configuration is in the log and not known to be committed. */
export function hasPendingChange(state: NodeState): boolean {
  const { configurationIndex } = state
  return isChangePending({ configurationIndex, commitIndex: state.log.commitIndex })
}

/**
 * A voter may. So may one whose own removal is not known to be committed: nobody else may be able to
 * commit it. It does not count itself. (thesis section 4.2.2)
 */
export function mayCampaign(state: NodeState): boolean {
  if (state.voters.includes(state.id)) return true
  if (!hasPendingChange(state)) return false
  return previousMembers(state).some((member) => member.id === state.id && isVoter(member))
}

/** Without any configuration a member may have lost its disk, and with it a vote of the same term. */
export function mayVote(state: NodeState): boolean {
  return !state.isJoining || state.members.length > 0
}

export function membersAt(state: NodeState, index: number): readonly RaftMember[] {
  const entry = state.log.configurationAt(index)
  const recorded = entry === undefined ? state.snapshotMembers : decodeConfiguration(entry.data)
  if (recorded === undefined) return state.isJoining ? [] : state.initialMembers
  return recorded.map((member) => {
    const initial = state.initialMembers.find(({ id }) => id === member.id)
    return initial === undefined ? member : { ...member, address: initial.address }
  })
}

export function configurationIndexAt(state: NodeState, index: number): number {
  return state.log.configurationAt(index)?.index ?? state.snapshotConfigurationIndex
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
    address: state.address,
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
