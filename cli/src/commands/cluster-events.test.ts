import { expect, test } from 'vitest'
import { formatShards } from './cluster-events.ts'

test.each([
  [[], '-'],
  [[5], '1: 5'],
  [[3, 1, 2, 7], '4: 1-3,7'],
  [[0, 2, 4, 6, 8, 10, 12, 14, 16], '9: 0,2,4,6,8,10,12,14,...'],
])('formatShards of %j is %s', (shards, text) => {
  expect(formatShards(shards)).toBe(text)
})
