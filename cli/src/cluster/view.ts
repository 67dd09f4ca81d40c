/**
 * One picture of a cluster from what its nodes answered: the Placement Center's metadata, each broker's own
 * words, and which processes run. Pure: the questions are asked elsewhere.
 */
import { type control, placement } from '@robust/proto'
import type { ProcessState } from './process-table.ts'
import type { ClusterState, NodeRecord, Role } from './state.ts'
import { withoutPassword } from './topology.ts'

export interface Answers {
  readonly state: ClusterState
  /** By node name, as /proc has it. */
  readonly processes: ReadonlyMap<string, ProcessState>
  /** What the Placement Center nodes answered, by address. */
  readonly placement: ReadonlyMap<string, placement.StatusReply>
  /** What the brokers answered, by node id. */
  readonly brokers: ReadonlyMap<string, control.InspectReply>
  /** Storage nodes that serve, by address. */
  readonly serving: ReadonlySet<string>
  /** All storage addresses, ours or not; empty when storage cannot be asked. */
  readonly storage: readonly string[]
}

export type NodeState = 'running' | 'stopped' | 'paused' | 'unreachable' | 'draining' | 'joining'

export interface Endpoint {
  readonly protocol: string
  readonly host: string
  readonly port: number
}

export interface BrokerShards {
  /** Leases that the Placement Center has given it. */
  readonly owned: number
  readonly open: number
  readonly dataLoss: number
}

export interface Load {
  readonly ageMs: number
  readonly connections: number
  readonly sessions: number
  readonly subscriptions: number
  readonly messagesInPerSecond: number
  readonly messagesOutPerSecond: number
  readonly cpuFraction: number
  readonly eventLoopDelayMs: number
  readonly memoryBytes: number
}

export interface NodeView {
  readonly name: string
  readonly role: Role
  readonly state: NodeState
  /** Placement Center nodes: leader, follower, candidate. */
  readonly placementRole: string | null
  /** Whether `up` started it. */
  readonly managed: boolean
  readonly pid: number | null
  readonly endpoints: readonly Endpoint[]
  readonly epoch: number | null
  readonly shards: BrokerShards | null
  readonly load: Load | null
  readonly storageAvailable: boolean | null
  /** How near the storage is to refusing what adds; 100 is full. */
  readonly storagePressurePercent: number | null
  /** It refuses new connections since the Placement Center said so. */
  readonly throttled: boolean | null
  readonly memoryBytes: number | null
}

export type Health = 'healthy' | 'degraded' | 'critical'

export interface ClusterView {
  readonly name: string
  readonly clusterId: string
  readonly health: Health
  readonly reasons: readonly string[]
  readonly placement: {
    readonly leader: string | null
    readonly term: number | null
    readonly quorum: boolean
    readonly answering: number
    readonly members: number
  }
  readonly storage: {
    readonly url: string
    readonly serving: boolean
    readonly promise: string | null
  }
  readonly shards: {
    readonly total: number
    readonly open: number
    /** Granted to a broker that runs and has not opened them yet. */
    readonly moving: number
    readonly dataLoss: number
  }
  readonly nodes: readonly NodeView[]
}

export function viewCluster(answers: Answers): ClusterView {
  const { state } = answers
  const best = newest([...answers.placement.values()])
  const nodes = [
    ...state.nodes.map((node) => viewNode(answers, best, node)),
    ...strangers(answers, best),
  ]
  const shards = countShards(answers, best, nodes)
  const promise = [...answers.brokers.values()].find(({ storagePromise }) => storagePromise !== '')
  const view = {
    placement: viewPlacement(answers, best),
    storage: {
      url: withoutPassword(state.storageUrl),
      serving: isStorageServing(answers),
      promise: promise?.storagePromise ?? null,
    },
    shards,
    nodes,
  }
  return { name: state.name, clusterId: state.clusterId, ...assess(view), ...view }
}

/** From when on brokers slow publishers, and refuse them. */
const SLOW_PERCENT = 75
const FULL_PERCENT = 98

