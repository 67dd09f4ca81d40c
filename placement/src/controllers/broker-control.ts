/** Orders to brokers by gRPC. Each carries the authority it is given under; a broker refuses a stale one. */
import { credentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import { control } from '@robust/proto'
import { CLIENT_OPTIONS } from '../grpc-settings.ts'
import type { NodeEntry, ShardEntry } from '../metadata/state.ts'

export interface BrokerControl {
  /** Resolves when the broker has taken the order, not when it is carried out. */
  acquire(node: NodeEntry, shards: readonly ShardEntry[]): Promise<void>
  release(node: NodeEntry, order: ReleaseOrder): Promise<void>
  throttle(node: NodeEntry, order: ThrottleOrder | undefined): Promise<void>
  /** Resolves with how many clients will be moved. */
  shed(node: NodeEntry, order: ShedOrder): Promise<number>
  /** Drops the connections to all but these nodes. */
  keepOnly(nodes: readonly NodeEntry[]): void
  stop(): void
}

export interface ReleaseOrder {
  readonly shards: readonly ShardEntry[]
  readonly reason: string
}

export interface ThrottleOrder {
  readonly acceptPerSecond: number
  /** Node ids that clients are sent to instead, the best first. */
  readonly targets: readonly string[]
  readonly reason: string
}

export interface ShedOrder {
  /** Of its clients, in (0, 1]. */
  readonly share: number
  /** 0: all at once. */
  readonly perSecond: number
  readonly targets: readonly string[]
  /** Also clients whose protocol cannot be told where to go. */
  readonly closeOthers: boolean
  readonly reason: string
}

export interface GrpcBrokerControlOptions {
  /** Of the leadership that gives the orders, as brokers know it. */
  readonly term: () => number
  readonly metadataIndex: () => number
}

const CALL_TIMEOUT_MS = 2_000

export class GrpcBrokerControl implements BrokerControl {
  readonly #options: GrpcBrokerControlOptions
  /** By node id and epoch: a node that came back may listen elsewhere. */
  readonly #clients = new Map<string, control.BrokerControlClient>()

  constructor(options: GrpcBrokerControlOptions) {
    this.#options = options
  }

  async acquire(node: NodeEntry, shards: readonly ShardEntry[]): Promise<void> {
    const request = { authority: this.#authority(node), shards: shards.map(toShardEpoch) }
    await settle<control.AcquireShardsReply>((done) =>
      this.#client(node).acquireShards(request, new Metadata(), deadline(), done),
    )
  }

  async release(node: NodeEntry, { shards, reason }: ReleaseOrder): Promise<void> {
    const authority = this.#authority(node)
    const request = { authority, shards: shards.map(toShardEpoch), reason }
    await settle<control.ReleaseShardsReply>((done) =>
      this.#client(node).releaseShards(request, new Metadata(), deadline(), done),
    )
  }

  async throttle(node: NodeEntry, order: ThrottleOrder | undefined): Promise<void> {
    const { acceptPerSecond = 0, targets = [], reason = '' } = order ?? {}
    const request = {
      authority: this.#authority(node),
      active: order !== undefined,
      acceptPerSecond,
      targets: [...targets],
      reason,
    }
    await settle<control.ThrottleReply>((done) =>
      this.#client(node).throttle(request, new Metadata(), deadline(), done),
    )
  }

  async shed(node: NodeEntry, order: ShedOrder): Promise<number> {
    const request = { authority: this.#authority(node), ...order, targets: [...order.targets] }
    const reply = await settle<control.ShedReply>((done) =>
      this.#client(node).shed(request, new Metadata(), deadline(), done),
    )
    return reply.clients
  }

  keepOnly(nodes: readonly NodeEntry[]): void {
    const kept = new Set(nodes.map(clientKey))
    for (const [key, client] of this.#clients) {
      if (kept.has(key)) continue
      client.close()
      this.#clients.delete(key)
    }
  }

  stop(): void {
    this.keepOnly([])
  }

  #authority(node: NodeEntry): control.Authority {
    const { term, metadataIndex } = this.#options
    return { placementTerm: term(), nodeEpoch: node.nodeEpoch, metadataIndex: metadataIndex() }
  }

  #client(node: NodeEntry): control.BrokerControlClient {
    const key = clientKey(node)
    let client = this.#clients.get(key)
    if (client === undefined) {
      const { grpcAddress } = node
      client = new control.BrokerControlClient(
        grpcAddress,
        credentials.createInsecure(),
        CLIENT_OPTIONS,
      )
      this.#clients.set(key, client)
    }
    return client
  }
}

function clientKey({ nodeId, nodeEpoch }: NodeEntry): string {
  return `${nodeId}@${nodeEpoch}`
}

function toShardEpoch({ shard, epoch }: ShardEntry): control.ShardEpoch {
  return { shard, epoch }
}

function deadline(): { deadline: number } {
  return { deadline: Date.now() + CALL_TIMEOUT_MS }
}

type Done<R> = (error: ServiceError | null, reply: R) => void

function settle<R>(invoke: (done: Done<R>) => unknown): Promise<R> {
  return new Promise((resolve, reject) => {
    invoke((error, reply) => {
      if (error) reject(error)
      else resolve(reply)
    })
  })
}
