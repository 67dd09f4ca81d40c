/**
 * Elections: time-outs, pre-votes and votes, from both sides.
 * A vote is refused while a leader is known to live, so a member that hears nobody disturbs nobody.
 * Only voters are asked and counted. Who is asked answers, even if by its own log it is a learner: the
 * one that asks may know of its promotion, and may need it.
 * (Raft section 5.2, thesis sections 4.2.3 and 9.6)
 */
import { becomeLeader } from './leader.ts'
import type {
  PreVoteRequest,
  PreVoteResponse,
  TimeoutNow,
  VoteRequest,
  VoteResponse,
} from './messages.ts'
import { countVotes } from './quorum.ts'
import {
  becomeFollower,
  hasLiveLeader,
  isStorageStalled,
  mayCampaign,
  mayVote,
  type NodeState,
  otherVoters,
  resetElectionTimer,
  send,
  setHardState,
} from './state.ts'

export function tickElection(state: NodeState): void {
  state.electionElapsed += 1
  if (state.electionElapsed >= state.electionTimeout) startPreVote(state)
}

export function startPreVote(state: NodeState): void {
  resetElectionTimer(state)
  state.leaderId = undefined
  // Who cannot write cannot lead; who does not vote must not disturb those that do.
  if (isStorageStalled(state) || !mayCampaign(state)) return
  const votes = new Map([[state.id, true]])
  state.role = { kind: 'pre-candidate', votes }
  const { lastIndex, lastTerm } = state.log
  for (const to of otherVoters(state)) {
    send(
      state,
      { kind: 'pre-vote-request', lastLogIndex: lastIndex, lastLogTerm: lastTerm },
      { to, advisoryTerm: state.hardState.term + 1 },
    )
  }
  if (countVotes(state.voters, votes) === 'won') {
    startElection(state, { leadershipTransfer: false })
  }
}

function startElection(state: NodeState, options: { leadershipTransfer: boolean }): void {
  state.counters.elections += 1
  setHardState(state, { term: state.hardState.term + 1, votedFor: state.id })
  state.role = { kind: 'candidate', votes: new Map() }
  resetElectionTimer(state)
  const { lastIndex, lastTerm } = state.log
  for (const to of otherVoters(state)) {
    send(
      state,
      { kind: 'vote-request', lastLogIndex: lastIndex, lastLogTerm: lastTerm, ...options },
      { to, stableIndex: lastIndex },
    )
  }
}

/**
 * The leader hands over: campaign at once, without a pre-vote. Only its follower does, which was a voter
 * all along, and only while the request is fresh: the leader may have given up meanwhile.
 */
export function handleTimeoutNow(state: NodeState, message: TimeoutNow): void {
  const isAsked = state.role.kind === 'follower' && state.leaderId === message.from
  if (!isAsked || message.round < state.heardRound) return
  if (isStorageStalled(state) || !state.voters.includes(state.id)) return
  startElection(state, { leadershipTransfer: true })
}

/** The own vote counts like any other: when it is durable. */
export function countOwnVote(state: NodeState): void {
  if (state.role.kind !== 'candidate') return
  if (state.durableHardStateVersion !== state.hardStateVersion) return
  if (state.log.stableIndex < state.log.lastIndex) return
  state.role.votes.set(state.id, true)
  decideElection(state)
}

export function handlePreVoteRequest(state: NodeState, message: PreVoteRequest): void {
  const { term } = state.hardState
  const granted =
    message.term > term &&
    mayVote(state) &&
    !hasLiveLeader(state) &&
    state.log.isUpToDate(message.lastLogIndex, message.lastLogTerm)
  if (!granted) state.counters.votesRefused += 1
  send(
    state,
    { kind: 'pre-vote-response', granted },
    { to: message.from, advisoryTerm: granted ? message.term : term },
  )
}

/** The message has this member's term. The log is compared for a repeated request too. */
export function handleVoteRequest(state: NodeState, message: VoteRequest): void {
  const { term, votedFor } = state.hardState
  const isFree = votedFor === message.from || (votedFor === undefined && !hasLiveLeader(state))
  const granted =
    isFree && mayVote(state) && state.log.isUpToDate(message.lastLogIndex, message.lastLogTerm)
  if (granted) {
    state.counters.votesGranted += 1
    if (votedFor === undefined) setHardState(state, { term, votedFor: message.from })
    resetElectionTimer(state)
  } else {
    state.counters.votesRefused += 1
  }
  send(state, { kind: 'vote-response', granted }, { to: message.from })
}

export function handlePreVoteResponse(state: NodeState, message: PreVoteResponse): void {
  if (state.role.kind !== 'pre-candidate') return
  const { term } = state.hardState
  if (message.granted && message.term !== term + 1) return
  state.role.votes.set(message.from, message.granted)
  const outcome = countVotes(state.voters, state.role.votes)
  if (outcome === 'won' && !isStorageStalled(state)) {
    startElection(state, { leadershipTransfer: false })
  }
  if (outcome === 'lost') becomeFollower(state, term, undefined)
}

export function handleVoteResponse(state: NodeState, message: VoteResponse): void {
  if (state.role.kind !== 'candidate') return
  state.role.votes.set(message.from, message.granted)
  decideElection(state)
}

function decideElection(state: NodeState): void {
  if (state.role.kind !== 'candidate') return
  const outcome = countVotes(state.voters, state.role.votes)
  if (outcome === 'won') becomeLeader(state)
  if (outcome === 'lost') becomeFollower(state, state.hardState.term, undefined)
}
