import { placement } from '@robust/proto'
import { describe, expect, it } from 'vitest'
import type { NodeEntry } from '../metadata/state.ts'
import { FakeSettings } from '../testing/fake-settings.ts'
import { QUIET } from '../testing/loopback.ts'
import type { ShedOrder, ThrottleOrder } from './broker-control.ts'
import { Drain } from './drain.ts'
import { Overload } from './overload.ts'
import { Reports } from './reports.ts'
import { Throttling } from './throttling.ts'

const TICK_MS = 100

interface Broker {
  node: NodeEntry
  report: Partial<placement.RuntimeReport>
  /** Obeys, and reports it. */
  throttled: boolean
  isDeaf: boolean
  isSilent: boolean
}

/** Overload, drain and throttling together over brokers that obey, as the leader runs them. */
class World {
  nowMs = 0
  readonly settings = new FakeSettings({
    'overload.after-ms': 1_000,
    'overload.connections': 100,
    'overload.shed-interval-ms': 2_000,
  })
  readonly brokers = new Map<string, Broker>()
  readonly events: string[] = []
  readonly sheds: (ShedOrder & { nodeId: string })[] = []
  readonly throttles: { nodeId: string; order: ThrottleOrder | undefined }[] = []
  readonly taken: string[] = []
  shards = 4
  readonly #reports: Reports
  readonly #throttling: Throttling
  readonly overload: Overload
  readonly drain: Drain

  constructor(...nodeIds: string[]) {
    for (const nodeId of nodeIds) this.join(nodeId, 1)
    const nowMs = () => this.nowMs
    const record = (kind: string, subject: string, reason: string): void => {
      this.events.push(`${kind} ${subject}: ${reason}`)
    }
    const control = {
      shed: async (node: NodeEntry, order: ShedOrder) => this.#shed(node.nodeId, order),
      throttle: async (node: NodeEntry, order: ThrottleOrder | undefined) =>
        this.#throttle(node.nodeId, order),
    }
    this.#reports = new Reports({ nowMs, nodes: () => this.#nodes(), freshMs: 1_500 })
    this.#throttling = new Throttling({ control, nowMs, log: QUIET })
    const throttling = this.#throttling
    const { settings } = this
    this.overload = new Overload({ settings, throttling, control, record, nowMs })
    this.drain = new Drain({
      settings,
      throttling,
      control,
      assignment: { takeAll: (nodeId) => this.taken.push(nodeId) },
      nodes: () => this.#nodes().values(),
      shardsOf: () => this.shards,
      isOverloaded: (nodeId) => this.overload.isOverloaded(nodeId),
      record,
      nowMs,
    })
  }

  join(nodeId: string, nodeEpoch: number): void {
    const rest = { incarnation: '', version: '', grpcAddress: '', endpoints: [], drain: undefined }
    const node = { nodeId, nodeEpoch, ...rest }
    const report = { connections: 10 }
    this.brokers.set(nodeId, { node, report, throttled: false, isDeaf: false, isSilent: false })
  }

  broker(nodeId: string): Broker {
    return this.brokers.get(nodeId) as Broker
  }

  startDrain(nodeId: string, deadlineMs: number | undefined): void {
    const broker = this.broker(nodeId)
    const drain = deadlineMs === undefined ? undefined : { deadlineMs }
    broker.node = { ...broker.node, drain }
  }

  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      this.nowMs += TICK_MS
      for (const { node, report, throttled, isSilent } of this.brokers.values()) {
        const full = placement.RuntimeReport.fromPartial({ ...report, throttled })
        if (!isSilent) this.#reports.add(node, full)
      }
      const fresh = this.#reports.fresh()
      this.drain.step(fresh)
      this.overload.step(fresh)
      this.#throttling.step(fresh)
      for (let turn = 0; turn < 5; turn += 1) await Promise.resolve()
    }
  }

  kinds(): string[] {
    return this.events.map((event) => event.split(' ')[0] as string)
  }

  #nodes(): ReadonlyMap<string, NodeEntry> {
    return new Map([...this.brokers].map(([nodeId, { node }]) => [nodeId, node]))
  }

  #shed(nodeId: string, order: ShedOrder): number {
    const broker = this.broker(nodeId)
    if (broker.isDeaf) throw new Error('no answer')
    this.sheds.push({ nodeId, ...order })
    const { connections = 0 } = broker.report
    const clients = Math.ceil(connections * order.share)
    broker.report = { ...broker.report, connections: connections - clients }
    return clients
  }

  #throttle(nodeId: string, order: ThrottleOrder | undefined): void {
    if (this.broker(nodeId).isDeaf) throw new Error('no answer')
    this.throttles.push({ nodeId, order })
    this.broker(nodeId).throttled = order !== undefined
  }
}

