/** What a broker process is like while it is fuzzed: alive, and how much memory it has. */
import { readFileSync } from 'node:fs'
import type { TestCluster } from '../support/cluster.ts'

export interface BrokerWatch {
  readonly pid: number
  /** Bytes, the most that was seen so far. */
  look(): number
  /** Lines of its log that tell of a fault in the program. */
  faults(): Promise<readonly string[]>
  /** The same process still runs. */
  lives(): Promise<boolean>
}

/** What JavaScript says when a program is wrong; a client's fault never does. */
const FAULT =
  /TypeError|RangeError|ReferenceError|AssertionError|is not a function|Cannot read prop|uncaught/

/** Sessions and retained messages of random names must not pile up: that is not what is tested. */
export async function prepareForFuzz(cluster: TestCluster): Promise<void> {
  for (const [name, value] of [
    ['mqtt.session-expiry-max-seconds', '2'],
    ['mqtt.retained-messages-max', '64'],
    ['mqtt.payload-format-check', 'true'],
  ] as const) {
    const { code, stderr } = await cluster.robust('config', 'set', name, value)
    if (code !== 0) throw new Error(stderr)
  }
  await cluster.robust('mqtt', 'rewrite', 'add', 'all', 'fuzz/b/#', 'fuzz/rewritten/$1')
}

export async function watchBroker(cluster: TestCluster): Promise<BrokerWatch> {
  const pidOf = async (): Promise<number | null | undefined> =>
    (await cluster.status()).nodes.find(({ name }) => name === 'broker-1')?.pid
  const pid = await pidOf()
  if (pid === null || pid === undefined) throw new Error('broker-1 does not run')
  let most = 0
  return {
    pid,
    look: () => {
      const status = readFileSync(`/proc/${pid}/status`, 'utf8')
      most = Math.max(most, Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) * 1_024)
      return most
    },
    faults: async () => {
      const { stdout } = await cluster.robust('cluster', 'logs', 'broker-1')
      return stdout.split('\n').filter((line) => FAULT.test(line))
    },
    lives: async () => (await pidOf()) === pid,
  }
}
