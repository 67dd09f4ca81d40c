import { describe, expect, test } from 'vitest'
import { VirtualClock } from '../../testing/virtual-clock.ts'
import { ClientMover, type MoveOrder } from './client-mover.ts'
import type { ClientMove, ProtocolServer } from './protocol-server.ts'

class FakeProtocol {
  readonly protocol: string
  connections: number
  readonly moves: ClientMove[] = []

  constructor(protocol: string, connections: number) {
    this.protocol = protocol
    this.connections = connections
  }

  moveClients(count: number, move: ClientMove): number {
    const moved = Math.min(count, this.connections)
    this.connections -= moved
    this.moves.push(move)
    return moved
  }
}

function setUp(...protocols: FakeProtocol[]) {
  const clock = new VirtualClock()
  const mover = new ClientMover(clock)
  const servers = protocols as unknown as ProtocolServer[]
  const move = (order: Partial<MoveOrder>): number =>
    mover.move(servers, {
      share: 1,
      perSecond: 0,
      closeOthers: true,
      servers: (protocol) => [`${protocol}:1`],
      ...order,
    })
  return { clock, mover, move }
}

describe('ClientMover', () => {
  test('moves its share of each protocol, with the servers of that protocol', async () => {
    const mqtt = new FakeProtocol('mqtt', 10)
    const kafka = new FakeProtocol('kafka', 3)
    const { clock, move, mover } = setUp(mqtt, kafka)
    expect(move({ share: 0.5 })).toBe(7)
    await clock.advance(100)
    expect([mqtt.connections, kafka.connections, mover.moved]).toEqual([5, 1, 7])
    expect(kafka.moves[0]?.servers).toEqual(['kafka:1'])
  })

  test('is not faster than it is told', async () => {
    const mqtt = new FakeProtocol('mqtt', 1_000)
    const { clock, move } = setUp(mqtt)
    move({ perSecond: 100 })
    await clock.advance(1_000)
    expect(1_000 - mqtt.connections).toBeGreaterThanOrEqual(95)
    expect(1_000 - mqtt.connections).toBeLessThanOrEqual(105)
    await clock.advance(10_000)
    expect(mqtt.connections).toBe(0)
  })

  test('moves less than one a step when it is told to', async () => {
    const mqtt = new FakeProtocol('mqtt', 10)
    const { clock, move } = setUp(mqtt)
    move({ perSecond: 2 })
    await clock.advance(2_000)
    expect(10 - mqtt.connections).toBe(4)
  })

  test('moves thousands in slices', async () => {
    const mqtt = new FakeProtocol('mqtt', 2_000)
    const { clock, move } = setUp(mqtt)
    move({})
    expect(mqtt.connections).toBe(1_500)
    await clock.advance(1_000)
    expect(mqtt.connections).toBe(0)
  })

  test('a newer order takes the place of one that is under way', async () => {
    const mqtt = new FakeProtocol('mqtt', 100)
    const { clock, move } = setUp(mqtt)
    move({ perSecond: 20 })
    await clock.advance(500)
    const left = mqtt.connections
    expect(move({ share: 0.01 })).toBe(1)
    await clock.advance(60_000)
    expect(mqtt.connections).toBe(left - 1)
  })

  test('ends when a protocol has nobody left that it can move', async () => {
    const mqtt = new FakeProtocol('mqtt', 10)
    const { clock, move } = setUp(mqtt)
    move({ perSecond: 20 })
    mqtt.connections = 0
    await clock.advance(5_000)
    const asked = mqtt.moves.length
    await clock.advance(5_000)
    expect(mqtt.moves.length).toBe(asked)
  })
})
