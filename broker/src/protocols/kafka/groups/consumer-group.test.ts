// Groups whose coordinator assigns partitions, in virtual time, as their members see them.

import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { settle, VirtualClock } from '../../../testing/virtual-clock.ts'
import { ERROR } from '../errors.ts'
import { CONSUMER_HEARTBEAT_MS, CONSUMER_SESSION_MS } from '../limits.ts'
import {
  type ConsumerBeat,
  ConsumerGroup,
  type ConsumerHeartbeat,
  type StoredConsumerGroup,
} from './consumer-group.ts'
import { NO_PARTITIONS, type PartitionSet, without } from './partition-set.ts'
import type { CataloguedTopic } from './subscribed-topics.ts'

const REBALANCE_MS = 20_000

let clock: VirtualClock
let topics: CataloguedTopic[]
let revision: number
let group: ConsumerGroup
let stored: StoredConsumerGroup | undefined
let isKept: boolean

const catalogue = {
  get revision() {
    return revision
  },
  get: (name: string) => topics.find((topic) => topic.name === name),
  byId: (id: string) => topics.find((topic) => topic.id === id),
  all: () => topics,
}

function topic(name: string, partitions: number): void {
  topics = [...topics.filter((one) => one.name !== name), { id: `id-${name}`, name, partitions }]
  revision++
}

function begun(): ConsumerGroup {
  const made: ConsumerGroup = new ConsumerGroup(
    {
      ...{
        clock,
        topics: catalogue,
        sessionMs: () => CONSUMER_SESSION_MS,
        onClassicOnly: () => undefined,
      },
      save: () => {
        if (isKept) stored = JSON.parse(JSON.stringify(made.stored)) as StoredConsumerGroup
        return Promise.resolve(isKept)
      },
    },
    stored,
  )
  return made
}

beforeEach(() => {
  clock = new VirtualClock()
  topics = []
  revision = 0
  stored = undefined
  isKept = true
  topic('orders', 4)
  group = begun()
})

/** A member as clients are: it gives up what it is told to with its next heartbeat. */
class Member {
  readonly id: string
  readonly more: Partial<ConsumerHeartbeat>
  epoch = 0
  owned: PartitionSet = NO_PARTITIONS
  /** It has missed an answer: clients say all then, and are told all. */
  hasMissed = false

  constructor(id: string, more: Partial<ConsumerHeartbeat> = {}) {
    this.id = id
    this.more = more
  }

  /** `isFull`: it says all that it knows. */
  async beat(isFull = true, more: Partial<ConsumerHeartbeat> = {}): Promise<ConsumerBeat> {
    const all = { rebalanceMs: REBALANCE_MS, names: ['orders'], pattern: null, ...this.more }
    const rest = { rebalanceMs: -1, names: null, pattern: null }
    const beat = await group.heartbeat({
      ...{ instanceId: null, rackId: null, assignor: null, clientId: 'c', clientHost: 'h' },
      ...{ memberId: this.id, memberEpoch: this.epoch },
      ...(isFull || this.hasMissed || this.epoch === 0 ? all : rest),
      ...(this.more.instanceId !== undefined && { instanceId: this.more.instanceId }),
      owned: this.epoch === 0 ? NO_PARTITIONS : this.owned,
      maySee: this.more.maySee ?? (() => true),
      ...more,
    })
    this.hasMissed = false
    if (beat.errorCode === ERROR.NONE && beat.memberEpoch >= 0) {
      this.epoch = beat.memberEpoch
      if (beat.assigned !== undefined) this.owned = beat.assigned
    } else if (
      [ERROR.FENCED_MEMBER_EPOCH, ERROR.UNKNOWN_MEMBER_ID].includes(beat.errorCode as 25)
    ) {
      this.epoch = 0
      this.owned = NO_PARTITIONS
    }
    return beat
  }
}

async function rounds(members: readonly Member[], count = 4): Promise<void> {
  for (let at = 0; at < count; at++) for (const member of members) await member.beat(false)
}

