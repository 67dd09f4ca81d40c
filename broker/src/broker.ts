/** The broker, composed: options in, something to start and stop out. No decisions of its own. */
import { randomUUID } from 'node:crypto'
import { openStorage, type StorageAdapter } from '@robust/storage-adapters'
import { startAdminHttp } from './admin-http.ts'
import { Administration } from './administration.ts'
import { type Bridges, composeBridges } from './bridges.ts'
import { MetadataCache } from './cluster/metadata-cache.ts'
import { type PeerHandlers, PeerMesh } from './cluster/peer-mesh.ts'
import { peerService } from './cluster/peer-stream.ts'
import { PlacementClient } from './cluster/placement-client.ts'
import { type ShardFunctions, ShardHost } from './cluster/shard-host.ts'
import { systemClock } from './cluster/system-clock.ts'
import { followTopics } from './cluster/topic-directory.ts'
import { watchStorage } from './cluster/watch-storage.ts'
import type { BrokerConfig } from './config.ts'
import { answer, HostedShards } from './core/hosted-shard.ts'
import { TAIL_CACHE_BYTES, TASK_BYTES_PER_SECOND } from './core/logs/log-limits.ts'
import type { LogResources } from './core/logs/log-shard.ts'
import { TailCache } from './core/logs/tail-cache.ts'
import { TaskBudget } from './core/logs/task-budget.ts'
import { Messaging } from './core/messaging.ts'
import type { Connections, SessionAddress } from './core/ports/connections.ts'
import { NamedLatencies } from './core/ports/telemetry.ts'
import type { DispatchStrategy } from './core/queues/queue-policy.ts'
import { QueueTable } from './core/queues/queue-table.ts'
import { Router } from './core/router.ts'
import { shardOf } from './core/shard-hash.ts'
import { TopicReader } from './core/topics/topic-reader.ts'
import { Topics } from './core/topics/topics.ts'
import { DeadLetters, deadLetterRulesOf } from './dead-letters.ts'
import { composeDialects } from './dialects.ts'
import { registrationOf, withPorts } from './endpoints.ts'
import { type Frontage, frontageOf } from './frontage.ts'
import { type GroupResources, GroupShard } from './functions/group-shard.ts'
import { Scheduled } from './functions/scheduled.ts'
import { createAdminService } from './grpc/admin-service.ts'
import { type ClientOrders, createControlService } from './grpc/control-service.ts'
import { type GrpcServer, startGrpcServer } from './grpc/server.ts'
import type { HttpServer } from './http/server.ts'
import { countersOf, inspect, shardCounters } from './inspection.ts'
import { MeasuredStorage } from './measured-storage.ts'
import { snapshotOf } from './metrics.ts'
import { retainedLimitsOf, VERSION } from './mqtt.ts'
import { nodeIdentity } from './node-identity.ts'
import { replacePredecessor } from './node-process.ts'
import type { BrokerLog } from './observability/log.ts'
import { ProcessLatencies } from './observability/process-latencies.ts'
import { observeCalls } from './observability/rpc-latencies.ts'
import { createRuntimeReport } from './observability/runtime-report.ts'
import type { ListeningEndpoint } from './protocols/shared/protocol-server.ts'
import { type ComposedQueues, composeQueues } from './queues.ts'
import { composeRelays, recordInTopic } from './relays.ts'
import { type ComposedTransactions, composeTransactions } from './transactions.ts'

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

/** Resolves when the broker is a member and its listeners are open. */
export async function startBroker(options: BrokerOptions): Promise<Broker> {
  const { config } = options
  const nodeId = nodeIdentity(config.nodeId, config.dataDir)
  const log = options.log(nodeId)
  const { onFatal } = options
  const storage =
    options.storage ?? (await openStorage(config.storageUrl, { logger: log, onFatal }))
  const measured = new MeasuredStorage(storage)
  const node = assemble({ config: await withPorts(config), nodeId, storage: measured, log })
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
  readonly storage: MeasuredStorage
  readonly log: BrokerLog
}

interface Node {
  start(): Promise<readonly ListeningEndpoint[]>
  stop(): Promise<void>
}

