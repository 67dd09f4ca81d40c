/** A cluster of this machine as the chaos engine drives it: by what the commands do, without what they print. */
import type { BreakableProcesses, ClusterControl, ClusterLinks, Endpoints } from '@robust/chaos'
import { drainNode, undrainNode } from '../commands/cluster-drain.ts'
import { killNode, pauseNode, restartNode, resumeNode } from '../commands/cluster-nodes.ts'
import { type Context, requireCluster, whileLocked } from '../context.ts'
import { CliError } from '../errors.ts'
import { canBreakProcesses, faultsOfNode } from '../faults/node-faults.ts'
import { NO_RULE } from '../network/link-rules.ts'
import { askNetwork } from '../network/network-client.ts'
import { createOutput } from '../output.ts'
import { askCluster } from './ask.ts'
import { launch, placementOf } from './launch.ts'
import { metadataClient } from './metadata-client.ts'
import { nodeState } from './nodes.ts'
import { leaderStatus } from './readiness.ts'
import { type ClusterState, nodesOf } from './state.ts'
import { addMember, removeMember } from './temporary-member.ts'
import { viewCluster } from './view.ts'

const SECONDS = 60
const DRAIN_MS = 5_000
const DRAIN_SECONDS = 10

export function controlOf(given: Context, name: string): ClusterControl {
  const context = { ...given, output: silent }
  const state = (): ClusterState => requireCluster(context, name)
  // Each command takes the lock of the cluster.
  const inTurn = queue()
  const act = (command: () => Promise<unknown>) => inTurn(command).then(() => undefined)
  const kill = (node: string) => act(() => killNode(context, node, { name, signal: 'SIGKILL' }))
  const timed = { name, timeout: SECONDS }
  return {
    nodes: state().nodes.flatMap(({ name: node, role }) =>
      role === 'network' ? [] : [{ name: node, role }],
    ),
    endpoints: endpointsOf(state()),
    kill,
    pause: (node) => act(() => pauseNode(context, node, { name })),
    resume: (node) => act(() => resumeNode(context, node, { name })),
    restart: (node) => act(() => restartNode(context, node, timed)),
    start: gathered((nodes) => act(() => startNodes(context, name, nodes))),
    // Not in turn, since other faults may come while it lasts.
    drain: (node) => drain(context, node, { ...timed, deadline: DRAIN_MS }),
    undrain: (node) => act(() => undrain(context, node, { name, addresses: placementOf(state()) })),
    addMember: () => inTurn(() => addMember(context, timed)),
    removeMember: (node) => act(() => removeMember(context, node, timed)),
    ...(state().breakable === true && { links: linksOf(state) }),
    ...(canBreakProcesses(state()) && { processes: processesOf(state, kill) }),
    metadata: (first) => metadataClient(placementOf(state()), first),
    leader: async () => (await leaderStatus(placementOf(state())))?.nodeId,
    trouble: async () => {
      const { health, reasons } = viewCluster(await askCluster(state()))
      return health === 'healthy' ? undefined : reasons.join('; ')
    },
  }
}

/** A broker that cannot give up in time what it has, since more is broken, goes on giving it up. */
async function drain(
  context: Context,
  node: string,
  options: { readonly name: string; readonly timeout: number; readonly deadline: number },
): Promise<void> {
  await drainNode(context, node, { ...options, timeout: DRAIN_SECONDS }).catch((error: unknown) => {
    if (!(error instanceof CliError && error.id === 'NOT_READY')) throw error
  })
}

/** A broker that was removed meanwhile comes back without its drain. */
async function undrain(
  context: Context,
  node: string,
  { name, addresses }: { readonly name: string; readonly addresses: readonly string[] },
): Promise<void> {
  const isMember = async (): Promise<boolean> => {
    const status = await leaderStatus(addresses)
    return (
      status === undefined || (status.metadata?.nodes ?? []).some((each) => each.nodeId === node)
    )
  }
  if (!(await isMember())) return
  await undrainNode(context, node, { name }).catch(async () => {
    // It may have been removed in between, and be back.
    if (await isMember()) await undrainNode(context, node, { name })
  })
}

const silent = createOutput({
  stdout: () => undefined,
  stderr: () => undefined,
  colours: false,
  progress: false,
})

function endpointsOf(state: ClusterState): Endpoints {
  const of = (protocol: string) =>
    nodesOf(state, 'broker').flatMap(({ ports: { [protocol]: port } }) =>
      port === undefined ? [] : [{ host: state.host, port }],
    )
  return { mqtt: of('mqtt'), kafka: of('kafka'), sqs: of('sqs') }
}

function linksOf(state: () => ClusterState): ClusterLinks {
  const add = async (rules: readonly (typeof NO_RULE)[]): Promise<void> => {
    const known = await askNetwork(state(), 'GET /rules')
    await askNetwork(state(), 'PUT /rules', [...known, ...rules])
  }
  return {
    cut: (nodes, others, oneWay) =>
      add(
        nodes.flatMap((from) =>
          others.flatMap((to) => {
            const out = { ...NO_RULE, from, to, cut: true }
            return oneWay ? [out] : [out, { ...out, from: to, to: from }]
          }),
        ),
      ),
    disturb: (from, to, how) => {
      const { delayMs, jitterMs, lossPercent } = how
      return add([{ from, to, cut: false, delayMs, jitterMs, lossPercent }])
    },
    heal: async () => {
      await askNetwork(state(), 'PUT /rules', [])
    },
  }
}

function processesOf(
  state: () => ClusterState,
  kill: (node: string) => Promise<void>,
): BreakableProcesses {
  const nodeOf = (name: string) => {
    const node = state().nodes.find((each) => each.name === name)
    const faults = node && faultsOfNode(node)
    if (node === undefined || faults === undefined) throw new Error(`${name} cannot be broken`)
    return { node, faults }
  }
  return {
    breakDisk: async (name, how) => nodeOf(name).faults.disk(how),
    losePower: async (name, share) => {
      await kill(name)
      return nodeOf(name).faults.losePower(share)
    },
    moveClock: async (name, aheadMs) => nodeOf(name).faults.clock(aheadMs),
    hasEnded: async (name) => nodeState(nodeOf(name).node) === 'stopped',
  }
}

function startNodes(context: Context, name: string, names: readonly string[]): Promise<unknown> {
  return whileLocked(context, name, async () => {
    const state = requireCluster(context, name)
    const nodes = state.nodes
      .filter((node) => names.includes(node.name) && nodeState(node) === 'stopped')
      .map((node) => ({ ...node, pid: null, startTime: null }))
    if (nodes.length === 0) return
    return launch(context, state, { nodes, timeoutMs: SECONDS * 1000, alone: true })
  })
}

function queue(): <T>(work: () => Promise<T>) => Promise<T> {
  let last: Promise<unknown> = Promise.resolve()
  return (work) => {
    const next = last.then(work, work)
    last = next.catch(() => undefined)
    return next
  }
}

/** What is asked for in one turn is done at once: nodes that need each other to be ready must not wait in a row. */
function gathered(
  act: (nodes: readonly string[]) => Promise<void>,
): (nodes: readonly string[]) => Promise<void> {
  let waiting: { nodes: string[]; done: Promise<void> } | undefined
  return (nodes) => {
    if (waiting === undefined) {
      const batch: string[] = []
      const done = new Promise((resolve) => setImmediate(resolve)).then(() => {
        waiting = undefined
        return act(batch)
      })
      waiting = { nodes: batch, done }
    }
    waiting.nodes.push(...nodes)
    return waiting.done
  }
}
