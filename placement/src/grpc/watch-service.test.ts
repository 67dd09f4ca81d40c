import { EventEmitter } from 'node:events'
import { type ServerWritableStream, status } from '@grpc/grpc-js'
import type { placement as wire } from '@robust/proto'
import { afterEach, describe, expect, it } from 'vitest'
import type { LeaderSession } from '../controllers/leader-session.ts'
import { PlacementError } from '../errors.ts'
import { encodeCommand } from '../metadata/commands.ts'
import { MetadataMachine } from '../replication/metadata-machine.ts'
import type { Decision } from '../replication/proposer.ts'
import { WatchService } from './watch-service.ts'

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

const services: WatchService[] = []

afterEach(() => {
  for (const service of services.splice(0)) service.stop()
})

function setUp(limits: { changesMax?: number; waitingMax?: number; keepAliveMs?: number } = {}) {
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
  const leader = { session: { term: 7 } as LeaderSession | undefined }
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
  commit({ kind: 'bootstrap', clusterId: 'c', shardCount: 2 })
  return { machine, service, commit, join, watch, leader, barrier }
}

describe('WatchService', () => {
  it('begins with a snapshot, says when it is complete, and goes on with changes', async () => {
    const { join, watch } = setUp()
    const call = await watch(new FakeCall())
    join('a')
    expect(call.kinds).toEqual(['snapshot', 'caughtUp', 'change'])
    expect(call.indexes).toEqual([1, 1, 2])
    expect(call.sent.every(({ placementTerm }) => placementTerm === 7)).toBe(true)
    const { kind } = call.sent[2] ?? {}
    expect(kind?.$case === 'change' && kind.value.nodesChanged[0]?.nodeEpoch).toBe(2)
  })

  it('resumes after an index with exactly what was missed', async () => {
    const { join, watch } = setUp()
    for (const id of ['a', 'b', 'c']) join(id)
    const call = await watch(new FakeCall(2))
    expect(call.kinds).toEqual(['change', 'change', 'caughtUp'])
    expect(call.indexes).toEqual([3, 4, 4])
  })

  it('begins with a snapshot again after a gap, and after an index from the future', async () => {
    const { join, watch } = setUp({ changesMax: 2 })
    for (const id of ['a', 'b', 'c', 'd', 'e']) join(id)
    expect((await watch(new FakeCall(1))).kinds).toEqual(['snapshot', 'caughtUp'])
    expect((await watch(new FakeCall(99))).kinds).toEqual(['snapshot', 'caughtUp'])
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
    expect(call.indexes).toEqual([2, 2, 3])
  })

  it('sends no change for a command that changes no node and no shard', async () => {
    const { commit, watch } = setUp()
    const call = await watch(new FakeCall())
    const event = { kind: 'X', subject: '', reason: '', shards: [] }
    commit({ kind: 'record-event', event })
    expect(call.kinds).toEqual(['snapshot', 'caughtUp'])
  })

  it('repeats the sign of life', async () => {
    const { watch } = setUp({ keepAliveMs: 5 })
    const call = await watch(new FakeCall())
    await expect.poll(() => call.kinds.slice(0, 3)).toEqual(['snapshot', 'caughtUp', 'caughtUp'])
  })

  it('waits for a full stream, in order', async () => {
    const { join, watch } = setUp()
    const call = await watch(new FakeCall())
    call.isFull = true
    for (const id of ['a', 'b', 'c']) join(id)
    expect(call.indexes).toEqual([1, 1, 2])
    call.isFull = false
    call.emit('drain')
    expect(call.indexes).toEqual([1, 1, 2, 3, 4])
  })

  it('drops a watcher that lets more wait than the bound', async () => {
    const { service, join, watch } = setUp({ waitingMax: 3 })
    const call = await watch(new FakeCall())
    call.isFull = true
    for (const id of ['a', 'b', 'c', 'd', 'e', 'f']) join(id)
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
