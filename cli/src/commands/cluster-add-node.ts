/** `robust cluster add-node`: one more broker, with the next number. */
import { launch } from '../cluster/launch.ts'
import { nodesOf } from '../cluster/state.ts'
import { brokerNode, numberOf } from '../cluster/topology.ts'
import { type Context, requireCluster, whileLocked } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'

export async function addNode(
  context: Context,
  options: { name?: string; timeout: number },
): Promise<number> {
  const { output, format, store } = context
  const { name } = requireCluster(context, options.name)
  const node = await whileLocked(context, name, async () => {
    // Read again: what was read before the lock may be old.
    const state = requireCluster(context, name)
    const number = Math.max(0, ...nodesOf(state, 'broker').map((each) => numberOf(each.name))) + 1
    const planned = brokerNode(state, { number, placement: nodesOf(state, 'placement').length })
    output.progress(`starting ${planned.name} ...`)
    try {
      const launched = await launch(
        context,
        { ...state, nodes: [...state.nodes, planned] },
        { nodes: [planned], timeoutMs: options.timeout * 1000, alone: true },
      )
      return launched.nodes.find((each) => each.name === planned.name) ?? planned
    } catch (error) {
      store.write(state)
      throw error
    }
  })
  if (format === 'json') output.json({ node: node.name, pid: node.pid, ports: node.ports })
  else {
    const { mqtt, grpc } = node.ports
    output.print(`${node.name} has joined (pid ${node.pid}): mqtt ${mqtt}, grpc ${grpc}`)
  }
  return exitCodes.ok
}
