import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import {
  createRaft,
  FileLogStore,
  FileSnapshotStore,
  LeadershipLostError,
  type LogStore,
  MemoryLogStore,
  MemoryNetwork,
  MemorySnapshotStore,
  NotLeaderError,
  OverloadedError,
  type Raft,
  type RaftEvent,
  type RaftOptions,
  type SnapshotStore,
  StoppedError,
  systemClock,
} from '../index.ts'
import { ChainMachine } from '../testing/chain-machine.ts'

interface Member {
  readonly id: string
  readonly raft: Raft
  readonly machine: ChainMachine
  readonly events: RaftEvent[]
  readonly fatal: Error[]
}

interface Stores {
  readonly logStore: LogStore
  readonly snapshotStore: SnapshotStore
}

// A process of a busy machine may be away for some hundred milliseconds.
const TIMINGS = { electionMinMs: 1_000, electionMaxMs: 1_500, heartbeatMs: 50 }
const IDS = ['a', 'b', 'c']
const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function temporaryDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'raft-'))
  cleanups.push(() => rm(directory, { recursive: true, force: true }))
  return directory
}

function levelStores(directory: string): Stores {
  return {
    logStore: new FileLogStore({ directory: join(directory, 'log') }),
    snapshotStore: new FileSnapshotStore({ directory: join(directory, 'snapshots') }),
  }
}

function memoryStores(): Stores {
  return { logStore: new MemoryLogStore(), snapshotStore: new MemorySnapshotStore() }
}

let incarnations = 0

async function startMember(
  network: MemoryNetwork,
  id: string,
  stores: Stores,
  options: Partial<RaftOptions> & { ids?: readonly string[] } = {},
): Promise<Member> {
  const machine = new ChainMachine()
  const events: RaftEvent[] = []
  const fatal: Error[] = []
  incarnations += 1
  const { ids = IDS, ...rest } = options
  const raft = createRaft({
    clusterId: 'test',
    nodeId: id,
    incarnation: `${id}-${incarnations}`,
    members: ids.map((member) => ({ id: member, address: `memory://${member}` })),
    stateMachine: machine,
    transport: network.transport(id),
    clock: systemClock,
    random: Math.random,
    timings: TIMINGS,
    onFatal: (error) => fatal.push(error),
    ...stores,
    ...rest,
  })
  raft.observe((event) => events.push(event))
  await raft.start()
  cleanups.push(() => raft.stop())
  return { id, raft, machine, events, fatal }
}

function startAll(
  network: MemoryNetwork,
  stores: readonly Stores[],
  options: Partial<RaftOptions> = {},
): Promise<Member[]> {
  return Promise.all(IDS.map((id, at) => startMember(network, id, stores[at]!, options)))
}

async function waitForLeader(members: readonly Member[]): Promise<Member> {
  await expect
    .poll(() => members.filter((member) => member.raft.status().role === 'leader').length, {
      timeout: 8_000,
      interval: 5,
    })
    .toBe(1)
  return members.find((member) => member.raft.status().role === 'leader')!
}

async function waitForEqual(members: readonly Member[], count: number): Promise<void> {
  await expect
    .poll(() => members.map((member) => member.machine.count), { timeout: 8_000, interval: 5 })
    .toEqual(members.map(() => count))
  expect(new Set(members.map((member) => member.machine.digest)).size).toBe(1)
}

const command = (text: string): Uint8Array => new TextEncoder().encode(text)

