/** The public face of one member: options, status and events. The work is in driver/ and core/. */
import type { RaftMember } from './core/configuration.ts'
import type { MembershipChange } from './core/membership.ts'
import type { ProgressState } from './core/progress.ts'
import type { RaftLimits, RaftTimings } from './options.ts'
import type { Clock } from './ports/clock.ts'
import type { LogStore } from './ports/log-store.ts'
import type { SnapshotStore } from './ports/snapshot-store.ts'
import type { StateMachine } from './ports/state-machine.ts'
import type { Transport } from './ports/transport.ts'

export interface RaftLogger {
  debug(message: string, fields?: Readonly<Record<string, unknown>>): void
  info(message: string, fields?: Readonly<Record<string, unknown>>): void
  warn(message: string, fields?: Readonly<Record<string, unknown>>): void
  error(message: string, fields?: Readonly<Record<string, unknown>>): void
}

export interface RaftOptions {
  /** Messages and stores of another cluster are refused. */
  readonly clusterId: string
  readonly nodeId: string
  /** A fresh random name for each start of the process. */
  readonly incarnation: string
  /**
   * The initial configuration, the same on every member, with this one in it. Once the log holds a
   * configuration that one decides who votes; addresses given here still win for the same id.
   */
  readonly members: readonly RaftMember[]
  /**
   * This member is new, or comes back with an empty disk under a new id: it has no configuration of its
   * own, neither votes nor campaigns, and waits until a leader that added it sends one. `members` are
   * addresses only. Without effect once its log or snapshot holds a configuration. Default false.
   */
  readonly join?: boolean
  /** Empty at start: it is restored from the newest snapshot and the log. */
  readonly stateMachine: StateMachine
  readonly logStore: LogStore
  readonly snapshotStore: SnapshotStore
  readonly transport: Transport
  readonly clock: Clock
  /** Uniform in [0, 1). */
  readonly random: () => number
  readonly timings?: Partial<RaftTimings>
  readonly limits?: Partial<RaftLimits>
  readonly logger?: RaftLogger
  /**
   * Called at most once, after which this member does nothing more: a failed write or sync, an
   * exception of the state machine, a broken invariant. What was in flight has an unknown outcome.
   * The process should exit and start again.
   */
  readonly onFatal: (error: Error) => void
}

export interface ProposalResult {
  readonly index: number
  readonly term: number
  /** What the state machine's apply returned for the command. */
  readonly result: unknown
}

export interface Raft {
  /**
   * Opens the stores, restores the state machine, begins to listen.
   * @throws LogDamagedError, LogIdentityError, or what the transport throws.
   */
  start(): Promise<void>
  /** Idempotent. Proposals in flight fail with LeadershipLostError. Closes the stores and the transport. */
  stop(): Promise<void>
  /**
   * Resolves after the command is committed and applied on this member.
   * @throws NotLeaderError, OverloadedError, CommandTooLargeError, LeadershipTransferringError,
   * StoppedError: nothing was done.
   * @throws LeadershipLostError: the outcome is unknown.
   */
  propose(command: Uint8Array): Promise<ProposalResult>
  /**
   * A linearizable read barrier: once it resolves, the local state machine holds everything that was
   * committed anywhere when it was called. Returns the index read at.
   * @throws NotLeaderError, OverloadedError, StoppedError
   */
  readIndex(): Promise<number>
  /**
   * Adds a learner, makes a learner a voter, or removes a member; one change at a time. Resolves when the
   * new configuration is committed; `index` is its index. A leader that removes itself then steps down.
   * A removed member should be stopped afterwards; its id should not be used again.
   * @throws MembershipChangeRefusedError, NotLeaderError, StoppedError: nothing was done.
   * @throws LeadershipLostError: the outcome is unknown; status() of the next leader tells.
   */
  changeMembership(change: MembershipChange): Promise<{ readonly index: number }>
  /**
   * Hands the leadership to a voter: the given one, or the one with the most of the log. Proposals are
   * refused with LeadershipTransferringError meanwhile. Resolves when that voter is known to lead.
   * Ends after `timeoutMs` (default: electionMaxMs) in any case, with proposals taken again if this
   * member still leads.
   * @throws LeadershipTransferFailedError, NotLeaderError, StoppedError
   */
  transferLeadership(to?: string, timeoutMs?: number): Promise<void>
  /**
   * Takes a snapshot of what is applied here, unless the newest one holds all of it. Resolves with the newest
   * one when it is durable; index 0 when nothing was ever applied.
   * @throws StoppedError
   */
  takeSnapshot(): Promise<{ readonly index: number; readonly bytes: number }>
  status(): RaftStatus
  /** status() and the times that operations took, for a monitoring system; see renderPrometheus. */
  metrics(): readonly RaftMetric[]
  /**
   * Calls the listener for every event, inside the turn that caused it, until the returned function is
   * called. It must return soon; what it throws is logged and else ignored. May be called before start.
   */
  observe(listener: (event: RaftEvent) => void): () => void
}

