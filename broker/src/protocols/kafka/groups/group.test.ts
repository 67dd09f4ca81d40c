// Rebalances in virtual time, as the members see them.

import { beforeEach, describe, expect, test } from 'vitest'
import { settle, VirtualClock } from '../../../testing/virtual-clock.ts'
import { ERROR } from '../errors.ts'
import { FIRST_REBALANCE_MS, MEMBERS_MAX } from '../limits.ts'
import { Group, type StoredGroup } from './group.ts'
import type { Assignment, Joined, Joining } from './member.ts'

const SESSION_MS = 10_000
const REBALANCE_MS = 20_000

let clock: VirtualClock
let group: Group
let members: number
/** The last that was stored; `isKept`: it could be. */
let stored: StoredGroup | undefined
let isKept: boolean

beforeEach(() => {
  clock = new VirtualClock()
  members = 0
  stored = undefined
  isKept = true
  group = begun()
})

/** As a coordinator begins with it, from what is stored. */
function begun(): Group {
  const save = (state: StoredGroup): Promise<boolean> => {
    if (isKept) stored = JSON.parse(JSON.stringify(state)) as StoredGroup
    return Promise.resolve(isKept)
  }
  return new Group({ clock, newMemberId: () => `m${++members}`, save }, stored)
}

/** The next coordinator. */
function moved(): void {
  group.close(ERROR.NOT_COORDINATOR)
  group = begun()
}

const nobody = { memberId: '', groupInstanceId: null }

function who(memberId: string, groupInstanceId: string | null = null) {
  return { memberId, groupInstanceId }
}

function sync(
  identity: { memberId: string; generationId: number; groupInstanceId?: string | null },
  assignments: readonly Assignment[] = [],
) {
  const rest = { protocolType: null, protocolName: null, groupInstanceId: null }
  return group.sync({ ...rest, ...identity }, assignments)
}

function join(more: Partial<Joining> = {}): Promise<Joined> {
  return group.join({
    ...{ sessionMs: SESSION_MS, rebalanceMs: REBALANCE_MS, memberId: '', needsId: false },
    ...{ clientId: 'test', clientHost: '127.0.0.1', groupInstanceId: null, maySkip: false },
    reason: '',
    ...{ protocolType: 'consumer', protocols: [{ name: 'range', metadata: Buffer.from('r') }] },
    ...more,
  })
}

/** The group with its first generation, in which everybody has an assignment. */
async function stable(...members: Partial<Joining>[]): Promise<readonly Joined[]> {
  const joining = members.map((one) => join(one))
  await clock.advance(FIRST_REBALANCE_MS)
  const joined = await Promise.all(joining)
  await Promise.all(
    joined.map(({ memberId, generationId, members }) =>
      sync(
        { memberId, generationId },
        members.map((member) => ({
          ...{ memberId: member.memberId, assignment: Buffer.from(`of ${member.memberId}`) },
        })),
      ),
    ),
  )
  return joined
}

/** Undefined: it waits. */
async function now<T>(promise: Promise<T>): Promise<T | undefined> {
  let value: T | undefined
  void promise.then((got) => {
    value = got
  })
  await settle()
  return value
}

describe('a new group', () => {
  test('begins with all that come within a moment; the first leads and alone sees the others', async () => {
    const [first, second] = [join(), join()]
    expect(await now(first)).toBeUndefined()
    await clock.advance(FIRST_REBALANCE_MS)
    expect(await first).toMatchObject({
      ...{ errorCode: 0, generationId: 1, memberId: 'm1', leader: 'm1', protocolName: 'range' },
      members: [{ memberId: 'm1' }, { memberId: 'm2' }],
    })
    expect(await second).toMatchObject({ memberId: 'm2', leader: 'm1', members: [] })
  })

  test('gives everybody what the leader has assigned, whoever asks first', async () => {
    const joining = [join(), join()]
    await clock.advance(FIRST_REBALANCE_MS)
    await Promise.all(joining)
    const follower = sync({ memberId: 'm2', generationId: 1 }, [])
    expect(await now(follower)).toBeUndefined()
    const assignment = Buffer.from('all')
    await sync({ memberId: 'm1', generationId: 1 }, [{ memberId: 'm2', assignment }])
    expect(await follower).toMatchObject({ errorCode: 0, assignment })
    expect(await sync({ memberId: 'm2', generationId: 1 }, [])).toMatchObject({ assignment })
  })

  test('tells a member its id before it joins, where the version expects that', async () => {
    expect(await join({ needsId: true })).toMatchObject({
      ...{ errorCode: ERROR.MEMBER_ID_REQUIRED, memberId: 'm1' },
    })
    const joining = join({ needsId: true, memberId: 'm1' })
    await clock.advance(FIRST_REBALANCE_MS)
    expect(await joining).toMatchObject({ errorCode: 0, memberId: 'm1', generationId: 1 })
  })

  test('forgets an id with which nobody came', async () => {
    await join({ needsId: true })
    expect(group.isIdle).toBe(false)
    await clock.advance(SESSION_MS)
    expect(group.isIdle).toBe(true)
    expect(await join({ memberId: 'm1' })).toMatchObject({ errorCode: ERROR.UNKNOWN_MEMBER_ID })
  })

  test('has a bound', async () => {
    for (let at = 0; at < MEMBERS_MAX; at++) void join()
    expect(await join()).toMatchObject({ errorCode: ERROR.GROUP_MAX_SIZE_REACHED })
  })
})

