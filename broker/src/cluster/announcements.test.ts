import { beforeEach, describe, expect, test } from 'vitest'
import { ACKNOWLEDGE_GRACE_MS } from '../core/limits.ts'
import { settle, VirtualClock } from '../testing/virtual-clock.ts'
import { Announcements } from './announcements.ts'

async function isSettled(promise: Promise<void>): Promise<boolean> {
  let done = false
  void promise.then(() => {
    done = true
  })
  await settle()
  return done
}

let clock: VirtualClock

beforeEach(() => {
  clock = new VirtualClock()
})

describe('Announcements', () => {
  test('settled waits for every member', async () => {
    const announcements = new Announcements(clock)
    announcements.members(['a', 'b'])
    const sequence = announcements.next()
    const settled = announcements.settled()
    announcements.confirm('a', sequence)
    expect(await isSettled(settled)).toBe(false)
    announcements.confirm('b', sequence)
    expect(await isSettled(settled)).toBe(true)
  })

  test('settled does not wait for a member that left in order', async () => {
    const announcements = new Announcements(clock)
    announcements.members(['a', 'b'])
    announcements.confirm('a', announcements.next())
    const settled = announcements.settled()
    announcements.members(['a'], (name) => name === 'b')
    expect(await isSettled(settled)).toBe(true)
  })

  test('settled waits until a member that was removed cannot acknowledge any more', async () => {
    const announcements = new Announcements(clock)
    announcements.members(['a', 'b'])
    announcements.confirm('a', announcements.next())
    const settled = announcements.settled()
    announcements.members(['a'])
    await clock.advance(ACKNOWLEDGE_GRACE_MS - 1)
    expect(await isSettled(settled)).toBe(false)
    await clock.advance(1)
    expect(await isSettled(settled)).toBe(true)
  })

  test('settled waits for a member that joined and has been told nothing', async () => {
    const announcements = new Announcements(clock)
    announcements.members(['a'])
    announcements.confirm('a', announcements.next())
    announcements.members(['a', 'b'])
    expect(await isSettled(announcements.settled())).toBe(false)
  })

  test('settled is immediate in a cluster of one', async () => {
    const announcements = new Announcements(clock)
    announcements.next()
    expect(await isSettled(announcements.settled())).toBe(true)
  })
})