function assemble(parts: Parts): Node {
  const { config, nodeId, storage, log } = parts
  const cluster = assembleCluster(parts)
  const { metadata, placement, mesh, shards, messaging, queues, transactions, runtime } = cluster
  const { protocols, mover, settings } = cluster
  protocols.push(...composeDialects({ ...cluster, config, nodeId, storage }))
  settings.follow('log.level', (level) => {
    log.level = level ?? config.logLevel
  })
  const administration = new Administration(cluster)
  let grpc: GrpcServer | undefined
  let http: HttpServer | undefined
  let isServing = false
  const isReady = (): boolean => isServing && placement.leaseValid && shards.storageAvailable
  const changed = (): void => {
    mesh.changed()
    shards.reconcile()
    messaging.changed()
    queues.changed()
    transactions.changed()
  }
  return {
    start: async () => {
      grpc = await startGrpc(parts, cluster, administration)
      http = await startAdminHttp({
        ...{ ...cluster, config, nodeId, administration, version: VERSION },
        isServing: () => isServing,
        snapshot: () => snapshotOf({ ...cluster, storage, version: VERSION, isReady }),
      })
      metadata.observe(changed)
      cluster.pressure.start()
      await cluster.register()
      await mesh.synced()
      const endpoints = await Promise.all(protocols.map((protocol) => protocol.start()))
      grpc.setServing(true)
      isServing = true
      cluster.bridges.start()
      const { host } = config
      return [
        ...endpoints.flat(),
        { protocol: 'grpc', host, port: grpc.port },
        ...(http === undefined ? [] : [{ protocol: 'http', host, port: http.port }]),
      ]
    },
    stop: async () => {
      isServing = false
      grpc?.setServing(false)
      mover.stop()
      cluster.pressure.stop()
      await Promise.race([cluster.bridges.stop(), pause(BRIDGES_MS)])
      await Promise.all(protocols.map((protocol) => protocol.stop()))
      mesh.sayLeaving()
      // Without a Placement Center nobody takes the shards back: they move by time-out then.
      await Promise.race([shards.drain(), pause(DRAIN_MS)])
      await placement.deregister('shut down')
      shards.stop()
      cluster.losses.stop()
      messaging.stop()
      mesh.stop()
      placement.stop()
      runtime.stop()
      cluster.process.stop()
      await http?.stop()
      grpc?.stop()
    },
  }
}

function startGrpc(
  { config, nodeId, storage, log }: Parts,
  cluster: Cluster,
  administration: Administration,
): Promise<GrpcServer> {
  const { metadata, placement, mesh, shards, bridges, queues } = cluster
  return startGrpcServer({
    host: config.host,
    port: config.grpcPort,
    peers: peerService(
      () => mesh.identity,
      (stream) => mesh.accept(stream),
    ),
    onRefused: ({ from, reason }) =>
      log.warn({ errId: 'PEER_REFUSED', from, reason }, 'a peer was refused'),
    control: createControlService({
      placement,
      shards,
      clients: clientOrders(cluster),
      inspect: () => inspect(cluster, { nodeId, storage, config }),
    }),
    admin: createAdminService({
      self: nodeId,
      bridges: () => bridges.statuses(),
      administration,
      topics: new TopicReader({ ...cluster, directory: metadata, storage }),
      ...{ queues: queues.client, directory: metadata, clock: systemClock },
    }),
  })
}

/** What the Placement Center says about clients, told to admission and to the protocols. */
function clientOrders({ admission, mover, protocols, log }: Cluster): ClientOrders {
  return {
    throttle: ({ active, acceptPerSecond, targets, reason }) => {
      log.info({ active, targets, reason }, 'throttled by the Placement Center')
      admission.throttle(active ? { acceptPerSecond, targets, reason } : undefined)
    },
    shed: ({ share, perSecond, targets, closeOthers, reason }) => {
      const clients = mover.move(protocols, {
        share,
        perSecond,
        closeOthers,
        servers: (protocol) => admission.servers(targets, protocol),
      })
      log.info({ clients, share, targets, reason }, 'moving clients to other brokers')
      return clients
    },
  }
}

interface Cluster extends Frontage {
  readonly metadata: MetadataCache
  readonly placement: PlacementClient
  readonly mesh: PeerMesh
  readonly shards: ShardHost
  readonly messaging: Messaging
  readonly queues: ComposedQueues
  readonly transactions: ComposedTransactions
  readonly runtime: ReturnType<typeof createRuntimeReport>
  readonly hosted: HostedShards
  readonly topics: Topics
  readonly process: ProcessLatencies
  readonly losses: DeadLetters
  readonly bridges: Bridges
  /** Of calls that this broker makes. */
  readonly rpc: NamedLatencies
  readonly log: BrokerLog
  /** Registers; the shards' number is known from then on. */
  register(): Promise<void>
}

