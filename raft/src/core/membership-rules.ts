/**
 * The rules that keep two majorities from ever missing each other while members change, one predicate
 * each. They decide; leader.ts and membership.ts act. (thesis sections 3.10, 4.1 to 4.2.3)
 */
import type { RaftMember } from './configuration.ts'

/** Why a change was not begun. */
export type ChangeRefusal =
  | 'no-own-term-commit'
  | 'change-pending'
  | 'configuration-changed'
  | 'transfer-in-progress'
  | 'already-member'
  | 'unknown-member'
  | 'not-a-learner'
  | 'learner-behind'
  | 'last-voter'

/** Only voters are asked for votes and counted, in elections and in commits. */
export function isVoter(member: RaftMember): boolean {
  return member.role !== 'learner'
}

/**
 * Until an entry of its own term is committed, a leader cannot know whether a change of an earlier
 * leader may still win, whose majority need not meet that of a change made now.
 */
export function hasOwnTermCommit(log: {
  readonly commitIndex: number
  readonly termStartIndex: number
}): boolean {
  return log.commitIndex >= log.termStartIndex
}

/** Majorities of two configurations meet only when one change lies between them. */
export function isChangePending(log: {
  readonly commitIndex: number
  readonly configurationIndex: number
}): boolean {
  return log.configurationIndex > log.commitIndex
}

/** A voter that is far behind would take away the majority that is near. */
export function isCaughtUp(learner: {
  readonly lagEntries: number
  readonly lagEntriesMax: number
  readonly isReplicating: boolean
}): boolean {
  return learner.isReplicating && learner.lagEntries <= learner.lagEntriesMax
}

/** A transfer that did not come about ends, and proposals are taken again. */
export function isTransferOver(nowTick: number, deadlineTick: number): boolean {
  return nowTick >= deadlineTick
}
