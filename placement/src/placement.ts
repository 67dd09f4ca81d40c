/** A Placement Center node, composed: options in, something to start and stop out. No decisions of its own. */
import { randomUUID } from 'node:crypto'
import { createServer } from 'node:net'
import { join } from 'node:path'
import {
  createRaft,
  DEFAULT_TIMINGS,
  FileSnapshotStore,
  LevelLogStore,
  type Raft,
  type RaftLogger,
  type RaftMember,
  systemClock,
} from 'raft-ts'
import { ConfigError, type PlacementConfig } from './config.ts'
import { Leadership } from './controllers/leadership.ts'
import { createPlacementService } from './grpc/placement-service.ts'
import { type GrpcServer, startGrpcServer } from './grpc/server.ts'
import { WatchService } from './grpc/watch-service.ts'
import { type Identity, openIdentity } from './identity.ts'
import type { Logger } from './logger.ts'
import { GrpcTransport } from './replication/grpc-transport.ts'
import { MetadataMachine } from './replication/metadata-machine.ts'
import { asPlacementError, createProposer } from './replication/proposer.ts'
import { settingsOf } from './settings.ts'

export interface PlacementOptions {
  readonly config: PlacementConfig
  readonly log: (nodeId: string) => Logger
  /** Called at most once: the log or the state cannot be trusted any more, and the process must end. */
  readonly onFatal: (error: Error) => void
}

export interface Placement {
  /**
   * Resolves when it listens and takes part in elections; a leader may not be known yet.
   * @throws ListenError, IdentityError, ConfigError, and what raft-ts' start throws.
   */
  start(): Promise<void>
  /** Idempotent. Closes the watches, the log and the port. */
  stop(): Promise<void>
  /** That it listens on; the configured one before the start. */
  readonly port: number
  /** Undefined before the start. */
  readonly nodeId: string | undefined
}

/** A leader that heard no majority for so long steps down, so it answers no heartbeat either. */
const QUORUM_CONTACT_MAX_MS = DEFAULT_TIMINGS.electionMinMs

/** Few members that hear of each other in milliseconds: a narrow range parts their elections well enough. */
const ELECTION_MAX_MS = 1_500

const DEFAULT_IDENTITY: Identity = { clusterId: 'robust', nodeId: 'placement-1' }

export function createPlacement(options: PlacementOptions): Placement {
  const { config } = options
  let running: { readonly node: RunningNode; readonly identity: Identity } | undefined
  let stopping: Promise<void> | undefined
  let starting: Promise<void> | undefined
  const start = async (): Promise<void> => {
    const identity = openIdentity(config.dataDir, asked(config), DEFAULT_IDENTITY)
    running = { node: await startNode(options, identity), identity }
  }
  const stop = async (): Promise<void> => {
    await starting?.catch(() => undefined)
    await running?.node.stop()
  }
  return {
    start: () => {
      starting ??= start()
      return starting
    },
    stop: () => {
      stopping ??= stop()
      return stopping
    },
    get port() {
      return running?.node.port ?? config.port
    },
    get nodeId() {
      return running?.identity.nodeId
    },
  }
}

interface RunningNode {
  readonly port: number
  stop(): Promise<void>
}

function asked({ nodeId, clusterId }: PlacementConfig): Partial<Identity> {
  return {
    ...(nodeId === undefined ? {} : { nodeId }),
    ...(clusterId === undefined ? {} : { clusterId }),
  }
}

async function startNode(given: PlacementOptions, identity: Identity): Promise<RunningNode> {
  // The address is told to others before anything listens on it, so a free port is chosen first.
  const port = given.config.port === 0 ? await freePort(given.config.host) : given.config.port
  const options = { ...given, config: { ...given.config, port } }
  const { config } = options
  const log = options.log(identity.nodeId)
  const members = membersOf(config, identity.nodeId)
  const parts = assemble(options, { identity, members, log })
  const { raft, transport, leadership, watches, service } = parts
  const server = await startGrpcServer({
    host: config.host,
    port: config.port,
    placement: service,
    raft: transport.service,
  }).catch((error: unknown) => {
    leadership.stop()
    watches.stop()
    throw error
  })
  const stop = async (): Promise<void> => {
    server.setServing(false)
    leadership.stop()
    watches.stop()
    await raft.stop()
    await server.stop()
  }
  const node = await begin({ server, raft, log, stop })
  warnOfOtherMembers(raft.status().members, { members, log })
  return node
}

