/** What an adapter is measured against: the same bytes in the same groups with nothing around them. */
import { ClassicLevel } from 'classic-level'
import { Redis } from 'ioredis'
import { PRODUCERS, template, WARM_UP_SECONDS } from './load.ts'

/** Synced groups of one batch per producer, one after the other. Records per second. */
export async function bareLevelDb(
  path: string,
  { records, seconds }: { records: number; seconds: number },
): Promise<number> {
  const engine = new ClassicLevel<Buffer, Uint8Array>(path, {
    keyEncoding: 'buffer',
    valueEncoding: 'view',
    compression: false,
    writeBufferSize: 8 * 1024 * 1024,
  })
  await engine.open()
  const value = template(records)
  const startedAt = performance.now() + WARM_UP_SECONDS * 1000
  let written = 0
  let at = 0
  while (performance.now() - startedAt < seconds * 1000) {
    const group = engine.batch()
    for (let producer = 0; producer < PRODUCERS; producer += 1) {
      const key = Buffer.alloc(16)
      key.writeUInt32BE(producer, 0)
      key.writeUInt32BE(at, 12)
      group.put(key, value)
    }
    await group.write({ sync: true })
    at += 1
    if (performance.now() >= startedAt) written += PRODUCERS * records
  }
  const elapsed = (performance.now() - startedAt) / 1000
  await engine.close()
  return written / elapsed
}

/** Compares a head, sets the next one, appends the batch: the least that a fenced append can be. */
const fencedAppend = `
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
redis.call('RPUSH', KEYS[2], ARGV[3])
return 1`

/** A pipeline of one script per producer, one pipeline after the other. Records per second. */
export async function bareRedis(
  port: number,
  { records, seconds }: { records: number; seconds: number },
): Promise<number> {
  const redis = new Redis({ port, disableClientInfo: true })
  const sha = String(await redis.script('LOAD', fencedAppend))
  const value = Buffer.from(template(records))
  for (let shard = 0; shard < PRODUCERS; shard += 1) await redis.set(`bare:{${shard}}:head`, '0')
  const startedAt = performance.now() + WARM_UP_SECONDS * 1000
  let written = 0
  for (let at = 0; performance.now() - startedAt < seconds * 1000; at += 1) {
    const pipeline = redis.pipeline()
    for (let shard = 0; shard < PRODUCERS; shard += 1) {
      const keys = [`bare:{${shard}}:head`, `bare:{${shard}}:log`]
      pipeline.evalsha(sha, 2, ...keys, at, at + 1, value)
    }
    const replies = (await pipeline.exec()) ?? []
    for (const [error, reply] of replies) {
      if (error) throw error
      if (reply !== 1) throw new Error('A fenced append was refused')
    }
    if (performance.now() >= startedAt) written += PRODUCERS * records
  }
  const elapsed = (performance.now() - startedAt) / 1000
  redis.disconnect()
  return written / elapsed
}
