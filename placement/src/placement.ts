/** A Placement Center node, composed: options in, something to start and stop out. No decisions of its own. */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { type ProbeCheck, type ProbeServer, serveProbes } from '@robust/proto'
import {
  createRaft,
  DEFAULT_TIMINGS,
  FileLogStore,
  FileSnapshotStore,
  type Raft,
  type RaftLogger,
  type RaftMember,
  systemClock,
} from 'raft-ts'
import type { PlacementConfig } from './config.ts'
import { Leadership } from './controllers/leadership.ts'
import { createChangeLink } from './grpc/change-link.ts'
import { renderMetrics } from './grpc/metrics.ts'
import { createPlacementService } from './grpc/placement-service.ts'
import { type GrpcServer, ListenError, startGrpcServer } from './grpc/server.ts'
import { hasQuorum } from './grpc/status.ts'
import { WatchService } from './grpc/watch-service.ts'
import type { DataFolder } from './identity.ts'
import type { Logger } from './logger.ts'
import { awaitAdmission } from './replication/admission.ts'
import { LinkTransport } from './replication/link-transport.ts'
import { MemberKeeper } from './replication/member-keeper.ts'
import { probeNode } from './replication/member-probe.ts'
import { MetadataMachine } from './replication/metadata-machine.ts'
import { asPlacementError, createProposer } from './replication/proposer.ts'
import { settingsOf } from './settings.ts'
import { admissionOf, freePort, membersOf, openFolder } from './starting.ts'

export interface PlacementOptions {
  readonly config: PlacementConfig
  readonly log: (nodeId: string) => Logger
  /** Called at most once: the log or the state cannot be trusted any more, and the process must end. */
  readonly onFatal: (error: Error) => void
}

export interface Placement {
  /**
   * Resolves when it listens and takes part in elections, or, with a new data folder, asks the others whether
   * it may (an IdentityError is fatal then). A leader may not be known yet.
   * @throws ListenError, IdentityError, ConfigError, and what raft-ts' start throws.
   */
  start(): Promise<void>
  /** Idempotent. Closes the watches, the log and the port. */
  stop(): Promise<void>
  /** That it listens on; the configured one before the start. */
  readonly port: number
  /** Of the probes; undefined: they are not offered, or before the start. */
  readonly httpPort: number | undefined
  /** Undefined before the start. */
  readonly nodeId: string | undefined
}

/** A leader that heard no majority for so long steps down, so it answers no heartbeat either. */
const QUORUM_CONTACT_MAX_MS = DEFAULT_TIMINGS.electionMinMs

/** Few members that hear of each other in milliseconds: a narrow range parts their elections well enough. */
const ELECTION_MAX_MS = 1_500

export function createPlacement(options: PlacementOptions): Placement {
  const { config, log } = options
  const ending = new AbortController()
  let running: { readonly node: RunningNode; readonly folder: DataFolder } | undefined
  let stopping: Promise<void> | undefined
  let starting: Promise<void> | undefined
  const start = async (): Promise<void> => {
    const folder = await openFolder(config, { log, signal: ending.signal })
    running = { node: await startNode(options, { folder, signal: ending.signal }), folder }
  }
  const stop = async (): Promise<void> => {
    ending.abort(new Error('this node stops'))
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
    get httpPort() {
      return running?.node.httpPort
    },
    get nodeId() {
      return running?.folder.nodeId
    },
  }
}

interface RunningNode {
  readonly port: number
  readonly httpPort: number | undefined
  stop(): Promise<void>
}

interface Around {
  readonly folder: DataFolder
  readonly signal: AbortSignal
}

async function startNode(given: PlacementOptions, around: Around): Promise<RunningNode> {
  const { folder, signal } = around
  // The address is told to others before anything listens on it, so a free port is chosen first.
  const port = given.config.port === 0 ? await freePort(given.config.host) : given.config.port
  const options = { ...given, config: { ...given.config, port } }
  const { config, onFatal } = options
  const log = options.log(folder.nodeId)
  const members = membersOf(config, folder.nodeId)
  const parts = assemble(options, { folder, members, log })
  const { raft, transport, leadership, watches, keeper, service } = parts
  const quit = (): void => {
    keeper.stop()
    leadership.stop()
    watches.stop()
  }
  const server = await startGrpcServer({
    host: config.host,
    port: config.port,
    placement: service,
    links: [...transport.services, parts.changes],
  }).catch((error: unknown) => {
    quit()
    throw error
  })
  const probes = await startProbes(config, { raft, metrics: parts.metrics }).catch(
    async (error: unknown) => {
      quit()
      await server.stop()
      throw error
    },
  )
  const httpPort = probes?.port
  const stop = async (): Promise<void> => {
    server.setServing(false)
    quit()
    await probes?.stop()
    await raft.stop()
    await server.stop()
  }
  const takePart = async (): Promise<void> => {
    await begin({ server, raft, log, stop })
    parts.admit()
    warnOfOtherMembers(raft.status().members, { members, log })
  }
  const admission = admissionOf(config, { folder, members, log })
  if (admission === undefined) {
    await takePart()
    return { port: server.port, httpPort, stop }
  }
  // Others may be as new and ask the same of this one, so it listens meanwhile.
  const admitted = awaitAdmission({ ...admission, signal }).then(takePart)
  const settled = admitted.catch((error: unknown) => {
    if (!signal.aborted) onFatal(error instanceof Error ? error : new Error(String(error)))
  })
  return { port: server.port, httpPort, stop: () => settled.then(stop) }
}

