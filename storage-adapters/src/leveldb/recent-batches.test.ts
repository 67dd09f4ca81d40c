import { mkdtemp, readdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, test } from 'vitest'
import { append, batchAt, covering, openWriter, readAll, shard } from '../conformance/fixtures.ts'
import { openLevelDbStorage } from './leveldb-adapter.ts'
import { RecentBatches } from './recent-batches.ts'

const ends = (...offsets: number[]) =>
  offsets.map((lastOffset) => ({ lastOffset, bytes: 100, stored: undefined }))

function noted(count: number): RecentBatches {
  const recent = new RecentBatches()
  recent.trimmed(10, 10)
  for (const end of ends(...Array.from({ length: count }, (_, at) => 10 + at))) recent.append(end)
  return recent
}

describe('RecentBatches', () => {
  test('take knows all that came since the first trim, and no more', () => {
    const recent = noted(5)
    expect(recent.take(9, 12)).toBe(undefined)
    expect(recent.take(10, 12)).toEqual(ends(10, 11))
    expect(recent.take(12, 12)).toEqual([])
    expect(recent.take(12, 99)).toEqual(ends(12, 13, 14))
  })

  test('take knows nothing before the first trim', () => {
    const recent = new RecentBatches()
    recent.append({ lastOffset: 0, bytes: 1, stored: undefined })
    expect(recent.take(0, 1)).toBe(undefined)
  })

  test('append keeps the newest only', () => {
    const recent = noted(2_000)
    expect(recent.take(10, 2_010)).toBe(undefined)
    expect(recent.take(1_800, 2_010)?.at(-1)).toMatchObject({ lastOffset: 2_009, bytes: 100 })
    expect(recent.take(2_010, 9_999)).toEqual([])
  })

  test('copy that is given up leaves the other as it was', () => {
    const recent = noted(3)
    const copy = recent.copy()
    copy.append({ lastOffset: 13, bytes: 7, stored: undefined })
    copy.take(10, 12)
    const next = recent.copy()
    next.append({ lastOffset: 13, bytes: 100, stored: undefined })
    expect(next.take(10, 99)).toEqual(ends(10, 11, 12, 13))
  })

  test('restart forgets what came before', () => {
    const recent = noted(3)
    recent.restart(13)
    recent.append({ lastOffset: 13, bytes: 100, stored: undefined })
    expect(recent.take(12, 99)).toBe(undefined)
    expect(recent.take(13, 99)).toEqual(ends(13))
  })
})

test('trims behind appends leave nothing in the database, whatever the batches are', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'robust-recent-'))
  const small = { segmentLimits: { batchBytesMin: 300, groupBytesMin: 400 } }
  let adapter = await openLevelDbStorage(directory, small)
  let writer = await openWriter(adapter)
  let end = 0
  for (let step = 0; step < 400; step += 1) {
    const value = Buffer.alloc((step * 37) % 400, 'x')
    const before = {
      kind: 'trim',
      log: 'log',
      beforeOffset: Math.max(0, end - (step % 7)),
    } as const
    const next = append('log', end, value, 'beside it')
    // Before and after the append of the same commit, alone, and beside one that is refused.
    if (step % 3 === 0) await writer.commit(before, next)
    else if (step % 3 === 1) await writer.commit(next, before)
    else {
      await expect(writer.commit(before, append('log', end + 9, value))).rejects.toThrow()
      writer.commitNumber -= 1
      await writer.commit(next)
    }
    end += 2
    if (step % 50 === 49) {
      const batch = covering(end - 2, 2, value)
      await writer.commit({ kind: 'replace', log: 'log', batch })
    }
    if (step % 150 === 149) {
      await adapter.stop()
      adapter = await openLevelDbStorage(directory, small)
      writer = await openWriter(adapter, { epoch: step })
    }
    if (step % 20 === 0) expect((await adapter.check?.(shard))?.problems).toEqual([])
  }
  await writer.commit({ kind: 'trim', log: 'log', beforeOffset: end - 2 })
  const left = await readAll(adapter, 'log')
  expect(left.length).toBe(1)
  await writer.commit(append('log', end, 'last'), { kind: 'trim', log: 'log', beforeOffset: end })
  expect(await readAll(adapter, 'log')).toEqual([Buffer.from(batchAt(end, 'last'))])
  const check = await adapter.check?.(shard)
  expect(check).toMatchObject({ batches: 1, problems: [] })
  await writer.commit({ kind: 'trim', log: 'log', beforeOffset: end + 1 })
  await adapter.stop()
  // What is still wanted of a segment file keeps it; any write removes the others.
  adapter = await openLevelDbStorage(directory, small)
  await openWriter(adapter, { epoch: 400 })
  await adapter.stop()
  expect(await readdir(join(directory, 'segments'))).toEqual([])
  await rm(directory, { recursive: true, force: true })
})
