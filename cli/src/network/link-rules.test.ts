import { seededRandom } from '@robust/chaos'
import { describe, expect, test } from 'vitest'
import { ANY, delayOf, NO_RULE, OUTSIDE, parseRules, ruleFor } from './link-rules.ts'

describe('the rule of a link', () => {
  test('is joined from all that mean it, in its direction only', () => {
    const rules = [
      { ...NO_RULE, from: 'a', to: 'b', cut: true },
      { ...NO_RULE, from: ANY, to: 'b', delayMs: 20 },
      { ...NO_RULE, from: 'a', to: ANY, delayMs: 5, lossPercent: 60 },
      { ...NO_RULE, from: 'a', to: 'b', lossPercent: 70 },
    ]
    expect(ruleFor(rules, 'a', 'b')).toMatchObject({ cut: true, delayMs: 25, lossPercent: 100 })
    expect(ruleFor(rules, 'b', 'a')).toMatchObject({ cut: false, delayMs: 0 })
    expect(ruleFor(rules, 'c', 'b')).toMatchObject({ cut: false, delayMs: 20 })
  })

  test('never concerns who is no node', () => {
    const rules = [{ ...NO_RULE, from: ANY, to: ANY, cut: true }]
    expect(ruleFor(rules, OUTSIDE, 'b').cut).toBe(false)
    expect(ruleFor(rules, 'b', OUTSIDE).cut).toBe(false)
  })

  test('delays are the same for the same seed', () => {
    const rule = { ...NO_RULE, delayMs: 10, jitterMs: 10, lossPercent: 30 }
    const delays = (seed: number) => {
      const random = seededRandom(seed)
      return Array.from({ length: 200 }, () => delayOf(rule, random))
    }
    expect(delays(7)).toEqual(delays(7))
    expect(delays(7)).not.toEqual(delays(8))
    const lost = delays(7).filter((ms) => ms >= 210).length
    expect(lost).toBeGreaterThan(30)
    expect(lost).toBeLessThan(90)
    expect(Math.min(...delays(7))).toBeGreaterThanOrEqual(10)
  })

  test.each([
    [{}, 'rules are a list'],
    [[{ from: 'a' }], 'a rule has from, to'],
    [[{ from: 'a', to: 'b', cut: 1 }], 'a rule has from, to'],
    [[{ from: 'a', to: 'b', lossPercent: 101 }], 'lossPercent is a number from 0 to 100'],
    [[{ from: 'a', to: 'b', delayMs: -1 }], 'delayMs is a number'],
  ])('%j is refused', (value, why) => {
    expect(() => parseRules(value)).toThrow(why)
  })
})
