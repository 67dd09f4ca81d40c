import { afterEach, describe, expect, it } from 'vitest'
import { MemoryLogStore, renderPrometheus, StateDeviationError } from '../index.ts'
import { ChainMachine } from '../testing/chain-machine.ts'
import { MemoryCluster, textCommand, until } from '../testing/memory-cluster.ts'
import { COUNTER_NAMES } from './metrics.ts'

const IDS = ['a', 'b', 'c']
let cluster = new MemoryCluster()

afterEach(async () => {
  await cluster.stop()
  cluster = new MemoryCluster()
})

/** Forgets a command, as flipped memory or a bug of one machine would. */
class LossyMachine extends ChainMachine {
  isLossy = false

  override apply(entries: Parameters<ChainMachine['apply']>[0]): unknown[] {
    const results = super.apply(entries)
    if (this.isLossy) this.digest = 'something else'
    return results
  }
}

describe('comparing the states', () => {
  const timings = { stateCheckMs: 60 }

  it('finds nothing in states that are equal', async () => {
    await cluster.startAll(IDS, { timings })
    const leader = await cluster.waitForLeader()
    for (let at = 0; at < 3; at += 1) {
      await leader.raft.propose(textCommand(`${at}`))
      const before = leader.raft.status().metrics['stateChecks'] ?? 0
      await until(() => (leader.raft.status().metrics['stateChecks'] ?? 0) > before, 'a check')
    }
    const { lastIndex } = leader.raft.status()
    await until(
      () => cluster.members.every(({ raft }) => raft.status().appliedIndex >= lastIndex),
      'everything applied everywhere',
    )
    expect(leader.events.filter(({ kind }) => kind === 'state-deviation')).toEqual([])
    expect(cluster.members.flatMap(({ fatal }) => fatal)).toEqual([])
  })

  it('writes nothing while nothing is proposed', async () => {
    await cluster.startAll(IDS, { timings })
    const leader = await cluster.waitForLeader()
    await leader.raft.propose(textCommand('once'))
    await until(() => (leader.raft.status().metrics['stateChecks'] ?? 0) > 0, 'a check')
    await until(
      () => leader.raft.status().appliedIndex === leader.raft.status().lastIndex,
      'the end of the log applied',
    )
    const { lastIndex, term } = leader.raft.status()
    const checks = leader.raft.status().metrics['stateChecks']
    const beats = leader.raft.status().metrics['messagesSent'] ?? 0
    await until(
      () => (leader.raft.status().metrics['messagesSent'] ?? 0) > beats + 20,
      'several heartbeats',
    )
    expect(leader.raft.status()).toMatchObject({ term, lastIndex: expect.any(Number) })
    // The verdict of the one check may still have been on its way.
    expect(leader.raft.status().lastIndex).toBeLessThanOrEqual(lastIndex + 1)
    expect(leader.raft.status().metrics['stateChecks']).toBe(checks)
  })

  it.each(['a follower', 'the leader'])('reports %s that deviates, and stops it', async (who) => {
    for (const id of IDS) {
      await cluster.start(id, { ids: IDS, timings, machine: new LossyMachine() })
    }
    const leader = await cluster.waitForLeader()
    const corrupt =
      who === 'the leader' ? leader : cluster.members.find((member) => member !== leader)!
    ;(corrupt.machine as LossyMachine).isLossy = true
    await leader.raft.propose(textCommand('x'))
    await until(() => corrupt.fatal.length > 0, 'an end of the corrupt member')
    expect(corrupt.fatal[0]).toBeInstanceOf(StateDeviationError)
    expect(leader.events).toContainEqual(
      expect.objectContaining({ kind: 'state-deviation', memberId: corrupt.id }),
    )
    const others = cluster.members.filter((member) => member !== corrupt)
    await until(
      () => others.some(({ raft }) => raft.status().role === 'leader'),
      'a leader that is not corrupt',
    )
    const next = others.find(({ raft }) => raft.status().role === 'leader')!
    await next.raft.propose(textCommand('y'))
    expect(others.flatMap(({ fatal }) => fatal)).toEqual([])
  })

  it('stops nobody when there is no majority, and names both', async () => {
    for (const id of ['a', 'b']) {
      await cluster.start(id, { ids: ['a', 'b'], timings, machine: new LossyMachine() })
    }
    const leader = await cluster.waitForLeader()
    ;(leader.machine as LossyMachine).isLossy = true
    await leader.raft.propose(textCommand('x'))
    const deviations = () => leader.events.filter((event) => event.kind === 'state-deviation')
    await until(() => deviations().length >= 2, 'two deviations')
    expect(
      deviations()
        .slice(0, 2)
        .map(({ memberId }) => memberId)
        .sort(),
    ).toEqual(['a', 'b'])
    expect(deviations()[0]?.expected).toBeUndefined()
    expect(cluster.members.flatMap(({ fatal }) => fatal)).toEqual([])
  })
})

