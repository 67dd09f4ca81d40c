import { describe, expect, test } from 'vitest'
import type { Delivery, Outcome, Send } from '../history.ts'
import { checkDeliveries } from './deliveries.ts'

const send = (value: string, outcome: Outcome = 'ok'): Send => {
  return { client: value.slice(0, 1), value, startedMs: 0, endedMs: 1, outcome }
}
const delivered = (...values: string[]): Delivery[] =>
  values.map((value, atMs) => ({ client: 'r', value, atMs, stream: value.slice(0, 1) }))
const STRICT = { exactlyOnce: true, ordered: true }
const kinds = (sends: Send[], deliveries: Delivery[], promise = STRICT) =>
  checkDeliveries(sends, deliveries, promise).findings.map(({ kind }) => kind)

describe('deliveries', () => {
  const sends = [send('a1'), send('a2', 'unknown'), send('a3'), send('b1')]

  test('of a good history have no finding, whether what is unknown came or not', () => {
    expect(checkDeliveries(sends, delivered('a1', 'b1', 'a3'), STRICT)).toEqual({
      ...{ acknowledged: 3, unknown: 1, delivered: 3, redelivered: 0, findings: [] },
    })
    expect(kinds(sends, delivered('b1', 'a1', 'a2', 'a3'))).toEqual([])
  })

  test('an acknowledged value that never came is lost', () => {
    expect(kinds(sends, delivered('a1', 'a3'))).toEqual(['lost'])
  })

  test('a value that came twice is a finding only where it was promised once', () => {
    const twice = delivered('a1', 'a1', 'a3', 'b1')
    expect(kinds(sends, twice)).toEqual(['duplicated'])
    const verdict = checkDeliveries(sends, twice, { exactlyOnce: false, ordered: true })
    expect(verdict).toMatchObject({ redelivered: 1, findings: [] })
  })

  test('also of a send whose outcome its sender does not know', () => {
    expect(kinds(sends, delivered('a1', 'a2', 'a2', 'a3', 'b1'))).toEqual(['duplicated'])
  })

  test('a value that overtook another of its sender is reordered; one that came again is not', () => {
    expect(kinds(sends, delivered('a3', 'a1', 'b1'))).toEqual(['reordered'])
    const again = delivered('a1', 'a3', 'a1', 'b1')
    expect(kinds(sends, again, { exactlyOnce: false, ordered: true })).toEqual([])
    expect(kinds(sends, delivered('a3', 'a1', 'b1'), { ...STRICT, ordered: false })).toEqual([])
  })

  test('a value that nobody sent, or that was refused, is a phantom', () => {
    expect(kinds(sends, delivered('a1', 'a3', 'b1', 'c9'))).toEqual(['phantom'])
    expect(kinds([send('a1', 'fail')], delivered('a1'))).toEqual(['phantom'])
  })
})
