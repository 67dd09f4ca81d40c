/**
 * One member of the cluster as a pure state machine: ticks, messages, proposals and completed writes go
 * in; messages, writes, committed entries and confirmed reads come out. No clock, random, I/O.
 *
 * The driver's duties: make each write durable before reporting it, one at a time; send what ready()
 * gives; apply committed entries in order; call nothing more after a write failed.
 */
import assert from 'node:assert'
import type { RaftLimits } from '../options.ts'
import type { LogWrite, StoredLog } from '../ports/log-store.ts'
import type { RaftRole } from '../raft.ts'
import { admits } from './admission.ts'
import {
  countOwnVote,
  handlePreVoteRequest,
  handlePreVoteResponse,
  handleTimeoutNow,
  handleVoteRequest,
  handleVoteResponse,
  tickElection,
} from './candidate.ts'
import type { RaftMember } from './configuration.ts'
import { handleAppend, handleHeartbeat } from './follower.ts'
import {
  handleAppendResponse,
  handleHeartbeatResponse,
  maybeCommit,
  type ProposeOutcome,
  propose,
  quorumRound,
  replicate,
  tickLeader,
} from './leader.ts'
import { RaftLog } from './log.ts'
import { type ChangeOutcome, changeMembership, type MembershipChange } from './membership.ts'
import type { Envelope, LogEntry, RaftMessage, SnapshotHeader, SnapshotMeta } from './messages.ts'
import { Outbox } from './outbox.ts'
import type { Progress } from './progress.ts'
import type { ConfirmedRead } from './read-index.ts'
import {
  adoptSnapshot,
  answerSnapshot,
  compactBehind,
  handleSnapshotResponse,
  judgeSnapshot,
  peersNeedingSnapshot,
  type SnapshotVerdict,
  snapshotFailed,
  snapshotStarted,
} from './snapshot.ts'
import {
  becomeFollower,
  type Counters,
  configurationIndexAt,
  hasLiveLeader,
  isStorageStalled,
  type Leadership,
  membersAt,
  type NodeState,
  refreshMembers,
  resetElectionTimer,
  send,
  type TickTimings,
} from './state.ts'
import {
  handleStateHash,
  reportStateHash,
  type StateDeviation,
  tickStateCheck,
} from './state-check.ts'
import { mayBeDeposed, type TransferOutcome, transferLeadership } from './transfer.ts'

export interface RaftNodeOptions {
  readonly id: string
  readonly clusterId: string
  readonly incarnation: string
  readonly members: readonly RaftMember[]
  /** The members are addresses only: the log or a snapshot must bring the configuration. */
  readonly isJoining?: boolean
  /** The state machine has a hash. */
  readonly isHashing?: boolean
  readonly timings: TickTimings
  readonly limits: RaftLimits
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly stored: StoredLog
  /** The state machine stands at this snapshot; the log agrees with it, or is behind it. */
  readonly snapshot: SnapshotMeta | undefined
}

export interface Ready {
  /** To be sent now, in order. */
  readonly messages: readonly RaftMessage[]
  /** To be made durable, then reported by written(). Undefined also while one is running. */
  readonly write: LogWrite | undefined
  /** To be answered once the state machine has applied their index. */
  readonly reads: readonly ConfirmedRead[]
  /** Peers to be sent the newest snapshot. */
  readonly snapshotPeers: readonly string[]
  /** What a leader has found by comparing states. */
  readonly deviations: readonly StateDeviation[]
}

export class RaftNode {
  readonly #state: NodeState
  #writingHardStateVersion: number | undefined

