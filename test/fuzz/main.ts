/** `npm run fuzz -- [--cases N] [--seed S]`: the long form of test/end-to-end/mqtt/fuzz.test.ts. */
import { parseArgs } from 'node:util'
import { startCluster } from '../support/cluster.ts'
import { prepareForFuzz, watchBroker } from './broker-watch.ts'
import { fuzzMqtt } from './mqtt-fuzz.ts'

const { values } = parseArgs({
  options: {
    cases: { type: 'string', default: '1000000' },
    seed: { type: 'string', default: String(Date.now() % 1_000_000) },
    connections: { type: 'string', default: '48' },
  },
})
const say = (text: string): void => {
  process.stdout.write(`${text}\n`)
}
const seed = Number(values.seed)
const cluster = await startCluster('--nodes', '1', '--placement', '1', '--storage', 'memory:')
try {
  await prepareForFuzz(cluster)
  const watch = await watchBroker(cluster)
  const mebibytes = (): string => `${Math.round(watch.look() / 1024 ** 2)} MiB`
  say(`seed ${seed}, broker ${watch.pid}, ${mebibytes()}`)
  let told = 0
  const result = await fuzzMqtt({
    ...{ port: cluster.mqttPort(1), seed },
    ...{ cases: Number(values.cases), connections: Number(values.connections) },
    onProgress: (cases) => {
      if (cases < told + 50_000) return
      told = cases
      say(`${cases} cases, at most ${mebibytes()}`)
    },
  })
  const faults = await watch.faults()
  const lives = await watch.lives()
  say(JSON.stringify({ seed, lives, memory: mebibytes(), ...result, faults: faults.slice(0, 20) }))
  const isGood = lives && faults.length === 0 && result.isInOrder
  process.exitCode = isGood && result.bystanderSeen === result.bystanderSent ? 0 : 1
} finally {
  await cluster.purge()
}
