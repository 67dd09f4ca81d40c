/** Which nodes a cluster has, with which ports and arguments. Pure: plans, and starts nothing. */
import { join } from 'node:path'
import { usageError } from '../errors.ts'
import type { Front } from '../network/link-proxy.ts'
import type { PortUse } from './ports.ts'
import type { ClusterState, NodeRecord, Role } from './state.ts'

export const standardPorts = {
  mqtt: 1883,
  mqtts: 8883,
  ws: 8083,
  wss: 8084,
  sqs: 9324,
  sqss: 9325,
  kafka: 9092,
  kafkas: 9093,
  http: 8080,
  brokerGrpc: 9981,
  placement: 1228,
  placementHttp: 1229,
  storage: 1778,
  storageHttp: 1779,
  network: 1679,
}

export const portStep = 100

/** From the gRPC port at which `network-1` stands before a node to the one at which the node listens. */
const INNER_STEP = 60

const PORT_MAX = 65_535

/** All that a node is planned from. */
export type ClusterPlan = Omit<ClusterState, 'nodes' | 'version' | 'createdAt'>

export interface Setting {
  readonly role: Exclude<Role, 'network'>
  readonly flag: string
  readonly value: string
  /** Only this node. */
  readonly node?: string
}

/**
 * `ROLE.FLAG=VALUE[@NODE]`, for example `broker.packet-bytes-max=1048576@broker-2`. The value is empty for
 * a flag that takes none.
 */
export function parseSetting(text: string): Setting {
  const match = /^(placement|storage|broker)\.([a-z][a-z-]*)=(.*?)(?:@([a-z]+-\d+))?$/.exec(text)
  const [, role, flag, value, node] = match ?? []
  if (role === undefined || flag === undefined || value === undefined) {
    throw usageError(
      `--set ${text} is not ROLE.FLAG=VALUE[@NODE]`,
      '--set broker.packet-bytes-max=1048576',
    )
  }
  if (flagsOfPlan[role as Setting['role']].includes(flag)) {
    throw usageError(`--set ${role}.${flag}: robust cluster up decides this one itself`)
  }
  return { role: role as Setting['role'], flag, value, ...(node !== undefined && { node }) }
}

const flagsOfPlan: Readonly<Record<Setting['role'], readonly string[]>> = {
  placement: [
    'node-id',
    'listen',
    'http-port',
    'peers',
    'join',
    'data',
    'cluster-id',
    'shards',
    'preset',
  ],
  storage: ['url', 'listen', 'http-port'],
  broker: ['placement', 'storage', 'node-id', 'data', 'host', ...portFlags()],
}

function portFlags(): string[] {
  const plain = ['mqtt-port', 'ws-port', 'sqs-port', 'kafka-port', 'http-port', 'grpc-port']
  const secure = ['mqtt-tls-port', 'wss-port', 'sqs-tls-port', 'kafka-tls-port']
  return [...plain, ...secure, 'advertise-grpc-port']
}

export interface Counts {
  readonly placement: number
  /** The last of them, that came to a cluster that ran already. */
  readonly joined?: number
  readonly brokers: number
}

/** Storage first, then the Placement Center, then brokers. */
export function planNodes(plan: ClusterPlan, counts: Counts): NodeRecord[] {
  const { placement, joined = 0, brokers } = counts
  const of = placement - joined
  const numbers = (count: number) => Array.from({ length: count }, (_, at) => at + 1)
  const inPlacement = plan.externalPlacement.length === 0 ? numbers(placement) : []
  const nodes = [
    ...(isShared(plan.storageUrl) ? [] : [storageNode(plan)]),
    ...inPlacement.map((number) => placementNode(plan, { number, of })),
    ...numbers(brokers).map((number) => brokerNode(plan, { number, placement })),
  ]
  return plan.breakable === true ? [networkNode(plan, nodes), ...nodes] : nodes
}

/** Stands before the gRPC ports of all the others. */
export function networkNode(plan: ClusterPlan, nodes: readonly NodeRecord[]): NodeRecord {
  const http = portOf(plan, standardPorts.network, 1)
  const fronts = nodes.flatMap((each) => frontOf(each) ?? [])
  const flags = { host: plan.host, 'http-port': String(http) }
  const planned = node(plan, { name: 'network-1', role: 'network', ports: { http }, flags })
  const more = fronts.flatMap((front) => ['--front', textOf(front)])
  return { ...planned, args: [...planned.args, ...more], fronts: fronts.map(({ port }) => port) }
}

