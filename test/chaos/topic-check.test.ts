import { describe, expect, test } from 'vitest'
import { isGood, judge } from './topic-check.ts'
import type { History, Kept } from './topic-workload.ts'

const history: History = { publisher: 'a', acknowledged: [0, 1, 3], unknown: [2, 4] }

function topic(...values: (number | string)[]): Kept[] {
  return values.map((value, offset) => ({
    partition: 0,
    offset,
    address: 'chaos/a',
    value: String(value),
  }))
}

describe('judge', () => {
  test.each([
    ['everything', topic(0, 1, 2, 3, 4)],
    ['without what is unknown', topic(0, 1, 3)],
    ['with repetitions behind the first', topic(0, 1, 0, 1, 3)],
  ])('finds nothing wrong with %s', (_name, kept) => {
    expect(isGood(judge([history], kept))).toBe(true)
  })

  test.each([
    ['lost', topic(0, 3)],
    ['reordered', topic(0, 3, 1)],
    ['phantom', topic(0, 1, 3, 5)],
    ['gaps', topic(0, 1, 3).map((one) => ({ ...one, offset: one.offset * 2 }))],
  ] as const)('finds what is %s', (fault, kept) => {
    const verdict = judge([history], kept)
    expect(isGood(verdict)).toBe(false)
    expect(verdict[fault].length).toBeGreaterThan(0)
  })

  test('counts repetitions', () => {
    expect(judge([history], topic(0, 0, 1, 3, 3)).duplicates).toBe(2)
  })
})
