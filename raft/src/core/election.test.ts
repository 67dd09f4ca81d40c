import { describe, expect, it } from 'vitest'
import { NO_FAULTS } from '../simulation/network.ts'
import { World } from '../simulation/world.ts'

function newWorld(memberCount = 3, seed = 1): World {
  const world = new World({ seed, memberCount })
  world.runUntil(() => world.leader() !== undefined, 100)
  world.run(10)
  return world
}

const followersOf = (world: World): string[] => world.ids.filter((id) => id !== world.leader())

function commit(world: World, text: string): void {
  const leader = world.leader()!
  expect(world.propose(leader, text)).toBe(true)
  const index = world.node(leader).log.lastIndex
  world.runUntil(() => world.node(leader).log.commitIndex >= index, 50)
}

describe('an election', () => {
  it.each([1, 2, 3, 4, 5])('in a new cluster takes the short time-outs, seed %i', (seed) => {
    const world = new World({ seed, memberCount: 3 })
    world.runUntil(() => world.leader() !== undefined, 30)
  })

  it('in a cluster with a log does not', () => {
    const world = newWorld()
    commit(world, 'x')
    for (const id of world.ids) world.crash(id)
    for (const id of world.ids) world.start(id)
    world.run(18)
    expect(world.leader()).toBeUndefined()
    world.runUntil(() => world.leader() !== undefined, 100)
  })

  it('follows the death of a leader within two time-outs, and everything committed stays', () => {
    const world = newWorld()
    commit(world, 'x')
    const old = world.leader()!
    world.crash(old)
    world.runUntil(() => world.leader() !== undefined, 80)
    commit(world, 'y')
    world.start(old)
    world.runUntil(() => world.ids.every((id) => world.state(id) === world.state('n1')), 60)
  })

  it('is not disturbed by a member that was cut off and comes back', () => {
    const world = newWorld()
    const leader = world.leader()!
    const { term } = world.node(leader)
    world.isolate(followersOf(world)[0]!)
    world.run(300)
    world.heal()
    world.run(100)
    expect([world.leader(), world.node(leader).term]).toEqual([leader, term])
  })

  it('is not disturbed by a member that hears nothing but is heard', () => {
    const world = newWorld()
    const leader = world.leader()!
    const { term } = world.node(leader)
    const deaf = followersOf(world)[0]!
    for (const id of world.ids) world.cut(id, deaf)
    world.run(400)
    expect([world.leader(), world.node(leader).term]).toEqual([leader, term])
  })

  it('replaces a leader that is heard but hears nothing', () => {
    const world = newWorld()
    const deaf = world.leader()!
    for (const id of world.ids) world.cut(id, deaf)
    const others = world.ids.filter((id) => id !== deaf)
    world.runUntil(() => others.includes(world.leader() ?? ''), 200)
    const { term } = world.node(world.leader()!)
    world.run(200)
    expect(world.node(world.leader()!).term).toBe(term)
    commit(world, 'x')
  })

  it('replaces a leader that hears but is not heard', () => {
    const world = newWorld()
    const mute = world.leader()!
    for (const id of world.ids) world.cut(mute, id)
    const others = world.ids.filter((id) => id !== mute)
    world.runUntil(() => others.includes(world.leader() ?? ''), 200)
    commit(world, 'x')
  })

  it('never happens in a minority, whose leader steps down; its proposals are overwritten', () => {
    const world = newWorld(5)
    const old = world.leader()!
    const minority = [old, followersOf(world)[0]!]
    for (const a of minority) {
      for (const b of world.ids.filter((id) => !minority.includes(id))) {
        world.cut(a, b)
        world.cut(b, a)
      }
    }
    world.propose(old, 'lost')
    world.runUntil(() => world.node(old).role !== 'leader', 60)
    world.runUntil(() => world.leader() !== undefined, 200)
    expect(minority).not.toContain(world.leader())
    commit(world, 'kept')
    world.heal()
    world.runUntil(() => world.ids.every((id) => world.state(id) === world.state('n1')), 200)
    const texts = Array.from({ length: 9 }, (_, at) => world.invariants.appliedText(at))
    expect(texts).toContain('command:kept')
    expect(texts).not.toContain('command:lost')
  })

  it('survives a ring of one-way partitions without an endless contest', () => {
    const world = newWorld()
    world.cut('n1', 'n2')
    world.cut('n2', 'n3')
    world.cut('n3', 'n1')
    world.run(600)
    const terms = world.ids.map((id) => world.node(id).term)
    expect(Math.max(...terms)).toBeLessThan(15)
    world.heal()
    world.runUntil(() => world.leader() !== undefined, 200)
    commit(world, 'x')
  })
})

describe('a power loss', () => {
  it('of all members keeps what was committed and may lose the rest', () => {
    const world = newWorld()
    for (let at = 0; at < 5; at += 1) commit(world, `kept-${at}`)
    const committed = world.invariants.highestCommit
    world.faults = { ...NO_FAULTS, writeDelayMax: 20 }
    for (let at = 0; at < 5; at += 1) world.propose(world.leader()!, `unsure-${at}`)
    for (const id of world.ids) world.crash(id)
    for (const id of world.ids) world.start(id)
    world.runUntil(() => world.leader() !== undefined, 200)
    world.runUntil(() => world.node(world.leader()!).log.commitIndex > committed, 100)
    expect(world.invariants.appliedText(committed)).toBe('command:kept-4')
  })
})

describe('a follower behind the log', () => {
  it('is brought back by a snapshot', () => {
    const limits = { snapshotEntries: 10, trailingEntries: 2 }
    const world = new World({ seed: 3, memberCount: 3, limits })
    world.runUntil(() => world.leader() !== undefined, 100)
    const away = followersOf(world)[0]!
    world.crash(away)
    for (let at = 0; at < 30; at += 1) commit(world, `x${at}`)
    world.start(away)
    world.runUntil(() => world.state(away) === world.state(world.leader()!), 100)
    expect(world.counts.installedSnapshots).toBe(1)
  })
})
