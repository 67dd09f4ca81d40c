import { describe, expect, it } from 'vitest'
import { applyCommand } from '../metadata/apply.ts'
import type { Command } from '../metadata/commands.ts'
import { emptyState, type NodeEntry, type ShardEntry } from '../metadata/state.ts'
import type { Decision } from '../replication/proposer.ts'
import { QUIET } from '../testing/loopback.ts'
import type { BrokerControl } from './broker-control.ts'
import { ASSIGNMENT_LIMITS, ShardAssignment } from './shard-assignment.ts'

const MOVES_MAX = 8

interface Call {
  readonly order: 'acquire' | 'release'
  readonly nodeId: string
  readonly shards: readonly number[]
}

/** A cluster without wires: proposals are applied at once, brokers obey in `settle`. */
class World {
  readonly state = emptyState()
  readonly calls: Call[] = []
  readonly deaf = new Set<string>()
  /** Take orders and do nothing. */
  readonly idle = new Set<string>()
  #owed: Decision[] = []
  nowMs = 0
  readonly #control: Pick<BrokerControl, 'acquire' | 'release' | 'keepOnly'>
  assignment: ShardAssignment

  constructor(shardCount = 12) {
    this.commit({ kind: 'bootstrap', clusterId: 'c', shardCount })
    const control: Pick<BrokerControl, 'acquire' | 'release' | 'keepOnly'> = {
      acquire: (node, shards) => this.#order('acquire', node, shards),
      release: (node, { shards }) => this.#order('release', node, shards),
      keepOnly: () => {},
    }
    this.#control = control
    this.assignment = this.lead()
  }

  /** The assignment of a new leader. */
  lead(): ShardAssignment {
    return new ShardAssignment({
      state: () => this.state,
      propose: async (decision) => this.commit(decision),
      control: this.#control,
      nowMs: () => this.nowMs,
      log: QUIET,
      movesMax: () => MOVES_MAX,
    })
  }

  commit(decision: Decision) {
    const command = { ...decision, timeMs: 0 } as Command
    return applyCommand(this.state, command, this.state.index + 1).result
  }

  join(nodeId: string): number {
    const node = { nodeId, incarnation: nodeId, version: '', grpcAddress: '', endpoints: [] }
    this.commit({ kind: 'register-node', node })
    return this.state.index
  }

  remove(nodeId: string): void {
    const nodeEpoch = this.state.nodes.get(nodeId)?.nodeEpoch ?? 0
    this.commit({ kind: 'remove-node', nodeId, nodeEpoch, cause: 'time-out', reason: '' })
  }

  drain(nodeId: string): void {
    const nodeEpoch = this.state.nodes.get(nodeId)?.nodeEpoch ?? 0
    this.commit({ kind: 'set-draining', nodeId, nodeEpoch, deadlineMs: 1_000, reason: '' })
  }

  /** Time passes in ticks; brokers do what they were told. */
  async pass(ms: number): Promise<void> {
    for (let passed = 0; passed < ms; passed += 50) {
      this.nowMs += 50
      this.assignment.step()
      for (let turn = 0; turn < 10; turn += 1) await Promise.resolve()
      const owed = this.#owed
      this.#owed = []
      for (const decision of owed) this.commit(decision)
    }
  }

  loads(...nodes: string[]): number[] {
    return nodes.map((id) => this.state.shards.filter(({ owner }) => owner?.nodeId === id).length)
  }

  get opened(): number {
    return this.state.shards.filter(({ opened }) => opened).length
  }

  events(kind: string) {
    return this.state.events.after(0).filter((event) => event.kind === kind)
  }

  async #order(
    order: Call['order'],
    node: NodeEntry,
    shards: readonly ShardEntry[],
  ): Promise<void> {
    const { nodeId, nodeEpoch } = node
    this.calls.push({ order, nodeId, shards: shards.map(({ shard }) => shard) })
    if (this.deaf.has(nodeId)) throw new Error('no answer')
    if (this.idle.has(nodeId)) return
    const common = { storageIncarnation: 's', commitNumber: 0 }
    const reports = shards.map(({ shard, epoch }) => ({ shard, epoch, ...common }))
    const kind = order === 'acquire' ? 'open-shards' : 'release-shards'
    this.#owed.push({ kind, nodeId, nodeEpoch, shards: reports })
  }
}

