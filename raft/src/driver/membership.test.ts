import { afterEach, describe, expect, it } from 'vitest'
import {
  createRaft,
  LeadershipTransferFailedError,
  LeadershipTransferringError,
  MembershipChangeRefusedError,
  MemoryLogStore,
  MemoryNetwork,
  MemorySnapshotStore,
  NotLeaderError,
  type Raft,
  type RaftOptions,
  StoppedError,
  systemClock,
} from '../index.ts'
import { ChainMachine } from '../testing/chain-machine.ts'

interface Member {
  readonly id: string
  readonly raft: Raft
  readonly machine: ChainMachine
}

const TIMINGS = { electionMinMs: 300, electionMaxMs: 600, heartbeatMs: 50, tickMs: 10 }
const IDS = ['a', 'b', 'c']
const running: Raft[] = []

afterEach(async () => {
  for (const raft of running.splice(0)) await raft.stop()
})

async function startMember(
  network: MemoryNetwork,
  id: string,
  options: Partial<RaftOptions> & { ids?: readonly string[] } = {},
): Promise<Member> {
  const machine = new ChainMachine()
  const { ids = IDS, ...rest } = options
  const raft = createRaft({
    clusterId: 'test',
    nodeId: id,
    incarnation: `${id}-1`,
    members: ids.map((each) => ({ id: each, address: `memory://${each}` })),
    stateMachine: machine,
    logStore: new MemoryLogStore(),
    snapshotStore: new MemorySnapshotStore(),
    transport: network.transport(id),
    clock: systemClock,
    random: Math.random,
    timings: TIMINGS,
    onFatal: (error) => {
      throw error
    },
    ...rest,
  })
  running.push(raft)
  await raft.start()
  return { id, raft, machine }
}

async function startCluster(
  options: Partial<RaftOptions> = {},
): Promise<{ network: MemoryNetwork; members: Member[]; leader: Member }> {
  const network = new MemoryNetwork()
  const members = await Promise.all(IDS.map((id) => startMember(network, id, options)))
  const leader = await leaderOf(members)
  await leader.raft.propose(command('first'))
  return { network, members, leader }
}

async function leaderOf(members: readonly Member[]): Promise<Member> {
  const find = (): Member | undefined =>
    members.find((member) => member.raft.status().role === 'leader')
  await expect.poll(find, { timeout: 8_000, interval: 5 }).toBeDefined()
  return find()!
}

const command = (text: string): Uint8Array => new TextEncoder().encode(text)
const rolesOf = ({ raft }: Member): readonly string[] =>
  raft.status().members.map(({ id, role }) => `${id}:${role}`)
const memberOf = (id: string) => ({ id, address: `memory://${id}` })

describe('changeMembership', () => {
  it('adds a member from nothing, by a snapshot, promotes it, and removes the old leader', async () => {
    const limits = { snapshotEntries: 20, trailingEntries: 2 }
    const { network, members, leader } = await startCluster({ limits })
    for (let at = 0; at < 50; at += 1) await leader.raft.propose(command(`x${at}`))
    await expect.poll(() => leader.raft.status().firstIndex).toBeGreaterThan(20)
    const joined = await startMember(network, 'd', { ids: ['d'], join: true, limits })
    const { configurationIndex } = leader.raft.status()
    const added = await leader.raft.changeMembership({
      kind: 'add-learner',
      member: memberOf('d'),
      expectedConfigurationIndex: configurationIndex,
    })
    expect(leader.raft.status().configurationIndex).toBe(added.index)
    await expect.poll(() => joined.machine.count).toBe(51)
    expect(rolesOf(joined)).toEqual(['a:voter', 'b:voter', 'c:voter', 'd:learner'])
    expect(joined.raft.status().leaderAddress).toBe(`memory://${leader.id}`)
    await leader.raft.changeMembership({ kind: 'promote', member: { id: 'd' } })
    await leader.raft.changeMembership({ kind: 'remove', member: { id: leader.id } })
    expect(leader.raft.status().role).toBe('follower')
    const rest = [...members.filter((member) => member !== leader), joined]
    const next = await leaderOf(rest)
    await next.raft.propose(command('after'))
    await expect.poll(() => rest.map(({ machine }) => machine.count)).toEqual([52, 52, 52])
    expect(rolesOf(next)).not.toContain(`${leader.id}:voter`)
  })

  it('is refused with the reason, and elsewhere than on the leader', async () => {
    const { members, leader } = await startCluster()
    const follower = members.find((member) => member !== leader)!
    const change = { kind: 'remove', member: { id: 'x' } } as const
    await expect(follower.raft.changeMembership(change)).rejects.toBeInstanceOf(NotLeaderError)
    const error = await leader.raft.changeMembership(change).catch((reason: unknown) => reason)
    expect(error).toBeInstanceOf(MembershipChangeRefusedError)
    expect(error).toMatchObject({ reason: 'unknown-member' })
    const stale = { ...change, expectedConfigurationIndex: 99 }
    await expect(leader.raft.changeMembership(stale)).rejects.toMatchObject({
      reason: 'configuration-changed',
    })
  })
})

describe('transferLeadership', () => {
  it('resolves when the other leads', async () => {
    const { members, leader } = await startCluster()
    const to = members.find((member) => member !== leader)!
    await leader.raft.transferLeadership(to.id, 2_000)
    expect(leader.raft.status().leaderId).toBe(to.id)
    expect(to.raft.status().role).toBe('leader')
    await to.raft.propose(command('after'))
    await to.raft.transferLeadership()
    expect(to.raft.status().leaderId).not.toBe(to.id)
  })

  it('to one that is away ends in time; proposals are refused meanwhile and taken after', async () => {
    const { members, leader } = await startCluster()
    const away = members.find((member) => member !== leader)!
    await away.raft.stop()
    // Its log is not complete any more, so it is not even asked.
    await leader.raft.propose(command('more'))
    const transfer = leader.raft.transferLeadership(away.id, 150).catch((error: unknown) => error)
    await expect(leader.raft.propose(command('x'))).rejects.toMatchObject({
      name: LeadershipTransferringError.name,
      to: away.id,
    })
    expect(leader.raft.status().lastQuorumContactMs).toBeUndefined()
    expect(await transfer).toMatchObject({ reason: 'timed-out' })
    await leader.raft.propose(command('y'))
    expect(leader.raft.status().lastQuorumContactMs).toBeDefined()
  })

  it('is ended by a stop, and refused with the reason', async () => {
    const { members, leader } = await startCluster()
    const away = members.find((member) => member !== leader)!
    await away.raft.stop()
    await leader.raft.propose(command('more'))
    const unknown = leader.raft.transferLeadership('x').catch((error: unknown) => error)
    expect(await unknown).toBeInstanceOf(LeadershipTransferFailedError)
    expect(await unknown).toMatchObject({ reason: 'not-a-voter' })
    const transfer = leader.raft.transferLeadership(away.id, 60_000)
    const second = leader.raft.transferLeadership(away.id)
    await expect(second).rejects.toMatchObject({ reason: 'transfer-in-progress' })
    const ended = expect(transfer).rejects.toBeInstanceOf(StoppedError)
    await leader.raft.stop()
    await ended
  })
})
