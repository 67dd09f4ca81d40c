/** `robust storage verify`, `stats`, `export`, `import`, as a person runs them. */
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { StorageAdapter } from '@robust/storage-adapters'
import {
  append,
  batchAt,
  expectBytes,
  keysOf,
  openWriter,
  owner,
  put,
  readAll,
  shard,
} from '@robust/storage-adapters/conformance'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { runRobust } from '../support/cluster.ts'
import { startRedis } from '../support/redis-servers.ts'
import { startStorageNode } from '../support/storage-nodes.ts'
import { cleanUp, onCleanUp, open } from './redis-support.ts'

let folder = ''

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'robust-tools-'))
  onCleanUp(async () => rmSync(folder, { recursive: true, force: true }))
})
afterEach(cleanUp)

const storage = (...args: string[]) => runRobust(folder, ['storage', ...args])

/** Names that try to break out, a trimmed log, an empty one, a tombstone, large and empty values. */
async function fill(adapter: StorageAdapter): Promise<void> {
  const writer = await openWriter(adapter, { epoch: 7 })
  await writer.commit(append('a/"b"\n\u0000', 0, 'x'), append('a/"b"\n\u0000', 1, 'y', 'z'))
  await writer.commit(append('trimmed', 0, 'x'), append('trimmed', 1, 'y'), append('empty', 0, 'x'))
  await writer.commit(
    { kind: 'trim', log: 'trimmed', beforeOffset: 1 },
    { kind: 'trim', log: 'empty', beforeOffset: 1 },
  )
  await writer.commit(
    put('', 'empty key'),
    put('😀\u0000', ''),
    put('large', Buffer.alloc(3e6, 'v')),
  )
  for (let at = 0; at < 1200; at += 100) {
    const some = Array.from({ length: 100 }, (_, index) => put(`many/${1000 + at + index}`))
    await writer.commit(...some)
  }
  await (await openWriter(adapter, { shard: 300, epoch: 2 })).commit(put('other'))
  await openWriter(adapter, { shard: 9, epoch: 3 })
  await adapter.drop(9, 4)
}

/** Everything that a broker could see of a shard. */
async function contentOf(adapter: StorageAdapter): Promise<unknown> {
  const content = []
  for (const number of await adapter.shards()) {
    content.push(await adapter.stats(number), await adapter.logs(number))
    const entries = await adapter.scan({ shard: number, from: '', to: '', limit: 1e6 })
    content.push(entries.map(({ key, value }) => [key, Buffer.from(value).toString('base64')]))
  }
  return content
}

describe('export and import', () => {
  test('from LevelDB to Redis and back: everything is the same, for the cluster that had it', async () => {
    const server = await startRedis()
    onCleanUp(server.remove)
    const redis = `redis://${server.address}?prefix=moved`
    const level = await open(`leveldb:${join(folder, 'one')}`)
    await fill(level)
    const content = await contentOf(level)
    await level.stop()
    const file = join(folder, 'export')
    for (const [from, to] of [
      [`leveldb:${join(folder, 'one')}`, redis],
      [redis, `leveldb:${join(folder, 'two')}`],
    ] as const) {
      expect(await storage('export', from, file)).toMatchObject({ code: 0 })
      expect(await storage('import', file, to)).toMatchObject({ code: 0 })
      expect(await storage('verify', to)).toMatchObject({
        code: 0,
        stdout: expect.stringContaining('3 shards are whole: 3 logs, 3 batches, 1204 keys'),
      })
      const again = await storage('import', file, to)
      expect(again).toMatchObject({ code: 64, stderr: expect.stringContaining('is there already') })
    }
    const adapter = await open(`leveldb:${join(folder, 'two')}`)
    expect(await contentOf(adapter)).toEqual(content)
    expectBytes(await readAll(adapter, 'trimmed'), [batchAt(1, 'y')])
    await expect(adapter.open({ shard, epoch: 6, owner })).rejects.toMatchObject({ code: 'FENCED' })
    await expect(adapter.open({ shard: 9, epoch: 4, owner })).rejects.toMatchObject({
      code: 'FENCED',
    })
    const writer = await openWriter(adapter, { epoch: 8 })
    await writer.commit(append('empty', 1, 'goes on'), append('trimmed', 2, 'goes on'))
  })

  test('for a new cluster the fences begin anew', async () => {
    const level = await open(`leveldb:${join(folder, 'one')}`)
    await fill(level)
    await level.stop()
    const file = join(folder, 'export')
    const to = `leveldb:${join(folder, 'two')}`
    await storage('export', `leveldb:${join(folder, 'one')}`, file)
    expect((await storage('import', file, to, '--for-new-cluster')).code).toBe(0)
    const adapter = await open(to)
    expect((await openWriter(adapter, { epoch: 2 })).commitNumber).toBeLessThan(16)
    expect((await keysOf(adapter)).length).toBe(1203)
  })

  test('a file that is cut short or damaged is refused, and says where', async () => {
    const level = await open(`leveldb:${join(folder, 'one')}`)
    await fill(level)
    await level.stop()
    const file = join(folder, 'export')
    await storage('export', `leveldb:${join(folder, 'one')}`, file)
    const whole = readFileSync(file)
    writeFileSync(join(folder, 'cut'), whole.subarray(0, whole.length - 9))
    const flipped = Buffer.from(whole)
    flipped[whole.length >> 1] = (flipped[whole.length >> 1] ?? 0) ^ 1
    writeFileSync(join(folder, 'flipped'), flipped)
    writeFileSync(join(folder, 'other'), 'something else')
    for (const [name, code, says] of [
      ['cut', 65, 'at byte'],
      ['flipped', 65, 'at byte'],
      ['other', 64, 'no file of robust storage export'],
      ['none', 73, 'ENOENT'],
    ] as const) {
      const to = `leveldb:${join(folder, `of-${name}`)}`
      const ran = await storage('import', join(folder, name), to)
      expect(ran, name).toMatchObject({ code, stderr: expect.stringContaining(says) })
    }
  })
})