describe('three members on files', () => {
  it('elect at once, replicate, and go on after all were restarted', async () => {
    const network = new MemoryNetwork()
    const directories = await Promise.all(IDS.map(temporaryDirectory))
    // A new cluster does not wait for its election time-outs, which are longer than this test here.
    const timings = { ...TIMINGS, electionMinMs: 60_000, electionMaxMs: 90_000 }
    const first = await startAll(network, directories.map(levelStores), { timings })
    const leader = await waitForLeader(first)
    const results = await Promise.all(
      Array.from({ length: 200 }, (_, at) => leader.raft.propose(command(`first-${at}`))),
    )
    expect(results.map((result) => result.result)).toEqual(results.map((_, at) => at + 1))
    await waitForEqual(first, 200)
    for (const member of first) await member.raft.stop()

    const second = await startAll(network, directories.map(levelStores))
    const next = await waitForLeader(second)
    expect(next.raft.status().term).toBeGreaterThan(leader.raft.status().term)
    const result = await next.raft.propose(command('second'))
    expect(result.result).toBe(201)
    await waitForEqual(second, 201)
    expect(await next.raft.readIndex()).toBeGreaterThanOrEqual(result.index)
  })

  it('bring back a member that was away past compaction, by a snapshot', async () => {
    const network = new MemoryNetwork()
    const directories = await Promise.all(IDS.map(temporaryDirectory))
    const limits = { snapshotEntries: 50, trailingEntries: 5 }
    const members = await startAll(network, directories.map(levelStores), { limits })
    const leader = await waitForLeader(members)
    await leader.raft.propose(command('before'))
    const away = members.find((member) => member !== leader)!
    await away.raft.stop()
    for (let at = 0; at < 120; at += 1) await leader.raft.propose(command(`x${at}`))
    await expect.poll(() => leader.raft.status().firstIndex).toBeGreaterThan(50)
    const at = IDS.indexOf(away.id)
    const back = await startMember(network, away.id, levelStores(directories[at]!), { limits })
    await waitForEqual([...members.filter((member) => member !== away), back], 121)
    expect(back.events.some((event) => event.kind === 'snapshot-installed')).toBe(true)
    expect(leader.raft.status().metrics['snapshotsSent']).toBeGreaterThan(0)
    // It also starts again from what was installed.
    await back.raft.stop()
    const again = await startMember(network, away.id, levelStores(directories[at]!), { limits })
    await leader.raft.propose(command('after'))
    await waitForEqual([leader, again], 122)
  })

  it('commit what waits in few writes: group commit', async () => {
    const network = new MemoryNetwork()
    const directories = await Promise.all(IDS.map(temporaryDirectory))
    const members = await startAll(network, directories.map(levelStores))
    const leader = await waitForLeader(members)
    const payload = new Uint8Array(256)
    const rate = async (clients: number, perClient: number): Promise<number> => {
      const startMs = systemClock.nowMs()
      const client = async (): Promise<void> => {
        for (let at = 0; at < perClient; at += 1) await leader.raft.propose(payload)
      }
      await Promise.all(Array.from({ length: clients }, client))
      return (1_000 * clients * perClient) / (systemClock.nowMs() - startMs)
    }
    await rate(8, 20)
    const one = await rate(1, 200)
    const before = leader.raft.status().metrics
    const sixtyFour = await rate(64, 60)
    const after = leader.raft.status().metrics
    const entries = after['entriesWritten']! - before['entriesWritten']!
    const writes = after['writes']! - before['writes']!
    console.info('commits per second', { one, sixtyFour, entriesPerWrite: entries / writes })
    expect(entries / writes).toBeGreaterThan(8)
    // The bars (400 and 2,500) are for a quiet machine; a fifth of them finds a stray wait.
    expect(one).toBeGreaterThan(400 / 5)
    expect(sixtyFour).toBeGreaterThan(2_500 / 5)
  })
})

describe('propose', () => {
  it('names the leader when asked elsewhere', async () => {
    const network = new MemoryNetwork()
    const members = await startAll(network, IDS.map(memoryStores))
    const leader = await waitForLeader(members)
    const other = members.find((member) => member !== leader)!
    await expect.poll(() => other.raft.status().leaderId).toBe(leader.id)
    const error = await other.raft.propose(command('x')).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(NotLeaderError)
    expect(error).toMatchObject({ leaderId: leader.id, leaderAddress: `memory://${leader.id}` })
    await expect(other.raft.readIndex()).rejects.toBeInstanceOf(NotLeaderError)
  })

  it('has an unknown outcome when the leader is cut off, which then steps down', async () => {
    const network = new MemoryNetwork()
    const members = await startAll(network, IDS.map(memoryStores))
    const leader = await waitForLeader(members)
    await leader.raft.propose(command('one'))
    const others = members.filter((member) => member !== leader)
    network.isolate(
      leader.id,
      others.map((member) => member.id),
    )
    const lost = leader.raft.propose(command('two')).catch((error: unknown) => error)
    const read = leader.raft.readIndex().catch((error: unknown) => error)
    expect(await lost).toBeInstanceOf(LeadershipLostError)
    expect(await read).toBeInstanceOf(NotLeaderError)
    const next = await waitForLeader(others)
    await next.raft.propose(command('three'))
    network.heal()
    await waitForEqual(members, 2)
  })

  it('is refused as overload beyond the limit of uncommitted bytes', async () => {
    const network = new MemoryNetwork()
    const limits = { uncommittedBytesMax: 1_000 }
    const members = await startAll(network, IDS.map(memoryStores), { limits })
    const leader = await waitForLeader(members)
    await leader.raft.propose(command('warm'))
    network.isolate(
      leader.id,
      IDS.filter((id) => id !== leader.id),
    )
    const first = leader.raft.propose(new Uint8Array(800)).catch((error: unknown) => error)
    await expect(leader.raft.propose(new Uint8Array(800))).rejects.toBeInstanceOf(OverloadedError)
    network.heal()
    await first
  })

  it('works the same in a cluster of one, through the disk', async () => {
    const network = new MemoryNetwork()
    const stores = levelStores(await temporaryDirectory())
    const member = await startMember(network, 'a', stores, { ids: ['a'] })
    await waitForLeader([member])
    expect((await member.raft.propose(command('x'))).result).toBe(1)
    expect(await member.raft.readIndex()).toBeGreaterThan(0)
    expect(member.raft.status().lastQuorumContactMs).toBe(0)
  })
})

