/** The administration over HTTP, composed: what the server is given of the broker's parts. */
import { placement as placementApi } from '@robust/proto'
import type { Administration } from './administration.ts'
import { ClusterAdministration } from './cluster/cluster-administration.ts'
import type { MetadataCache } from './cluster/metadata-cache.ts'
import type { PlacementClient } from './cluster/placement-client.ts'
import type { ShardHost } from './cluster/shard-host.ts'
import type { BrokerConfig } from './config.ts'
import type { NamedLatencies } from './core/ports/telemetry.ts'
import type { StoragePressure } from './core/storage-pressure.ts'
import type { BrokerSummary, ClusterPort, ClusterSummary, Readiness } from './http/ports.ts'
import { type HttpLog, type HttpServer, startHttpServer } from './http/server.ts'
import { createMetrics, type MetricsSnapshot } from './observability/metrics.ts'
import { observeCalls } from './observability/rpc-latencies.ts'
import type { Authenticator } from './security/authenticator.ts'

export interface AdminHttpOptions {
  readonly config: BrokerConfig
  readonly nodeId: string
  readonly version: string
  readonly metadata: MetadataCache
  readonly placement: PlacementClient
  readonly shards: ShardHost
  readonly pressure: StoragePressure
  readonly security: Authenticator
  readonly administration: Administration
  /** The listeners are open. */
  readonly isServing: () => boolean
  readonly snapshot: () => Promise<MetricsSnapshot>
  readonly rpc: NamedLatencies
  readonly log: HttpLog
}

/** From which share of its room on storage slows publishers. */
const SLOW_PRESSURE = 0.75

/** Undefined: the configuration wants none. */
export async function startAdminHttp(options: AdminHttpOptions): Promise<HttpServer | undefined> {
  const { config, nodeId, version, metadata, security, log, rpc, administration } = options
  if (config.httpPort === undefined) return undefined
  const others = new ClusterAdministration(metadata, observeCalls(rpc))
  const cluster: ClusterPort = {
    summary: () => summaryOf(options),
    inspect: (node) => others.inspect(node),
    clients: (page) => others.clients(page),
    sessions: (page) => others.sessions(page),
    subscriptions: (page) => others.subscriptions(page),
    retained: (page) => others.retained(page),
    bridges: (page) => others.bridges(page),
    kick: (clientId) => others.kick(clientId),
    endSession: (clientId) => administration.endSession(clientId),
    retainedAt: (address) => administration.retainedAt(address),
    forgetRetained: (address) => administration.forgetRetained(address),
  }
  const server = await startHttpServer({
    ...{ host: config.host, port: config.httpPort, version, cluster, log },
    readiness: () => readinessOf(options),
    metrics: createMetrics(nodeId, options.snapshot),
    authenticate: (credentials) => security.authenticate(credentials),
  })
  return {
    port: server.port,
    stop: async () => {
      await server.stop()
      others.stop()
    },
  }
}

/** What makes the cluster send clients elsewhere; a broker that is not ready lives. */
export function readinessOf({
  placement,
  shards,
  isServing,
}: Pick<AdminHttpOptions, 'placement' | 'shards' | 'isServing'>): Readiness {
  const silence = `${placement.silenceMs} ms since the last answer`
  const checks = [
    {
      name: 'member',
      ok: placement.leaseValid,
      detail: placement.nodeEpoch === 0 ? 'not registered yet' : silence,
    },
    {
      name: 'listeners',
      ok: isServing(),
      detail: isServing() ? 'open' : 'not open',
    },
    {
      name: 'storage',
      ok: shards.storageAvailable,
      detail: shards.storageAvailable ? 'answers' : 'does not answer',
    },
  ]
  return { ready: checks.every(({ ok }) => ok), checks }
}

export function summaryOf({
  nodeId,
  metadata,
  placement,
  shards: host,
  pressure,
}: AdminHttpOptions): ClusterSummary {
  const shards = countShards(metadata.shards())
  const brokers = brokersOf(metadata)
  const critical = [
    ...(placement.leaseValid ? [] : ['the Placement Center does not answer this broker']),
    ...(host.storageAvailable ? [] : ['storage does not answer this broker']),
    ...(shards.free > 0 ? [`${shards.free} shards have no owner`] : []),
  ]
  const degraded = [
    ...(shards.granted > 0 ? [`${shards.granted} shards are being opened`] : []),
    ...brokers
      .filter(({ state }) => state === 'draining')
      .map(({ node }) => `${node} is being drained`),
    ...(pressure.level >= SLOW_PRESSURE
      ? [`storage is ${Math.round(pressure.level * 100)}% full`]
      : []),
  ]
  const health = critical.length > 0 ? 'critical' : degraded.length > 0 ? 'degraded' : 'healthy'
  return {
    clusterId: metadata.clusterId,
    answeredBy: nodeId,
    health,
    reasons: [...critical, ...degraded],
    metadataIndex: metadata.index,
    placement: {
      connected: placement.leaseValid,
      silenceMs: placement.silenceMs,
      term: placement.term,
    },
    shards,
    brokers,
  }
}

function brokersOf(metadata: MetadataCache): BrokerSummary[] {
  const owned = new Map<string, number>()
  for (const { owner } of metadata.shards()) owned.set(owner, (owned.get(owner) ?? 0) + 1)
  return metadata.nodes().map(({ nodeId: node, nodeEpoch, state, ...rest }) => {
    const isDraining = state === placementApi.NodeState.NODE_STATE_DRAINING
    const { version, grpcAddress, endpoints } = rest
    return {
      ...{ node, state: isDraining ? ('draining' as const) : ('active' as const) },
      ...{ epoch: nodeEpoch, version, grpcAddress, endpoints, shards: owned.get(node) ?? 0 },
    }
  })
}

function countShards(shards: readonly placementApi.Shard[]): ClusterSummary['shards'] {
  const owned = shards.filter(({ owner }) => owner !== '')
  const open = owned.filter(({ opened }) => opened).length
  const total = shards.length
  return { total, open, granted: owned.length - open, free: total - owned.length }
}
