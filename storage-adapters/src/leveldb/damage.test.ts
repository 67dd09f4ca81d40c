import { spawn } from 'node:child_process'
import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  append,
  batchAt,
  expectBytes,
  expectCode,
  keysOf,
  openWriter,
  owner,
  put,
  readAll,
  shard,
} from '../conformance/fixtures.ts'
import type { StorageAdapter } from '../storage-adapter.ts'
import { openEngine } from './engine.ts'
import { batchKey, ledgerRange, logHeadKey, shardHeadKey, valueKey } from './keys.ts'
import { openLevelDbStorage } from './leveldb-adapter.ts'

let directory = ''
let adapter: StorageAdapter

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'robust-damage-'))
  adapter = await openLevelDbStorage(directory)
})

afterEach(async () => {
  await adapter.stop()
  await rm(directory, { recursive: true, force: true })
})

/** Changes the stored bytes under a key behind the adapter's back, then opens it again. */
async function damage(key: Buffer, change: (stored: Buffer) => Buffer | undefined): Promise<void> {
  await adapter.stop()
  const engine = await openEngine(directory)
  const stored = await engine.get(key)
  if (!stored) throw new Error(`Nothing is stored under ${key.toString('hex')}`)
  const changed = change(stored)
  if (changed) await engine.put(key, changed)
  else await engine.del(key)
  await engine.close()
  adapter = await openLevelDbStorage(directory)
}

function flipBit(stored: Buffer, at: number): Buffer {
  const changed = Buffer.from(stored)
  changed[at] = (changed[at] ?? 0) ^ 0x04
  return changed
}

const keyOfBatch = (log: string, offset: number, text: string) =>
  batchKey({ shard, log }, offset, batchAt(offset, text).length)

