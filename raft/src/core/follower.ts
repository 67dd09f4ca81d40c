/** How a member takes what a leader of its term sends. (Raft figure 2, AppendEntries) */
import type { AppendRequest, HeartbeatRequest, LogEntry } from './messages.ts'
import { becomeFollower, type NodeState, refreshMembers, send } from './state.ts'

/** Whoever leads this term is heard: every other role of the same term gives way to it. */
export function followLeader(state: NodeState, leaderId: string): void {
  becomeFollower(state, state.hardState.term, leaderId)
}

export function handleAppend(state: NodeState, message: AppendRequest): void {
  followLeader(state, message.from)
  const { log } = state
  const lastSent = message.prevLogIndex + message.entries.length
  // Everything up to the commit index is known to equal any leader's log; only what follows is compared.
  if (lastSent <= log.commitIndex) {
    accept(state, message.from, log.commitIndex)
    return
  }
  const skipped = Math.max(0, log.commitIndex - message.prevLogIndex)
  if (skipped === 0 && log.termAt(message.prevLogIndex) !== message.prevLogTerm) {
    refuse(state, message)
    return
  }
  if (!isContiguous(message)) {
    state.counters.droppedInvalid += 1
    return
  }
  const lastIndexBefore = log.lastIndex
  const added = log.merge(message.entries.slice(skipped))
  const truncated = (added[0]?.index ?? lastIndexBefore + 1) <= lastIndexBefore
  if (truncated || added.some((entry) => entry.kind === 'configuration')) refreshMembers(state)
  log.commitTo(Math.min(message.commitIndex, lastSent))
  accept(state, message.from, lastSent)
}

export function handleHeartbeat(state: NodeState, message: HeartbeatRequest): void {
  followLeader(state, message.from)
  state.heardRound = Math.max(state.heardRound, message.round)
  // The leader bounds the index by what this member has acknowledged to it.
  state.log.commitTo(Math.min(message.commitIndex, state.log.lastIndex))
  send(state, { kind: 'heartbeat-response', round: message.round }, { to: message.from })
}

/** Acknowledges exactly what the message proved, once that is durable. */
function accept(state: NodeState, to: string, index: number): void {
  send(
    state,
    { kind: 'append-response', accepted: true, index, hintIndex: 0, hintTerm: 0 },
    { to, stableIndex: index },
  )
}

function refuse(state: NodeState, message: AppendRequest): void {
  state.counters.appendsRefused += 1
  const hint = state.log.findAgreement(message.prevLogIndex, message.prevLogTerm)
  send(
    state,
    {
      kind: 'append-response',
      accepted: false,
      index: message.prevLogIndex,
      hintIndex: hint.index,
      hintTerm: hint.term,
    },
    { to: message.from },
  )
}

function isContiguous(message: AppendRequest): boolean {
  let previous: Pick<LogEntry, 'index' | 'term'> = {
    index: message.prevLogIndex,
    term: message.prevLogTerm,
  }
  for (const entry of message.entries) {
    if (entry.index !== previous.index + 1 || entry.term < previous.term) return false
    if (entry.term > message.term) return false
    previous = entry
  }
  return true
}
