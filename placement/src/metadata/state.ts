/** The cluster's metadata as one plain value, and questions about it. Changed by apply.ts only. */
import type { NodeRegistration } from './commands.ts'
import { EventLog } from './events.ts'
import { type Resource, type ResourceKey, ResourceTable } from './resources.ts'
import { revisionAt } from './revision.ts'

export interface NodeEntry extends NodeRegistration {
  /** Revision of the registration. */
  readonly nodeEpoch: number
  /** Undefined: it is not being drained. */
  readonly drain: NodeDrain | undefined
}

export interface NodeDrain {
  /** Counted by each leader from its own beginning: wall clocks decide nothing. */
  readonly deadlineMs: number
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
  readonly resources: ResourceTable
  /** Data folder by id, of every Placement Center node that ever took part; removed ones stay. */
  readonly folders: Map<string, string>
  readonly events: EventLog
  /** Log index of the newest command applied. */
  index: number
  /** How often the metadata was restored from a backup. */
  generation: number
}

/** Entries that a command has changed, as they are after it. */
export interface MetadataChange {
  readonly revision: number
  readonly nodesChanged: readonly NodeEntry[]
  readonly nodesRemoved: readonly string[]
  readonly shardsChanged: readonly ShardEntry[]
  readonly resourcesChanged: readonly Resource[]
  readonly resourcesRemoved: readonly ResourceKey[]
}

export function emptyState(): MetadataState {
  return {
    clusterId: '',
    nodes: new Map(),
    shards: [],
    resources: new ResourceTable(),
    folders: new Map(),
    events: new EventLog(),
    index: 0,
    generation: 0,
  }
}

/** Of the newest command applied. */
export function revisionOf({ generation, index }: MetadataState): number {
  return revisionAt(generation, index)
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
