/**
 * Starts nodes and waits until the whole cluster is ready. When that fails, what it started is stopped again
 * and the error shows the log of the node that is to blame.
 */
import { availableParallelism } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Context } from '../context.ts'
import { throwIfInterrupted } from '../context.ts'
import { CliError } from '../errors.ts'
import { exitCodes, meaningOfChild } from '../exit-codes.ts'
import { prepareFaults } from '../faults/node-faults.ts'
import { lastLines } from './log-files.ts'
import { type StartedNode, startNode, stopNode } from './nodes.ts'
import { busyPorts, findPortOwner, isListening, type PortUse } from './ports.ts'
import { type Missing, waitUntilReady, waitUntilShardsOpen } from './readiness.ts'
import { type ClusterState, type NodeRecord, nodesOf, withNode } from './state.ts'
import { portUses } from './topology.ts'

export interface LaunchOptions {
  readonly nodes: readonly NodeRecord[]
  readonly timeoutMs: number
  /** Wait for these nodes only, whatever the others do; else for the whole cluster. */
  readonly alone?: boolean
  /** Runs when nothing stands in the way any more. */
  readonly prepare?: () => void
}

/** What the Placement Center gets at most before the others are started. */
const HEAD_START_MS = 2000

/** How long a port may be held by nobody who can be named. */
const LINGER_MS = 2_000

const LOG_LINES = 20
const ROLLBACK_GRACE_MS = 5000

/** How long shards may take to open after everything else is ready; then the user is told. */
const SHARDS_MS = 5000

/**
 * Answers the state with the new processes, which is written already. Throws PORT_IN_USE before anything is
 * started; NODE_FAILED, NOT_READY or INTERRUPTED after what was started has been stopped.
 */
export async function launch(
  context: Context,
  state: ClusterState,
  options: LaunchOptions,
): Promise<ClusterState> {
  const { nodes, timeoutMs } = options
  const { output } = context
  await refuseBusyPorts(context, state, nodes)
  options.prepare?.()
  prepareFaults(nodes, output)
  const started: StartedNode[] = []
  let current = state
  const check = (): void => {
    throwIfInterrupted(context)
    for (const each of started) throwIfEnded(each)
  }
  const start = (batch: readonly NodeRecord[]): void => {
    for (const node of batch) {
      const each = startNode(node)
      started.push(each)
      current = withNode(current, each.node)
      context.store.write(current)
    }
  }
  try {
    const [first, rest] = inOrder(nodes)
    start(first)
    await waitUntilListening(state.host, first, check)
    start(rest)
    await waitForCluster(context, current, {
      started,
      timeoutMs,
      check,
      alone: options.alone === true,
    })
    return current
  } catch (error) {
    await rollBack(context, current, started)
    throw error
  }
}

/**
 * All at once when there is a core for each. Else the Placement Center first: its election waits for time to
 * pass, and meanwhile the others can have the cores.
 */
function inOrder(nodes: readonly NodeRecord[]): [readonly NodeRecord[], readonly NodeRecord[]] {
  if (availableParallelism() >= nodes.length) return [[], nodes]
  const isFirst = ({ role }: NodeRecord): boolean => role === 'placement' || role === 'network'
  return [nodes.filter(isFirst), nodes.filter((node) => !isFirst(node))]
}

async function waitUntilListening(
  host: string,
  nodes: readonly NodeRecord[],
  check: () => void,
): Promise<void> {
  const end = performance.now() + HEAD_START_MS
  const uses = portUses(host, nodes)
  while (performance.now() < end) {
    check()
    const answers = await Promise.all(uses.map(({ port }) => isListening(host, port)))
    if (answers.every((answer) => answer)) return
    await sleep(20)
  }
}

/** The addresses of the Placement Center that a cluster uses. */
export function placementOf(state: ClusterState): readonly string[] {
  if (state.externalPlacement.length > 0) return state.externalPlacement
  return nodesOf(state, 'placement').map(({ ports }) => `${state.host}:${ports['grpc']}`)
}

async function waitForCluster(
  { output }: Context,
  state: ClusterState,
  waiting: {
    readonly started: readonly StartedNode[]
    readonly timeoutMs: number
    readonly check: () => void
    readonly alone: boolean
  },
): Promise<void> {
  const { started, timeoutMs, check, alone } = waiting
  const placement = placementOf(state)
  const names = new Set(started.map(({ node }) => node.name))
  const waitedFor = (role: NodeRecord['role']): NodeRecord[] =>
    nodesOf(state, role).filter(({ name }) => !alone || names.has(name))
  const target = {
    placement,
    storage: waitedFor('storage').map(({ ports }) => `${state.host}:${ports['grpc']}`),
    brokers: waitedFor('broker'),
    members: waitedFor('placement'),
    host: state.host,
  }
  const missing = await waitUntilReady(target, { timeoutMs, check })
  if (missing.length > 0) throw notReady(missing, started, timeoutMs)
  if (alone) return
  const shards = { timeoutMs: Math.min(SHARDS_MS, timeoutMs), check }
  if (await waitUntilShardsOpen(placement, shards)) return
  output.warn('some shards are not open yet; see robust cluster status')
}

