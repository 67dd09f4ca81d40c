/**
 * Power loss: a process is killed amid commits, and of what its files have beyond their last sync a random
 * share is taken away. Nothing that was acknowledged under a promise of the disk may be missing after it.
 * Short in CI; ROBUST_FAULT_ROUNDS=100 makes it long. A printed ROBUST_SEED repeats what was taken.
 */
import type { StorageAdapter } from '@robust/storage-adapters'
import { append, keysOf, owner, put, readAll } from '@robust/storage-adapters/conformance'
import { afterEach, describe, expect, test } from 'vitest'
import {
  buildFaultyDisk,
  createFaultyDisk,
  type FaultyDisk,
  seeded,
} from '../support/faulty-disk.ts'
import { startRedis } from '../support/redis-servers.ts'
import { startStorageNode } from '../support/storage-nodes.ts'
import { cleanUp, onCleanUp, open } from './redis-support.ts'

const rounds = Number(process.env['ROBUST_FAULT_ROUNDS'] ?? 4)
const preload = buildFaultyDisk()
const SHARDS = [0, 1, 2, 3, 4, 5, 6, 7]

afterEach(cleanUp)

interface Acknowledged {
  /** Commit number by shard, and when it was acknowledged. */
  readonly times: number[][]
  readonly stopped: Promise<unknown>
}

/** Commits to all shards, small ones and large ones, until storage is gone. */
async function commitAll(
  adapter: StorageAdapter,
  epoch: number,
  size: number,
): Promise<Acknowledged> {
  const times: number[][] = SHARDS.map(() => [])
  const opened = await Promise.all(SHARDS.map((shard) => adapter.open({ shard, epoch, owner })))
  const running = SHARDS.map(async (shard) => {
    let { commitNumber } = opened[shard] as { commitNumber: number }
    for (const known = times[shard] as number[]; known.length < commitNumber; ) known.push(0)
    for (;;) {
      const at = commitNumber
      const value = Buffer.alloc(1 + ((at * 7919) % size), 'x')
      const operations = [append('log', at, value), put(`key-${at}`, value.subarray(0, 100))]
      commitNumber += 1
      await adapter.commit({ shard, epoch, commitNumber, operations })
      times[shard]?.push(performance.now())
    }
  })
  return { times, stopped: Promise.allSettled(running) }
}

/** Everything up to the acknowledged number, and as much as the head says, is there and whole. */
async function expectKept(
  adapter: StorageAdapter,
  epoch: number,
  { times, before = Number.POSITIVE_INFINITY }: { times: number[][]; before?: number },
): Promise<number> {
  let missing = 0
  for (const shard of SHARDS) {
    const known = times[shard] as number[]
    const { commitNumber } = await adapter.open({ shard, epoch, owner: 'after' })
    missing += Math.max(0, known.length - commitNumber)
    const promised = known.filter((time) => time < before).length
    expect(commitNumber, `shard ${shard}`).toBeGreaterThanOrEqual(promised)
    expect((await readAll(adapter, 'log', { shard })).length).toBe(commitNumber)
    expect((await keysOf(adapter, { shard })).length).toBe(commitNumber)
  }
  return missing
}

async function someCommits({ times }: Acknowledged, count: number): Promise<void> {
  await expect
    .poll(() => Math.min(...times.map((known) => known.length)), { timeout: 30_000 })
    .toBeGreaterThan(count)
}

async function levelRound(disk: FaultyDisk, epoch: number, fault?: string) {
  disk.settle()
  disk.fault(fault)
  const options = { environment: disk.environment }
  const node = await startStorageNode(`leveldb:${disk.folder}`, options)
  const client = await open(`robust://${node.address}`, { waitMs: 100 })
  // Every other round writes what goes to the engine only, and then what fills its files.
  const run = await commitAll(client, epoch, epoch % 4 === 1 ? 300 : 60_000)
  await someCommits(run, Math.max(...run.times.map((known) => known.length)) + 20)
  await node.kill()
  await run.stopped
  await client.stop()
  disk.fault(undefined)
  return run
}

