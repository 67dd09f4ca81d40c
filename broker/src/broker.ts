/** The broker, composed: options in, something to start and stop out. No decisions of its own. */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:net'
import type { control, broker as peerApi } from '@robust/proto'
import { openStorage, type StorageAdapter } from '@robust/storage-adapters'
import { MetadataCache } from './cluster/metadata-cache.ts'
import { PeerMesh } from './cluster/peer-mesh.ts'
import { PlacementClient } from './cluster/placement-client.ts'
import { ShardHost } from './cluster/shard-host.ts'
import { systemClock } from './cluster/system-clock.ts'
import type { BrokerConfig } from './config.ts'
import { answer, HostedShards } from './core/hosted-shard.ts'
import { TAIL_CACHE_BYTES, TASK_BYTES_PER_SECOND } from './core/logs/log-limits.ts'
import type { LogResources } from './core/logs/log-shard.ts'
import { TailCache } from './core/logs/tail-cache.ts'
import { TaskBudget } from './core/logs/task-budget.ts'
import { Messaging } from './core/messaging.ts'
import type { Connections, SessionAddress } from './core/ports/connections.ts'
import { Router } from './core/router.ts'
import { shardOf } from './core/shard-hash.ts'
import { Topics } from './core/topics/topics.ts'
import { createControlService } from './grpc/control-service.ts'
import { type GrpcServer, startGrpcServer } from './grpc/server.ts'
import { nodeIdentity } from './node-identity.ts'
import type { BrokerLog } from './observability/log.ts'
import { createRuntimeReport } from './observability/runtime-report.ts'
import { MqttServer } from './protocols/mqtt/server.ts'
import type {
  ListeningEndpoint,
  ProtocolCounters,
  ProtocolServer,
} from './protocols/shared/protocol-server.ts'

export interface BrokerOptions {
  readonly config: BrokerConfig
  readonly log: (nodeId: string) => BrokerLog
  /** A storage adapter of the same process; else the configured URL is opened. */
  readonly storage?: StorageAdapter
  /** Embedded storage has failed: the outcome of its last writes is unknown, and the process must end. */
  readonly onFatal: (error: Error) => void
}

export interface Broker {
  readonly nodeId: string
  readonly endpoints: readonly ListeningEndpoint[]
  /** What the storage behind it promises. */
  readonly storagePromise: string
  /** Gives its shards back, leaves the cluster, closes everything. Idempotent. */
  stop(): Promise<void>
}

const VERSION = '0.1.0'

/** Resolves when the broker is a member and its listeners are open. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const { config } = options
  const nodeId = nodeIdentity(config.nodeId, config.dataDir)
  const log = options.log(nodeId)
  const { onFatal } = options
  const storage =
    options.storage ?? (await openStorage(config.storageUrl, { logger: log, onFatal }))
  const mqttPort = config.mqttPort === 0 ? await freePort(config.host) : config.mqttPort
  const grpcPort = config.grpcPort === 0 ? await freePort(config.host) : config.grpcPort
  const node = assemble({ config: { ...config, mqttPort, grpcPort }, nodeId, storage, log })
  try {
    const endpoints = await node.start()
    return {
      nodeId,
      endpoints,
      storagePromise: storage.capabilities.promise,
      stop: once(async () => {
        await node.stop()
        if (options.storage === undefined) await storage.stop()
      }),
    }
  } catch (error) {
    await node.stop()
    throw error
  }
}

interface Parts {
  readonly config: BrokerConfig
  readonly nodeId: string
  readonly storage: StorageAdapter
  readonly log: BrokerLog
}

interface Node {
  start(): Promise<readonly ListeningEndpoint[]>
  stop(): Promise<void>
}

function assemble(parts: Parts): Node {
  const { config, nodeId, storage, log } = parts
  const cluster = assembleCluster(parts)
  const { metadata, placement, mesh, shards, messaging, runtime } = cluster
  const protocols: ProtocolServer[] = cluster.protocols
  protocols.push(
    new MqttServer({
      host: config.host,
      port: config.mqttPort,
      packetBytesMax: config.packetBytesMax,
      messaging,
      clock: systemClock,
      log: log.child({ protocol: 'mqtt' }),
    }),
  )
  let grpc: GrpcServer | undefined
  const changed = (): void => {
    mesh.changed()
    shards.reconcile()
    messaging.changed()
  }
  return {
    start: async () => {
      grpc = await startGrpcServer({
        host: config.host,
        port: config.grpcPort,
        peers: { exchange: (stream) => mesh.accept(stream) } as peerApi.BrokerPeerServer,
        control: createControlService({
          placement,
          shards,
          inspect: () => inspect(cluster, { nodeId, storage }),
        }),
      })
      metadata.observe(changed)
      await cluster.register()
      await mesh.synced()
      const endpoints = await Promise.all(protocols.map((protocol) => protocol.start()))
      grpc.setServing(true)
      return [...endpoints.flat(), { protocol: 'grpc', host: config.host, port: grpc.port }]
    },
    stop: async () => {
      grpc?.setServing(false)
      await Promise.all(protocols.map((protocol) => protocol.stop()))
      mesh.sayLeaving()
      // Without a Placement Center nobody takes the shards back: they move by time-out then.
      await Promise.race([shards.drain(), pause(DRAIN_MS)])
      await placement.deregister('shut down')
      shards.stop()
      messaging.stop()
      mesh.stop()
      placement.stop()
      runtime.stop()
      grpc?.stop()
    },
  }
}

interface Cluster {
  readonly metadata: MetadataCache
  readonly placement: PlacementClient
  readonly mesh: PeerMesh
  readonly shards: ShardHost
  readonly messaging: Messaging
  readonly runtime: ReturnType<typeof createRuntimeReport>
  readonly protocols: ProtocolServer[]
  /** Registers; the shards' number is known from then on. */
  register(): Promise<void>
}

