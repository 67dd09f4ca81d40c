/**
 * The whole state as bytes and back: one version byte, then frames of a length (4 bytes, big endian) and
 * that much JSON in UTF-8. Frames are small, so that neither side works for long without a pause.
 */
import type { DecisionEvent } from './events.ts'
import type { Resource, ResourceKind, ResourceVersion } from './resources.ts'
import { emptyState, type MetadataState, type NodeEntry, type ShardEntry } from './state.ts'

const SNAPSHOT_VERSION = 2

/** Encoded in about a millisecond. */
const FRAME_ROWS = 500
const LENGTH_BYTES = 4

interface Head {
  readonly clusterId: string
  readonly index: number
  readonly generation: number
  readonly nodes: readonly NodeEntry[]
  readonly folders: readonly (readonly [string, string])[]
  readonly eventSequence: number
}

type ResourceRow = readonly [ResourceKind, string, string, number, number, string]

type Frame =
  | { readonly head: Head }
  | { readonly shards: readonly ShardEntry[] }
  | { readonly events: readonly DecisionEvent[] }
  | { readonly resources: readonly ResourceRow[] }
  | { readonly histories: readonly (readonly [string, readonly ResourceVersion[]])[] }

/** The state as it is now, whatever happens to it while the chunks are taken. */
export function snapshotChunks(state: MetadataState): Iterable<Uint8Array> {
  const head: Head = {
    clusterId: state.clusterId,
    index: state.index,
    generation: state.generation,
    nodes: [...state.nodes.values()],
    folders: [...state.folders],
    eventSequence: state.events.sequence,
  }
  const shards = [...state.shards]
  const events = state.events.after(0)
  const resources = state.resources.frozen()
  const histories = [...state.resources.histories]
  function* chunks(): Generator<Uint8Array> {
    yield Uint8Array.of(SNAPSHOT_VERSION)
    yield toFrame({ head })
    for (const rows of slices(shards)) yield toFrame({ shards: rows })
    for (const rows of slices(events)) yield toFrame({ events: rows })
    for (const rows of slices(histories)) yield toFrame({ histories: rows })
    for (const kind of resources) {
      for (const rows of slices(kind)) yield toFrame({ resources: rows.map(toRow) })
    }
  }
  return chunks()
}

/** @throws Error for bytes of another version, or that end in the middle of a frame. */
export function decodeSnapshot(bytes: Uint8Array): MetadataState {
  const steps = decodeInSteps(bytes)
  for (;;) {
    const { done, value } = steps.next()
    if (done === true) return value
  }
}

/** As decodeSnapshot, a frame a step: about a millisecond each. */
export function* decodeInSteps(bytes: Uint8Array): Generator<void, MetadataState> {
  if (bytes[0] !== SNAPSHOT_VERSION) {
    throw new Error(`a snapshot has version ${bytes[0]}, this program reads ${SNAPSHOT_VERSION}`)
  }
  const state = emptyState()
  const events: DecisionEvent[] = []
  let eventSequence = 0
  for (const frame of frames(bytes)) {
    if ('head' in frame) {
      takeHead(state, frame.head)
      eventSequence = frame.head.eventSequence
    } else if ('shards' in frame) state.shards.push(...frame.shards.map(toShard))
    else if ('events' in frame) events.push(...frame.events)
    else if ('resources' in frame) for (const row of frame.resources) takeRow(state, row)
    else for (const [name, versions] of frame.histories) state.resources.remember(name, versions)
    yield
  }
  state.events.replace(events, eventSequence)
  return state
}

function takeHead(state: MetadataState, head: Head): void {
  state.clusterId = head.clusterId
  state.index = head.index
  state.generation = head.generation
  for (const [id, folder] of head.folders) state.folders.set(id, folder)
  for (const node of head.nodes) state.nodes.set(node.nodeId, { ...node, drain: node.drain })
}

/** JSON has no undefined: put back what it left out, so that a restored state equals the original. */
function toShard({ shard, epoch, owner, opened, stored }: ShardEntry): ShardEntry {
  return { shard, epoch, owner, opened, stored }
}

function toRow({ kind, tenant, name, created, version, value }: Resource): ResourceRow {
  return [kind, tenant, name, created, version, value]
}

function takeRow(state: MetadataState, row: ResourceRow): void {
  const [kind, tenant, name, created, version, value] = row
  state.resources.put({ kind, tenant, name, created, version, value })
}

function* slices<T>(rows: readonly T[]): Generator<readonly T[]> {
  for (let at = 0; at < rows.length; at += FRAME_ROWS) yield rows.slice(at, at + FRAME_ROWS)
}

function toFrame(frame: Frame): Uint8Array {
  const json = new TextEncoder().encode(JSON.stringify(frame))
  const bytes = new Uint8Array(LENGTH_BYTES + json.byteLength)
  new DataView(bytes.buffer).setUint32(0, json.byteLength)
  bytes.set(json, LENGTH_BYTES)
  return bytes
}

function* frames(bytes: Uint8Array): Generator<Frame> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  for (let at = 1; at < bytes.byteLength; ) {
    const from = at + LENGTH_BYTES
    const to = from <= bytes.byteLength ? from + view.getUint32(at) : Number.POSITIVE_INFINITY
    if (to > bytes.byteLength) throw new Error('a snapshot ends in the middle of a frame')
    yield JSON.parse(new TextDecoder().decode(bytes.subarray(from, to))) as Frame
    at = to
  }
}
