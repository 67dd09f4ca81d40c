/**
 * `npm run chaos -- [--rounds N] [--storage URL]`: the long form of storage-chaos.test.ts. Storage `redis` is a
 * Redis server of its own (appendfsync always), which is killed too; one that is given by a URL is not.
 * Storage `embedded` is one process with all roles and LevelDB in it.
 *
 * `-- --rolling [--clients N]`: the long form of rolling-chaos.test.ts, with 10,000 clients.
 */
import { parseArgs } from 'node:util'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { durable, startRedis } from '../support/redis-servers.ts'
import { rollingRestart } from './rolling-restart.ts'
import { startSingleServer } from './single-server.ts'
import { type Fault, runStorageChaos } from './storage-chaos.ts'
import { isGood } from './topic-check.ts'

const ALL: readonly Fault[] = ['kill storage', 'kill broker', 'kill both', 'pause broker']

const isOfBroker = (fault: Fault): boolean => fault.endsWith('broker')

const { values } = parseArgs({
  options: {
    rounds: { type: 'string', default: '50' },
    storage: { type: 'string' },
    rolling: { type: 'boolean', default: false },
    clients: { type: 'string', default: '10000' },
  },
})
const redis = values.storage === 'redis' ? await startRedis({ settings: durable }) : undefined
const storage = redis === undefined ? values.storage : `redis://${redis.address}`
const isForeign = redis === undefined && storage?.startsWith('redis') === true
const faults = isForeign || storage === 'embedded' ? ALL.filter(isOfBroker) : ALL
const isSingle = storage === 'embedded'
const cluster = isSingle
  ? startSingleServer()
  : await startCluster('--nodes', '3', ...(storage ? ['--storage', storage] : []))
const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}
async function roll(cluster: TestCluster): Promise<void> {
  const load = { clients: Number(values.clients), publishers: 8, brokers: 3, perSecond: 400 }
  const result = await rollingRestart(cluster, { ...load, say })
  say(JSON.stringify({ ...result, lost: result.lost.slice(0, 10) }, undefined, 2))
  process.exitCode = result.lost.length + result.lostSessions === 0 ? 0 : 1
}

async function chaos(): Promise<void> {
  const rounds = Number(values.rounds)
  const more = redis && { storage: { kill: () => redis.kill(), restart: () => redis.restart() } }
  const brokers = isSingle ? 1 : 3
  const options = { rounds, faults, publishers: 12, brokers, say, ...more }
  const { recoveryMs, ...result } = await runStorageChaos(cluster, options)
  const sorted = recoveryMs.toSorted((a, b) => a - b)
  const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? 0
  say(
    JSON.stringify({ ...result, medianMs: at(0.5), p95Ms: at(0.95), worstMs: at(1) }, undefined, 2),
  )
  process.exitCode = isGood(result) ? 0 : 1
}

try {
  if (values.rolling && !isSingle) await roll(cluster as TestCluster)
  else await chaos()
} finally {
  await cluster.purge()
  await redis?.remove()
}
