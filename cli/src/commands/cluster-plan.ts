/** From what `up` was asked for, and what is there, to the cluster that shall be. Starts and writes nothing. */
import { randomBytes } from 'node:crypto'
import { join, resolve } from 'node:path'
import { type ClusterState, type NodeRecord, nodesOf } from '../cluster/state.ts'
import {
  type ClusterPlan,
  isShared,
  joinedCount,
  numberOf,
  planNodes,
  strictUrl,
  withoutPassword,
} from '../cluster/topology.ts'
import { CliError, usageError } from '../errors.ts'
import { exitCodes } from '../exit-codes.ts'
import { notBreakable } from '../network/network-client.ts'

export interface AskedCluster {
  readonly nodes?: number
  /** How many Placement Center nodes, or the addresses of those that run elsewhere. */
  readonly placement?: string
  readonly storage?: string
  /** `strict`: storage that promises too little is refused. */
  readonly durability?: string
  readonly data?: string
  readonly portOffset?: number
  readonly shards?: number
  readonly preset?: string
  readonly set?: readonly string[]
  readonly breakable?: boolean
}

export interface Planned {
  readonly state: ClusterState
  /** What the user should know. */
  readonly notes: readonly string[]
}

const HOST = '127.0.0.1'

export function planCluster(
  asked: AskedCluster,
  place: { name: string; folder: string; known: ClusterState | undefined },
): Planned {
  const { name, folder, known } = place
  return known === undefined ? planNew(asked, { name, folder }) : converge(asked, known)
}

function planNew(asked: AskedCluster, { name, folder }: { name: string; folder: string }): Planned {
  const dataDir = resolve(asked.data ?? join(folder, 'data'))
  const brokers = asked.nodes ?? 3
  const placement = parsePlacement(asked.placement ?? (brokers === 1 ? '1' : '3'))
  const plan: ClusterPlan = {
    name,
    clusterId: `${name}-${randomBytes(4).toString('hex')}`,
    host: HOST,
    dataDir,
    logDir: join(folder, 'logs'),
    portOffset: asked.portOffset ?? 0,
    preset: asked.preset ?? 'dev',
    shards: asked.shards ?? 64,
    ...storageOf(asked, `leveldb:${join(dataDir, 'storage-1')}`),
    externalPlacement: placement.external,
    ...(asked.breakable === true && { breakable: true }),
  }
  const nodes = planNodes(plan, { placement: placement.count, brokers })
  return {
    state: { version: 1, ...plan, createdAt: new Date().toISOString(), nodes },
    notes: placement.count === 2 ? ['two Placement Center nodes survive the loss of none'] : [],
  }
}

/** The same cluster with what is new; its identity, ports and data stay. */
function converge(asked: AskedCluster, known: ClusterState): Planned {
  refuseOther(asked, known)
  const { storageUrl, settings: more } = storageOf(asked, known.storageUrl)
  const settings = [...known.settings, ...more]
  const present = Math.max(0, ...nodesOf(known, 'broker').map(({ name }) => numberOf(name)))
  const brokers = Math.max(present, asked.nodes ?? 0)
  const plan = { ...known, storageUrl, settings }
  const joined = joinedCount(known.nodes)
  const counts = { placement: nodesOf(known, 'placement').length, joined, brokers }
  const nodes = planNodes(plan, counts).map((node) => withProcessOf(known, node))
  const notes: string[] = []
  if (storageUrl !== known.storageUrl) {
    notes.push(
      `storage is ${withoutPassword(storageUrl)} from now on; what is in ${withoutPassword(known.storageUrl)} is moved by robust storage export and import only`,
    )
  }
  if (asked.nodes !== undefined && asked.nodes < present) {
    notes.push(`${known.name} has ${present} brokers; up adds nodes and removes none`)
  }
  const changed = nodes.filter((node) => node.pid !== null && hasOtherArgs(known, node))
  for (const { name } of changed) {
    notes.push(`${name} takes its new settings when it restarts: robust cluster restart ${name}`)
  }
  return { state: { ...plan, nodes }, notes }
}