function loads(members: readonly Member[]): number[] {
  return members.map(({ owned }) => owned.size).sort()
}

describe('members', () => {
  test('have everything, then share it: what is given up first is given on after', async () => {
    const [a, b] = [new Member('a'), new Member('b')]
    expect(await a.beat()).toMatchObject({ errorCode: 0, memberId: 'a', memberEpoch: 1 })
    expect(a.owned.size).toBe(4)
    expect(await b.beat()).toMatchObject({ memberEpoch: 2, assigned: new Set() })
    expect(group.state).toBe('Reconciling')
    // It is told what to keep, at the epoch of before, until it says that it has given up the rest.
    const told = await a.beat(false)
    expect(told).toMatchObject({ memberEpoch: 1 })
    expect(told.assigned?.size).toBe(2)
    expect((await b.beat(false)).assigned).toBeUndefined()
    expect(await a.beat(false)).toMatchObject({ memberEpoch: 2, assigned: undefined })
    await b.beat(false)
    expect(loads([a, b])).toEqual([2, 2])
    expect(group.state).toBe('Stable')
  })

  test('are told their assignment when it changes, or when they say all', async () => {
    const a = new Member('a')
    await a.beat()
    expect((await a.beat(false)).assigned).toBeUndefined()
    expect((await a.beat()).assigned?.size).toBe(4)
  })

  test('that go leave their partitions to the others', async () => {
    const members = ['a', 'b', 'c'].map((id) => new Member(id))
    for (const one of members) await one.beat()
    await rounds(members)
    const [a, b, c] = members as [Member, Member, Member]
    expect(await c.beat(false, { memberEpoch: -1 })).toMatchObject({
      errorCode: 0,
      memberEpoch: -1,
    })
    await rounds([a, b])
    expect(loads([a, b])).toEqual([2, 2])
  })

  test('are out when their session ends, or when they do not give up what they must', async () => {
    const [a, b] = [new Member('a'), new Member('b')]
    await a.beat()
    await b.beat()
    await a.beat(false)
    // It lives, but goes on reading.
    for (let ms = 0; ms < REBALANCE_MS; ms += REBALANCE_MS / 4) {
      await clock.advance(REBALANCE_MS / 4)
      await a.beat(false, { owned: null })
      await b.beat(false)
    }
    expect(await a.beat(false, { memberEpoch: 1 })).toMatchObject({
      errorCode: ERROR.UNKNOWN_MEMBER_ID,
    })
    await b.beat(false)
    expect(b.owned.size).toBe(4)
    await clock.advance(CONSUMER_SESSION_MS)
    await settle()
    expect(group.state).toBe('Empty')
    expect(stored?.members).toEqual([])
  })

  test('at another epoch are fenced, but for one that has missed an answer', async () => {
    const [a, b] = [new Member('a'), new Member('b')]
    await a.beat()
    expect(await a.beat(false, { memberEpoch: 7 })).toMatchObject({
      errorCode: ERROR.FENCED_MEMBER_EPOCH,
    })
    await a.beat()
    await b.beat()
    await a.beat(false)
    await a.beat(false)
    expect(a.epoch).toBe(2)
    expect(await a.beat(false, { memberEpoch: 1 })).toMatchObject({ errorCode: 0, memberEpoch: 2 })
    const owned = new Set([...a.owned, 'id-orders/9'])
    expect(await a.beat(false, { memberEpoch: 1, owned })).toMatchObject({
      errorCode: ERROR.FENCED_MEMBER_EPOCH,
    })
  })

  test('hear of nothing that is not stored', async () => {
    isKept = false
    expect(await new Member('a').beat()).toMatchObject({
      ...{ errorCode: ERROR.NOT_COORDINATOR, assigned: undefined },
    })
  })

  test.each([
    ['no id', { memberId: '' }, ERROR.INVALID_REQUEST],
    ['an empty name', { instanceId: '' }, ERROR.INVALID_REQUEST],
    ['nothing to read', { names: null }, ERROR.INVALID_REQUEST],
    ['no time to rebalance', { rebalanceMs: -1 }, ERROR.INVALID_REQUEST],
    ['partitions already', { owned: new Set(['id-orders/0']) }, ERROR.INVALID_REQUEST],
    ['an epoch that there is not', { memberEpoch: -3 }, ERROR.INVALID_REQUEST],
    ['a leave of a dynamic member for a while', { memberEpoch: -2 }, ERROR.INVALID_REQUEST],
    ['an unknown assignor', { assignor: 'mine' }, ERROR.UNSUPPORTED_ASSIGNOR],
    ['a bad pattern', { pattern: '(' }, ERROR.INVALID_REGULAR_EXPRESSION],
    ['a pattern that looks ahead', { pattern: 'a(?=b)' }, ERROR.INVALID_REGULAR_EXPRESSION],
  ])('with %s are refused', async (_, more, errorCode) => {
    expect(await new Member('a').beat(true, more)).toMatchObject({ errorCode })
    expect(group.isEmpty).toBe(true)
  })
})

