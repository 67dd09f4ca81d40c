/** `robust cluster list`: the clusters of this machine. */
import { nodeState } from '../cluster/nodes.ts'
import type { ClusterState } from '../cluster/state.ts'
import type { Context } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { table } from '../output.ts'

export function clusterList({ store, output, format }: Context): number {
  const current = store.current
  const clusters = store
    .list()
    .flatMap((name) => store.read(name) ?? [])
    .map((state) => describe(state, current))
  if (format === 'json') {
    output.json(clusters)
    return exitCodes.ok
  }
  const columns = [
    { title: '' },
    { title: 'NAME' },
    { title: 'RUNNING' },
    { title: 'CREATED' },
    { title: 'DATA' },
  ]
  const rows = clusters.map((cluster) => [
    cluster.current ? '*' : '',
    cluster.name,
    `${cluster.running}/${cluster.nodes}`,
    cluster.createdAt,
    cluster.dataDir,
  ])
  output.print(table(columns, rows, output.paint))
  return exitCodes.ok
}

function describe(state: ClusterState, current: string | undefined) {
  return {
    name: state.name,
    current: state.name === current,
    running: state.nodes.filter((node) => nodeState(node) !== 'stopped').length,
    nodes: state.nodes.length,
    createdAt: state.createdAt,
    dataDir: state.dataDir,
  }
}
