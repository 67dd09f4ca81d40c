// Rebalances in virtual time, as the members see them.

import { beforeEach, describe, expect, test } from 'vitest'
import { settle, VirtualClock } from '../../../testing/virtual-clock.ts'
import { ERROR } from '../errors.ts'
import { FIRST_REBALANCE_MS, MEMBERS_MAX } from '../limits.ts'
import { Group, type Joined, type Joining } from './group.ts'

const SESSION_MS = 10_000
const REBALANCE_MS = 20_000

let clock: VirtualClock
let group: Group

beforeEach(() => {
  clock = new VirtualClock()
  let members = 0
  group = new Group({ clock, newMemberId: () => `m${++members}` })
})

function join(more: Partial<Joining> = {}): Promise<Joined> {
  return group.join({
    ...{ sessionMs: SESSION_MS, rebalanceMs: REBALANCE_MS, memberId: '', needsId: false },
    ...{ clientId: 'test', clientHost: '127.0.0.1' },
    ...{ protocolType: 'consumer', protocols: [{ name: 'range', metadata: Buffer.from('r') }] },
    ...more,
  })
}

/** The group with its first generation, in which everybody has an assignment. */
async function stable(count: number): Promise<readonly Joined[]> {
  const joining = Array.from({ length: count }, () => join())
  await clock.advance(FIRST_REBALANCE_MS)
  const joined = await Promise.all(joining)
  await Promise.all(
    joined.map(({ memberId, generationId, members }) =>
      group.sync(
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
    const follower = group.sync({ memberId: 'm2', generationId: 1 }, [])
    expect(await now(follower)).toBeUndefined()
    const assignment = Buffer.from('all')
    await group.sync({ memberId: 'm1', generationId: 1 }, [{ memberId: 'm2', assignment }])
    expect(await follower).toEqual({ errorCode: 0, assignment })
    expect(await group.sync({ memberId: 'm2', generationId: 1 }, [])).toMatchObject({ assignment })
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
    await stable(2)
    expect(group.heartbeat('m1', 1)).toBe(ERROR.NONE)
    const third = join()
    await settle()
    expect(group.heartbeat('m1', 1)).toBe(ERROR.REBALANCE_IN_PROGRESS)
    const again = [join({ memberId: 'm1' }), join({ memberId: 'm2' })]
    expect(await third).toMatchObject({ generationId: 2, leader: 'm1' })
    expect((await Promise.all(again)).map(({ generationId }) => generationId)).toEqual([2, 2])
    expect(group.heartbeat('m1', 1)).toBe(ERROR.ILLEGAL_GENERATION)
  })

  test('goes on without who has not come back in time', async () => {
    await stable(2)
    const third = join()
    const first = join({ memberId: 'm1' })
    // It lives, but does not join.
    for (let at = 0; at < 4; at++) {
      await clock.advance(REBALANCE_MS / 4)
      group.heartbeat('m2', 1)
    }
    expect((await first).members.map(({ memberId }) => memberId)).toEqual(['m1', 'm3'])
    expect(await third).toMatchObject({ generationId: 2 })
    expect(group.heartbeat('m2', 1)).toBe(ERROR.UNKNOWN_MEMBER_ID)
  })

  test('begins when a session ends, and when a member leaves', async () => {
    await stable(3)
    expect(group.leave('m3')).toBe(ERROR.NONE)
    expect(group.heartbeat('m1', 1)).toBe(ERROR.REBALANCE_IN_PROGRESS)
    const rest = [join({ memberId: 'm1' }), join({ memberId: 'm2' })]
    await settle()
    const [leader] = await Promise.all(rest)
    expect(leader?.generationId).toBe(2)
    await group.sync({ memberId: 'm1', generationId: 2 }, [])
    await clock.advance(SESSION_MS / 2)
    group.heartbeat('m1', 2)
    await clock.advance(SESSION_MS / 2)
    expect(group.heartbeat('m1', 2)).toBe(ERROR.REBALANCE_IN_PROGRESS)
    expect(group.heartbeat('m2', 2)).toBe(ERROR.UNKNOWN_MEMBER_ID)
  })

  test('sends those away who wait for an assignment of the generation before', async () => {
    const joining = [join(), join()]
    await clock.advance(FIRST_REBALANCE_MS)
    await Promise.all(joining)
    const waiting = group.sync({ memberId: 'm2', generationId: 1 }, [])
    void join()
    expect(await waiting).toMatchObject({ errorCode: ERROR.REBALANCE_IN_PROGRESS })
  })

  test('is not what a follower that repeats itself causes, but what the leader does', async () => {
    await stable(2)
    expect(await join({ memberId: 'm2' })).toMatchObject({ generationId: 1 })
    expect(await now(join({ memberId: 'm1' }))).toBeUndefined()
    expect(group.heartbeat('m2', 1)).toBe(ERROR.REBALANCE_IN_PROGRESS)
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
  await stable(2)
  expect(group.view).toMatchObject({
    ...{ state: 'Stable', protocolType: 'consumer', protocolName: 'range' },
    members: [
      { memberId: 'm1', clientId: 'test', clientHost: '127.0.0.1', metadata: Buffer.from('r') },
      { memberId: 'm2', assignment: Buffer.from('of m2') },
    ],
  })
  group.leave('m2')
  expect(group.view.state).toBe('PreparingRebalance')
})

describe('commits', () => {
  test('are taken of members of the generation, and of anybody while there are none', async () => {
    expect(group.commitError('', -1)).toBe(ERROR.NONE)
    expect(group.commitError('m1', 1)).toBe(ERROR.UNKNOWN_MEMBER_ID)
    await stable(1)
    expect(group.commitError('', -1)).toBe(ERROR.UNKNOWN_MEMBER_ID)
    expect(group.commitError('m1', 1)).toBe(ERROR.NONE)
    expect(group.commitError('m1', 0)).toBe(ERROR.ILLEGAL_GENERATION)
  })
})

test('a group whose shard goes sends everybody to look for it', async () => {
  await stable(2)
  const waiting = join({ memberId: 'm1' })
  group.close()
  expect(await waiting).toMatchObject({ errorCode: ERROR.NOT_COORDINATOR })
  expect(group.isIdle).toBe(true)
})
