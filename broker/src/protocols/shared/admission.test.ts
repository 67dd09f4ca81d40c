import { describe, expect, test } from 'vitest'
import { VirtualClock } from '../../testing/virtual-clock.ts'
import { Admission } from './admission.ts'

function setUp(limits: { connectionsMax?: number; perSecond?: number } = {}) {
  const clock = new VirtualClock()
  const open = { connections: 0 }
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
    }),
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

  test('names the first target that takes the protocol while throttled, until it is lifted', () => {
    const { admission, servers } = setUp()
    admission.throttle(order)
    const refusal = { cause: 'throttled', reason: 'the broker is overloaded', server: 'h2:1' }
    expect(admission.admit('mqtt')).toEqual(refusal)
    servers.delete('b2 mqtt')
    expect(admission.admit('mqtt')?.server).toBe('h3:1')
    expect(admission.admit('kafka')?.server).toBeUndefined()
    expect([admission.isThrottled, admission.refused]).toEqual([true, 3])
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
})
