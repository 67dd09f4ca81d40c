/**
 * What each command does. Preconditions are checked here, on the state at the command's place in the log,
 * whatever the leader saw when it proposed. Deterministic: every member gets the same state and result.
 */
import { strict as assert } from 'node:assert'
import { applyResources } from './apply-resources.ts'
import type {
  BeginGeneration,
  Bootstrap,
  Command,
  GrantShards,
  OpenShards,
  RecordEvent,
  RecordMember,
  RegisterNode,
  ReleaseShards,
  RemoveNode,
  SetDraining,
  ShardOpening,
} from './commands.ts'
import type { Resource, ResourceKey } from './resources.ts'
import { revisionAt } from './revision.ts'
import {
  isOwnedBy,
  type MetadataChange,
  type MetadataState,
  type NodeEntry,
  nodeAt,
  revisionOf,
  type ShardEntry,
  shardsOf,
} from './state.ts'

export type ApplyResult =
  | { readonly kind: 'done' }
  /** The cluster exists already; nothing was changed. */
  | { readonly kind: 'exists' }
  | { readonly kind: 'registered'; readonly nodeEpoch: number }
  /** Another process is a member under this id. */
  | { readonly kind: 'duplicate'; readonly nodeEpoch: number; readonly incarnation: string }
  /** No such node at this epoch. */
  | { readonly kind: 'unknown-node' }
  /** Shards for which the preconditions did not hold; the others were done. */
  | { readonly kind: 'shards'; readonly refused: readonly number[] }
  /** Everything asked for now has this version. */
  | { readonly kind: 'changed'; readonly version: number; readonly existed: boolean }
  /** A resource has another version than expected (0: does not exist); nothing was changed. */
  | { readonly kind: 'conflict'; readonly key: ResourceKey; readonly version: number }
  /** The id is that of a Placement Center node with another data folder; nothing was changed. */
  | { readonly kind: 'other-folder'; readonly folderId: string }
  /** The generation is another one; nothing was changed. */
  | { readonly kind: 'other-generation'; readonly generation: number }

export interface Applied {
  readonly result: ApplyResult
  /** Undefined when only the decision log, or nothing, has changed. */
  readonly change: MetadataChange | undefined
}

export interface Outcome {
  readonly result: ApplyResult
  readonly nodesChanged?: readonly NodeEntry[]
  readonly nodesRemoved?: readonly string[]
  readonly shardsChanged?: readonly ShardEntry[]
  readonly resourcesChanged?: readonly Resource[]
  readonly resourcesRemoved?: readonly ResourceKey[]
}

/** Where the command stands: its state, log index, revision and the leader's wall time. */
export interface Place {
  readonly state: MetadataState
  readonly index: number
  readonly revision: number
  readonly timeMs: number
}

const DONE: ApplyResult = { kind: 'done' }

export function applyCommand(state: MetadataState, command: Command, index: number): Applied {
  assert(index > state.index, `command ${index} is applied after ${state.index}`)
  const revision = revisionAt(state.generation, index)
  const outcome = dispatch({ state, index, revision, timeMs: command.timeMs }, command)
  state.index = index
  return { result: outcome.result, change: changeOf(outcome, revisionOf(state)) }
}

function changeOf(outcome: Outcome, revision: number): MetadataChange | undefined {
  const { nodesChanged = [], nodesRemoved = [], shardsChanged = [] } = outcome
  const { resourcesChanged = [], resourcesRemoved = [] } = outcome
  const lists = [nodesChanged, nodesRemoved, shardsChanged, resourcesChanged, resourcesRemoved]
  if (lists.every((list) => list.length === 0)) return undefined
  return {
    revision,
    nodesChanged,
    nodesRemoved,
    shardsChanged,
    resourcesChanged,
    resourcesRemoved,
  }
}

function dispatch(place: Place, command: Command): Outcome {
  switch (command.kind) {
    case 'bootstrap':
      return bootstrap(place, command)
    case 'register-node':
      return registerNode(place, command)
    case 'remove-node':
      return removeNode(place, command)
    case 'grant-shards':
      return grantShards(place, command)
    case 'open-shards':
      return openShards(place, command)
    case 'release-shards':
      return releaseShards(place, command)
    case 'set-draining':
      return setDraining(place, command)
    case 'change-resources':
      return applyResources(place, command)
    case 'begin-generation':
      return beginGeneration(place, command)
    case 'record-member':
      return recordMember(place, command)
    case 'record-event':
      return recordEvent(place, command)
    default:
      return command satisfies never
  }
}