function assembleCluster({ config, nodeId, storage, log }: Parts): Cluster {
  const incarnation = randomUUID()
  const metadata = new MetadataCache(nodeId)
  const hosted = new HostedShards()
  const topics = new Topics(() => router.topicsChanged())
  const router: Router = new Router(metadata, topics)
  const protocols: ProtocolServer[] = []
  const runtime = createRuntimeReport(() => ({
    ...countersOf(protocols),
    sessions: [...hosted.all()].reduce((sum, shard) => sum + shard.sessions.size, 0),
    subscriptions: router.liveSubscriptions,
  }))
  const placement = new PlacementClient({
    addresses: config.placement,
    registration: registrationOf(config, nodeId, incarnation),
    metadata,
    report: () => runtime.report(),
    onReregistered: () => {
      log.warn({ errId: 'LEASE_LOST' }, 'removed from the cluster; registered again')
      // Connections first: nothing that came by them may be acknowledged by what was known before.
      for (const protocol of protocols) protocol.disconnectAll('the broker lost its lease')
      shards.dropAll()
      router.forgetShards()
      mesh.restart()
      // Brokers that joined meanwhile are members to wait for too.
      messaging.restarted(metadata.reached(placement.nodeEpoch).then(() => mesh.synced()))
      shards.reconcile()
    },
    onRenewed: () => messaging.renewed(),
    onTrouble: seldom((address, error) => {
      const fields = { errId: 'PLACEMENT_UNREACHABLE', address, reason: error.message }
      log.warn(fields, `Placement Center node ${address} does not answer, retrying`)
    }),
  })
  const mesh: PeerMesh = new PeerMesh({
    clusterId: () => metadata.clusterId,
    incarnation,
    nodeEpoch: () => placement.nodeEpoch,
    metadata,
    router,
    clock: systemClock,
    hostedFilters: () => shards.filters(),
    handlers: {
      publish: (item, reply) => messaging.receive(item, reply),
      request: (shard, request) => answer(hosted, shard, { request, clock: systemClock }),
      push: (to, deliveries) => messaging.push(to, deliveries),
      evict: (to) => messaging.evict(to),
      acknowledged: (to, offsets) =>
        messaging.acknowledged(shardOf('session', to.session, metadata.shardCount), to, offsets),
      linked: (node) => messaging.peerLinked(node),
      changed: () => messaging.changed(),
    },
  })
  const messaging: Messaging = new Messaging({
    directory: metadata,
    hosted,
    peers: mesh,
    clock: systemClock,
    router,
    nodeEpoch: () => placement.nodeEpoch,
    mayAcknowledge: () => placement.mayAcknowledge,
  })
  const shards: ShardHost = new ShardHost({
    metadata,
    placement,
    storage,
    hosted,
    clock: systemClock,
    incarnation,
    connections: connectionsOf({ nodeId, metadata, mesh, messaging }),
    logs: logResourcesOf(topics),
    publish: (message) => messaging.publishAndWait(message),
    announce: (shard, epoch, change) => mesh.announceShard(shard, epoch, change),
    onChange: () => messaging.changed(),
    log,
  })
  const register = (): Promise<void> => placement.start()
  return { metadata, placement, mesh, shards, messaging, runtime, protocols, register }
}

