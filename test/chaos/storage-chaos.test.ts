import { afterEach, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { runStorageChaos } from './storage-chaos.ts'
import { isGood } from './topic-check.ts'

let cluster: TestCluster | undefined

afterEach(async () => {
  await cluster?.purge()
})

test('kills of storage, brokers and both, and a pause of three leases, lose nothing that was acknowledged', async () => {
  cluster = await startCluster('--nodes', '2', '--placement', '1')
  const result = await runStorageChaos(cluster, {
    rounds: 4,
    faults: ['kill storage', 'kill both', 'pause broker', 'kill broker'],
    publishers: 6,
    brokers: 2,
    say: () => undefined,
  })
  expect(result).toMatchObject({ lost: [], reordered: [], phantom: [], gaps: [] })
  expect(isGood(result)).toBe(true)
  expect(result.acknowledged).toBeGreaterThan(400)
}, 240_000)
