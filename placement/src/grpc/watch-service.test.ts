import { EventEmitter } from 'node:events'
import { type ServerWritableStream, status } from '@grpc/grpc-js'
import type { placement as wire } from '@robust/proto'
import { afterEach, describe, expect, it } from 'vitest'
import type { LeaderSession } from '../controllers/leader-session.ts'
import { PlacementError } from '../errors.ts'
import { encodeCommand } from '../metadata/commands.ts'
import { MetadataMachine } from '../replication/metadata-machine.ts'
import type { Decision } from '../replication/proposer.ts'
import { type WatchLimits, WatchService } from './watch-service.ts'

/** The server's side of a watch, without a wire. */
class FakeCall extends EventEmitter {
  readonly request: wire.WatchRequest
  readonly sent: wire.WatchEvent[] = []
  readonly errors: { code?: number }[] = []
  readonly cancelled = false
  isFull = false

  constructor(afterIndex = 0) {
    super()
    this.request = { nodeId: 'b', afterIndex }
    this.on('error', (error: { code?: number }) => this.errors.push(error))
  }

  write(event: wire.WatchEvent): boolean {
    this.sent.push(event)
    return !this.isFull
  }

  get kinds(): (string | undefined)[] {
    return this.sent.map(({ kind }) => kind?.$case)
  }

  get indexes(): number[] {
    return this.sent.map(({ index }) => index)
  }
}

const LOADED = ['snapshot', 'resources', 'caughtUp']

/** What a watcher that took everything in order would know. */
function replayed(call: FakeCall): Map<string, string> {
  const known = new Map<string, string>()
  for (const { kind } of call.sent) {
    if (kind?.$case === 'resources') {
      for (const { name, value } of kind.value.resources) known.set(name, value)
    } else if (kind?.$case === 'change') {
      for (const { name, value } of kind.value.resourcesChanged) known.set(name, value)
      for (const { name } of kind.value.resourcesRemoved) known.delete(name)
    }
  }
  return known
}