describe('Overload', () => {
  it('throttles and sheds after a while above a threshold, and lets off well below it', async () => {
    const world = new World('a', 'b', 'c')
    world.broker('a').report = { connections: 120 }
    world.broker('b').report = { connections: 50 }
    await world.pass(1_000)
    expect([world.events, world.throttles, world.sheds]).toEqual([[], [], []])
    await world.pass(300)
    expect(world.events[0]).toBe(
      'BrokerOverloaded a: connections 120 (threshold 100), for 1.0 s; it refuses new connections',
    )
    expect(world.throttles).toMatchObject([{ nodeId: 'a', order: { targets: ['c', 'b'] } }])
    expect(world.sheds).toMatchObject([{ nodeId: 'a', share: 0.1, perSecond: 200 }])
    expect(world.events[1]).toBe(
      'ClientsShed a: 12 clients are moved to c, b: connections 120 (threshold 100)',
    )
    await world.pass(2_000)
    expect(world.sheds).toHaveLength(2)
    // 98 and then no more is shed, since it is below the threshold; but not yet below 70 % of it.
    await world.pass(10_000)
    expect(world.broker('a')).toMatchObject({ throttled: true, report: { connections: 97 } })
    world.broker('a').report = { connections: 60 }
    await world.pass(900)
    expect(world.broker('a').throttled).toBe(true)
    await world.pass(400)
    expect(world.broker('a').throttled).toBe(false)
    expect(world.events.at(-1)).toMatch(/^BrokerRelieved a: .*connections 60 \(threshold 100\)/)
  })

  it.each([
    ['event-loop delay', { eventLoopDelayMs: 800 }, { eventLoopDelayMs: 100 }],
    ['memory', { memoryBytes: 5e9 }, { memoryBytes: 1e9 }],
  ])('goes by %s too', async (what, above, below) => {
    const world = new World('a', 'b')
    world.broker('a').report = { connections: 10, ...above }
    await world.pass(1_500)
    expect(world.events[0]).toContain(`BrokerOverloaded a: ${what}`)
    expect(world.sheds).toMatchObject([{ share: 0.1, targets: ['b'] }])
    world.broker('a').report = { connections: 9, ...below }
    await world.pass(1_500)
    expect(world.kinds().at(-1)).toBe('BrokerRelieved')
  })

  it('is not alarmed by a peak, nor let off by a lull', async () => {
    const world = new World('a', 'b')
    for (let peak = 0; peak < 5; peak += 1) {
      world.broker('a').report = { connections: 500 }
      await world.pass(800)
      world.broker('a').report = { connections: 10 }
      await world.pass(200)
    }
    expect(world.events).toEqual([])
    world.settings.set('overload.shed-percent', 0)
    world.broker('a').report = { connections: 500 }
    await world.pass(1_200)
    for (let lull = 0; lull < 5; lull += 1) {
      world.broker('a').report = { connections: 10 }
      await world.pass(800)
      world.broker('a').report = { connections: 500 }
      await world.pass(200)
    }
    expect(world.kinds()).toEqual(['BrokerOverloaded'])
  })

  it('sends nobody to brokers that are overloaded or draining; with none left nobody is moved', async () => {
    const world = new World('a', 'b', 'c')
    for (const id of ['a', 'b']) world.broker(id).report = { connections: 300 }
    world.startDrain('c', 60_000)
    world.broker('c').report = { connections: 0 }
    await world.pass(3_000)
    expect(world.sheds).toEqual([])
    expect(world.throttles.filter(({ nodeId }) => nodeId !== 'c')).toMatchObject([
      { nodeId: 'a', order: { targets: [] } },
      { nodeId: 'b', order: { targets: [] } },
    ])
  })

  it('tells a broker again that did not take the order, or that registered again', async () => {
    const world = new World('a', 'b')
    world.settings.set('overload.shed-percent', 0)
    world.broker('a').isDeaf = true
    world.broker('a').report = { connections: 300 }
    await world.pass(3_000)
    expect(world.broker('a').throttled).toBe(false)
    world.broker('a').isDeaf = false
    await world.pass(2_500)
    expect(world.broker('a').throttled).toBe(true)
    world.join('a', 2)
    world.broker('a').report = { connections: 300 }
    await world.pass(2_000)
    expect(world.broker('a').throttled).toBe(true)
  })

  it('lifts what a leader before it ordered, when there is no reason', async () => {
    const world = new World('a', 'b')
    world.broker('a').throttled = true
    await world.pass(200)
    expect(world.broker('a').throttled).toBe(false)
  })

  it('lifts everything when it is turned off', async () => {
    const world = new World('a', 'b')
    world.broker('a').report = { connections: 300 }
    await world.pass(2_000)
    expect(world.broker('a').throttled).toBe(true)
    world.settings.set('overload.enabled', false)
    await world.pass(300)
    expect(world.broker('a').throttled).toBe(false)
  })

  it('does nothing by a report that is old', async () => {
    const world = new World('a', 'b')
    world.broker('a').report = { connections: 300 }
    await world.pass(500)
    world.broker('a').isSilent = true
    await world.pass(5_000)
    // It was fresh for 1.5 s more, which was long enough to decide; afterwards nobody is moved.
    const moved = world.sheds.length
    await world.pass(10_000)
    expect(world.sheds).toHaveLength(moved)
  })
})

