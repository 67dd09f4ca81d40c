import { describe, expect, test } from 'vitest'
import { growthOf, RULES } from './growth.ts'

const MIB = 1024 * 1024
const range = (count: number, of: (at: number) => number) =>
  Array.from({ length: count }, (_, at) => of(at))

describe('growth', () => {
  test('is seen in what rises all the time, and how far it may rise is said', () => {
    const growth = growthOf(
      range(100, (at) => (50 + at) * MIB),
      RULES.heap,
    )
    expect(growth?.hasGrown).toBe(true)
    expect(growth?.allowed).toBeCloseTo((growth?.first ?? 0) * 1.1 + 8 * MIB)
  })

  test('is not what happens in the first quarter', () => {
    const points = range(100, (at) => (at < 25 ? at * 10 : 250) * MIB)
    expect(growthOf(points, RULES.rss)).toMatchObject({ hasGrown: false, first: 250 * MIB })
  })

  test('is not a saw whose teeth become longer, when what is left after each is the same', () => {
    const points = range(100, (at) => (50 + (at % 2) * at) * MIB)
    expect(growthOf(points, RULES.heap)?.hasGrown).toBe(false)
  })

  test('is a saw whose feet rise', () => {
    const points = range(100, (at) => (50 + at / 2 + (at % 4) * 30) * MIB)
    expect(growthOf(points, RULES.heap)?.hasGrown).toBe(true)
  })

  test('of open files is seen when one in a minute is left over four hours', () => {
    expect(
      growthOf(
        range(240, (at) => 100 + at),
        RULES.files,
      )?.hasGrown,
    ).toBe(true)
    expect(
      growthOf(
        range(240, (at) => 100 + (at % 9)),
        RULES.files,
      )?.hasGrown,
    ).toBe(false)
  })

  test('is not judged by a few points', () => {
    expect(
      growthOf(
        range(10, (at) => at),
        RULES.files,
      ),
    ).toBeUndefined()
  })
})