describe('topics', () => {
  test('by a pattern are read when they come, and given up when they go', async () => {
    const a = new Member('a', { names: [], pattern: 'ord.*' })
    await a.beat()
    topic('ordinary', 2)
    topic('other', 2)
    await a.beat(false)
    expect(a.owned.size).toBe(6)
    topics = topics.filter(({ name }) => name !== 'orders')
    revision++
    await rounds([a])
    expect([...a.owned].sort()).toEqual(['id-ordinary/0', 'id-ordinary/1'])
  })

  test('by a pattern are left out while the client may not see them', async () => {
    const visible = new Set(['orders'])
    const maySee = (name: string) => visible.has(name)
    const a = new Member('a', { names: [], pattern: 'ord.*', maySee })
    topic('ordinary', 2)
    await a.beat()
    expect([...a.owned].some((key) => key.startsWith('id-ordinary'))).toBe(false)
    expect(a.owned.size).toBe(4)
    const stored = group.stored
    visible.add('ordinary')
    await rounds([a])
    expect(a.owned.size).toBe(6)
    visible.delete('orders')
    await rounds([a])
    expect([...a.owned].sort()).toEqual(['id-ordinary/0', 'id-ordinary/1'])
    // The next coordinator does not hand out what was hidden before it has heard the member.
    expect(stored.members[0]?.hidden).toEqual(['ordinary'])
  })

  test('that grow are assigned anew, also by the next coordinator', async () => {
    const a = new Member('a')
    await a.beat()
    topic('orders', 5)
    group.close()
    group = begun()
    await a.beat(false)
    expect(a.owned.size).toBe(5)
  })

  test('of a pattern that would take other engines for ever are matched at once', async () => {
    topic('a'.repeat(200), 1)
    const a = new Member('a', { names: [], pattern: '(a|a|aa)*b' })
    const startedMs = performance.now()
    await a.beat()
    expect(performance.now() - startedMs).toBeLessThan(1_000)
    expect(a.owned.size).toBe(0)
  })

  test('are spread by the assignor that most members want', async () => {
    const members = ['a', 'b', 'c'].map(
      (id) => new Member(id, { assignor: id === 'a' ? 'uniform' : 'range' }),
    )
    for (const one of members) await one.beat()
    await rounds(members)
    expect(group.assignor).toBe('range')
    expect([...(members[0]?.owned ?? [])]).toEqual(['id-orders/0', 'id-orders/1'])
  })
})

