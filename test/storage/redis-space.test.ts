import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../support/cluster.ts'
import { connect } from '../support/mqtt-clients.ts'
import { durable, type RedisServer, startRedis } from '../support/redis-servers.ts'

const MEBIBYTE = 1024 ** 2
const KEPT_BYTES = 4 * MEBIBYTE
const VALUE_BYTES = 32 * 1024
const WRITTEN = 10

let redis: RedisServer
let cluster: TestCluster

beforeAll(async () => {
  // What is not freed would not fit.
  redis = await startRedis({ settings: [...durable, '--maxmemory', '32mb'] })
  const storage = ['--storage', `redis://${redis.address}`]
  cluster = await startCluster('--nodes', '1', '--placement', '1', ...storage)
  const retention = ['--config', `retention-bytes=${KEPT_BYTES}`]
  const segments = ['--config', `segment-bytes=${MEBIBYTE / 2}`]
  const made = await cluster.robust('topic', 'create', 'kept', ...retention, ...segments)
  expect(made).toMatchObject({ code: 0 })
})

afterAll(async () => {
  await cluster?.purge()
  await redis?.remove()
})

async function usedBytes(): Promise<number> {
  return Number(/used_memory:(\d+)/.exec(await redis.command('INFO', 'memory'))?.[1])
}

describe('Redis', () => {
  test('takes no more memory when ten times as much is written as is kept', async () => {
    const before = await usedBytes()
    const client = await connect(cluster.mqttPort(1))
    const value = 'x'.repeat(VALUE_BYTES)
    for (let written = 0; written < WRITTEN * KEPT_BYTES; ) {
      const sent = await Promise.allSettled(
        Array.from({ length: 8 }, () => client.mqtt.publishAsync('kept', value, { qos: 1 })),
      )
      written += sent.filter(({ status }) => status === 'fulfilled').length * VALUE_BYTES
    }
    const bound = before + 2 * KEPT_BYTES
    await expect.poll(usedBytes, { timeout: 30_000, interval: 200 }).toBeLessThan(bound)
    expect(client.mqtt.connected).toBe(true)
    await client.end()
  })
})
