import { afterEach, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { rollingRestart } from './rolling-restart.ts'

let cluster: TestCluster | undefined

afterEach(async () => {
  await cluster?.purge()
})

test('a rolling restart under 1,000 clients loses no message that was acknowledged, and no session', async () => {
  cluster = await startCluster('--nodes', '3')
  const result = await rollingRestart(cluster, {
    ...{ clients: 1_000, publishers: 4, brokers: 3, perSecond: 200 },
    say: () => undefined,
  })
  expect(result).toMatchObject({ lost: [], lostSessions: 0 })
  // Each of the three had its clients moved.
  for (const { reconnects } of result.restarts) expect(reconnects).toBeGreaterThan(100)
  expect(result.told).toBeGreaterThan(500)
  expect(result.acknowledged).toBeGreaterThan(500)
}, 240_000)