async function begin(parts: {
  readonly server: GrpcServer
  readonly raft: Raft
  readonly log: Logger
  readonly stop: () => Promise<void>
}): Promise<RunningNode> {
  const { server, raft, log, stop } = parts
  try {
    await raft.start()
  } catch (error) {
    await stop()
    throw error
  }
  server.setServing(true)
  log.info({ port: server.port, members: raft.status().members }, 'listening')
  return { port: server.port, stop }
}

/** The log decides who votes; a member that is only in one of both lists is not reached. */
function warnOfOtherMembers(
  voting: readonly RaftMember[],
  { members, log }: { readonly members: readonly RaftMember[]; readonly log: Logger },
): void {
  const ids = (list: readonly RaftMember[]): string[] => list.map(({ id }) => id).sort()
  const [kept, given] = [ids(voting), ids(members)]
  if (kept.join() === given.join()) return
  log.warn({ errId: 'PEERS_DIFFER', kept, given }, '--peers names other members than the log')
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

/** A cluster of one needs no list. */
function membersOf(config: PlacementConfig, nodeId: string): readonly RaftMember[] {
  if (config.members.length === 0) {
    return [{ id: nodeId, address: `${config.host}:${config.port}` }]
  }
  if (!config.members.some(({ id }) => id === nodeId)) {
    const ids = config.members.map(({ id }) => id).join(', ')
    throw new ConfigError(`--peers names ${ids}, but not this node, ${nodeId}`)
  }
  return config.members
}

interface Setting {
  readonly identity: Identity
  readonly members: readonly RaftMember[]
  readonly log: Logger
}

function assemble({ config, onFatal }: PlacementOptions, { identity, members, log }: Setting) {
  const incarnation = randomUUID()
  const machine = new MetadataMachine()
  const transport = new GrpcTransport({ ...identity, incarnation, members, log })
  const raft = createRaft({
    ...identity,
    incarnation,
    members,
    stateMachine: machine,
    logStore: new LevelLogStore({ directory: join(config.dataDir, 'raft') }),
    snapshotStore: new FileSnapshotStore({ directory: join(config.dataDir, 'snapshots') }),
    transport,
    clock: systemClock,
    random: Math.random,
    timings: { electionMaxMs: ELECTION_MAX_MS },
    logger: asRaftLogger(log),
    onFatal,
  })
  const settings = settingsOf(() => machine.state)
  const followLevel = (): void => {
    log.level = settings.get('log.level') ?? config.logLevel
  }
  machine.observe({ changed: followLevel, restored: followLevel })
  const { nowMs } = systemClock
  const proposer = createProposer(raft, Date.now)
  const { leaseTtlMs, heartbeatMs } = config.preset
  const leadership: Leadership = new Leadership({
    raft,
    machine,
    proposer,
    clusterId: identity.clusterId,
    shardCount: config.shardCount,
    leaseTtlMs,
    heartbeatMs,
    quorumContactMaxMs: QUORUM_CONTACT_MAX_MS,
    nowMs,
    log,
    onLost: (error) => watches.end(error),
  })
  const readBarrier = (): Promise<unknown> =>
    raft.readIndex().catch((error: unknown) => {
      throw asPlacementError(error)
    })
  const watches: WatchService = new WatchService({ machine, leadership, readBarrier })
  const service = createPlacementService({
    raft,
    machine,
    leadership,
    proposer,
    watches,
    readBarrier,
    leaseTtlMs,
    heartbeatMs,
    quorumContactMaxMs: QUORUM_CONTACT_MAX_MS,
    nowMs,
    log,
  })
  return { raft, transport, leadership, watches, service }
}

function asRaftLogger(log: Logger): RaftLogger {
  return {
    debug: (message, fields = {}) => log.debug(fields, message),
    info: (message, fields = {}) => log.info(fields, message),
    warn: (message, fields = {}) => log.warn(fields, message),
    error: (message, fields = {}) => log.error(fields, message),
  }
}
