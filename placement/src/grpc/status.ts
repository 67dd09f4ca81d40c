/** This member's view of the cluster, from what it has applied. */
import type { placement as wire } from '@robust/proto'
import type { Raft, RaftStatus } from 'raft-ts'
import type { Leadership } from '../controllers/leadership.ts'
import { RESOURCE_KINDS } from '../metadata/resources.ts'
import type { MetadataMachine } from '../replication/metadata-machine.ts'
import { toWireMetadata } from './wire.ts'

export interface StatusOptions {
  readonly raft: Raft
  readonly machine: MetadataMachine
  readonly leadership: Leadership
  readonly quorumContactMaxMs: number
  readonly nowMs: () => number
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
    members: status.members.map((member) => describeMember(status, member)),
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
  }
}

/** A follower forgets its leader when it has not heard of it for an election time-out. */
function hasQuorum(status: RaftStatus, quorumContactMaxMs: number): boolean {
  if (status.role !== 'leader') return status.leaderId !== undefined
  const { lastQuorumContactMs } = status
  return lastQuorumContactMs !== undefined && lastQuorumContactMs <= quorumContactMaxMs
}

function describeMember(
  status: RaftStatus,
  { id, address }: RaftStatus['members'][number],
): wire.PlacementMember {
  const peer = status.peers.find((candidate) => candidate.id === id)
  const isSelf = id === status.nodeId
  return {
    nodeId: id,
    address,
    leader: id === status.leaderId,
    matchIndex: peer?.matchIndex ?? (isSelf && status.role === 'leader' ? status.lastIndex : 0),
    lastContactMs: Math.round(peer?.lastContactMs ?? 0),
  }
}
