/** `robust cluster up`: makes the cluster be as asked, whatever is there already. */
import { existsSync, rmSync } from 'node:fs'
import { makeFolder } from '../cluster/folders.ts'
import { launch } from '../cluster/launch.ts'
import { nodeState, signalNode } from '../cluster/nodes.ts'
import type { ClusterState } from '../cluster/state.ts'
import { isRedis } from '../cluster/topology.ts'
import { type Context, clusterName, whileLocked } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { type AskedCluster, planCluster } from './cluster-plan.ts'
import { printSummary } from './cluster-summary.ts'
import { stayInForeground } from './foreground.ts'

export interface UpOptions extends AskedCluster {
  readonly name?: string
  readonly timeout: number
  readonly foreground?: boolean
}

export async function clusterUp(context: Context, options: UpOptions): Promise<number> {
  const startedAt = performance.now()
  const name = clusterName(context, options.name)
  const state = await whileLocked(context, name, () => bringUp(context, name, options))
  const seconds = (performance.now() - startedAt) / 1000
  await printSummary(context, state, seconds)
  return options.foreground === true ? stayInForeground(context, state) : exitCodes.ok
}

async function bringUp(context: Context, name: string, options: UpOptions): Promise<ClusterState> {
  const { store, output } = context
  const known = store.read(name)
  const folder = store.folder(name)
  const { state, notes } = planCluster(options, { name, folder, known })
  for (const note of notes) output.warn(note)
  if (known === undefined && isRedis(state.storageUrl)) {
    const { refuseForeignData } = await import('./cluster-storage.ts')
    await refuseForeignData(context, state.storageUrl)
  }
  const nodes = state.nodes.filter((node) => nodeState(node) === 'stopped')
  for (const node of state.nodes) {
    if (nodeState(node) === 'paused') signalNode(node, 'SIGCONT')
  }
  const isDataNew = !existsSync(state.dataDir)
  output.progress(`starting ${nodes.length} of ${state.nodes.length} nodes of ${name} ...`)
  try {
    const launched = await launch(context, state, {
      nodes,
      timeoutMs: options.timeout * 1000,
      prepare: () => makeFolder(state.dataDir, 'data folder'),
    })
    store.write(launched)
    store.select(name)
    return launched
  } catch (error) {
    // A cluster that never was leaves its log files only.
    if (known === undefined) {
      store.remove(name)
      if (isDataNew) rmSync(state.dataDir, { recursive: true, force: true })
    }
    throw error
  }
}
