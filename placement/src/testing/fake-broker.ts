/** A broker for tests: everything that the Placement Center sees of one, and no messages. */
import { Metadata, Server, ServerCredentials, type ServiceError, status } from '@grpc/grpc-js'
import { control, placement as wire } from '@robust/proto'
import { ask, type Done, openClient } from './loopback.ts'

export interface FakeBrokerOptions {
  readonly clusterId: string
  readonly nodeId: string
  readonly incarnation: string
  readonly addresses: readonly string[]
  readonly heartbeatMs: number
}

/** Registers, beats, opens what it is granted and releases what it is asked for, at whoever leads. */
export class FakeBroker {
  readonly #options: FakeBrokerOptions
  readonly events: wire.WatchEvent[] = []
  readonly orders: string[] = []
  readonly sheds: control.ShedRequest[] = []
  readonly throttles: control.ThrottleRequest[] = []
  nodeEpoch = 0
  /** What it reports of itself, besides whether it is throttled. */
  report: Partial<wire.RuntimeReport> = { connections: 5 }
  throttled = false
  /** When the last answered heartbeat was sent, by performance.now(). */
  renewedMs = 0
  /** Takes orders, and does nothing about shards. */
  idle = false
  readonly #clients: wire.PlacementClient[]
  #at = 0
  #server: Server | undefined
  #timer: NodeJS.Timeout | undefined
  #watch: { cancel(): void } | undefined
  #stopped = false

  constructor(options: FakeBrokerOptions) {
    this.#options = options
    this.#clients = options.addresses.map(openClient)
  }

  get nodeId(): string {
    return this.#options.nodeId
  }

  get incarnation(): string {
    return this.#options.incarnation
  }

  async start(): Promise<void> {
    const port = await this.#listen()
    const reply = await this.persist<wire.RegisterReply>((client, options, done) =>
      client.register(this.registration(`127.0.0.1:${port}`), new Metadata(), options, done),
    )
    this.nodeEpoch = reply.nodeEpoch
    this.#timer = setInterval(() => this.#beat(), this.#options.heartbeatMs)
    this.#follow()
  }

  registration(grpcAddress: string): wire.RegisterRequest {
    const { nodeId, incarnation, clusterId } = this.#options
    const endpoints = [{ protocol: 'mqtt', host: '127.0.0.1', port: 1 }]
    const unchanged = { clusterId, version: '1', endpoints, replaces: '' }
    return { ...unchanged, nodeId, incarnation, grpcAddress }
  }

  /** Falls silent, like a process that was killed. */
  stop(): void {
    this.#stopped = true
    clearInterval(this.#timer)
    this.#watch?.cancel()
    this.#server?.forceShutdown()
    for (const client of this.#clients) client.close()
  }

  async persist<R>(
    invoke: (client: wire.PlacementClient, options: { deadline: number }, done: Done<R>) => unknown,
  ): Promise<R> {
    for (;;) {
      const at = this.#at
      const client = this.#clients[at] as wire.PlacementClient
      try {
        return await ask<R>((options, done) => invoke(client, options, done))
      } catch (error) {
        this.#redirect(at, error as ServiceError)
        await new Promise((resolve) => setTimeout(resolve, 50))
        if (this.#stopped) throw error
      }
    }
  }

  #redirect(at: number, error: ServiceError): void {
    const leader = this.#options.addresses.indexOf(
      String(error.metadata?.get('leader-address')[0] ?? ''),
    )
    if (this.#at === at) this.#at = leader >= 0 ? leader : (at + 1) % this.#options.addresses.length
  }

  #beat(): void {
    const { nodeId, incarnation } = this.#options
    const { nodeEpoch } = this
    const at = this.#at
    const { throttled } = this
    const report = wire.RuntimeReport.fromPartial({ ...this.report, throttled })
    const request = { nodeId, incarnation, nodeEpoch, report, metadataIndex: 0 }
    const sentMs = performance.now()
    ask<wire.HeartbeatReply>((options, done) =>
      (this.#clients[at] as wire.PlacementClient).heartbeat(request, new Metadata(), options, done),
    ).then(
      ({ registered }) => {
        if (registered) this.renewedMs = Math.max(this.renewedMs, sentMs)
      },
      (error: unknown) => this.#redirect(at, error as ServiceError),
    )
  }

  #follow(): void {
    if (this.#stopped) return
    const at = this.#at
    const afterIndex = this.events.at(-1)?.index ?? 0
    const stream = (this.#clients[at] as wire.PlacementClient).watch({
      nodeId: this.#options.nodeId,
      afterIndex,
    })
    this.#watch = stream
    stream.on('data', (event: wire.WatchEvent) => this.events.push(event))
    stream.on('error', (error: ServiceError) => {
      this.#redirect(at, error)
      setTimeout(() => this.#follow(), 50)
    })
  }

  #listen(): Promise<number> {
    const server = new Server()
    this.#server = server
    const service = {
      acquireShards: (call, done) => {
        this.orders.push(`acquire ${call.request.authority?.placementTerm}`)
        done(null, {})
        if (!this.idle) this.#reportOpened(call.request)
      },
      releaseShards: (call, done) => {
        this.orders.push(`release ${call.request.reason}`)
        done(null, {})
        if (!this.idle) this.#reportReleased(call.request)
      },
      throttle: (call, done) => {
        this.throttles.push(call.request)
        this.throttled = call.request.active
        done(null, {})
      },
      shed: (call, done) => {
        this.sheds.push(call.request)
        const { connections = 0 } = this.report
        const clients = Math.ceil(connections * call.request.share)
        this.report = { ...this.report, connections: connections - clients }
        done(null, { clients })
      },
      inspect: (_call, done) => done({ code: status.UNIMPLEMENTED }),
    } satisfies control.BrokerControlServer
    server.addService(control.BrokerControlService, service)
    return new Promise((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      )
    })
  }

  #reportOpened({ authority, shards }: control.AcquireShardsRequest): void {
    if (authority?.nodeEpoch !== this.nodeEpoch) this.orders.push('wrong authority')
    const opened = shards.map((shard) => ({ ...shard, storageIncarnation: 's', commitNumber: 1 }))
    const request = { nodeId: this.nodeId, nodeEpoch: this.nodeEpoch, shards: opened }
    // It rejects when this broker has stopped.
    this.persist<wire.ShardsOpenedReply>((client, options, done) =>
      client.shardsOpened(request, new Metadata(), options, done),
    ).catch(() => undefined)
  }

  #reportReleased({ shards }: control.ReleaseShardsRequest): void {
    const released = shards.map((shard) => ({ ...shard, commitNumber: 1 }))
    const request = { nodeId: this.nodeId, nodeEpoch: this.nodeEpoch, shards: released }
    this.persist<wire.ShardsReleasedReply>((client, options, done) =>
      client.shardsReleased(request, new Metadata(), options, done),
    ).catch(() => undefined)
  }
}
