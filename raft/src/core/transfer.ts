/**
 * Handing leadership over: let the log of one voter become complete, then ask it to campaign. While this
 * goes on no proposal is taken. It is part of the leadership, so it ends with it. (thesis section 3.10)
 */
import { isTransferOver } from './membership-rules.ts'
import type { Progress } from './progress.ts'
import { type Leadership, type NodeState, send } from './state.ts'

/** Why a transfer was not begun. */
export type TransferRefusal =
  | 'transfer-in-progress'
  | 'already-leader'
  | 'not-a-voter'
  | 'no-other-voter'

export type TransferOutcome =
  | {
      readonly kind: 'started'
      readonly to: string
      readonly term: number
      readonly deadlineTick: number
    }
  | { readonly kind: 'not-leader' }
  | { readonly kind: 'refused'; readonly reason: TransferRefusal }

/** Without `to`: the voter that was heard of lately and has the most of the log. */
export function transferLeadership(
  state: NodeState,
  to: string | undefined,
  timeoutTicks: number,
): TransferOutcome {
  const { role } = state
  if (role.kind !== 'leader') return { kind: 'not-leader' }
  if (role.transfer !== undefined) return { kind: 'refused', reason: 'transfer-in-progress' }
  if (to === state.id) return { kind: 'refused', reason: 'already-leader' }
  if (to !== undefined && !state.voters.includes(to)) {
    return { kind: 'refused', reason: 'not-a-voter' }
  }
  const target = to ?? mostCompleteVoter(state, role)?.id
  if (target === undefined) return { kind: 'refused', reason: 'no-other-voter' }
  const deadlineTick = state.now + timeoutTicks
  state.counters.transfers += 1
  role.transfer = { to: target, deadlineTick }
  advanceTransfer(state, role)
  return { kind: 'started', to: target, term: state.hardState.term, deadlineTick }
}

export function mostCompleteVoter(state: NodeState, leadership: Leadership): Progress | undefined {
  const isAlive = (progress: Progress): boolean =>
    state.now - progress.lastActiveTick <= state.timings.electionMin
  return [...leadership.progress.values()]
    .filter((progress) => state.voters.includes(progress.id) && isAlive(progress))
    .sort((a, b) => b.matchIndex - a.matchIndex)[0]
}

/** Call with each tick. Returns whether a transfer goes on. */
export function tickTransfer(state: NodeState, leadership: Leadership): boolean {
  const { transfer } = leadership
  if (transfer === undefined) return false
  if (isTransferOver(state.now, transfer.deadlineTick)) {
    leadership.transfer = undefined
    return false
  }
  return true
}

/** Asks the target to campaign if its log is complete: once, and again with each round of heartbeats. */
export function advanceTransfer(state: NodeState, leadership: Leadership): void {
  const { transfer, timeoutNow, round } = leadership
  if (transfer === undefined) return
  if (timeoutNow?.to === transfer.to && timeoutNow.round === round) return
  const progress = leadership.progress.get(transfer.to)
  if (progress === undefined || progress.matchIndex < state.log.lastIndex) return
  askToCampaign(state, leadership, transfer.to)
}

export function askToCampaign(state: NodeState, leadership: Leadership, to: string): void {
  leadership.timeoutNow = { to, round: leadership.round, tick: state.now }
  send(state, { kind: 'timeout-now', round: leadership.round }, { to })
}

/**
 * Whether a member may be campaigning at this leader's own wish: votes are then given although the leader
 * lives, so contact with a majority says nothing about who leads. Over when that member has answered a
 * later round, after which it ignores the request, or when the longest election time-out has passed.
 */
export function mayBeDeposed(state: NodeState, leadership: Leadership): boolean {
  const { transfer, timeoutNow } = leadership
  if (transfer !== undefined) return true
  if (timeoutNow === undefined) return false
  const isOld = state.now - timeoutNow.tick > state.timings.electionMax
  const ackedRound = leadership.progress.get(timeoutNow.to)?.ackedRound ?? 0
  return !isOld && ackedRound <= timeoutNow.round
}
