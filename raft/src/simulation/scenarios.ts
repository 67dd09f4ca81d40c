/** Scenarios that a test runs as they are, and once more with a planted bug that they must find. */
import assert from 'node:assert'
import type { MemoryLogStore } from '../memory/memory-log-store.ts'
import type { LogStore } from '../ports/log-store.ts'
import { World } from './world.ts'

/**
 * The bug of single-step changes, found in 2015: leader A promotes n5 and does not reach a majority; B
 * leads the other side, removes a member before anything of its own term is committed, and so with a
 * smaller majority; then A is elected by the majority that has seen neither. Throws when an entry that
 * was committed is lost. Returns whether the early change was refused.
 */
export function changeBeforeOwnTermCommit(): {
  readonly world: World
  readonly refusedOnce: boolean
} {
  const world = new World({ seed: 1, memberCount: 4, spareCount: 1 })
  world.runUntil(() => world.leader() !== undefined, 100)
  world.run(10)
  const a = leaderOf(world)
  world.start('n5')
  begin(world, a, { kind: 'add-learner', member: { id: 'n5', address: 'n5' } })
  world.runUntil(() => world.state('n5') === world.state(a), 60)
  world.run(6)
  // A and n5 alone know that n5 votes.
  world.split([a, 'n5'])
  begin(world, a, { kind: 'promote', member: { id: 'n5' } })
  world.run(10)
  const others = world.ids.filter((id) => id !== a && id !== 'n5')
  // One of the voters that elect B hears nothing more from it.
  const grants = new Map(others.map((id) => [id, world.node(id).counters.votesGranted]))
  const granter = (): string | undefined =>
    others.find((id) => world.node(id).counters.votesGranted > (grants.get(id) ?? 0))
  world.runUntil(() => granter() !== undefined, 300)
  const untold = granter() ?? ''
  for (const id of others) if (id !== untold) world.cut(id, untold)
  world.runUntil(() => others.includes(world.leader() ?? ''), 300)
  const b = leaderOf(world)
  const early = world.change(b, { kind: 'remove', member: { id: a } })
  world.run(10)
  // B and its follower are away; A, n5 and the voter that was told nothing are three of A's five.
  for (const id of others) if (id !== untold) world.crash(id)
  world.heal()
  world.runUntil(() => world.ids.some((id) => world.isUp(id) && world.leader() === id), 400)
  world.run(60)
  for (const id of others) if (!world.isUp(id)) world.start(id)
  world.run(300)
  world.checkLogMatching()
  return { world, refusedOnce: early.kind === 'refused' }
}

/**
 * A leader begins to hand over to a voter that is away: the transfer must end, and proposals be taken
 * again by the same leader. (hashicorp/raft 696)
 */
export function transferToOneThatIsAway(): World {
  const world = new World({ seed: 1, memberCount: 3 })
  world.runUntil(() => world.leader() !== undefined, 100)
  world.run(10)
  const leader = leaderOf(world)
  const away = world.ids.find((id) => id !== leader) ?? leader
  world.crash(away)
  assert.equal(world.transfer(leader, away, 20).kind, 'started')
  assert.equal(world.propose(leader, 'refused'), false)
  world.run(21)
  assert.equal(world.leader(), leader)
  assert(world.propose(leader, 'taken'), 'the transfer goes on for ever')
  return world
}

/**
 * A leader that was cut off has the longest log, all of an older term than what the others committed: it
 * must not lead again with it. (async-raft)
 */
export function longerLogOfAnOlderTerm(): World {
  const world = new World({ seed: 1, memberCount: 3 })
  world.runUntil(() => world.leader() !== undefined, 100)
  world.run(10)
  const old = leaderOf(world)
  world.isolate(old)
  for (let at = 0; at < 10; at += 1) world.propose(old, `lost-${at}`)
  world.runUntil(() => world.leader() !== undefined && world.leader() !== old, 300)
  const next = leaderOf(world)
  world.propose(next, 'kept')
  world.run(10)
  world.crash(next)
  world.heal()
  world.runUntil(() => world.leader() !== undefined, 400)
  assert.notEqual(world.leader(), old)
  return world
}

/** The power goes with the write of this number; the next life starts from what is then on the disk. */
export function crashingAt(store: MemoryLogStore, crashAt: number): LogStore {
  let writes = 0
  return {
    open: (identity) => store.open(identity),
    close: () => store.close(),
    write: (write) => {
      writes += 1
      if (writes === crashAt) store.crash()
      return store.write(write)
    },
  }
}

function begin(world: World, id: string, change: Parameters<World['change']>[1]): void {
  assert.equal(world.change(id, change).kind, 'appended')
  world.run(2)
}

function leaderOf(world: World): string {
  const leader = world.leader()
  assert(leader !== undefined, 'nobody leads')
  return leader
}
