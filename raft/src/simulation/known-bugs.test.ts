/**
 * Bugs that other implementations had, each as a scenario under the name of where it was found: what went
 * wrong there must go right here. In virtual time over cores, or over whole members where the bug was in
 * what surrounds the core.
 */
import { afterEach, describe, expect, it } from 'vitest'
import type { SnapshotHeader } from '../core/messages.ts'
import { PROTOCOL_VERSION } from '../core/messages.ts'
import { SnapshotDamagedError } from '../errors.ts'
import { MemoryLogStore } from '../memory/memory-log-store.ts'
import { MemorySnapshotStore } from '../memory/memory-snapshot-store.ts'
import { ChainMachine } from '../testing/chain-machine.ts'
import { LoneNode } from '../testing/lone-node.ts'
import { MemoryCluster, textCommand, until } from '../testing/memory-cluster.ts'
import { NO_FAULTS } from './network.ts'
import {
  changeBeforeOwnTermCommit,
  crashingAt,
  longerLogOfAnOlderTerm,
  transferToOneThatIsAway,
} from './scenarios.ts'
import { simulate } from './simulate.ts'
import { World } from './world.ts'

const IDS = ['a', 'b', 'c']

function newWorld(memberCount = 3, options: Partial<ConstructorParameters<typeof World>[0]> = {}) {
  const world = new World({ seed: 1, memberCount, ...options })
  world.runUntil(() => world.leader() !== undefined, 100)
  world.run(10)
  return world
}

function followersOf(world: World): string[] {
  return world.ids.filter((id) => id !== world.leader())
}

function commit(world: World, text: string): void {
  const leader = world.leader()!
  expect(world.propose(leader, text)).toBe(true)
  const { lastIndex } = world.node(leader).log
  world.runUntil(() => world.node(leader).log.appliedIndex >= lastIndex, 60)
}

