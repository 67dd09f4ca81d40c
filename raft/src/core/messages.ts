/**
 * Everything members say to each other, as plain data (numbers, strings, bytes).
 * The bulk of a snapshot is not a message: see SnapshotHeader and the transport port.
 * Terms and indexes are safe integers. (Raft paper figures 2 and 13, thesis sections 6.4 and 9.6)
 */
import type { RaftMember } from './configuration.ts'

/** 2: learners. 3: state checks. Entries of a kind that one member does not know must not reach it. */
export const PROTOCOL_VERSION = 3

/**
 * `state-check`: every member takes the hash of its state when it applies it. `state-verdict`: what a
 * majority had found; a member that had found another stops.
 */
export type LogEntryKind = 'command' | 'no-op' | 'configuration' | 'state-check' | 'state-verdict'

export interface LogEntry {
  readonly index: number
  readonly term: number
  readonly kind: LogEntryKind
  readonly data: Uint8Array
}

/** On every message: a member drops what comes from another cluster, version or an unknown member. */
export interface Envelope {
  readonly protocolVersion: number
  readonly clusterId: string
  readonly from: string
  readonly to: string
  /** Of the sender: a new one for each start of its process. */
  readonly incarnation: string
  /** The sender's term; in a pre-vote request, and in its grant, the term that would be campaigned for. */
  readonly term: number
  /** Where the sender can be answered; lets one that does not know the sender yet hear its requests. */
  readonly address?: string
}

export interface PreVoteRequest extends Envelope {
  readonly kind: 'pre-vote-request'
  readonly lastLogIndex: number
  readonly lastLogTerm: number
}

export interface PreVoteResponse extends Envelope {
  readonly kind: 'pre-vote-response'
  readonly granted: boolean
}

export interface VoteRequest extends Envelope {
  readonly kind: 'vote-request'
  readonly lastLogIndex: number
  readonly lastLogTerm: number
  /** The leader itself asked for this election, so that it lives is no reason to refuse. Absent: false. */
  readonly leadershipTransfer?: boolean
}

export interface VoteResponse extends Envelope {
  readonly kind: 'vote-response'
  readonly granted: boolean
}

export interface AppendRequest extends Envelope {
  readonly kind: 'append-request'
  readonly prevLogIndex: number
  readonly prevLogTerm: number
  readonly commitIndex: number
  /** Contiguous, the first at prevLogIndex + 1; may be empty. */
  readonly entries: readonly LogEntry[]
}

export interface AppendResponse extends Envelope {
  readonly kind: 'append-response'
  readonly accepted: boolean
  /** Accepted: the last index which that request proved equal and which is durable. Refused: its prevLogIndex. */
  readonly index: number
  /** Refused: the highest index at which the logs may agree, and its term there. Accepted: 0. */
  readonly hintIndex: number
  readonly hintTerm: number
}

export interface HeartbeatRequest extends Envelope {
  readonly kind: 'heartbeat-request'
  readonly commitIndex: number
  /** A fresh number for each time that heartbeats go out; a reply proves contact for that round only. */
  readonly round: number
}

export interface HeartbeatResponse extends Envelope {
  readonly kind: 'heartbeat-response'
  readonly round: number
}

/** The leader wants this member, whose log is complete, to campaign at once. (thesis section 3.10) */
export interface TimeoutNow extends Envelope {
  readonly kind: 'timeout-now'
  /** The newest heartbeat round when it left. Void for who has heard of a newer one: it came too late. */
  readonly round: number
}

/** What a member found when it applied the state-check entry at `index`. Lost, it is not sent again. */
export interface StateHashResponse extends Envelope {
  readonly kind: 'state-hash-response'
  readonly index: number
  readonly hash: string
}

/** The follower's answer to a snapshot stream. */
export interface SnapshotResponse extends Envelope {
  readonly kind: 'snapshot-response'
  readonly accepted: boolean
  /** Accepted: the index up to which the follower now agrees durably. Refused: the index that was offered. */
  readonly index: number
}

export type RaftMessage =
  | PreVoteRequest
  | PreVoteResponse
  | VoteRequest
  | VoteResponse
  | AppendRequest
  | AppendResponse
  | HeartbeatRequest
  | HeartbeatResponse
  | TimeoutNow
  | StateHashResponse
  | SnapshotResponse

/** What a snapshot is: the state after `index`, the configuration there, and proof of its bytes. */
export interface SnapshotMeta {
  readonly index: number
  readonly term: number
  readonly members: readonly RaftMember[]
  /** Of the entry that made this the configuration; absent or 0: the initial one, not from an entry. */
  readonly configurationIndex?: number
  readonly bytes: number
  /** SHA-256 of all its bytes, in lower-case hexadecimal. */
  readonly sha256: string
}

/** Goes ahead of the chunks of a snapshot that a leader sends. */
export interface SnapshotHeader extends Envelope {
  readonly snapshot: SnapshotMeta
}

type WithoutEnvelope<M> = M extends Envelope ? Omit<M, keyof Envelope> : never

/** A message before the core stamps the envelope on it. */
export type MessageBody = WithoutEnvelope<RaftMessage>
