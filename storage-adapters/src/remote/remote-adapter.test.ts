import { mkdtemp, rm } from 'node:fs/promises'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import { describeStorageAdapter } from '../conformance/describe-storage-adapter.ts'
import { append, expectCode, keysOf, openWriter, put, shard } from '../conformance/fixtures.ts'
import { openLevelDbStorage } from '../leveldb/leveldb-adapter.ts'
import type { Logger } from '../logger.ts'
import { createMemoryStorage } from '../memory/memory-adapter.ts'
import { createStorageService, type StorageService } from '../service/storage-service.ts'
import type { StorageAdapter } from '../storage-adapter.ts'
import { connectRemoteStorage, type RemoteStorageOptions } from './remote-adapter.ts'

const silent: Logger = { info: () => undefined, warn: () => undefined, error: () => undefined }

const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
})

async function serve(adapter: StorageAdapter, port = 0): Promise<StorageService> {
  const service = createStorageService({ adapter, host: '127.0.0.1', port, logger: silent })
  await service.start()
  cleanups.push(() => service.stop())
  return service
}

async function connect(
  port: number,
  options: Partial<RemoteStorageOptions> = {},
): Promise<StorageAdapter> {
  const adapter = await connectRemoteStorage({
    addresses: [`127.0.0.1:${port}`],
    logger: silent,
    connectMs: 10_000,
    ...options,
  })
  cleanups.push(() => adapter.stop())
  return adapter
}

let memoryPort = 0

describeStorageAdapter('remote over memory', {
  create: async () => {
    memoryPort = (await serve(createMemoryStorage())).port
    return connect(memoryPort)
  },
  another: () => connect(memoryPort),
  durable: false,
})

let directory = ''

async function serveLevelDb(): Promise<StorageAdapter> {
  const engine = await openLevelDbStorage(directory)
  const service = await serve(engine)
  cleanups.push(async () => {
    await service.stop()
    await engine.stop()
  })
  return connect(service.port)
}

describeStorageAdapter('remote over leveldb', {
  create: async () => {
    directory = await mkdtemp(join(tmpdir(), 'robust-remote-'))
    const path = directory
    cleanups.push(() => rm(path, { recursive: true, force: true }))
    return serveLevelDb()
  },
  reopen: async () => {
    const removal = cleanups.shift()
    for (const cleanup of cleanups.splice(0).toReversed()) await cleanup()
    if (removal) cleanups.push(removal)
    return serveLevelDb()
  },
  durable: true,
})

describe('remote', () => {
  test('remote tells what the service behind it promises', async () => {
    const engine = createMemoryStorage()
    const adapter = await connect((await serve(engine)).port)
    expect(adapter.capabilities).toEqual(engine.capabilities)
  })

  test('two clients of one service are fenced from each other', async () => {
    const { port } = await serve(createMemoryStorage())
    const [first, second] = [await connect(port), await connect(port)]
    const old = await openWriter(first)
    await old.commit(put('a'))
    const current = await openWriter(second, { epoch: 2 })
    await expectCode(old.commit(put('b')), 'FENCED')
    await current.commit(put('c'))
    expect(await keysOf(first)).toEqual(['a', 'c'])
  })

  test('a service that stops answers what is in flight; later calls wait and then work', async () => {
    const engine = createMemoryStorage()
    const service = await serve(engine)
    const adapter = await connect(service.port)
    const writer = await openWriter(adapter)
    await writer.commit(put('a'))
    await service.stop()
    const waiting = keysOf(adapter)
    await serve(engine, service.port)
    expect(await waiting).toEqual(['a'])
    await writer.commit(put('b'))
    expect(await keysOf(adapter)).toEqual(['a', 'b'])
  })

  test('calls without a connection are UNAVAILABLE after the wait, naming the address', async () => {
    const service = await serve(createMemoryStorage())
    const adapter = await connect(service.port, { waitMs: 50 })
    await service.stop()
    await expect
      .poll(() => adapter.get(shard, 'a').catch((error) => error.message))
      .toContain(`127.0.0.1:${service.port}`)
    await expectCode(adapter.get(shard, 'a'), 'UNAVAILABLE')
  })

  test('a request without an answer breaks the stream, and all in flight are UNAVAILABLE', async () => {
    const engine = createMemoryStorage()
    const stuck: StorageAdapter = {
      ...engine,
      capabilities: engine.capabilities,
      get: () => new Promise(() => undefined),
      stats: () => engine.stats(shard),
    }
    const adapter = await connect((await serve(stuck)).port, { requestMs: 100 })
    await Promise.all([
      expectCode(adapter.get(shard, 'a'), 'UNAVAILABLE'),
      expectCode(adapter.get(shard, 'b'), 'UNAVAILABLE'),
    ])
    await expect.poll(async () => (await adapter.stats(shard)).epoch).toBe(0)
  })

  test('many requests and answers with long names in one turn go in several frames', async () => {
    const adapter = await connect((await serve(createMemoryStorage())).port)
    const name = (at: number): string => `${at}`.padEnd(60_000, 'é')
    const numbers = Array.from({ length: 200 }, (_, at) => at)
    const values = await Promise.all(numbers.map((at) => adapter.get(shard, name(at))))
    expect(values.filter((value) => value !== undefined)).toEqual([])
    const writer = await openWriter(adapter)
    for (const at of numbers.slice(0, 60)) await writer.commit(append(name(at), 0, 'x'))
    expect((await adapter.logs(shard)).length).toBe(60)
    // Each failure names its log.
    writer.commitNumber = 60
    const failures = numbers.map((at) => {
      const operations = [append(name(at), 7, 'x')]
      return adapter.commit({ shard, epoch: 1, commitNumber: 61, operations })
    })
    const settled = await Promise.allSettled(failures)
    expect(settled.every(({ status }) => status === 'rejected')).toBe(true)
    expect(await keysOf(adapter)).toEqual([])
  })

  test('connectRemoteStorage goes on to the address that answers', async () => {
    const { port } = await serve(createMemoryStorage())
    const closed = await serve(createMemoryStorage())
    await closed.stop()
    const addresses = [`127.0.0.1:${closed.port}`, `127.0.0.1:${port}`]
    const adapter = await connect(port, { addresses })
    expect(await keysOf(adapter)).toEqual([])
  })

  test('connectRemoteStorage gives up when told, saying where and why', async () => {
    const closed = await serve(createMemoryStorage())
    await closed.stop()
    await expect(connect(closed.port, { connectMs: 100 })).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining(`127.0.0.1:${closed.port}`),
    })
    const signal = AbortSignal.abort()
    await expectCode(connect(closed.port, { signal }), 'UNAVAILABLE')
  })

  test('connectRemoteStorage does not take another kind of server for a storage', async () => {
    const other: Server = createServer((socket) => {
      socket.on('error', () => undefined)
      socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')
    })
    await new Promise<void>((resolve) => other.listen(0, '127.0.0.1', resolve))
    cleanups.push(async () => other.close())
    const address = other.address()
    const port = typeof address === 'object' && address ? address.port : 0
    await expectCode(connect(port, { connectMs: 200 }), 'UNAVAILABLE')
  })
})
