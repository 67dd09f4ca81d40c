/** Raft consensus for one group: a pure core, a driver, and stores. The only entry of this package. */
export {
  Autopilot,
  type AutopilotDecision,
  type AutopilotOptions,
  type AutopilotRemoval,
  DEFAULT_AUTOPILOT,
  type MemberHealth,
} from './autopilot/autopilot.ts'
export {
  type RunAutopilotOptions,
  type RunningAutopilot,
  runAutopilot,
} from './autopilot/run-autopilot.ts'
export type { RaftMember } from './core/configuration.ts'
export type { MembershipChange } from './core/membership.ts'
export type { ChangeRefusal } from './core/membership-rules.ts'
export type {
  AppendRequest,
  AppendResponse,
  Envelope,
  HeartbeatRequest,
  HeartbeatResponse,
  LogEntry,
  LogEntryKind,
  PreVoteRequest,
  PreVoteResponse,
  RaftMessage,
  SnapshotHeader,
  SnapshotMeta,
  SnapshotResponse,
  StateHashResponse,
  TimeoutNow,
  VoteRequest,
  VoteResponse,
} from './core/messages.ts'
export { PROTOCOL_VERSION } from './core/messages.ts'
export type { ProgressState } from './core/progress.ts'
export type { TransferRefusal } from './core/transfer.ts'
export { renderPrometheus } from './driver/metrics.ts'
export { createRaft } from './driver/raft-driver.ts'
export { systemClock } from './driver/system-clock.ts'
export {
  CommandTooLargeError,
  LeadershipLostError,
  LeadershipTransferFailedError,
  LeadershipTransferringError,
  LogDamagedError,
  LogFormatError,
  LogIdentityError,
  LogInUseError,
  MembershipChangeRefusedError,
  NotLeaderError,
  OverloadedError,
  SnapshotDamagedError,
  StateDeviationError,
  StoppedError,
  type TransferFailure,
} from './errors.ts'
export { FileLogStore, type FileLogStoreOptions } from './files/file-log-store.ts'
export { FileSnapshotStore, type FileSnapshotStoreOptions } from './files/file-snapshot-store.ts'
export { wipeStores } from './files/wipe-stores.ts'
export { ManualClock } from './memory/manual-clock.ts'
export { MemoryLogStore, type MemoryLogStoreOptions } from './memory/memory-log-store.ts'
export { MemoryNetwork } from './memory/memory-network.ts'
export { MemorySnapshotStore } from './memory/memory-snapshot-store.ts'
export type { RaftLimits, RaftTimings } from './options.ts'
export { DEFAULT_LIMITS, DEFAULT_TIMINGS } from './options.ts'
export type { Clock } from './ports/clock.ts'
export type {
  HardState,
  LogIdentity,
  LogPosition,
  LogStore,
  LogWrite,
  StoredLog,
} from './ports/log-store.ts'
export type { SnapshotPosition, SnapshotProof, SnapshotStore } from './ports/snapshot-store.ts'
export type { CommittedCommand, StateMachine } from './ports/state-machine.ts'
export type { Transport, TransportReceiver } from './ports/transport.ts'
export type {
  ProposalResult,
  Raft,
  RaftEvent,
  RaftLogger,
  RaftMemberStatus,
  RaftMetric,
  RaftMetricSample,
  RaftOptions,
  RaftPeerStatus,
  RaftRole,
  RaftStatus,
} from './raft.ts'
export {
  type ClusterAccess,
  type Patience,
  promoteWhenCaughtUp,
  type ReplaceMemberOptions,
  replaceDamagedMember,
} from './recovery/replace-member.ts'
export { SessionClient } from './sessions/session-client.ts'
export {
  type ResultCodec,
  SessionMachine,
  type SessionMachineOptions,
  type SessionResult,
} from './sessions/session-machine.ts'
export { DEFAULT_SESSION_LIMITS, type SessionLimits } from './sessions/session-table.ts'
