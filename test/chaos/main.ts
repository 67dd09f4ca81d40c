/** `npm run chaos -- [--rounds N] [--storage URL]`: the long form of storage-chaos.test.ts. */
import { parseArgs } from 'node:util'
import { startCluster } from '../support/cluster.ts'
import { type Fault, runStorageChaos } from './storage-chaos.ts'
import { isGood } from './topic-check.ts'

const ALL: readonly Fault[] = ['kill storage', 'kill broker', 'kill both', 'pause broker']

const { values } = parseArgs({
  options: { rounds: { type: 'string', default: '50' }, storage: { type: 'string' } },
})
const { storage } = values
// Redis has no node of ours to kill.
const faults = storage?.startsWith('redis') ? ALL.filter((one) => one.endsWith('broker')) : ALL
const cluster = await startCluster('--nodes', '3', ...(storage ? ['--storage', storage] : []))
const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}
try {
  const options = { rounds: Number(values.rounds), faults, publishers: 12, brokers: 3, say }
  const { recoveryMs, ...result } = await runStorageChaos(cluster, options)
  const sorted = recoveryMs.toSorted((a, b) => a - b)
  const at = (share: number): number => sorted[Math.floor((sorted.length - 1) * share)] ?? 0
  say(
    JSON.stringify({ ...result, medianMs: at(0.5), p95Ms: at(0.95), worstMs: at(1) }, undefined, 2),
  )
  process.exitCode = isGood(result) ? 0 : 1
} finally {
  await cluster.purge()
}