/** Critical: part of the service is missing. Degraded: all of it is there, with less to lose. */
export function assess(view: Pick<ClusterView, 'placement' | 'storage' | 'shards' | 'nodes'>): {
  health: Health
  reasons: readonly string[]
} {
  const { placement: center, storage, shards, nodes } = view
  const critical: string[] = []
  if (!center.quorum) {
    critical.push(
      `the Placement Center has no quorum (${center.answering} of ${center.members} answer)`,
    )
  }
  if (!storage.serving) critical.push('storage does not answer')
  const unowned = shards.total - shards.open - shards.moving
  if (unowned > 0) critical.push(`${unowned} of ${shards.total} shards have no open owner`)
  if (shards.dataLoss > 0) critical.push(`${shards.dataLoss} shards report DATA LOSS`)
  const degraded = nodes.flatMap(({ name, state, throttled, ...node }) => {
    if (state !== 'running') return [`${name} is ${state}`]
    if (node.storageAvailable === false) return [`${name} cannot reach storage`]
    const pressure = node.storagePressurePercent ?? 0
    if (pressure >= FULL_PERCENT)
      return [`${name} finds storage full and refuses what it would keep`]
    if (pressure >= SLOW_PERCENT) return [`${name} slows publishers: storage is ${pressure}% full`]
    return throttled === true ? [`${name} is overloaded and refuses new connections`] : []
  })
  if (shards.moving > 0)
    degraded.push(`${shards.moving} of ${shards.total} shards are being opened`)
  if (center.quorum && center.leader === null) {
    degraded.push('the Placement Center is electing a leader')
  }
  const health = critical.length > 0 ? 'critical' : degraded.length > 0 ? 'degraded' : 'healthy'
  return { health, reasons: [...critical, ...degraded] }
}

/** The leader's view, or the furthest there is. */
function newest(replies: readonly placement.StatusReply[]): placement.StatusReply | undefined {
  const rank = ({ role, hasQuorum }: placement.StatusReply): number =>
    role === 'leader' && hasQuorum ? 1 : 0
  return replies.toSorted(
    (one, other) =>
      rank(other) - rank(one) || other.term - one.term || other.appliedIndex - one.appliedIndex,
  )[0]
}

function viewPlacement(
  answers: Answers,
  best: placement.StatusReply | undefined,
): ClusterView['placement'] {
  const replies = [...answers.placement.values()]
  const known = answers.state.nodes.filter(({ role }) => role === 'placement').length
  const members = best?.members.length || known || answers.state.externalPlacement.length
  // A node that lost the others notices it after an election time-out; who answers here is known at once.
  const quorum = replies.length * 2 > members && replies.some(({ hasQuorum }) => hasQuorum)
  const leader = replies.find(({ role, term }) => role === 'leader' && term === best?.term)
  return {
    leader: leader?.nodeId ?? null,
    term: best?.term ?? null,
    quorum,
    answering: replies.length,
    members,
  }
}

function viewNode(
  answers: Answers,
  best: placement.StatusReply | undefined,
  node: NodeRecord,
): NodeView {
  const { state, processes } = answers
  const process = processes.get(node.name) ?? 'stopped'
  const endpoints = Object.entries(node.ports).map(([protocol, port]) => ({
    protocol,
    host: state.host,
    port,
  }))
  const address = `${state.host}:${node.ports['grpc']}`
  const common = {
    name: node.name,
    role: node.role,
    managed: true,
    pid: process === 'stopped' ? null : node.pid,
    endpoints,
  }
  if (node.role === 'broker') {
    return { ...common, ...viewBroker(answers, best, { name: node.name, process }) }
  }
  const reply = answers.placement.get(address)
  const answersNow = {
    placement: reply !== undefined,
    storage: answers.serving.has(address),
    // It stands between all the others: whether it serves is seen by them.
    network: true,
  }[node.role]
  return {
    ...common,
    ...nothingOfBrokers,
    state: process === 'running' && !answersNow ? 'unreachable' : process,
    placementRole: reply?.role ?? null,
    memoryBytes: reply?.memoryBytes ?? null,
  }
}

const nothingOfBrokers = {
  epoch: null,
  shards: null,
  load: null,
  storageAvailable: null,
  storagePressurePercent: null,
  throttled: null,
}

