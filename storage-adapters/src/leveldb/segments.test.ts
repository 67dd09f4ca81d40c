import { mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import {
  append,
  batchAt,
  covering,
  expectBytes,
  expectCode,
  openWriter,
  put,
  readAll,
  shard,
} from '../conformance/fixtures.ts'
import type { StorageAdapter } from '../storage-adapter.ts'
import { openLevelDbStorage } from './leveldb-adapter.ts'

let directory = ''
let adapter: StorageAdapter

const open = () =>
  openLevelDbStorage(directory, { segmentLimits: { batchBytesMin: 1, groupBytesMin: 1 } })
const folder = () => join(directory, 'segments')

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'robust-segments-'))
  adapter = await open()
})

afterEach(async () => {
  await adapter.stop()
  await rm(directory, { recursive: true, force: true })
})

async function reopen(): Promise<void> {
  await adapter.stop()
  adapter = await open()
}

async function segmentBytes(): Promise<number> {
  let bytes = 0
  for (const name of await readdir(folder())) {
    // A file may go between the two.
    bytes += await stat(join(folder(), name)).then(
      ({ size }) => size,
      () => 0,
    )
  }
  return bytes
}

const megabyte = Buffer.alloc(1_000_000, 'm')

describe('segment files', () => {
  test('hold large groups; small ones stay in the database', async () => {
    await adapter.stop()
    adapter = await openLevelDbStorage(directory)
    const writer = await openWriter(adapter)
    await writer.commit(append('log', 0, 'small'))
    expect(await readdir(folder())).toEqual([])
    await writer.commit(append('log', 1, megabyte), append('log', 2, 'beside it'))
    expect((await readdir(folder())).length).toBe(1)
    expect(await segmentBytes()).toBeLessThan(1_000_400)
    await writer.commit(append('log', 3, 'small again'))
    await reopen()
    expectBytes(await readAll(adapter, 'log'), [
      batchAt(0, 'small'),
      batchAt(1, megabyte),
      batchAt(2, 'beside it'),
      batchAt(3, 'small again'),
    ])
    expect((await adapter.check?.(shard))?.problems).toEqual([])
  })

  test('go when nothing of them is wanted, and those of which little is are copied', async () => {
    const writer = await openWriter(adapter)
    for (let at = 0; at < 150; at += 1) {
      await writer.commit(append('log', at, megabyte), append('kept', at, `${at}`))
    }
    expect(await segmentBytes()).toBeGreaterThan(150e6)
    await writer.commit({ kind: 'trim', log: 'log', beforeOffset: 150 })
    await expect.poll(segmentBytes, { timeout: 20_000 }).toBeLessThan(70e6)
    await reopen()
    const kept = Array.from({ length: 150 }, (_, at) => batchAt(at, `${at}`))
    expectBytes(await readAll(adapter, 'kept'), kept)
    expect((await adapter.check?.(shard))?.problems).toEqual([])
  }, 60_000)

  test('batches that were copied are trimmed where they are', async () => {
    const writer = await openWriter(adapter)
    await writer.commit(append('kept', 0, 'first'))
    await writer.commit({ kind: 'trim', log: 'kept', beforeOffset: 1 })
    for (let at = 0; at < 80; at += 1) {
      await writer.commit(append('log', at, megabyte), append('kept', at + 1, `${at}`))
    }
    await writer.commit({ kind: 'trim', log: 'log', beforeOffset: 80 })
    await expect.poll(segmentBytes, { timeout: 20_000 }).toBeLessThan(30e6)
    await writer.commit({ kind: 'trim', log: 'kept', beforeOffset: 81 })
    await reopen()
    await openWriter(adapter, { epoch: 2 })
    await reopen()
    expect(await segmentBytes()).toBe(0)
  }, 60_000)

  test('replaced batches release what they had; what replaces them is read, also after a new start', async () => {
    const writer = await openWriter(adapter)
    for (let at = 0; at < 150; at += 1) await writer.commit(append('log', at, megabyte))
    expect(await segmentBytes()).toBeGreaterThan(150e6)
    const left = Array.from({ length: 15 }, (_, at) => covering(10 * at, 10, `newest ${at}`))
    for (const batch of left) await writer.commit({ kind: 'replace', log: 'log', batch })
    await writer.commit(append('log', 150, 'next'))
    const expected = [...left, batchAt(150, 'next')]
    expectBytes(await readAll(adapter, 'log'), expected)
    await expect.poll(segmentBytes, { timeout: 20_000 }).toBeLessThan(70e6)
    await reopen()
    expectBytes(await readAll(adapter, 'log'), expected)
    expect((await adapter.check?.(shard))?.problems).toEqual([])
    expect(await segmentBytes()).toBeLessThan(70e6)
    // Replaced once more, by what is as large as before.
    const again = await openWriter(adapter, { epoch: 2 })
    const whole = covering(0, 151, megabyte)
    await again.commit({ kind: 'replace', log: 'log', batch: whole })
    await reopen()
    expectBytes(await readAll(adapter, 'log'), [whole])
  }, 60_000)

  test('what is written ahead keeps its turn, and is of no use when it is refused', async () => {
    const writer = await openWriter(adapter)
    for (let at = 0; at < 4; at += 1) await writer.commit(append('log', at, megabyte))
    const first = covering(0, 2, megabyte)
    const commits = [
      writer.commit({ kind: 'replace', log: 'log', batch: first }),
      writer.commit(append('log', 4, 'beside it')),
      writer.commit({ kind: 'replace', log: 'log', batch: covering(2, 3, 'rest') }),
    ]
    await Promise.all(commits)
    const expected = [first, covering(2, 3, 'rest')]
    expectBytes(await readAll(adapter, 'log'), expected)
    const { shard: number, epoch } = writer
    const operations = [{ kind: 'replace', log: 'log', batch: first } as const]
    await adapter.commit({ shard: number, epoch, commitNumber: writer.commitNumber, operations })
    const gap = { kind: 'replace', log: 'log', batch: covering(1, 2, megabyte) } as const
    await expectCode(writer.commit(gap), 'GAP')
    expectBytes(await readAll(adapter, 'log'), expected)
    writer.commitNumber -= 1
    await reopen()
    expectBytes(await readAll(adapter, 'log'), expected)
    const again = await openWriter(adapter, { epoch: 2 })
    await again.commit({ kind: 'drop-log', log: 'log' })
    await reopen()
    expect(await segmentBytes()).toBe(0)
  })

  test('are read beside trims, copies and deletions', async () => {
    const writer = await openWriter(adapter)
    let isDone = false
    const reading = (async () => {
      while (!isDone) {
        for (const log of ['log', 'kept']) {
          const request = { shard, log, fromOffset: 0, bytesMax: 5e6 }
          const { batches, startOffset } = await adapter.read(request)
          if (batches[0])
            expect(Buffer.from(batches[0]).readBigInt64BE(0)).toBe(BigInt(startOffset))
        }
      }
    })()
    for (let at = 0; at < 300; at += 1) {
      const trim = { kind: 'trim', log: 'log', beforeOffset: Math.max(0, at - 3) } as const
      await writer.commit(append('log', at, megabyte), append('kept', at, `${at}`), trim)
    }
    isDone = true
    await reading
    expect((await readAll(adapter, 'kept')).length).toBe(300)
    await expect.poll(segmentBytes, { timeout: 20_000 }).toBeLessThan(140e6)
  }, 60_000)

  test('dropped logs, dropped shards and logs that begin anew release what they had', async () => {
    const writer = await openWriter(adapter)
    const other = await openWriter(adapter, { shard: 8 })
    for (let at = 0; at < 70; at += 1) {
      await writer.commit(append('log', at, megabyte))
      await other.commit(append('log', at, megabyte))
    }
    const dropped = { kind: 'drop-log', log: 'log' } as const
    await writer.commit(dropped, append('log', 0, 'a'), dropped, append('log', 0, 'b'))
    expectBytes(await readAll(adapter, 'log'), [batchAt(0, 'b')])
    await adapter.drop(8, 2)
    await expect.poll(segmentBytes, { timeout: 20_000 }).toBeLessThan(70e6)
    await reopen()
    expectBytes(await readAll(adapter, 'log'), [batchAt(0, 'b')])
  }, 60_000)

  test('that are flipped, cut or gone are DATA_LOSS for the batches in them only', async () => {
    const writer = await openWriter(adapter)
    await writer.commit(append('log', 0, 'a'), append('log', 1, 'b'), put('key'))
    await reopen()
    const again = await openWriter(adapter, { epoch: 2 })
    await again.commit(append('log', 2, 'c'))
    await adapter.stop()
    const [first = '', second = ''] = (await readdir(folder())).sort()
    const bytes = await readFile(join(folder(), first))
    const flipped = Buffer.from(bytes)
    flipped[bytes.length - 3] = (flipped[bytes.length - 3] ?? 0) ^ 1
    for (const [at, damage] of [
      () => writeFile(join(folder(), first), flipped),
      () => truncate(join(folder(), first), bytes.length - 10),
      () => rm(join(folder(), first)),
    ].entries()) {
      await damage()
      adapter = await open()
      await expectCode(readAll(adapter, 'log'), 'DATA_LOSS')
      await expectCode(readAll(adapter, 'log', { fromOffset: 1 }), 'DATA_LOSS')
      expectBytes(await readAll(adapter, 'log', { fromOffset: 2 }), [batchAt(2, 'c')])
      const problems = (await adapter.check?.(shard))?.problems ?? []
      expect(problems.length).toBeGreaterThan(0)
      expect(problems.every((line) => line.includes('"log"'))).toBe(true)
      await (await openWriter(adapter, { shard: 80 + at })).commit(append('log', 0, 'x'))
      await adapter.stop()
      await writeFile(join(folder(), first), bytes)
    }
    adapter = await open()
    expect((await readAll(adapter, 'log')).length).toBe(3)
    expect(await readdir(folder())).toContain(second)
  })

  test('that no write knows of are removed at the start, and none when writes are missing', async () => {
    await (await openWriter(adapter)).commit(append('log', 0, 'a'))
    await adapter.stop()
    await writeFile(join(folder(), '0000000099.seg'), 'left by a crash')
    adapter = await open()
    expect(await readdir(folder())).not.toContain('0000000099.seg')
    await adapter.stop()
    const name = (await readdir(directory)).find((file) => file.endsWith('.log')) ?? ''
    await truncate(join(directory, name), 0)
    const before = await readdir(folder())
    adapter = await open()
    expect(await readdir(folder())).toEqual(before)
  })
})
