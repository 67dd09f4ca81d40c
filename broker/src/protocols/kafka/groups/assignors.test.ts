// What must hold of every assignment, and how much of it stays when members and topics come and go.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ASSIGNORS, type AssignedMember, type AssignorName } from './assignors.ts'
import { NO_PARTITIONS, type PartitionSet, topicOfKey, without } from './partition-set.ts'

function membersOf(
  topics: readonly (readonly string[])[],
  before: ReadonlyMap<string, PartitionSet> = new Map(),
): AssignedMember[] {
  return topics.map((each, at) => ({
    ...{ id: `m${at}`, order: `m${at}`, topics: new Set(each) },
    before: before.get(`m${at}`) ?? NO_PARTITIONS,
  }))
}

const counts = fc.dictionary(fc.constantFrom('a', 'b', 'c', 'd'), fc.nat(20), { minKeys: 1 })
const wishes = fc.array(fc.subarray(['a', 'b', 'c', 'd', 'gone']), { minLength: 1, maxLength: 12 })
const NAMES: readonly AssignorName[] = ['uniform', 'range']

function sizes(assigned: ReadonlyMap<string, PartitionSet>): number[] {
  return [...assigned.values()].map(({ size }) => size)
}

describe.each(NAMES)('%s', (name) => {
  const assign = ASSIGNORS[name]

  test('gives every partition that anybody reads to one member that reads it', () => {
    fc.assert(
      fc.property(counts, wishes, wishes, (topics, first, second) => {
        const partitions = new Map(Object.entries(topics))
        const before = assign({ members: membersOf(first), partitions })
        const members = membersOf(second, before)
        const assigned = assign({ members, partitions })
        const all = [...assigned.values()].flatMap((set) => [...set])
        expect(new Set(all).size).toBe(all.length)
        for (const { id, topics: reads } of members) {
          for (const key of assigned.get(id) ?? []) expect(reads.has(topicOfKey(key))).toBe(true)
        }
        const read = [...partitions].filter(([topic]) =>
          members.some(({ topics: reads }) => reads.has(topic)),
        )
        expect(all.length).toBe(read.reduce((sum, [, count]) => sum + count, 0))
      }),
    )
  })

  test('is the same in whatever order the members are', () => {
    fc.assert(
      fc.property(counts, wishes, (topics, each) => {
        const partitions = new Map(Object.entries(topics))
        const members = membersOf(each)
        const one = assign({ members, partitions })
        const other = assign({ members: members.toReversed(), partitions })
        for (const [id, set] of one)
          expect([...set].sort()).toEqual([...(other.get(id) ?? [])].sort())
      }),
    )
  })

  test('changes nothing when nothing has changed', () => {
    fc.assert(
      fc.property(counts, wishes, (topics, each) => {
        const partitions = new Map(Object.entries(topics))
        const before = assign({ members: membersOf(each), partitions })
        const again = assign({ members: membersOf(each, before), partitions })
        for (const [id, set] of before) expect(again.get(id)).toEqual(set)
      }),
    )
  })
})

describe('uniform', () => {
  const assign = ASSIGNORS.uniform
  const same = fc.record({ topics: counts, first: fc.integer({ min: 1, max: 12 }) })

  test('differs by one at most among members that read the same', () => {
    fc.assert(
      fc.property(same, fc.integer({ min: 1, max: 12 }), ({ topics, first }, second) => {
        const partitions = new Map(Object.entries(topics))
        const wish = Object.keys(topics)
        const before = assign({ members: membersOf(Array(first).fill(wish)), partitions })
        const members = membersOf(Array(second).fill(wish), before)
        const loads = sizes(assign({ members, partitions }))
        expect(Math.max(...loads) - Math.min(...loads)).toBeLessThanOrEqual(1)
      }),
    )
  })

  test('moves only what a member that comes gets, and what one that goes had', () => {
    fc.assert(
      fc.property(same, ({ topics, first }) => {
        const partitions = new Map(Object.entries(topics))
        const wish = Object.keys(topics)
        const few = membersOf(Array(first).fill(wish))
        const before = assign({ members: few, partitions })
        const more = assign({ members: membersOf(Array(first + 1).fill(wish), before), partitions })
        for (const [id, set] of more) {
          const gained = without(set, before.get(id) ?? NO_PARTITIONS)
          if (id !== `m${first}`) expect(gained.size).toBe(0)
        }
        const after = assign({ members: membersOf(Array(first).fill(wish), more), partitions })
        for (const { id } of few) {
          expect(without(more.get(id) ?? NO_PARTITIONS, after.get(id) ?? NO_PARTITIONS).size).toBe(
            0,
          )
        }
      }),
    )
  })

  test('leaves no partition where another that reads its topic has two fewer', () => {
    fc.assert(
      fc.property(counts, wishes, wishes, (topics, first, second) => {
        const partitions = new Map(Object.entries(topics))
        const before = assign({ members: membersOf(first), partitions })
        const members = membersOf(second, before)
        const assigned = assign({ members, partitions })
        for (const set of assigned.values()) {
          for (const key of set) {
            const others = members.filter(({ topics: reads }) => reads.has(topicOfKey(key)))
            for (const { id } of others) {
              expect((assigned.get(id)?.size ?? 0) + 1).toBeGreaterThanOrEqual(set.size)
            }
          }
        }
      }),
    )
  })

  test('of a thousand members and as many partitions does not take long', () => {
    const partitions = new Map([['a', 2_000]])
    const startedMs = performance.now()
    const before = assign({ members: membersOf(Array(999).fill(['a'])), partitions })
    const assigned = assign({ members: membersOf(Array(1_000).fill(['a']), before), partitions })
    expect(sizes(assigned).every((size) => size === 2)).toBe(true)
    expect(performance.now() - startedMs).toBeLessThan(2_000)
  })
})

test('range gives neighbours, and the same of topics alike to the same member', () => {
  const wish = ['a', 'b']
  const partitions = new Map([
    ['a', 5],
    ['b', 5],
  ])
  const assigned = ASSIGNORS.range({ members: membersOf([wish, wish]), partitions })
  expect([...(assigned.get('m0') ?? [])]).toEqual(['a/0', 'a/1', 'a/2', 'b/0', 'b/1', 'b/2'])
  expect([...(assigned.get('m1') ?? [])]).toEqual(['a/3', 'a/4', 'b/3', 'b/4'])
})