/** Ready: it knows a leader that has a majority, so that any broker can register through it. */
async function startProbes(
  { host, httpPort }: PlacementConfig,
  { raft, metrics }: { readonly raft: Raft; readonly metrics: () => string },
): Promise<ProbeServer | undefined> {
  if (httpPort === undefined) return undefined
  const checks = (): ProbeCheck[] => {
    const status = raft.status()
    const ok = hasQuorum(status, QUORUM_CONTACT_MAX_MS)
    const detail = `${status.role}, term ${status.term}, leader ${status.leaderId ?? 'unknown'}`
    return [{ name: 'quorum', ok, detail }]
  }
  try {
    return await serveProbes({ host, port: httpPort, checks, metrics })
  } catch (cause) {
    throw new ListenError(`${host}:${httpPort}`, cause as NodeJS.ErrnoException)
  }
}

async function begin(parts: {
  readonly server: GrpcServer
  readonly raft: Raft
  readonly log: Logger
  readonly stop: () => Promise<void>
}): Promise<void> {
  const { server, raft, log, stop } = parts
  try {
    await raft.start()
  } catch (error) {
    await stop()
    throw error
  }
  server.setServing(true)
  log.info({ port: server.port, members: raft.status().members }, 'listening')
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

interface Setting {
  readonly folder: DataFolder
  readonly members: readonly RaftMember[]
  readonly log: Logger
}

function assemble({ config, onFatal }: PlacementOptions, { folder, members, log }: Setting) {
  const { clusterId, nodeId, folderId } = folder
  const identity = { clusterId, nodeId }
  const incarnation = randomUUID()
  const machine = new MetadataMachine()
  const transport = new LinkTransport({ ...identity, incarnation, members, log })
  const raft = createRaft({
    ...identity,
    incarnation,
    members,
    join: (config.join ?? []).length > 0,
    stateMachine: machine,
    logStore: new FileLogStore({ directory: join(config.dataDir, 'raft') }),
    snapshotStore: new FileSnapshotStore({ directory: join(config.dataDir, 'snapshots') }),
    transport,
    clock: systemClock,
    random: Math.random,
    timings: { electionMaxMs: ELECTION_MAX_MS },
    logger: asRaftLogger(log),
    onFatal,
  })
  raft.observe((event) => {
    if (event.kind === 'configuration') transport.follow(event.members)
  })
  const settings = settingsOf(() => machine.state)
  const followLevel = (): void => {
    const level = settings.get('log.level') ?? config.logLevel
    if (log.level !== level) log.level = level
  }
  machine.observe({ changed: followLevel, restored: followLevel })
  const { nowMs } = systemClock
  const proposer = createProposer(raft, Date.now)
  const { leaseTtlMs, heartbeatMs } = config.preset
  const leadership: Leadership = new Leadership({
    raft,
    machine,
    proposer,
    clusterId,
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
  const common = { raft, machine, leadership, proposer, settings, nowMs, log, probe: probeNode }
  const keeper = new MemberKeeper({ ...common, folderId })
  let isAdmitted = false
  const watches: WatchService = new WatchService({ machine, leadership, readBarrier })
  const service = createPlacementService({
    ...common,
    watches,
    members: {
      get folderId() {
        return isAdmitted ? folderId : ''
      },
      get health() {
        return keeper.health
      },
    },
    readBarrier,
    leaseTtlMs,
    heartbeatMs,
    quorumContactMaxMs: QUORUM_CONTACT_MAX_MS,
  })
  const changes = createChangeLink({
    ...common,
    readBarrier,
    identity: () => ({ clusterId: machine.state.clusterId, senderId: nodeId, incarnation }),
  })
  const admit = (): void => {
    isAdmitted = true
  }
  const metrics = (): string => renderMetrics({ raft, machine })
  return { raft, transport, leadership, watches, keeper, service, changes, metrics, admit }
}

function asRaftLogger(log: Logger): RaftLogger {
  return {
    debug: (message, fields = {}) => log.debug(fields, message),
    info: (message, fields = {}) => log.info(fields, message),
    warn: (message, fields = {}) => log.warn(fields, message),
    error: (message, fields = {}) => log.error(fields, message),
  }
}
