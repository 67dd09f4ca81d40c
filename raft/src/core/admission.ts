/** Whose messages are looked at: the same cluster and version, from a member, or from one that may be. */
import { type Envelope, PROTOCOL_VERSION, type RaftMessage } from './messages.ts'
import { type NodeState, noteAddress } from './state.ts'

/** Whether an envelope is meant for this member, by one it may hear; counts what is not. */
export function admits(state: NodeState, envelope: Envelope): boolean {
  const { counters } = state
  if (envelope.protocolVersion !== PROTOCOL_VERSION) counters.droppedVersion += 1
  else if (envelope.clusterId !== state.clusterId) counters.droppedCluster += 1
  else if (envelope.to !== state.id || envelope.from === state.id) counters.droppedAddress += 1
  else if (!isKnown(state, envelope.from) && !introduces(state, envelope)) counters.droppedPeer += 1
  else if (!Number.isSafeInteger(envelope.term) || envelope.term < 0) counters.droppedInvalid += 1
  else return true
  return false
}

function isKnown(state: NodeState, id: string): boolean {
  // A leader that removes itself leads until that is committed.
  if (id === state.leaderId || state.members.some((member) => member.id === id)) return true
  if (state.role.kind === 'leader' && state.role.progress.has(id)) return true
  return state.members.length === 0 && state.initialMembers.some((member) => member.id === id)
}

/**
 * A member that lags may not know yet that the leader, or a candidate, was added: it must hear it all
 * the same, or it never learns. So a stranger's request counts, if it says where to answer.
 */
function introduces(state: NodeState, envelope: Envelope & Partial<RaftMessage>): boolean {
  const { kind, from, address } = envelope
  if (address === undefined || address === '') return false
  if (kind?.endsWith('-response') === true || kind === 'timeout-now') return false
  noteAddress(state, { id: from, address })
  return true
}
