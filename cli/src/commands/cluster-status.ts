/** `robust cluster status`: who does what and how they are; the exit code tells health. */
import { askCluster } from '../cluster/ask.ts'
import { type ClusterView, type Health, type NodeView, viewCluster } from '../cluster/view.ts'
import { type Context, requireCluster } from '../context.ts'
import { exitCodes } from '../exit-codes.ts'
import { megabytes, type Paint, rate, table } from '../output.ts'

const exits: Readonly<Record<Health, number>> = {
  healthy: exitCodes.ok,
  degraded: exitCodes.failed,
  critical: exitCodes.critical,
}

export async function clusterStatus(context: Context, options: { name?: string }): Promise<number> {
  const { output, format } = context
  const view = viewCluster(await askCluster(requireCluster(context, options.name)))
  if (format === 'json') output.json(view)
  else output.print(formatView(view, output.paint))
  return exits[view.health]
}

export function formatView(view: ClusterView, paint: Paint): string {
  const parts = [formatHead(view, paint), formatNodes(view.nodes, paint)]
  const brokers = view.nodes.filter(({ role }) => role === 'broker')
  if (brokers.length > 0) parts.push(formatBrokers(brokers, paint))
  return parts.join('\n\n')
}

function formatHead(view: ClusterView, paint: Paint): string {
  const { placement, shards, storage } = view
  const colour = { healthy: paint.green, degraded: paint.yellow, critical: paint.red }[view.health]
  const quorum = `quorum ${placement.quorum ? 'yes' : 'NO'}, ${placement.answering} of ${placement.members} answer`
  const leader = `leader ${placement.leader ?? 'none'}, term ${placement.term ?? '-'}, ${quorum}`
  const loss = shards.dataLoss > 0 ? `, ${paint.red(`${shards.dataLoss} with DATA LOSS`)}` : ''
  const serves = storage.serving ? 'serves' : paint.red('does not answer')
  const lines = [
    ['cluster', `${paint.bold(view.name)} (${view.clusterId})`],
    ['health', colour(view.health)],
    ...view.reasons.map((reason) => ['', `- ${reason}`]),
    ['placement', leader],
    ['shards', `${shards.open} of ${shards.total} open${loss}`],
    ['storage', `${storage.url} ${serves}`],
    ...(storage.promise === null ? [] : [['', storage.promise]]),
  ]
  return lines.map(([title = '', text]) => `${paint.dim(title.padEnd(10))} ${text}`).join('\n')
}

function formatNodes(nodes: readonly NodeView[], paint: Paint): string {
  const columns = [
    { title: 'NODE' },
    { title: 'ROLE' },
    { title: 'STATE' },
    { title: 'PID', right: true },
    { title: 'RSS', right: true },
    { title: 'ENDPOINTS' },
  ]
  const rows = nodes.map((node) => [
    node.name,
    node.placementRole === null ? node.role : `${node.role} ${node.placementRole}`,
    paintState(node.state, paint),
    node.managed ? String(node.pid ?? '-') : 'by hand',
    node.memoryBytes === null ? '-' : megabytes(node.memoryBytes),
    node.endpoints.map(({ protocol, host, port }) => `${protocol} ${host}:${port}`).join('  '),
  ])
  return table(columns, rows, paint)
}

function formatBrokers(brokers: readonly NodeView[], paint: Paint): string {
  const titles = [
    'EPOCH',
    'SHARDS',
    'OPEN',
    'LOST',
    'CONN',
    'SESSIONS',
    'MSG/S IN',
    'MSG/S OUT',
    'CPU',
    'LOOP DELAY',
  ]
  const columns = [{ title: 'BROKER' }, ...titles.map((title) => ({ title, right: true }))]
  const rows = brokers.map(({ name, epoch, shards, load }) => [
    name,
    String(epoch ?? '-'),
    String(shards?.owned ?? '-'),
    String(shards?.open ?? '-'),
    String(shards?.dataLoss ?? '-'),
    String(load?.connections ?? '-'),
    String(load?.sessions ?? '-'),
    load === null ? '-' : rate(load.messagesInPerSecond),
    load === null ? '-' : rate(load.messagesOutPerSecond),
    load === null ? '-' : `${(load.cpuFraction * 100).toFixed(0)}%`,
    load === null ? '-' : `${load.eventLoopDelayMs.toFixed(1)} ms`,
  ])
  return table(columns, rows, paint)
}

function paintState(state: NodeView['state'], paint: Paint): string {
  if (state === 'running') return paint.green(state)
  return state === 'stopped' || state === 'unreachable' ? paint.red(state) : paint.yellow(state)
}
