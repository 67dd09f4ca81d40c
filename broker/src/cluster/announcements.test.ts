import { describe, expect, test } from 'vitest'
import { settle } from '../testing/virtual-clock.ts'
import { Announcements } from './announcements.ts'

async function isSettled(promise: Promise<void>): Promise<boolean> {
  let done = false
  void promise.then(() => {
    done = true
  })
  await settle()
  return done
}

describe('Announcements', () => {
  test('settled waits for every member', async () => {
    const announcements = new Announcements()
    announcements.members(['a', 'b'])
    const sequence = announcements.next()
    const settled = announcements.settled()
    announcements.confirm('a', sequence)
    expect(await isSettled(settled)).toBe(false)
    announcements.confirm('b', sequence)
    expect(await isSettled(settled)).toBe(true)
  })

  test('settled does not wait for a member that leaves', async () => {
    const announcements = new Announcements()
    announcements.members(['a', 'b'])
    announcements.confirm('a', announcements.next())
    const settled = announcements.settled()
    announcements.members(['a'])
    expect(await isSettled(settled)).toBe(true)
  })

  test('settled waits for a member that joined and has been told nothing', async () => {
    const announcements = new Announcements()
    announcements.members(['a'])
    announcements.confirm('a', announcements.next())
    announcements.members(['a', 'b'])
    expect(await isSettled(announcements.settled())).toBe(false)
  })

  test('settled is immediate in a cluster of one', async () => {
    const announcements = new Announcements()
    announcements.next()
    expect(await isSettled(announcements.settled())).toBe(true)
  })
})
