/**
 * A rolling restart: each broker is drained and started again in its turn, while QoS 1 messages flow to the durable
 * sessions of many connected clients. Afterwards every message that was acknowledged must be with its client.
 */
import { setTimeout as sleep } from 'node:timers/promises'
import type { TestCluster } from '../support/cluster.ts'
import { FleetClient } from './fleet-client.ts'

export interface RollingOptions {
  readonly clients: number
  readonly publishers: number
  readonly brokers: number
  /** Messages a second, of all publishers together. */
  readonly perSecond: number
  readonly say: (text: string) => void
}

export interface RollingResult {
  readonly clients: number
  readonly acknowledged: number
  readonly received: number
  /** Of them that came more than once; at least once allows it. */
  readonly duplicates: number
  /** `CLIENT NUMBER` of messages that were acknowledged and never came. */
  readonly lost: readonly string[]
  readonly lostSessions: number
  readonly reconnects: number
  readonly told: number
  /** Longest time without any acknowledgement, ms. */
  readonly silenceMs: number
  readonly restarts: readonly {
    readonly broker: string
    readonly drainMs: number
    readonly restartMs: number
    /** After the restart, until every client is connected. */
    readonly settledMs: number
    readonly reconnects: number
  }[]
  readonly totalMs: number
}

const BEGIN_AT_ONCE = 200
const ARRIVE_MS = 60_000
const CALM_MS = 1_000
/** Clients are moved 200 a second; nobody is to be closed without having been told. */
const DEADLINE = '50s'

interface Fleet {
  readonly clients: readonly FleetClient[]
  readonly received: readonly Map<string, number>[]
}

/** Throws when the cluster does not do what it is told. */
export async function rollingRestart(
  cluster: TestCluster,
  options: RollingOptions,
): Promise<RollingResult> {
  const { clients: count, brokers, say } = options
  const ports = Array.from({ length: brokers }, (_, at) => cluster.mqttPort(at + 1))
  const fleet = await startFleet(ports, count)
  say(`${count} clients are connected`)
  const flow = startFlow(ports, options)
  await sleep(CALM_MS)
  const begunAt = performance.now()
  const restarts: RollingResult['restarts'][number][] = []
  for (let at = 1; at <= brokers; at++) {
    const done = await restartOne(cluster, fleet, `broker-${at}`)
    restarts.push(done)
    const { broker, drainMs, restartMs, settledMs, reconnects } = done
    const times = `drained in ${drainMs} ms, restarted in ${restartMs} ms, all back after ${settledMs} ms`
    say(`${broker}: ${times}, ${reconnects} reconnects`)
  }
  const totalMs = Math.round(performance.now() - begunAt)
  await sleep(CALM_MS)
  const { acknowledged, silenceMs } = await flow.stop()
  const lost = await missing(acknowledged, fleet)
  const { clients, received } = fleet
  const sum = (of: (client: FleetClient) => number) =>
    clients.reduce((total, client) => total + of(client), 0)
  const result = {
    clients: count,
    acknowledged: acknowledged.length,
    received: received.reduce((total, one) => total + one.size, 0),
    duplicates: received.reduce(
      (total, one) => total + [...one.values()].filter((times) => times > 1).length,
      0,
    ),
    ...{ lost, silenceMs, restarts, totalMs },
    lostSessions: sum(({ lostSessions }) => lostSessions),
    reconnects: sum(({ reconnects }) => reconnects),
    told: sum(({ told }) => told),
  }
  for (const client of clients) client.stop()
  return result
}

async function startFleet(ports: readonly number[], count: number): Promise<Fleet> {
  const received = Array.from({ length: count }, () => new Map<string, number>())
  const clients: FleetClient[] = []
  for (let from = 0; from < count; from += BEGIN_AT_ONCE) {
    const some = received.slice(from, from + BEGIN_AT_ONCE).map((mine, index) => {
      const at = from + index
      return new FleetClient({
        ...{ clientId: `fleet-${at}`, ports, at, filter: `fleet/${at}` },
        onText: (text) => mine.set(text, (mine.get(text) ?? 0) + 1),
      })
    })
    clients.push(...some)
    await Promise.all(some.map((client) => client.ready()))
  }
  return { clients, received }
}

/** To each client in turn, a message with a number of its own. */
function startFlow(ports: readonly number[], { publishers, clients, perSecond }: RollingOptions) {
  const acknowledged: (readonly [client: number, text: string])[] = []
  const pauseMs = (publishers * 1_000) / perSecond
  let number = 0
  let isOver = false
  let lastAt = performance.now()
  let silenceMs = 0
  const running = Array.from({ length: publishers }, async (_, at) => {
    const publisher = new FleetClient({ clientId: `publisher-${at}`, ports, at })
    await publisher.ready()
    while (!isOver) {
      const begunAt = performance.now()
      const mine = number++
      const client = mine % clients
      await publisher.publish(`fleet/${client}`, String(mine))
      acknowledged.push([client, String(mine)])
      const now = performance.now()
      silenceMs = Math.max(silenceMs, Math.round(now - lastAt))
      lastAt = now
      await sleep(Math.max(0, pauseMs - (now - begunAt)))
    }
    publisher.stop()
  })
  return {
    stop: async () => {
      isOver = true
      await Promise.all(running)
      return { acknowledged, silenceMs }
    },
  }
}

async function restartOne(
  cluster: TestCluster,
  { clients }: Fleet,
  broker: string,
): Promise<RollingResult['restarts'][number]> {
  const reconnects = () => clients.reduce((sum, client) => sum + client.reconnects, 0)
  const before = reconnects()
  const drainMs = await timed(() => order(cluster, 'drain', broker, '--deadline', DEADLINE))
  const restartMs = await timed(() => order(cluster, 'restart', broker))
  const settledMs = await timed(() => settled(clients))
  return { broker, drainMs, restartMs, settledMs, reconnects: reconnects() - before }
}

async function settled(clients: readonly FleetClient[]): Promise<void> {
  const end = performance.now() + ARRIVE_MS
  while (clients.some(({ isReady }) => !isReady)) {
    if (performance.now() > end) throw new Error('clients do not come back')
    await sleep(20)
  }
}

/** Waits for what is on its way. */
async function missing(
  acknowledged: readonly (readonly [client: number, text: string])[],
  { received }: Fleet,
): Promise<string[]> {
  const end = performance.now() + ARRIVE_MS
  for (;;) {
    const lost = acknowledged.filter(([client, text]) => received[client]?.has(text) !== true)
    if (lost.length === 0 || performance.now() > end) {
      return lost.map(([client, text]) => `fleet-${client} ${text}`)
    }
    await sleep(100)
  }
}

async function order(cluster: TestCluster, ...args: string[]): Promise<void> {
  const { code, stderr } = await cluster.robust('cluster', ...args)
  if (code !== 0) throw new Error(`cluster ${args.join(' ')}: ${stderr}`)
}

async function timed(run: () => Promise<unknown>): Promise<number> {
  const from = performance.now()
  await run()
  return Math.round(performance.now() - from)
}
