import { describe, expect, it } from 'vitest'
import { changeBeforeOwnTermCommit } from '../simulation/scenarios.ts'
import { World } from '../simulation/world.ts'
import { LoneNode } from '../testing/lone-node.ts'
import { decodeConfiguration, encodeConfiguration, type RaftMember } from './configuration.ts'
import type { MessageBody, RaftMessage } from './messages.ts'

const addLearner = (id: string) => ({ kind: 'add-learner', member: { id, address: id } }) as const
const promote = (id: string) => ({ kind: 'promote', member: { id } }) as const
const remove = (id: string) => ({ kind: 'remove', member: { id } }) as const

/** Member a leads a, b, c with its first entry, number 2, committed. */
function leadingNode(members?: readonly string[]): LoneNode {
  const lone = new LoneNode({ terms: [1], term: 1, ...(members === undefined ? {} : { members }) })
  lone.lead()
  lone.settle()
  lone.accept('b', 2)
  lone.settle()
  return lone
}

function newWorld(memberCount = 3, spareCount = 3): World {
  const world = new World({ seed: 1, memberCount, spareCount })
  world.runUntil(() => world.leader() !== undefined, 100)
  world.run(10)
  return world
}

/** Begins a change and waits until it is committed. */
function change(world: World, body: Parameters<World['change']>[1]): void {
  const leader = world.leader()!
  const outcome = world.change(leader, body)
  expect(outcome).toMatchObject({ kind: 'appended' })
  world.runUntil(() => world.node(leader).log.commitIndex >= world.node(leader).log.lastIndex, 60)
  world.run(6)
}

function join(world: World, id: string): void {
  world.start(id)
  change(world, addLearner(id))
  world.runUntil(() => world.state(id) === world.state(world.leader()!), 60)
}

const votersOf = (world: World, id: string): readonly string[] => world.node(id).voters
const othersThan = (world: World, ...ids: string[]): string[] =>
  world.ids.filter((id) => world.isUp(id) && !ids.includes(id))

describe('changeMembership', () => {
  it('is refused before an entry of the own term is committed', () => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    lone.lead()
    lone.settle()
    const outcome = lone.node.changeMembership(addLearner('d'))
    expect(outcome).toEqual({ kind: 'refused', reason: 'no-own-term-commit' })
    lone.accept('b', 2)
    expect(lone.node.changeMembership(addLearner('d'))).toMatchObject({
      kind: 'appended',
      index: 3,
    })
  })

  it('is refused while another is pending, and not after', () => {
    const lone = leadingNode()
    lone.node.changeMembership(addLearner('d'))
    lone.settle()
    const outcome = lone.node.changeMembership(addLearner('e'))
    expect(outcome).toEqual({ kind: 'refused', reason: 'change-pending' })
    lone.accept('b', 3)
    expect(lone.node.changeMembership(addLearner('e')).kind).toBe('appended')
  })

  it('is refused when the configuration is not the one that was expected', () => {
    const lone = leadingNode()
    lone.node.changeMembership({ ...addLearner('d'), expectedConfigurationIndex: 2 })
    lone.settle()
    lone.accept('b', 3)
    const stale = { ...addLearner('e'), expectedConfigurationIndex: 2 }
    expect(lone.node.changeMembership(stale)).toEqual({
      kind: 'refused',
      reason: 'configuration-changed',
    })
    const fresh = { ...stale, expectedConfigurationIndex: 3 }
    expect(lone.node.changeMembership(fresh).kind).toBe('appended')
  })

  it.each([
    [addLearner('b'), 'already-member'],
    [promote('x'), 'unknown-member'],
    [remove('x'), 'unknown-member'],
    [promote('b'), 'not-a-learner'],
  ] as const)('%j is refused: %s', (body, reason) => {
    expect(leadingNode().node.changeMembership(body)).toEqual({ kind: 'refused', reason })
  })

  it('does not remove the last voter', () => {
    const world = newWorld(1)
    expect(world.change('n1', remove('n1'))).toEqual({ kind: 'refused', reason: 'last-voter' })
  })

  it('is refused by who does not lead', () => {
    expect(new LoneNode().node.changeMembership(addLearner('d'))).toEqual({ kind: 'not-leader' })
  })

  it('rolls back when its entry is truncated', () => {
    const lone = leadingNode()
    lone.node.changeMembership(remove('c'))
    lone.settle()
    expect(lone.node.voters).toEqual(['a', 'b'])
    const entry = { index: 3, term: 9, kind: 'no-op', data: new Uint8Array(0) } as const
    lone.append('b', 9, { prevLogIndex: 2, prevLogTerm: 2, entries: [entry] })
    expect([lone.node.voters, lone.node.configurationIndex]).toEqual([['a', 'b', 'c'], 2])
  })
})

