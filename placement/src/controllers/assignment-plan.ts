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
  /** Shards that somebody wants to be moved, before any other move. */
  readonly wanted: ReadonlySet<number>
  /** By shard: the node that shall get it when it is free, if it may own then. */
  readonly targets: ReadonlyMap<number, string>
  /** Shards whose owner does not do what it is told: they are granted to somebody over its head. */
  readonly stuck: ReadonlySet<number>
  /** At once, those on their way included. */
  readonly movesMax: number
  /** Whether to move shards so that all nodes own equally many. */
  readonly balance: boolean
}

export interface Plan {
  readonly grants: readonly { readonly shard: ShardEntry; readonly to: NodeEntry }[]
  readonly moves: readonly PlannedMove[]
}

export interface PlannedMove {
  readonly shard: ShardEntry
  readonly from: NodeEntry
  readonly why: 'wanted' | 'draining' | 'balance'
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
  const eligible = candidates.filter(({ node }) => !node.drain && !leaving.has(node.nodeId))
  if (eligible.length === 0) return { grants: [], moves: [] }
  const members = new Set(nodes.map((node) => node.nodeId))
  const grants = shards
    .filter(
      ({ shard, owner }) => owner === undefined || !members.has(owner.nodeId) || stuck.has(shard),
    )
    .map((shard) => {
      const target = targetOf(input, eligible, shard.shard)
      target.load += 1
      return { shard, to: target.node }
    })
  // What is on its way goes to whoever is least loaded when it is released, or to whom it was meant for.
  for (const shard of moving) targetOf(input, eligible, shard).load += 1
  const draining = candidates.filter(({ node }) => node.drain)
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
  const moves: PlannedMove[] = wantedMoves(input, [...eligible, ...draining])
  while (input.moving.size + moves.length < input.movesMax) {
    const target = leastLoaded(eligible)
    const leaver = draining.find(({ movable }) => movable.length > 0)
    const source = leaver ?? (input.balance ? overloaded(eligible, target.load) : undefined)
    const shard = source?.movable.pop()
    if (source === undefined || shard === undefined) break
    source.load -= 1
    target.load += 1
    moves.push({ shard, from: source.node, why: leaver === undefined ? 'balance' : 'draining' })
  }
  return moves
}

function wantedMoves(input: PlanInput, candidates: readonly Candidate[]): PlannedMove[] {
  const moves: PlannedMove[] = []
  for (const number of input.wanted) {
    if (input.moving.size + moves.length >= input.movesMax) break
    for (const candidate of candidates) {
      const at = candidate.movable.findIndex(({ shard }) => shard === number)
      const [shard] = at < 0 ? [] : candidate.movable.splice(at, 1)
      if (shard === undefined) continue
      candidate.load -= 1
      moves.push({ shard, from: candidate.node, why: 'wanted' })
    }
  }
  return moves
}

function targetOf(input: PlanInput, eligible: readonly Candidate[], shard: number): Candidate {
  const meant = input.targets.get(shard)
  return eligible.find(({ node }) => node.nodeId === meant) ?? leastLoaded(eligible)
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
