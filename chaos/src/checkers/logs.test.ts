import { describe, expect, test } from 'vitest'
import type { Outcome, Read, Send } from '../history.ts'
import {
  checkTransactions,
  duplicatesIn,
  inconsistentOffsets,
  misplaced,
  nonMonotonic,
} from './logs.ts'

const read = (value: string, offset: number, more: Partial<Read> = {}): Read => {
  return { client: 'r', value, offset, partition: '0', ...more }
}
const kinds = (findings: readonly { kind: string }[]) => findings.map(({ kind }) => kind)
const GOOD = [read('a1', 0), read('a2', 1), read('b1', 0, { partition: '1' })]

describe('what readers of logs saw', () => {
  test('a good history has no finding', () => {
    const sends: Send[] = ['a1', 'a2', 'b1'].map((value) => {
      return { client: value.slice(0, 1), value, startedMs: 0, endedMs: 1, outcome: 'ok' }
    })
    expect(inconsistentOffsets(GOOD)).toEqual([])
    expect(duplicatesIn([...GOOD, ...GOOD])).toEqual([])
    expect(nonMonotonic(GOOD)).toEqual([])
    expect(misplaced(sends, GOOD)).toEqual([])
  })

  test('two values at one offset', () => {
    const other = read('x9', 1, { client: 'other' })
    expect(kinds(inconsistentOffsets([...GOOD, other]))).toEqual(['inconsistent offset'])
  })

  test('one value at two offsets, or in two partitions', () => {
    expect(kinds(duplicatesIn([...GOOD, read('a1', 7)]))).toEqual(['duplicated'])
    expect(kinds(duplicatesIn([...GOOD, read('a1', 0, { partition: '2' })]))).toEqual([
      'duplicated',
    ])
  })

  test('a reader that goes back', () => {
    expect(kinds(nonMonotonic([...GOOD, read('a1', 0)]))).toEqual(['non-monotonic read'])
  })

  test('a later value of a sender before an earlier one', () => {
    const sends: Send[] = ['a1', 'a2'].map((value) => {
      return { client: 'a', value, startedMs: 0, endedMs: 1, outcome: 'ok' }
    })
    expect(kinds(misplaced(sends, [read('a2', 0), read('a1', 1)]))).toEqual(['reordered'])
  })
})

describe('transactions', () => {
  const one = (outcome: Outcome) => [
    { client: 'a', values: ['a1', 'a2'], startedMs: 0, endedMs: 1, outcome },
  ]

  test('that were committed are read whole', () => {
    expect(checkTransactions(one('ok'), GOOD)).toEqual([])
    expect(kinds(checkTransactions(one('ok'), [read('a1', 0)]))).toEqual(['lost'])
  })

  test('that were aborted are not read', () => {
    expect(checkTransactions(one('fail'), [read('b1', 0)])).toEqual([])
    expect(kinds(checkTransactions(one('fail'), [read('a2', 0)]))).toEqual(['aborted read'])
  })

  test('whose outcome is unknown are read whole or not at all', () => {
    expect(checkTransactions(one('unknown'), [])).toEqual([])
    expect(checkTransactions(one('unknown'), GOOD)).toEqual([])
    expect(kinds(checkTransactions(one('unknown'), [read('a2', 0)]))).toEqual(['torn transaction'])
  })
})
