// Everything that the Placement Center sees of a broker, and no messages: registration, heartbeats with
// reports, the watch, orders that are obeyed at once. Counts what it is told instead of keeping it.

import { credentials, Metadata, Server, ServerCredentials, type ServiceError } from '@grpc/grpc-js'
import { control, placement } from '@robust/proto'

export interface SimulatedBrokerOptions {
  readonly nodeId: string
  readonly addresses: readonly string[]
}

const CHANNEL = {
  'grpc.max_receive_message_length': 64 * 1024 * 1024,
  'grpc.initial_reconnect_backoff_ms': 100,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.use_local_subchannel_pool': 1,
}
const RETRY_MS = 100

export class SimulatedBroker {
  readonly #options: SimulatedBrokerOptions
  readonly #clients: placement.PlacementClient[]
  readonly #latencies: number[] = []
  #at = 0
  #server: Server | undefined
  #beat: NodeJS.Timeout | undefined
  #watch: { cancel(): void } | undefined
  #index = 0
  #isStopped = false
  nodeEpoch = 0
  /** Topics that were made, as the watch told. */
  topics = 0
  snapshots = 0
  /** Heartbeats that were answered with "not registered". */
  removals = 0
  /** When the watch last said that all is told, and under which leader. */
  caughtUp = { atMs: 0, term: 0 }
  /** When a heartbeat was last answered, and by which leader. */
  beaten = { atMs: 0, term: 0 }

  constructor(options: SimulatedBrokerOptions) {
    this.#options = options
    this.#clients = options.addresses.map(
      (address) => new placement.PlacementClient(address, credentials.createInsecure(), CHANNEL),
    )
  }

  async start(): Promise<void> {
    const port = await this.#listen()
    const registration = {
      clusterId: '',
      nodeId: this.#options.nodeId,
      incarnation: `${this.#options.nodeId}-${process.pid}`,
      version: '0',
      grpcAddress: `127.0.0.1:${port}`,
      endpoints: [],
      replaces: '',
    }
    const reply = await this.persist<placement.RegisterReply>((client, done) =>
      client.register(registration, new Metadata(), deadline(), done),
    )
    this.nodeEpoch = reply.nodeEpoch
    this.#follow()
    const beat = (): void => void this.#heartbeat(registration.incarnation)
    // Spread, as brokers that were started by hand are.
    setTimeout(() => {
      this.#beat = setInterval(beat, reply.heartbeatMs)
    }, Math.random() * reply.heartbeatMs)
  }

  stop(): void {
    this.#isStopped = true
    clearInterval(this.#beat)
    this.#watch?.cancel()
    this.#server?.forceShutdown()
    for (const client of this.#clients) client.close()
  }

  /** Milliseconds of the heartbeats since the last call. */
  takeLatencies(): number[] {
    return this.#latencies.splice(0)
  }

  /** Repeats a call at whoever leads until it is answered. */
  async persist<R>(
    invoke: (
      client: placement.PlacementClient,
      done: (error: ServiceError | null, reply: R) => void,
    ) => unknown,
  ): Promise<R> {
    for (;;) {
      const at = this.#at
      try {
        return await new Promise<R>((resolve, reject) => {
          invoke(this.#clients[at] as placement.PlacementClient, (error, reply) =>
            error ? reject(error) : resolve(reply),
          )
        })
      } catch (error) {
        if (this.#isStopped) throw error
        this.#redirect(at, error as ServiceError)
        await pause(RETRY_MS)
      }
    }
  }

  #redirect(at: number, error: ServiceError): void {
    if (this.#at !== at) return
    const named = String(error.metadata?.get('leader-address')[0] ?? '')
    const leader = this.#options.addresses.indexOf(named)
    this.#at = leader >= 0 && leader !== at ? leader : (at + 1) % this.#clients.length
  }

  async #heartbeat(incarnation: string): Promise<void> {
    const { nodeId } = this.#options
    const at = this.#at
    const shards = Array.from({ length: 20 }, (_, shard) => ({
      shard,
      commitsPerSecond: 1,
      operationsPerSecond: 1,
      bytesPerSecond: 1,
      sessions: 1,
    }))
    const report = placement.RuntimeReport.fromPartial({ connections: 100, shards })
    const request = { nodeId, incarnation, nodeEpoch: this.nodeEpoch, report, metadataIndex: 0 }
    const sentMs = performance.now()
    try {
      const reply = await new Promise<placement.HeartbeatReply>((resolve, reject) => {
        const client = this.#clients[at] as placement.PlacementClient
        client.heartbeat(request, new Metadata(), deadline(), (error, answer) =>
          error ? reject(error) : resolve(answer),
        )
      })
      this.#latencies.push(performance.now() - sentMs)
      if (reply.registered) this.beaten = { atMs: performance.now(), term: reply.placementTerm }
      else this.removals += 1
    } catch (error) {
      this.#redirect(at, error as ServiceError)
    }
  }

  #follow(): void {
    if (this.#isStopped) return
    const at = this.#at
    const { nodeId } = this.#options
    const client = this.#clients[at] as placement.PlacementClient
    const stream = client.watch({ nodeId, afterIndex: this.#index })
    this.#watch = stream
    stream.on('data', (event: placement.WatchEvent) => this.#event(event))
    stream.on('error', (error: ServiceError) => {
      this.#redirect(at, error)
      setTimeout(() => this.#follow(), RETRY_MS)
    })
  }

  #event({ index, placementTerm, kind }: placement.WatchEvent): void {
    if (kind?.$case === 'snapshot') {
      this.snapshots += 1
      this.topics = 0
    } else if (kind?.$case === 'resources') this.topics += kind.value.resources.length
    else if (kind?.$case === 'change') {
      this.#index = index
      const { resourcesChanged } = kind.value
      this.topics += resourcesChanged.filter(({ created, version }) => created === version).length
    } else {
      this.#index = Math.max(this.#index, index)
      this.caughtUp = { atMs: performance.now(), term: placementTerm }
    }
  }

  #listen(): Promise<number> {
    const server = new Server()
    this.#server = server
    const service: control.BrokerControlServer = {
      acquireShards: (call, done) => {
        done(null, {})
        this.#report('shardsOpened', call.request.shards)
      },
      releaseShards: (call, done) => {
        done(null, {})
        this.#report('shardsReleased', call.request.shards)
      },
      throttle: (_call, done) => done(null, {}),
      shed: (_call, done) => done(null, { clients: 0 }),
      inspect: (_call, done) => done(null, control.InspectReply.fromPartial({})),
    }
    server.addService(control.BrokerControlService, service)
    return new Promise((resolve, reject) => {
      server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) =>
        error ? reject(error) : resolve(port),
      )
    })
  }

  #report(call: 'shardsOpened' | 'shardsReleased', epochs: readonly control.ShardEpoch[]): void {
    const common = { storageIncarnation: 's', commitNumber: 1 }
    const shards = epochs.map((each) => ({ ...each, ...common }))
    const request = { nodeId: this.#options.nodeId, nodeEpoch: this.nodeEpoch, shards }
    // It rejects when this broker has stopped.
    this.persist<unknown>((client, done) =>
      call === 'shardsOpened'
        ? client.shardsOpened(request, new Metadata(), deadline(), done)
        : client.shardsReleased(request, new Metadata(), deadline(), done),
    ).catch(() => undefined)
  }
}

export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms))
}

function deadline(): { deadline: number } {
  return { deadline: Date.now() + 5_000 }
}
