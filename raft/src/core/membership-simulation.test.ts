/**
 * Seeded random runs in which members come, are promoted and go, and leaders hand over, under the faults
 * of simulation.test.ts. To repeat one: RAFT_SEED=<seed> npx vitest run <this file>.
 */
import assert from 'node:assert'
import { describe, expect, it } from 'vitest'
import { simulateMembership } from '../testing/membership-run.ts'

const SEEDS = 200

function chooseSeeds(): readonly number[] {
  const given = process.env['RAFT_SEED']
  if (given !== undefined) return [Number(given)]
  const count = Number(process.env['RAFT_SEEDS'] ?? SEEDS)
  return Array.from({ length: count }, (_, at) => at + 1)
}

describe('a cluster whose members change under random faults', () => {
  it('keeps every promise and makes progress once it is healed', () => {
    const totals = { commits: 0, added: 0, promoted: 0, removed: 0, transfers: 0, snapshots: 0 }
    const seeds = chooseSeeds()
    for (const seed of seeds) {
      try {
        const { world, counts } = simulateMembership(seed)
        totals.commits += world.invariants.highestCommit
        totals.added += counts['add-learner']
        totals.promoted += counts.promote
        totals.removed += counts.remove
        totals.transfers += counts.transfer
        totals.snapshots += world.installedSnapshots
      } catch (error) {
        throw new Error(`seed ${seed} failed: ${String(error)}`, { cause: error })
      }
    }
    console.info('membership runs', totals)
    if (process.env['RAFT_SEED'] !== undefined) return
    // The runs did something: a simulation that only idles proves nothing.
    const perSeed = Object.values(totals).map((total) => total / seeds.length)
    expect(Math.min(...perSeed)).toBeGreaterThan(0.5)
  }, 120_000)

  it('gives the same run for the same seed', () => {
    const [first, second] = [simulateMembership(3), simulateMembership(3)]
    assert.equal(first.world.tickCount, second.world.tickCount)
    assert.deepEqual(first.counts, second.counts)
  })
})
