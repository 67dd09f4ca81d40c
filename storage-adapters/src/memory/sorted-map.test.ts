import fc from 'fast-check'
import { expect, test } from 'vitest'
import { compareKeys, prefixEnd } from '../key-order.ts'
import { SortedMap } from './sorted-map.ts'

const key = fc.oneof(
  fc.nat(3000).map((number) => `k${number}`),
  fc.string({ unit: 'binary', maxLength: 4 }),
)
const byUtf8 = (a: string, b: string) => Buffer.compare(Buffer.from(a), Buffer.from(b))

test('compareKeys orders as UTF-8 bytes do', () => {
  fc.assert(
    fc.property(key, key, (a, b) => {
      expect(Math.sign(compareKeys(a, b))).toBe(Math.sign(byUtf8(a, b)))
    }),
    { numRuns: 2000 },
  )
})

test('prefixEnd is the least key above all with the prefix', () => {
  fc.assert(
    fc.property(key, key, (prefix, other) => {
      const end = prefixEnd(prefix)
      const isWithin = byUtf8(other, prefix) >= 0 && (end === '' || byUtf8(other, end) < 0)
      expect(isWithin).toBe(
        Buffer.from(other).subarray(0, Buffer.byteLength(prefix)).equals(Buffer.from(prefix)),
      )
    }),
    { numRuns: 2000 },
  )
})

test('SortedMap behaves as a sorted model of itself', () => {
  const change = fc.tuple(fc.boolean(), key)
  const changes = fc.array(change, { maxLength: 3000, size: 'max' })
  fc.assert(
    fc.property(changes, key, key, (list, from, to) => {
      const map = new SortedMap()
      const model = new Set<string>()
      for (const [isPut, name] of list) {
        if (isPut) map.set(name, Buffer.from(name))
        else expect(map.delete(name)).toBe(model.has(name))
        if (isPut) model.add(name)
        else model.delete(name)
      }
      expect(map.size).toBe(model.size)
      const sorted = Array.from(model).sort(byUtf8)
      const expected = sorted.filter(
        (k) => byUtf8(k, from) >= 0 && (to === '' || byUtf8(k, to) < 0),
      )
      expect(Array.from(map.range(from, to), (entry) => entry.key)).toEqual(expected)
      expect(Array.from(map.rangeReverse(from, to), (entry) => entry.key)).toEqual(
        expected.toReversed(),
      )
      expect(Array.from(map.range('', ''), (entry) => entry.key)).toEqual(sorted)
    }),
    { numRuns: 30 },
  )
})