/** Undefined: nothing stands before it. */
export function frontOf({ name, ports, innerGrpc }: NodeRecord): Front | undefined {
  const port = ports['grpc']
  if (port === undefined || innerGrpc === undefined) return undefined
  return { node: name, port, inner: innerGrpc }
}

export function textOf({ node: name, port, inner }: Front): string {
  return `${name}=${port}:${inner}`
}

/** One of those that the cluster began with (`of` them), or one that joins these. */
export function placementNode(
  plan: ClusterPlan,
  { number, of }: { number: number; of: number },
): NodeRecord {
  const name = `placement-${number}`
  const port = portOf(plan, standardPorts.placement, number)
  const http = portOf(plan, standardPorts.placementHttp, number)
  const peers = Array.from(
    { length: of },
    (_, at) => `placement-${at + 1}=${placementAddress(plan, at + 1)}`,
  )
  const inner = innerOf(plan, port)
  const flags = {
    'node-id': name,
    listen: `${plan.host}:${inner ?? port}`,
    'http-port': String(http),
    ...(inner !== undefined && number > of && { advertise: `${plan.host}:${port}` }),
    ...(number > of
      ? { join: placementAddresses(plan, of).join(',') }
      : { peers: peers.join(',') }),
    data: join(plan.dataDir, name),
    'cluster-id': plan.clusterId,
    shards: String(plan.shards),
    preset: plan.preset,
  }
  return node(plan, { name, role: 'placement', ports: { grpc: port, http }, flags, inner })
}

export function brokerNode(
  plan: ClusterPlan,
  { number, placement }: { number: number; placement: number },
): NodeRecord {
  const name = `broker-${number}`
  const secure = plan.settings.map(parseSetting).some(({ role, flag }) => {
    return role === 'broker' && flag === 'tls-cert'
  })
  const ports = {
    mqtt: portOf(plan, standardPorts.mqtt, number),
    ws: portOf(plan, standardPorts.ws, number),
    ...(secure && {
      mqtts: portOf(plan, standardPorts.mqtts, number),
      wss: portOf(plan, standardPorts.wss, number),
      sqss: portOf(plan, standardPorts.sqss, number),
      kafkas: portOf(plan, standardPorts.kafkas, number),
    }),
    sqs: portOf(plan, standardPorts.sqs, number),
    kafka: portOf(plan, standardPorts.kafka, number),
    http: portOf(plan, standardPorts.http, number),
    grpc: portOf(plan, standardPorts.brokerGrpc, number),
  }
  const inner = innerOf(plan, ports.grpc)
  const flags = {
    'node-id': name,
    placement: placementAddresses(plan, placement).join(','),
    storage: storageFor(plan),
    data: join(plan.dataDir, name),
    host: plan.host,
    'mqtt-port': String(ports.mqtt),
    'ws-port': String(ports.ws),
    'sqs-port': String(ports.sqs),
    'kafka-port': String(ports.kafka),
    ...(secure && {
      'mqtt-tls-port': String(ports.mqtts),
      'wss-port': String(ports.wss),
      'sqs-tls-port': String(ports.sqss),
      'kafka-tls-port': String(ports.kafkas),
    }),
    'http-port': String(ports.http),
    'grpc-port': String(inner ?? ports.grpc),
    ...(inner !== undefined && { 'advertise-grpc-port': String(ports.grpc) }),
  }
  return node(plan, { name, role: 'broker', ports, flags, inner })
}

export function placementAddresses(plan: ClusterPlan, count: number): readonly string[] {
  if (plan.externalPlacement.length > 0) return plan.externalPlacement
  return Array.from({ length: count }, (_, at) => placementAddress(plan, at + 1))
}

/** Where the brokers find storage. */
export function storageFor(plan: ClusterPlan): string {
  if (isShared(plan.storageUrl)) return plan.storageUrl
  return `robust://${plan.host}:${portOf(plan, standardPorts.storage, 1)}`
}

