/** `robust cluster kill|pause|resume|restart NODE`: what happens to one process of the cluster. */
import { constants } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { launch, placementOf } from '../cluster/launch.ts'
import { isGone, nodeState, signalNode, stopNode } from '../cluster/nodes.ts'
import { leaderStatus } from '../cluster/readiness.ts'
import { type ClusterState, type NodeRecord, withNode } from '../cluster/state.ts'
import { type Context, requireCluster, whileLocked } from '../context.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'

export interface NodeOptions {
  readonly name?: string
}

/** How long a killed process may take to disappear. */
const GONE_MS = 5000
const STOP_GRACE_MS = 15_000

export async function killNode(
  context: Context,
  wanted: string,
  options: NodeOptions & { signal: string },
): Promise<number> {
  const signal = parseSignal(options.signal)
  return changeNode(context, wanted, {
    ...options,
    change: async (_state, node) => {
      if (!signalNode(node, signal)) throw notRunning(node)
      const ends = signal === 'SIGKILL' || signal === 'SIGTERM' || signal === 'SIGINT'
      if (ends) await isGone(node, signal === 'SIGKILL' ? GONE_MS : STOP_GRACE_MS)
      return { did: `${signal} sent`, node }
    },
  })
}

export async function pauseNode(
  context: Context,
  wanted: string,
  options: NodeOptions,
): Promise<number> {
  return changeNode(context, wanted, {
    ...options,
    change: async (_state, node) => {
      if (!signalNode(node, 'SIGSTOP')) throw notRunning(node)
      const end = performance.now() + GONE_MS
      while (nodeState(node) === 'running' && performance.now() < end) await sleep(10)
      return { did: 'paused', node }
    },
  })
}

export async function resumeNode(
  context: Context,
  wanted: string,
  options: NodeOptions,
): Promise<number> {
  return changeNode(context, wanted, {
    ...options,
    change: async (_state, node) => {
      if (!signalNode(node, 'SIGCONT')) throw notRunning(node)
      return { did: 'resumed', node }
    },
  })
}

/** Also starts a node that is stopped. */
export async function restartNode(
  context: Context,
  wanted: string,
  options: NodeOptions & { timeout: number },
): Promise<number> {
  return changeNode(context, wanted, {
    ...options,
    change: async (state, node) => {
      const wasRunning = nodeState(node) !== 'stopped'
      context.output.progress(`stopping ${node.name} ...`)
      await stopNode(node, STOP_GRACE_MS)
      const stopped = { ...node, pid: null, startTime: null }
      context.output.progress(`starting ${node.name} ...`)
      const launched = await launch(context, withNode(state, stopped), {
        nodes: [stopped],
        timeoutMs: options.timeout * 1000,
        alone: true,
      })
      return {
        did: wasRunning ? 'restarted' : 'started',
        node: launched.nodes.find(({ name }) => name === node.name) ?? node,
      }
    },
  })
}

/** NODE as the user wrote it: a name, or `leader`. Throws NO_SUCH_NODE, NO_LEADER. */
export async function findNode(state: ClusterState, wanted: string): Promise<NodeRecord> {
  const name = wanted === 'leader' ? await leaderName(state) : wanted
  const node = state.nodes.find((each) => each.name === name)
  if (node !== undefined) return node
  throw new CliError('NO_SUCH_NODE', {
    message: `cluster ${state.name} has no node ${name}`,
    cause: `its nodes are ${state.nodes.map((each) => each.name).join(', ')}; or leader`,
    exit: exitCodes.notFound,
  })
}

async function leaderName(state: ClusterState): Promise<string> {
  const status = await leaderStatus(placementOf(state))
  if (status !== undefined) return status.nodeId
  throw new CliError('NO_LEADER', {
    message: 'no Placement Center node leads at the moment',
    hint: 'robust cluster status',
    exit: exitCodes.tryAgain,
  })
}

interface Change extends NodeOptions {
  change(
    state: ClusterState,
    node: NodeRecord,
  ): Promise<{ readonly did: string; readonly node: NodeRecord }>
}

async function changeNode(context: Context, wanted: string, change: Change): Promise<number> {
  const { output, format } = context
  const { name } = requireCluster(context, change.name)
  const { did, node } = await whileLocked(context, name, async () => {
    // Read again: what was read before the lock may be old.
    const state = requireCluster(context, name)
    return change.change(state, await findNode(state, wanted))
  })
  const state = nodeState(node)
  if (format === 'json') output.json({ node: node.name, did, state, pid: node.pid })
  else output.print(`${node.name} (pid ${node.pid}): ${did}, ${state} now`)
  return exitCodes.ok
}

function notRunning({ name }: NodeRecord): CliError {
  return new CliError('NODE_NOT_RUNNING', {
    message: `${name} does not run`,
    hint: `robust cluster restart ${name}`,
    exit: exitCodes.failed,
  })
}

function parseSignal(text: string): NodeJS.Signals {
  const upper = text.toUpperCase()
  const name = upper.startsWith('SIG') ? upper : `SIG${upper}`
  if (Object.hasOwn(constants.signals, name)) return name as NodeJS.Signals
  throw usageError(`--signal ${text}: no such signal`, '--signal SIGTERM')
}
