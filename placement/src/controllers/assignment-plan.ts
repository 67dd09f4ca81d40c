/**
 * Who should own what: balanced over the nodes that may own, with as few moves as possible. A pure function
 * of what is known; the controller carries it out.
 */
import { isOwnedBy, type NodeEntry, type ShardEntry } from '../metadata/state.ts'

export interface PlanInput {
  /** In a stable order. */
  readonly nodes: readonly NodeEntry[]
  readonly shards: readonly ShardEntry[]
  /** Nodes that are about to leave by themselves: they get nothing, and are asked for nothing. */
  readonly leaving: ReadonlySet<string>
  /** Shards that their owners have been asked to release. */
  readonly moving: ReadonlySet<number>
  /** Shards whose owner does not do what it is told: they are granted to somebody over its head. */
  readonly stuck: ReadonlySet<number>
  /** At once, those on their way included. */
  readonly movesMax: number
  /** Whether to move shards for the sake of balance. */
  readonly rebalance: boolean
}

export interface Plan {
  readonly grants: readonly { readonly shard: ShardEntry; readonly to: NodeEntry }[]
  readonly moves: readonly { readonly shard: ShardEntry; readonly from: NodeEntry }[]
}

interface Candidate {
  readonly node: NodeEntry
  /** Shards it has or will have when everything under way is done. */
  load: number
  /** Could be asked back, the one to be taken first at the end. */
  readonly movable: ShardEntry[]
}

export function planAssignment(input: PlanInput): Plan {
  const { nodes, shards, leaving, moving, stuck } = input
  const candidates = nodes.map((node) => toCandidate(node, input))
  const eligible = candidates.filter(({ node }) => !node.draining && !leaving.has(node.nodeId))
  if (eligible.length === 0) return { grants: [], moves: [] }
  const members = new Set(nodes.map((node) => node.nodeId))
  const grants = shards
    .filter(
      ({ shard, owner }) => owner === undefined || !members.has(owner.nodeId) || stuck.has(shard),
    )
    .map((shard) => {
      const target = leastLoaded(eligible)
      target.load += 1
      return { shard, to: target.node }
    })
  // What is on its way goes to whoever is least loaded when it is released.
  for (const _ of moving) leastLoaded(eligible).load += 1
  const draining = candidates.filter(({ node }) => node.draining)
  return { grants, moves: planMoves(input, { eligible, draining }) }
}

function toCandidate(node: NodeEntry, input: PlanInput): Candidate {
  const { shards, moving, stuck } = input
  const owned = shards.filter(
    (shard) => isOwnedBy(shard, node) && !moving.has(shard.shard) && !stuck.has(shard.shard),
  )
  return { node, load: owned.length, movable: owned.filter((shard) => shard.opened) }
}

function planMoves(
  input: PlanInput,
  { eligible, draining }: { readonly eligible: Candidate[]; readonly draining: Candidate[] },
): Plan['moves'] {
  const moves: { shard: ShardEntry; from: NodeEntry }[] = []
  while (input.moving.size + moves.length < input.movesMax) {
    const target = leastLoaded(eligible)
    const source =
      draining.find(({ movable }) => movable.length > 0) ??
      (input.rebalance ? overloaded(eligible, target.load) : undefined)
    const shard = source?.movable.pop()
    if (source === undefined || shard === undefined) break
    source.load -= 1
    target.load += 1
    moves.push({ shard, from: source.node })
  }
  return moves
}

/** The first of those with the least. */
function leastLoaded(candidates: readonly Candidate[]): Candidate {
  return candidates.reduce((least, other) => (other.load < least.load ? other : least))
}

/** The one with the most, if a move from it would make the loads more equal. */
function overloaded(candidates: readonly Candidate[], leastLoad: number): Candidate | undefined {
  const movable = candidates.filter((candidate) => candidate.movable.length > 0)
  const [first, ...rest] = movable
  if (first === undefined) return undefined
  const most = rest.reduce((top, other) => (other.load > top.load ? other : top), first)
  return most.load - leastLoad > 1 ? most : undefined
}