/** Changes are told at the end of the turn in which they were applied. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve))
}

const services: WatchService[] = []

afterEach(() => {
  for (const service of services.splice(0)) service.stop()
})

function setUp(limits: Partial<WatchLimits> = {}) {
  const machine = new MetadataMachine()
  let index = 0
  const commit = (decision: Decision): void => {
    index += 1
    const command = encodeCommand({ ...decision, timeMs: 0 } as Parameters<typeof encodeCommand>[0])
    machine.apply([{ index, term: 1, command }])
  }
  const join = (nodeId: string): void => {
    const node = { nodeId, incarnation: nodeId, version: '', grpcAddress: 'h:1', endpoints: [] }
    commit({ kind: 'register-node', node })
  }
  const leader = { session: { authorityTerm: 7 } as LeaderSession | undefined }
  const barrier = { wait: async (): Promise<void> => {} }
  const service = new WatchService({
    machine,
    leadership: {
      require: () => {
        if (leader.session !== undefined) return leader.session
        throw new PlacementError('NOT_LEADER', 'elsewhere', { leaderAddress: 'other:1' })
      },
    },
    readBarrier: () => barrier.wait(),
    limits: { keepAliveMs: 60_000, ...limits },
  })
  services.push(service)
  const watch = async (call: FakeCall): Promise<FakeCall> => {
    const stream = call as unknown as ServerWritableStream<wire.WatchRequest, wire.WatchEvent>
    await service.watch(stream)
    return call
  }
  const topic = (name: string, value: string | null): void => {
    const change = { kind: 'topic', tenant: '', name, value, expectedVersion: null } as const
    commit({ kind: 'change-resources', changes: [change], by: '' })
  }
  commit({ kind: 'bootstrap', clusterId: 'c', shardCount: 2 })
  return { machine, service, commit, join, topic, watch, leader, barrier }
}

describe('WatchService', () => {
  it('begins with a snapshot, says when it is complete, and goes on with changes', async () => {
    const { join, watch } = setUp()
    const call = await watch(new FakeCall())
    join('a')
    await turn()
    expect(call.kinds).toEqual(['snapshot', 'resources', 'caughtUp', 'change'])
    expect(call.indexes).toEqual([1, 1, 1, 2])
    expect(call.sent.every(({ placementTerm }) => placementTerm === 7)).toBe(true)
    const { kind } = call.sent[3] ?? {}
    expect(kind?.$case === 'change' && kind.value.nodesChanged[0]?.nodeEpoch).toBe(2)
  })

  it('tells what is applied in one turn together, in one event for all watchers', async () => {
    const { join, topic, watch } = setUp()
    const [one, other] = [await watch(new FakeCall()), await watch(new FakeCall())]
    for (const id of ['a', 'b', 'c']) join(id)
    topic('t', '1')
    topic('t', '2')
    await turn()
    const event = one.sent.at(-1)
    expect(event?.index).toBe(6)
    const value = event?.kind?.$case === 'change' ? event.kind.value : undefined
    expect(value?.nodesChanged.map(({ nodeId }) => nodeId)).toEqual(['a', 'b', 'c'])
    expect(value?.resourcesChanged).toMatchObject([{ name: 't', value: '2' }])
    expect(one.sent).toHaveLength(4)
    expect(other.sent.at(-1)).toBe(event)
  })

  it('resumes after an index with exactly what was missed', async () => {
    const { join, watch } = setUp()
    for (const id of ['a', 'b', 'c']) join(id)
    const call = await watch(new FakeCall(2))
    expect(call.kinds).toEqual(['change', 'caughtUp'])
    expect(call.indexes).toEqual([4, 4])
    const { kind } = call.sent[0] ?? {}
    const nodes = kind?.$case === 'change' ? kind.value.nodesChanged : []
    expect(nodes.map(({ nodeId }) => nodeId)).toEqual(['b', 'c'])
  })

  it('begins with a snapshot again after a gap, and after an index from the future', async () => {
    const { join, watch } = setUp({ changesMax: 2 })
    for (const id of ['a', 'b', 'c', 'd', 'e']) join(id)
    expect((await watch(new FakeCall(1))).kinds).toEqual(LOADED)
    expect((await watch(new FakeCall(99))).kinds).toEqual(LOADED)
    expect((await watch(new FakeCall(5))).kinds).toEqual(['change', 'caughtUp'])
  })

  it('loses no change that is committed while it waits for the barrier', async () => {
    const { join, watch, barrier } = setUp()
    let pass = (): void => {}
    barrier.wait = () =>
      new Promise((resolve) => {
        pass = resolve
      })
    const watching = watch(new FakeCall())
    join('a')
    pass()
    const call = await watching
    join('b')
    await turn()
    expect(call.indexes).toEqual([2, 2, 2, 3])
  })

  it('sends no change for a command that changes no node and no shard', async () => {
    const { commit, watch } = setUp()
    const call = await watch(new FakeCall())
    const event = { kind: 'X', subject: '', reason: '', shards: [] }
    commit({ kind: 'record-event', event })
    expect(call.kinds).toEqual(LOADED)
  })

  it('sends resources in pages, a turn each, with the changes that happen in between', async () => {
    const { machine, topic, watch } = setUp({ pageResources: 2 })
    for (let i = 0; i < 9; i += 1) topic(`t${i}`, `${i}`)
    const call = await watch(new FakeCall())
    expect(call.kinds).toEqual(['snapshot', 'resources'])
    topic('t0', '"changed after its page"')
    topic('t1', null)
    topic('t8', '"changed before its page"')
    topic('t7', null)
    topic('t9', '"new"')
    await expect.poll(() => call.kinds.at(-1)).toBe('caughtUp')
    const truth = [...machine.state.resources.all()].map(({ name, value }) => [name, value])
    expect([...replayed(call)].sort()).toEqual(truth.sort())
    expect(call.kinds.filter((kind) => kind === 'resources').length).toBeGreaterThan(3)
  })

  it('sends no page to a stream that is full', async () => {
    const { topic, watch } = setUp({ pageResources: 1 })
    for (let i = 0; i < 5; i += 1) topic(`t${i}`, '1')
    const call = new FakeCall()
    call.isFull = true
    await watch(call)
    for (let count = 0; count < 5; count += 1) await turn()
    expect(call.kinds).toEqual(['snapshot'])
    call.isFull = false
    call.emit('drain')
    await expect.poll(() => replayed(call).size).toBe(5)
  })

  it('resumes changes of resources too', async () => {
    const { topic, watch } = setUp()
    topic('a', '1')
    topic('b', '2')
    const call = await watch(new FakeCall(2))
    expect(call.kinds).toEqual(['change', 'caughtUp'])
    expect([...replayed(call)]).toEqual([['b', '2']])
  })

  it('makes everyone load again when the metadata is of a new generation', async () => {
    const { commit, join, watch, service } = setUp()
    for (const id of ['a', 'b', 'c']) join(id)
    const before = await watch(new FakeCall())
    commit({ kind: 'begin-generation', previous: 0, reason: 'restored' })
    expect(before.errors).toHaveLength(1)
    expect(service.watchers).toBe(0)
    const again = await watch(new FakeCall(4))
    expect(again.kinds).toEqual(LOADED)
    expect(again.indexes[0]).toBe(2 ** 40 + 5)
  })

  it('repeats the sign of life', async () => {
    const { watch } = setUp({ keepAliveMs: 5 })
    const call = await watch(new FakeCall())
    await expect.poll(() => call.kinds.slice(0, 4)).toEqual([...LOADED, 'caughtUp'])
  })

  it('waits for a full stream, in order', async () => {
    const { join, watch } = setUp()
    const call = await watch(new FakeCall())
    call.isFull = true
    for (const id of ['a', 'b', 'c']) {
      join(id)
      await turn()
    }
    expect(call.indexes).toEqual([1, 1, 1, 2])
    call.isFull = false
    call.emit('drain')
    expect(call.indexes).toEqual([1, 1, 1, 2, 3, 4])
  })

  it('drops a watcher that lets more wait than the bound', async () => {
    const { service, join, watch } = setUp({ waitingMax: 3 })
    const call = await watch(new FakeCall())
    call.isFull = true
    for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) {
      join(id)
      await turn()
    }
    expect(call.errors.map(({ code }) => code)).toEqual([status.RESOURCE_EXHAUSTED])
    expect(service.watchers).toBe(0)
  })

  it('names the leader when this member does not lead, also when it stops leading', async () => {
    const { service, watch, leader } = setUp()
    const before = await watch(new FakeCall())
    leader.session = undefined
    const after = await watch(new FakeCall())
    service.end(new PlacementError('NOT_LEADER', 'elsewhere', { leaderAddress: 'other:1' }))
    expect(before.errors[0]?.code).toBe(status.FAILED_PRECONDITION)
    expect(after.errors[0]).toMatchObject({ code: status.FAILED_PRECONDITION })
    expect(after.sent).toEqual([])
    expect(service.watchers).toBe(0)
  })

  it('forgets a watcher that goes away', async () => {
    const { service, watch } = setUp()
    const call = await watch(new FakeCall())
    call.emit('cancelled')
    expect(service.watchers).toBe(0)
  })
})
