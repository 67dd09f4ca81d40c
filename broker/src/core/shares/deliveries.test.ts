// Who is given which record, and how often, in virtual time.

import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { Deliveries, type Span, type StoredDeliveries, type Verdict } from './deliveries.ts'

const LOCK_MS = 1_000
const limits = { lockMs: LOCK_MS, deliveriesMax: 3, inFlightMax: 100 }

let deliveries: Deliveries

function begun(stored: StoredDeliveries = { start: 0, runs: [] }): Deliveries {
  return new Deliveries(() => limits, stored)
}

beforeEach(() => {
  deliveries = begun()
})

/** Batches of ten records. */
function batches(...numbers: readonly number[]): Span[] {
  return numbers.map((at) => ({ first: at * 10, last: at * 10 + 9 }))
}

function acquire(member: string, of: readonly Span[], more: object = {}, nowMs = 0) {
  return deliveries.acquire(
    member,
    { batches: of, recordsMax: 100, isStrict: false, ...more },
    nowMs,
  )
}

describe('records', () => {
  test('are given to one at a time, in whole batches', () => {
    expect(acquire('a', batches(0, 1), { recordsMax: 5 })).toEqual([
      { first: 0, last: 9, count: 1 },
    ])
    expect(deliveries.next).toBe(10)
    expect(acquire('b', batches(0, 1))).toEqual([{ first: 10, last: 19, count: 1 }])
    expect(acquire('b', batches(0, 1))).toEqual([])
  })

  test('are no more than are wanted, if that is wanted', () => {
    expect(acquire('a', batches(0), { recordsMax: 3, isStrict: true })).toEqual([
      { first: 0, last: 2, count: 1 },
    ])
    expect(acquire('b', batches(0))).toEqual([{ first: 3, last: 9, count: 1 }])
  })

  test('that are accepted are done, and what is released is given again', () => {
    acquire('a', batches(0))
    const verdicts: Verdict[] = Array.from({ length: 10 }, () => 'accept')
    verdicts[4] = 'release'
    expect(deliveries.settle('a', [{ first: 0, last: 9, verdicts }], 0)).toBe(true)
    expect([deliveries.start, deliveries.next, deliveries.end]).toEqual([4, 4, 10])
    expect(acquire('b', batches(0))).toEqual([{ first: 4, last: 4, count: 2 }])
    deliveries.settle('b', [{ first: 4, last: 4, verdicts: ['reject'] }], 0)
    expect(deliveries.stored).toEqual({ start: 10, runs: [] })
  })

  test('are settled by who has them, all or none', () => {
    acquire('a', batches(0))
    const accept = [{ first: 5, last: 12, verdicts: ['accept' as const] }]
    expect(deliveries.settle('a', accept, 0)).toBe(false)
    expect(deliveries.settle('b', [{ first: 0, last: 9, verdicts: ['accept'] }], 0)).toBe(false)
    expect(deliveries.stored.runs).toEqual([[0, 9, 0, 1]])
    deliveries.settle('a', [{ first: 0, last: 9, verdicts: ['accept'] }], 0)
    // Once more: they are below the start, and done.
    expect(deliveries.settle('a', [{ first: 0, last: 9, verdicts: ['accept'] }], 0)).toBe(true)
  })

  test('come back when their lock ends, unless it is renewed', () => {
    acquire('a', batches(0), { recordsMax: 5, isStrict: true })
    acquire('a', batches(0), { recordsMax: 5, isStrict: true })
    deliveries.settle('a', [{ first: 0, last: 4, verdicts: ['renew'] }], LOCK_MS / 2)
    expect(deliveries.nextMs).toBe(LOCK_MS)
    expect(deliveries.expire(LOCK_MS)).toBe(true)
    expect(acquire('b', batches(0), {}, LOCK_MS)).toEqual([{ first: 5, last: 9, count: 2 }])
    expect(deliveries.settle('a', [{ first: 5, last: 9, verdicts: ['accept'] }], LOCK_MS)).toBe(
      false,
    )
  })

  test('are given up after so many times', () => {
    for (let time = 1; time <= limits.deliveriesMax; time++) {
      expect(acquire('a', batches(0))).toEqual([{ first: 0, last: 9, count: time }])
      deliveries.release('a')
    }
    expect(acquire('a', batches(0))).toEqual([])
    expect(deliveries.start).toBe(10)
  })

  test('are not looked at without bound', () => {
    acquire('a', batches(...Array.from({ length: 12 }, (_, at) => at)), { recordsMax: 1_000 })
    expect(deliveries.end).toBe(limits.inFlightMax)
    expect(deliveries.next).toBeUndefined()
  })

  test('that are gone from the log are done, and so are those that were compacted away', () => {
    acquire('a', batches(0, 2))
    expect(deliveries.stored.runs).toContainEqual([10, 19, 1, 0])
    expect(deliveries.trim(5)).toBe(true)
    expect(deliveries.start).toBe(5)
    deliveries.trim(40)
    expect([deliveries.start, deliveries.end]).toEqual([40, 40])
  })
})