function bootstrap(place: Place, command: Bootstrap): Outcome {
  const { state } = place
  if (state.clusterId !== '') return { result: { kind: 'exists' } }
  state.clusterId = command.clusterId
  state.shards = Array.from({ length: command.shardCount }, (_, shard) => ({
    shard,
    epoch: 0,
    owner: undefined,
    opened: false,
    stored: undefined,
  }))
  record(place, 'ClusterCreated', {
    subject: command.clusterId,
    reason: `${command.shardCount} shards`,
  })
  return { result: DONE, shardsChanged: [...state.shards] }
}

function registerNode(place: Place, { node }: RegisterNode): Outcome {
  const { state, revision } = place
  const known = state.nodes.get(node.nodeId)
  if (known !== undefined) {
    const { nodeEpoch, incarnation } = known
    return incarnation === node.incarnation
      ? { result: { kind: 'registered', nodeEpoch } }
      : { result: { kind: 'duplicate', nodeEpoch, incarnation } }
  }
  const { nodeId, incarnation, version, grpcAddress, endpoints } = node
  const entry: NodeEntry = {
    nodeId,
    incarnation,
    version,
    grpcAddress,
    endpoints,
    nodeEpoch: revision,
    drain: undefined,
  }
  state.nodes.set(nodeId, entry)
  record(place, 'NodeRegistered', {
    subject: nodeId,
    reason: `epoch ${revision} at ${grpcAddress}`,
  })
  return { result: { kind: 'registered', nodeEpoch: revision }, nodesChanged: [entry] }
}

function removeNode(place: Place, command: RemoveNode): Outcome {
  const { state } = place
  const node = nodeAt(state, command.nodeId, command.nodeEpoch)
  if (node === undefined) return { result: { kind: 'unknown-node' } }
  state.nodes.delete(node.nodeId)
  const freed = shardsOf(state, node).map((shard) => free(shard))
  replaceShards(state, freed)
  record(place, 'NodeRemoved', {
    subject: node.nodeId,
    reason: `${command.cause}: ${command.reason}`,
    shards: freed,
  })
  return { result: DONE, nodesRemoved: [node.nodeId], shardsChanged: freed }
}

function grantShards(place: Place, command: GrantShards): Outcome {
  const { state, revision } = place
  const refused: number[] = []
  const granted: ShardEntry[] = []
  const stories = new Map<string, { subject: string; reason: string; shards: ShardEntry[] }>()
  const losers = new Set<NodeEntry>()
  for (const { shard: number, nodeId, nodeEpoch, prevEpoch, reason } of command.grants) {
    const node = nodeAt(state, nodeId, nodeEpoch)
    const shard = state.shards[number]
    if (node === undefined || node.drain || shard === undefined || shard.epoch !== prevEpoch) {
      refused.push(number)
      continue
    }
    const loser = shard.owner && nodeAt(state, shard.owner.nodeId, shard.owner.nodeEpoch)
    if (loser !== undefined) losers.add(loser)
    const epoch = Math.max(revision, shard.epoch + 1)
    assert(Number.isSafeInteger(epoch))
    const entry: ShardEntry = { ...shard, epoch, owner: { nodeId, nodeEpoch }, opened: false }
    state.shards[number] = entry
    granted.push(entry)
    const key = `${nodeId} ${reason}`
    const story = stories.get(key) ?? { subject: nodeId, reason, shards: [] }
    story.shards.push(entry)
    stories.set(key, story)
  }
  for (const story of stories.values()) record(place, 'ShardsGranted', story)
  noteDrained(place, losers)
  return { result: { kind: 'shards', refused }, shardsChanged: granted }
}

function openShards(place: Place, command: OpenShards): Outcome {
  const { state } = place
  const node = nodeAt(state, command.nodeId, command.nodeEpoch)
  const refused: number[] = []
  const opened: ShardEntry[] = []
  for (const report of command.shards) {
    const shard = state.shards[report.shard]
    const isCurrent =
      node !== undefined &&
      shard !== undefined &&
      isOwnedBy(shard, node) &&
      shard.epoch === report.epoch
    if (!isCurrent) {
      refused.push(report.shard)
      continue
    }
    if (shard.opened) continue
    noteDataLoss(place, shard, report)
    const { storageIncarnation: incarnation, commitNumber } = report
    opened.push({ ...shard, opened: true, stored: { incarnation, commitNumber } })
  }
  replaceShards(state, opened)
  if (opened.length > 0) {
    record(place, 'ShardsOpened', { subject: command.nodeId, reason: '', shards: opened })
  }
  return { result: { kind: 'shards', refused }, shardsChanged: opened }
}

/** What an owner had committed before must be there again; if it is not, that is never silent. */
function noteDataLoss(place: Place, shard: ShardEntry, report: ShardOpening): void {
  const before = shard.stored
  if (before === undefined) return
  const isOther = before.incarnation !== '' && before.incarnation !== report.storageIncarnation
  if (!isOther && report.commitNumber >= before.commitNumber) return
  const reason = isOther
    ? `storage ${before.incarnation} was replaced by ${report.storageIncarnation}`
    : `commit ${before.commitNumber} was reported, storage has ${report.commitNumber}`
  record(place, 'ShardDataLoss', { subject: shard.owner?.nodeId ?? '', reason, shards: [shard] })
}

