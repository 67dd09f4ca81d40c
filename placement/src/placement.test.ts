// Three real Placement Center nodes in this process, over loopback gRPC and LevelDB, with brokers that obey.
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import type { placement as wire } from '@robust/proto'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { PlacementConfig } from './config.ts'
import { createPlacement, type Placement } from './placement.ts'
import type { FakeBroker } from './testing/fake-broker.ts'
import { ask, freePorts, openClient, QUIET } from './testing/loopback.ts'
import { TestCenter } from './testing/test-center.ts'

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

async function startCenter(size: number): Promise<TestCenter> {
  const center = await TestCenter.start({ size, shardCount: SHARDS, ...PRESET })
  cleanups.push(() => center.stop())
  return center
}

describe('a cluster of three', () => {
  it('registers brokers, serves shards, removes who is silent, and tells all of it', async () => {
    const cluster = await startCenter(3)
    const leader = await cluster.leader()
    const brokers = await Promise.all(
      ['broker-1', 'broker-2', 'broker-3'].map((id) => cluster.broker(id)),
    )
    // Every member has applied the same, in the end.
    for (const id of cluster.running) {
      await expect
        .poll(async () => Object.values(await cluster.served(id)).sort(), SLOW)
        .toEqual([5, 5, 6])
    }
    await expect
      .poll(async () => (await cluster.status(leader)).reports.map(({ nodeId }) => nodeId).sort())
      .toEqual(['broker-1', 'broker-2', 'broker-3'])

    brokers[1]?.stop()
    await expect.poll(() => cluster.served(leader), SLOW).toEqual({ 'broker-1': 8, 'broker-3': 8 })
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
    const cluster = await startCenter(3)
    const brokers = await Promise.all(['broker-1', 'broker-2'].map((id) => cluster.broker(id)))
    const first = await cluster.leader()
    await expect.poll(() => cluster.served(first), SLOW).toEqual({ 'broker-1': 8, 'broker-2': 8 })
    const { term } = await cluster.status(first)

    await cluster.stopNode(first)
    const second = await cluster.leader()
    expect(second).not.toBe(first)

    const third = await cluster.broker('broker-3')
    expect(third.nodeEpoch).toBeGreaterThan(brokers[1]?.nodeEpoch ?? 0)
    await expect
      .poll(async () => Object.values(await cluster.served(second)).sort(), SLOW)
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
    const cluster = await startCenter(3)
    const leader = await cluster.leader()
    const follower = cluster.running.find((id) => id !== leader) ?? ''
    const broker = await cluster.broker('broker-1')
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
    const again = await cluster.broker('broker-1', 'broker-1-2')
    expect(again.nodeEpoch).toBeGreaterThan(broker.nodeEpoch)
  })

  it('lets the next process of a node in at once when it knows that the one before has ended', async () => {
    const cluster = await startCenter(1)
    const leader = await cluster.leader()
    const broker = await cluster.broker('broker-1')
    await expect
      .poll(async () => Object.values(await cluster.served(leader)), SLOW)
      .toEqual([SHARDS])
    broker.stop()
    const register = (request: wire.RegisterRequest): Promise<wire.RegisterReply> =>
      ask((options, done) =>
        cluster.client(leader).register(request, new Metadata(), options, done),
      )
    const next = { ...broker.registration('127.0.0.1:9'), incarnation: 'broker-1-2' }
    const wrong = { ...next, replaces: 'broker-1-0' }
    await expect(register(wrong)).rejects.toMatchObject({ code: status.ALREADY_EXISTS })

    const { incarnation: replaces } = broker
    const { nodeEpoch } = await register({ ...next, replaces })
    expect(nodeEpoch).toBeGreaterThan(broker.nodeEpoch)
    expect((await register({ ...next, replaces })).nodeEpoch).toBe(nodeEpoch)
    const story = (await cluster.events(leader)).filter(({ subject }) => subject === 'broker-1')
    expect(story.map(({ kind, reason }) => `${kind} ${reason}`)).toContainEqual(
      expect.stringMatching(/^NodeRemoved replaced: its next process/),
    )
  })

  it('answers no heartbeat and commits nothing without a majority', async () => {
    const cluster = await startCenter(3)
    const leader = await cluster.leader()
    const broker = await cluster.broker('broker-1')
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

describe('resources', () => {
  let shared: TestCenter

  beforeAll(async () => {
    shared = await TestCenter.start({ size: 1, shardCount: SHARDS, ...PRESET })
  })

  afterAll(() => shared.stop())

  type Change = Partial<wire.PutResourceRequest> & { kind?: string; name?: string; tenant?: string }

  function put(cluster: TestCenter, id: string, change: Change): Promise<wire.PutResourceReply> {
    const { kind = 'topic', tenant = 't', name = 'a', ...rest } = change
    const key = { kind, tenant, name }
    const request = { value: '{}', expectedVersion: undefined, by: '', ...rest, key }
    return cluster.call(id, (client, { metadata, options }, done) =>
      client.putResource(request, metadata, options, done),
    )
  }

  async function failure(asked: Promise<unknown>): Promise<ServiceError> {
    return asked.then(
      () => expect.fail('it must be refused'),
      (error: ServiceError) => error,
    )
  }

  it('are changed by compare-and-set, told to watchers, and read with what was committed', async () => {
    const cluster = await startCenter(3)
    const leader = await cluster.leader()
    const follower = cluster.running.find((id) => id !== leader) ?? ''
    const { version } = await put(cluster, leader, { value: ' { "partitions" : 3 }' })
    const broker = await cluster.broker('broker-1')
    const known = () =>
      broker.events.flatMap(({ kind }) => {
        if (kind?.$case === 'resources') return kind.value.resources
        return kind?.$case === 'change' ? kind.value.resourcesChanged : []
      })
    const key = { kind: 'topic', tenant: 't', name: 'a' }
    const first = { ...key, created: version, version, value: '{"partitions":3}' }
    await expect.poll(known, SLOW).toEqual([first])

    const stale = await failure(put(cluster, leader, { expectedVersion: version - 1 }))
    expect(stale.code).toBe(status.ABORTED)
    expect(stale.metadata.get('current-version')).toEqual([String(version)])
    const twice = await failure(put(cluster, leader, { expectedVersion: 0 }))
    expect(twice.code).toBe(status.ABORTED)
    const next = await put(cluster, leader, { expectedVersion: version })
    expect(next.version).toBeGreaterThan(version)
    await expect.poll(() => known().at(-1)?.version, SLOW).toBe(next.version)

    const read = await cluster.call<wire.Resource>(leader, (client, { metadata, options }, done) =>
      client.getResource({ key }, metadata, options, done),
    )
    expect(read).toEqual({ ...first, value: '{}', version: next.version })
    const elsewhere = await failure(put(cluster, follower, {}))
    expect(elsewhere.metadata.get('leader-address')).toEqual([cluster.addressOf(leader)])
    expect((await cluster.status(leader)).resources).toMatchObject({ topic: 1, queue: 0 })

    const gone = await cluster.call<wire.DeleteResourceReply>(
      leader,
      (client, { metadata, options }, done) =>
        client.deleteResource({ key, expectedVersion: undefined, by: '' }, metadata, options, done),
    )
    expect(gone.existed).toBe(true)
    const missing = await failure(
      cluster.call(leader, (client, { metadata, options }, done) =>
        client.getResource({ key }, metadata, options, done),
      ),
    )
    expect(missing.code).toBe(status.NOT_FOUND)
  })

  it('of two changes on the same version one is taken, however they are sent', async () => {
    const cluster = await startCenter(1)
    const leader = await cluster.leader()
    const { version } = await put(cluster, leader, {})
    const tries = Array.from({ length: 20 }, () =>
      put(cluster, leader, { expectedVersion: version }).then(
        () => 1,
        () => 0,
      ),
    )
    expect((await Promise.all(tries)).reduce((sum: number, won) => sum + won, 0)).toBe(1)
  })

  it.each([
    ['an unknown kind', { kind: 'planet' }, 'kind planet is not topic'],
    ['no name', { name: '' }, 'name is empty'],
    ['control characters', { name: 'a\u0000b' }, 'control characters'],
    ['no JSON', { value: '{' }, 'no JSON'],
    ['a bad field', { value: '{"partitions":0}' }, 'partitions of a topic'],
    ['an unknown setting', { kind: 'setting', tenant: '', value: '1' }, 'no setting a'],
    ['a setting with a tenant', { kind: 'setting', name: 'log.level' }, 'no tenant'],
    ['too much', { value: JSON.stringify({ config: { x: 'y'.repeat(70_000) } }) }, 'too long'],
  ])('refuses %s', async (_, change, said) => {
    const error = await failure(put(shared, await shared.leader(), change))
    expect(error.code).toBe(status.INVALID_ARGUMENT)
    expect(error.details).toContain(said)
  })

  it('are listed in pages, and changed together or not at all', async () => {
    const cluster = await startCenter(1)
    const leader = await cluster.leader()
    const topic = (name: string, tenant: string) => ({
      key: { kind: 'topic', tenant, name },
      value: '{}',
      expectedVersion: 0,
    })
    const change = (changes: wire.ResourceChange[]): Promise<wire.ChangeResourcesReply> =>
      cluster.call(leader, (client, { metadata, options }, done) =>
        client.changeResources({ changes, by: '' }, metadata, options, done),
      )
    await change(['d', 'b', 'c', 'a'].map((name) => topic(name, 't')))
    await change(['ab', 'aa'].map((name) => topic(name, 'u')))
    const error = await failure(change([topic('new', 't'), topic('a', 't')]))
    expect(error.code).toBe(status.ABORTED)
    const list = async (asked: Partial<wire.ListResourcesRequest>): Promise<string[]> => {
      const names: string[] = []
      for (let pageToken = ''; ; ) {
        const request = { kind: 'topic', tenant: undefined, namePrefix: '', pageSize: 2 }
        const reply = await cluster.call<wire.ListResourcesReply>(
          leader,
          (client, { metadata, options }, done) =>
            client.listResources({ ...request, ...asked, pageToken }, metadata, options, done),
        )
        names.push(...reply.resources.map(({ tenant, name }) => `${tenant}/${name}`))
        pageToken = reply.nextPageToken
        if (pageToken === '') return names
      }
    }
    expect(await list({})).toEqual(['t/a', 't/b', 't/c', 't/d', 'u/aa', 'u/ab'])
    expect(await list({ tenant: 'u', namePrefix: 'ab' })).toEqual(['u/ab'])
    expect(await list({ kind: 'queue' })).toEqual([])
  })

  it('are there again after a restart, with the history of settings', async () => {
    const cluster = await startCenter(1)
    const leader = await cluster.leader()
    const setting = { kind: 'setting', tenant: '', name: 'rebalance.reports', by: 'ann' }
    await put(cluster, leader, { ...setting, value: '3' })
    const { version } = await put(cluster, leader, { ...setting, value: '4' })
    await cluster.stopNode(leader)
    await cluster.startNode(leader)
    await cluster.leader()
    const history = await cluster.call<wire.ResourceHistoryReply>(
      leader,
      (client, { metadata, options }, done) => {
        const request = { key: { kind: 'setting', tenant: '', name: 'rebalance.reports' } }
        client.resourceHistory(request, metadata, options, done)
      },
    )
    expect(history.versions.map(({ value, by }) => [value, by])).toEqual([
      ['3', 'ann'],
      ['4', 'ann'],
    ])
    expect(history.versions.at(-1)?.version).toBe(version)
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
    const node = createPlacement({ config, log: () => ({ ...QUIET }), onFatal: () => {} })
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

  it('tells over HTTP whether it knows a leader, and its numbers', async () => {
    const node = single(temporaryDirectory(), { httpPort: 0 })
    await node.start()
    const get = async (path: string) => {
      const reply = await fetch(`http://127.0.0.1:${node.httpPort}${path}`)
      return { status: reply.status, text: await reply.text() }
    }
    expect(await get('/livez')).toEqual({ status: 200, text: 'ok\n' })
    await expect.poll(async () => (await get('/readyz')).status, SLOW).toBe(200)
    expect((await get('/readyz')).text).toContain('leader placement-1')
    const metrics = (await get('/metrics')).text
    expect(metrics).toMatch(/^placement_shards\{.*state="free".*\} \d+$/m)
    expect(metrics).toMatch(/^raft_/m)
    const busy = single(temporaryDirectory(), { httpPort: node.httpPort as number })
    await expect(busy.start()).rejects.toMatchObject({ name: 'ListenError', isInUse: true })
  })

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
