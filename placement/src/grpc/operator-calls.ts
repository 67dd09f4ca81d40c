/** What operators ask for: drains and moves of shards. Answered when it is begun; the metadata shows the rest. */
import type { placement as wire } from '@robust/proto'
import type { Leadership } from '../controllers/leadership.ts'
import { PlacementError } from '../errors.ts'
import { type MetadataState, type NodeEntry, shardsOf } from '../metadata/state.ts'
import type { MetadataMachine } from '../replication/metadata-machine.ts'
import type { Proposer } from '../replication/proposer.ts'
import { settingsOf } from '../settings.ts'
import { checkReason } from './requests.ts'

export interface OperatorCallsOptions {
  readonly machine: MetadataMachine
  readonly leadership: Leadership
  readonly proposer: Proposer
}

export async function drain(
  options: OperatorCallsOptions,
  { nodeId, reason, deadlineMs: asked }: wire.DrainRequest,
): Promise<wire.DrainReply> {
  const { machine } = options
  const seconds = settingsOf(() => machine.state).get('drain.deadline-seconds')
  const deadlineMs = asked === 0 ? seconds * 1000 : asked
  const node = await setDraining(options, { nodeId, reason, deadlineMs })
  return { shards: shardsOf(machine.state, node).length }
}

export async function undrain(
  options: OperatorCallsOptions,
  { nodeId, reason }: wire.UndrainRequest,
): Promise<wire.UndrainReply> {
  await setDraining(options, { nodeId, reason, deadlineMs: null })
  return {}
}

export async function moveShard(
  { leadership, machine }: OperatorCallsOptions,
  request: wire.MoveShardRequest,
): Promise<wire.MoveShardReply> {
  checkReason(request.reason)
  if (request.shard === undefined) throw new PlacementError('INVALID', 'no shard is named')
  const { assignment } = leadership.require()
  const { state } = machine
  const shard = state.shards[request.shard]
  if (shard === undefined) {
    const message = `there is no shard ${request.shard}: this cluster has ${state.shards.length}`
    throw new PlacementError('INVALID', message)
  }
  const { epoch, owner } = shard
  if (owner === undefined) {
    throw new PlacementError('INVALID', `shard ${request.shard} has no owner now; it gets one`)
  }
  const to = request.to === '' ? fewest(state, owner.nodeId) : request.to
  const target = to === undefined ? undefined : state.nodes.get(to)
  if (target === undefined) {
    throw new PlacementError(
      'UNKNOWN_NODE',
      to ? `${to} is not a member` : 'there is no other node',
    )
  }
  if (target.drain !== undefined) throw new PlacementError('INVALID', `${to} is draining`)
  if (target.nodeId === owner.nodeId) {
    throw new PlacementError('INVALID', `${to} owns shard ${request.shard} already`)
  }
  const reason = request.reason === '' ? 'as asked for' : request.reason
  assignment.move(shard, { to: target.nodeId, reason })
  return { from: owner.nodeId, to: target.nodeId, epoch }
}

/** The node with the fewest shards, of those that may own and are not this one. */
function fewest(state: MetadataState, except: string): string | undefined {
  const count = (node: NodeEntry): number => shardsOf(state, node).length
  return [...state.nodes.values()]
    .filter(({ nodeId, drain }) => nodeId !== except && drain === undefined)
    .toSorted((one, other) => count(one) - count(other))[0]?.nodeId
}

async function setDraining(
  { leadership, proposer, machine }: OperatorCallsOptions,
  asked: { readonly nodeId: string; readonly reason: string; readonly deadlineMs: number | null },
): Promise<NodeEntry> {
  checkReason(asked.reason)
  leadership.require()
  const node = machine.state.nodes.get(asked.nodeId)
  const unknown = new PlacementError('UNKNOWN_NODE', `${asked.nodeId} is not a member`)
  if (node === undefined) throw unknown
  const { nodeEpoch } = node
  const result = await proposer.propose({ kind: 'set-draining', nodeEpoch, ...asked })
  if (result.kind === 'unknown-node') throw unknown
  return node
}
