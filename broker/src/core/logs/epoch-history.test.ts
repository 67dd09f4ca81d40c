import { describe, expect, test } from 'vitest'
import { EpochHistory } from './epoch-history.ts'

const current = { epoch: 9, endOffset: 40 }

describe('EpochHistory', () => {
  test('tells where each epoch ended, or the one before that has records', () => {
    const history = new EpochHistory()
    expect([history.note(3, 0), history.note(3, 5), history.note(5, 10)]).toEqual([
      ...[true, false, true],
    ])
    expect(history.note(7, 25)).toBe(true)
    expect(history.endOf(3, current)).toEqual({ epoch: 3, endOffset: 10 })
    expect(history.endOf(4, current)).toEqual({ epoch: 3, endOffset: 10 })
    expect(history.endOf(5, current)).toEqual({ epoch: 5, endOffset: 25 })
    expect(history.endOf(7, current)).toEqual({ epoch: 7, endOffset: 40 })
    expect(history.endOf(8, current)).toEqual({ epoch: 7, endOffset: 40 })
    expect(history.endOf(9, current)).toEqual(current)
    expect(history.endOf(10, current)).toBeUndefined()
    expect(history.endOf(1, current)).toEqual({ epoch: 1, endOffset: 0 })
    expect([0, 9, 10, 24, 30].map((offset) => history.at(offset))).toEqual([3, 3, 5, 5, 7])
  })

  test('an epoch without records leaves no trace', () => {
    const history = new EpochHistory([
      [3, 0],
      [5, 10],
    ])
    history.note(6, 10)
    expect(history.starts).toEqual([
      [3, 0],
      [6, 10],
    ])
  })

  test('forgets what the log has forgotten, and has a bound', () => {
    const history = new EpochHistory()
    for (let epoch = 0; epoch < 1_000; epoch++) history.note(epoch, epoch)
    expect(history.starts).toHaveLength(500)
    history.trim(998)
    expect(history.starts).toEqual([
      [998, 998],
      [999, 999],
    ])
    expect(history.at(997)).toBe(-1)
  })
})