describe('a static member', () => {
  const name = { instanceId: 'one' }

  test('that leaves for a while has its partitions when it is back, by another id', async () => {
    const [a, b] = [new Member('a', name), new Member('b')]
    await a.beat()
    await b.beat()
    await rounds([a, b])
    const { epoch } = group
    const { owned } = a
    expect(await a.beat(false, { memberEpoch: -2 })).toMatchObject({
      errorCode: 0,
      memberEpoch: -2,
    })
    await b.beat(false)
    const again = new Member('a2', name)
    await again.beat()
    expect(again.owned).toEqual(owned)
    expect(group.epoch).toBe(epoch)
    expect(await a.beat(false, { memberEpoch: 2 })).toMatchObject({
      errorCode: ERROR.FENCED_INSTANCE_ID,
    })
  })

  test('cannot be two', async () => {
    await new Member('a', name).beat()
    expect(await new Member('a2', name).beat()).toMatchObject({
      errorCode: ERROR.UNRELEASED_INSTANCE_ID,
    })
  })

  test('that does not come back is out with its session', async () => {
    const [a, b] = [new Member('a', name), new Member('b')]
    await a.beat()
    await a.beat(false, { memberEpoch: -2 })
    await b.beat()
    for (let ms = 0; ms <= CONSUMER_SESSION_MS; ms += CONSUMER_HEARTBEAT_MS) {
      await clock.advance(CONSUMER_HEARTBEAT_MS)
      await b.beat(false)
    }
    expect(b.owned.size).toBe(4)
  })
})

/** What may happen: the number says to which member. */
const steps = fc.array(
  fc.tuple(
    fc.constantFrom('join', 'beat', 'beat', 'beat', 'leave', 'die', 'lose', 'move', 'grow'),
    fc.nat(5),
  ),
  { maxLength: 60 },
)

test('no partition is ever read by two, and in the end all is spread, whatever happens', async () => {
  await fc.assert(
    fc.asyncProperty(steps, async (happening) => {
      stored = undefined
      topics = []
      topic('orders', 4)
      clock = new VirtualClock()
      group = begun()
      const alive = new Map<number, Member>()
      let ids = 0
      for (const [what, who] of happening) {
        const member = alive.get(who)
        if (what === 'join' && member === undefined) {
          alive.set(who, new Member(`m${ids++}`))
          await alive.get(who)?.beat()
        } else if (what === 'beat') await member?.beat(false)
        else if (what === 'leave' && member !== undefined) {
          alive.delete(who)
          await member.beat(false, { memberEpoch: -1 })
        } else if (what === 'die' && member !== undefined) {
          alive.delete(who)
          // The others go on, more often than they have time to give something up.
          for (let part = 0; part < 10; part++) {
            await clock.advance(CONSUMER_SESSION_MS / 10)
            for (const other of alive.values()) await other.beat(false)
          }
        } else if (what === 'lose' && member !== undefined && member.epoch > 0) {
          // It is answered, but does not hear it.
          const before = { epoch: member.epoch, owned: member.owned }
          await member.beat(false)
          if (member.epoch > 0) Object.assign(member, before, { hasMissed: true })
        } else if (what === 'move') {
          group.close()
          group = begun()
        } else if (what === 'grow' && (topics[0]?.partitions ?? 0) < 9) {
          topic('orders', (topics[0]?.partitions ?? 0) + 1)
        }
        const read = [...alive.values()].flatMap(({ owned }) => [...owned])
        expect(new Set(read).size).toBe(read.length)
      }
      const rest = [...alive.values()]
      await rounds(rest, 12)
      const read = rest.flatMap(({ owned }) => [...owned])
      expect(read.length).toBe(rest.length === 0 ? 0 : topics[0]?.partitions)
      if (rest.length > 0) {
        expect(group.state).toBe('Stable')
        const sizes = loads(rest)
        expect((sizes.at(-1) ?? 0) - (sizes[0] ?? 0)).toBeLessThanOrEqual(1)
      }
      group.close()
    }),
    { numRuns: 300 },
  )
})

test('a step takes nothing from a member but what its target lacks', async () => {
  const [a, b] = [new Member('a'), new Member('b')]
  await a.beat()
  const before = a.owned
  await b.beat()
  await a.beat(false)
  const target = group.members.get('a')?.target ?? NO_PARTITIONS
  expect(without(before, a.owned)).toEqual(without(before, target))
})