/** What the logs of all shards share. */
function logResourcesOf(topics: Topics): LogResources {
  return {
    tails: new TailCache(TAIL_CACHE_BYTES),
    budget: new TaskBudget(systemClock, TASK_BYTES_PER_SECOND),
    policyOf: (name) => topics.policyOf(name),
    isDeleted: (name) => topics.isDeleted(name),
  }
}

const TROUBLE_REPEAT_MS = 10_000

/** The first trouble with each address, and then one every ten seconds. */
function seldom(
  tell: (address: string, error: Error) => void,
): (address: string, error: Error) => void {
  const toldAtMs = new Map<string, number>()
  return (address, error) => {
    const now = performance.now()
    if (now - (toldAtMs.get(address) ?? Number.NEGATIVE_INFINITY) < TROUBLE_REPEAT_MS) return
    toldAtMs.set(address, now)
    tell(address, error)
  }
}

/** Sessions are pushed to here, or to the peer that has the socket. */
function connectionsOf(parts: {
  nodeId: string
  metadata: MetadataCache
  mesh: PeerMesh
  messaging: Messaging
}): Connections {
  const { nodeId, metadata, mesh, messaging } = parts
  return {
    push: (node, to, deliveries) => {
      if (node === nodeId) messaging.push(to, deliveries)
      else mesh.push(node, to, deliveries)
    },
    evict: (node, to: SessionAddress) => {
      if (node !== nodeId) return mesh.evict(node, to)
      messaging.evict(to)
      return Promise.resolve()
    },
    isMember: (node, nodeEpoch) => metadata.isMember(node, nodeEpoch),
  }
}

function registrationOf(config: BrokerConfig, nodeId: string, incarnation: string) {
  const host = config.advertiseHost
  return {
    clusterId: '',
    nodeId,
    incarnation,
    version: VERSION,
    grpcAddress: `${host}:${config.grpcPort}`,
    endpoints: [
      { protocol: 'mqtt', host, port: config.mqttPort },
      { protocol: 'grpc', host, port: config.grpcPort },
    ],
  }
}

function inspect(
  cluster: Cluster,
  known: { nodeId: string; storage: StorageAdapter },
): control.InspectReply {
  const { metadata, placement, shards, messaging, protocols } = cluster
  const protocolCounters = countersOf(protocols)
  const counters: Record<string, number> = { ...messaging.counts, ...protocolCounters }
  return {
    nodeId: known.nodeId,
    incarnation: '',
    nodeEpoch: placement.nodeEpoch,
    placementConnected: placement.leaseValid,
    placementSilenceMs: placement.silenceMs,
    leaseValid: placement.leaseValid,
    storageAvailable: shards.storageAvailable,
    storagePromise: known.storage.capabilities.promise,
    metadataIndex: metadata.index,
    shards: shards.states(),
    connections: protocolCounters.connections,
    sessions: messaging.counts.sessions,
    memoryBytes: process.memoryUsage.rss(),
    counters,
  }
}

type Counters = Omit<ProtocolCounters, 'more'> & Record<string, number>

/** Of all protocols together. */
function countersOf(protocols: readonly ProtocolServer[]): Counters {
  const sum: Counters = { connections: 0, messagesIn: 0, messagesOut: 0, bytesIn: 0, bytesOut: 0 }
  for (const protocol of protocols) {
    const { more, ...counters } = protocol.counters()
    for (const [name, value] of Object.entries({ ...counters, ...more })) {
      sum[name] = (sum[name] ?? 0) + value
    }
  }
  return sum
}

const DRAIN_MS = 5_000

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref())
}

function freePort(host: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const probe = createServer()
    probe.once('error', reject)
    probe.listen(0, host, () => {
      const address = probe.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      probe.close(() => resolve(port))
    })
  })
}

function once(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  return () => {
    running ??= run()
    return running
  }
}