describe('in the core', () => {
  it('hashicorp/raft 695: an entry carries the term of the leadership that decided on it, though a newer term is heard between', () => {
    const world = newWorld()
    const old = world.leader()!
    const { term } = world.node(old)
    const [next] = followersOf(world) as [string]
    world.propose(old, 'of the old term')
    // The heartbeat of a newer term, and then at once another proposal.
    const sender = { from: next, to: old, incarnation: `${next}/1`, term: term + 1 }
    const envelope = { protocolVersion: PROTOCOL_VERSION, clusterId: 'world', ...sender }
    world.deliver({ ...envelope, kind: 'heartbeat-request', round: 1, commitIndex: 0 })
    expect(world.propose(old, 'of nobody')).toBe(false)
    expect(world.node(old).log.termAt(world.node(old).log.lastIndex)).toBe(term)
    world.runUntil(() => world.leader() !== undefined, 300)
    commit(world, 'kept')
    world.runUntil(() => world.ids.every((id) => world.state(id) === world.state(next)), 200)
  })

  it('hashicorp/raft 696: a transfer that is interrupted leaves nothing behind', () => {
    transferToOneThatIsAway()
    const world = newWorld()
    const leader = world.leader()!
    const [away] = followersOf(world) as [string]
    world.crash(away)
    expect(world.transfer(leader, away, 10_000).kind).toBe('started')
    world.isolate(leader)
    world.runUntil(() => world.node(leader).role !== 'leader', 100)
    world.heal()
    world.start(away)
    world.runUntil(() => world.leader() !== undefined, 200)
    commit(world, 'taken')
  })

  it('hashicorp/raft 697, 704: a snapshot whose term differs from the entry at its index replaces the log, once', () => {
    const limits = { snapshotEntries: 10, trailingEntries: 0 }
    const world = newWorld(3, { limits })
    const old = world.leader()!
    world.isolate(old)
    // The old leader has entries of its own where the snapshot of the others will end.
    for (let at = 0; at < 15; at += 1) world.propose(old, `conflict-${at}`)
    world.runUntil(() => world.leader() !== old && world.leader() !== undefined, 300)
    for (let at = 0; at < 25; at += 1) commit(world, `kept-${at}`)
    world.heal()
    world.runUntil(() => world.state(old) === world.state(world.leader()!), 200)
    const installed = world.counts.installedSnapshots
    expect(installed).toBeGreaterThan(0)
    world.run(200)
    expect(world.counts.installedSnapshots).toBe(installed)
    expect(world.node(old).log.lastIndex).toBe(world.node(world.leader()!).log.lastIndex)
  })

  it('hashicorp/raft 503, 612, 614, 666: a leader whose disk hangs gives up, and does not win again', () => {
    const world = newWorld()
    const slow = world.leader()!
    world.stuckDisks.add(slow)
    world.propose(slow, 'stuck')
    world.runUntil(() => world.leader() !== undefined && world.leader() !== slow, 300)
    commit(world, 'by the others')
    for (let at = 0; at < 500; at += 1) {
      world.tick()
      expect(world.node(slow).role).not.toBe('leader')
    }
  })

  it('hashicorp/raft, vote store: term and vote are one write; a repeated request is compared with the log again', () => {
    const lone = new LoneNode({ terms: [1, 1], term: 1 })
    const request = { kind: 'vote-request', lastLogIndex: 2, lastLogTerm: 1 } as const
    lone.step('b', 2, request)
    const held = lone.take()
    expect(held.filter(({ kind }) => kind === 'vote-response')).toEqual([])
    expect(lone.writes.map(({ hardState }) => hardState)).toEqual([{ term: 2, votedFor: 'b' }])
    lone.node.written()
    expect(lone.take()).toContainEqual(expect.objectContaining({ granted: true, to: 'b' }))
    // The same candidate with an older log, in the same term.
    lone.step('b', 2, { ...request, lastLogIndex: 1 })
    expect(lone.settle()).toContainEqual(expect.objectContaining({ granted: false, to: 'b' }))
  })

  it('LogCabin 44, CCF, liferaft: a majority that has an entry of an older term does not commit it', () => {
    const lone = new LoneNode({ terms: [1, 1, 2], term: 3 })
    lone.lead()
    lone.settle()
    lone.accept('b', 3)
    lone.accept('c', 3)
    expect(lone.node.log.commitIndex).toBe(0)
    lone.accept('b', 4)
    expect(lone.node.log.commitIndex).toBe(4)
  })

  it('raft-dev 2015, braft 182, copycat 23: no change of members before an entry of the own term is committed', () => {
    expect(changeBeforeOwnTermCommit().refusedOnce).toBe(true)
  })

  it('CCF 1: an acknowledgement covers what its message proved, not what else is in the log', () => {
    const lone = new LoneNode({ terms: [1, 1, 1, 1], term: 1 })
    lone.append('b', 2, { prevLogIndex: 2, prevLogTerm: 1 })
    const [answer] = lone.settle().filter(({ kind }) => kind === 'append-response')
    expect(answer).toMatchObject({ accepted: true, index: 2 })
  })

  it('CCF 2: a refusal, or an answer of an older term, commits nothing', () => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    lone.lead()
    lone.settle()
    const { term } = lone.node
    const last = lone.node.log.lastIndex
    lone.step('b', term, {
      kind: 'append-response',
      accepted: false,
      index: last,
      hintIndex: last,
      hintTerm: term,
    })
    const accepted = { kind: 'append-response', accepted: true, index: last } as const
    lone.step('b', term - 1, { ...accepted, hintIndex: 0, hintTerm: 0 })
    expect(lone.node.log.commitIndex).toBe(0)
  })

  it('CCF 3, async-raft: an append that arrives late takes nothing back', () => {
    const lone = new LoneNode({ terms: [1, 1, 1], term: 1 })
    const [first] = [lone.node.log.entryAt(2)!]
    lone.append('b', 1, { prevLogIndex: 1, prevLogTerm: 1, entries: [first] })
    expect(lone.node.log.lastIndex).toBe(3)
    lone.append('b', 1, { prevLogIndex: 1, prevLogTerm: 1, entries: [] })
    expect(lone.node.log.lastIndex).toBe(3)
    expect(lone.writes.some(({ truncateFrom }) => truncateFrom !== undefined)).toBe(false)
  })

  it('CCF 4: a member that leaves is replicated to until its removal is committed', () => {
    const world = newWorld(3)
    const leader = world.leader()!
    const [leaving, other] = followersOf(world) as [string, string]
    // Without the leaving one the removal cannot be committed by two of three: it still counts before.
    expect(world.change(leader, { kind: 'remove', member: { id: leaving } }).kind).toBe('appended')
    world.runUntil(() => world.node(leaving).members.length === 2, 60)
    world.runUntil(
      () => world.node(leaving).log.commitIndex >= world.node(leader).configurationIndex,
      60,
    )
    commit(world, 'by two')
    expect(world.node(leader).voters).toEqual(expect.arrayContaining([leader, other]))
  })

  it('async-raft, openraft: the term of the log counts before its length; a majority is more than half', () => {
    longerLogOfAnOlderTerm()
    for (const [members, needed] of [
      [['a', 'b'], 1],
      [['a', 'b', 'c', 'd'], 2],
    ] as const) {
      const lone = new LoneNode({ members, term: 1 })
      lone.becomePreCandidate()
      for (const id of members.slice(1)) {
        lone.step(id, lone.node.term + 1, { kind: 'pre-vote-response', granted: true })
      }
      lone.settle()
      for (const id of members.slice(1)) {
        lone.step(id, lone.node.term, { kind: 'vote-response', granted: true })
      }
      lone.settle()
      const last = lone.node.log.lastIndex
      const others = members.slice(1)
      for (const id of others.slice(0, needed - 1)) lone.accept(id, last)
      expect(lone.node.log.commitIndex, `${members.length} members`).toBe(0)
      lone.accept(others[needed - 1]!, last)
      expect(lone.node.log.commitIndex, `${members.length} members`).toBe(last)
    }
  })

  it('etcd 14370: a cluster of one commits nothing before it is on the disk', () => {
    const world = new World({ seed: 1, memberCount: 1 })
    world.runUntil(() => world.leader() !== undefined, 100)
    world.run(5)
    const before = world.node('n1').log.commitIndex
    world.stuckDisks.add('n1')
    world.propose('n1', 'x')
    world.run(10)
    expect(world.node('n1').log.commitIndex).toBe(before)
    world.stuckDisks.clear()
    world.runUntil(() => world.node('n1').log.commitIndex > before, 10)
  })

  it('etcd 7331, tikv 9351, redisraft 22: a read waits for an entry of the own term to be committed', () => {
    const lone = new LoneNode({ terms: [1, 1], term: 1 })
    lone.lead()
    lone.settle()
    expect(lone.node.readIndex(1)).toBe(true)
    const read = (): unknown[] => {
      const { round } = lone.node.rounds ? { round: lone.node.rounds.sent } : { round: 0 }
      lone.step('b', lone.node.term, { kind: 'heartbeat-response', round })
      return [...lone.node.ready().reads]
    }
    lone.tick(3)
    expect(read()).toEqual([])
    lone.accept('b', lone.node.log.lastIndex)
    lone.settle()
    lone.tick(3)
    expect(read()).toEqual([{ token: 1, index: lone.node.log.lastIndex }])
  })

  it('etcd 20418: a late answer to heartbeats does not confirm a read that was asked after them', () => {
    const world = newWorld()
    const old = world.leader()!
    // What the others answer waits in the old leader's sockets while it is paused.
    world.run(4)
    world.pause(old)
    world.run(30)
    world.runUntil(() => world.leader() !== old && world.leader() !== undefined, 300)
    commit(world, 'newer')
    world.resume(old)
    const { confirmedReads } = world.counts
    // A read that it confirmed would miss `newer`, and fail the run.
    if (world.node(old).role === 'leader') world.read(old)
    world.run(50)
    expect(world.counts.confirmedReads).toBe(confirmedReads)
  })

  it('openraft 1749: contact with a majority proves nothing while the leadership goes over', () => {
    const world = newWorld()
    const leader = world.leader()!
    const [to] = followersOf(world) as [string]
    expect(world.node(leader).mayBeDeposed).toBe(false)
    world.transfer(leader, to, 60)
    expect(world.node(leader).role).toBe('leader')
    expect(world.node(leader).mayBeDeposed).toBe(true)
  })

  it('d-engine 446, 381, NATS 7564, Ra 2.15.2: what is only in memory is neither counted nor acknowledged', () => {
    const world = newWorld()
    const leader = world.leader()!
    const before = world.node(leader).log.commitIndex
    for (const id of followersOf(world)) world.stuckDisks.add(id)
    world.propose(leader, 'x')
    world.run(15)
    // The followers have it in memory, the leader on its disk: one of three.
    expect(followersOf(world).map((id) => world.node(id).log.lastIndex)).toEqual([
      before + 1,
      before + 1,
    ])
    expect(world.node(leader).log.commitIndex).toBe(before)
    for (const id of followersOf(world)) world.crash(id)
    world.stuckDisks.clear()
    for (const id of world.ids) if (!world.isUp(id)) world.start(id)
    world.runUntil(() => world.leader() !== undefined, 200)
    commit(world, 'y')
  })

  it('NATS 7549, 6888, 7545: a member with an unreadable log neither votes nor leads, and the rest goes on', () => {
    const world = newWorld()
    const leader = world.leader()!
    const [damaged, other] = followersOf(world) as [string, string]
    for (let at = 0; at < 5; at += 1) commit(world, `kept-${at}`)
    world.crash(damaged)
    world.flipBit(damaged)
    expect(world.start(damaged)).toBe(false)
    commit(world, 'by two')
    // Even when it would be needed for a majority.
    world.crash(other)
    expect(world.start(damaged)).toBe(false)
    world.runUntil(() => world.node(leader).role !== 'leader', 100)
    world.run(200)
    expect(world.leader()).toBeUndefined()
    world.start(other)
    world.runUntil(() => world.leader() !== undefined, 300)
    // It leaves, and comes back under a new id as a learner, then as a voter.
    const next = world.leader()!
    commit(world, 'again')
    expect(world.change(next, { kind: 'remove', member: { id: damaged } }).kind).toBe('appended')
    world.run(10)
    world.addHost('r1')
    world.start('r1')
    const member = { id: 'r1', address: 'r1' }
    expect(world.change(next, { kind: 'add-learner', member }).kind).toBe('appended')
    world.runUntil(() => world.state('r1') === world.state(next), 100)
    expect(world.node('r1').counters.votesGranted).toBe(0)
    expect(world.change(next, { kind: 'promote', member }).kind).toBe('appended')
    world.runUntil(() => world.node('r1').voters.includes('r1'), 60)
  })

  it('a replica whose state deviates is found by the majority and stops [etcd, hash checks]', () => {
    const world = newWorld()
    const [corrupt] = followersOf(world) as [string]
    world.corruptState(corrupt)
    commit(world, 'x')
    world.runUntil(() => world.deviants.length > 0, 400)
    expect(world.deviants).toEqual([corrupt])
    commit(world, 'y')
  })

  it('Redis-Raft, 21 issues: the checkers run in every build, and the same seed gives the same run', () => {
    for (const mode of ['safety', 'liveness'] as const) {
      expect(simulate(4, mode).fingerprint).toBe(simulate(4, mode).fingerprint)
    }
  })

  it('"Raft does not guarantee liveness": a ring, a deaf member and a one-way link cost no progress', () => {
    const ring = newWorld(3)
    ring.cut('n1', 'n2')
    ring.cut('n2', 'n3')
    ring.cut('n3', 'n1')
    ring.run(600)
    expect(Math.max(...ring.ids.map((id) => ring.node(id).term))).toBeLessThan(15)

    // The one that cannot reach the leader is heard by the third: it must not take the lead away.
    const world = newWorld(3)
    const leader = world.leader()!
    const [apart] = followersOf(world) as [string]
    world.cut(leader, apart)
    world.cut(apart, leader)
    const { term } = world.node(leader)
    for (let at = 0; at < 10; at += 1) {
      commit(world, `x${at}`)
      world.run(40)
    }
    expect([world.leader(), world.node(leader).term]).toEqual([leader, term])

    // A leader that hears nobody steps down, and the others go on.
    const deaf = newWorld(5)
    const lonely = deaf.leader()!
    for (const id of deaf.ids) deaf.cut(id, lonely)
    deaf.runUntil(() => deaf.leader() !== undefined && deaf.leader() !== lonely, 300)
    commit(deaf, 'y')
  })

  it('KAFKA-15019: a leader that is flooded with proposals keeps its followers and is kept by them', () => {
    const world = newWorld(3, { limits: { uncommittedBytesMax: 2_000, appendBytesMax: 200 } })
    const leader = world.leader()!
    const { term } = world.node(leader)
    world.faults = { ...NO_FAULTS, writeDelayMax: 3 }
    let refused = 0
    for (let tick = 0; tick < 400; tick += 1) {
      for (let at = 0; at < 30; at += 1) if (!world.propose(leader, `flood-${at}`)) refused += 1
      world.tick()
    }
    expect(refused).toBeGreaterThan(0)
    expect([world.leader(), world.node(leader).term]).toEqual([leader, term])
    expect(world.node(leader).uncommittedBytes).toBeLessThanOrEqual(2_000 + 50)
  })
})

