import { describe, expect, test } from 'vitest'
import { outages, recoveries } from './history.ts'

const ok = (client: string, startedMs: number, endedMs: number) => {
  return { client, startedMs, endedMs, outcome: 'ok' as const }
}
const sends = [
  ok('a', 90, 100),
  ok('a', 110, 120),
  { ...ok('a', 120, 400), outcome: 'unknown' as const },
  ok('a', 500, 700),
  ok('a', 700, 710),
  ok('b', 140, 900),
]

describe('what a fault meant to clients', () => {
  test('is the longest time without success, until the first one after it', () => {
    // a: 110 to 120, then until 700; b: until 900.
    expect(outages(sends, ['a', 'b'], { fromMs: 110, toMs: 300 })).toEqual([580, 790])
  })

  test('counts what lasts when nothing came any more', () => {
    expect(outages(sends, ['a', 'c'], { fromMs: 705, toMs: 1_000 })).toEqual([290, 295])
  })

  test('and the first success that was asked for after a moment', () => {
    expect(recoveries(sends, ['a', 'b'], 300)).toEqual([400, undefined])
  })
})