describe('damage', () => {
  test('a flipped bit anywhere in a stored batch is DATA_LOSS for reads that meet it only', async () => {
    const writer = await openWriter(adapter)
    await writer.commit(append('log', 0, 'a'), append('log', 1, 'b'), append('log', 2, 'c'))
    await writer.commit(append('other', 0, 'a'), put('key'))
    const key = keyOfBatch('log', 1, 'b')
    const size = 4 + batchAt(1, 'b').length
    for (let at = 0; at < size; at += 7) {
      await damage(key, (stored) => flipBit(stored, at))
      await expectCode(readAll(adapter, 'log'), 'DATA_LOSS')
      await expectCode(readAll(adapter, 'log', { fromOffset: 1 }), 'DATA_LOSS')
      await damage(key, (stored) => flipBit(stored, at))
    }
    await damage(key, (stored) => flipBit(stored, size - 1))
    expectBytes(await readAll(adapter, 'log', { fromOffset: 2 }), [batchAt(2, 'c')])
    expectBytes(await readAll(adapter, 'log', { bytesMax: 1 }), [batchAt(0, 'a')])
    expectBytes(await readAll(adapter, 'other'), [batchAt(0, 'a')])
    expect(await keysOf(adapter)).toEqual(['key'])
  })

  test('a batch that is missing, first, in the middle or last, is DATA_LOSS', async () => {
    const writer = await openWriter(adapter)
    for (const log of ['first', 'middle', 'last']) {
      await writer.commit(append(log, 0, 'a'), append(log, 1, 'b'), append(log, 2, 'c'))
    }
    await damage(keyOfBatch('first', 0, 'a'), () => undefined)
    await damage(keyOfBatch('middle', 1, 'b'), () => undefined)
    await damage(keyOfBatch('last', 2, 'c'), () => undefined)
    for (const log of ['first', 'middle', 'last']) {
      await expectCode(readAll(adapter, log), 'DATA_LOSS')
    }
    await expectCode(readAll(adapter, 'middle', { fromOffset: 1 }), 'DATA_LOSS')
    await expectCode(readAll(adapter, 'last', { fromOffset: 2 }), 'DATA_LOSS')
    expectBytes(await readAll(adapter, 'middle', { fromOffset: 2 }), [batchAt(2, 'c')])
  })

  test('a flipped bit in a value is DATA_LOSS for that key and scans over it only', async () => {
    await (await openWriter(adapter)).commit(put('a'), put('b'), put('c'))
    await damage(valueKey(shard, 'b'), (stored) => flipBit(stored, stored.length - 1))
    await expectCode(adapter.get(shard, 'b'), 'DATA_LOSS')
    await expectCode(keysOf(adapter), 'DATA_LOSS')
    expect(await keysOf(adapter, { to: 'b' })).toEqual(['a'])
    expect(await keysOf(adapter, { from: 'c' })).toEqual(['c'])
  })

  test('a damaged head of a log is DATA_LOSS for that log only', async () => {
    await (await openWriter(adapter)).commit(append('log', 0, 'a'), append('other', 0, 'a'))
    await damage(logHeadKey(shard, 'log'), (stored) => flipBit(stored, 20))
    const writer = await openWriter(adapter)
    await expectCode(readAll(adapter, 'log'), 'DATA_LOSS')
    await expectCode(writer.commit(put('key'), append('log', 1, 'b')), 'DATA_LOSS')
    writer.commitNumber -= 1
    await writer.commit(append('other', 1, 'b'))
    expect(await keysOf(adapter)).toEqual([])
  })

  test('a damaged or lost head of a shard is DATA_LOSS for that shard only', async () => {
    await (await openWriter(adapter)).commit(put('a'))
    await damage(shardHeadKey(shard), (stored) => flipBit(stored, 6))
    await expectCode(adapter.open({ shard, epoch: 9, owner }), 'DATA_LOSS')
    await damage(shardHeadKey(shard), () => undefined)
    await expectCode(adapter.open({ shard, epoch: 9, owner }), 'DATA_LOSS')
    await (await openWriter(adapter, { shard: 8 })).commit(put('a'))
  })

  test('check names all that is damaged, and goes on behind it', async () => {
    const writer = await openWriter(adapter)
    for (const log of ['batch', 'gap', 'head', 'good']) {
      await writer.commit(append(log, 0, 'a'), append(log, 1, 'b'), append(log, 2, 'c'))
    }
    await writer.commit(put('bad'), put('fine'))
    expect((await adapter.check?.(shard))?.problems).toEqual([])
    await damage(keyOfBatch('batch', 1, 'b'), (stored) => flipBit(stored, 30))
    await damage(keyOfBatch('gap', 1, 'b'), () => undefined)
    await damage(logHeadKey(shard, 'head'), (stored) => flipBit(stored, 9))
    await damage(valueKey(shard, 'bad'), (stored) => flipBit(stored, 5))
    const found = await adapter.check?.(shard)
    expect(found).toMatchObject({ logs: 4, batches: 11, keys: 2 })
    const problems = found?.problems.map((line) => line.replace(/key [0-9a-f]{6,}/, 'key ...'))
    expect(problems).toEqual([
      expect.stringMatching(/^the head of log "head": .*checksum/),
      expect.stringMatching(/^log "gap": a batch begins at offset 2, not 1/),
      expect.stringMatching(/^log "batch": .*up to offset 1/),
      expect.stringMatching(/^key "bad": .*checksum/),
      expect.stringMatching(/^log "gap": \d+ bytes, its head says \d+/),
    ])
  })

  test('synced writes that LevelDB skips are DATA_LOSS for the shards that they touched', async () => {
    const before = await adapter.open({ shard, epoch: 1, owner })
    const other = await openWriter(adapter, { shard: 8 })
    await other.commit(put('early'))
    const writer = await openWriter(adapter)
    for (let at = 0; at < 400; at += 1) await writer.commit(put(`key-${at}`, 'x'.repeat(500)))
    await other.commit(put('late'))
    await adapter.stop()
    const name = (await readdir(directory)).find((file) => file.endsWith('.log')) ?? ''
    const wal = await readFile(join(directory, name))
    await writeFile(join(directory, name), flipBit(wal, wal.length >> 1))
    adapter = await openLevelDbStorage(directory)
    await expectCode(adapter.open({ shard, epoch: 2, owner }), 'DATA_LOSS')
    expect((await adapter.check?.(shard))?.problems[0]).toMatch(/synced writes are missing/)
    const untouched = await openWriter(adapter, { shard: 8, epoch: 2 })
    expect(untouched.commitNumber).toBe(2)
    // The ring of writes would forget in the end; what it has shown is kept.
    await untouched.commit(put('more'))
    await adapter.stop()
    adapter = await openLevelDbStorage(directory)
    await expectCode(adapter.open({ shard, epoch: 2, owner }), 'DATA_LOSS')
    expect(await keysOf(adapter, { shard: 8 })).toEqual(['early', 'late', 'more'])
    await adapter.stop()
    adapter = await openLevelDbStorage(directory, { acceptDataLoss: true })
    const after = await adapter.open({ shard, epoch: 2, owner })
    expect(after.incarnation).not.toBe(before.incarnation)
    const { incarnation } = await adapter.open({ shard: 8, epoch: 3, owner })
    expect(incarnation).toBe(before.incarnation)
    await adapter.stop()
    adapter = await openLevelDbStorage(directory)
    expect((await adapter.open({ shard, epoch: 2, owner })).incarnation).toBe(after.incarnation)
  })

  test('an end of the log that is gone is DATA_LOSS for the shards that had it', async () => {
    const early = await openWriter(adapter, { shard: 8 })
    await early.commit(put('early'))
    const writer = await openWriter(adapter)
    for (let at = 0; at < 50; at += 1) await writer.commit(put(`key-${at}`, 'x'.repeat(500)))
    await adapter.stop()
    const name = (await readdir(directory)).find((file) => file.endsWith('.log')) ?? ''
    const wal = await readFile(join(directory, name))
    await writeFile(join(directory, name), wal.subarray(0, wal.length - 5000))
    adapter = await openLevelDbStorage(directory)
    await expectCode(adapter.open({ shard, epoch: 2, owner }), 'DATA_LOSS')
    expect((await openWriter(adapter, { shard: 8, epoch: 2 })).commitNumber).toBe(1)
    await adapter.stop()
    adapter = await openLevelDbStorage(directory, { acceptDataLoss: true })
    expect((await openWriter(adapter, { epoch: 2 })).commitNumber).toBeLessThan(50)
  })

  test('a gap of writes that nothing explains is DATA_LOSS for every shard', async () => {
    const before = await adapter.open({ shard, epoch: 1, owner })
    for (let number = 0; number < 20; number += 1) {
      await (await openWriter(adapter, { shard: number })).commit(put('a'))
    }
    const { length } = await damagedEntries()
    expect(length).toBeGreaterThan(20)
    adapter = await openLevelDbStorage(directory)
    await expectCode(adapter.open({ shard, epoch: 2, owner }), 'DATA_LOSS')
    await expectCode(adapter.open({ shard: 99, epoch: 2, owner }), 'DATA_LOSS')
    await adapter.stop()
    adapter = await openLevelDbStorage(directory, { acceptDataLoss: true })
    const after = await adapter.open({ shard: 3, epoch: 2, owner })
    expect(after.incarnation).not.toBe(before.incarnation)
  })
})