describe('a configuration', () => {
  it('keeps roles in its bytes, and writes a voter as before there were learners', () => {
    const members: RaftMember[] = [
      { id: 'a', address: 'x', role: 'voter' },
      { id: 'b', address: 'y', role: 'learner' },
    ]
    const bytes = encodeConfiguration(members)
    expect(decodeConfiguration(bytes)).toEqual([{ id: 'a', address: 'x' }, members[1]])
    const strange = new TextEncoder().encode('{"members":[{"id":"a","address":"x","role":"king"}]}')
    expect(() => decodeConfiguration(strange)).toThrow(/unknown role/)
  })

  it('with its index is part of a snapshot', () => {
    const limits = { snapshotEntries: 5, trailingEntries: 0 }
    const world = new World({ seed: 2, memberCount: 3, spareCount: 2, limits })
    world.runUntil(() => world.leader() !== undefined, 100)
    world.run(10)
    join(world, 'n4')
    const leader = world.leader()!
    const { configurationIndex } = world.node(leader)
    for (let at = 0; at < 30; at += 1) {
      world.propose(leader, `x${at}`)
      world.run(3)
    }
    expect(world.node(leader).log.firstIndex).toBeGreaterThan(configurationIndex)
    const before = world.counts.installedSnapshots
    join(world, 'n5')
    expect(world.counts.installedSnapshots).toBeGreaterThan(before)
    for (const id of world.ids) world.crash(id)
    for (const id of world.ids) world.start(id)
    world.runUntil(() => world.leader() !== undefined, 200)
    expect(votersOf(world, 'n5')).toEqual(['n1', 'n2', 'n3'])
    expect(world.node('n5').configurationIndex).toBeGreaterThan(configurationIndex)
  })
})

