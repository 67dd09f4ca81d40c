/** Raft messages to and from their form on a link. What all of a link share, its hello says. */
import { raft as wire } from '@robust/proto'
import type {
  Envelope,
  LogEntry,
  LogEntryKind,
  RaftMember,
  RaftMessage,
  SnapshotHeader,
} from 'raft-ts'

type WireKind = NonNullable<wire.RaftMessage['kind']>

const TO_WIRE_KIND: Readonly<Record<LogEntryKind, wire.LogEntryKind>> = {
  command: wire.LogEntryKind.LOG_ENTRY_KIND_COMMAND,
  'no-op': wire.LogEntryKind.LOG_ENTRY_KIND_NO_OP,
  configuration: wire.LogEntryKind.LOG_ENTRY_KIND_CONFIGURATION,
  'state-check': wire.LogEntryKind.LOG_ENTRY_KIND_STATE_CHECK,
  'state-verdict': wire.LogEntryKind.LOG_ENTRY_KIND_STATE_VERDICT,
}

/** What the messages of a link have in common. */
export type Sender = Omit<Envelope, 'term'>

export function toWireMessage(message: RaftMessage): wire.RaftMessage {
  return { term: message.term, kind: toWireBody(message) }
}

function toWireBody(message: RaftMessage): WireKind {
  switch (message.kind) {
    case 'pre-vote-request':
      return { $case: 'preVoteRequest', value: message }
    case 'pre-vote-response':
      return { $case: 'preVoteResponse', value: message }
    case 'vote-request':
      return {
        $case: 'voteRequest',
        value: { ...message, leadershipTransfer: message.leadershipTransfer ?? false },
      }
    case 'vote-response':
      return { $case: 'voteResponse', value: message }
    case 'append-request':
      return {
        $case: 'appendRequest',
        value: { ...message, entries: message.entries.map(toWireEntry) },
      }
    case 'append-response':
      return { $case: 'appendResponse', value: message }
    case 'heartbeat-request':
      return { $case: 'heartbeatRequest', value: message }
    case 'heartbeat-response':
      return { $case: 'heartbeatResponse', value: message }
    case 'timeout-now':
      return { $case: 'timeoutNow', value: message }
    case 'state-hash-response':
      return { $case: 'stateHashResponse', value: message }
    case 'snapshot-response':
      return { $case: 'snapshotResponse', value: message }
    default:
      return message satisfies never
  }
}

/** Undefined for a message of a kind that this program does not know. */
export function fromWireMessage(
  sender: Sender,
  message: wire.RaftMessage,
): RaftMessage | undefined {
  const common: Envelope = { ...sender, term: message.term }
  const { kind } = message
  switch (kind?.$case) {
    case 'preVoteRequest':
      return { ...common, ...kind.value, kind: 'pre-vote-request' }
    case 'preVoteResponse':
      return { ...common, ...kind.value, kind: 'pre-vote-response' }
    case 'voteRequest':
      return { ...common, ...kind.value, kind: 'vote-request' }
    case 'voteResponse':
      return { ...common, ...kind.value, kind: 'vote-response' }
    case 'appendRequest': {
      const entries = kind.value.entries.map(fromWireEntry)
      return { ...common, ...kind.value, entries, kind: 'append-request' }
    }
    case 'appendResponse':
      return { ...common, ...kind.value, kind: 'append-response' }
    case 'heartbeatRequest':
      return { ...common, ...kind.value, kind: 'heartbeat-request' }
    case 'heartbeatResponse':
      return { ...common, ...kind.value, kind: 'heartbeat-response' }
    case 'timeoutNow':
      return { ...common, ...kind.value, kind: 'timeout-now' }
    case 'stateHashResponse':
      return { ...common, ...kind.value, kind: 'state-hash-response' }
    case 'snapshotResponse':
      return { ...common, ...kind.value, kind: 'snapshot-response' }
    default:
      return undefined
  }
}

function toWireEntry(entry: LogEntry): wire.LogEntry {
  return { ...entry, kind: TO_WIRE_KIND[entry.kind] }
}

/** @throws Error for an entry of an unknown kind: to skip it would leave a hole in the log. */
function fromWireEntry(entry: wire.LogEntry): LogEntry {
  const { index, term } = entry
  // A copy: the log keeps entries, and must not keep the whole received frame with each of them.
  return { index, term, kind: fromWireKind(entry.kind), data: new Uint8Array(entry.data) }
}

function fromWireKind(kind: wire.LogEntryKind): LogEntryKind {
  switch (kind) {
    case wire.LogEntryKind.LOG_ENTRY_KIND_COMMAND:
      return 'command'
    case wire.LogEntryKind.LOG_ENTRY_KIND_NO_OP:
      return 'no-op'
    case wire.LogEntryKind.LOG_ENTRY_KIND_CONFIGURATION:
      return 'configuration'
    case wire.LogEntryKind.LOG_ENTRY_KIND_STATE_CHECK:
      return 'state-check'
    case wire.LogEntryKind.LOG_ENTRY_KIND_STATE_VERDICT:
      return 'state-verdict'
    default:
      throw new Error(`a log entry has the unknown kind ${kind}`)
  }
}

export function toWireSnapshotHeader(header: SnapshotHeader): wire.SnapshotHeader {
  const { index, term, members, configurationIndex = 0, bytes, sha256 } = header.snapshot
  return {
    term: header.term,
    snapshotIndex: index,
    snapshotTerm: term,
    members: members.map(({ id, address, role }) => ({
      id,
      address,
      isLearner: role === 'learner',
    })),
    configurationIndex,
    bytes,
    sha256,
  }
}

export function fromWireSnapshotHeader(
  sender: Sender,
  header: wire.SnapshotHeader,
): SnapshotHeader {
  const { term, snapshotIndex, snapshotTerm, configurationIndex, bytes, sha256 } = header
  const members = header.members.map(
    ({ id, address, isLearner }): RaftMember =>
      isLearner ? { id, address, role: 'learner' } : { id, address },
  )
  const position = { index: snapshotIndex, term: snapshotTerm, members, configurationIndex }
  return { ...sender, term, snapshot: { ...position, bytes, sha256 } }
}
