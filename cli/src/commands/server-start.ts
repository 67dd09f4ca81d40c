/**
 * `robust server start`: storage, a Placement Center of one and a broker in this process, composed from their
 * public parts. Others can join it: all three listen as they would alone.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import { type BrokerLog, createLog, startBroker } from '@robust/broker'
import { createPlacement, PLACEMENT_PRESETS } from '@robust/placement'
import {
  createStorageService,
  openStorage,
  type StorageAdapter,
  StorageError,
} from '@robust/storage-adapters'
import { makeFolder } from '../cluster/folders.ts'
import { busyPorts, findPortOwner } from '../cluster/ports.ts'
import { leaderStatus } from '../cluster/readiness.ts'
import { withoutPassword } from '../cluster/topology.ts'
import { CliError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import {
  brokerConfig,
  isStorageEmbedded,
  parseServerConfig,
  placementConfig,
  SERVER_USAGE,
  type ServerConfig,
  serverPorts,
} from './server-config.ts'

export interface ServerContext {
  readonly stdout: (text: string) => void
  readonly stderr: (text: string) => void
  readonly command: string
  /** Resolves when the process shall stop. */
  readonly stopRequested: Promise<unknown>
  readonly exit: (code: number) => void
}

const STOP_TIMEOUT_MS = 15_000

/** A broker that begins before there is a leader only fills its log. */
const LEADER_WAIT_MS = 10_000
const pollMs = 20

/** Runs until asked to stop, drains, and answers the exit code. Throws before anything is started, or undoes it. */
export async function startServer(
  args: readonly string[],
  context: ServerContext,
): Promise<number> {
  if (args.includes('--help')) {
    context.stdout(`${SERVER_USAGE}\n`)
    return exitCodes.ok
  }
  const startedAt = performance.now()
  const config = parseServerConfig(args)
  await refuseBusyPorts(config)
  const stopRequested = context.stopRequested.then(() => 'stop' as const)
  const running = await Promise.race([startAll(config, context), stopRequested])
  if (running === 'stop') {
    // Nobody was served yet, and what was written is safe.
    context.exit(exitCodes.ok)
    return exitCodes.ok
  }
  const seconds = (performance.now() - startedAt) / 1000
  context.stdout(banner(config, { ...running, seconds, command: context.command }))
  await stopRequested
  // A drain that hangs must not keep the process: what it acknowledged is stored already.
  setTimeout(() => context.exit(exitCodes.internal), STOP_TIMEOUT_MS).unref()
  await running.stop()
  return exitCodes.ok
}

interface Running {
  readonly storagePromise: string
  stop(): Promise<void>
}

async function startAll(config: ServerConfig, context: ServerContext): Promise<Running> {
  const log = createLog('server', config.logLevel)
  const onFatal = (error: Error): void => {
    context.stderr(`error[STORAGE_FAILED] ${error.message}\n`)
    context.exit(exitCodes.internal)
  }
  const stops: (() => Promise<void>)[] = []
  const stop = async (): Promise<void> => {
    for (let next = stops.pop(); next !== undefined; next = stops.pop()) await next()
  }
  try {
    const storage = await openAdapter(config, { log, onFatal })
    stops.push(() => storage.stop())
    if (isStorageEmbedded(config)) {
      const { host, ports } = config
      const service = createStorageService({
        adapter: storage,
        host,
        port: ports.storage,
        logger: log,
      })
      await service.start()
      stops.push(() => service.stop())
    }
    const placement = createPlacement({
      config: placementConfig(config, PLACEMENT_PRESETS.dev),
      log: (node) => createLog(node, config.logLevel),
      onFatal,
    })
    stops.push(() => placement.stop())
    await placement.start()
    await waitForLeader(config)
    const broker = await startBroker({
      config: brokerConfig(config),
      log: (node) => createLog(node, config.logLevel),
      storage,
      onFatal,
    })
    stops.push(() => broker.stop())
    return { storagePromise: storage.capabilities.promise, stop }
  } catch (error) {
    await stop()
    throw asStartError(error)
  }
}

