/** Removes everything under a prefix, fences too: the end of a cluster's data. For a person to ask for. */

import { closeClient, connected, createClient, primariesOf } from './client.ts'
import { Link } from './link.ts'
import type { RedisStorageOptions } from './redis-adapter.ts'
import type { RedisTarget } from './redis-url.ts'
import { asStorageError } from './replies.ts'

const pageKeys = 500

/** How many keys went. Rejects as `openRedisStorage` does. */
export async function purgeRedis(
  target: RedisTarget,
  { logger, connectMs, signal }: RedisStorageOptions,
): Promise<number> {
  const client = createClient(target, (error) => logger.warn({ reason: error.message }, 'redis'))
  try {
    await connected(client, { connectMs, signal, logger })
    const link = new Link(client, target)
    let removed = 0
    for (const server of primariesOf(client)) {
      let cursor = '0'
      do {
        const [next, keys] = await server.scan(
          cursor,
          'MATCH',
          `${target.prefix}:*`,
          'COUNT',
          pageKeys,
        )
        // One by one: they are in many slots.
        await Promise.all(keys.map((key) => link.command('unlink', [key])))
        removed += keys.length
        cursor = next
      } while (cursor !== '0')
    }
    return removed
  } catch (error) {
    throw asStorageError(error)
  } finally {
    closeClient(client)
  }
}