/** Whether brokers reach it by themselves: a storage node somewhere, or Redis. */
export function isShared(storageUrl: string): boolean {
  return storageUrl.startsWith('robust:') || isRedis(storageUrl)
}

export function isRedis(storageUrl: string): boolean {
  return /^rediss?(\+sentinel|\+cluster)?:/.test(storageUrl)
}

/** The URL of a shared storage that must keep what it acknowledges, or be refused. */
export function strictUrl(storageUrl: string): string {
  if (/[?&]durability=/.test(storageUrl)) return storageUrl
  return `${storageUrl}${storageUrl.includes('?') ? '&' : '?'}durability=strict`
}

/** The URL as it may be shown. */
export function withoutPassword(storageUrl: string): string {
  return storageUrl
    .replace(/^([a-z+]+:\/\/[^:@/?]*):[^@/?]*@/, '$1:***@')
    .replaceAll(/([?&]sentinel-password=)[^&]*/g, '$1***')
}

/** Where the nodes listen themselves. */
export function portUses(host: string, nodes: readonly NodeRecord[]): PortUse[] {
  return nodes.flatMap(({ name, ports, innerGrpc, fronts = [] }) => [
    ...Object.entries(ports).map(([protocol, port]) => {
      const own = protocol === 'grpc' ? (innerGrpc ?? port) : port
      return { node: name, protocol, host, port: own }
    }),
    ...fronts.map((port) => ({ node: name, protocol: 'links', host, port })),
  ])
}

/** How many of the Placement Center nodes came after the cluster was made. */
export function joinedCount(nodes: readonly NodeRecord[]): number {
  return nodes.filter(({ role, args }) => role === 'placement' && args.includes('--join')).length
}

/** Of `broker-12`, 12. */
export function numberOf(name: string): number {
  return Number(name.slice(name.lastIndexOf('-') + 1))
}

function storageNode(plan: ClusterPlan): NodeRecord {
  const name = 'storage-1'
  const port = portOf(plan, standardPorts.storage, 1)
  const http = portOf(plan, standardPorts.storageHttp, 1)
  const inner = innerOf(plan, port)
  const flags = {
    listen: `${plan.host}:${inner ?? port}`,
    'http-port': String(http),
    url: plan.storageUrl,
  }
  const [, path] = /^leveldb:(.+)$/.exec(plan.storageUrl) ?? []
  const parts = { name, role: 'storage', ports: { grpc: port, http }, flags, inner } as const
  return node(plan, path === undefined ? parts : { ...parts, dataDir: path })
}

function placementAddress(plan: ClusterPlan, number: number): string {
  return `${plan.host}:${portOf(plan, standardPorts.placement, number)}`
}

function faultsOf({ logDir }: ClusterPlan, name: string): string {
  return join(logDir, '..', 'faults', name)
}

function innerOf({ breakable }: ClusterPlan, port: number): number | undefined {
  return breakable === true ? port + INNER_STEP : undefined
}

function portOf(plan: ClusterPlan, standard: number, number: number): number {
  const port = standard + portStep * (number - 1) + plan.portOffset
  if (port > PORT_MAX) throw usageError(`node ${number} would need port ${port}: no such port`)
  return port
}

function node(
  plan: ClusterPlan,
  parts: Pick<NodeRecord, 'name' | 'role' | 'ports'> & {
    flags: Readonly<Record<string, string>>
    dataDir?: string
    inner?: number | undefined
  },
): NodeRecord {
  const { name, role, ports } = parts
  const flags: Record<string, string> = { ...parts.flags }
  for (const setting of plan.settings.map(parseSetting)) {
    const meant = setting.role === role && (setting.node ?? name) === name
    if (meant) flags[setting.flag] = setting.value
  }
  return {
    name,
    role,
    pid: null,
    startTime: null,
    ports,
    ...(parts.inner !== undefined && { innerGrpc: parts.inner }),
    ...(plan.breakable === true && role !== 'network' && { faults: faultsOf(plan, name) }),
    args: Object.entries(flags).flatMap(([flag, value]) =>
      value === '' ? [`--${flag}`] : [`--${flag}`, value],
    ),
    logFile: join(plan.logDir, `${name}.log`),
    dataDir: parts.dataDir ?? join(plan.dataDir, name),
  }
}
