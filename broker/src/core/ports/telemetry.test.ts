import { expect, test } from 'vitest'
import { LATENCY_BOUNDS_SECONDS, Latencies } from './telemetry.ts'

test('Latencies counts a time below the smallest bound that it does not exceed', () => {
  for (const [at, bound] of LATENCY_BOUNDS_SECONDS.entries()) {
    const latencies = new Latencies()
    latencies.record(bound * 1_000)
    latencies.record(bound * 1_001)
    expect(latencies.counts[at], `${bound} s`).toBe(1)
    expect(latencies.counts[at + 1], `more than ${bound} s`).toBe(1)
  }
})

test('Latencies keeps what is longer than any bound, and the sum', () => {
  const latencies = new Latencies()
  for (const ms of [0, 0.05, 4_000, 1e12]) latencies.record(ms)
  expect(latencies.counts[0]).toBe(2)
  expect(latencies.counts.at(-1)).toBe(2)
  expect(latencies.sumMs).toBe(1e12 + 4_000.05)
})
