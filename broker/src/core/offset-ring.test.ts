import fc from 'fast-check'
import { expect, test } from 'vitest'
import { OffsetRing } from './offset-ring.ts'

test('OffsetRing keeps a number for each offset as a map does, above 32 bits too', () => {
  const change = fc.record({
    kind: fc.constantFrom('set', 'delete', 'get'),
    offset: fc.oneof(
      fc.nat(100),
      fc.nat(70_000),
      fc.nat(100).map((low) => 2 ** 33 + low),
    ),
    value: fc.nat(),
  })
  fc.assert(
    fc.property(fc.array(change, { maxLength: 200 }), (changes) => {
      const ring = new OffsetRing()
      const map = new Map<number, number>()
      for (const { kind, offset, value } of changes) {
        if (kind === 'set') {
          ring.set(offset, value)
          map.set(offset, value)
        } else if (kind === 'delete') {
          expect(ring.delete(offset)).toBe(map.get(offset))
          map.delete(offset)
        }
        expect(ring.get(offset)).toBe(map.get(offset))
        expect(ring.size).toBe(map.size)
      }
    }),
    { numRuns: 300 },
  )
})

test('OffsetRing takes offsets that no ring could tell apart', () => {
  const ring = new OffsetRing()
  for (const [offset, value] of [
    [5, 1],
    [2 ** 33 + 5, 2],
    [2 ** 34 + 5, 3],
  ] as const)
    ring.set(offset, value)
  expect([ring.size, ring.get(5), ring.get(2 ** 33 + 5), ring.get(2 ** 34 + 5)]).toEqual([
    3, 1, 2, 3,
  ])
  ring.delete(5)
  ring.set(2 ** 33 + 5, 4)
  expect([ring.size, ring.get(5), ring.delete(2 ** 33 + 5), ring.get(2 ** 33 + 5)]).toEqual([
    2,
    undefined,
    4,
    undefined,
  ])
})