async function waitForLeader(config: ServerConfig): Promise<void> {
  const end = performance.now() + LEADER_WAIT_MS
  const { placement } = brokerConfig(config)
  while (performance.now() < end && (await leaderStatus(placement)) === undefined) {
    await sleep(pollMs)
  }
}

function openAdapter(
  config: ServerConfig,
  { log, onFatal }: { log: BrokerLog; onFatal: (error: Error) => void },
): Promise<StorageAdapter> {
  makeFolder(config.dataDir, 'data folder')
  return openStorage(config.storageUrl, { logger: log, onFatal, strict: config.strict })
}

/** What the parts throw, as an error with an exit code. */
function asStartError(error: unknown): unknown {
  if (error instanceof CliError || !(error instanceof Error)) return error
  const { message } = error
  if (error instanceof StorageError) {
    const isUsage = error.code === 'INVALID'
    const damaged = error.code === 'DATA_LOSS' ? exitCodes.badData : exitCodes.cannotCreate
    return new CliError('NODE_FAILED', { message, exit: isUsage ? exitCodes.usage : damaged })
  }
  if (['IdentityError', 'LogIdentityError', 'LogFormatError'].includes(error.name)) {
    return new CliError('NODE_FAILED', { message, exit: exitCodes.configuration })
  }
  if (error.name === 'LogInUseError') {
    return new CliError('NODE_FAILED', { message, exit: exitCodes.cannotCreate })
  }
  return error
}

async function refuseBusyPorts(config: ServerConfig): Promise<void> {
  const [first] = await busyPorts(serverPorts(config))
  if (first === undefined) return
  const owner = findPortOwner(first.port)
  const holder =
    owner === undefined ? 'a process of another user' : `pid ${owner.pid} (${owner.name})`
  throw new CliError('PORT_IN_USE', {
    message: `${first.node} cannot listen on ${first.host}:${first.port} (${first.protocol})`,
    cause: `${holder} holds it`,
    hint: 'robust server start --port-offset 10000',
    exit: exitCodes.cannotCreate,
  })
}

function banner(
  config: ServerConfig,
  known: { storagePromise: string; seconds: number; command: string },
): string {
  const { advertiseHost: host, ports } = config
  const at = (port: number) => `${host}:${port}`
  const to = host === '127.0.0.1' ? '' : ` -h ${host}`
  const storage = isStorageEmbedded(config)
    ? `robust://${at(ports.storage)}`
    : withoutPassword(config.storageUrl)
  const join = `--placement ${at(ports.placement)} --storage ${storage}`
  const lines = [
    ['ready', `one process with all roles, in ${known.seconds.toFixed(1)} s (pid ${process.pid})`],
    ['mqtt', at(ports.mqtt)],
    ['sqs', `http://${at(ports.sqs)}`],
    ['kafka', at(ports.kafka)],
    [
      'http',
      `http://${at(ports.http)}/api/v1/cluster  (also /readyz, /metrics, /api/v1/openapi.json)`,
    ],
    [
      'grpc',
      `broker ${at(ports.brokerGrpc)}  placement ${at(ports.placement)}  storage ${storage}`,
    ],
    ['data', config.dataDir],
    ['storage', known.storagePromise],
    ['stop', 'Ctrl-C, or SIGTERM; it drains first'],
    ['try', `mosquitto_sub${to} -p ${ports.mqtt} -V 5 -q 1 -t 'sensors/#'`],
    ['', `mosquitto_pub${to} -p ${ports.mqtt} -V 5 -q 1 -t sensors/a -m hi`],
    ['', `curl 'http://${at(ports.sqs)}/?Action=CreateQueue&QueueName=orders'   (any SQS client)`],
    [
      '',
      `echo hi | kcat -b ${at(ports.kafka)} -P -t orders; kcat -b ${at(ports.kafka)} -C -t orders -e`,
    ],
    ['', `${known.command} broker start ${join}   (one more broker)`],
  ]
  return `${lines.map(([title = '', text]) => `${title.padEnd(8)} ${text}`).join('\n')}\n`
}
