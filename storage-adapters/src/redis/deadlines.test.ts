import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Deadlines } from './deadlines.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

test('Deadlines tells what was not done in time, each from its own beginning', () => {
  const deadlines = new Deadlines(100)
  const late: string[] = []
  deadlines.begin(() => late.push('first'))
  vi.advanceTimersByTime(60)
  deadlines.begin(() => late.push('second'))
  vi.advanceTimersByTime(40)
  expect(late).toEqual(['first'])
  vi.advanceTimersByTime(59)
  expect(late).toEqual(['first'])
  vi.advanceTimersByTime(1)
  expect(late).toEqual(['first', 'second'])
})

test('Deadlines says nothing of what was done, whatever was begun before and after it', () => {
  const deadlines = new Deadlines(100)
  const late: number[] = []
  const begun = Array.from({ length: 5_000 }, (_, at) => deadlines.begin(() => late.push(at)))
  for (const [at, deadline] of begun.entries()) deadline.isDone = at !== 0 && at !== 4_000
  vi.advanceTimersByTime(100)
  expect(late).toEqual([0, 4_000])
  deadlines.begin(() => late.push(-1))
  vi.advanceTimersByTime(99)
  expect(late).toEqual([0, 4_000])
  vi.advanceTimersByTime(1)
  expect(late).toEqual([0, 4_000, -1])
})
