/** Arithmetic of majorities. */

export function majority(memberCount: number): number {
  return Math.floor(memberCount / 2) + 1
}

/** The highest value that a majority has reached; `values` holds one per member. */
export function quorumValue(values: readonly number[]): number {
  const descending = [...values].sort((a, b) => b - a)
  return descending[majority(values.length) - 1] ?? 0
}

export type VoteOutcome = 'won' | 'lost' | 'open'

export function countVotes(
  memberIds: readonly string[],
  votes: ReadonlyMap<string, boolean>,
): VoteOutcome {
  const needed = majority(memberIds.length)
  const granted = memberIds.filter((id) => votes.get(id) === true).length
  const refused = memberIds.filter((id) => votes.get(id) === false).length
  if (granted >= needed) return 'won'
  return memberIds.length - refused < needed ? 'lost' : 'open'
}

/**
 * Only an entry of the leader's own term is committed by counting who has it: one of an older term may
 * still be overwritten although a majority has it. (Raft section 5.4.2, figure 8)
 */
export function countsForCommit(entryTerm: number | undefined, leaderTerm: number): boolean {
  return entryTerm === leaderTerm
}