/** Makes the newest entry of the ledger unreadable: what it stood for is not told by any other. */
async function damagedEntries(): Promise<Buffer[]> {
  await adapter.stop()
  const engine = await openEngine(directory)
  const { from, to } = ledgerRange
  const keys = await engine.keys({ gte: from, lt: to }).all()
  const last = keys.at(-1) as Buffer
  await engine.put(last, flipBit((await engine.get(last)) as Buffer, 6))
  await engine.close()
  return keys
}

describe('directory', () => {
  test('openLevelDbStorage of a directory in use is UNAVAILABLE and says so', async () => {
    await expect(openLevelDbStorage(directory)).rejects.toMatchObject({
      code: 'UNAVAILABLE',
      message: expect.stringContaining('in use by another process'),
    })
  })

  test('openLevelDbStorage of a database that is not its own is DATA_LOSS', async () => {
    const path = join(directory, 'foreign')
    const engine = await openEngine(path)
    await engine.put(Buffer.from('a'), Buffer.from('b'))
    await engine.close()
    await expectCode(openLevelDbStorage(path), 'DATA_LOSS')
  })

  test('a full disk is FULL for what adds, while deletes and reads go on', async () => {
    let freeBytes = 10_000_000
    const full = await openLevelDbStorage(join(directory, 'full'), {
      reserveBytes: 1_000_000,
      measureFreeBytes: async () => freeBytes,
    })
    const writer = await openWriter(full)
    await writer.commit(put('a', new Uint8Array(4_000_000)))
    await expectCode(writer.commit(put('b', new Uint8Array(4_000_000))), 'FULL')
    writer.commitNumber -= 1
    await writer.commit({ kind: 'delete', key: 'a' })
    expect(await keysOf(full)).toEqual([])
    await full.open({ shard, epoch: 2, owner })
    freeBytes = 100_000_000
    const next = await openWriter(full, { epoch: 3 })
    await expect
      .poll(
        () =>
          full
            .commit({
              shard,
              epoch: 3,
              commitNumber: next.commitNumber + 1,
              operations: [put('b', new Uint8Array(4_000_000))],
            })
            .then(
              () => 'stored',
              (error) => error.code,
            ),
        { timeout: 5000 },
      )
      .toBe('stored')
    await full.stop()
  })
})

