import { placement } from '@robust/proto'
import { describe, expect, it } from 'vitest'
import type { NodeEntry, ShardEntry } from '../metadata/state.ts'
import { FakeSettings } from '../testing/fake-settings.ts'
import { Rebalance } from './rebalance.ts'
import { Reports } from './reports.ts'

const HEARTBEAT_MS = 500

function node(nodeId: string): NodeEntry {
  const rest = { incarnation: nodeId, version: '', grpcAddress: '', endpoints: [] }
  return { nodeId, nodeEpoch: 1, drain: undefined, ...rest }
}

/** Brokers whose shards have the loads that a test gives them; a move takes place at once. */
class World {
  nowMs = 0
  readonly settings = new FakeSettings({
    'rebalance.reports': 3,
    'rebalance.messages-min': 100,
    'rebalance.moves-per-minute': 60,
  })
  readonly nodes = new Map<string, NodeEntry>()
  readonly owners: string[]
  readonly operations: number[]
  readonly events: string[] = []
  readonly moves: string[] = []
  movesUnderWay = 0
  readonly reports: Reports
  readonly rebalance: Rebalance
  readonly silent = new Set<string>()

  constructor(loads: Readonly<Record<string, readonly number[]>>) {
    for (const nodeId of Object.keys(loads)) this.nodes.set(nodeId, node(nodeId))
    this.owners = Object.entries(loads).flatMap(([nodeId, list]) => list.map(() => nodeId))
    this.operations = Object.values(loads).flat()
    const { nodes } = this
    const nowMs = () => this.nowMs
    this.reports = new Reports({ nowMs, nodes: () => nodes, freshMs: 3 * HEARTBEAT_MS })
    this.rebalance = new Rebalance({
      settings: this.settings,
      assignment: this.#assignment(),
      shard: (number) => this.#shard(number),
      record: (kind, subject, reason) => this.events.push(`${kind} ${subject}: ${reason}`),
      nowMs,
    })
  }

  /** Heartbeats with reports, one after the other. */
  pass(beats: number): void {
    for (let beat = 0; beat < beats; beat += 1) {
      this.nowMs += HEARTBEAT_MS
      for (const each of this.nodes.values()) {
        if (!this.silent.has(each.nodeId)) this.reports.add(each, this.#report(each.nodeId))
      }
      for (let tick = 0; tick < 3; tick += 1) this.rebalance.step(this.reports.fresh())
    }
  }

  kinds(): string[] {
    return this.events.map((event) => event.split(' ')[0] as string)
  }

  #report(nodeId: string): placement.RuntimeReport {
    const shards = this.owners.flatMap((owner, shard) => {
      const operationsPerSecond = this.operations[shard] ?? 0
      const rest = { commitsPerSecond: 1, bytesPerSecond: 0, sessions: 0 }
      return owner === nodeId ? [{ shard, operationsPerSecond, ...rest }] : []
    })
    const messages = shards.reduce((sum, each) => sum + each.operationsPerSecond, 0)
    return placement.RuntimeReport.fromPartial({ shards, messagesInPerSecond: messages })
  }

  #assignment() {
    const world = this
    return {
      get movesUnderWay() {
        return world.movesUnderWay
      },
      isMoving: () => false,
      move: ({ shard }: ShardEntry, { to }: { to: string }) => {
        world.moves.push(`${shard} ${world.owners[shard]} -> ${to}`)
        world.owners[shard] = to
      },
    }
  }

  #shard(shard: number): ShardEntry {
    const owner = { nodeId: this.owners[shard] ?? '', nodeEpoch: 1 }
    return { shard, epoch: 1, owner, opened: true, stored: undefined }
  }
}

