import { expect, test } from 'vitest'
import { type ShardCounters, shardRates } from './runtime-report.ts'

function counters(shard: number, more: Partial<ShardCounters> = {}): ShardCounters {
  return { shard, epoch: 1, commits: 0, operations: 0, bytes: 0, sessions: 2, ...more }
}

test('shardRates counts since the last report, or since the shard was opened', () => {
  const earlier = [counters(1, { commits: 10, operations: 100, bytes: 1_000 }), counters(2)]
  const newest = [
    counters(1, { commits: 20, operations: 300, bytes: 5_000 }),
    counters(2, { epoch: 7, commits: 4 }),
    counters(3, { commits: 6 }),
  ]
  expect(shardRates(newest, earlier, 2)).toEqual([
    {
      shard: 1,
      commitsPerSecond: 5,
      operationsPerSecond: 100,
      bytesPerSecond: 2_000,
      sessions: 2,
    },
    { shard: 2, commitsPerSecond: 2, operationsPerSecond: 0, bytesPerSecond: 0, sessions: 2 },
    { shard: 3, commitsPerSecond: 3, operationsPerSecond: 0, bytesPerSecond: 0, sessions: 2 },
  ])
})
