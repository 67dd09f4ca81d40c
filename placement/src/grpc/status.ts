/** This member's view of the cluster, from what it has applied. */
import type { placement as wire } from '@robust/proto'
import type { MemberHealth, Raft, RaftStatus } from 'raft-ts'
import type { Leadership } from '../controllers/leadership.ts'
import { RESOURCE_KINDS } from '../metadata/resources.ts'
import type { MetadataMachine } from '../replication/metadata-machine.ts'
import { toWireMetadata } from './wire.ts'

export interface StatusOptions {
  readonly raft: Raft
  readonly machine: MetadataMachine
  readonly leadership: Leadership
  readonly members: MemberView
  readonly quorumContactMaxMs: number
  readonly nowMs: () => number
}

export interface MemberView {
  /** Of this node's data; empty while it does not take part. */
  readonly folderId: string
  /** As the leader sees them; empty elsewhere. */
  readonly health: readonly MemberHealth[]
}

/** Where the members are. */
export function memberAddresses(raft: Raft): string[] {
  return raft.status().members.map(({ address }) => address)
}

export function describeStatus(options: StatusOptions): wire.StatusReply {
  const { raft, machine, leadership, quorumContactMaxMs, nowMs } = options
  const status = raft.status()
  const reports = leadership.current?.reports ?? []
  return {
    clusterId: machine.state.clusterId,
    nodeId: status.nodeId,
    role: status.role === 'pre-candidate' ? 'candidate' : status.role,
    term: status.term,
    leaderId: status.leaderId ?? '',
    leaderAddress: status.leaderAddress ?? '',
    commitIndex: status.commitIndex,
    appliedIndex: status.appliedIndex,
    hasQuorum: hasQuorum(status, quorumContactMaxMs),
    members: status.members.map((member) => describeMember(status, member, options.members.health)),
    metadata: toWireMetadata(machine.state),
    reports: reports.map(({ node, receivedMs, report }) => ({
      nodeId: node.nodeId,
      ageMs: Math.max(0, Math.round(nowMs() - receivedMs)),
      report,
    })),
    memoryBytes: process.memoryUsage.rss(),
    resources: Object.fromEntries(
      RESOURCE_KINDS.map((kind) => [kind, machine.state.resources.count(kind)]),
    ),
    folderId: options.members.folderId,
    memberFolders: Object.fromEntries(machine.state.folders),
    snapshotIndex: status.snapshotIndex,
    lastIndex: status.lastIndex,
  }
}

/** A follower forgets its leader when it has not heard of it for an election time-out. */
/** Contact with a majority now, or a leader that had it lately. */
export function hasQuorum(status: RaftStatus, quorumContactMaxMs: number): boolean {
  if (status.role !== 'leader') return status.leaderId !== undefined
  const { lastQuorumContactMs } = status
  return lastQuorumContactMs !== undefined && lastQuorumContactMs <= quorumContactMaxMs
}

function describeMember(
  status: RaftStatus,
  { id, address, role }: RaftStatus['members'][number],
  health: readonly MemberHealth[],
): wire.PlacementMember {
  const peer = status.peers.find((candidate) => candidate.id === id)
  const isSelf = id === status.nodeId
  return {
    nodeId: id,
    address,
    leader: id === status.leaderId,
    matchIndex: peer?.matchIndex ?? (isSelf && status.role === 'leader' ? status.lastIndex : 0),
    lastContactMs: Math.round(peer?.lastContactMs ?? 0),
    learner: role === 'learner',
    healthy: health.find((member) => member.id === id)?.isHealthy,
  }
}