describe('kill -9', () => {
  test('every acknowledged commit is there after the process was killed', async () => {
    await adapter.stop()
    const acknowledged = await commitUntilKilled(directory, 300)
    expect(acknowledged).toBeGreaterThanOrEqual(300)
    adapter = await openLevelDbStorage(directory)
    const { commitNumber } = await adapter.open({ shard, epoch: 2, owner: 'after' })
    expect(commitNumber).toBeGreaterThanOrEqual(acknowledged)
    expect((await readAll(adapter, 'log')).length).toBe(commitNumber)
    expect((await keysOf(adapter)).length).toBe(commitNumber)
  })
})

/** Runs a process that commits as fast as it can, kills it amid that; the last commit it reported. */
async function commitUntilKilled(path: string, count: number): Promise<number> {
  const script = `
    import { encodeRecordBatch, openLevelDbStorage } from '${import.meta.resolve('../index.ts')}'
    const adapter = await openLevelDbStorage(process.argv[1])
    await adapter.open({ shard: ${shard}, epoch: 1, owner: 'killed' })
    for (let at = 0; ; at += 1) {
      const value = Buffer.alloc(at, 'x')
      const records = [{ timestamp: 0, key: null, value, headers: [] }]
      const batch = encodeRecordBatch(records, { baseOffset: at, leaderEpoch: 1 })
      const operations = [
        { kind: 'append', log: 'log', expectedOffset: at, batch },
        { kind: 'put', key: 'key-' + at, value },
      ]
      const commit = adapter
        .commit({ shard: ${shard}, epoch: 1, commitNumber: at + 1, operations })
        .then(() => console.log(at + 1))
      if (at % 4 === 3) await commit
    }`
  const child = spawn(
    process.execPath,
    ['--conditions=source', '--import', 'tsx', '--input-type=module', '-e', script, path],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  )
  const exited = new Promise((resolve) => child.once('exit', resolve))
  let last = 0
  for await (const line of createInterface({ input: child.stdout })) {
    last = Number(line)
    if (last >= count) child.kill('SIGKILL')
  }
  await exited
  return last
}
