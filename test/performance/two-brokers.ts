// `npm run bench -- two-brokers`: QoS 0 between clients of one broker, and between clients of two brokers of a cluster,
// publishers at the one and subscribers at the other, in turn. All brokers have one core together, so that a message
// costs what it costs; the load has the other core.

import { execFileSync } from 'node:child_process'
import { startCluster } from '../support/cluster.ts'
import { pinTo } from './brokers.ts'
import { buildLoadProgram, runLoad } from './load-program.ts'
import { median } from './report.ts'
import { SCENARIOS, type Scenario } from './scenarios.ts'

const ROUNDS = 5
const SECONDS = 2

export async function twoBrokers(): Promise<number> {
  const program = await buildLoadProgram()
  const scenario = SCENARIOS.find(({ name }) => name === 'qos0')
  if (scenario === undefined) throw new Error('there is no scenario qos0')
  const cluster = await startCluster('--nodes', '2', '--placement', '1')
  try {
    const { nodes } = await cluster.status()
    const pids = nodes.flatMap(({ role, pid }) => (role === 'broker' && pid !== null ? [pid] : []))
    // All threads: a process that runs is not moved by its first one alone.
    if (pinTo(0).length > 0) {
      for (const pid of pids) execFileSync('taskset', ['-a', '-c', '-p', '0', String(pid)])
    }
    const [port, other] = [cluster.mqttPort(1), cluster.mqttPort(2)]
    const rates = { one: [] as number[], two: [] as number[] }
    for (let round = 0; round < ROUNDS; round++) {
      for (const [name, subPort] of [
        ['one', port],
        ['two', other],
      ] as const) {
        const wanted: Scenario = { ...scenario, settings: { ...scenario.settings, subPort } }
        const options = { port, pids, seconds: SECONDS, prefix: pinTo(1) }
        const { delivered = 0 } = await runLoad(program, wanted, options)
        rates[name].push(delivered)
        process.stderr.write(`round ${round + 1}: ${name}: ${Math.round(delivered)} msg/s\n`)
      }
    }
    const [one, two] = [median(rates.one), median(rates.two)]
    console.log(`clients of one broker      ${Math.round(one)} msg/s`)
    console.log(`clients of two brokers     ${Math.round(two)} msg/s   ${(two / one).toFixed(2)}x`)
    return 0
  } finally {
    await cluster.purge()
  }
}