describe('a learner', () => {
  it('gets the log, and neither counts nor is asked for a vote', () => {
    const lone = leadingNode(['a', 'b'])
    lone.node.changeMembership(addLearner('d'))
    const appended = lone.settle().filter((message) => message.kind === 'append-request')
    expect(appended.map((message) => message.to)).toContain('d')
    lone.accept('d', 3)
    expect(lone.node.log.commitIndex).toBe(2)
    lone.accept('b', 3)
    expect(lone.node.log.commitIndex).toBe(3)
    lone.tick(60)
    const asked = lone.settle().filter((message) => message.kind === 'pre-vote-request')
    expect(new Set(asked.map((message) => message.to))).toEqual(new Set(['b']))
  })

  it('never campaigns, also when everyone else is gone', () => {
    const world = newWorld(3)
    join(world, 'n4')
    for (const id of othersThan(world, 'n4')) world.crash(id)
    const { term } = world.node('n4')
    world.run(500)
    expect([world.node('n4').role, world.node('n4').term]).toEqual(['follower', term])
  })

  it('is not promoted before it is close to the end of the log', () => {
    const world = newWorld(3)
    const leader = world.leader()!
    for (let at = 0; at < 300; at += 1) world.propose(leader, `x${at}`)
    world.run(20)
    change(world, addLearner('n4'))
    const behind = { kind: 'refused', reason: 'learner-behind' }
    expect(world.change(leader, promote('n4'))).toEqual(behind)
    world.start('n4')
    world.runUntil(() => world.state('n4') === world.state(leader), 60)
    change(world, promote('n4'))
    expect(votersOf(world, 'n4')).toEqual(['n1', 'n2', 'n3', 'n4'])
    world.crash('n4')
    change(world, remove('n4'))
  })

  it('that was not heard of lately is not promoted', () => {
    const world = newWorld(3)
    join(world, 'n4')
    world.crash('n4')
    world.run(30)
    const outcome = world.change(world.leader()!, promote('n4'))
    expect(outcome).toEqual({ kind: 'refused', reason: 'learner-behind' })
  })

  it('that joins with an empty disk refuses its vote until it has a configuration', () => {
    const world = newWorld(3)
    world.start('n4')
    const leader = world.leader()!
    const request: MessageBody = { kind: 'vote-request', lastLogIndex: 99, lastLogTerm: 99 }
    const { log } = world.node('n4')
    world.deliver({ ...request, ...strangerTo('n4'), term: 99 } as RaftMessage)
    world.run(5)
    expect([world.node('n4').counters.votesGranted, log.lastIndex]).toEqual([0, 0])
    expect(world.node(leader).role).toBe('leader')
  })
})

function strangerTo(to: string) {
  return {
    protocolVersion: 2,
    clusterId: 'world',
    from: 'n5',
    to,
    incarnation: 'n5/1',
    address: 'n5',
  }
}

describe('table 1.3: a change before an entry of the own term is committed', () => {
  it('[raft-dev 2015, braft 182] cannot give two disjoint majorities', () => {
    const { refusedOnce, world } = changeBeforeOwnTermCommit()
    expect(refusedOnce).toBe(true)
    world.checkLogMatching()
  })
})

describe('table 1.3: a removed member', () => {
  it('disturbs nobody, even if it never learns that it was removed [thesis 4.2.3]', () => {
    const world = newWorld(4, 0)
    const leader = world.leader()!
    const removed = othersThan(world, leader)[0]!
    world.isolate(removed)
    change(world, remove(removed))
    world.run(30)
    world.heal()
    const { term } = world.node(leader)
    world.run(600)
    expect([world.leader(), world.node(leader).term]).toEqual([leader, term])
    expect(votersOf(world, removed)).toContain(removed)
    world.propose(leader, 'x')
    world.run(10)
  })

  it('is replicated to until its removal is committed, learns of it and stands down [CCF]', () => {
    const world = newWorld(3, 0)
    const leader = world.leader()!
    const [removed, other] = othersThan(world, leader) as [string, string]
    // Two of the new configuration's two are needed, and one of them is away for a while.
    world.crash(other)
    world.change(leader, remove(removed))
    world.run(15)
    const index = world.node(leader).log.lastIndex
    expect(world.node(leader).log.commitIndex).toBeLessThan(index)
    expect(world.node(removed).log.lastIndex).toBe(index)
    world.start(other)
    world.runUntil(() => world.node(leader).log.commitIndex >= index, 60)
    world.runUntil(() => world.node(removed).log.commitIndex >= index, 30)
    world.run(300)
    expect(world.node(removed).role).toBe('follower')
    expect(world.node(leader).progress.map((progress) => progress.id)).toEqual([other])
  })

  it('that is added again at once starts from nothing: it may have another disk', () => {
    const lone = leadingNode()
    lone.accept('c', 2)
    lone.node.changeMembership(remove('c'))
    lone.settle()
    lone.accept('b', 3)
    expect(lone.node.progress.map((progress) => progress.id)).toContain('c')
    lone.node.changeMembership(addLearner('c'))
    const again = lone.node.progress.find((progress) => progress.id === 'c')
    expect(again).toMatchObject({ matchIndex: 0, state: 'probe', leaveTick: undefined })
  })

  it('that is needed to commit its own removal may still lead, and then steps down [4.2.2]', () => {
    const world = newWorld(2, 0)
    const leader = world.leader()!
    const other = othersThan(world, leader)[0]!
    world.cut(leader, other)
    world.change(leader, remove(leader))
    world.run(3)
    // The entry is only here, and only with it can anyone be elected.
    world.crash(leader)
    world.heal()
    world.start(leader)
    world.runUntil(() => votersOf(world, other).length === 1, 400)
    world.runUntil(() => world.leader() === other, 400)
    expect(votersOf(world, other)).toEqual([other])
    world.propose(other, 'x')
    world.runUntil(() => world.node(other).log.commitIndex === world.node(other).log.lastIndex, 30)
    expect(world.node(leader).role).toBe('follower')
  })

  it('that leads steps down when its removal is committed, and another leads soon', () => {
    const world = newWorld(3, 0)
    const leader = world.leader()!
    world.change(leader, remove(leader))
    world.runUntil(() => world.node(leader).role === 'follower', 20)
    // Without waiting for an election time-out: it asks its heir.
    world.runUntil(() => othersThan(world, leader).includes(world.leader() ?? ''), 8)
    world.propose(world.leader()!, 'x')
    world.run(10)
    expect(votersOf(world, world.leader()!)).not.toContain(leader)
  })
})

