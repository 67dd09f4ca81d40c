/** The calls of brokers and operators. Answers after the commit, or says who to ask. */
import type { ServerUnaryCall, sendUnaryData } from '@grpc/grpc-js'
import { status } from '@grpc/grpc-js'
import { type placement as wire, withoutPasswords } from '@robust/proto'
import type { Raft } from 'raft-ts'
import type { Leadership } from '../controllers/leadership.ts'
import { PlacementError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { nodeAt, revisionOf } from '../metadata/state.ts'
import type { Probe } from '../replication/member-probe.ts'
import type { MetadataMachine } from '../replication/metadata-machine.ts'
import type { Proposer } from '../replication/proposer.ts'
import { backup, takeSnapshot } from './backup-calls.ts'
import { toStatus } from './error-status.ts'
import { addMember, promoteMember, removeMember, transferLeadership } from './member-calls.ts'
import { renderMetrics } from './metrics.ts'
import { drain, moveShard, undrain } from './operator-calls.ts'
import { checkName, checkRegistration, checkShards } from './requests.ts'
import {
  changeResources,
  deleteResource,
  getResource,
  listResources,
  putResource,
  resourceHistory,
} from './resource-calls.ts'
import { describeStatus, type MemberView, memberAddresses } from './status.ts'
import type { WatchService } from './watch-service.ts'

export interface PlacementServiceOptions {
  readonly raft: Raft
  readonly machine: MetadataMachine
  readonly leadership: Leadership
  readonly proposer: Proposer
  readonly watches: WatchService
  readonly members: MemberView
  readonly probe: Probe
  /** Resolves when everything that was committed is applied here. */
  readonly readBarrier: () => Promise<unknown>
  readonly leaseTtlMs: number
  readonly heartbeatMs: number
  /** A leader without a majority for so long has no quorum. */
  readonly quorumContactMaxMs: number
  readonly nowMs: () => number
  readonly log: Logger
}

export function createPlacementService(options: PlacementServiceOptions): wire.PlacementServer {
  const { log, machine, watches } = options
  const answer = answerWith(log)
  return {
    register: answer((request) => register(options, request)),
    deregister: answer((request) => deregister(options, request)),
    heartbeat: answer((request) => heartbeat(options, request)),
    watch: (call) => void watches.watch(call),
    shardsOpened: answer((request) => shardsOpened(options, request)),
    shardsReleased: answer((request) => shardsReleased(options, request)),
    status: answer(async () => describeStatus(options)),
    metrics: answer(async () => ({ text: renderMetrics(options) })),
    events: answer(async ({ after, limit }) => ({
      events: machine.state.events.after(after, limit).map((event) => ({
        ...event,
        reason: withoutPasswords(event.reason),
        shards: [...event.shards],
      })),
    })),
    drain: answer((request) => drain(options, request)),
    undrain: answer((request) => undrain(options, request)),
    moveShard: answer((request) => moveShard(options, request)),
    putResource: answer((request) => putResource(options, request)),
    deleteResource: answer((request) => deleteResource(options, request)),
    changeResources: answer((request) => changeResources(options, request)),
    getResource: answer((request) => getResource(options, request)),
    listResources: answer((request) => listResources(options, request)),
    resourceHistory: answer((request) => resourceHistory(options, request)),
    addMember: answer((request) => addMember(options, request)),
    promoteMember: answer((request) => promoteMember(options, request)),
    removeMember: answer((request) => removeMember(options, request)),
    transferLeadership: answer((request) => transferLeadership(options, request)),
    takeSnapshot: answer(() => takeSnapshot(options)),
    backup: (call) => void backup(options, call),
  }
}

async function register(
  options: PlacementServiceOptions,
  request: wire.RegisterRequest,
): Promise<wire.RegisterReply> {
  const { leadership, proposer, machine, leaseTtlMs, heartbeatMs } = options
  checkRegistration(request)
  const session = leadership.require()
  const { clusterId } = machine.state
  if (request.clusterId !== '' && request.clusterId !== clusterId) {
    const message = `this is cluster ${clusterId}, not ${request.clusterId}`
    throw new PlacementError('WRONG_CLUSTER', message)
  }
  const { nodeId, incarnation, version, grpcAddress, endpoints } = request
  const node = { nodeId, incarnation, version, grpcAddress, endpoints }
  let result = await proposer.propose({ kind: 'register-node', node })
  if (result.kind === 'duplicate' && result.incarnation === request.replaces) {
    const { nodeEpoch } = result
    const reason = `its next process has begun as ${incarnation}`
    await proposer.propose({ kind: 'remove-node', nodeId, nodeEpoch, cause: 'replaced', reason })
    result = await proposer.propose({ kind: 'register-node', node })
  }
  if (result.kind === 'duplicate') {
    const other = `${result.incarnation} at epoch ${result.nodeEpoch}`
    throw new PlacementError(
      'DUPLICATE_NODE',
      `${nodeId} is a member already, as ${other}; it can be replaced when its lease has expired`,
    )
  }
  if (result.kind !== 'registered') throw new Error(`a registration ended as ${result.kind}`)
  const { nodeEpoch } = result
  session.liveness.contact(nodeId, nodeEpoch)
  const placementAddresses = memberAddresses(options.raft)
  const told = { clusterId, nodeEpoch, leaseTtlMs, heartbeatMs, index: nodeEpoch }
  return { ...told, placementAddresses }
}

async function deregister(
  { leadership, proposer }: PlacementServiceOptions,
  { nodeId, nodeEpoch, reason }: wire.DeregisterRequest,
): Promise<wire.DeregisterReply> {
  checkName('node_id', nodeId)
  leadership.require()
  await proposer.propose({ kind: 'remove-node', nodeId, nodeEpoch, cause: 'deregistered', reason })
  return {}
}

async function heartbeat(
  { raft, leadership, machine, leaseTtlMs }: PlacementServiceOptions,
  { nodeId, nodeEpoch, incarnation, report }: wire.HeartbeatRequest,
): Promise<wire.HeartbeatReply> {
  const session = leadership.requireQuorum()
  const node = nodeAt(machine.state, nodeId, nodeEpoch)
  const registered = node !== undefined && node.incarnation === incarnation
  if (registered) session.heartbeat(node, report)
  return {
    leaseTtlMs,
    metadataIndex: revisionOf(machine.state),
    placementTerm: session.authorityTerm,
    registered,
    placementAddresses: memberAddresses(raft),
  }
}

async function shardsOpened(
  { leadership, proposer }: PlacementServiceOptions,
  { nodeId, nodeEpoch, shards }: wire.ShardsOpenedRequest,
): Promise<wire.ShardsOpenedReply> {
  checkName('node_id', nodeId)
  checkShards(shards)
  leadership.require()
  const result = await proposer.propose({ kind: 'open-shards', nodeId, nodeEpoch, shards })
  return { refused: result.kind === 'shards' ? [...result.refused] : [] }
}

async function shardsReleased(
  { leadership, proposer }: PlacementServiceOptions,
  { nodeId, nodeEpoch, shards }: wire.ShardsReleasedRequest,
): Promise<wire.ShardsReleasedReply> {
  checkName('node_id', nodeId)
  checkShards(shards)
  const session = leadership.require()
  session.assignment.releasing(
    nodeId,
    shards.map(({ shard }) => shard),
  )
  await proposer.propose({ kind: 'release-shards', nodeId, nodeEpoch, shards })
  return {}
}

/** Any exception that is no operating error is a bug: logged, and answered without its details. */
function answerWith(log: Logger) {
  return <Q, R>(handle: (request: Q) => Promise<R>) =>
    (call: ServerUnaryCall<Q, R>, done: sendUnaryData<R>): void => {
      void handle(call.request).then(
        (reply) => done(null, reply),
        (error: unknown) => {
          const known = toStatus(error)
          if (known === undefined) log.error({ err: error, path: call.getPath() }, 'a call failed')
          done(known ?? { code: status.INTERNAL, details: 'the call failed; see the log' })
        },
      )
    }
}
