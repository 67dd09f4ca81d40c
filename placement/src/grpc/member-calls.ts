/**
 * The Placement Center's own members, changed by operators: one change at a time, committed when it is
 * answered. What passes by waiting is answered as such, and asked again; what does not is an error.
 */

import type { placement as wire } from '@robust/proto'
import {
  LeadershipTransferFailedError,
  type MembershipChange,
  MembershipChangeRefusedError,
  NotLeaderError,
  type Raft,
} from 'raft-ts'
import type { Leadership } from '../controllers/leadership.ts'
import { PlacementError } from '../errors.ts'
import type { Probe } from '../replication/member-probe.ts'
import type { MetadataMachine } from '../replication/metadata-machine.ts'
import { asPlacementError, notLeader, type Proposer } from '../replication/proposer.ts'
import { checkName } from './requests.ts'

export interface MemberCallsOptions {
  readonly raft: Raft
  readonly machine: MetadataMachine
  readonly leadership: Leadership
  readonly proposer: Proposer
  readonly probe: Probe
}

/** Within it brokers notice nothing, and an election would have been decided too. */
const TRANSFER_MS = 2_000

const DONE: wire.ChangeMemberReply = { done: true, waitsFor: '' }

const PASSING: Readonly<Record<string, string>> = {
  'no-own-term-commit': 'the leader is new',
  'change-pending': 'another change of the members is under way',
  'configuration-changed': 'the members have just changed',
  'transfer-in-progress': 'the leadership is going over to another member',
  'learner-behind': 'it has not caught up yet, or does not answer',
}

export async function addMember(
  options: MemberCallsOptions,
  { nodeId, address }: wire.AddMemberRequest,
): Promise<wire.ChangeMemberReply> {
  const { raft, leadership, proposer, machine, probe } = options
  checkName('node_id', nodeId)
  if (!/^.+:\d+$/.test(address)) throw invalid(`${address} is not HOST:PORT`)
  leadership.require()
  const { members, configurationIndex } = raft.status()
  const before = members.find((member) => member.id === nodeId || member.address === address)
  if (before?.id === nodeId && before.address === address) return DONE
  if (before !== undefined) throw invalid(`${before.id} is a member at ${before.address}`)
  const reply = await probe(address)
  if (reply === undefined) return { done: false, waitsFor: `${address} does not answer` }
  refuseOther(reply, { nodeId, address, clusterId: machine.state.clusterId })
  const { folderId } = reply
  if (folderId === '') return { done: false, waitsFor: `${nodeId} is still starting` }
  const record = { kind: 'record-member', memberId: nodeId, folderId } as const
  const recorded = await proposer.propose(record)
  if (recorded.kind === 'other-folder') {
    const message =
      `${nodeId} was a member with data folder ${recorded.folderId}, and has ${folderId} now; ` +
      `an id is not used again: start it with an empty folder under another --node-id`
    throw invalid(message)
  }
  return change(options, {
    change: { kind: 'add-learner', member: { id: nodeId, address } },
    configurationIndex,
    event: { kind: 'MemberAdded', reason: `as a learner at ${address}` },
  })
}

/** Who answers must be who is meant, and have no cluster of its own. */
function refuseOther(
  reply: wire.StatusReply,
  asked: { readonly nodeId: string; readonly address: string; readonly clusterId: string },
): void {
  const { nodeId, address, clusterId } = asked
  const isOther = reply.clusterId !== '' && reply.clusterId !== clusterId
  if (reply.nodeId !== nodeId || isOther) {
    const found = `node ${reply.nodeId}${isOther ? ` of cluster ${reply.clusterId}` : ''}`
    throw invalid(`at ${address} is ${found}, not node ${nodeId} of cluster ${clusterId}`)
  }
  if (reply.lastIndex === 0 && reply.commitIndex === 0) return
  throw invalid(
    `${nodeId} has a log already, of its own or of an earlier membership: ` +
      `start it with --join, an empty --data folder and an id that was never used`,
  )
}