export interface RaftMetricSample {
  /** Added to the name of the metric; only histograms have one. */
  readonly suffix: '' | '_bucket' | '_sum' | '_count'
  readonly labels: Readonly<Record<string, string>>
  readonly value: number
}

export interface RaftMetric {
  /** With its unit, as Prometheus names it. */
  readonly name: string
  readonly kind: 'counter' | 'gauge' | 'histogram'
  readonly help: string
  readonly samples: readonly RaftMetricSample[]
}

export type RaftRole = 'follower' | 'pre-candidate' | 'candidate' | 'leader'

export interface RaftPeerStatus {
  readonly id: string
  /** Everything up to here is known to be durable on that peer. */
  readonly matchIndex: number
  readonly state: ProgressState
  /** Age: milliseconds since anything came from it, undefined if nothing has. */
  readonly lastContactMs: number | undefined
  /** Of entries that were sent and are not acknowledged. */
  readonly bytesInFlight: number
}

export type RaftMemberStatus = Required<RaftMember>

export interface RaftStatus {
  readonly nodeId: string
  readonly role: RaftRole
  readonly term: number
  readonly leaderId: string | undefined
  readonly leaderAddress: string | undefined
  readonly commitIndex: number
  readonly appliedIndex: number
  /** Of the entries still in the log; lastIndex + 1 when there are none. */
  readonly firstIndex: number
  readonly lastIndex: number
  /** Of the newest snapshot, 0 if none. */
  readonly snapshotIndex: number
  /** The newest configuration, committed or not; the role is always given. */
  readonly members: readonly RaftMemberStatus[]
  /** The index of its entry; 0 before there is one. For MembershipChange.expectedConfigurationIndex. */
  readonly configurationIndex: number
  /** Of proposals that this leader has not seen committed; 0 elsewhere. */
  readonly uncommittedBytes: number
  /** Of a leader; empty elsewhere. */
  readonly peers: readonly RaftPeerStatus[]
  /**
   * Age: milliseconds since a moment at which a majority certainly still followed this leader (counted
   * from the sending of the heartbeats that a majority answered). 0 in a cluster of one. Undefined on
   * others than the leader, on a leader before its first round of heartbeats was answered, and on one
   * that transfers its leadership, as that majority may then follow another any moment.
   */
  readonly lastQuorumContactMs: number | undefined
  /** Counters since start. */
  readonly metrics: Readonly<Record<string, number>>
}

export type RaftEvent =
  | { readonly kind: 'role'; readonly role: RaftRole; readonly term: number }
  | {
      readonly kind: 'leader'
      readonly term: number
      readonly leaderId: string | undefined
      readonly leaderAddress: string | undefined
    }
  | { readonly kind: 'term'; readonly term: number }
  /** The newest configuration in the log: when it gets there, and again when it is committed. */
  | {
      readonly kind: 'configuration'
      readonly index: number
      readonly members: readonly RaftMemberStatus[]
      readonly isCommitted: boolean
    }
  /** On a leader: a peer was not heard of for electionMinMs, or is again. */
  | { readonly kind: 'peer'; readonly peerId: string; readonly isReachable: boolean }
  /** A write takes longer than storageStallMs, or that is over. */
  | { readonly kind: 'storage'; readonly isStalled: boolean }
  /**
   * On a leader: the state of a member differs from that of the majority at `index`: it is corrupt, or
   * its apply is not deterministic. It stops (with a StateDeviationError) once it hears the verdict.
   * Without `expected` there is no majority: the members named differ, and nobody stops.
   */
  | {
      readonly kind: 'state-deviation'
      readonly memberId: string
      readonly index: number
      readonly hash: string
      readonly expected: string | undefined
    }
  | { readonly kind: 'snapshot-taken'; readonly index: number; readonly bytes: number }
  | { readonly kind: 'snapshot-installed'; readonly index: number; readonly from: string }
  | { readonly kind: 'fatal'; readonly error: Error }