describe('ShardAssignment', () => {
  it('waits a moment for the first nodes, then grants evenly and orders at once', async () => {
    const world = new World()
    world.join('a')
    await world.pass(200)
    world.join('b')
    await world.pass(200)
    expect(world.calls).toEqual([])
    await world.pass(300)
    expect(world.loads('a', 'b')).toEqual([6, 6])
    expect(world.opened).toBe(12)
    expect(world.events('ShardsGranted').map(({ reason }) => reason)).toEqual([
      'first grant',
      'first grant',
    ])
    expect(world.calls.every(({ order }) => order === 'acquire')).toBe(true)
  })

  it('does not wait for ever while nodes keep coming', async () => {
    const world = new World()
    for (let count = 0; count < 6; count += 1) {
      world.join(`n${count}`)
      await world.pass(200)
    }
    expect(world.state.shards.every(({ owner }) => owner !== undefined)).toBe(true)
  })

  it('moves a share to a node that joins, through release and grant', async () => {
    const world = new World()
    world.join('a')
    await world.pass(600)
    world.join('b')
    await world.pass(1_500)
    expect(world.loads('a', 'b')).toEqual([6, 6])
    expect(world.opened).toBe(12)
    const moved = world.events('ShardsReleased').flatMap(({ shards }) => shards)
    expect(moved).toHaveLength(6)
    const reasons = world.events('ShardsGranted').map(({ reason }) => reason)
    expect(reasons.at(-1)).toBe('moved from a, for balance')
  })

  it('grants the shards of a removed node at once, and moves nothing else', async () => {
    const world = new World()
    for (const id of ['a', 'b', 'c']) world.join(id)
    await world.pass(600)
    world.remove('c')
    await world.pass(150)
    expect(world.loads('a', 'b')).toEqual([6, 6])
    expect(world.opened).toBe(12)
    expect(world.events('ShardsReleased')).toEqual([])
    expect(world.events('ShardsGranted').at(-1)?.reason).toBe('c was removed')
  })

  it('empties a draining node', async () => {
    const world = new World()
    for (const id of ['a', 'b', 'c']) world.join(id)
    await world.pass(600)
    world.drain('b')
    await world.pass(1_000)
    expect(world.loads('a', 'b', 'c')).toEqual([6, 0, 6])
    expect(world.events('NodeDrained')).toHaveLength(1)
  })

  it('repeats an order until the broker takes it', async () => {
    const world = new World()
    world.deaf.add('a')
    world.join('a')
    await world.pass(1_000)
    expect(world.opened).toBe(0)
    const tries = world.calls.length
    expect(tries).toBeGreaterThan(1)
    expect(tries).toBeLessThan(6)
    world.deaf.clear()
    await world.pass(500)
    expect(world.opened).toBe(12)
  })

  it('says once that a node does not open what it took, and tells it again', async () => {
    const world = new World()
    world.idle.add('a')
    world.join('a')
    await world.pass(ASSIGNMENT_LIMITS.openTimeoutMs * 2 + 1_000)
    expect(world.events('ShardsNotOpened')).toHaveLength(1)
    expect(world.calls.length).toBeGreaterThan(1)
    world.idle.clear()
    await world.pass(ASSIGNMENT_LIMITS.openTimeoutMs)
    expect(world.opened).toBe(12)
  })

  it('grants on without consent what is not released in time', async () => {
    const world = new World()
    world.join('a')
    world.join('b')
    await world.pass(600)
    world.idle.add('a')
    world.drain('a')
    await world.pass(ASSIGNMENT_LIMITS.releaseTimeoutMs + 1_000)
    expect(world.loads('a', 'b')).toEqual([0, 12])
    expect(world.events('ShardsNotReleased')).toHaveLength(1)
  })

  it('gives nothing back to a node that returns its shards unasked', async () => {
    const world = new World()
    const nodeEpoch = world.join('a')
    world.join('b')
    await world.pass(600)
    const mine = world.state.shards.filter(({ owner }) => owner?.nodeId === 'a')
    const numbers = mine.map(({ shard }) => shard)
    world.assignment.releasing({ nodeId: 'a', nodeEpoch }, numbers)
    const shards = mine.map(({ shard, epoch }) => ({ shard, epoch, commitNumber: 1 }))
    world.commit({ kind: 'release-shards', nodeId: 'a', nodeEpoch, shards })
    await world.pass(500)
    expect(world.loads('a', 'b')).toEqual([0, 12])
    expect(world.events('ShardsGranted').at(-1)?.reason).toBe('a gave it back')
  })

  it('gives a node its share that came back, whatever is released in the name of the one before', async () => {
    const world = new World()
    const before = world.join('a')
    world.join('b')
    await world.pass(600)
    world.remove('a')
    await world.pass(500)
    world.join('a')
    world.assignment.releasing({ nodeId: 'a', nodeEpoch: before }, [0])
    await world.pass(ASSIGNMENT_LIMITS.leavingMs - 1_000)
    expect(world.loads('a', 'b')).toEqual([6, 6])
  })

  it('gives a node its share that counted as leaving when it came, and stayed', async () => {
    const world = new World()
    world.join('b')
    await world.pass(600)
    const nodeEpoch = world.join('a')
    world.assignment.releasing({ nodeId: 'a', nodeEpoch }, [0])
    await world.pass(ASSIGNMENT_LIMITS.leavingMs - 500)
    expect(world.loads('a', 'b')).toEqual([0, 12])
    await world.pass(3_000)
    expect(world.loads('a', 'b')).toEqual([6, 6])
  })

  it('moves a shard to where it is asked to, tells for how long it was away, and leaves it there', async () => {
    const world = new World()
    for (const id of ['a', 'b', 'c']) world.join(id)
    await world.pass(1_000)
    const shard = world.state.shards[0]
    expect(shard?.owner?.nodeId).toBe('a')
    if (shard === undefined) return
    world.assignment.move(shard, { to: 'c', reason: 'because' })
    expect(world.assignment.isMoving(0)).toBe(true)
    await world.pass(500)
    expect(world.loads('a', 'b', 'c')).toEqual([3, 4, 5])
    expect(world.state.shards[0]).toMatchObject({ owner: { nodeId: 'c' }, opened: true })
    expect(world.events('ShardsMoving').at(-1)).toMatchObject({ reason: 'because', shards: [0] })
    expect(world.events('ShardsMoved').at(-1)?.reason).toMatch(
      /^from a, because; away for \d+ to \d+ ms$/,
    )
    await world.pass(20_000)
    expect(world.loads('a', 'b', 'c')).toEqual([3, 4, 5])
    expect(world.assignment.isMoving(0)).toBe(false)
  })

  it('spreads shards evenly again when a node comes, also under a new leader', async () => {
    const world = new World()
    for (const id of ['a', 'b']) world.join(id)
    await world.pass(1_000)
    for (const number of [0, 2, 4]) {
      const shard = world.state.shards[number]
      if (shard !== undefined) world.assignment.move(shard, { to: 'b', reason: 'x' })
      await world.pass(300)
    }
    expect(world.loads('a', 'b')).toEqual([3, 9])
    world.assignment = world.lead()
    await world.pass(5_000)
    expect(world.loads('a', 'b')).toEqual([3, 9])
    world.join('c')
    world.assignment = world.lead()
    await world.pass(5_000)
    expect(world.loads('a', 'b', 'c')).toEqual([4, 4, 4])
    expect(world.events('ShardsBalanced').map(({ reason }) => reason)).toEqual([
      'a 6, b 6',
      'a 4, b 4, c 4',
    ])
  })

  it('gives a moving shard to somebody else when the one that was meant dies', async () => {
    const world = new World()
    for (const id of ['a', 'b', 'c']) world.join(id)
    await world.pass(1_000)
    const [shard] = world.state.shards
    if (shard !== undefined) world.assignment.move(shard, { to: 'c', reason: 'x' })
    world.remove('c')
    await world.pass(500)
    expect(world.state.shards[0]).toMatchObject({ owner: { nodeId: 'b' }, opened: true })
    expect(world.opened).toBe(12)
  })

  it('grants what a node has that should be drained by now, whatever it does', async () => {
    const world = new World()
    for (const id of ['a', 'b']) world.join(id)
    await world.pass(1_000)
    world.idle.add('a')
    world.drain('a')
    await world.pass(500)
    expect(world.loads('a', 'b')).toEqual([6, 6])
    world.assignment.takeAll('a')
    await world.pass(200)
    expect(world.loads('a', 'b')).toEqual([0, 12])
    expect(world.events('ShardsGranted').at(-1)?.reason).toBe('a was to be drained by now')
  })

  it('failure case 15: bounds moves and the time without an owner while a node flaps, 1,000 shards', async () => {
    const world = new World(1_000)
    world.join('a')
    world.join('b')
    await world.pass(1_000)
    const unownedSince = new Map<number, number>()
    let longestMs = 0
    const look = (): void => {
      for (const { shard, opened } of world.state.shards) {
        if (opened) unownedSince.delete(shard)
        else if (!unownedSince.has(shard)) unownedSince.set(shard, world.nowMs)
        longestMs = Math.max(longestMs, world.nowMs - (unownedSince.get(shard) ?? world.nowMs))
      }
    }
    const rounds = 20
    for (let round = 0; round < rounds; round += 1) {
      world.join('flapping')
      for (let ms = 0; ms < 1_000; ms += 50) {
        await world.pass(50)
        look()
        expect(world.assignment.movesUnderWay).toBeLessThanOrEqual(MOVES_MAX)
      }
      world.remove('flapping')
      for (let ms = 0; ms < 1_000; ms += 50) {
        await world.pass(50)
        look()
      }
    }
    const moved = world.events('ShardsMoving').flatMap(({ shards }) => shards).length
    // Eight shards a tick when it has settled, for 300 ms the first time and twice as long each time.
    expect(moved).toBeLessThanOrEqual(((700 + 400) / 50 + 2) * MOVES_MAX)
    expect(longestMs).toBeLessThanOrEqual(300)
    expect(world.opened).toBe(1_000)
  })

  it('bounds the moves while nodes come and go', async () => {
    const world = new World(64)
    world.join('a')
    world.join('b')
    await world.pass(600)
    for (let round = 0; round < 10; round += 1) {
      world.join('flapping')
      await world.pass(200)
      world.remove('flapping')
      await world.pass(200)
      expect(world.assignment.movesUnderWay).toBeLessThanOrEqual(MOVES_MAX)
      expect(world.state.shards.every(({ owner }) => owner !== undefined)).toBe(true)
    }
    // It never stays long enough to be worth a move.
    expect(world.events('ShardsMoving')).toEqual([])
  })
})
