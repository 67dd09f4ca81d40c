import { describe, expect, test } from 'vitest'
import { VirtualClock } from '../../testing/virtual-clock.ts'
import { TaskBudget } from './task-budget.ts'

const MEBIBYTE = 1024 ** 2
const STEP_BYTES = 32 * 1024

/** A task that always has something to do, and clients that commit all the time. */
async function run(options: { commitMs?: (isBeside: boolean) => number; seconds: number }) {
  const clock = new VirtualClock()
  const budget = new TaskBudget({ clock, bytesPerSecond: 8 * MEBIBYTE })
  const { commitMs, seconds } = options
  let moved = 0
  let steppedAtMs = Number.NEGATIVE_INFINITY
  let isWorking = false
  const work = async (): Promise<void> => {
    while (isWorking) {
      moved += STEP_BYTES
      steppedAtMs = clock.nowMs()
      await budget.take(STEP_BYTES)
    }
  }
  const pass = async (ms: number): Promise<void> => {
    for (let at = 0; at < ms; at += 10) {
      if (commitMs) budget.noteCommit(commitMs(clock.nowMs() - steppedAtMs < 100))
      await clock.advance(10)
    }
  }
  await pass(2_000)
  isWorking = true
  void work()
  await pass(seconds * 1_000)
  isWorking = false
  return { bytesPerSecond: moved / seconds, budget }
}

describe('TaskBudget', () => {
  test('take gives the full rate, step by step, while nobody is there', async () => {
    const { bytesPerSecond } = await run({ seconds: 4 })
    expect(bytesPerSecond / MEBIBYTE).toBeGreaterThan(6)
    expect(bytesPerSecond / MEBIBYTE).toBeLessThan(8.5)
  })

  test('take gives the full rate while commits take no longer than without tasks', async () => {
    const { bytesPerSecond, budget } = await run({ commitMs: () => 2, seconds: 4 })
    expect(budget.share).toBe(1)
    expect(bytesPerSecond / MEBIBYTE).toBeGreaterThan(6)
  })

  test('take slows down when commits take longer beside tasks, to the least rate and no further', async () => {
    const { bytesPerSecond, budget } = await run({
      commitMs: (isBeside) => (isBeside ? 6 : 2),
      seconds: 8,
    })
    expect(budget.share).toBe(1 / 16)
    expect(bytesPerSecond / MEBIBYTE).toBeLessThan(1.5)
    expect(bytesPerSecond / MEBIBYTE).toBeGreaterThan(0.3)
  })

  test('take is at the full rate again when it is the load of the clients that has grown', async () => {
    let ms = 2
    const { budget } = await run({
      commitMs: () => {
        ms = Math.min(8, ms + 0.01)
        return ms
      },
      seconds: 60,
    })
    expect(budget.share).toBe(1)
  })
})
