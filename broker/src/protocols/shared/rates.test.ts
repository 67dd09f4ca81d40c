import { describe, expect, test } from 'vitest'
import { VirtualClock } from '../../testing/virtual-clock.ts'
import { type RateLimit, Rates } from './rates.ts'
import { TokenBucket } from './token-bucket.ts'

const open: RateLimit = { messages: null, bytes: null }

function setUp(limits: { client?: RateLimit; user?: RateLimit; listener?: RateLimit }) {
  const clock = new VirtualClock()
  const all = { client: open, user: open, listener: open, ...limits }
  return { clock, rates: new Rates(clock, () => ({ ...all, isOpen: false })) }
}

describe('TokenBucket', () => {
  test('spends on credit, and holds a second’s worth at most', async () => {
    const clock = new VirtualClock()
    const bucket = new TokenBucket(clock)
    await clock.advance(60_000)
    expect(bucket.spend(100, 100)).toBe(0)
    expect(bucket.spend(100, 50)).toBe(500)
    await clock.advance(250)
    expect(bucket.spend(100, 0)).toBe(250)
    await clock.advance(250)
    expect(bucket.spend(100, 0)).toBe(0)
    expect(bucket.take(100)).toBe(false)
    await clock.advance(10)
    expect(bucket.take(100)).toBe(true)
  })
})

describe('Rates', () => {
  test('holds each client to its own rate', async () => {
    const { clock, rates } = setUp({ client: { messages: 10, bytes: null } })
    const [a, b] = [rates.enter('u', 'mqtt'), rates.enter('u', 'mqtt')]
    await clock.advance(2_000)
    expect(a.spend({ messages: 20, bytes: 1e9 })).toBe(1_000)
    expect(b.spend({ messages: 5, bytes: 1e9 })).toBe(0)
  })

  test('holds the clients of a user, and of a listener, to one rate together', async () => {
    for (const limits of [
      { user: { messages: null, bytes: 1_000 } },
      { listener: { messages: null, bytes: 1_000 } },
    ]) {
      const { clock, rates } = setUp(limits)
      const [a, b, c] = [
        rates.enter('u', 'mqtt'),
        rates.enter('u', 'mqtt'),
        rates.enter('other', 'mqtts'),
      ]
      await clock.advance(2_000)
      expect(a.spend({ messages: 0, bytes: 1_000 })).toBe(0)
      expect(b.spend({ messages: 0, bytes: 500 })).toBe(500)
      expect(c.spend({ messages: 0, bytes: 500 })).toBe(0)
      a.leave()
      expect(b.spend({ messages: 0, bytes: 0 })).toBe(500)
      b.leave()
      await clock.advance(2_000)
      expect(rates.enter('u', 'mqtt').spend({ messages: 0, bytes: 0 })).toBe(0)
    }
  })
})