describe.skipIf(preload === undefined)('LevelDB', () => {
  test(
    `${rounds} power losses: nothing acknowledged is lost`,
    async () => {
      const random = seeded('power loss of LevelDB')
      const disk = createFaultyDisk(preload as string)
      onCleanUp(async () => disk.remove())
      for (let round = 0; round < rounds; round += 1) {
        const { times } = await levelRound(disk, 2 * round + 1)
        disk.losePower(random)
        const adapter = await open(`leveldb:${disk.folder}`)
        await expectKept(adapter, 2 * round + 2, { times })
        for (const shard of SHARDS) expect((await adapter.check?.(shard))?.problems).toEqual([])
        await adapter.stop()
      }
    },
    60_000 + rounds * 20_000,
  )

  test('a disk that lies about its syncs loses acknowledged commits: this test can fail', async () => {
    const disk = createFaultyDisk(preload as string)
    onCleanUp(async () => disk.remove())
    const { times } = await levelRound(disk, 1, 'lie')
    expect(disk.losePower(() => 1)).toBeGreaterThan(0)
    const adapter = await open(`leveldb:${disk.folder}`).catch(() => undefined)
    // Either nothing can be opened any more, or less is there than was acknowledged.
    const numbers = adapter && (await Promise.all(SHARDS.map((shard) => adapter.stats(shard))))
    const kept = numbers?.reduce((sum, { commitNumber }) => sum + commitNumber, 0) ?? 0
    expect(kept).toBeLessThan(times.reduce((sum, known) => sum + known.length, 0))
  }, 60_000)
})

describe.skipIf(preload === undefined)('Redis', () => {
  test(
    `always, ${rounds} power losses: nothing acknowledged is lost`,
    async () => {
      const random = seeded('power loss of Redis, always')
      const disk = createFaultyDisk(preload as string)
      onCleanUp(async () => disk.remove())
      const { folder, environment } = disk
      const server = await startRedis({ folder, environment })
      onCleanUp(server.remove)
      for (let round = 0; round < rounds; round += 1) {
        const adapter = await open(`redis://${server.address}?timeout-ms=1000`)
        const run = await commitAll(adapter, 2 * round + 1, 60_000)
        await someCommits(run, Math.max(...run.times.map((known) => known.length)) + 20)
        await server.kill()
        disk.losePower(random)
        await run.stopped
        await server.restart()
        await expectKept(adapter, 2 * round + 2, run)
        await adapter.stop()
      }
    },
    60_000 + rounds * 20_000,
  )

  test('everysec: what is older than 2 s is kept, and what is missing is DATA_LOSS', async () => {
    const disk = createFaultyDisk(preload as string)
    onCleanUp(async () => disk.remove())
    const { folder, environment } = disk
    const settings = ['--appendonly', 'yes', '--appendfsync', 'everysec']
    const server = await startRedis({ settings, folder, environment })
    onCleanUp(server.remove)
    const adapter = await open(`redis://${server.address}?timeout-ms=1000`)
    expect(adapter.capabilities.promise).toContain('up to the last 2 s')
    const run = await commitAll(adapter, 1, 1000)
    const startedAt = performance.now()
    await expect
      .poll(() => performance.now() - startedAt, { timeout: 10_000 })
      .toBeGreaterThan(4000)
    await server.kill()
    const killedAt = performance.now()
    expect(disk.losePower(() => 1)).toBeGreaterThan(0)
    await run.stopped
    await server.restart()
    // Who committed knows what is missing; who comes new is told what is there.
    const refused = await Promise.allSettled(
      SHARDS.map((shard) => adapter.open({ shard, epoch: 2, owner })),
    )
    const other = await open(`redis://${server.address}`)
    const missing = await expectKept(other, 3, { ...run, before: killedAt - 2000 })
    expect(missing).toBeGreaterThan(0)
    const codes = refused.map((one) => (one.status === 'rejected' ? one.reason.code : 'opened'))
    expect(codes.filter((code) => code === 'DATA_LOSS').length).toBeGreaterThan(0)
    expect(codes.every((code) => code === 'DATA_LOSS' || code === 'opened')).toBe(true)
  }, 60_000)
})