function releaseShards(place: Place, command: ReleaseShards): Outcome {
  const { state } = place
  const node = nodeAt(state, command.nodeId, command.nodeEpoch)
  const refused: number[] = []
  const released: ShardEntry[] = []
  for (const { shard: number, epoch, commitNumber } of command.shards) {
    const shard = state.shards[number]
    if (
      node === undefined ||
      shard === undefined ||
      !isOwnedBy(shard, node) ||
      shard.epoch !== epoch
    ) {
      refused.push(number)
      continue
    }
    const { stored } = shard
    released.push({ ...free(shard), stored: stored && { ...stored, commitNumber } })
  }
  replaceShards(state, released)
  if (released.length > 0) {
    record(place, 'ShardsReleased', { subject: command.nodeId, reason: '', shards: released })
    if (node !== undefined) noteDrained(place, [node])
  }
  return { result: { kind: 'shards', refused }, shardsChanged: released }
}

function setDraining(place: Place, command: SetDraining): Outcome {
  const { state } = place
  const node = nodeAt(state, command.nodeId, command.nodeEpoch)
  if (node === undefined) return { result: { kind: 'unknown-node' } }
  const { nodeId: subject, deadlineMs, reason } = command
  if (deadlineMs === (node.drain?.deadlineMs ?? null)) return { result: DONE }
  const changed: NodeEntry = { ...node, drain: deadlineMs === null ? undefined : { deadlineMs } }
  state.nodes.set(node.nodeId, changed)
  const shards = shardsOf(state, changed)
  if (deadlineMs === null) {
    record(place, 'NodeUndrained', { subject, reason, shards })
  } else if (node.drain === undefined) {
    record(place, 'NodeDraining', { subject, reason, shards })
    noteDrained(place, [changed])
  }
  return { result: DONE, nodesChanged: [changed] }
}

function beginGeneration(place: Place, command: BeginGeneration): Outcome {
  const { state, index } = place
  const { previous, reason, generation = previous + 1, clusterId = state.clusterId } = command
  if (state.generation !== previous || generation <= previous) {
    return { result: { kind: 'other-generation', generation: state.generation } }
  }
  state.generation = generation
  state.clusterId = clusterId
  const nodesRemoved = [...state.nodes.keys()]
  state.nodes.clear()
  // Its nodes are new ones, of a cluster that the old ones have no part in.
  state.folders.clear()
  const shardsChanged = state.shards.map((shard) => free(shard))
  replaceShards(state, shardsChanged)
  const revision = revisionAt(state.generation, index)
  const text = `${reason}; ${nodesRemoved.length} nodes must register again`
  record({ ...place, revision }, 'GenerationBegun', {
    subject: String(state.generation),
    reason: text,
  })
  return { result: DONE, nodesRemoved, shardsChanged }
}

/** Call for nodes that may have given up their last shard. */
function noteDrained(place: Place, nodes: Iterable<NodeEntry>): void {
  for (const node of nodes) {
    if (node.drain === undefined || shardsOf(place.state, node).length > 0) continue
    record(place, 'NodeDrained', { subject: node.nodeId, reason: 'it owns no shard any more' })
  }
}

function recordMember({ state }: Place, { memberId, folderId }: RecordMember): Outcome {
  const known = state.folders.get(memberId)
  if (known !== undefined && known !== folderId) {
    return { result: { kind: 'other-folder', folderId: known } }
  }
  state.folders.set(memberId, folderId)
  return { result: DONE }
}

function recordEvent(place: Place, { event }: RecordEvent): Outcome {
  const { state, index, timeMs } = place
  const { kind, subject, reason, shards } = event
  state.events.append({ index, timeMs, kind, subject, reason, shards })
  return { result: DONE }
}

export interface Story {
  readonly subject: string
  readonly reason: string
  readonly shards?: readonly ShardEntry[]
}

export function record({ state, index, timeMs }: Place, kind: string, story: Story): void {
  const { subject, reason, shards = [] } = story
  const numbers = shards.map((shard) => shard.shard)
  state.events.append({ index, timeMs, kind, subject, reason, shards: numbers })
}

/** The epoch stays: whoever gets the shard next has a higher one. */
function free(shard: ShardEntry): ShardEntry {
  return { ...shard, owner: undefined, opened: false }
}

function replaceShards(state: MetadataState, shards: readonly ShardEntry[]): void {
  for (const shard of shards) state.shards[shard.shard] = shard
}