describe('a rebalance', () => {
  test('begins with a new member: the others are told with their heartbeats, and join again', async () => {
    await stable({}, {})
    expect(group.heartbeat(who('m1'), 1)).toBe(ERROR.NONE)
    const third = join()
    await settle()
    expect(group.heartbeat(who('m1'), 1)).toBe(ERROR.REBALANCE_IN_PROGRESS)
    const again = [join({ memberId: 'm1' }), join({ memberId: 'm2' })]
    expect(await third).toMatchObject({ generationId: 2, leader: 'm1' })
    expect((await Promise.all(again)).map(({ generationId }) => generationId)).toEqual([2, 2])
    expect(group.heartbeat(who('m1'), 1)).toBe(ERROR.ILLEGAL_GENERATION)
  })

  test('goes on without who has not come back in time', async () => {
    await stable({}, {})
    const third = join()
    const first = join({ memberId: 'm1' })
    // It lives, but does not join.
    for (let at = 0; at < 4; at++) {
      await clock.advance(REBALANCE_MS / 4)
      group.heartbeat(who('m2'), 1)
    }
    expect((await first).members.map(({ memberId }) => memberId)).toEqual(['m1', 'm3'])
    expect(await third).toMatchObject({ generationId: 2 })
    expect(group.heartbeat(who('m2'), 1)).toBe(ERROR.UNKNOWN_MEMBER_ID)
  })

  test('begins when a session ends, and when a member leaves', async () => {
    await stable({}, {}, {})
    expect(group.leave(who('m3'), '')).toBe(ERROR.NONE)
    expect(group.heartbeat(who('m1'), 1)).toBe(ERROR.REBALANCE_IN_PROGRESS)
    const rest = [join({ memberId: 'm1' }), join({ memberId: 'm2' })]
    await settle()
    const [leader] = await Promise.all(rest)
    expect(leader?.generationId).toBe(2)
    await sync({ memberId: 'm1', generationId: 2 }, [])
    await clock.advance(SESSION_MS / 2)
    group.heartbeat(who('m1'), 2)
    await clock.advance(SESSION_MS / 2)
    expect(group.heartbeat(who('m1'), 2)).toBe(ERROR.REBALANCE_IN_PROGRESS)
    expect(group.heartbeat(who('m2'), 2)).toBe(ERROR.UNKNOWN_MEMBER_ID)
  })

  test('sends those away who wait for an assignment of the generation before', async () => {
    const joining = [join(), join()]
    await clock.advance(FIRST_REBALANCE_MS)
    await Promise.all(joining)
    const waiting = sync({ memberId: 'm2', generationId: 1 }, [])
    void join()
    expect(await waiting).toMatchObject({ errorCode: ERROR.REBALANCE_IN_PROGRESS })
  })

  test('is not what a follower that repeats itself causes, but what the leader does', async () => {
    await stable({}, {})
    expect(await join({ memberId: 'm2' })).toMatchObject({ generationId: 1 })
    expect(await now(join({ memberId: 'm1' }))).toBeUndefined()
    expect(group.heartbeat(who('m2'), 1)).toBe(ERROR.REBALANCE_IN_PROGRESS)
  })

  test('chooses a protocol that all speak; who speaks none of them is refused', async () => {
    const named = (...names: string[]) =>
      names.map((name) => ({ name, metadata: Buffer.from(name) }))
    const joining = [
      join({ protocols: named('sticky', 'range') }),
      join({ protocols: named('range') }),
    ]
    expect(await join({ protocols: named('sticky') })).toMatchObject({
      errorCode: ERROR.INCONSISTENT_GROUP_PROTOCOL,
    })
    expect(await join({ protocolType: 'connect' })).toMatchObject({
      errorCode: ERROR.INCONSISTENT_GROUP_PROTOCOL,
    })
    await clock.advance(FIRST_REBALANCE_MS)
    const [first] = await Promise.all(joining)
    expect(first?.protocolName).toBe('range')
    expect(first?.members.map(({ metadata }) => String(metadata))).toEqual(['range', 'range'])
  })
})