describe('verify', () => {
  test('of a stopped LevelDB changes nothing in its folder, and of a running one says whom to ask', async () => {
    const path = join(folder, 'data')
    const level = await open(`leveldb:${path}`)
    await fill(level)
    const inUse = await storage('verify', `leveldb:${path}`)
    expect(inUse).toMatchObject({ code: 69, stderr: expect.stringContaining('in use by process') })
    await level.stop()
    const state = () =>
      readdirSync(path, { recursive: true, withFileTypes: true })
        .filter((entry) => entry.isFile())
        .map((entry) => join(entry.parentPath, entry.name))
        .map((file) => [file, statSync(file).mtimeMs, readFileSync(file).toString('base64')])
    const before = state()
    expect((await storage('verify', `leveldb:${path}`)).code).toBe(0)
    expect((await storage('stats', `leveldb:${path}`)).stdout).toMatch(/ 7 +7 +16 +3 +1203 /)
    expect(state()).toEqual(before)
    expect(readdirSync(folder).filter((name) => name.startsWith('.robust'))).toEqual([])
    const node = await startStorageNode(`leveldb:${path}`)
    onCleanUp(() => node.kill())
    const asked = await storage('verify', `robust://${node.address}`, '-o', 'json')
    expect(asked.code).toBe(0)
    expect(JSON.parse(asked.stdout)).toMatchObject({ complete: false, keys: 1204, damaged: [] })
  })

  test('names what is damaged in Redis, in the one shard that has it', async () => {
    const server = await startRedis()
    onCleanUp(server.remove)
    const url = `redis://${server.address}`
    await fill(await open(url))
    expect((await storage('verify', url)).code).toBe(0)
    await server.command('HSET', 'robust:{7}:values', 'many/1042', 'tampered')
    await server.command('ZREM', 'robust:{7}:keys', 'many/1043')
    await server.command('XTRIM', 'robust:{7}:log:trimmed', 'MAXLEN', '0')
    const ran = await storage('verify', url)
    expect(ran.code).toBe(65)
    expect(ran.stdout.split('\n').slice(0, 3).sort()).toEqual([
      expect.stringMatching(/^DATA LOSS {2}shard 7: key "many\/1042": .*checksum/),
      expect.stringMatching(
        /^DATA LOSS {2}shard 7: key "many\/1043" has a value and is not listed/,
      ),
      expect.stringMatching(/^DATA LOSS {2}shard 7: log "trimmed": its records end at offset 1/),
    ])
    expect(ran.stdout).toContain('1 of 3 shards are damaged, the others are whole')
  })

  test('of what is not there, or not understood, says so', async () => {
    expect(await storage('verify', `leveldb:${join(folder, 'none')}`)).toMatchObject({ code: 64 })
    expect(readdirSync(folder)).toEqual([])
    expect(await storage('verify', 'memory:')).toMatchObject({ code: 64 })
    expect(await storage('stats', 'http://x')).toMatchObject({ code: 64 })
    expect(await storage('purge', `leveldb:${folder}`, '--yes')).toMatchObject({ code: 64 })
  })
})

test('purge removes what is under its prefix, and nothing else', async () => {
  const server = await startRedis()
  onCleanUp(server.remove)
  await fill(await open(`redis://${server.address}?prefix=one`))
  await fill(await open(`redis://${server.address}?prefix=one.b`))
  await server.command('SET', 'foreign', '1')
  expect((await storage('purge', `redis://${server.address}?prefix=one`)).code).toBe(64)
  expect((await storage('purge', `redis://${server.address}?prefix=one`, '--yes')).code).toBe(0)
  expect(await server.command('KEYS', 'one:*')).toBe('')
  expect(await server.command('EXISTS', 'foreign')).toBe('1')
  expect(await server.command('EXISTS', 'one.b:identity', 'one.b:{7}:values')).toBe('2')
})
