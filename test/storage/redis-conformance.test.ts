/** The conformance suite of the storage port on real Redis servers, in each of the three forms. */
import { openRedisStorage, parseRedisUrl, type StorageAdapter } from '@robust/storage-adapters'
import { describeStorageAdapter } from '@robust/storage-adapters/conformance'
import { afterAll, beforeAll, describe } from 'vitest'
import {
  type RedisGroup,
  startRedis,
  startRedisCluster,
  startSentinelPair,
} from '../support/redis-servers.ts'

const logger = { info: () => undefined, warn: () => undefined, error: () => undefined }

/** One group of servers for the whole suite; each test has a prefix of its own. */
function describeRedis(name: string, query: string, start: () => Promise<RedisGroup>): void {
  describe(name, () => {
    let group: RedisGroup | undefined
    let tests = 0
    beforeAll(async () => {
      group = await start()
    }, 120_000)
    afterAll(() => group?.remove())
    const open = (): Promise<StorageAdapter> =>
      openRedisStorage(parseRedisUrl(`${group?.url}?prefix=test-${tests}${query}`), {
        logger,
        connectMs: 20_000,
      })
    describeStorageAdapter(name, {
      create: async () => {
        for (const server of group?.servers ?? [])
          await server.command('FLUSHALL').catch(() => undefined)
        tests += 1
        return open()
      },
      reopen: open,
      another: open,
      crash: async () => group?.servers[0]?.restart(),
      durable: true,
    })
  })
}

describeRedis('redis', '', async () => {
  const server = await startRedis()
  return { servers: [server], url: `redis://${server.address}`, remove: server.remove }
})

describeRedis('redis cluster', '', () => startRedisCluster())

describeRedis('redis behind Sentinel, confirmed by the replica', '&wait=1', () =>
  startSentinelPair(),
)
