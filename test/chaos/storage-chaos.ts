/**
 * Kills and pauses of a storage node, of brokers or of both, in a loop, under load; afterwards every record that
 * was acknowledged must be there, in order, once per offset.
 */
import { judge, type Verdict } from './topic-check.ts'
import { type ChaosCluster, createTopic, readAll, startWorkload } from './topic-workload.ts'

export type Fault = 'kill storage' | 'kill broker' | 'kill both' | 'pause broker'

export interface ChaosOptions {
  readonly rounds: number
  readonly faults: readonly Fault[]
  readonly publishers: number
  readonly brokers: number
  /** Where storage is no node of the cluster's own. */
  readonly storage?: StorageProcess
  /** Tells what is done. */
  readonly say: (text: string) => void
}

export interface StorageProcess {
  kill(): Promise<unknown>
  restart(): Promise<unknown>
}

export interface ChaosResult extends Verdict {
  readonly acknowledged: number
  readonly kept: number
  /** From the end of each fault to the next acknowledgement, ms. */
  readonly recoveryMs: readonly number[]
}

/** Three times the lease of the `dev` preset. */
const PAUSE_MS = 9_000
const CALM_ACKNOWLEDGEMENTS = 100
const RECOVERY_MS_MAX = 60_000

/** Throws when the cluster does not take anything any more. */
export async function runStorageChaos(
  cluster: ChaosCluster,
  options: ChaosOptions,
): Promise<ChaosResult> {
  const { rounds, faults, publishers, brokers, say } = options
  const storage = options.storage ?? nodeOf(cluster)
  await createTopic(cluster)
  const ports = Array.from({ length: brokers }, (_, at) => cluster.mqttPort(at + 1))
  const workload = startWorkload(ports, publishers)
  const recoveryMs: number[] = []
  const calm = () => waitFor(workload.acknowledged, CALM_ACKNOWLEDGEMENTS)
  await calm()
  for (let round = 0; round < rounds; round++) {
    const fault = faults[round % faults.length] as Fault
    const broker = `broker-${(round % brokers) + 1}`
    await inflict({ cluster, storage }, fault, broker)
    const from = performance.now()
    await waitFor(workload.acknowledged, 1)
    recoveryMs.push(Math.round(performance.now() - from))
    say(
      `round ${round + 1}: ${fault} (${broker}), acknowledged again after ${recoveryMs.at(-1)} ms`,
    )
    await calm()
  }
  const histories = await workload.stop()
  const kept = await readAll(cluster)
  const acknowledged = histories.reduce((sum, one) => sum + one.acknowledged.length, 0)
  return { ...judge(histories, kept), acknowledged, kept: kept.length, recoveryMs }
}

type Order = (...args: string[]) => Promise<void>

function ordersTo(cluster: ChaosCluster): Order {
  return async (...args) => {
    const { code, stderr } = await cluster.robust('cluster', ...args)
    if (code !== 0) throw new Error(`cluster ${args.join(' ')}: ${stderr}`)
  }
}

function nodeOf(cluster: ChaosCluster): StorageProcess {
  const robust = ordersTo(cluster)
  return {
    kill: () => robust('kill', 'storage-1'),
    restart: () => robust('restart', 'storage-1'),
  }
}

async function inflict(
  { cluster, storage }: { readonly cluster: ChaosCluster; readonly storage: StorageProcess },
  fault: Fault,
  broker: string,
): Promise<void> {
  const robust = ordersTo(cluster)
  switch (fault) {
    case 'kill storage':
      await storage.kill()
      await storage.restart()
      return
    case 'kill broker':
      await robust('kill', broker)
      return robust('restart', broker)
    case 'kill both':
      await Promise.all([storage.kill(), robust('kill', broker)])
      await storage.restart()
      return robust('restart', broker)
    case 'pause broker':
      await robust('pause', broker)
      await new Promise((resolve) => setTimeout(resolve, PAUSE_MS))
      return robust('resume', broker)
    default:
      return fault satisfies never
  }
}

async function waitFor(count: () => number, more: number): Promise<void> {
  const target = count() + more
  const end = performance.now() + RECOVERY_MS_MAX
  while (count() < target) {
    if (performance.now() > end)
      throw new Error(`nothing is acknowledged for ${RECOVERY_MS_MAX} ms`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}
