// The failure cases of docs/failure-cases.md that are the Placement Center's: real nodes over loopback gRPC
// and LevelDB in this process, brokers that see of it what real ones do, links that can be cut.
import { createHash } from 'node:crypto'
import { connect } from 'node:net'
import { credentials, Metadata, makeGenericClientConstructor, status } from '@grpc/grpc-js'
import type { placement as wire } from '@robust/proto'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { FakeBroker } from './testing/fake-broker.ts'
import { Links } from './testing/links.ts'
import { eventually, TestCenter, type TestCenterOptions } from './testing/test-center.ts'

const TTL_MS = 1_200
const SHARDS = 16
const cleanups: (() => Promise<void> | void)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function startCenter(
  size: number,
  more: Partial<TestCenterOptions> = {},
): Promise<TestCenter> {
  const shape = { size, shardCount: SHARDS, heartbeatMs: 100, leaseTtlMs: TTL_MS }
  const center = await TestCenter.start({ ...shape, ...more })
  cleanups.push(() => center.stop())
  return center
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

async function allServed(center: TestCenter, id: string, by: readonly string[]): Promise<boolean> {
  const served = await center.served(id)
  return Object.values(served).reduce((x, y) => x + y, 0) === SHARDS
    ? Object.keys(served).every((owner) => by.includes(owner))
    : false
}

async function kinds(center: TestCenter, id: string): Promise<string[]> {
  return (await center.events(id)).map(({ kind }) => kind)
}

/** What must not change when something is refused. */
async function truth(center: TestCenter, id: string): Promise<unknown> {
  const { metadata, resources } = await center.status(id)
  return { metadata, resources }
}

/** Every (shard, epoch) ever seen has one owner. */
class OneOwner {
  readonly #owners = new Map<string, string>()

  see(shards: readonly wire.Shard[]): void {
    for (const { shard, epoch, owner } of shards) {
      if (owner === '') continue
      const known = this.#owners.get(`${shard}@${epoch}`) ?? owner
      expect(`${shard}@${epoch} ${known}`).toBe(`${shard}@${epoch} ${owner}`)
      this.#owners.set(`${shard}@${epoch}`, owner)
    }
  }
}

describe('failure case 4: the leader is isolated with brokers on its side', () => {
  it('it renews no lease, and nobody else gets a shard before the leases have run out', async () => {
    const links = new Links()
    cleanups.push(() => links.stop())
    const through = (from: string, to: string, port: number) => links.open(from, to, port)
    const center = await startCenter(3, { through })
    const isolated = await center.leader()
    const others = center.running.filter((id) => id !== isolated)
    // Two brokers know the isolated node only, one the others only.
    const near = [center.addressOf(isolated)]
    const stuck = await Promise.all([
      center.broker('broker-1', 'one', near),
      center.broker('broker-2', 'two', near),
    ])
    await eventually(() => allServed(center, isolated, ['broker-1', 'broker-2']))
    const owners = new OneOwner()
    owners.see((await center.status(isolated)).metadata?.shards ?? [])

    links.isolate(isolated)
    const cutMs = performance.now()
    const elsewhere = others.map((id) => center.addressOf(id))
    const majority = await center.leader(others)
    const free = await center.broker('broker-3', 'three', elsewhere)
    await eventually(async () => {
      owners.see((await center.status(isolated)).metadata?.shards ?? [])
      const shards = (await center.status(majority)).metadata?.shards ?? []
      owners.see(shards)
      return shards.every(({ owner, opened }) => opened && owner === 'broker-3')
    })
    const grants = (await center.events(majority)).filter(({ kind }) => kind === 'NodeRemoved')
    expect(grants.map(({ subject }) => subject).sort()).toEqual(['broker-1', 'broker-2'])
    for (const { renewedMs } of stuck) {
      // Within the leader's own lease it may still have answered; then no more.
      expect(renewedMs - cutMs).toBeLessThan(1_500)
      const takenMs = performance.now() - (Date.now() - (grants[0]?.timeMs ?? 0))
      expect(takenMs - renewedMs).toBeGreaterThanOrEqual(TTL_MS - 5)
    }
    // What it said before it noticed was not committed: when the link is mended, all agree.
    links.isolate(isolated, false)
    const agreed = JSON.stringify(await truth(center, majority))
    await eventually(async () => JSON.stringify(await truth(center, isolated)) === agreed)
    expect(free.nodeEpoch).toBeGreaterThan(Math.max(...stuck.map(({ nodeEpoch }) => nodeEpoch)))
  })
})

describe('failure case 5: the leader changes again and again', () => {
  it('leases are extended each time: no broker is removed, no shard moves', async () => {
    const center = await startCenter(3)
    const brokers = ['broker-1', 'broker-2']
    await Promise.all(brokers.map((id) => center.broker(id)))
    const first = await center.leader()
    await eventually(() => allServed(center, first, brokers))
    await eventually(async () => (await kinds(center, first)).includes('ShardsBalanced'))
    const { metadata } = await center.status(first)
    for (let change = 0; change < 4; change += 1) {
      const leader = await center.leader()
      await center.stopNode(leader)
      await center.leader()
      await center.startNode(leader)
    }
    const last = await center.leader()
    expect((await center.status(last)).metadata?.shards).toEqual(metadata?.shards)
    expect(await kinds(center, last)).not.toContain('NodeRemoved')
  })
})

/** PLACEMENT_NO_MAJORITY_MS=60000 is the long form. */
const NO_MAJORITY_MS = Number(process.env['PLACEMENT_NO_MAJORITY_MS'] ?? TTL_MS * 4)

describe('failure case 6: there is no majority for many leases', () => {
  it(
    'nothing is decided meanwhile, and nobody is removed for it afterwards',
    async () => {
      const center = await startCenter(3)
      const brokers = ['broker-1', 'broker-2']
      await Promise.all(brokers.map((id) => center.broker(id)))
      const leader = await center.leader()
      await eventually(() => allServed(center, leader, brokers))
      await eventually(async () => (await kinds(center, leader)).includes('ShardsBalanced'))
      const others = center.running.filter((id) => id !== leader)
      for (const id of others) await center.stopNode(id)
      await eventually(async () => !(await center.status(leader)).hasQuorum)
      const before = await truth(center, leader)
      await pause(NO_MAJORITY_MS)
      expect(await truth(center, leader)).toEqual(before)
      await Promise.all(others.map((id) => center.startNode(id)))
      const next = await center.leader()
      await pause(TTL_MS * 1.5)
      expect(await kinds(center, next)).not.toContain('NodeRemoved')
      expect(await truth(center, next)).toEqual(before)
    },
    30_000 + NO_MAJORITY_MS,
  )
})

describe('failure case 7: a broker comes back within its lease under the same id', () => {
  it('it gets a new epoch when the lease is over, and nothing of the old one is taken', async () => {
    const center = await startCenter(1)
    const leader = await center.leader()
    const old = await center.broker('broker-1', 'first')
    await eventually(() => allServed(center, leader, ['broker-1']))
    const held = (await center.status(leader)).metadata?.shards ?? []
    old.stop()
    const stoppedMs = performance.now()
    const again = await center.broker('broker-1', 'second')
    expect(performance.now() - stoppedMs).toBeGreaterThan(TTL_MS / 2)
    expect(again.nodeEpoch).toBeGreaterThan(old.nodeEpoch)
    await eventually(() => allServed(center, leader, ['broker-1']))
    const now = await truth(center, leader)
    const late = { nodeId: 'broker-1', nodeEpoch: old.nodeEpoch }
    const opened = held.map(({ shard, epoch }) => ({
      shard,
      epoch,
      storageIncarnation: 'x',
      commitNumber: 9,
    }))
    const reply = await center.call<wire.ShardsOpenedReply>(leader, (client, call, done) =>
      client.shardsOpened({ ...late, shards: opened }, call.metadata, call.options, done),
    )
    expect(reply.refused).toHaveLength(SHARDS)
    await center.call(leader, (client, call, done) =>
      client.shardsReleased({ ...late, shards: opened }, call.metadata, call.options, done),
    )
    await center.call(leader, (client, call, done) =>
      client.deregister({ ...late, reason: 'late' }, call.metadata, call.options, done),
    )
    expect(await truth(center, leader)).toEqual(now)
    for (const { shard, epoch } of (await center.status(leader)).metadata?.shards ?? []) {
      expect(epoch).toBeGreaterThan(held[shard]?.epoch ?? 0)
    }
  })
})

describe('failure case 8: somebody dies or hangs during a drain', () => {
  async function draining(deadlineMs: number, prepare: (source: FakeBroker) => void = () => {}) {
    const center = await startCenter(1)
    const leader = await center.leader()
    const ids = ['broker-1', 'broker-2', 'broker-3']
    const brokers = await Promise.all(ids.map((id) => center.broker(id)))
    await eventually(() => allServed(center, leader, ids))
    await eventually(async () => (await kinds(center, leader)).includes('ShardsBalanced'))
    const [source, target] = brokers as [FakeBroker, FakeBroker]
    prepare(source)
    const request = { nodeId: 'broker-1', reason: 'test', deadlineMs }
    await center.call(leader, (client, call, done) =>
      client.drain(request, call.metadata, call.options, done),
    )
    return { center, leader, source, target }
  }

  it('the target dies: its shards and those on the way go to the third', async () => {
    const { center, leader, target } = await draining(60_000)
    target.stop()
    await eventually(() => allServed(center, leader, ['broker-3']))
    expect(await kinds(center, leader)).not.toContain('ShardDataLoss')
  })

  it('the source dies before it has released: its shards are free when its lease is over', async () => {
    const { center, leader, source } = await draining(60_000, (broker) => {
      broker.idle = true
    })
    await eventually(() => source.orders.some((order) => order.startsWith('release')))
    expect(Object.keys(await center.served(leader))).toContain('broker-1')
    source.stop()
    await eventually(() => allServed(center, leader, ['broker-2', 'broker-3']))
    const all = await kinds(center, leader)
    expect(all).toContain('NodeRemoved')
    expect(all).not.toContain('ShardDataLoss')
  })

  it('the source lives and releases nothing: after the deadline its shards are taken', async () => {
    const { center, leader, source } = await draining(1_000, (broker) => {
      broker.idle = true
    })
    await eventually(() => allServed(center, leader, ['broker-2', 'broker-3']))
    const events = await center.events(leader)
    const deadline = events.find(({ kind }) => kind === 'DrainDeadline')
    expect(deadline?.subject).toBe('broker-1')
    expect(events.some(({ reason }) => reason === 'broker-1 was to be drained by now')).toBe(true)
    expect(source.sheds.length).toBeGreaterThan(0)
    expect(source.throttles.at(-1)).toMatchObject({ active: true })
  })
})

describe('failure case 11: clocks jump', () => {
  it('the wall clock jumps an hour ahead and back: nobody is removed and nothing moves', async () => {
    const center = await startCenter(3)
    const brokers = ['broker-1', 'broker-2']
    await Promise.all(brokers.map((id) => center.broker(id)))
    const leader = await center.leader()
    await eventually(() => allServed(center, leader, brokers))
    await eventually(async () => (await kinds(center, leader)).includes('ShardsBalanced'))
    const before = await truth(center, leader)
    const realNow = Date.now
    const jump = vi.spyOn(Date, 'now')
    cleanups.push(() => jump.mockRestore())
    for (const hours of [1, -1, 0]) {
      jump.mockImplementation(() => realNow() + hours * 3_600_000)
      await pause(TTL_MS)
    }
    jump.mockRestore()
    const next = await center.leader()
    await pause(TTL_MS)
    expect(await kinds(center, next)).not.toContain('NodeRemoved')
    expect(await truth(center, next)).toEqual(before)
  })
})

describe('failure case 14: garbage and messages from the past', () => {
  /** A megabyte, the same for the same seed. */
  function noiseOf(seed: number): Buffer {
    const blocks = Array.from({ length: 32_768 }, (_, at) =>
      createHash('sha256').update(`${seed} ${at}`).digest(),
    )
    return Buffer.concat(blocks)
  }

  /** Sends bytes to a port and waits until it is hung up, or enough time has passed. */
  function throwAt(address: string, bytes: Uint8Array): Promise<void> {
    const [host = '', port = ''] = address.split(':')
    return new Promise((resolve) => {
      const socket = connect(Number(port), host, () => socket.write(bytes))
      const done = (): void => {
        clearTimeout(timer)
        socket.destroy()
        resolve()
      }
      const timer = setTimeout(done, 1_000)
      socket.on('error', done)
      socket.on('close', done)
    })
  }

  /** A call whose message is bytes of the test's choice; answers the status code. */
  function rawCall(address: string, path: string, bytes: Buffer): Promise<number> {
    const Client = makeGenericClientConstructor({}, 'raw')
    const client = new Client(address, credentials.createInsecure())
    const options = { deadline: Date.now() + 3_000 }
    return new Promise((resolve) => {
      client.makeUnaryRequest(
        path,
        (given: Buffer) => given,
        (answer: Buffer) => answer,
        bytes,
        new Metadata(),
        options,
        (error) => {
          client.close()
          resolve(error?.code ?? status.OK)
        },
      )
    })
  }

  it('a megabyte of noise and unreadable messages change nothing, and service goes on', async () => {
    const center = await startCenter(1)
    const leader = await center.leader()
    await center.broker('broker-1')
    await eventually(() => allServed(center, leader, ['broker-1']))
    const before = await truth(center, leader)
    const address = center.addressOf(leader)
    const noise = noiseOf(1)
    const preface = Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n')
    await Promise.all([
      throwAt(address, noise),
      throwAt(address, Buffer.concat([preface, noise])),
      throwAt(address, Buffer.from(`GET / HTTP/1.1\r\nHost: x\r\n\r\n${'x'.repeat(1_000_000)}`)),
    ])
    const service = '/robust.placement.v1.Placement'
    const paths = ['Register', 'ShardsOpened', 'PutResource', 'Drain', 'MoveShard', 'Deregister']
    // Some of it begins with what a reader of protobuf takes for the end of an empty message.
    for (const bytes of [2, 3, 4].map(noiseOf).concat(Buffer.alloc(100), Buffer.of(0x0c))) {
      for (const path of paths) {
        const code = await rawCall(address, `${service}/${path}`, bytes.subarray(0, 100_000))
        expect(`${path} ${code}`).not.toBe(`${path} ${status.OK}`)
      }
      // Answered: it is not registered.
      await rawCall(address, `${service}/Heartbeat`, bytes.subarray(0, 100_000))
    }
    expect(await rawCall(address, `${service}/NoSuchCall`, noise)).toBe(status.UNIMPLEMENTED)
    expect(await truth(center, leader)).toEqual(before)
    expect(center.fatal).toEqual([])
  })

  it('messages of a broker that was removed change nothing', async () => {
    const center = await startCenter(1)
    const leader = await center.leader()
    const gone = await center.broker('broker-1')
    await eventually(() => allServed(center, leader, ['broker-1']))
    const held = (await center.status(leader)).metadata?.shards ?? []
    gone.stop()
    await eventually(async () => (await kinds(center, leader)).includes('NodeRemoved'))
    await center.broker('broker-2')
    await eventually(() => allServed(center, leader, ['broker-2']))
    const before = await truth(center, leader)
    const { nodeEpoch, incarnation } = gone
    const from = { nodeId: 'broker-1', nodeEpoch }
    const shards = held.map(({ shard, epoch }) => ({
      shard,
      epoch,
      storageIncarnation: 's',
      commitNumber: 5,
    }))
    const beat = { ...from, incarnation, report: undefined, metadataIndex: 0 }
    const reply = await center.call<wire.HeartbeatReply>(leader, (client, call, done) =>
      client.heartbeat(beat, call.metadata, call.options, done),
    )
    expect(reply.registered).toBe(false)
    await center.call(leader, (client, call, done) =>
      client.shardsOpened({ ...from, shards }, call.metadata, call.options, done),
    )
    await center.call(leader, (client, call, done) =>
      client.shardsReleased({ ...from, shards }, call.metadata, call.options, done),
    )
    await center.call(leader, (client, call, done) =>
      client.deregister({ ...from, reason: 'again' }, call.metadata, call.options, done),
    )
    expect(await truth(center, leader)).toEqual(before)
  })
})