describe('around the core', () => {
  let cluster = new MemoryCluster()
  afterEach(async () => {
    await cluster.stop()
    cluster = new MemoryCluster()
  })

  it('etcd 3.5.0 to 3.5.2: after a crash at any write nothing is applied twice or left out', async () => {
    const log = new MemoryLogStore()
    const snapshots = new MemorySnapshotStore()
    let reported = 0
    for (const crashAt of [1, 2, 3, 5, 8, 13, 21, 34]) {
      const machine = new ChainMachine()
      const counting = crashingAt(log, crashAt)
      const limits = { snapshotEntries: 7, trailingEntries: 2 }
      const options = { ids: ['a'], logStore: counting, snapshotStore: snapshots, limits, machine }
      const lone = await cluster.start('a', options)
      for (;;) {
        const outcome = await lone.raft
          .propose(textCommand(`${reported}`))
          .catch((error: Error) => error)
        if (!(outcome instanceof Error)) {
          reported += 1
          expect(outcome.result).toBe(machine.count)
        } else if (lone.fatal.length > 0) break
      }
      expect(machine.count).toBeGreaterThanOrEqual(reported)
      await cluster.stop()
    }
    const last = await cluster.start('a', { ids: ['a'], logStore: log, snapshotStore: snapshots })
    await until(() => last.raft.status().role === 'leader', 'a leader')
    await last.raft.readIndex()
    expect(last.machine.count).toBeGreaterThanOrEqual(reported)
    // Each index once: what is counted is what was applied since the snapshot.
    expect(new Set(last.machine.indexes).size).toBe(last.machine.indexes.length)
  })

  it('rqlite 2747, 2759, tikv 12618, atomix 1038: a snapshot that cannot be restored is not adopted, and ends the member', async () => {
    class Choking extends ChainMachine {
      override restore(): void {
        throw new Error('the restore failed')
      }
    }
    const limits = { snapshotEntries: 10, trailingEntries: 0 }
    const two = ['a', 'b']
    for (const id of two) await cluster.start(id, { ids: IDS, limits })
    const leader = await cluster.waitForLeader()
    for (let at = 0; at < 30; at += 1) await leader.raft.propose(textCommand(`${at}`))
    const logStore = new MemoryLogStore()
    const choking = await cluster.start('c', { ids: IDS, machine: new Choking(), logStore })
    await until(() => choking.fatal.length > 0, 'the end of the member')
    expect(choking.fatal[0]?.message).toBe('the restore failed')
    const stored = await logStore.open({ clusterId: 'test', nodeId: 'c' })
    expect(stored.base.index).toBe(0)
    // The two others go on.
    await leader.raft.propose(textCommand('after'))
  })

  it('rqlite, the purged log: the log is compacted only below a snapshot that was read back', async () => {
    class Failing extends MemorySnapshotStore {
      override create(): never {
        throw new SnapshotDamagedError('what was read back is not what was written')
      }
    }
    const logStore = new MemoryLogStore()
    const limits = { snapshotEntries: 5, trailingEntries: 0 }
    const options = { ids: ['a'], logStore, snapshotStore: new Failing(), limits }
    const lone = await cluster.start('a', options)
    await until(() => lone.raft.status().role === 'leader', 'a leader')
    for (let at = 0; at < 20 && lone.fatal.length === 0; at += 1) {
      await lone.raft.propose(textCommand(`${at}`)).catch(() => undefined)
    }
    expect(lone.fatal[0]).toBeInstanceOf(SnapshotDamagedError)
    await lone.raft.stop()
    expect((await logStore.open({ clusterId: 'test', nodeId: 'a' })).base.index).toBe(0)
  })

  it('zeebe 6894, NATS 7556: a snapshot that was cut short is refused, and changes nothing', async () => {
    const members = await cluster.startAll(IDS)
    const leader = await cluster.waitForLeader()
    await leader.raft.propose(textCommand('kept'))
    await until(() => members.every(({ machine }) => machine.count === 1), 'it everywhere')
    const follower = members.find((member) => member !== leader)!
    const status = leader.raft.status()
    const forged: SnapshotHeader = {
      protocolVersion: PROTOCOL_VERSION,
      clusterId: 'test',
      from: leader.id,
      to: follower.id,
      incarnation: 'x',
      term: status.term,
      address: leader.id,
      snapshot: {
        index: 1_000,
        term: status.term,
        members: status.members,
        bytes: 100,
        sha256: 'f'.repeat(64),
      },
    }
    async function* short(): AsyncGenerator<Uint8Array> {
      yield new Uint8Array(50)
    }
    const transport = cluster.network.transport('outside')
    const to = { id: follower.id, address: '' }
    await expect(transport.sendSnapshot(to, forged, short())).rejects.toBeInstanceOf(
      SnapshotDamagedError,
    )
    expect(follower.machine.count).toBe(1)
    expect(follower.fatal).toEqual([])
    expect(follower.raft.status().metrics['snapshotsRefused']).toBe(1)
    await leader.raft.propose(textCommand('after'))
    await until(() => follower.machine.count === 2, 'the next command')
  })
})
