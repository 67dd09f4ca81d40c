import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { filterMatches } from './filter-index.ts'
import { covers, overlaps } from './filter-relations.ts'

const level = fc.constantFrom('a', 'b', 'c')
const address = fc.array(level, { minLength: 1, maxLength: 4 }).map((levels) => levels.join('/'))
const filter = fc
  .tuple(fc.array(fc.oneof(level, fc.constant('+')), { maxLength: 4 }), fc.boolean())
  .filter(([levels, rest]) => levels.length > 0 || rest)
  .map(([levels, rest]) => [...levels, ...(rest ? ['#'] : [])].join('/'))

describe('covers and overlaps', () => {
  test.each([
    ['a/#', 'a/+/c', true],
    ['a/#', 'a', true],
    ['a/+', 'a/#', false],
    ['+/b', 'a/b', true],
    ['#', '$SYS/x', false],
    ['$SYS/#', '$SYS/x', true],
  ])('%s covers %s: %s', (pattern, wanted, expected) => {
    expect(covers(pattern, wanted)).toBe(expected)
  })

  test.each([
    ['a/+', '+/b', true],
    ['a/b', 'a/#', true],
    ['a', 'a/#', true],
    ['a/b', 'a/c', false],
    ['#', '$SYS/x', false],
  ])('%s overlaps %s: %s', (one, other, expected) => {
    expect(overlaps(one, other)).toBe(expected)
    expect(overlaps(other, one)).toBe(expected)
  })

  test('what covers matches all that is matched, and what matches the same address overlaps', () => {
    fc.assert(
      fc.property(filter, filter, address, (one, other, at) => {
        if (!filterMatches(other, at)) return
        if (covers(one, other)) expect(filterMatches(one, at)).toBe(true)
        if (filterMatches(one, at)) expect(overlaps(one, other)).toBe(true)
      }),
      { numRuns: 2_000 },
    )
  })
})
