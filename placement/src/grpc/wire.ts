/** Metadata in its gRPC form. */
import { placement as wire } from '@robust/proto'
import type { MetadataChange, MetadataState, NodeEntry, ShardEntry } from '../metadata/state.ts'

export function toWireMetadata(state: MetadataState): wire.Metadata {
  return {
    clusterId: state.clusterId,
    shardCount: state.shards.length,
    nodes: [...state.nodes.values()].map(toWireNode),
    shards: state.shards.map(toWireShard),
  }
}

export function toWireChange(change: MetadataChange): wire.Change {
  return {
    nodesChanged: change.nodesChanged.map(toWireNode),
    nodesRemoved: [...change.nodesRemoved],
    shardsChanged: change.shardsChanged.map(toWireShard),
    resourcesChanged: [...change.resourcesChanged],
    resourcesRemoved: [...change.resourcesRemoved],
  }
}

function toWireNode(node: NodeEntry): wire.Node {
  const { nodeId, nodeEpoch, incarnation, grpcAddress, version, drain } = node
  return {
    nodeId,
    nodeEpoch,
    incarnation,
    grpcAddress,
    version,
    state: drain ? wire.NodeState.NODE_STATE_DRAINING : wire.NodeState.NODE_STATE_ACTIVE,
    endpoints: [...node.endpoints],
  }
}

function toWireShard({ shard, epoch, owner, opened }: ShardEntry): wire.Shard {
  const { nodeId = '', nodeEpoch = 0 } = owner ?? {}
  return { shard, epoch, owner: nodeId, ownerEpoch: nodeEpoch, opened }
}
