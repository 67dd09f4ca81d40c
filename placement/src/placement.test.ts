// Three real Placement Center nodes in this process, over loopback gRPC and LevelDB, with brokers that obey.
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import type { placement as wire } from '@robust/proto'
import { afterEach, describe, expect, it } from 'vitest'
import type { PlacementConfig } from './config.ts'
import { createPlacement, type Placement } from './placement.ts'
import { FakeBroker } from './testing/fake-broker.ts'
import { ask, freePorts, openClient, QUIET } from './testing/loopback.ts'

const PRESET = { heartbeatMs: 100, leaseTtlMs: 1_200 }
const SHARDS = 16
const SLOW = { timeout: 8_000, interval: 20 }
const cleanups: (() => Promise<void> | void)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

function temporaryDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'placement-'))
  cleanups.push(() => rmSync(directory, { recursive: true, force: true }))
  return directory
}

function clientOf(address: string): wire.PlacementClient {
  const client = openClient(address)
  cleanups.push(() => client.close())
  return client
}

async function startBroker(
  nodeId: string,
  cluster: Cluster,
  incarnation = `${nodeId}-1`,
): Promise<FakeBroker> {
  const { heartbeatMs } = PRESET
  const { addresses } = cluster
  const broker = new FakeBroker({ nodeId, incarnation, addresses, heartbeatMs, clusterId: 'test' })
  cleanups.push(() => broker.stop())
  await broker.start()
  return broker
}

class Cluster {
  readonly fatal: Error[] = []
  readonly #directory = temporaryDirectory()
  readonly #running = new Map<string, Placement>()
  readonly #members: readonly { id: string; address: string }[]
  readonly #clients: ReadonlyMap<string, wire.PlacementClient>