describe('Drain', () => {
  it('refuses new clients, moves all, and says when there is none', async () => {
    const world = new World('a', 'b', 'c')
    world.broker('b').report = { connections: 20 }
    world.startDrain('a', 60_000)
    await world.pass(500)
    expect(world.throttles).toMatchObject([
      { nodeId: 'a', order: { acceptPerSecond: 0, targets: ['c', 'b'] } },
    ])
    expect(world.sheds).toMatchObject([{ nodeId: 'a', share: 1, closeOthers: true }])
    expect(world.kinds()).toEqual(['ClientsShed', 'ClientsMoved'])
    world.startDrain('a', undefined)
    await world.pass(500)
    expect(world.broker('a').throttled).toBe(false)
  })

  it('tells it again while there are clients', async () => {
    const world = new World('a', 'b')
    world.startDrain('a', 60_000)
    world.broker('a').isDeaf = true
    await world.pass(1_000)
    world.broker('a').isDeaf = false
    await world.pass(6_000)
    expect(world.broker('a').report.connections).toBe(0)
  })

  it('takes the shards and closes all clients at once after the deadline', async () => {
    const world = new World('a', 'b')
    world.startDrain('a', 2_000)
    world.broker('a').isDeaf = true
    await world.pass(1_900)
    expect(world.taken).toEqual([])
    await world.pass(400)
    expect(world.taken).toEqual(['a'])
    expect(world.events).toEqual([
      'DrainDeadline a: 2 s have passed; 4 shards are granted to others without its consent',
    ])
    world.broker('a').isDeaf = false
    await world.pass(6_000)
    expect(world.sheds.at(-1)).toMatchObject({ share: 1, perSecond: 0 })
    expect(world.taken).toEqual(['a'])
  })

  it('takes the shards of a broker that does not even report', async () => {
    const world = new World('a', 'b')
    world.startDrain('a', 2_000)
    world.broker('a').isSilent = true
    await world.pass(2_500)
    expect(world.taken).toEqual(['a'])
  })

  it('says nothing of a deadline when it was in time', async () => {
    const world = new World('a', 'b')
    world.startDrain('a', 2_000)
    world.shards = 0
    await world.pass(4_000)
    expect(world.taken).toEqual([])
    expect(world.kinds()).toEqual(['ClientsShed', 'ClientsMoved'])
  })
})
