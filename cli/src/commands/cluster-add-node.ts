/** `robust cluster add-node`: one more broker, or one more Placement Center node, with the next number. */
import { launch, placementOf } from '../cluster/launch.ts'
import { stopNode } from '../cluster/nodes.ts'
import { type ClusterState, type NodeRecord, nodesOf } from '../cluster/state.ts'
import {
  brokerNode,
  frontOf,
  joinedCount,
  networkNode,
  numberOf,
  placementNode,
  textOf,
} from '../cluster/topology.ts'
import { type Context, requireCluster, whileLocked } from '../context.ts'
import { usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { askNetwork } from '../network/network-client.ts'
import { addToCenter } from './placement.ts'

export interface AddNodeOptions {
  readonly name?: string
  readonly role: 'broker' | 'placement'
  readonly timeout: number
  /** Instead of the next one. */
  readonly number?: number
}

/** More would only make every decision slower. */
const PLACEMENT_MAX = 7
const STOP_MS = 5_000

export async function addNode(context: Context, options: AddNodeOptions): Promise<number> {
  const { output, format } = context
  const node = await startNewNode(context, options)
  if (format === 'json') output.json({ node: node.name, pid: node.pid, ports: node.ports })
  else {
    const ports = Object.entries(node.ports).filter(([protocol]) => /^(mqtt|grpc)$/.test(protocol))
    const where = ports.map(([protocol, port]) => `${protocol} ${port}`).join(', ')
    output.print(`${node.name} has joined (pid ${node.pid}): ${where}`)
  }
  return exitCodes.ok
}

/** Resolves when it is a member. */
export async function startNewNode(context: Context, options: AddNodeOptions): Promise<NodeRecord> {
  const { name } = requireCluster(context, options.name)
  return whileLocked(context, name, async () => {
    // Read again: what was read before the lock may be old.
    const state = requireCluster(context, name)
    const planned = plan(state, options)
    context.output.progress(`starting ${planned.name} ...`)
    const before = await withFront(state, planned)
    return await start(context, { state: before, planned, timeoutSeconds: options.timeout })
  })
}

function plan(state: ClusterState, options: AddNodeOptions): NodeRecord {
  const { role } = options
  const known = nodesOf(state, role)
  const next = Math.max(0, ...known.map((each) => numberOf(each.name))) + 1
  const { number = next } = options
  const placement = nodesOf(state, 'placement').length
  if (role === 'broker') return brokerNode(state, { number, placement })
  if (state.externalPlacement.length > 0) {
    throw usageError(
      `the Placement Center of ${state.name} runs elsewhere`,
      `start a node there and let it in: robust placement add ID=HOST:PORT --placement ${state.externalPlacement[0]}`,
    )
  }
  if (placement >= PLACEMENT_MAX) {
    throw usageError(
      `${state.name} has ${placement} Placement Center nodes: ${PLACEMENT_MAX} at most`,
    )
  }
  return placementNode(state, { number, of: placement - joinedCount(state.nodes) })
}

/** The same cluster with the links of the new node, where they go through `network-1`. */
async function withFront(state: ClusterState, planned: NodeRecord): Promise<ClusterState> {
  const front = frontOf(planned)
  if (front === undefined) return state
  await askNetwork(state, 'PUT /fronts', textOf(front))
  const nodes = state.nodes.map((node) =>
    node.role === 'network'
      ? {
          ...networkNode(state, [...state.nodes, planned]),
          pid: node.pid,
          startTime: node.startTime,
        }
      : node,
  )
  return { ...state, nodes }
}

interface Start {
  readonly state: ClusterState
  readonly planned: NodeRecord
  readonly timeoutSeconds: number
}

async function start(
  context: Context,
  { state, planned, timeoutSeconds }: Start,
): Promise<NodeRecord> {
  let node = planned
  try {
    const launched = await launch(
      context,
      { ...state, nodes: [...state.nodes, planned] },
      { nodes: [planned], timeoutMs: timeoutSeconds * 1000, alone: true },
    )
    node = launched.nodes.find((each) => each.name === planned.name) ?? planned
    if (node.role !== 'placement') return node
    const address = `${state.host}:${node.ports['grpc']}`
    const addition = { addresses: placementOf(state), nodeId: node.name, address, isVoting: true }
    await addToCenter(context, addition, timeoutSeconds)
    return node
  } catch (error) {
    if (node.pid !== null) await stopNode(node, STOP_MS)
    context.store.write(state)
    throw error
  }
}
