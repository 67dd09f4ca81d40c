import { afterEach, describe, expect, it } from 'vitest'
import { systemClock } from '../driver/system-clock.ts'
import type { RaftMemberStatus, RaftPeerStatus, RaftStatus } from '../raft.ts'
import { MemoryCluster, textCommand, until } from '../testing/memory-cluster.ts'
import { Autopilot, type AutopilotDecision, type AutopilotOptions } from './autopilot.ts'
import { runAutopilot } from './run-autopilot.ts'

type Peer = Pick<RaftPeerStatus, 'lastContactMs'> & { matchIndex?: number }

/** The status of leader `a` at index 1,000 of whose peers this is known. */
function leaderStatus(
  peers: Readonly<Record<string, Peer>>,
  options: { learners?: readonly string[]; term?: number } = {},
): RaftStatus {
  const { learners = [], term = 3 } = options
  const members = ['a', ...Object.keys(peers)].map((id): RaftMemberStatus => {
    return { id, address: id, role: learners.includes(id) ? 'learner' : 'voter' }
  })
  return {
    nodeId: 'a',
    role: 'leader',
    term,
    leaderId: 'a',
    leaderAddress: 'a',
    commitIndex: 1_000,
    appliedIndex: 1_000,
    firstIndex: 1,
    lastIndex: 1_000,
    snapshotIndex: 0,
    members,
    configurationIndex: 7,
    uncommittedBytes: 0,
    peers: Object.entries(peers).map(([id, { lastContactMs, matchIndex = 1_000 }]) => {
      return { id, matchIndex, state: 'replicate', lastContactMs, bytesInFlight: 0 }
    }),
    lastQuorumContactMs: 10,
    metrics: {},
  }
}

const OPTIONS: AutopilotOptions = { stabilizeMs: 10_000, contactLossMs: 2_000, lagEntriesMax: 100 }
const REMOVAL = { deadMs: 60_000, votersMin: 3 }
const FINE: Peer = { lastContactMs: 50 }

/** Advances second by second with a status that depends on the time; the first decision, and when. */
function watch(
  autopilot: Autopilot,
  statusAt: (ms: number) => RaftStatus,
  endMs: number,
): (AutopilotDecision & { atMs: number }) | undefined {
  for (let ms = 0; ms <= endMs; ms += 1_000) {
    const decision = autopilot.advance(statusAt(ms), ms)
    if (decision !== undefined) return { ...decision, atMs: ms }
  }
  return undefined
}

describe('Autopilot, learners', () => {
  const learners = ['d']

  it('promotes one that was healthy for the whole time, against the configuration it has seen', () => {
    const status = leaderStatus({ b: FINE, c: FINE, d: FINE }, { learners })
    const decision = watch(new Autopilot(OPTIONS), () => status, 30_000)
    expect(decision).toMatchObject({
      atMs: 10_000,
      change: { kind: 'promote', member: { id: 'd' }, expectedConfigurationIndex: 7 },
    })
  })

  it.each([
    ['silence', { lastContactMs: 5_000 }],
    ['a lag', { lastContactMs: 50, matchIndex: 800 }],
    ['no contact ever', { lastContactMs: undefined }],
  ])('counts from the end of %s', (_name, bad) => {
    const decision = watch(
      new Autopilot(OPTIONS),
      (ms) => leaderStatus({ b: FINE, c: FINE, d: ms === 6_000 ? bad : FINE }, { learners }),
      30_000,
    )
    expect(decision?.atMs).toBe(17_000)
  })

  it('counts anew when the leadership is a new one', () => {
    const decision = watch(
      new Autopilot(OPTIONS),
      (ms) => leaderStatus({ b: FINE, c: FINE, d: FINE }, { learners, term: ms < 5_000 ? 3 : 4 }),
      30_000,
    )
    expect(decision?.atMs).toBe(15_000)
  })

  it('does nothing on a follower, or without a majority', () => {
    const status = leaderStatus({ b: FINE, c: FINE, d: FINE }, { learners })
    const follower: RaftStatus = { ...status, role: 'follower', peers: [] }
    const cutOff: RaftStatus = { ...status, lastQuorumContactMs: undefined }
    const autopilot = new Autopilot(OPTIONS)
    expect(watch(autopilot, () => follower, 60_000)).toBeUndefined()
    expect(watch(autopilot, () => cutOff, 60_000)).toBeUndefined()
    expect(autopilot.health).toEqual([])
  })
})

