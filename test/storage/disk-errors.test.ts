/**
 * A disk that is full or fails under running processes: no acknowledgement that is not kept, a clear word,
 * and on again by itself, or by a new start of the process, where nothing was lost.
 */
import type { StorageAdapter } from '@robust/storage-adapters'
import {
  append,
  expectCode,
  keysOf,
  openWriter,
  owner,
  put,
  readAll,
  shard,
} from '@robust/storage-adapters/conformance'
import { afterEach, describe, expect, test } from 'vitest'
import { buildFaultyDisk, createFaultyDisk } from '../support/faulty-disk.ts'
import { startRedis } from '../support/redis-servers.ts'
import { type StorageNodeProcess, startStorageNode } from '../support/storage-nodes.ts'
import { cleanUp, onCleanUp, open, untilKnown } from './redis-support.ts'

const preload = buildFaultyDisk()

afterEach(cleanUp)

function faultyDisk() {
  const disk = createFaultyDisk(preload as string)
  onCleanUp(async () => disk.remove())
  return disk
}

/** Commits until one is not acknowledged; how many were, and the error. */
async function commitUntilRefused(
  adapter: StorageAdapter,
  from: number,
  size = 10_000,
): Promise<{ acknowledged: number; error: { code: string; message: string } }> {
  for (let at = from; ; at += 1) {
    const operations = [append('log', at, Buffer.alloc(size, 'x')), put(`key-${at}`)]
    try {
      await adapter.commit({ shard, epoch: 1, commitNumber: at + 1, operations })
    } catch (error) {
      return { acknowledged: at, error: error as { code: string; message: string } }
    }
  }
}

/** As many as the head says, at least as many as were acknowledged, at most one more. */
async function expectKept(adapter: StorageAdapter, acknowledged: number): Promise<number> {
  const { commitNumber } = await untilKnown(() => adapter.open({ shard, epoch: 1, owner }))
  expect([acknowledged, acknowledged + 1]).toContain(commitNumber)
  expect((await readAll(adapter, 'log')).length).toBe(commitNumber)
  expect((await keysOf(adapter)).length).toBe(commitNumber)
  return commitNumber
}

describe.skipIf(preload === undefined)('LevelDB', () => {
  for (const fault of ['fsync', 'write']) {
    test(`${fault} fails: the node ends with 70, says why, and a new start has all that was acknowledged`, async () => {
      const disk = faultyDisk()
      const { environment } = disk
      const start = (port = 0): Promise<StorageNodeProcess> =>
        startStorageNode(`leveldb:${disk.folder}`, { environment, port })
      const node = await start()
      const client = await open(`robust://${node.address}`, { waitMs: 20_000 })
      await openWriter(client)
      const first = commitUntilRefused(client, 0)
      await expect.poll(async () => (await client.stats(shard)).commitNumber).toBeGreaterThan(20)
      disk.fault(fault)
      const { acknowledged, error } = await first
      expect(error.code).toBe('UNAVAILABLE')
      const ended = await node.exited
      expect(ended.code).toBe(70)
      expect(ended.stderr).toMatch(/error\[STORAGE_FAILED\] .*(Input\/output error|No space left)/)
      disk.fault(undefined)
      const again = await start(node.port)
      onCleanUp(() => again.kill())
      const kept = await expectKept(client, acknowledged)
      const request = { shard, epoch: 1, commitNumber: kept + 1, operations: [put('next')] }
      await client.commit(request)
    }, 60_000)
  }

  test('a disk that fills up is FULL before anything fails, reads and deletes go on, and it recovers', async () => {
    const disk = faultyDisk()
    const { environment } = disk
    const node = await startStorageNode(`leveldb:${disk.folder}`, { environment })
    onCleanUp(() => node.kill())
    const client = await open(`robust://${node.address}`)
    await openWriter(client)
    disk.fault(`free ${400 * 1024 ** 2}`)
    await expect.poll(() => client.pressure ?? 0, { timeout: 20_000 }).toBeGreaterThan(0.75)
    disk.fault(`free ${256 * 1024 ** 2}`)
    const { acknowledged, error } = await commitUntilRefused(client, 0)
    expect(error).toMatchObject({ code: 'FULL', message: expect.stringContaining('disk') })
    expect((await readAll(client, 'log')).length).toBe(acknowledged)
    const freeing = [{ kind: 'trim', log: 'log', beforeOffset: acknowledged }] as const
    await client.commit({ shard, epoch: 1, commitNumber: acknowledged + 1, operations: freeing })
    await client.open({ shard, epoch: 2, owner })
    disk.fault(undefined)
    const writer = await openWriter(client, { epoch: 3 })
    await untilKnown(async () => {
      writer.commitNumber = acknowledged + 1
      await writer.commit(append('log', acknowledged, 'again'))
    })
    expect(node.process.exitCode).toBeNull()
  }, 60_000)
})

describe.skipIf(preload === undefined)('Redis', () => {
  for (const fault of ['fsync', 'write']) {
    test(`always, ${fault} fails: Redis ends itself, nothing unwritten is acknowledged, the client goes on after it`, async () => {
      const disk = faultyDisk()
      const server = await startRedis({ folder: disk.folder, environment: disk.environment })
      onCleanUp(server.remove)
      const adapter = await open(`redis://${server.address}?timeout-ms=2000`)
      await openWriter(adapter)
      const first = commitUntilRefused(adapter, 0)
      await expect.poll(async () => (await adapter.stats(shard)).commitNumber).toBeGreaterThan(20)
      disk.fault(fault)
      const { acknowledged, error } = await first
      expect(error.code).toBe('UNAVAILABLE')
      disk.fault(undefined)
      await server.restart()
      const kept = await expectKept(adapter, acknowledged)
      await adapter.commit({ shard, epoch: 1, commitNumber: kept + 1, operations: [put('next')] })
    }, 60_000)
  }

  test('everysec, a full disk: Redis refuses writes, which is FULL; reads go on, and so do writes later', async () => {
    const disk = faultyDisk()
    const settings = ['--appendonly', 'yes', '--appendfsync', 'everysec']
    const { folder, environment } = disk
    const server = await startRedis({ folder, environment, settings })
    onCleanUp(server.remove)
    const adapter = await open(`redis://${server.address}`)
    await openWriter(adapter)
    const first = commitUntilRefused(adapter, 0)
    await expect.poll(async () => (await adapter.stats(shard)).commitNumber).toBeGreaterThan(20)
    disk.fault('write')
    const { acknowledged, error } = await first
    expect(error).toMatchObject({ code: 'FULL', message: expect.stringContaining('AOF') })
    expect((await readAll(adapter, 'log')).length).toBe(acknowledged)
    disk.fault(undefined)
    await untilKnown(() =>
      adapter.commit({
        shard,
        epoch: 1,
        commitNumber: acknowledged + 1,
        operations: [put('next')],
      }),
    )
    await expectCode(adapter.open({ shard, epoch: 1, owner: 'another' }), 'FENCED')
  }, 60_000)
})
