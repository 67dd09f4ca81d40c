import { describe, expect, test } from 'vitest'
import { VirtualClock } from '../testing/virtual-clock.ts'
import { StoragePressure } from './storage-pressure.ts'

function watched() {
  const clock = new VirtualClock()
  const told: string[] = []
  const level = { now: 0 }
  const pressure = new StoragePressure({
    clock,
    level: () => level.now,
    onChange: (state) => told.push(state),
  })
  pressure.start()
  return { clock, told, level, pressure }
}

describe('StoragePressure', () => {
  test('delayMs is nothing while there is room, then grows, and has an end', () => {
    const { level, pressure } = watched()
    const delays = [0, 0.74, 0.76, 0.8, 0.9, 0.97, 1].map((now) => {
      level.now = now
      return pressure.delayMs
    })
    expect(delays.slice(0, 2)).toEqual([0, 0])
    expect(delays.slice(2)).toEqual(delays.slice(2).sort((a, b) => a - b))
    expect(delays[2]).toBeGreaterThan(0)
    expect(new Set(delays).size).toBe(6)
    expect(delays[6]).toBe(1_000)
  })

  test('onChange tells an episode once, also when the level wavers about a threshold', async () => {
    const { clock, told, level } = watched()
    for (const now of [0.2, 0.76, 0.74, 0.76, 0.99, 0.97, 0.99, 0.9, 0.74, 0.71, 0.74]) {
      level.now = now
      await clock.advance(300)
    }
    expect(told).toEqual(['slow', 'full', 'slow', 'calm'])
  })

  test('a refused commit makes it full, whatever the level, until the shard has got through', () => {
    const { told, pressure } = watched()
    let acts = 0
    pressure.whenFull(() => acts++)
    pressure.refused(3)
    pressure.refused(4)
    expect(pressure.isFull).toBe(true)
    expect(acts).toBeGreaterThan(0)
    pressure.accepted(3)
    expect(pressure.isFull).toBe(true)
    pressure.accepted(4)
    expect(pressure.isFull).toBe(false)
    expect(told).toEqual(['full', 'calm'])
  })
})