/** Brokers that joined by hand are known from the metadata only. */
function strangers(answers: Answers, best: placement.StatusReply | undefined): readonly NodeView[] {
  const ours = new Set(answers.state.nodes.map(({ name }) => name))
  const others = best?.metadata?.nodes.filter(({ nodeId }) => !ours.has(nodeId)) ?? []
  return others.map(({ nodeId, endpoints }) => ({
    name: nodeId,
    role: 'broker',
    managed: false,
    pid: null,
    endpoints,
    ...viewBroker(answers, best, { name: nodeId, process: 'running' }),
  }))
}

function viewBroker(
  answers: Answers,
  best: placement.StatusReply | undefined,
  { name, process }: { name: string; process: ProcessState },
) {
  const reply = answers.brokers.get(name)
  const member = best?.metadata?.nodes.find(({ nodeId }) => nodeId === name)
  const owned = best?.metadata?.shards.filter(({ owner }) => owner === name) ?? []
  const report = best?.reports.find(({ nodeId }) => nodeId === name)
  return {
    state: brokerState({ process, reply, member, isKnown: best !== undefined }),
    placementRole: null,
    epoch: member?.nodeEpoch ?? null,
    shards: {
      owned: owned.length,
      open: owned.filter(({ opened }) => opened).length,
      dataLoss: reply?.shards.filter(({ state }) => state === 'data-loss').length ?? 0,
    },
    load: viewLoad(report),
    storageAvailable: reply?.storageAvailable ?? null,
    storagePressurePercent: reply?.counters['storagePressurePercent'] ?? null,
    throttled: reply?.throttled ?? null,
    memoryBytes: reply?.memoryBytes ?? null,
  }
}

function brokerState(facts: {
  process: ProcessState
  reply: control.InspectReply | undefined
  member: placement.Node | undefined
  isKnown: boolean
}): NodeState {
  const { process, reply, member, isKnown } = facts
  if (process !== 'running') return process
  if (reply === undefined) return 'unreachable'
  if (member?.state === placement.NodeState.NODE_STATE_DRAINING) return 'draining'
  return isKnown && member === undefined ? 'joining' : 'running'
}

function viewLoad(reported: placement.NodeReport | undefined): Load | null {
  const report = reported?.report
  if (report === undefined) return null
  return {
    ageMs: reported?.ageMs ?? 0,
    connections: report.connections,
    sessions: report.sessions,
    subscriptions: report.subscriptions,
    messagesInPerSecond: report.messagesInPerSecond,
    messagesOutPerSecond: report.messagesOutPerSecond,
    cpuFraction: report.cpuFraction,
    eventLoopDelayMs: report.eventLoopDelayMs,
    memoryBytes: report.memoryBytes,
  }
}

function countShards(
  answers: Answers,
  best: placement.StatusReply | undefined,
  nodes: readonly NodeView[],
): ClusterView['shards'] {
  return {
    total: best?.metadata?.shards.length || answers.state.shards,
    open: best === undefined ? openByBrokers(answers) : grantedAlive(best, nodes, true),
    moving: best === undefined ? 0 : grantedAlive(best, nodes, false),
    dataLoss: nodes.reduce((sum, node) => sum + (node.shards?.dataLoss ?? 0), 0),
  }
}

/** The metadata notices an owner's death only after the time-out; here it counts at once. */
function grantedAlive(
  best: placement.StatusReply,
  nodes: readonly NodeView[],
  isOpen: boolean,
): number {
  const alive = new Set(nodes.filter(({ state }) => serves.has(state)).map(({ name }) => name))
  const shards = best.metadata?.shards ?? []
  return shards.filter(({ owner, opened }) => opened === isOpen && alive.has(owner)).length
}

/** Without the Placement Center owners go on until their leases end. */
function openByBrokers({ brokers }: Answers): number {
  const open = [...brokers.values()]
    .filter(({ leaseValid }) => leaseValid)
    .flatMap(({ shards }) => shards.filter(({ state }) => state === 'open'))
  return new Set(open.map(({ shard }) => shard)).size
}

const serves: ReadonlySet<NodeState> = new Set(['running', 'draining'])

/** Storage that has no address is inside the brokers, and they tell. */
function isStorageServing({ storage, serving, brokers }: Answers): boolean {
  if (storage.length > 0) return storage.some((address) => serving.has(address))
  const replies = [...brokers.values()]
  return replies.length > 0 && replies.every(({ storageAvailable }) => storageAvailable)
}