async function refuseBusyPorts(
  context: Context,
  state: ClusterState,
  nodes: readonly NodeRecord[],
): Promise<void> {
  const uses = portUses(state.host, nodes)
  const end = performance.now() + LINGER_MS
  let busy = await busyPorts(uses)
  // Threads of a process that was killed may hold its ports for a moment longer than it is seen.
  while (busy.length > 0 && busy.every(isUnowned) && performance.now() < end) {
    await sleep(20)
    busy = await busyPorts(uses)
  }
  const [first] = busy
  if (first === undefined) return
  const others = busy.length > 1 ? ` (and ${busy.length - 1} more ports are in use)` : ''
  throw new CliError('PORT_IN_USE', {
    message: `${first.node} cannot listen on ${first.host}:${first.port} (${first.protocol})${others}`,
    cause: describeOwner(context, first),
    hint: await suggestOffset(context, state),
    exit: exitCodes.cannotCreate,
  })
}

function isUnowned({ port }: PortUse): boolean {
  return findPortOwner(port) === undefined
}

function describeOwner({ store }: Context, { port }: PortUse): string {
  const owner = findPortOwner(port)
  if (owner === undefined) return "a process of another user holds it, or the system's own"
  const clusters = store.list().map((name) => store.read(name))
  for (const cluster of clusters) {
    const node = cluster?.nodes.find(({ pid }) => pid === owner.pid)
    if (node) return `pid ${owner.pid} (${node.name} of cluster ${cluster?.name}) holds it`
  }
  return `pid ${owner.pid} (${owner.name}) holds it`
}

const OFFSETS = [10_000, 20_000, 30_000, 40_000, 50_000]

/** Ports of an existing cluster are fixed, so only a new one is offered others. */
async function suggestOffset({ store }: Context, state: ClusterState): Promise<string> {
  if (store.read(state.name) !== undefined) return 'free the port, then the same again'
  for (const offset of OFFSETS) {
    const shift = offset - state.portOffset
    const uses = portUses(state.host, state.nodes).map((use) => ({
      ...use,
      port: use.port + shift,
    }))
    const valid = uses.every(({ port }) => port < 65_536)
    if (valid && (await busyPorts(uses)).length === 0) {
      return `robust cluster up --name ${state.name} --port-offset ${offset}`
    }
  }
  return 'free the port, then the same again'
}

function throwIfEnded({ node, logStart, exit }: StartedNode): void {
  const ended = exit()
  if (ended === undefined) return
  const log = lastLines(node.logFile, LOG_LINES, logStart)
  const said = log.findLast((line) => line.startsWith('error['))
  throw new CliError('NODE_FAILED', {
    message: `${node.name} ended while it started, with exit code ${ended.code}`,
    cause: said ?? `its log ends as shown (${node.logFile})`,
    exit: meaningOfChild(ended.code),
    log,
  })
}

function notReady(
  missing: readonly Missing[],
  started: readonly StartedNode[],
  timeoutMs: number,
): CliError {
  const blamed = started.find(({ node }) => missing.some((each) => each.node === node.name))
  const log = blamed && lastLines(blamed.node.logFile, LOG_LINES, blamed.logStart)
  return new CliError('NOT_READY', {
    message: `the cluster was not ready within ${timeoutMs / 1000} s; what was started is stopped again`,
    cause: missing.map(({ what }) => what).join('; '),
    hint: 'the same with a longer --timeout, if this machine is busy',
    exit: exitCodes.tryAgain,
    ...(log && { log: [`last lines of ${blamed.node.logFile}:`, ...log] }),
  })
}

async function rollBack(
  { store, output }: Context,
  state: ClusterState,
  started: readonly StartedNode[],
): Promise<void> {
  output.progress('stopping what was started ...')
  await Promise.all(started.map(({ node }) => stopNode(node, ROLLBACK_GRACE_MS)))
  const stopped = started.map(({ node }) => ({ ...node, pid: null, startTime: null }))
  if (stopped.length > 0) store.write(stopped.reduce(withNode, state))
}
