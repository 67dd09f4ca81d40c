/** Seeded random runs of whole clusters. To repeat one: RAFT_SEED=<seed> npx vitest run <this file>. */
import assert from 'node:assert'
import { describe, expect, it } from 'vitest'
import { NO_FAULTS, World } from '../testing/world.ts'

const SEEDS = 120
const FAULTY_TICKS = 800
const TINY_LIMITS = {
  appendBytesMax: 120,
  appendsInFlightMax: 3,
  writeBytesMax: 150,
  snapshotEntries: 12,
  trailingEntries: 4,
}

function chooseSeeds(): readonly number[] {
  const given = process.env['RAFT_SEED']
  if (given !== undefined) return [Number(given)]
  return Array.from({ length: SEEDS }, (_, at) => at + 1)
}

/** One random event; how often they come differs from run to run. */
function disturb(world: World, step: number, roughness: number): void {
  const { random, ids } = world
  const pick = (): string => ids[Math.floor(random() * ids.length)] ?? 'n1'
  const id = pick()
  const dice = random() / roughness
  const victim = random() < 0.5 ? (world.leader() ?? id) : id
  if (dice < 0.008) {
    if (world.isUp(victim)) world.crash(victim)
  } else if (dice < 0.01) {
    for (const up of ids.filter((each) => world.isUp(each))) world.crash(up)
  } else if (dice < 0.018) world.isolate(victim)
  else if (dice < 0.024) world.cut(victim, pick())
  else if (dice < 0.028) world.stuckDisks.add(victim)
  if (random() < 0.05 && !world.isUp(id)) world.start(id)
  if (random() < 0.015) world.heal()
  if (random() < 0.03) world.stuckDisks.clear()
  const target = random() < 0.7 ? (world.leader() ?? id) : id
  if (!world.isUp(target)) return
  if (random() < 0.5) world.propose(target, `${target}-${step}`)
  if (random() < 0.2) world.read(target)
}

function repair(world: World): void {
  world.faults = NO_FAULTS
  world.heal()
  world.stuckDisks.clear()
  for (const id of world.ids) if (!world.isUp(id)) world.start(id)
}

function simulate(seed: number): World {
  const world = new World({ seed, memberCount: seed % 4 === 0 ? 5 : 3, limits: TINY_LIMITS })
  world.faults = {
    drop: world.random() ** 2 * 0.2,
    duplicate: world.random() ** 2 * 0.2,
    delayMax: Math.floor(world.random() ** 2 * 12),
    writeDelayMax: Math.floor(world.random() ** 2 * 20),
  }
  const roughness = 0.2 + world.random() * 2
  for (let step = 0; step < FAULTY_TICKS; step += 1) {
    disturb(world, step, roughness)
    world.tick()
    if (step % 25 === 0) world.checkLogMatching()
  }
  repair(world)
  // A leader of the faulty days may take a proposal and lose it, so it is made again.
  world.runUntil(() => {
    const leader = world.leader()
    if (world.tickCount % 60 === 0 && leader !== undefined) world.propose(leader, 'the-end')
    return isSettled(world)
  }, 600)
  world.checkLogMatching()
  return world
}

/** All members have applied the same, the last proposal in it. */
function isSettled(world: World): boolean {
  if (world.ids.some((id) => world.state(id) !== world.state('n1'))) return false
  const index = world.node('n1').log.appliedIndex
  for (let at = index; at > 0 && at > index - 20; at -= 1) {
    if (world.invariants.appliedText(at) === 'command:the-end') return true
  }
  return false
}

describe('a cluster under random faults', () => {
  it('keeps every promise of figure 3 and makes progress once it is healed', () => {
    const totals = { commits: 0, terms: 0, reads: 0, snapshots: 0 }
    for (const seed of chooseSeeds()) {
      try {
        const world = simulate(seed)
        totals.commits += world.invariants.highestCommit
        totals.terms += world.node('n1').term
        totals.reads += world.confirmedReads
        totals.snapshots += world.installedSnapshots
      } catch (error) {
        throw new Error(`seed ${seed} failed: ${String(error)}`, { cause: error })
      }
    }
    // The runs did something: a simulation that only idles proves nothing.
    if (process.env['RAFT_SEED'] !== undefined) return
    expect(totals.commits / SEEDS).toBeGreaterThan(40)
    expect(totals.terms / SEEDS).toBeGreaterThan(3)
    expect(totals.reads).toBeGreaterThan(SEEDS)
    expect(totals.snapshots).toBeGreaterThan(SEEDS / 2)
  })

  it('gives the same run for the same seed', () => {
    const [first, second] = [simulate(7), simulate(7)]
    assert.equal(first.tickCount, second.tickCount)
    assert.equal(first.state('n1'), second.state('n1'))
  })
})