describe('a member', () => {
  it('stops for good when a write fails, with unknown outcomes', async () => {
    const network = new MemoryNetwork()
    let broken = false
    const logStore = new MemoryLogStore({
      beforeSync: () => (broken ? Promise.reject(new Error('EIO')) : Promise.resolve()),
    })
    const stores = { logStore, snapshotStore: new MemorySnapshotStore() }
    const member = await startMember(network, 'a', stores, { ids: ['a'] })
    await waitForLeader([member])
    broken = true
    await expect(member.raft.propose(command('x'))).rejects.toBeInstanceOf(LeadershipLostError)
    expect(member.fatal.map((error) => error.message)).toEqual(['EIO'])
    await expect(member.raft.propose(command('y'))).rejects.toBeInstanceOf(StoppedError)
  })

  it('gives up leadership when its disk stalls, and another leads', async () => {
    const network = new MemoryNetwork()
    const gates = new Map<string, Promise<void>>()
    const stores = IDS.map((id) => ({
      logStore: new MemoryLogStore({ beforeSync: () => gates.get(id) ?? Promise.resolve() }),
      snapshotStore: new MemorySnapshotStore(),
    }))
    const timings = { ...TIMINGS, storageStallMs: 200 }
    const members = await startAll(network, stores, { timings })
    const leader = await waitForLeader(members)
    await leader.raft.propose(command('one'))
    let open = (): void => undefined
    gates.set(leader.id, new Promise((resolve) => (open = resolve)))
    const stalled = leader.raft.propose(command('two')).catch((error: unknown) => error)
    expect(await stalled).toBeInstanceOf(LeadershipLostError)
    const next = await waitForLeader(members.filter((member) => member !== leader))
    expect(next.id).not.toBe(leader.id)
    gates.clear()
    open()
    await next.raft.propose(command('three'))
    await expect
      .poll(() => members.map((member) => member.machine.digest))
      .toEqual(members.map(() => next.machine.digest))
  })

  it('loses nothing that was acknowledged when all lose power', async () => {
    const network = new MemoryNetwork()
    const logs = IDS.map(() => new MemoryLogStore())
    const stores = logs.map((logStore) => ({ logStore, snapshotStore: new MemorySnapshotStore() }))
    const members = await startAll(network, stores)
    const leader = await waitForLeader(members)
    let acknowledged = 0
    const running = Array.from({ length: 50 }, async (_, at) => {
      await leader.raft.propose(command(`p${at}`))
      acknowledged += 1
    })
    await Promise.race(running)
    const promised = acknowledged
    for (const log of logs) log.crash()
    await Promise.allSettled(running)
    for (const member of members) await member.raft.stop()
    const again = await startAll(network, stores)
    const next = await waitForLeader(again)
    await next.raft.readIndex()
    expect(promised).toBeGreaterThan(0)
    expect(next.machine.count).toBeGreaterThanOrEqual(promised)
  })

  it('reports roles, leader and contact', async () => {
    const network = new MemoryNetwork()
    const members = await startAll(network, IDS.map(memoryStores))
    const leader = await waitForLeader(members)
    await leader.raft.propose(command('x'))
    await expect.poll(() => leader.raft.status().lastQuorumContactMs).toBeLessThan(1_000)
    const status = leader.raft.status()
    expect(status.peers.map((peer) => peer.id)).toEqual(IDS.filter((id) => id !== leader.id))
    expect(status.leaderAddress).toBe(`memory://${leader.id}`)
    expect(leader.events.map((event) => event.kind)).toContain('role')
    const follower = members.find((member) => member !== leader)!
    expect(follower.raft.status().lastQuorumContactMs).toBeUndefined()
    await expect.poll(() => follower.raft.status().leaderId).toBe(leader.id)
  })
})
