import { describe, expect, test } from 'vitest'
import { ResourceCache } from '../cluster/resource-cache.ts'
import { Bans } from './bans.ts'

function setUp() {
  const resources = new ResourceCache()
  const clock = { now: 1_000 }
  const bans = new Bans(resources, () => clock.now)
  let version = 0
  const ban = (kind: string, who: string, until?: number): void => {
    const name = String(++version)
    const value = JSON.stringify({ kind, who, ...(until && { until }) })
    resources.apply([{ kind: 'ban', tenant: '', name, created: version, version, value }], [])
  }
  const isBanned = (more: { clientId?: string; user?: string; address?: string }): boolean =>
    bans.isBanned({ clientId: 'c', user: 'u', address: '10.1.2.3', ...more })
  return { bans, ban, isBanned, clock }
}

describe('Bans', () => {
  test('know clients and users by name', () => {
    const { ban, isBanned, bans } = setUp()
    expect(isBanned({})).toBe(false)
    ban('client', 'bad')
    ban('user', 'evil')
    expect(isBanned({ clientId: 'bad' })).toBe(true)
    expect(isBanned({ user: 'evil' })).toBe(true)
    expect(isBanned({ clientId: 'evil', user: 'bad' })).toBe(false)
    expect(bans.isBanned({ clientId: 'x', user: undefined, address: '::1' })).toBe(false)
  })

  test.each([
    ['10.1.2.3', '10.1.2.3', true],
    ['10.1.2.3', '::ffff:10.1.2.3', true],
    ['10.0.0.0/8', '10.1.2.3', true],
    ['10.0.0.0/16', '10.1.2.3', false],
    ['2001:db8::/32', '2001:db8:1::7', true],
    ['2001:db8::/32', '10.1.2.3', false],
    ['nonsense', '10.1.2.3', false],
    ['10.0.0.0/99', '10.1.2.3', false],
    ['unix', 'unix', true],
  ])('address %s bans %s: %s', (who, address, expected) => {
    const { ban, isBanned } = setUp()
    ban('address', who)
    expect(isBanned({ address })).toBe(expected)
  })

  test('end with their time, and tell of changes', () => {
    const { bans, ban, isBanned, clock } = setUp()
    let changes = 0
    bans.onChange(() => changes++)
    ban('client', 'bad', 2_000)
    expect([isBanned({ clientId: 'bad' }), changes]).toEqual([true, 1])
    clock.now = 2_000
    expect(isBanned({ clientId: 'bad' })).toBe(false)
  })
})
