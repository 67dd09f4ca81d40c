import { describe, expect, it } from 'vitest'
import { transferToOneThatIsAway } from '../simulation/scenarios.ts'
import { World } from '../simulation/world.ts'
import { LoneNode } from '../testing/lone-node.ts'
import type { MessageBody } from './messages.ts'

function newWorld(memberCount = 3): World {
  const world = new World({ seed: 1, memberCount, spareCount: 1 })
  world.runUntil(() => world.leader() !== undefined, 100)
  world.run(10)
  return world
}

const followersOf = (world: World): string[] =>
  world.ids.filter((id) => world.isUp(id) && id !== world.leader())

/** Member a leads a, b, c; b has everything, c is behind. */
function leadingNode(): LoneNode {
  const lone = new LoneNode({ terms: [1], term: 1 })
  lone.lead()
  lone.settle()
  lone.accept('b', 2)
  lone.settle()
  return lone
}

const timeoutNow = (round: number): MessageBody => ({ kind: 'timeout-now', round })
const heartbeat = (round: number): MessageBody => ({
  kind: 'heartbeat-request',
  round,
  commitIndex: 0,
})

describe('transferLeadership', () => {
  it('makes the chosen voter lead within a few ticks, in the next term, though the leader lives', () => {
    const world = newWorld(5)
    const leader = world.leader()!
    const { term } = world.node(leader)
    const to = followersOf(world)[2]!
    world.propose(leader, 'before')
    expect(world.transfer(leader, to, 40)).toMatchObject({ kind: 'started', to })
    world.runUntil(() => world.leader() === to, 10)
    expect(world.node(to).term).toBe(term + 1)
    world.propose(to, 'after')
    world.runUntil(() => world.node(to).log.commitIndex === world.node(to).log.lastIndex, 20)
  })

  it('without a name takes the voter that has the most', () => {
    const lone = leadingNode()
    expect(lone.node.transferLeadership(undefined, 9)).toMatchObject({ kind: 'started', to: 'b' })
    const asked = lone.settle().filter((message) => message.kind === 'timeout-now')
    expect(asked).toMatchObject([{ to: 'b' }])
  })

  it('waits until the log of the other is complete', () => {
    const lone = leadingNode()
    lone.node.transferLeadership('c', 9)
    expect(lone.settle().some((message) => message.kind === 'timeout-now')).toBe(false)
    lone.accept('c', 2)
    expect(lone.settle().some((message) => message.kind === 'timeout-now')).toBe(true)
  })

  it.each([
    ['a', 'already-leader'],
    ['x', 'not-a-voter'],
  ])('to %s is refused: %s', (to, reason) => {
    expect(leadingNode().node.transferLeadership(to, 9)).toEqual({ kind: 'refused', reason })
  })

  it('is refused in a cluster of one, during another, and to a learner', () => {
    const world = newWorld(1)
    const only = { kind: 'refused', reason: 'no-other-voter' }
    expect(world.transfer('n1', undefined, 9)).toEqual(only)
    world.start('n2')
    world.change('n1', { kind: 'add-learner', member: { id: 'n2', address: 'n2' } })
    world.run(10)
    expect(world.transfer('n1', undefined, 9)).toEqual(only)
    expect(world.transfer('n1', 'n2', 9)).toEqual({ kind: 'refused', reason: 'not-a-voter' })
    const lone = leadingNode()
    lone.node.transferLeadership('c', 9)
    const again = { kind: 'refused', reason: 'transfer-in-progress' }
    expect(lone.node.transferLeadership('b', 9)).toEqual(again)
  })

  it('refuses proposals and changes while it goes on, and takes both when its time is over', () => {
    const lone = leadingNode()
    lone.node.transferLeadership('c', 3)
    const learner = { kind: 'add-learner', member: { id: 'd', address: 'd' } } as const
    const refused = { kind: 'refused', reason: 'transfer-in-progress' }
    expect(lone.node.propose(Buffer.from('x'))).toEqual({ kind: 'transferring', to: 'c' })
    expect(lone.node.changeMembership(learner)).toEqual(refused)
    lone.tick(2)
    expect(lone.node.transferTarget).toBe('c')
    lone.tick(1)
    expect(lone.node.transferTarget).toBeUndefined()
    expect(lone.node.propose(Buffer.from('x')).kind).toBe('appended')
    expect(lone.node.changeMembership(learner).kind).toBe('appended')
  })

  it('goes on answering reads, which a majority must still confirm', () => {
    const lone = leadingNode()
    lone.node.transferLeadership('c', 9)
    lone.node.readIndex(1)
    const [sent] = lone.settle().filter((message) => message.kind === 'heartbeat-request')
    expect(lone.node.ready().reads).toEqual([])
    const round = sent?.kind === 'heartbeat-request' ? sent.round : 0
    lone.step('b', 2, { kind: 'heartbeat-response', round })
    expect(lone.node.ready().reads).toEqual([{ token: 1, index: 2 }])
  })

  it('takes away what contact with a majority proves, until the other has answered a later round', () => {
    const lone = leadingNode()
    expect(lone.node.mayBeDeposed).toBe(false)
    lone.node.transferLeadership('b', 3)
    lone.tick(3)
    expect([lone.node.transferTarget, lone.node.mayBeDeposed]).toEqual([undefined, true])
    lone.tick(3)
    lone.step('b', 2, { kind: 'heartbeat-response', round: lone.node.rounds!.sent })
    expect(lone.node.mayBeDeposed).toBe(false)
  })
})

describe('a request to campaign', () => {
  it('is followed at once, without a pre-vote', () => {
    const lone = new LoneNode({ terms: [1], term: 3 })
    lone.step('b', 3, heartbeat(4))
    lone.step('b', 3, timeoutNow(4))
    const requests = lone.settle().filter((message) => message.kind === 'vote-request')
    expect(requests).toMatchObject([
      { to: 'b', term: 4, leadershipTransfer: true },
      { to: 'c', term: 4, leadershipTransfer: true },
    ])
  })

  it('that is older than a heartbeat is void: the leader may have given up', () => {
    const lone = new LoneNode({ terms: [1], term: 3 })
    lone.step('b', 3, heartbeat(5))
    lone.step('b', 3, timeoutNow(4))
    expect([lone.node.role, lone.node.term]).toEqual(['follower', 3])
  })

  it('by another than the leader, or of an older term, is void', () => {
    const lone = new LoneNode({ terms: [1], term: 3 })
    lone.step('b', 3, heartbeat(1))
    lone.step('c', 3, timeoutNow(9))
    lone.step('b', 2, timeoutNow(9))
    expect([lone.node.role, lone.node.term]).toEqual(['follower', 3])
  })
})

describe('table 1.3: an interrupted transfer', () => {
  it('to a voter that is away ends, and the same leader goes on [hashicorp 696]', () => {
    transferToOneThatIsAway()
  })

  it('ends with the leadership, and leaves nothing for the next one [hashicorp 696]', () => {
    const world = newWorld()
    const leader = world.leader()!
    const to = followersOf(world)[0]!
    world.isolate(leader)
    world.transfer(leader, to, 10_000)
    world.runUntil(() => world.leader() !== undefined && world.leader() !== leader, 300)
    world.runUntil(() => world.node(leader).role !== 'leader', 60)
    expect(world.node(leader).transferTarget).toBeUndefined()
    world.heal()
    world.run(20)
    const next = world.leader()!
    world.transfer(next, leader, 40)
    world.runUntil(() => world.leader() === leader, 60)
    expect(world.propose(leader, 'taken')).toBe(true)
  })
})
