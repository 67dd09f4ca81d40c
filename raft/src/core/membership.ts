/**
 * Changing the members, one at a time: the leader's side. A change is one log entry that holds from the
 * moment it is appended, so it rolls back with its entry. (thesis chapter 4)
 */
import { encodeConfiguration, type RaftMember } from './configuration.ts'
import { appendOwn, maybeCommit, syncProgress } from './leader.ts'
import { type ChangeRefusal, hasOwnTermCommit, isCaughtUp, isVoter } from './membership-rules.ts'
import { hasPendingChange, type Leadership, type NodeState, refreshMembers } from './state.ts'

export type MembershipChange = {
  /**
   * Refused unless the newest configuration is the one with this index: a compare-and-set, so that a
   * decision made on an old list of members is not carried out.
   */
  readonly expectedConfigurationIndex?: number
} & (
  | { readonly kind: 'add-learner'; readonly member: Pick<RaftMember, 'id' | 'address'> }
  | { readonly kind: 'promote' | 'remove'; readonly member: Pick<RaftMember, 'id'> }
)

export type ChangeOutcome =
  | { readonly kind: 'appended'; readonly index: number; readonly term: number }
  | { readonly kind: 'not-leader' }
  | { readonly kind: 'refused'; readonly reason: ChangeRefusal }

export function changeMembership(state: NodeState, change: MembershipChange): ChangeOutcome {
  const { role } = state
  if (role.kind !== 'leader') return { kind: 'not-leader' }
  const reason = refusal(state, role, change) ?? misfit(state, role, change)
  if (reason !== undefined) return { kind: 'refused', reason }
  state.counters.membershipChanges += 1
  const index = appendOwn(state, 'configuration', encodeConfiguration(changed(state, change)))
  refreshMembers(state)
  syncProgress(state, role)
  // Fewer voters may need fewer answers.
  maybeCommit(state)
  return { kind: 'appended', index, term: state.hardState.term }
}

/** Why no change may begin now. */
function refusal(
  state: NodeState,
  leadership: Leadership,
  change: MembershipChange,
): ChangeRefusal | undefined {
  const { termStartIndex, transfer } = leadership
  const expected = change.expectedConfigurationIndex
  if (!hasOwnTermCommit({ commitIndex: state.log.commitIndex, termStartIndex })) {
    return 'no-own-term-commit'
  }
  if (hasPendingChange(state)) return 'change-pending'
  if (transfer !== undefined) return 'transfer-in-progress'
  if (expected !== undefined && expected !== state.configurationIndex) {
    return 'configuration-changed'
  }
  return undefined
}

/** Why this change does not fit the members there are. */
function misfit(
  state: NodeState,
  leadership: Leadership,
  { kind, member: { id } }: MembershipChange,
): ChangeRefusal | undefined {
  const member = state.members.find((candidate) => candidate.id === id)
  if (kind === 'add-learner') return member === undefined ? undefined : 'already-member'
  if (member === undefined) return 'unknown-member'
  if (kind === 'remove') {
    return isVoter(member) && state.voters.length === 1 ? 'last-voter' : undefined
  }
  if (isVoter(member)) return 'not-a-learner'
  return isReady(state, leadership, id) ? undefined : 'learner-behind'
}

/** Close to the end of the log, and heard of lately. */
function isReady(state: NodeState, leadership: Leadership, id: string): boolean {
  const progress = leadership.progress.get(id)
  if (progress === undefined) return false
  const isAlive = state.now - progress.lastActiveTick <= state.timings.electionMin
  return isCaughtUp({
    lagEntries: state.log.lastIndex - progress.matchIndex,
    lagEntriesMax: state.limits.promoteLagEntriesMax,
    isReplicating: isAlive && progress.state === 'replicate',
  })
}

function changed(state: NodeState, change: MembershipChange): readonly RaftMember[] {
  const { members } = state
  const { id } = change.member
  switch (change.kind) {
    case 'add-learner':
      return [...members, { id, address: change.member.address, role: 'learner' }]
    case 'promote':
      return members.map((member) => (member.id === id ? { ...member, role: 'voter' } : member))
    case 'remove':
      return members.filter((member) => member.id !== id)
  }
}
