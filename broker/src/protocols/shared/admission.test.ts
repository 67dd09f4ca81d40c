import { describe, expect, test } from 'vitest'
import { VirtualClock } from '../../testing/virtual-clock.ts'
import { Admission } from './admission.ts'

interface Limits {
  connectionsMax?: number
  perSecond?: number
  listenerPerSecond?: number
  userConnectionsMax?: number
  userPerSecond?: number
}

function setUp(limits: Limits = {}) {
  const clock = new VirtualClock()
  const open = { connections: 0, isOutOfMemory: false }
  const servers = new Map([
    ['b2 mqtt', 'h2:1'],
    ['b3 mqtt', 'h3:1'],
  ])
  const admission = new Admission({
    clock,
    connections: () => open.connections,
    limits: () => ({
      connectionsMax: limits.connectionsMax ?? null,
      perSecond: limits.perSecond ?? null,
      listenerPerSecond: limits.listenerPerSecond ?? null,
      userConnectionsMax: limits.userConnectionsMax ?? null,
      userPerSecond: limits.userPerSecond ?? null,
    }),
    isOutOfMemory: () => open.isOutOfMemory,
    serverOf: (node, protocol) => servers.get(`${node} ${protocol}`),
  })
  const admitted = (count: number): number =>
    Array.from({ length: count }, () => admission.admit('mqtt')).filter((each) => !each).length
  return { clock, open, servers, admission, admitted, limits }
}

const order = { acceptPerSecond: 0, targets: ['b2', 'b3'], reason: 'overloaded' }

describe('Admission', () => {
  test('lets everybody in where nothing is limited', () => {
    expect(setUp().admitted(1_000)).toBe(1_000)
  })

  test('names the targets that take the protocol in turn while throttled, until it is lifted', () => {
    const { admission, servers } = setUp()
    admission.throttle(order)
    const refusal = { cause: 'throttled', reason: 'the broker is overloaded', server: 'h2:1' }
    expect(admission.admit('mqtt')).toEqual(refusal)
    expect(admission.admit('mqtt')?.server).toBe('h3:1')
    servers.delete('b2 mqtt')
    expect(admission.admit('mqtt')?.server).toBe('h3:1')
    expect(admission.admit('kafka')?.server).toBeUndefined()
    expect([admission.isThrottled, admission.refused]).toEqual([true, 4])
    admission.throttle(undefined)
    expect(admission.admit('mqtt')).toBeUndefined()
  })

  test('lets the allowed number in each second while throttled', async () => {
    const { admission, admitted, clock } = setUp()
    admission.throttle({ ...order, acceptPerSecond: 5 })
    admitted(100)
    await clock.advance(2_000)
    expect(admitted(100)).toBe(5)
    await clock.advance(200)
    expect(admitted(100)).toBe(1)
  })

  test('refuses more connections than the limit, changed at any time', () => {
    const { open, admission, limits } = setUp({ connectionsMax: 2 })
    open.connections = 2
    expect(admission.admit('mqtt')).toBeUndefined()
    open.connections = 3
    expect(admission.admit('mqtt')?.cause).toBe('too-many')
    limits.connectionsMax = 3
    expect(admission.admit('mqtt')).toBeUndefined()
    open.connections = 1_003
    expect(admission.isOverrun).toBe(false)
    open.connections = 1_004
    expect(admission.isOverrun).toBe(true)
  })

  test('refuses connections that come too fast', async () => {
    const { admission, admitted, clock } = setUp({ perSecond: 10 })
    admitted(100)
    expect(admission.admit('mqtt')?.cause).toBe('too-fast')
    await clock.advance(60_000)
    expect(admitted(100)).toBe(10)
  })

  test('counts the connections a second of each entrance for itself', async () => {
    const { admission, admitted, clock } = setUp({ listenerPerSecond: 3 })
    await clock.advance(1_000)
    admitted(1)
    await clock.advance(60_000)
    expect(admitted(100)).toBe(3)
    expect(admission.admit('mqtts')).toBeUndefined()
    expect(admission.admit('mqtt')?.cause).toBe('too-fast')
  })

  test('lets a user have so many connections, and so many in a second', async () => {
    const { admission, clock, limits } = setUp({ userConnectionsMax: 2 })
    expect([admission.enter('a'), admission.enter('a')]).toEqual([undefined, undefined])
    expect(admission.enter('a')?.cause).toBe('too-many')
    expect(admission.enter('b')).toBeUndefined()
    admission.leave('a')
    expect(admission.enter('a')).toBeUndefined()
    limits.userConnectionsMax = 100
    limits.userPerSecond = 1
    await clock.advance(5_000)
    expect(admission.enter('a')).toBeUndefined()
    expect(admission.enter('a')?.cause).toBe('too-fast')
    expect(admission.enter('b')).toBeUndefined()
  })

  test('lets nobody in while the broker is short of memory', () => {
    const { admission, open } = setUp()
    open.isOutOfMemory = true
    expect(admission.admit('mqtt')?.cause).toBe('no-memory')
    expect(admission.isOutOfMemory).toBe(true)
  })
})
