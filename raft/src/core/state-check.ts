/**
 * Comparing the states of the members. The leader puts a `state-check` entry into the log; each member
 * tells it the hash that its state had there. What a majority of voters found becomes a `state-verdict`
 * entry, so that every member, the leader too, compares its own against it at the same place of the log.
 * Without a majority nobody is known to be right, and nobody is stopped.
 */
import { appendOwn, noteContact } from './leader.ts'
import { hasOwnTermCommit } from './membership-rules.ts'
import type { StateHashResponse } from './messages.ts'
import { majority } from './quorum.ts'
import { type NodeState, send } from './state.ts'

export interface StateCheck {
  /** Of the state-check entry. */
  readonly index: number
  readonly reports: Map<string, string>
  /** What a majority found, once it is known. */
  verdict: string | undefined
  /** All voters have reported and no majority agrees. */
  isUndecided: boolean
}

/** A member's state is not what it must be; without `expected` it is not known whose is wrong. */
export interface StateDeviation {
  readonly memberId: string
  readonly index: number
  readonly hash: string
  readonly expected: string | undefined
}

export interface StateVerdict {
  readonly index: number
  readonly hash: string
}

/** Begins a check when it is time and something was proposed since the last. */
export function tickStateCheck(state: NodeState): void {
  const { stateCheck } = state.timings
  const leadership = state.role
  if (leadership.kind !== 'leader' || leadership.transfer !== undefined) return
  if (!state.isHashing || stateCheck === 0) return
  leadership.checkElapsed += 1
  if (leadership.checkElapsed < stateCheck || !leadership.hasNewCommands) return
  const { termStartIndex } = leadership
  if (!hasOwnTermCommit({ commitIndex: state.log.commitIndex, termStartIndex })) return
  leadership.checkElapsed = 0
  leadership.hasNewCommands = false
  state.counters.stateChecks += 1
  const index = appendOwn(state, 'state-check', new Uint8Array(0))
  leadership.check = { index, reports: new Map(), verdict: undefined, isUndecided: false }
}

export function reportStateHash(state: NodeState, index: number, hash: string): void {
  if (state.role.kind === 'leader') noteReport(state, state.id, { index, hash })
  else if (state.leaderId !== undefined) {
    send(state, { kind: 'state-hash-response', index, hash }, { to: state.leaderId })
  }
}

export function handleStateHash(state: NodeState, message: StateHashResponse): void {
  if (noteContact(state, message) !== undefined) noteReport(state, message.from, message)
}

function noteReport(state: NodeState, from: string, { index, hash }: StateVerdict): void {
  if (state.role.kind !== 'leader' || state.role.check?.index !== index) return
  const { check } = state.role
  if (check.reports.has(from)) return
  check.reports.set(from, hash)
  if (check.verdict !== undefined || check.isUndecided) {
    noteDeviation(state, check, from)
    return
  }
  const votes = state.voters.flatMap((id) => check.reports.get(id) ?? [])
  const agreeing = votes.filter((vote) => vote === hash).length
  if (agreeing >= majority(state.voters.length)) {
    check.verdict = hash
    appendOwn(state, 'state-verdict', encodeVerdict({ index, hash }))
  }
  check.isUndecided = check.verdict === undefined && votes.length >= state.voters.length
  if (check.verdict === undefined && !check.isUndecided) return
  for (const id of check.reports.keys()) noteDeviation(state, check, id)
}

/** Without a verdict everyone is named: they differ, and it is not known who is right. */
function noteDeviation(state: NodeState, check: StateCheck, memberId: string): void {
  const { index, verdict: expected } = check
  const hash = check.reports.get(memberId) ?? ''
  if (hash === expected) return
  state.counters.stateDeviations += 1
  state.deviations.push({ memberId, index, hash, expected })
}

export function encodeVerdict(verdict: StateVerdict): Uint8Array {
  return new TextEncoder().encode(JSON.stringify(verdict))
}

/** @throws Error when the bytes are no verdict. */
export function decodeVerdict(data: Uint8Array): StateVerdict {
  const value: unknown = JSON.parse(new TextDecoder().decode(data))
  const { index, hash } = (value ?? {}) as { index?: unknown; hash?: unknown }
  if (typeof index === 'number' && typeof hash === 'string') return { index, hash }
  throw new Error('a state verdict has no index or no hash')
}