test('operators see its state, and what each member was given', async () => {
  expect(group.view).toMatchObject({ state: 'Empty', members: [] })
  await stable({}, {})
  expect(group.view).toMatchObject({
    ...{ state: 'Stable', protocolType: 'consumer', protocolName: 'range' },
    members: [
      { memberId: 'm1', clientId: 'test', clientHost: '127.0.0.1', metadata: Buffer.from('r') },
      { memberId: 'm2', assignment: Buffer.from('of m2') },
    ],
  })
  group.leave(who('m2'), '')
  expect(group.view.state).toBe('PreparingRebalance')
})

describe('commits', () => {
  test('are taken of members of the generation, and of anybody while there are none', async () => {
    expect(group.commitError(nobody, -1)).toBe(ERROR.NONE)
    expect(group.commitError(who('m1'), 1)).toBe(ERROR.UNKNOWN_MEMBER_ID)
    await stable({})
    expect(group.commitError(nobody, -1)).toBe(ERROR.UNKNOWN_MEMBER_ID)
    expect(group.commitError(who('m1'), 1)).toBe(ERROR.NONE)
    expect(group.commitError(who('m1'), 0)).toBe(ERROR.ILLEGAL_GENERATION)
  })
})

test('a group whose shard goes sends everybody to look for it', async () => {
  await stable({}, {})
  const waiting = join({ memberId: 'm1' })
  group.close(ERROR.NOT_COORDINATOR)
  expect(await waiting).toMatchObject({ errorCode: ERROR.NOT_COORDINATOR })
  expect(group.isIdle).toBe(true)
})

describe('the next coordinator', () => {
  test('goes on with the generation that is complete: nobody joins again', async () => {
    await stable({}, {})
    moved()
    expect(group.heartbeat(who('m1'), 1)).toBe(ERROR.NONE)
    expect(group.heartbeat(who('m2'), 1)).toBe(ERROR.NONE)
    expect(group.view).toMatchObject({
      state: 'Stable',
      members: [{ metadata: Buffer.from('r') }, { assignment: Buffer.from('of m2') }],
    })
    expect(await sync({ memberId: 'm2', generationId: 1 })).toMatchObject({
      ...{ errorCode: 0, protocolName: 'range', assignment: Buffer.from('of m2') },
    })
    expect(group.commitError(who('m1'), 1)).toBe(ERROR.NONE)
  })

  test('ends the sessions of those who do not find it', async () => {
    await stable({}, {})
    moved()
    await clock.advance(SESSION_MS / 2)
    group.heartbeat(who('m1'), 1)
    await clock.advance(SESSION_MS / 2)
    expect(group.heartbeat(who('m1'), 1)).toBe(ERROR.REBALANCE_IN_PROGRESS)
    expect(group.heartbeat(who('m2'), 1)).toBe(ERROR.UNKNOWN_MEMBER_ID)
  })

  test('knows nothing of a rebalance under way: members of before begin one', async () => {
    await stable({}, {})
    const third = join()
    const first = join({ memberId: 'm1' })
    moved()
    expect((await Promise.all([third, first])).map(({ errorCode }) => errorCode)).toEqual([
      ERROR.NOT_COORDINATOR,
      ERROR.NOT_COORDINATOR,
    ])
    expect(group.heartbeat(who('m1'), 1)).toBe(ERROR.NONE)
    expect(await join({ memberId: 'm3' })).toMatchObject({ errorCode: ERROR.UNKNOWN_MEMBER_ID })
    void join()
    expect(group.heartbeat(who('m1'), 1)).toBe(ERROR.REBALANCE_IN_PROGRESS)
  })

  test('never gives a generation twice, also when all had gone', async () => {
    await stable({})
    group.leave(who('m1'), '')
    moved()
    expect(group.view.state).toBe('Empty')
    const [joined] = await stable({})
    expect(joined?.generationId).toBeGreaterThan(2)
  })

  test('has what was told: an assignment that is not stored is given to nobody', async () => {
    const joining = join()
    await clock.advance(FIRST_REBALANCE_MS)
    await joining
    isKept = false
    const assignment = Buffer.from('all')
    expect(
      await sync({ memberId: 'm1', generationId: 1 }, [{ memberId: 'm1', assignment }]),
    ).toMatchObject({ errorCode: ERROR.NOT_COORDINATOR, assignment: Buffer.alloc(0) })
  })
})

