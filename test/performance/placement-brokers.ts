// What brokers of a real cluster (`robust cluster up --nodes 3`, `dev` preset) wait for the Placement Center:
// until the shards of a killed broker are served elsewhere, and while a broker is drained under load.

import { credentials, Metadata } from '@grpc/grpc-js'
import { placement } from '@robust/proto'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { type Client, connect } from '../support/mqtt-clients.ts'
import { pause } from './simulated-broker.ts'

const VICTIM = 'broker-2'
const SUBSCRIBERS = 8
const DURABLE = { clean: false, properties: { sessionExpiryInterval: 3_600 } }
const WAIT_MS_MAX = 30_000
const POLL_MS = 5

export interface BrokerFigures {
  /** From SIGKILL until every shard is open at another broker. */
  readonly killedMs: readonly number[]
  readonly drain: {
    readonly shards: number
    /** From the order to release a shard until the next owner serves it; of all shards, the longest. */
    readonly gapMs: number
    readonly acknowledged: number
    /** Acknowledged, and not received by a durable subscriber. */
    readonly lost: number
    /** Publishes that failed on the two brokers that stay. */
    readonly failed: number
  }
}

export async function measureBrokers(tries: number): Promise<BrokerFigures> {
  const cluster = await startCluster('--nodes', '3')
  const center = new placement.PlacementClient(
    `127.0.0.1:${1228 + cluster.offset}`,
    credentials.createInsecure(),
  )
  try {
    const killedMs: number[] = []
    for (let attempt = 0; attempt < tries; attempt++) killedMs.push(await kill(cluster, center))
    return { killedMs, drain: await drain(cluster, center) }
  } finally {
    center.close()
    await cluster.purge()
  }
}

async function kill(cluster: TestCluster, center: placement.PlacementClient): Promise<number> {
  await owns(center, (shards) => shards > 0)
  const pid = (await cluster.status()).nodes.find(({ name }) => name === VICTIM)?.pid
  if (typeof pid !== 'number') throw new Error(`${VICTIM} does not run`)
  const startMs = performance.now()
  process.kill(pid, 'SIGKILL')
  await owns(center, (shards) => shards === 0)
  const tookMs = performance.now() - startMs
  await done(cluster, 'cluster', 'restart', VICTIM)
  return tookMs
}

/** Waits until the victim owns so many shards, and every shard is open at its owner. */
async function owns(
  center: placement.PlacementClient,
  enough: (shards: number) => boolean,
): Promise<void> {
  const end = performance.now() + WAIT_MS_MAX
  while (performance.now() < end) {
    const shards = await shardsOf(center)
    const isOpen = shards.length > 0 && shards.every(({ opened }) => opened)
    if (isOpen && enough(shards.filter(({ owner }) => owner === VICTIM).length)) return
    await pause(POLL_MS)
  }
  throw new Error(`the shards of ${VICTIM} did not move within ${WAIT_MS_MAX} ms`)
}

function shardsOf(center: placement.PlacementClient): Promise<readonly placement.Shard[]> {
  const within = { deadline: Date.now() + 2_000 }
  return new Promise((resolve) => {
    center.status({}, new Metadata(), within, (error, reply) => {
      resolve(error ? [] : (reply.metadata?.shards ?? []))
    })
  })
}

async function drain(
  cluster: TestCluster,
  center: placement.PlacementClient,
): Promise<BrokerFigures['drain']> {
  await owns(center, (shards) => shards > 0)
  const open: Client[] = []
  const client = async (node: number, options = {}): Promise<Client> => {
    const connected = await connect(cluster.mqttPort(node), options)
    open.push(connected)
    return connected
  }
  const subscribers: Client[] = []
  for (let at = 0; at < SUBSCRIBERS; at++) {
    const subscriber = await client(1, { clientId: `drain-${at}`, ...DURABLE })
    await subscriber.mqtt.subscribeAsync('drain', { qos: 1 })
    subscribers.push(subscriber)
  }
  const streams = [1, 3].map(async (node) => publishing(await client(node), node))
  const publishers = await Promise.all(streams)
  await until(() => publishers.every(({ acknowledged }) => acknowledged.length > 50))
  const before = (await cluster.events('--limit', '0')).length
  await done(cluster, 'cluster', 'drain', VICTIM)
  await owns(center, (shards) => shards === 0)
  await Promise.all(publishers.map((publisher) => publisher.stop()))
  const acknowledged = publishers.flatMap((publisher) => publisher.acknowledged)
  await until(() => lost(subscribers, acknowledged) === 0, 10_000).catch(() => undefined)
  const events = (await cluster.events('--limit', '0')).slice(before)
  const moves = events.filter(({ kind }) => kind === 'ShardsMoved')
  const gaps = moves.map(({ reason }) => Number(/ to (\d+) ms$/.exec(reason)?.[1]))
  const figures = {
    shards: moves.reduce((sum, { shards }) => sum + shards.length, 0),
    gapMs: Math.max(...gaps),
    acknowledged: acknowledged.length,
    lost: lost(subscribers, acknowledged),
    failed: publishers.reduce((sum, { failed }) => sum + failed(), 0),
  }
  await Promise.all(open.map((each) => each.end()))
  return figures
}

interface Publishing {
  readonly acknowledged: readonly string[]
  failed(): number
  stop(): Promise<void>
}

/** One message after the other, until it is stopped. */
function publishing(publisher: Client, node: number): Publishing {
  const acknowledged: string[] = []
  let failed = 0
  let isRunning = true
  const ended = (async () => {
    for (let n = 0; isRunning; n++) {
      const text = `from-${node}-${n}`
      try {
        await publisher.mqtt.publishAsync('drain', text, { qos: 1 })
        acknowledged.push(text)
      } catch {
        failed += 1
        return
      }
    }
  })()
  return {
    acknowledged,
    failed: () => failed,
    stop: () => {
      isRunning = false
      return ended
    },
  }
}

function lost(subscribers: readonly Client[], acknowledged: readonly string[]): number {
  return subscribers.reduce((sum, subscriber) => {
    const received = new Set(subscriber.texts())
    return sum + acknowledged.filter((text) => !received.has(text)).length
  }, 0)
}

async function until(condition: () => boolean, withinMs = WAIT_MS_MAX): Promise<void> {
  const end = performance.now() + withinMs
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms`)
    await pause(POLL_MS)
  }
}

async function done(cluster: TestCluster, ...args: string[]): Promise<void> {
  const ran = await cluster.robust(...args)
  if (ran.code !== 0) throw new Error(`robust ${args.join(' ')} exited ${ran.code}: ${ran.stderr}`)
}
