/** `robust cluster down`: brokers first, so that they can give back what they own, then the rest. */

import { readdirSync, rmdirSync, rmSync } from 'node:fs'
import { nodeState, stopNode } from '../cluster/nodes.ts'
import { type ClusterState, type NodeRecord, nodesOf } from '../cluster/state.ts'
import { isRedis, isShared, withoutPassword } from '../cluster/topology.ts'
import { type Context, clusterName, requireCluster, whileLocked } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { faultFoldersOf } from '../faults/node-faults.ts'

export interface DownOptions {
  readonly name?: string
  readonly purge?: boolean
}

const GRACE_MS = 15_000

export async function clusterDown(context: Context, options: DownOptions): Promise<number> {
  const { store, output } = context
  const { name } = requireCluster(context, clusterName(context, options.name))
  await whileLocked(context, name, async () => {
    // Read again: what was read before the lock may be old.
    const state = requireCluster(context, name)
    const running = state.nodes.filter((node) => nodeState(node) !== 'stopped').length
    await bringDown(context, state)
    if (options.purge === true) purge(context, state)
    report(context, { name, running, kept: options.purge === true ? undefined : state.dataDir })
  })
  if (options.purge === true) {
    rmSync(store.folder(name), { recursive: true, force: true })
    if (store.current === name) store.select(undefined)
  }
  output.progress('down')
  return exitCodes.ok
}

/** Stops every process of the cluster and notes it in the state file. Resolves when all are gone. */
export async function bringDown({ store, output }: Context, state: ClusterState): Promise<void> {
  const stop = async (nodes: readonly NodeRecord[]): Promise<void> => {
    await Promise.all(
      nodes.map(async (node) => {
        const isClean = await stopNode(node, GRACE_MS)
        if (!isClean) output.warn(`${node.name} did not stop within 15 s and was killed`)
      }),
    )
  }
  output.progress('stopping brokers ...')
  await stop(nodesOf(state, 'broker'))
  output.progress('stopping placement and storage ...')
  await stop([...nodesOf(state, 'placement'), ...nodesOf(state, 'storage')])
  await stop(nodesOf(state, 'network'))
  const nodes = state.nodes.map((node) => ({ ...node, pid: null, startTime: null }))
  store.write({ ...state, nodes })
}

function purge({ output }: Context, state: ClusterState): void {
  for (const { dataDir } of state.nodes) rmSync(dataDir, { recursive: true, force: true })
  rmSync(state.logDir, { recursive: true, force: true })
  for (const folder of faultFoldersOf(state.nodes)) rmSync(folder, { recursive: true, force: true })
  if (isShared(state.storageUrl)) {
    const url = withoutPassword(state.storageUrl)
    const how = isRedis(url) ? `; robust storage purge --yes ${url} removes it` : ''
    output.warn(`what is stored in ${url} stays${how}`)
  }
  try {
    rmdirSync(state.dataDir)
  } catch {
    const left = entriesOf(state.dataDir)
    if (left.length > 0) output.warn(`${state.dataDir} holds other files, which are left there`)
  }
}

function entriesOf(path: string): readonly string[] {
  try {
    return readdirSync(path)
  } catch {
    return []
  }
}

function report(
  { output, format, command }: Context,
  result: { name: string; running: number; kept: string | undefined },
): void {
  const { name, running, kept } = result
  if (format === 'json') {
    output.json({ name, stopped: running, purged: kept === undefined, dataDir: kept ?? null })
    return
  }
  output.print(`${name} is down; ${running} processes stopped`)
  if (kept === undefined) output.print('data, logs and state are removed')
  else output.print(`data is kept in ${kept}; ${command} cluster up starts it again`)
}
