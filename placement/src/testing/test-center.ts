/** Real Placement Center nodes in this process, over loopback gRPC and LevelDB, for tests. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Metadata, type ServiceError, status } from '@grpc/grpc-js'
import type { placement as wire } from '@robust/proto'
import type { PlacementConfig } from '../config.ts'
import { createPlacement, type Placement } from '../placement.ts'
import { FakeBroker } from './fake-broker.ts'
import { ask, type Done, freePorts, openClient, QUIET } from './loopback.ts'

export interface TestCenterOptions {
  readonly size: number
  readonly shardCount: number
  readonly heartbeatMs: number
  readonly leaseTtlMs: number
  /** The port at which one member reaches another instead, through a link that a test can cut. */
  readonly through?: (from: string, to: string, port: number) => Promise<number>
}

interface TestMember {
  readonly id: string
  readonly port: number
}

export class TestCenter {
  readonly fatal: Error[] = []
  readonly directory = mkdtempSync(join(tmpdir(), 'placement-'))
  readonly #options: TestCenterOptions
  readonly #running = new Map<string, Placement>()
  readonly #brokers: FakeBroker[] = []
  readonly #members: readonly TestMember[]
  readonly #clients: ReadonlyMap<string, wire.PlacementClient>

  private constructor(options: TestCenterOptions, members: readonly TestMember[]) {
    this.#options = options
    this.#members = members
    this.#clients = new Map(members.map(({ id, port }) => [id, openClient(`127.0.0.1:${port}`)]))
  }

  /** Resolves when a leader is ready. */
  static async start(options: TestCenterOptions): Promise<TestCenter> {
    const ports = await freePorts(options.size)
    const members = ports.map((port, at) => ({ id: `placement-${at + 1}`, port }))
    const center = new TestCenter(options, members)
    await Promise.all(members.map(({ id }) => center.startNode(id)))
    await center.leader()
    return center
  }

  /** As clients reach them. */
  get addresses(): string[] {
    return this.#members.map(({ port }) => `127.0.0.1:${port}`)
  }

  get running(): string[] {
    return [...this.#running.keys()]
  }

  addressOf(id: string): string {
    return `127.0.0.1:${this.#members.find((member) => member.id === id)?.port}`
  }

  async startNode(id: string): Promise<void> {
    const { shardCount, heartbeatMs, leaseTtlMs } = this.#options
    const config: PlacementConfig = {
      nodeId: id,
      clusterId: 'test',
      host: '127.0.0.1',
      port: this.#members.find((member) => member.id === id)?.port ?? 0,
      members: await this.#membersFor(id),
      dataDir: join(this.directory, id),
      shardCount,
      preset: { heartbeatMs, leaseTtlMs },
      logLevel: 'error',
    }
    const onFatal = (error: Error): void => {
      this.fatal.push(error)
    }
    const node = createPlacement({ config, log: () => ({ ...QUIET }), onFatal })
    this.#running.set(id, node)
    await node.start()
  }

  #membersFor(id: string): Promise<{ id: string; address: string }[]> {
    const { through } = this.#options
    return Promise.all(
      this.#members.map(async ({ id: other, port }) => {
        const seen = other === id ? port : ((await through?.(id, other, port)) ?? port)
        return { id: other, address: `127.0.0.1:${seen}` }
      }),
    )
  }

  async stopNode(id: string): Promise<void> {
    await this.#running.get(id)?.stop()
    this.#running.delete(id)
  }

  /** Ends everything and removes the data. */
  async stop(): Promise<void> {
    for (const broker of this.#brokers) broker.stop()
    await Promise.all([...this.#running.keys()].map((id) => this.stopNode(id)))
    for (const client of this.#clients.values()) client.close()
    rmSync(this.directory, { recursive: true, force: true })
  }

  /** Registered when it resolves. */
  async broker(
    nodeId: string,
    incarnation = `${nodeId}-1`,
    addresses = this.addresses,
  ): Promise<FakeBroker> {
    const { heartbeatMs } = this.#options
    const broker = new FakeBroker({
      nodeId,
      incarnation,
      addresses,
      heartbeatMs,
      clusterId: 'test',
    })
    this.#brokers.push(broker)
    await broker.start()
    return broker
  }

  client(id: string): wire.PlacementClient {
    const client = this.#clients.get(id)
    if (client === undefined) throw new Error(`${id} is not known`)
    return client
  }

  /** One call at one node. */
  call<R>(
    id: string,
    invoke: (
      client: wire.PlacementClient,
      call: { metadata: Metadata; options: { deadline: number } },
      done: Done<R>,
    ) => unknown,
  ): Promise<R> {
    return ask((options, done) =>
      invoke(this.client(id), { metadata: new Metadata(), options }, done),
    )
  }

  status(id: string): Promise<wire.StatusReply> {
    return this.call(id, (client, { metadata, options }, done) =>
      client.status({}, metadata, options, done),
    )
  }

  async events(id: string): Promise<wire.DecisionEvent[]> {
    const reply = await this.call<wire.EventsReply>(id, (client, { metadata, options }, done) =>
      client.events({ after: 0, limit: 0 }, metadata, options, done),
    )
    return reply.events
  }

  /** The id of the node that leads with a majority and has the newest term, when there is one. */
  async leader(among: readonly string[] = this.running): Promise<string> {
    let leader: { id: string; term: number } | undefined
    await eventually(async () => {
      for (const id of among) {
        const { role, hasQuorum, term, metadata } = await this.status(id)
        const isReady = role === 'leader' && hasQuorum && metadata?.shardCount !== 0
        if (isReady && term >= (leader?.term ?? 0) && (await this.#serves(id))) {
          leader = { id, term }
        }
      }
      return leader !== undefined
    })
    return leader?.id ?? ''
  }

  /** It leads, and has made itself ready to. */
  #serves(id: string): Promise<boolean> {
    const key = { kind: 'topic', tenant: 'none', name: 'none' }
    return this.call<wire.Resource>(id, (client, { metadata, options }, done) =>
      client.getResource({ key }, metadata, options, done),
    ).then(
      () => true,
      (error: ServiceError) => error.code === status.NOT_FOUND,
    )
  }

  /** Opened shards per owner, as one node has applied it. */
  async served(id: string): Promise<Record<string, number>> {
    const { metadata } = await this.status(id)
    const counts: Record<string, number> = {}
    for (const { owner, opened } of metadata?.shards ?? []) {
      const key = opened ? owner : `${owner} (not open)`
      counts[key] = (counts[key] ?? 0) + 1
    }
    return counts
  }
}

const POLL_MS = 20
const EVENTUALLY_MS = 15_000

/** Resolves when the condition holds; rejects when it does not for long. */
export async function eventually(
  condition: () => Promise<boolean> | boolean,
  withinMs = EVENTUALLY_MS,
): Promise<void> {
  const end = performance.now() + withinMs
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}
