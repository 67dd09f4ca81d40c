/** What is said when a cluster is ready: where it is, what it keeps, how to end it, what to try. */
import { inspectBroker } from '../clients.ts'
import { type ClusterState, type NodeRecord, nodesOf } from '../cluster/state.ts'
import { withoutPassword } from '../cluster/topology.ts'
import type { Context } from '../context.ts'
import { table } from '../output.ts'

export async function printSummary(
  context: Context,
  state: ClusterState,
  seconds: number,
): Promise<void> {
  const { output, format } = context
  const promise = await storagePromise(state)
  if (format === 'json') {
    output.json(summaryJson(state, { promise, seconds }))
    return
  }
  const { paint } = output
  output.print(
    `${paint.green('ready')}  cluster ${paint.bold(state.name)} in ${seconds.toFixed(1)} s\n`,
  )
  const columns = [{ title: 'NODE' }, { title: 'ROLE' }, { title: 'ENDPOINTS' }, { title: 'PID' }]
  const rows = state.nodes.map((node) => [
    node.name,
    node.role,
    endpoints(state, node),
    String(node.pid ?? '-'),
  ])
  output.print(table(columns, rows, paint))
  output.print('')
  for (const [title, text] of facts(state, { promise, command: context.command })) {
    output.print(`${paint.dim(title.padEnd(8))} ${text}`)
  }
}

function facts(
  state: ClusterState,
  { promise, command }: { promise: string; command: string },
): [string, string][] {
  const { host } = state
  const ports = nodesOf(state, 'broker').flatMap(({ ports: { mqtt } }) => mqtt ?? [])
  const [first, last] = [ports[0], ports.at(-1)]
  const [sqs] = nodesOf(state, 'broker').flatMap(({ ports: { sqs: port } }) => port ?? [])
  const [kafka] = nodesOf(state, 'broker').flatMap(({ ports: { kafka: port } }) => port ?? [])
  const [http] = nodesOf(state, 'broker').flatMap(({ ports: { http: port } }) => port ?? [])
  const victim = nodesOf(state, 'broker')[1]?.name ?? 'broker-1'
  return [
    ['data', state.dataDir],
    ['logs', state.logDir],
    ['storage', promise],
    ['stop', `${command} cluster down          keeps the data; --purge removes it`],
    ['try', `mosquitto_sub -p ${first} -V 5 -q 1 -t 'sensors/#'`],
    ['', `mosquitto_pub -p ${last} -V 5 -q 1 -t sensors/a -m hi`],
    ['', `curl 'http://${host}:${sqs}/?Action=CreateQueue&QueueName=orders'   (any SQS client)`],
    [
      '',
      `echo hi | kcat -b ${host}:${kafka} -P -t orders; kcat -b ${host}:${kafka} -C -t orders -e`,
    ],
    ['', `${command} cluster status`],
    ['', `${command} cluster kill ${victim}`],
    ['', `${command} cluster events`],
    ['', `curl http://${host}:${http}/api/v1/cluster   (/readyz, /metrics, /api/v1/openapi.json)`],
  ]
}

/** What the storage behind the brokers promises, as they were told. */
async function storagePromise(state: ClusterState): Promise<string> {
  const [broker] = nodesOf(state, 'broker')
  const reply = broker && (await inspectBroker(`${state.host}:${broker.ports['grpc']}`))
  return reply?.storagePromise || withoutPassword(state.storageUrl)
}

function endpoints({ host }: ClusterState, { ports }: NodeRecord): string {
  return Object.entries(ports)
    .map(([protocol, port]) => `${protocol} ${host}:${port}`)
    .join('  ')
}

function summaryJson(
  state: ClusterState,
  { promise, seconds }: { promise: string; seconds: number },
) {
  const { name, clusterId, host, dataDir, logDir, storageUrl } = state
  return {
    name,
    clusterId,
    seconds: Number(seconds.toFixed(3)),
    dataDir,
    logDir,
    storage: { url: withoutPassword(storageUrl), promise },
    nodes: state.nodes.map((node) => ({
      name: node.name,
      role: node.role,
      pid: node.pid,
      endpoints: Object.entries(node.ports).map(([protocol, port]) => ({ protocol, host, port })),
    })),
  }
}
