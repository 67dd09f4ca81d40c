/** The whole state as bytes and back: one version byte, then JSON in UTF-8. */
import type { DecisionEvent } from './events.ts'
import { emptyState, type MetadataState, type NodeEntry, type ShardEntry } from './state.ts'

const SNAPSHOT_VERSION = 1

interface SnapshotBody {
  readonly clusterId: string
  readonly index: number
  readonly nodes: readonly NodeEntry[]
  readonly shards: readonly ShardEntry[]
  readonly eventSequence: number
  readonly events: readonly DecisionEvent[]
}

export function encodeSnapshot(state: MetadataState): Uint8Array {
  const body: SnapshotBody = {
    clusterId: state.clusterId,
    index: state.index,
    nodes: [...state.nodes.values()],
    shards: state.shards,
    eventSequence: state.events.sequence,
    events: state.events.after(0),
  }
  const json = new TextEncoder().encode(JSON.stringify(body))
  const bytes = new Uint8Array(json.byteLength + 1)
  bytes[0] = SNAPSHOT_VERSION
  bytes.set(json, 1)
  return bytes
}

/** @throws Error for bytes of another version. */
export function decodeSnapshot(bytes: Uint8Array): MetadataState {
  if (bytes[0] !== SNAPSHOT_VERSION) {
    throw new Error(`a snapshot has version ${bytes[0]}, this program reads ${SNAPSHOT_VERSION}`)
  }
  const body = JSON.parse(new TextDecoder().decode(bytes.subarray(1))) as SnapshotBody
  const state = emptyState()
  state.clusterId = body.clusterId
  state.index = body.index
  for (const node of body.nodes) state.nodes.set(node.nodeId, node)
  // JSON has no undefined: put back what it left out, so that a restored state equals the original.
  state.shards = body.shards.map(({ shard, epoch, owner, opened, stored }) => ({
    shard,
    epoch,
    owner,
    opened,
    stored,
  }))
  state.events.replace(body.events, body.eventSequence)
  return state
}