  constructor(ports: readonly number[]) {
    this.#members = ports.map((port, at) => ({
      id: `placement-${at + 1}`,
      address: `127.0.0.1:${port}`,
    }))
    this.#clients = new Map(this.#members.map(({ id, address }) => [id, clientOf(address)]))
  }

  static async start(size: number): Promise<Cluster> {
    const cluster = new Cluster(await freePorts(size))
    await Promise.all(cluster.#members.map(({ id }) => cluster.startNode(id)))
    cleanups.push(() => cluster.stop())
    await cluster.leader()
    return cluster
  }

  get addresses(): string[] {
    return this.#members.map(({ address }) => address)
  }

  addressOf(id: string): string {
    return this.#members.find((member) => member.id === id)?.address ?? ''
  }

  async startNode(id: string): Promise<void> {
    const config: PlacementConfig = {
      nodeId: id,
      clusterId: 'test',
      host: '127.0.0.1',
      port: Number(this.addressOf(id).split(':')[1]),
      members: this.#members,
      dataDir: join(this.#directory, id),
      shardCount: SHARDS,
      preset: PRESET,
      logLevel: 'error',
    }
    const onFatal = (error: Error): void => {
      this.fatal.push(error)
    }
    const node = createPlacement({ config, log: () => QUIET, onFatal })
    this.#running.set(id, node)
    await node.start()
  }

  async stopNode(id: string): Promise<void> {
    await this.#running.get(id)?.stop()
    this.#running.delete(id)
  }

  async stop(): Promise<void> {
    await Promise.all([...this.#running.keys()].map((id) => this.stopNode(id)))
  }

  client(id: string): wire.PlacementClient {
    const client = this.#clients.get(id)
    if (client === undefined) throw new Error(`${id} is not known`)
    return client
  }

  status(id: string): Promise<wire.StatusReply> {
    return ask((options, done) => this.client(id).status({}, new Metadata(), options, done))
  }

  /** The id of the node that leads, when one does and is ready. */
  async leader(): Promise<string> {
    let leader = ''
    const find = async (): Promise<string> => {
      for (const id of this.#running.keys()) {
        const { role, hasQuorum } = await this.status(id)
        if (role === 'leader' && hasQuorum) leader = id
      }
      return leader
    }
    await expect.poll(find, SLOW).not.toBe('')
    return leader
  }

  get running(): string[] {
    return [...this.#running.keys()]
  }

  async events(id: string): Promise<wire.DecisionEvent[]> {
    const request = { after: 0, limit: 0 }
    const reply = await ask<wire.EventsReply>((options, done) =>
      this.client(id).events(request, new Metadata(), options, done),
    )
    return reply.events
  }
}

/** Opened shards per owner, as one node has applied it. */
async function served(cluster: Cluster, id: string): Promise<Record<string, number>> {
  const { metadata } = await cluster.status(id)
  const counts: Record<string, number> = {}
  for (const { owner, opened } of metadata?.shards ?? []) {
    const key = opened ? owner : `${owner} (not open)`
    counts[key] = (counts[key] ?? 0) + 1
  }
  return counts
}

describe('a cluster of three', () => {
  it('registers brokers, serves shards, removes who is silent, and tells all of it', async () => {
    const cluster = await Cluster.start(3)
    const leader = await cluster.leader()
    const brokers = await Promise.all(
      ['broker-1', 'broker-2', 'broker-3'].map((id) => startBroker(id, cluster)),
    )
    // Every member has applied the same, in the end.
    for (const id of cluster.running) {
      await expect
        .poll(async () => Object.values(await served(cluster, id)).sort(), SLOW)
        .toEqual([5, 5, 6])
    }
    await expect
      .poll(async () => (await cluster.status(leader)).reports.map(({ nodeId }) => nodeId).sort())
      .toEqual(['broker-1', 'broker-2', 'broker-3'])

    brokers[1]?.stop()
    await expect.poll(() => served(cluster, leader), SLOW).toEqual({ 'broker-1': 8, 'broker-3': 8 })
    const events = await cluster.events(leader)
    const removal = events.find(({ kind }) => kind === 'NodeRemoved')
    expect(removal?.subject).toBe('broker-2')
    expect(removal?.reason).toMatch(/^time-out: no heartbeat for \d{4,} ms$/)
    expect(removal?.shards.length).toBeGreaterThan(4)
    expect(events.map(({ sequence }) => sequence)).toEqual(events.map((_, at) => at + 1))
    expect(events.some(({ kind }) => kind === 'ShardDataLoss')).toBe(false)
    expect(cluster.fatal).toEqual([])
  })

  it('goes on under a new leader: watches resume, nobody is removed for it', async () => {
    const cluster = await Cluster.start(3)
    const brokers = await Promise.all(
      ['broker-1', 'broker-2'].map((id) => startBroker(id, cluster)),
    )
    const first = await cluster.leader()
    await expect.poll(() => served(cluster, first), SLOW).toEqual({ 'broker-1': 8, 'broker-2': 8 })
    const { term } = await cluster.status(first)

    await cluster.stopNode(first)
    const second = await cluster.leader()
    expect(second).not.toBe(first)

    const third = await startBroker('broker-3', cluster)
    expect(third.nodeEpoch).toBeGreaterThan(brokers[1]?.nodeEpoch ?? 0)
    await expect
      .poll(async () => Object.values(await served(cluster, second)).sort(), SLOW)
      .toEqual([5, 5, 6])
    expect((await cluster.events(second)).map(({ kind }) => kind)).not.toContain('NodeRemoved')

    // The watch went on where it was: one snapshot ever, and each change once, in order.
    const { events } = brokers[0] as FakeBroker
    await expect.poll(() => events.at(-1)?.placementTerm, SLOW).toBeGreaterThan(term)
    const kinds = events.map(({ kind }) => kind?.$case)
    expect(kinds.filter((kind) => kind === 'snapshot')).toHaveLength(1)
    const changes = events.filter(({ kind }) => kind?.$case === 'change').map(({ index }) => index)
    expect(changes).toEqual([...new Set(changes)].sort((x, y) => x - y))
    expect(brokers.flatMap(({ orders }) => orders)).toContain('release for balance')
  })

  it('sends whoever asks a follower to the leader, and refuses a duplicate', async () => {
    const cluster = await Cluster.start(3)
    const leader = await cluster.leader()
    const follower = cluster.running.find((id) => id !== leader) ?? ''
    const broker = await startBroker('broker-1', cluster)
    const register = (id: string, request: wire.RegisterRequest): Promise<wire.RegisterReply> =>
      ask((options, done) => cluster.client(id).register(request, new Metadata(), options, done))

    const same = broker.registration('127.0.0.1:9')
    const redirected: ServiceError = await register(follower, same).then(
      () => expect.fail('a follower must not register'),
      (error: ServiceError) => error,
    )
    expect(redirected.code).toBe(status.FAILED_PRECONDITION)
    expect(redirected.metadata.get('leader-address')).toEqual([cluster.addressOf(leader)])

    expect((await register(leader, same)).nodeEpoch).toBe(broker.nodeEpoch)
    const other = { ...same, incarnation: 'broker-1-2' }
    await expect(register(leader, other)).rejects.toMatchObject({ code: status.ALREADY_EXISTS })
    const foreign = { ...same, clusterId: 'elsewhere' }
    await expect(register(leader, foreign)).rejects.toMatchObject({ code: status.INVALID_ARGUMENT })

    const beat = { nodeId: 'broker-1', incarnation: 'broker-1-2', metadataIndex: 0 }
    const request = { ...beat, nodeEpoch: broker.nodeEpoch, report: undefined }
    const reply = await ask<wire.HeartbeatReply>((options, done) =>
      cluster.client(leader).heartbeat(request, new Metadata(), options, done),
    )
    expect(reply.registered).toBe(false)

    // After the lease has expired the other incarnation gets in, at a new epoch.
    broker.stop()
    const again = await startBroker('broker-1', cluster, 'broker-1-2')
    expect(again.nodeEpoch).toBeGreaterThan(broker.nodeEpoch)
  })

  it('answers no heartbeat and commits nothing without a majority', async () => {
    const cluster = await Cluster.start(3)
    const leader = await cluster.leader()
    const broker = await startBroker('broker-1', cluster)
    for (const id of cluster.running) if (id !== leader) await cluster.stopNode(id)
    await expect.poll(async () => (await cluster.status(leader)).hasQuorum, SLOW).toBe(false)
    const { nodeId, incarnation, nodeEpoch } = broker
    const request = { nodeId, incarnation, nodeEpoch, report: undefined, metadataIndex: 0 }
    const beat = ask<wire.HeartbeatReply>((options, done) =>
      cluster.client(leader).heartbeat(request, new Metadata(), options, done),
    )
    await expect(beat).rejects.toMatchObject({ code: status.UNAVAILABLE })
    expect((await cluster.status(leader)).metadata?.nodes).toHaveLength(1)
  })
})

describe('a cluster of one', () => {
  function single(dataDir: string, over: Partial<PlacementConfig> = {}): Placement {
    const config: PlacementConfig = {
      nodeId: undefined,
      clusterId: undefined,
      host: '127.0.0.1',
      port: 0,
      members: [],
      dataDir,
      shardCount: SHARDS,
      preset: PRESET,
      logLevel: 'error',
      ...over,
    }
    const node = createPlacement({ config, log: () => QUIET, onFatal: () => {} })
    cleanups.push(() => node.stop())
    return node
  }

  async function statusOf({ port }: Placement): Promise<wire.StatusReply> {
    const client = clientOf(`127.0.0.1:${port}`)
    const read = (): Promise<wire.StatusReply> =>
      ask((options, done) => client.status({}, new Metadata(), options, done))
    await expect.poll(async () => (await read()).hasQuorum, SLOW).toBe(true)
    await expect.poll(async () => (await read()).metadata?.shardCount, SLOW).toBe(SHARDS)
    return read()
  }

  it('leads by itself on a free port and keeps its metadata over a restart', async () => {
    const directory = temporaryDirectory()
    const first = single(directory)
    await first.start()
    const before = await statusOf(first)
    expect(before.leaderAddress).toBe(`127.0.0.1:${first.port}`)
    expect([before.role, before.clusterId, before.nodeId]).toEqual([
      'leader',
      'robust',
      'placement-1',
    ])
    await first.stop()
    const second = single(directory)
    await second.start()
    const after = await statusOf(second)
    expect(after.term).toBeGreaterThan(before.term)
    expect(after.leaderAddress).toBe(`127.0.0.1:${second.port}`)
    expect(after.appliedIndex).toBeGreaterThan(before.appliedIndex)
  })

  it('refuses a folder of another node or cluster, naming both', async () => {
    const directory = temporaryDirectory()
    const first = single(directory, { nodeId: 'p1', clusterId: 'red' })
    await first.start()
    await first.stop()
    await expect(single(directory, { nodeId: 'p2' }).start()).rejects.toThrow(
      /node p1 of cluster red, not to node p2/,
    )
    await expect(single(directory, { clusterId: 'blue' }).start()).rejects.toThrow(/cluster blue/)
  })

  it('says that its port is in use and leaves the folder free', async () => {
    const directory = temporaryDirectory()
    const [port = 0] = await freePorts(1)
    const holder = createServer().listen(port, '127.0.0.1')
    cleanups.push(() => void holder.close())
    await expect(single(directory, { port }).start()).rejects.toMatchObject({
      name: 'ListenError',
      isInUse: true,
    })
    const other = single(directory)
    await other.start()
    expect((await statusOf(other)).role).toBe('leader')
  })
})