describe('a static member', () => {
  const first = { groupInstanceId: 'one' }
  const second = { groupInstanceId: 'two' }

  test('comes back without a rebalance, and who had its name before is fenced', async () => {
    const needsId = true
    await stable({ ...first, needsId }, { ...second, needsId })
    expect(await join(second)).toMatchObject({ errorCode: 0, generationId: 1, memberId: 'm3' })
    expect(await sync({ memberId: 'm3', generationId: 1, groupInstanceId: 'two' })).toMatchObject({
      ...{ errorCode: 0, assignment: Buffer.from('of m2') },
    })
    expect(group.heartbeat(who('m1', 'one'), 1)).toBe(ERROR.NONE)
    expect(group.heartbeat(who('m2', 'two'), 1)).toBe(ERROR.FENCED_INSTANCE_ID)
    expect(group.commitError(who('m2', 'two'), 1)).toBe(ERROR.FENCED_INSTANCE_ID)
    expect(await join({ ...second, memberId: 'm2' })).toMatchObject({
      errorCode: ERROR.FENCED_INSTANCE_ID,
    })
    moved()
    expect(group.heartbeat(who('m3', 'two'), 1)).toBe(ERROR.NONE)
  })

  test('that leads is told to assign nothing, or that another leads (KIP-814)', async () => {
    await stable(first, second)
    expect(await join({ ...first, maySkip: true })).toMatchObject({
      ...{ memberId: 'm3', leader: 'm3', skipAssignment: true },
      members: [{ groupInstanceId: 'two' }, { groupInstanceId: 'one' }],
    })
    expect(await join(first)).toMatchObject({
      ...{ memberId: 'm4', leader: 'm3', skipAssignment: false, members: [] },
    })
  })

  test('that comes back for other topics begins a rebalance', async () => {
    await stable(first, second)
    const protocols = [{ name: 'range', metadata: Buffer.from('others') }]
    expect(await now(join({ ...second, protocols }))).toBeUndefined()
    expect(group.heartbeat(who('m1', 'one'), 1)).toBe(ERROR.REBALANCE_IN_PROGRESS)
  })

  test('that waits is sent away when another comes by its name', async () => {
    await stable(first)
    void join(second)
    await settle()
    const waiting = join({ ...first, memberId: 'm1' })
    const joined = await waiting
    const synced = sync({ memberId: 'm1', generationId: joined.generationId, ...first })
    void join(first)
    expect(await synced).toMatchObject({ errorCode: ERROR.FENCED_INSTANCE_ID })
  })

  test('is waited for until its session ends, however long the others wait', async () => {
    await stable({ ...first, sessionMs: 3 * REBALANCE_MS }, second)
    const third = join()
    const again = join({ ...second, memberId: 'm2' })
    await clock.advance(REBALANCE_MS)
    expect(await third).toMatchObject({ errorCode: 0, generationId: 2 })
    expect((await again).members.map(({ memberId }) => memberId)).toContain('m1')
  })

  test('is removed by its name alone', async () => {
    await stable(first, second)
    expect(group.leave(who('', 'three'), '')).toBe(ERROR.UNKNOWN_MEMBER_ID)
    expect(group.leave(who('m1', 'two'), '')).toBe(ERROR.FENCED_INSTANCE_ID)
    expect(group.leave(who('', 'two'), 'an operator says so')).toBe(ERROR.NONE)
    expect(group.heartbeat(who('m1', 'one'), 1)).toBe(ERROR.REBALANCE_IN_PROGRESS)
    expect(group.reason).toBe('an operator says so')
  })
})

test('whoever does not come for its assignment is out after the time of the rebalance', async () => {
  const joining = [join(), join({ sessionMs: 10 * REBALANCE_MS })]
  await clock.advance(FIRST_REBALANCE_MS)
  await Promise.all(joining)
  await sync({ memberId: 'm1', generationId: 1 })
  for (let at = 0; at < 4; at++) {
    await clock.advance(REBALANCE_MS / 4)
    group.heartbeat(who('m1'), 1)
  }
  expect(group.heartbeat(who('m2'), 1)).toBe(ERROR.UNKNOWN_MEMBER_ID)
  expect(group.heartbeat(who('m1'), 1)).toBe(ERROR.REBALANCE_IN_PROGRESS)
})

test('another protocol than the chosen one is refused with the assignment', async () => {
  await stable({})
  const asked = { ...who('m1'), generationId: 1, protocolType: 'consumer', protocolName: 'sticky' }
  expect(await group.sync(asked, [])).toMatchObject({
    errorCode: ERROR.INCONSISTENT_GROUP_PROTOCOL,
  })
})