describe('observers', () => {
  it('are told of the configuration, of peers that go and come, and of a disk that stalls', async () => {
    let hold: Promise<void> | undefined
    const members = await cluster.startAll(IDS)
    const leader = await cluster.waitForLeader()
    const away = members.find((member) => member !== leader)!
    cluster.network.isolate(away.id, IDS)
    const peerEvent = (isReachable: boolean) => ({ kind: 'peer', peerId: away.id, isReachable })
    await until(
      () => leader.events.some((event) => event.kind === 'peer' && !event.isReachable),
      'news of the lost peer',
    )
    cluster.network.heal()
    await until(
      () => leader.events.some((event) => event.kind === 'peer' && event.isReachable),
      'news of the peer that is back',
    )
    expect(leader.events).toContainEqual(peerEvent(false))
    expect(leader.events).toContainEqual(peerEvent(true))
    expect(leader.events).toContainEqual(
      expect.objectContaining({ kind: 'configuration', index: 1, isCommitted: true }),
    )
    await cluster.stop()

    let release: () => void = () => undefined
    const logStore = new MemoryLogStore({ beforeSync: () => hold ?? Promise.resolve() })
    const lone = await cluster.start('z', {
      ids: ['z'],
      logStore,
      timings: { storageStallMs: 100 },
    })
    await until(() => lone.raft.status().role === 'leader', 'a leader')
    hold = new Promise((resolve) => {
      release = resolve
    })
    const proposal = lone.raft.propose(textCommand('slow')).catch((error: unknown) => error)
    await until(
      () => lone.events.some((event) => event.kind === 'storage' && event.isStalled),
      'news of the stall',
    )
    hold = undefined
    release()
    await until(
      () => lone.events.some((event) => event.kind === 'storage' && !event.isStalled),
      'news of its end',
    )
    await proposal
  })

  it('that throw harm neither the member nor the others', async () => {
    const logged: string[] = []
    const note = (message: string): void => {
      logged.push(message)
    }
    const logger = { debug: note, info: note, warn: note, error: note }
    let told = 0
    const lone = await cluster.start('a', {
      ids: ['a'],
      logger,
      observer: () => {
        told += 1
        throw new Error('a bad observer')
      },
    })
    await until(() => lone.raft.status().role === 'leader', 'a leader')
    await lone.raft.propose(textCommand('x'))
    expect(told).toBeGreaterThan(0)
    expect(logged).toContain('an observer threw')
    expect(lone.fatal).toEqual([])
  })
})

describe('metrics', () => {
  it('count, and say how long things took', async () => {
    await cluster.startAll(IDS)
    const leader = await cluster.waitForLeader()
    for (let at = 0; at < 5; at += 1) await leader.raft.propose(textCommand(`${at}`))
    await leader.raft.readIndex()
    const text = renderPrometheus(leader.raft.metrics(), { cluster: 'a "name"' })
    const value = (name: string): number =>
      Number(new RegExp(`^${name}\\{[^}]*\\} (.+)$`, 'm').exec(text)?.[1])
    expect(value('raft_is_leader')).toBe(1)
    expect(value('raft_members')).toBe(3)
    expect(value('raft_proposals_total')).toBe(5)
    expect(value('raft_commit_seconds_count')).toBe(5)
    expect(value('raft_read_seconds_count')).toBe(1)
    expect(value('raft_write_seconds_count')).toBeGreaterThan(0)
    expect(value('raft_uncommitted_bytes')).toBe(0)
    expect(text).toContain('raft_peer_lag_entries{cluster="a \\"name\\"",peer=')
    expect(text).toContain('le="+Inf"')
  })

  it('have a description for each counter, and no other', async () => {
    const lone = await cluster.start('a', { ids: ['a'] })
    expect(Object.keys(lone.raft.status().metrics).sort()).toEqual([...COUNTER_NAMES].sort())
  })
})
