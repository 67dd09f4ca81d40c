/** `up --foreground`: says when a node ends, and takes the cluster down on Ctrl-C. */
import { setTimeout as sleep } from 'node:timers/promises'
import { nodeState } from '../cluster/nodes.ts'
import type { ClusterState } from '../cluster/state.ts'
import type { Context } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { bringDown } from './cluster-down.ts'

const lookMs = 500

export async function stayInForeground(context: Context, state: ClusterState): Promise<number> {
  const { output, signal, store } = context
  output.progress('\nrunning; Ctrl-C takes the cluster down')
  const gone = new Set<string>()
  while (!signal.aborted) {
    // Another command may have restarted a node, or taken the cluster down.
    const current = store.read(state.name)
    if (current === undefined || current.nodes.every(({ pid }) => pid === null)) return exitCodes.ok
    for (const node of current.nodes) {
      const isGone = nodeState(node) === 'stopped'
      if (isGone && !gone.has(node.name)) output.warn(`${node.name} has ended (${node.logFile})`)
      if (isGone) gone.add(node.name)
      else gone.delete(node.name)
    }
    await sleep(lookMs, undefined, { signal }).catch(() => undefined)
  }
  await bringDown(context, store.read(state.name) ?? state)
  return exitCodes.ok
}