export async function promoteMember(
  options: MemberCallsOptions,
  { nodeId }: wire.MemberRequest,
): Promise<wire.ChangeMemberReply> {
  const { raft, leadership } = options
  leadership.require()
  const { members, configurationIndex } = raft.status()
  const member = members.find(({ id }) => id === nodeId)
  if (member === undefined) throw unknown(nodeId)
  if (member.role === 'voter') return DONE
  return change(options, {
    change: { kind: 'promote', member: { id: nodeId } },
    configurationIndex,
    event: { kind: 'MemberPromoted', reason: 'as asked for' },
  })
}

/** A leader that is to leave hands over first, so that its successor sees to the removal. */
export async function removeMember(
  options: MemberCallsOptions,
  { nodeId }: wire.MemberRequest,
): Promise<wire.ChangeMemberReply> {
  const { raft, leadership } = options
  leadership.require()
  const { members, configurationIndex, nodeId: self } = raft.status()
  if (!members.some(({ id }) => id === nodeId)) throw unknown(nodeId)
  const voters = members.filter(({ role }) => role === 'voter')
  if (nodeId === self && voters.length > 1) {
    await transfer(raft, undefined)
    throw notLeader(raft.status().leaderAddress)
  }
  return change(options, {
    change: { kind: 'remove', member: { id: nodeId } },
    configurationIndex,
    event: { kind: 'MemberRemoved', reason: 'as asked for' },
  })
}

export async function transferLeadership(
  { raft, leadership }: MemberCallsOptions,
  { nodeId }: wire.TransferLeadershipRequest,
): Promise<wire.TransferLeadershipReply> {
  leadership.require()
  const { members, nodeId: self } = raft.status()
  if (nodeId === self) return { leaderId: self, tookMs: 0 }
  if (nodeId !== '' && !members.some(({ id }) => id === nodeId)) throw unknown(nodeId)
  const beganMs = performance.now()
  await transfer(raft, nodeId === '' ? undefined : nodeId)
  const { leaderId = nodeId } = raft.status()
  return { leaderId, tookMs: Math.round(performance.now() - beganMs) }
}

async function transfer(raft: Raft, to: string | undefined): Promise<void> {
  try {
    await raft.transferLeadership(to, TRANSFER_MS)
  } catch (error) {
    if (!(error instanceof LeadershipTransferFailedError)) throw asPlacementError(error)
    throw invalid(`the leadership did not go over: ${error.reason}`)
  }
}

interface Asked {
  readonly change: MembershipChange
  /** Of the members that it was decided on. */
  readonly configurationIndex: number
  readonly event: { readonly kind: string; readonly reason: string }
}

async function change(
  { raft, proposer }: MemberCallsOptions,
  { change: asked, configurationIndex, event }: Asked,
): Promise<wire.ChangeMemberReply> {
  try {
    await raft.changeMembership({ ...asked, expectedConfigurationIndex: configurationIndex })
  } catch (error) {
    if (error instanceof NotLeaderError) throw asPlacementError(error)
    if (!(error instanceof MembershipChangeRefusedError)) throw asPlacementError(error)
    const passing = PASSING[error.reason]
    if (passing !== undefined) return { done: false, waitsFor: passing }
    throw invalid(refusalText(asked.member.id, error))
  }
  const story = { ...event, subject: asked.member.id, shards: [] }
  // It is done, whether or not the story of it is kept.
  await proposer.propose({ kind: 'record-event', event: story }).catch(() => undefined)
  return DONE
}

function refusalText(id: string, { reason }: MembershipChangeRefusedError): string {
  if (reason === 'last-voter') return `${id} is the only one that votes: add another one first`
  return `${id}: ${reason}`
}

function unknown(nodeId: string): PlacementError {
  return new PlacementError('UNKNOWN_NODE', `${nodeId} is not a member of the Placement Center`)
}

function invalid(message: string): PlacementError {
  return new PlacementError('INVALID', message)
}