describe('Rebalance', () => {
  it('moves shards away from a hot broker until it is not hot any more, and says why', () => {
    const world = new World({ a: [400, 300, 300], b: [50], c: [50] })
    world.pass(2)
    expect(world.moves).toEqual([])
    world.pass(1)
    expect(world.moves).toHaveLength(1)
    expect(world.events[0]).toMatch(/^BrokerHot a: load 2\.73 of the mean, 1000 messages\/s/)
    world.pass(40)
    expect(world.kinds()).toContain('BrokerCooled')
    const moves = world.moves.length
    world.pass(100)
    expect(world.moves).toHaveLength(moves)
    const loads = ['a', 'b', 'c'].map((id) =>
      world.operations.filter((_, at) => world.owners[at] === id).reduce((x, y) => x + y, 0),
    )
    expect(Math.max(...loads)).toBeLessThan(550)
  })

  it('leaves both brokers alone until new reports show what a move did', () => {
    const world = new World({ a: Array.from({ length: 10 }, () => 100), b: [0], c: [0] })
    world.pass(3)
    expect(world.moves).toHaveLength(1)
    world.pass(2)
    expect(world.moves).toHaveLength(1)
    world.pass(1)
    expect(world.moves).toHaveLength(2)
  })

  it('moves no more than so many in a minute', () => {
    const world = new World({ a: Array.from({ length: 40 }, () => 100), b: [0], c: [0], d: [0] })
    world.settings.set('rebalance.moves-per-minute', 2)
    world.pass(100)
    expect(world.moves).toHaveLength(2)
    world.pass(30)
    expect(world.moves.length).toBeGreaterThan(2)
    expect(world.moves.length).toBeLessThanOrEqual(4)
  })

  it('is not moved by a peak that does not last', () => {
    const world = new World({ a: [100, 100], b: [100, 100] })
    for (let peak = 0; peak < 10; peak += 1) {
      world.operations[0] = 300
      world.pass(1)
      world.operations[0] = 100
      world.pass(6)
    }
    expect([world.moves, world.events]).toEqual([[], []])
  })

  it('does not go by reports that are old: neither to leave such a broker nor to give it shards', () => {
    const world = new World({ a: [500, 500], b: [0], c: [400, 400] })
    world.silent.add('b')
    world.pass(20)
    expect(world.moves).toEqual([])
    const hot = new World({ a: [500, 500], b: [0], c: [0] })
    hot.pass(2)
    hot.silent.add('a')
    hot.pass(30)
    expect(hot.moves).toEqual([])
  })

  it('does nothing below the least load, while shards are under way, or when it is off', () => {
    const idle = new World({ a: [30, 30], b: [0] })
    idle.pass(20)
    expect(idle.events).toEqual([])
    const busy = new World({ a: [500, 500], b: [0] })
    busy.movesUnderWay = 1
    busy.pass(20)
    expect(busy.moves).toEqual([])
    const off = new World({ a: [500, 500], b: [0] })
    off.settings.set('rebalance.enabled', false)
    off.pass(20)
    expect([off.moves, off.events]).toEqual([[], []])
    off.settings.set('rebalance.enabled', true)
    off.pass(5)
    expect(off.moves).toHaveLength(1)
  })

  it('says once that no move would help', () => {
    const world = new World({ a: [1_000, 0], b: [0], c: [0] })
    world.pass(50)
    expect(world.moves).toEqual([])
    expect(world.kinds()).toEqual(['BrokerHot', 'RebalanceStuck'])
  })

  it('gives nothing to a draining broker', () => {
    const world = new World({ a: [500, 500], b: [0] })
    world.nodes.set('b', { ...node('b'), drain: { deadlineMs: 1 } })
    world.pass(20)
    expect(world.moves).toEqual([])
  })

  it('counts a broker that registered again from the beginning', () => {
    const world = new World({ a: [500, 500], b: [0] })
    world.pass(2)
    world.nodes.set('a', { ...node('a'), nodeEpoch: 2 })
    world.pass(2)
    expect(world.moves).toEqual([])
    world.pass(1)
    expect(world.moves).toHaveLength(1)
  })
})