function assembleCluster({ config, nodeId, storage, log }: Parts): Cluster {
  const incarnation = randomUUID()
  const replaces = replacePredecessor(config.dataDir, incarnation)
  const metadata = new MetadataCache(nodeId)
  const hosted = new HostedShards()
  const { topics, queueTable, router } = keepersOf(metadata)
  const frontage = frontageOf(metadata, watchStorage(storage, log), log)
  const { protocols, admission, mover, pressure } = frontage
  const rpc = new NamedLatencies()
  const runtime = createRuntimeReport(() => loadOf(frontage, hosted, router))
  const placement = new PlacementClient({
    addresses: config.placement,
    registration: { ...registrationOf(config, nodeId), incarnation, replaces },
    metadata,
    report: () => runtime.report(),
    onReregistered: () => {
      log.warn({ errId: 'LEASE_LOST' }, 'removed from the cluster; registered again')
      // Connections first: nothing that came by them may be acknowledged by what was known before.
      for (const protocol of protocols) protocol.disconnectAll('the broker lost its lease')
      admission.throttle(undefined)
      mover.stop()
      shards.dropAll()
      router.forgetShards()
      mesh.restart()
      // Brokers that joined meanwhile are members to wait for too.
      messaging.restarted(metadata.reached(placement.nodeEpoch).then(() => mesh.synced()))
      shards.reconcile()
    },
    onRenewed: () => messaging.renewed(),
    onTrouble: troubleTeller(log),
    observer: observeCalls(rpc),
  })
  const mesh: PeerMesh = new PeerMesh({
    ...{ metadata, router, incarnation, clock: systemClock },
    clusterId: () => metadata.clusterId,
    nodeEpoch: () => placement.nodeEpoch,
    hostedFilters: () => shards.filters(),
    handlers: peerHandlers(hosted, metadata, {
      messaging: () => messaging,
      changed: () => ownersChanged(),
    }),
  })
  const messaging: Messaging = new Messaging({
    directory: metadata,
    peers: mesh,
    ...{ hosted, clock: systemClock, router, pressure },
    nodeEpoch: () => placement.nodeEpoch,
    mayAcknowledge: () => placement.mayAcknowledge,
  })
  const owners = { metadata, placement, mesh, hosted, clock: systemClock }
  const queues = composeQueues({ ...owners, router, pressure, table: queueTable })
  const transactions = composeTransactions(owners)
  const losses = deadLettersOf(frontage, messaging)
  const shards: ShardHost = new ShardHost({
    ...{ metadata, placement, storage, pressure, hosted, clock: systemClock, incarnation },
    connections: connectionsOf({ nodeId, metadata, mesh, messaging }),
    logs: logResourcesOf(topics),
    retainedLimits: () => retainedLimitsOf(frontage.settings, metadata.shardCount),
    publish: (message) => messaging.publishAndWait(message),
    losses,
    leaveGroups: (to, filters) => messaging.leaveGroups(to, filters),
    functions: functionsOf(frontage, { queues, transactions, topics, messaging: () => messaging }),
    announce: (shard, epoch, change) => mesh.announceShard(shard, epoch, change),
    onChange: () => {
      ownersChanged()
      bridges.reconcile()
    },
    log,
  })
  const ownersChanged = (): void => {
    messaging.changed()
    queues.changed()
    transactions.changed()
  }
  const bridges: Bridges = composeBridges({ ...frontage, config, metadata, hosted, messaging, log })
  const parts = { metadata, placement, mesh, shards, messaging, queues, runtime, hosted, topics }
  const telemetry = { losses, bridges, rpc, process: new ProcessLatencies() }
  const told = { ...telemetry, transactions, log, register: () => placement.start() }
  return { ...frontage, ...parts, ...told }
}

interface ComposedFunctions {
  readonly queues: ComposedQueues
  readonly transactions: ComposedTransactions
  readonly topics: Topics
  readonly messaging: () => Messaging
}

