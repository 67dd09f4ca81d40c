/** What a Clock must do. */
import { describe, expect, it } from 'vitest'
import type { Clock } from '../ports/clock.ts'

export interface ClockUnderTest {
  create(): Clock
  /** Lets about so much of its time pass. */
  pass(clock: Clock, ms: number): Promise<void>
}

export function describeClock(name: string, underTest: ClockUnderTest): void {
  describe(`${name} as a clock`, () => {
    it('never goes back, and passes', async () => {
      const clock = underTest.create()
      const startMs = clock.nowMs()
      let beforeMs = startMs
      for (let at = 0; at < 5; at += 1) {
        await underTest.pass(clock, 20)
        expect(clock.nowMs()).toBeGreaterThanOrEqual(beforeMs)
        beforeMs = clock.nowMs()
      }
      // Timers may be a little early against another clock.
      expect(clock.nowMs() - startMs).toBeGreaterThanOrEqual(90)
    })

    it('calls again and again, not at once, until stopped', async () => {
      const clock = underTest.create()
      let calls = 0
      const timer = clock.every(10, () => {
        calls += 1
      })
      expect(calls).toBe(0)
      for (let waits = 0; waits < 500 && calls < 3; waits += 1) await underTest.pass(clock, 10)
      expect(calls).toBeGreaterThanOrEqual(3)
      timer.stop()
      const callsAtStop = calls
      await underTest.pass(clock, 60)
      timer.stop()
      expect(calls).toBe(callsAtStop)
    })

    it('can be stopped from within a call', async () => {
      const clock = underTest.create()
      let calls = 0
      const timer = clock.every(5, () => {
        calls += 1
        timer.stop()
      })
      for (let waits = 0; waits < 500 && calls < 1; waits += 1) await underTest.pass(clock, 10)
      await underTest.pass(clock, 40)
      expect(calls).toBe(1)
    })
  })
}