test('the next owner knows what is done and how often the rest was given', () => {
  acquire('a', batches(0, 1))
  deliveries.settle('a', [{ first: 10, last: 19, verdicts: ['accept'] }], 0)
  deliveries = begun(JSON.parse(JSON.stringify(deliveries.stored)) as StoredDeliveries)
  expect(acquire('b', batches(0, 1))).toEqual([{ first: 0, last: 9, count: 2 }])
})

const steps = fc.array(
  fc.record({
    what: fc.constantFrom('acquire', 'accept', 'release', 'reject', 'expire', 'leave', 'move'),
    member: fc.constantFrom('a', 'b', 'c'),
    number: fc.nat(30),
    count: fc.integer({ min: 1, max: 15 }),
  }),
  { maxLength: 80 },
)

test('nothing is given to two, nothing too often, and nothing that is done comes back', () => {
  fc.assert(
    fc.property(steps, (all) => {
      deliveries = begun()
      let nowMs = 0
      const held = new Map<number, { who: string; untilMs: number }>()
      const done = new Set<number>()
      const counts = new Map<number, number>()
      for (const { what, member, number, count } of all) {
        nowMs += 100
        deliveries.expire(nowMs)
        for (const [offset, { untilMs }] of held) if (untilMs <= nowMs) held.delete(offset)
        if (what === 'acquire') {
          const next = deliveries.next
          if (next === undefined) continue
          const at = Math.floor(next / 10)
          const of = batches(at, at + 1)
          for (const run of acquire(member, of, { recordsMax: count, isStrict: true }, nowMs)) {
            for (let offset = run.first; offset <= run.last; offset++) {
              expect(held.has(offset)).toBe(false)
              expect(done.has(offset)).toBe(false)
              held.set(offset, { who: member, untilMs: nowMs + LOCK_MS })
              counts.set(offset, run.count)
              expect(run.count).toBeLessThanOrEqual(limits.deliveriesMax)
            }
          }
        } else if (what === 'expire') {
          nowMs += LOCK_MS
          deliveries.expire(nowMs)
          held.clear()
        } else if (what === 'leave') {
          deliveries.release(member)
          for (const [offset, { who }] of held) if (who === member) held.delete(offset)
        } else if (what === 'move') {
          deliveries = begun(JSON.parse(JSON.stringify(deliveries.stored)) as StoredDeliveries)
          held.clear()
        } else {
          const first = deliveries.start + number
          const last = first + count - 1
          const mine = Array.from({ length: count }, (_, at) => first + at)
          const isMine = mine.every((offset) => held.get(offset)?.who === member)
          expect(deliveries.settle(member, [{ first, last, verdicts: [what] }], nowMs)).toBe(isMine)
          if (!isMine) continue
          for (const offset of mine) {
            held.delete(offset)
            if (what !== 'release') done.add(offset)
          }
        }
      }
    }),
    { numRuns: 500 },
  )
})
