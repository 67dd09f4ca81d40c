import { afterAll, beforeAll, expect, test } from 'vitest'
import { prepareForFuzz, watchBroker } from '../../fuzz/broker-watch.ts'
import { fuzzMqtt } from '../../fuzz/mqtt-fuzz.ts'
import { startCluster, type TestCluster } from '../../support/cluster.ts'

/** `ROBUST_FUZZ_SEED=N` repeats one. */
const seed = Number(process.env['ROBUST_FUZZ_SEED'] ?? Date.now() % 1_000_000)
/** Ten times as many go through a server in memory: broker/src/protocols/mqtt/fuzz.test.ts. */
const CASES = 10_000
const MEMORY_MAX = 700 * 1024 ** 2

let cluster: TestCluster

beforeAll(async () => {
  cluster = await startCluster('--nodes', '1', '--placement', '1', '--storage', 'memory:')
  await prepareForFuzz(cluster)
})

afterAll(() => cluster.purge())

test(`${CASES} spoiled packets end no process, take no memory for good and hold up nobody`, async () => {
  console.log(`fuzz.test.ts: ROBUST_FUZZ_SEED=${seed}`)
  const watch = await watchBroker(cluster)
  const result = await fuzzMqtt({
    ...{ port: cluster.mqttPort(1), cases: CASES, seed, connections: 48 },
    onProgress: () => watch.look(),
  })
  console.log(JSON.stringify({ ...result, memory: watch.look() }))
  expect(await watch.lives()).toBe(true)
  expect(await watch.faults()).toEqual([])
  expect(watch.look()).toBeLessThan(MEMORY_MAX)
  // The fuzzer did what it is for: it got in, and was thrown out.
  expect(result.cases).toBeGreaterThanOrEqual(CASES)
  expect(result.closed).toBeGreaterThan(CASES / 20)
  expect(result.closed).toBeLessThan(result.cases)
  expect(result.bystanderSent).toBeGreaterThan(100)
  expect(result.bystanderSeen).toBe(result.bystanderSent)
  expect(result.isInOrder).toBe(true)
}, 300_000)