  constructor(options: RaftNodeOptions) {
    const { stored, snapshot, members } = options
    this.#state = {
      id: options.id,
      clusterId: options.clusterId,
      incarnation: options.incarnation,
      address: members.find((member) => member.id === options.id)?.address ?? '',
      isJoining: options.isJoining ?? false,
      isHashing: options.isHashing ?? false,
      timings: options.timings,
      limits: options.limits,
      random: options.random,
      initialMembers: members,
      snapshotMembers: snapshot?.members,
      snapshotConfigurationIndex: snapshot?.configurationIndex ?? 0,
      // Set by refreshMembers below.
      members: [],
      configurationIndex: 0,
      voters: [],
      addresses: new Map(members.map((member) => [member.id, member])),
      log: new RaftLog(stored),
      outbox: new Outbox(),
      counters: newCounters(),
      hardState: stored.hardState,
      hardStateVersion: 0,
      durableHardStateVersion: 0,
      role: { kind: 'follower' },
      leaderId: undefined,
      leaderWasHeard: false,
      heardRound: 0,
      now: 0,
      electionElapsed: 0,
      electionTimeout: 0,
      writingSince: undefined,
      confirmedReads: [],
      deviations: [],
    }
    if (snapshot !== undefined) adoptSnapshot(this.#state, snapshot)
    refreshMembers(this.#state)
    resetElectionTimer(this.#state)
    const [voter, ...others] = this.#state.voters
    // The only voter has no leader to wait for.
    if (voter === options.id && others.length === 0) {
      this.#state.electionTimeout = options.timings.bootstrapElectionMin
    }
  }

  get role(): RaftRole {
    return this.#state.role.kind
  }

  get term(): number {
    return this.#state.hardState.term
  }

  get leaderId(): string | undefined {
    return this.#state.leaderId
  }

  get members(): readonly RaftMember[] {
    return this.#state.members
  }

  /** Of the newest configuration, committed or not; 0 for the initial one before it is in the log. */
  get configurationIndex(): number {
    return this.#state.configurationIndex
  }

  get voters(): readonly string[] {
    return this.#state.voters
  }

  /** Counts the ticks since start. */
  get now(): number {
    return this.#state.now
  }

  /** To whom this leader hands over at the moment. */
  get transferTarget(): string | undefined {
    return this.#leadership?.transfer?.to
  }

  /** Whether another may lead although this leader is in contact with a majority: see transfer.ts. */
  get mayBeDeposed(): boolean {
    const leadership = this.#leadership
    return leadership !== undefined && mayBeDeposed(this.#state, leadership)
  }

  get log(): Pick<
    RaftLog,
    | 'commitIndex'
    | 'appliedIndex'
    | 'firstIndex'
    | 'lastIndex'
    | 'stableIndex'
    | 'entryAt'
    | 'termAt'
  > {
    return this.#state.log
  }

  get counters(): Readonly<Counters> {
    return this.#state.counters
  }

  get progress(): readonly Progress[] {
    const leadership = this.#leadership
    return leadership === undefined ? [] : [...leadership.progress.values()]
  }

  /** Heartbeat rounds of this leadership: the newest sent, the newest that a majority answered. */
  get rounds(): { readonly sent: number; readonly acknowledged: number } | undefined {
    const leadership = this.#leadership
    if (leadership === undefined) return undefined
    return { sent: leadership.round, acknowledged: quorumRound(this.#state, leadership) }
  }

  get isStorageStalled(): boolean {
    return isStorageStalled(this.#state)
  }

  /** Of proposals that this leader has not seen committed. */
  get uncommittedBytes(): number {
    return this.#leadership?.uncommittedBytes ?? 0
  }

  get #leadership(): Leadership | undefined {
    return this.#state.role.kind === 'leader' ? this.#state.role : undefined
  }

  membersAt(index: number): readonly RaftMember[] {
    return membersAt(this.#state, index)
  }

  configurationIndexAt(index: number): number {
    return configurationIndexAt(this.#state, index)
  }

  /** Where to send what is for this id, which need not be a member any more, or yet. */
  addressOf(id: string): RaftMember | undefined {
    return this.#state.addresses.get(id)
  }

  tick(): void {
    const state = this.#state
    state.now += 1
    if (state.role.kind !== 'leader') tickElection(state)
    else {
      tickLeader(state, state.role)
      tickStateCheck(state)
    }
  }

  step(message: RaftMessage): void {
    const state = this.#state
    if (!this.admits(message)) return
    if (message.term > state.hardState.term && !this.#takeHigherTerm(message)) return
    if (message.term < state.hardState.term) this.#answerLowerTerm(message)
    else this.#dispatch(message)
  }

  admits(envelope: Envelope): boolean {
    return admits(this.#state, envelope)
  }

  /** Returns whether the message is to be looked at further. */
  #takeHigherTerm(message: RaftMessage): boolean {
    const state = this.#state
    switch (message.kind) {
      case 'pre-vote-request':
        handlePreVoteRequest(state, message)
        return false
      case 'pre-vote-response':
        if (message.granted) {
          handlePreVoteResponse(state, message)
          return false
        }
        break
      case 'vote-request':
        if (hasLiveLeader(state) && message.leadershipTransfer !== true) {
          state.counters.votesRefused += 1
          return false
        }
        break
      case 'append-request':
      case 'heartbeat-request':
      case 'timeout-now':
        becomeFollower(state, message.term, message.from)
        return true
      default:
        break
    }
    becomeFollower(state, message.term, undefined)
    return true
  }

  /** Tells a member that acts in an old term of the newer one; answers of an old term mean nothing. */
  #answerLowerTerm(message: RaftMessage): void {
    const state = this.#state
    const to = message.from
    switch (message.kind) {
      case 'pre-vote-request':
        handlePreVoteRequest(state, message)
        break
      case 'vote-request':
        send(state, { kind: 'vote-response', granted: false }, { to })
        break
      case 'heartbeat-request':
        send(state, { kind: 'heartbeat-response', round: message.round }, { to })
        break
      case 'append-request': {
        const index = message.prevLogIndex
        send(
          state,
          { kind: 'append-response', accepted: false, index, hintIndex: 0, hintTerm: 0 },
          { to },
        )
        break
      }
      default:
        break
    }
  }

  #dispatch(message: RaftMessage): void {
    const state = this.#state
    switch (message.kind) {
      case 'pre-vote-request':
        handlePreVoteRequest(state, message)
        break
      case 'pre-vote-response':
        handlePreVoteResponse(state, message)
        break
      case 'vote-request':
        handleVoteRequest(state, message)
        break
      case 'vote-response':
        handleVoteResponse(state, message)
        break
      case 'append-request':
        assert(state.role.kind !== 'leader', `two leaders in term ${message.term}`)
        handleAppend(state, message)
        break
      case 'heartbeat-request':
        assert(state.role.kind !== 'leader', `two leaders in term ${message.term}`)
        handleHeartbeat(state, message)
        break
      case 'timeout-now':
        handleTimeoutNow(state, message)
        break
      case 'append-response':
        handleAppendResponse(state, message)
        break
      case 'heartbeat-response':
        handleHeartbeatResponse(state, message)
        break
      case 'snapshot-response':
        handleSnapshotResponse(state, message)
        break
      case 'state-hash-response':
        handleStateHash(state, message)
        break
      default:
        message satisfies never
    }
  }

  /** The command's bytes must not change afterwards. */
  propose(command: Uint8Array): ProposeOutcome {
    return propose(this.#state, command)
  }

  changeMembership(change: MembershipChange): ChangeOutcome {
    return changeMembership(this.#state, change)
  }

  transferLeadership(to: string | undefined, timeoutTicks: number): TransferOutcome {
    return transferLeadership(this.#state, to, timeoutTicks)
  }

  /** The token comes back in Ready.reads, unless the leadership ends first. Returns false if not leader. */
  readIndex(token: number): boolean {
    const leadership = this.#leadership
    leadership?.reads.add(token)
    return leadership !== undefined
  }

  ready(): Ready {
    const state = this.#state
    if (state.role.kind === 'leader') replicate(state, state.role)
    const write = this.#takeWrite()
    const reads = state.confirmedReads
    state.confirmedReads = []
    const { deviations } = state
    if (deviations.length > 0) state.deviations = []
    return {
      messages: state.outbox.take(),
      write,
      reads,
      snapshotPeers: peersNeedingSnapshot(state),
      deviations,
    }
  }

  #takeWrite(): LogWrite | undefined {
    const state = this.#state
    if (state.writingSince !== undefined) return undefined
    const isHardStateNew = state.hardStateVersion > state.durableHardStateVersion
    if (!isHardStateNew && !state.log.hasChange) return undefined
    state.writingSince = state.now
    this.#writingHardStateVersion = state.hardStateVersion
    const change = state.log.takeChange(state.limits.writeBytesMax)
    return { hardState: isHardStateNew ? state.hardState : undefined, ...change }
  }

  /** The write that ready() gave is durable. */
  written(): void {
    const state = this.#state
    assert(this.#writingHardStateVersion !== undefined, 'no write was taken')
    state.writingSince = undefined
    state.durableHardStateVersion = this.#writingHardStateVersion
    this.#writingHardStateVersion = undefined
    state.log.written()
    state.outbox.release({
      stableIndex: state.log.stableIndex,
      hardStateVersion: state.durableHardStateVersion,
    })
    countOwnVote(state)
    maybeCommit(state)
  }

  nextCommitted(countMax: number): readonly LogEntry[] {
    return this.#state.log.nextCommitted(countMax)
  }

  applied(index: number): void {
    this.#state.log.appliedTo(index)
  }

  /** This member applied the state-check entry at an index, and its state had this hash then. */
  reportStateHash(index: number, hash: string): void {
    reportStateHash(this.#state, index, hash)
  }

  judgeSnapshot(header: SnapshotHeader): SnapshotVerdict {
    return judgeSnapshot(this.#state, header)
  }

  answerSnapshot(header: SnapshotHeader, accepted: boolean): void {
    answerSnapshot(this.#state, header, accepted)
  }

  adoptSnapshot(snapshot: SnapshotMeta): void {
    adoptSnapshot(this.#state, snapshot)
  }

  compactBehind(snapshot: SnapshotMeta): void {
    compactBehind(this.#state, snapshot)
  }

  snapshotStarted(peer: string, index: number): void {
    snapshotStarted(this.#state, peer, index)
  }

  snapshotFailed(peer: string): void {
    snapshotFailed(this.#state, peer)
  }
}

function newCounters(): Counters {
  return {
    elections: 0,
    leaderships: 0,
    stepDowns: 0,
    votesGranted: 0,
    votesRefused: 0,
    proposals: 0,
    proposalsOverloaded: 0,
    appendsRefused: 0,
    storageStalls: 0,
    peerRegressions: 0,
    membershipChanges: 0,
    transfers: 0,
    stateChecks: 0,
    stateDeviations: 0,
    droppedVersion: 0,
    droppedCluster: 0,
    droppedAddress: 0,
    droppedPeer: 0,
    droppedInvalid: 0,
  }
}