describe('table 1.3: a promotion under a partition', () => {
  it('that did not reach a majority is undone by the other side, and can be made again', () => {
    const world = newWorld(3)
    join(world, 'n4')
    const old = world.leader()!
    // The old leader and the learner here; two of the three voters there.
    world.split([old, 'n4'])
    expect(world.change(old, promote('n4')).kind).toBe('appended')
    world.run(10)
    expect(votersOf(world, 'n4')).toContain('n4')
    world.runUntil(() => othersThan(world, old, 'n4').includes(world.leader() ?? ''), 300)
    const next = world.leader()!
    expect(votersOf(world, next)).not.toContain('n4')
    world.propose(next, 'kept')
    world.run(10)
    world.heal()
    world.runUntil(() => !votersOf(world, 'n4').includes('n4'), 100)
    expect(votersOf(world, old)).toEqual(['n1', 'n2', 'n3'])
    world.runUntil(() => world.change(next, promote('n4')).kind === 'appended', 60)
    world.runUntil(() => votersOf(world, 'n4').includes('n4'), 60)
  })

  it('that the promoted one has not heard of does not cost its vote', () => {
    const world = newWorld(2)
    join(world, 'n3')
    const leader = world.leader()!
    const other = othersThan(world, leader, 'n3')[0]!
    for (const id of world.ids) world.cut(id, 'n3')
    change(world, promote('n3'))
    expect(votersOf(world, 'n3')).not.toContain('n3')
    world.crash(other)
    world.crash(leader)
    world.heal()
    world.start(leader)
    // Two of three are there; one of them takes itself for a learner.
    world.runUntil(() => world.leader() === leader, 300)
    world.runUntil(() => votersOf(world, 'n3').includes('n3'), 60)
  })

  it('does not hide a leader from a member that lags behind its addition', () => {
    const world = newWorld(3)
    const lagging = othersThan(world, world.leader()!)[0]!
    world.isolate(lagging)
    join(world, 'n4')
    change(world, promote('n4'))
    const leader = world.leader()!
    world.transfer(leader, 'n4', 40)
    world.runUntil(() => world.leader() === 'n4', 60)
    world.crash(leader)
    world.heal()
    world.propose('n4', 'x')
    const index = world.node('n4').log.lastIndex
    world.runUntil(() => world.node('n4').log.commitIndex >= index, 100)
    expect(votersOf(world, lagging)).toContain('n4')
  })
})
