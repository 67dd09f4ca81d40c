/** The cluster's metadata as one plain value, and questions about it. Changed by apply.ts only. */
import type { NodeRegistration } from './commands.ts'
import { EventLog } from './events.ts'

export interface NodeEntry extends NodeRegistration {
  /** Log index of the registration. */
  readonly nodeEpoch: number
  readonly draining: boolean
}

export interface ShardEntry {
  readonly shard: number
  /** The fencing token: only grows, below 2^53. 0: never granted. */
  readonly epoch: number
  /** Undefined: nobody. */
  readonly owner: { readonly nodeId: string; readonly nodeEpoch: number } | undefined
  /** The owner has fenced and recovered it, and serves it. */
  readonly opened: boolean
  /** As last reported by an owner; undefined before. */
  readonly stored: { readonly incarnation: string; readonly commitNumber: number } | undefined
}

export interface MetadataState {
  /** Empty until the first leader has made the cluster. */
  clusterId: string
  readonly nodes: Map<string, NodeEntry>
  /** By shard number; empty until the cluster is made. */
  shards: ShardEntry[]
  readonly events: EventLog
  /** Log index of the newest command applied. */
  index: number
}

/** Entries that a command has changed, as they are after it. */
export interface MetadataChange {
  readonly index: number
  readonly nodesChanged: readonly NodeEntry[]
  readonly nodesRemoved: readonly string[]
  readonly shardsChanged: readonly ShardEntry[]
}

export function emptyState(): MetadataState {
  return { clusterId: '', nodes: new Map(), shards: [], events: new EventLog(), index: 0 }
}

/** The node at exactly this epoch, if it is a member now. */
export function nodeAt(
  state: MetadataState,
  nodeId: string,
  nodeEpoch: number,
): NodeEntry | undefined {
  const node = state.nodes.get(nodeId)
  return node?.nodeEpoch === nodeEpoch ? node : undefined
}

export function isOwnedBy(shard: ShardEntry, node: NodeEntry): boolean {
  return shard.owner?.nodeId === node.nodeId && shard.owner.nodeEpoch === node.nodeEpoch
}

export function shardsOf(state: MetadataState, node: NodeEntry): readonly ShardEntry[] {
  return state.shards.filter((shard) => isOwnedBy(shard, node))
}