describe('Autopilot, dead members', () => {
  /** Was heard at 0, and not since. */
  const gone = (ms: number): Peer => ({ lastContactMs: ms })

  it('removes nobody unless asked to', () => {
    const statusAt = (ms: number) => leaderStatus({ b: FINE, c: FINE, d: gone(ms) })
    expect(watch(new Autopilot(OPTIONS), statusAt, 600_000)).toBeUndefined()
  })

  it('removes one that is silent for the whole time, if enough voters remain', () => {
    const statusAt = (ms: number) => leaderStatus({ b: FINE, c: FINE, d: gone(ms) })
    const decision = watch(new Autopilot({ ...OPTIONS, removal: REMOVAL }), statusAt, 600_000)
    expect(decision).toMatchObject({
      atMs: 60_000,
      change: { kind: 'remove', member: { id: 'd' }, expectedConfigurationIndex: 7 },
    })
  })

  it('never goes below the minimum of voters', () => {
    const statusAt = (ms: number) => leaderStatus({ b: FINE, c: gone(ms) })
    const autopilot = new Autopilot({ ...OPTIONS, removal: REMOVAL })
    expect(watch(autopilot, statusAt, 600_000)).toBeUndefined()
    expect(autopilot.health).toContainEqual(expect.objectContaining({ id: 'c', isHealthy: false }))
  })

  it('removes no voter when half of the voters are not healthy', () => {
    const statusAt = (ms: number) => leaderStatus({ b: FINE, c: gone(ms), d: gone(ms) })
    const removal = { deadMs: 60_000, votersMin: 1 }
    expect(watch(new Autopilot({ ...OPTIONS, removal }), statusAt, 600_000)).toBeUndefined()
  })

  it('removes a dead learner although no voter could be spared', () => {
    const statusAt = (ms: number) =>
      leaderStatus({ b: FINE, c: FINE, d: gone(ms) }, { learners: ['d'] })
    const decision = watch(new Autopilot({ ...OPTIONS, removal: REMOVAL }), statusAt, 600_000)
    expect(decision?.change).toMatchObject({ kind: 'remove', member: { id: 'd' } })
  })

  it('gives everyone the whole time after a change of leader', () => {
    const statusAt = (ms: number) =>
      leaderStatus(
        { b: FINE, c: FINE, d: { lastContactMs: ms < 50_000 ? ms : undefined } },
        { term: ms < 50_000 ? 3 : 4 },
      )
    const decision = watch(new Autopilot({ ...OPTIONS, removal: REMOVAL }), statusAt, 600_000)
    expect(decision?.atMs).toBe(110_000)
  })

  it('promotes a replacement before it removes', () => {
    const statusAt = (ms: number) =>
      leaderStatus({ b: FINE, c: gone(ms), d: FINE }, { learners: ['d'] })
    const decision = watch(new Autopilot({ ...OPTIONS, removal: REMOVAL }), statusAt, 600_000)
    expect(decision?.change).toMatchObject({ kind: 'promote', member: { id: 'd' } })
  })

  it.each([
    { contactLossMs: -1 },
    { removal: { deadMs: 1_000, votersMin: 3 } },
    { removal: { deadMs: 60_000, votersMin: 0 } },
  ])('refuses options that cannot work: %j', (options) => {
    expect(() => new Autopilot({ ...OPTIONS, ...options })).toThrow(RangeError)
  })
})

describe('runAutopilot', () => {
  let cluster = new MemoryCluster()
  afterEach(async () => {
    await cluster.stop()
    cluster = new MemoryCluster()
  })

  it('makes a voter of a learner, and replaces a dead one, in a running cluster', async () => {
    const ids = ['a', 'b', 'c']
    const members = await cluster.startAll(ids)
    const leader = await cluster.waitForLeader()
    const decisions: string[] = []
    const autopilots = members.map(({ raft }) =>
      runAutopilot(raft, {
        clock: systemClock,
        intervalMs: 20,
        stabilizeMs: 200,
        contactLossMs: 1_000,
        removal: { deadMs: 1_500, votersMin: 3 },
        onDecision: ({ change }, error) =>
          decisions.push(`${change.kind} ${change.member.id}${error === undefined ? '' : ' ?'}`),
      }),
    )
    try {
      await leader.raft.propose(textCommand('x'))
      const dead = members.find((member) => member !== leader)!
      await dead.raft.stop()
      const joined = await cluster.start('d')
      await leader.raft.changeMembership({
        kind: 'add-learner',
        member: { id: 'd', address: 'memory://d' },
      })
      const roles = () =>
        Object.fromEntries(leader.raft.status().members.map(({ id, role }) => [id, role]))
      await until(() => roles()['d'] === 'voter' && roles()[dead.id] === undefined, 'a new voter')
      const done = () => decisions.filter((decision) => !decision.endsWith('?'))
      await until(() => done().length >= 2, 'both changes committed')
      expect(Object.values(roles())).toEqual(['voter', 'voter', 'voter'])
      expect(done()).toEqual(['promote d', `remove ${dead.id}`])
      await leader.raft.propose(textCommand('y'))
      await until(() => joined.machine.count === 2, 'the command on the new voter')
    } finally {
      for (const autopilot of autopilots) autopilot.stop()
    }
  })
})