function refuseOther(asked: AskedCluster, known: ClusterState): void {
  const has: Record<string, string> = {
    data: known.dataDir,
    storage: known.storageUrl,
    portOffset: String(known.portOffset),
    shards: String(known.shards),
    preset: known.preset,
    placement: known.externalPlacement.join(',') || String(nodesOf(known, 'placement').length),
  }
  const wants: Record<string, string | undefined> = {
    data: asked.data === undefined ? undefined : resolve(asked.data),
    storage:
      asked.storage === undefined && asked.durability === undefined
        ? undefined
        : storageOf(asked, known.storageUrl).storageUrl,
    portOffset: asked.portOffset?.toString(),
    shards: asked.shards?.toString(),
    preset: asked.preset,
    placement: asked.placement,
  }
  if (asked.breakable === true && known.breakable !== true) throw notBreakable(known)
  const isDown = known.nodes.every(({ pid }) => pid === null)
  for (const [option, value] of Object.entries(wants)) {
    if (value === undefined || value === has[option]) continue
    // Its data can have been moved meanwhile; the Placement Center notices when it was not.
    if (option === 'storage' && isDown) continue
    const flag = option === 'portOffset' ? 'port-offset' : option
    throw new CliError('CLUSTER_EXISTS', {
      message: `cluster ${known.name} exists with --${flag} ${withoutPassword(has[option] ?? '')}`,
      cause: `--${flag} ${withoutPassword(value)} was asked for; this is fixed when a cluster is made`,
      hint: `robust cluster up --name OTHER --${flag} ${withoutPassword(value)}, or robust cluster down --purge first`,
      exit: exitCodes.cannotCreate,
    })
  }
}

function withProcessOf(known: ClusterState, planned: NodeRecord): NodeRecord {
  const before = known.nodes.find(({ name }) => name === planned.name)
  if (before === undefined) return planned
  return { ...planned, pid: before.pid, startTime: before.startTime }
}

function hasOtherArgs(known: ClusterState, planned: NodeRecord): boolean {
  const before = known.nodes.find(({ name }) => name === planned.name)
  return before !== undefined && before.args.join('\n') !== planned.args.join('\n')
}

function parsePlacement(text: string): { count: number; external: readonly string[] } {
  if (/^\d+$/.test(text)) {
    const count = Number(text)
    if (count < 1 || count > 7) throw usageError(`--placement ${text}: 1 to 7 nodes`)
    return { count, external: [] }
  }
  const external = text.split(',')
  if (external.every((address) => /^[^\s:]+:\d{1,5}$/.test(address))) return { count: 0, external }
  throw usageError(`--placement ${text} is neither a number nor HOST:PORT[,HOST:PORT...]`)
}

/** What is strict is told to whoever opens the storage: our node by a flag, brokers in the URL. */
function storageOf(
  { storage, durability, set = [] }: AskedCluster,
  otherwise: string,
): Pick<ClusterPlan, 'storageUrl' | 'settings'> {
  const storageUrl = parseStorage(storage ?? otherwise)
  if (durability !== 'strict') return { storageUrl, settings: set }
  if (isShared(storageUrl)) return { storageUrl: strictUrl(storageUrl), settings: set }
  return { storageUrl, settings: ['storage.durability=strict', ...set] }
}

/** Paths become absolute: the node runs in another folder. */
function parseStorage(url: string): string {
  if (url === 'memory:') return url
  const [, path] = /^leveldb:(.+)$/.exec(url) ?? []
  if (path !== undefined) return `leveldb:${resolve(path)}`
  if (isShared(url)) return url
  throw usageError(
    `--storage ${withoutPassword(url)}: known are memory:, leveldb:PATH, redis://HOST:PORT and robust://HOST:PORT`,
  )
}
