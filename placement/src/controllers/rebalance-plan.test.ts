import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { type BrokerLoad, planRebalance, type Scored, scoreBrokers } from './rebalance-plan.ts'

function load(nodeId: string, operations: readonly number[], more: Partial<BrokerLoad> = {}) {
  const total = operations.reduce((sum, each) => sum + each, 0)
  const shards = operations.map((operationsPerSecond, at) => ({
    shard: nodeId.charCodeAt(0) * 100 + at,
    operationsPerSecond,
    bytesPerSecond: 0,
  }))
  const rest = { connections: 0, bytes: 0, loopDelayMs: 0, cpuFraction: 0, memoryBytes: 0 }
  return { nodeId, ...rest, messages: total, shards, ...more }
}

function plan(loads: readonly BrokerLoad[], movesMax = 10) {
  const brokers = scoreBrokers(loads)
  const all = new Set(loads.map(({ nodeId }) => nodeId))
  const hot = brokers.filter(({ score }) => score > 1.2).map(({ nodeId }) => nodeId)
  return planRebalance({ brokers, sources: new Set(hot), targets: all, movesMax })
}

function scores(loads: readonly BrokerLoad[]): number[] {
  return scoreBrokers(loads).map(({ score }) => Math.round(score * 100) / 100)
}

describe('scoreBrokers', () => {
  it('is 1 for all when nothing happens', () => {
    expect(scores([load('a', []), load('b', [1])])).toEqual([1, 1])
  })

  it('is relative to the mean', () => {
    expect(scores([load('a', [900]), load('b', [300]), load('c', [0])])).toEqual([2.25, 0.75, 0])
  })

  it.each([
    ['connections', { connections: 1_000 }],
    ['bytes', { bytes: 10_000_000 }],
    ['event-loop delay', { loopDelayMs: 100 }],
    ['CPU', { cpuFraction: 0.9 }],
    ['memory', { memoryBytes: 4e9 }],
    ['messages', { messages: 5_000 }],
  ])('sees %s', (_, more) => {
    const [a = 0, b = 0] = scores([load('a', [], more), load('b', [])])
    expect(a).toBeGreaterThan(b)
  })
})

describe('scoreBrokers, where most of what is reported is alike', () => {
  // One machine: every process is as late, as busy and as large as the others.
  const alike = { loopDelayMs: 80, cpuFraction: 0.9, memoryBytes: 4e9, bytes: 10_000_000 }

  it.each<[string, Partial<BrokerLoad>, Partial<BrokerLoad>]>([
    ['messages', { messages: 3_000 }, { messages: 600 }],
    ['connections', { connections: 300 }, { connections: 60 }],
  ])('goes by %s alone', (_, much, little) => {
    const loads = [
      load('a', [100, 100], { ...alike, ...much }),
      load('b', [100, 100], { ...alike, ...little }),
      load('c', [100, 100], { ...alike, ...little }),
    ]
    expect(scores(loads)[0]).toBeGreaterThan(2)
    expect(plan(loads)).toMatchObject([{ from: 'a' }])
  })
})

describe('planRebalance', () => {
  it('moves the shard that fits best from the hottest to the coolest', () => {
    const moves = plan([load('a', [10, 200, 390, 600]), load('b', [300]), load('c', [0])])
    expect(moves).toMatchObject([{ shard: 9_703, from: 'a', to: 'c' }])
  })

  it('moves nothing when one shard carries it all', () => {
    expect(plan([load('a', [1_000, 1, 1]), load('b', [1]), load('c', [1])])).toEqual([])
    expect(plan([load('a', [1_000]), load('b', [1])])).toEqual([])
  })

  it('moves nothing to a broker above the mean, nor to one that may not own', () => {
    const loads = [load('a', [500, 500]), load('b', [450, 450]), load('c', [0])]
    const brokers = scoreBrokers(loads)
    const sources = new Set(['a'])
    const without = { brokers, sources, targets: new Set(['a', 'b']), movesMax: 5 }
    expect(planRebalance(without)).toEqual([])
  })

  const weights = fc.array(fc.nat({ max: 1_000 }), { minLength: 1, maxLength: 12 })
  const cluster = fc.array(weights, { minLength: 2, maxLength: 6 })
  const named = (all: readonly (readonly number[])[]): BrokerLoad[] =>
    all.map((shards, at) => load(String.fromCharCode(97 + at), shards))

  /** The shards of the moves at their targets; loads follow. */
  function moved(loads: readonly BrokerLoad[], moves: ReturnType<typeof plan>): BrokerLoad[] {
    const shards = loads.flatMap(({ nodeId, shards: own }) =>
      own.map((each) => ({ ...each, at: moves.find((m) => m.shard === each.shard)?.to ?? nodeId })),
    )
    return loads.map(({ nodeId }) => {
      const own = shards.filter(({ at }) => at === nodeId)
      const messages = own.reduce((sum, each) => sum + each.operationsPerSecond, 0)
      return { ...load(nodeId, []), messages, shards: own }
    })
  }

  const hottest = (brokers: readonly Scored[]): number =>
    Math.max(...brokers.map(({ score }) => score))

  it('never makes the hottest broker hotter, and keeps its bounds', () => {
    void fc.assert(
      fc.property(cluster, fc.integer({ min: 0, max: 3 }), (all, movesMax) => {
        const loads = named(all)
        const moves = plan(loads, movesMax)
        expect(moves.length).toBeLessThanOrEqual(movesMax)
        for (const ends of [moves.map(({ from }) => from), moves.map(({ to }) => to)]) {
          expect(new Set(ends).size).toBe(ends.length)
        }
        const before = hottest(scoreBrokers(loads))
        expect(hottest(scoreBrokers(moved(loads, moves)))).toBeLessThanOrEqual(before + 1e-9)
      }),
      { numRuns: 500 },
    )
  })

  it('comes to rest', () => {
    void fc.assert(
      fc.property(cluster, (all) => {
        let loads = named(all)
        for (let round = 0; round < 60; round += 1) {
          const moves = plan(loads)
          if (moves.length === 0) return
          loads = moved(loads, moves)
        }
        expect.fail('it moves for ever')
      }),
      { numRuns: 300 },
    )
  })
})
