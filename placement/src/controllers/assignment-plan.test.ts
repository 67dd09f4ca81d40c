import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { NodeEntry, ShardEntry } from '../metadata/state.ts'
import { type PlanInput, planAssignment } from './assignment-plan.ts'

function node(nodeId: string, draining = false): NodeEntry {
  const drain = draining ? { deadlineMs: 1 } : undefined
  const rest = { incarnation: nodeId, version: '', grpcAddress: '', endpoints: [] }
  return { nodeId, nodeEpoch: 1, drain, ...rest }
}

function shard(number: number, owner: string | undefined, opened = true): ShardEntry {
  return {
    shard: number,
    epoch: 1,
    owner: owner === undefined ? undefined : { nodeId: owner, nodeEpoch: 1 },
    opened: owner !== undefined && opened,
    stored: undefined,
  }
}

function input(over: Partial<PlanInput>): PlanInput {
  return {
    nodes: [],
    shards: [],
    leaving: new Set(),
    moving: new Set(),
    stuck: new Set(),
    wanted: new Set(),
    targets: new Map(),
    movesMax: 8,
    balance: true,
    ...over,
  }
}

function loads(nodes: readonly NodeEntry[], shards: readonly ShardEntry[]): number[] {
  return nodes.map(({ nodeId }) => shards.filter(({ owner }) => owner?.nodeId === nodeId).length)
}

/** Carries out plans until there is nothing left to do; returns the shards and how many moved. */
function settle(given: PlanInput): { shards: readonly ShardEntry[]; moved: number } {
  let shards = [...given.shards]
  let moved = 0
  for (let round = 0; round < 500; round += 1) {
    const plan = planAssignment({ ...given, shards })
    if (plan.grants.length + plan.moves.length === 0) return { shards, moved }
    moved += plan.moves.length
    const granted = new Map(plan.grants.map(({ shard: entry, to }) => [entry.shard, to.nodeId]))
    const released = new Set(plan.moves.map(({ shard: entry }) => entry.shard))
    shards = shards.map((entry) => {
      if (released.has(entry.shard)) return shard(entry.shard, undefined)
      const to = granted.get(entry.shard)
      return to === undefined ? entry : shard(entry.shard, to)
    })
  }
  throw new Error('the plan never comes to rest')
}

const sixtyFour = (owner: (number: number) => string | undefined): ShardEntry[] =>
  Array.from({ length: 64 }, (_, number) => shard(number, owner(number)))

describe('planAssignment', () => {
  it('spreads new shards evenly', () => {
    const nodes = [node('a'), node('b'), node('c')]
    const { shards, moved } = settle(input({ nodes, shards: sixtyFour(() => undefined) }))
    expect(loads(nodes, shards)).toEqual([22, 21, 21])
    expect(moved).toBe(0)
  })

  it('moves no more than what a node that joins must get', () => {
    const nodes = ['a', 'b', 'c', 'd'].map((id) => node(id))
    const before = sixtyFour((number) => ['a', 'b', 'c'][number % 3])
    const { shards, moved } = settle(input({ nodes, shards: before }))
    expect(loads(nodes, shards)).toEqual([16, 16, 16, 16])
    expect(moved).toBe(16)
  })

  it('spreads the shards of a node that left and moves no other', () => {
    const nodes = [node('a'), node('b')]
    const owners = ['a', 'b', undefined]
    const before = sixtyFour((number) => owners[number % 3])
    const { shards, moved } = settle(input({ nodes, shards: before }))
    expect(loads(nodes, shards)).toEqual([32, 32])
    expect(moved).toBe(0)
  })

  it('keeps within the bound of moves, those on their way included', () => {
    const nodes = [node('a'), node('b')]
    const shards = sixtyFour(() => 'a')
    const moving = new Set([0, 1, 2])
    expect(planAssignment(input({ nodes, shards, moving })).moves).toHaveLength(5)
  })

  it('counts what is on its way as arrived', () => {
    const nodes = [node('a'), node('b')]
    const shards = [0, 1, 2, 3].map((number) => shard(number, 'a'))
    const moving = new Set([2, 3])
    expect(planAssignment(input({ nodes, shards, moving })).moves).toEqual([])
  })

  it('empties a draining node and grants it nothing', () => {
    const nodes = [node('a', true), node('b'), node('c')]
    const { shards } = settle(input({ nodes, shards: sixtyFour(() => 'a'), balance: false }))
    expect(loads(nodes, shards)).toEqual([0, 32, 32])
  })

  it('leaves everything where it is when every node is draining', () => {
    const nodes = [node('a', true)]
    const shards = sixtyFour(() => 'a')
    expect(planAssignment(input({ nodes, shards }))).toEqual({ grants: [], moves: [] })
  })

  it('gives nothing to a node that is leaving and asks it for nothing', () => {
    const nodes = [node('a'), node('b')]
    const shards = [shard(0, 'a'), shard(1, 'a'), shard(2, 'a'), shard(3, undefined)]
    const plan = planAssignment(input({ nodes, shards, leaving: new Set(['a']) }))
    expect(plan.grants.map(({ to }) => to.nodeId)).toEqual(['b'])
    expect(plan.moves).toEqual([])
  })

  it('does not ask for a shard that is not open', () => {
    const nodes = [node('a'), node('b')]
    const shards = [0, 1, 2, 3].map((number) => shard(number, 'a', number > 2))
    const { moves } = planAssignment(input({ nodes, shards }))
    expect(moves.map(({ shard: entry }) => entry.shard)).toEqual([3])
  })

  it('grants a stuck shard over the head of its owner', () => {
    const nodes = [node('a', true), node('b')]
    const shards = [shard(0, 'a', false)]
    const { grants } = planAssignment(input({ nodes, shards, stuck: new Set([0]) }))
    expect(grants.map(({ to }) => to.nodeId)).toEqual(['b'])
  })

  it('balances any ownership with the fewest moves', () => {
    const owner = fc.constantFrom(undefined, 'a', 'b', 'c', 'd')
    void fc.assert(
      fc.property(fc.array(owner, { minLength: 1, maxLength: 40 }), (owners) => {
        const nodes = ['a', 'b', 'c', 'd'].map((id) => node(id))
        const before = owners.map((id, number) => shard(number, id))
        const { shards, moved } = settle(input({ nodes, shards: before }))
        const after = loads(nodes, shards)
        expect(Math.max(...after) - Math.min(...after)).toBeLessThanOrEqual(1)
        // What a node has above the highest fair share must go; more only to fill others up to the lowest.
        const most = Math.ceil(owners.length / 4)
        const start = loads(nodes, before)
        const surplus = start.reduce((sum, load) => sum + Math.max(0, load - most), 0)
        const least = Math.floor(owners.length / 4)
        const missing = start.reduce((sum, load) => sum + Math.max(0, least - load), 0)
        expect(moved).toBeLessThanOrEqual(Math.max(surplus, missing))
      }),
      { numRuns: 200 },
    )
  })
})