function functionsOf(
  frontage: Frontage,
  { queues, transactions, ...relayed }: ComposedFunctions,
): ShardFunctions {
  return {
    groups: (parts) => new GroupShard({ ...parts, ...groupResourcesOf(frontage) }),
    schedule: (parts) => new Scheduled(parts),
    queues: (parts) => queues.host(parts),
    transactions: (parts) => transactions.host(parts),
    relays: (parts) => composeRelays(relayed, parts),
  }
}

function deadLettersOf({ settings }: Frontage, messaging: Messaging): DeadLetters {
  return new DeadLetters({
    rules: settings.live(deadLetterRulesOf),
    clock: systemClock,
    publish: (message) => messaging.publishAndWait(message),
  })
}

/** Who gets what is published, and what keeps it. */
function keepersOf(metadata: MetadataCache) {
  const topics = new Topics(() => router.keepersChanged())
  const queueTable = new QueueTable()
  const router: Router = new Router(metadata, { topics, queues: queueTable })
  followTopics(metadata.resources, topics)
  return { topics, queueTable, router }
}

/** What other brokers ask of this one. */
function peerHandlers(
  hosted: HostedShards,
  metadata: MetadataCache,
  { messaging, changed }: { messaging: () => Messaging; changed: () => void },
): PeerHandlers {
  return {
    publish: (item, reply) => messaging().receive(item, reply),
    request: (shard, request, signal) =>
      answer(hosted, shard, { request, clock: systemClock, signal }),
    push: (to, deliveries) => messaging().push(to, deliveries),
    pushShared: (to, deliveries) => messaging().pushShared(to, deliveries),
    evict: (to) => messaging().evict(to),
    acknowledged: (to, offsets) =>
      messaging().acknowledged(shardOf('session', to.session, metadata.shardCount), to, offsets),
    linked: (node) => messaging().peerLinked(node),
    changed,
  }
}

function loadOf({ protocols, admission, mover }: Frontage, hosted: HostedShards, router: Router) {
  const shards = shardCounters(hosted)
  return {
    ...countersOf(protocols),
    sessions: shards.reduce((sum, { sessions }) => sum + sessions, 0),
    subscriptions: router.liveSubscriptions,
    shards,
    throttled: admission.isThrottled,
    clientsMoved: mover.moved,
  }
}

/** What the groups of all shards share. */
function groupResourcesOf({ settings }: Frontage): GroupResources {
  return {
    dispatch: () => settings.get('mqtt.shared-dispatch') as DispatchStrategy,
    random: Math.random,
  }
}

/** What the logs of all shards share. */
function logResourcesOf(topics: Topics): LogResources {
  return {
    tails: new TailCache(TAIL_CACHE_BYTES),
    budget: new TaskBudget({ clock: systemClock, bytesPerSecond: TASK_BYTES_PER_SECOND }),
    policyOf: (name) => topics.policyOf(name),
    isDeleted: (name) => topics.isDeleted(name),
    recordOf: recordInTopic,
  }
}

const TROUBLE_REPEAT_MS = 10_000

/** The first trouble with each address, and then one every ten seconds. */
function troubleTeller(log: BrokerLog): (address: string, error: Error) => void {
  const toldAtMs = new Map<string, number>()
  return (address, error) => {
    const now = performance.now()
    if (now - (toldAtMs.get(address) ?? Number.NEGATIVE_INFINITY) < TROUBLE_REPEAT_MS) return
    toldAtMs.set(address, now)
    const fields = { errId: 'PLACEMENT_UNREACHABLE', address, reason: error.message }
    log.warn(fields, `Placement Center node ${address} does not answer, retrying`)
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
    pushShared: (node, to, deliveries) => {
      if (node === nodeId) messaging.pushShared(to, deliveries)
      else mesh.pushShared(node, to, deliveries)
    },
    evict: (node, to: SessionAddress) => {
      if (node !== nodeId) return mesh.evict(node, to)
      messaging.evict(to)
      return Promise.resolve()
    },
    isMember: (node, nodeEpoch) => metadata.isMember(node, nodeEpoch),
  }
}

const DRAIN_MS = 5_000
const BRIDGES_MS = 2_000

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms).unref())
}

function once(run: () => Promise<void>): () => Promise<void> {
  let running: Promise<void> | undefined
  return () => {
    running ??= run()
    return running
  }
}
