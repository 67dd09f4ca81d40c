/** Appends, reads, trims and drops of logs. */
import { describe, expect, test } from 'vitest'
import type { Operation } from '../storage-adapter.ts'
import type { Subject } from './describe-storage-adapter.ts'
import {
  append,
  batchAt,
  covering,
  expectBytes,
  expectCode,
  keysOf,
  openWriter,
  put,
  readAll,
  shard,
} from './fixtures.ts'

export function describeLogs(subject: Subject): void {
  const read = (fromOffset: number, bytesMax = 1e9, log = 'log') =>
    subject.adapter.read({ shard, log, fromOffset, bytesMax })

  describe('append', () => {
    test('append keeps batches byte for byte, in order', async () => {
      const writer = await openWriter(subject.adapter)
      await writer.commit(append('log', 0, 'a', 'b'))
      await writer.commit(append('log', 2, 'c'), append('log', 3, 'd', 'e', 'f'))
      const result = await read(0)
      expectBytes(result.batches, [
        batchAt(0, 'a', 'b'),
        batchAt(2, 'c'),
        batchAt(3, 'd', 'e', 'f'),
      ])
      expect(result).toMatchObject({ startOffset: 0, endOffset: 6 })
    })

    test('append that does not follow the end is GAP, and nothing of its commit is applied', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await writer.commit(append('log', 0, 'a', 'b'))
      for (const offset of [0, 1, 3]) {
        const bad: Operation[] = [
          put('key'),
          append('other', 0, 'x'),
          { kind: 'trim', log: 'log', beforeOffset: 2 },
          append('log', offset, 'late'),
        ]
        await expectCode(writer.commit(...bad), 'GAP')
        writer.commitNumber = 1
      }
      expect(await keysOf(adapter)).toEqual([])
      expect((await adapter.logs(shard)).map(({ log }) => log)).toEqual(['log'])
      expect(await read(0)).toMatchObject({ startOffset: 0, endOffset: 2 })
      await expectCode(writer.commit(append('new', 1, 'x')), 'GAP')
    })

    test('append of a batch that is damaged, or based elsewhere, is INVALID', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const damaged = Uint8Array.from(batchAt(0, 'hello'))
      damaged[damaged.length - 2] = (damaged[damaged.length - 2] ?? 0) ^ 1
      const wrong = [
        damaged,
        batchAt(0, 'x').subarray(0, 60),
        batchAt(0, 'x').subarray(0, -1),
        new Uint8Array(0),
        batchAt(5, 'x'),
        Buffer.concat([batchAt(0, 'x'), batchAt(1, 'x')]),
      ]
      for (const batch of wrong) {
        const operation: Operation = { kind: 'append', log: 'log', expectedOffset: 0, batch }
        await expectCode(writer.commit(put('key'), operation), 'INVALID')
        writer.commitNumber = 0
      }
      expect(await keysOf(adapter)).toEqual([])
      expect(await adapter.logs(shard)).toEqual([])
    })

    test('the leader epoch may differ from batch to batch', async () => {
      const writer = await openWriter(subject.adapter)
      const batch = Uint8Array.from(batchAt(0, 'x'))
      batch[15] = 77
      await writer.commit({ kind: 'append', log: 'log', expectedOffset: 0, batch })
      expectBytes((await read(0)).batches, [batch])
    })

    test('a buffer that is used again after the commit does not change what is stored', async () => {
      const writer = await openWriter(subject.adapter)
      const batch = Uint8Array.from(batchAt(0, 'x'))
      const value = Buffer.from('value')
      await writer.commit({ kind: 'append', log: 'log', expectedOffset: 0, batch }, put('k', value))
      batch.fill(0)
      value.fill(0)
      expectBytes((await read(0)).batches, [batchAt(0, 'x')])
      const stored = await subject.adapter.get(shard, 'k')
      expect(stored && Buffer.from(stored).toString()).toBe('value')
    })
  })

  describe('read', () => {
    test('read begins with the batch that holds the offset', async () => {
      const writer = await openWriter(subject.adapter)
      await writer.commit(append('log', 0, 'a', 'b', 'c'), append('log', 3, 'd', 'e'))
      for (const offset of [0, 1, 2]) expect((await read(offset)).batches.length).toBe(2)
      for (const offset of [3, 4]) expectBytes((await read(offset)).batches, [batchAt(3, 'd', 'e')])
      for (const offset of [5, 6, 1e15]) {
        expect(await read(offset)).toEqual({ batches: [], startOffset: 0, endOffset: 5 })
      }
    })

    test('read gives whole batches within the limit, but at least one', async () => {
      const writer = await openWriter(subject.adapter)
      const batches = [0, 1, 2, 3].map((offset) => batchAt(offset, 'x'.repeat(100)))
      const size = batches[0]?.length ?? 0
      await writer.commit(...[0, 1, 2, 3].map((offset) => append('log', offset, 'x'.repeat(100))))
      const lengths = [0, 1, size - 1, size, 2 * size - 1, 2 * size, 4 * size - 1, 4 * size]
      const counts: number[] = []
      for (const bytesMax of lengths) counts.push((await read(0, bytesMax)).batches.length)
      expect(counts).toEqual([1, 1, 1, 1, 1, 2, 3, 4])
      expectBytes((await read(2, size)).batches, [batches[2] as Uint8Array])
    })

    test('read of an unknown log or shard is empty', async () => {
      const empty = { batches: [], startOffset: 0, endOffset: 0 }
      expect(await read(0)).toEqual(empty)
      expect(
        await subject.adapter.read({ shard: 99, log: '', fromOffset: 3, bytesMax: 1 }),
      ).toEqual(empty)
      expect(await subject.adapter.logs(99)).toEqual([])
      expect(await subject.adapter.stats(99)).toEqual({
        epoch: 0,
        commitNumber: 0,
        logs: 0,
        keys: 0,
        bytes: 0,
        incarnation: '',
      })
    })

    test('read of many batches gives them all', async () => {
      const writer = await openWriter(subject.adapter)
      const count = 3000
      const value = 'y'.repeat(700)
      await writer.commit(...Array.from({ length: count }, (_, at) => append('log', at, value)))
      const { batches, endOffset } = await read(0)
      expect(endOffset).toBe(count)
      expectBytes(
        batches,
        Array.from({ length: count }, (_, at) => batchAt(at, value)),
      )
      expect((await read(count - 5)).batches.length).toBe(5)
    })
  })

  describe('size', () => {
    for (const size of [1, 1000, 65_536, 1_048_576, 8 * 1_048_576]) {
      test(`values and records of ${size} bytes come back as they were`, async () => {
        const { adapter } = subject
        const writer = await openWriter(adapter)
        const value = Buffer.alloc(size, 'robust')
        await writer.commit(append('log', 0, value), put('key', value))
        await writer.commit(append('log', 1, 'next'))
        expectBytes(await readAll(adapter, 'log'), [batchAt(0, value), batchAt(1, 'next')])
        expectBytes([(await adapter.get(shard, 'key')) ?? new Uint8Array()], [value])
        const [entry] = await adapter.scan({ shard, from: '', to: '', limit: 1 })
        expect(entry?.value.length).toBe(size)
      })
    }

    test('commit beyond the limit is TOO_LARGE and changes nothing', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const value = new Uint8Array(adapter.capabilities.commitBytesMax / 2)
      await expectCode(writer.commit(put('a', value), put('b', value)), 'TOO_LARGE')
      writer.commitNumber = 0
      await writer.commit(put('a', value.subarray(0, value.length - 1000)))
      expect(await keysOf(adapter)).toEqual(['a'])
    })

    test('many large values are scanned and read whole', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const value = Buffer.alloc(4 * 1_048_576, 'large')
      for (let at = 0; at < 18; at += 1) {
        await writer.commit(put(`key-${10 + at}`, value), append('log', at, value))
      }
      const found = await adapter.scan({ shard, from: '', to: '', limit: 100 })
      expect(found.map((entry) => entry.value.length)).toEqual(Array(18).fill(value.length))
      expect((await read(0)).batches.length).toBe(18)
    })
  })

  describe('trim', () => {
    const trim = (beforeOffset: number, log = 'log'): Operation => ({
      kind: 'trim',
      log,
      beforeOffset,
    })

    test('trim removes whole batches before the offset and keeps the end', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await writer.commit(
        append('log', 0, 'a', 'b'),
        append('log', 2, 'c', 'd'),
        append('log', 4, 'e'),
      )
      await writer.commit(trim(1))
      expect(await read(0)).toMatchObject({ startOffset: 0, endOffset: 5 })
      await writer.commit(trim(3))
      const result = await read(0)
      expect(result).toMatchObject({ startOffset: 2, endOffset: 5 })
      expectBytes(result.batches, [batchAt(2, 'c', 'd'), batchAt(4, 'e')])
      const bytes = batchAt(2, 'c', 'd').length + batchAt(4, 'e').length
      expect(await adapter.logs(shard)).toEqual([
        { log: 'log', startOffset: 2, endOffset: 5, bytes },
      ])
    })

    test('trim at or beyond the end leaves an empty log that goes on', async () => {
      const writer = await openWriter(subject.adapter)
      await writer.commit(append('log', 0, 'a'), append('log', 1, 'b'))
      await writer.commit(trim(1000))
      expect(await read(0)).toEqual({ batches: [], startOffset: 2, endOffset: 2 })
      await writer.commit(append('log', 2, 'c'))
      expectBytes((await read(0)).batches, [batchAt(2, 'c')])
    })

    test('trim of an unknown log has no effect', async () => {
      const writer = await openWriter(subject.adapter)
      await writer.commit(trim(10, 'unknown'))
      expect(await subject.adapter.logs(shard)).toEqual([])
      await writer.commit(append('unknown', 0, 'a'))
    })

    test('trim sees the appends before it in its commit and in commits in flight', async () => {
      const writer = await openWriter(subject.adapter)
      await Promise.all([
        writer.commit(append('log', 0, 'a')),
        writer.commit(append('log', 1, 'b'), trim(2), append('log', 2, 'c')),
        writer.commit(append('log', 3, 'd')),
        writer.commit(trim(3)),
      ])
      const result = await read(0)
      expectBytes(result.batches, [batchAt(3, 'd')])
      expect(result.startOffset).toBe(3)
    })
  })

  describe('drop-log', () => {
    const drop = (log = 'log'): Operation => ({ kind: 'drop-log', log })

    test('drop-log removes the log, and an append begins it anew at 0', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await writer.commit(append('log', 0, 'a', 'b'), append('lo', 0, 'x'), append('log2', 0, 'x'))
      await writer.commit(drop())
      expect(await read(0)).toEqual({ batches: [], startOffset: 0, endOffset: 0 })
      expect((await adapter.logs(shard)).map(({ log }) => log)).toEqual(['lo', 'log2'])
      await expectCode(writer.commit(append('log', 2, 'c')), 'GAP')
      writer.commitNumber = 2
      await writer.commit(append('log', 0, 'c'))
      expectBytes((await read(0)).batches, [batchAt(0, 'c')])
      await writer.commit(drop('unknown'))
    })

    test('drop-log and appends within one commit, and in commits in flight, take effect in order', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await Promise.all([
        writer.commit(append('log', 0, 'a')),
        writer.commit(drop(), append('log', 0, 'b'), append('log', 1, 'c')),
        writer.commit(drop(), append('log', 0, 'd')),
        writer.commit(append('log', 1, 'e')),
      ])
      expectBytes((await read(0)).batches, [batchAt(0, 'd'), batchAt(1, 'e')])
      const bytes = batchAt(0, 'd').length + batchAt(1, 'e').length
      expect(await adapter.logs(shard)).toEqual([
        { log: 'log', startOffset: 0, endOffset: 2, bytes },
      ])
    })
  })

  describe('replace', () => {
    const replace = (batch: Uint8Array): Operation => ({ kind: 'replace', log: 'log', batch })

    test('replace puts one batch in the place of several, and offsets stay', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await writer.commit(
        append('log', 0, 'a', 'b'),
        append('log', 2, 'c'),
        append('log', 3, 'd'),
        append('log', 4, 'e'),
      )
      const batch = covering(2, 2, 'd')
      await writer.commit(replace(batch))
      const batches = [batchAt(0, 'a', 'b'), batch, batchAt(4, 'e')]
      expectBytes((await read(0)).batches, batches)
      expectBytes((await read(3)).batches, batches.slice(1))
      const bytes = batches.reduce((sum, { length }) => sum + length, 0)
      expect(await adapter.logs(shard)).toEqual([
        { log: 'log', startOffset: 0, endOffset: 5, bytes },
      ])
      await writer.commit(replace(covering(0, 5, 'only')), append('log', 5, 'f'))
      expectBytes((await read(0)).batches, [covering(0, 5, 'only'), batchAt(5, 'f')])
      await writer.commit({ kind: 'trim', log: 'log', beforeOffset: 5 })
      expect(await read(0)).toMatchObject({ startOffset: 5, endOffset: 6 })
    })

    test('replace that does not begin and end where batches do is GAP, and nothing is applied', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await writer.commit(
        append('log', 0, 'a'),
        append('log', 1, 'b', 'c'),
        append('log', 3, 'd', 'e'),
      )
      await writer.commit({ kind: 'trim', log: 'log', beforeOffset: 1 })
      for (const batch of [
        covering(0, 3, 'x'),
        covering(1, 1, 'x'),
        covering(2, 1, 'x'),
        covering(2, 3, 'x'),
        covering(3, 3, 'x'),
        covering(5, 1, 'x'),
      ]) {
        await expectCode(writer.commit(put('key'), replace(batch)), 'GAP')
        writer.commitNumber = 2
      }
      expect(await keysOf(adapter)).toEqual([])
      expectBytes((await read(0)).batches, [batchAt(1, 'b', 'c'), batchAt(3, 'd', 'e')])
      await writer.commit(replace(covering(1, 4, 'x')))
      expectBytes((await read(0)).batches, [covering(1, 4, 'x')])
    })

    test('replace with a damaged batch, or beside a trim of the log, is INVALID', async () => {
      const writer = await openWriter(subject.adapter)
      await writer.commit(append('log', 0, 'a'), append('log', 1, 'b'))
      const damaged = Buffer.from(batchAt(0, 'a'))
      damaged[40] = (damaged[40] ?? 0) ^ 1
      await expectCode(writer.commit(replace(damaged)), 'INVALID')
      writer.commitNumber = 1
      const trim: Operation = { kind: 'trim', log: 'log', beforeOffset: 1 }
      await expectCode(writer.commit(trim, replace(batchAt(1, 'c'))), 'INVALID')
      writer.commitNumber = 1
      expectBytes((await read(0)).batches, [batchAt(0, 'a'), batchAt(1, 'b')])
    })

    test('replace sees the commits in flight before it', async () => {
      const writer = await openWriter(subject.adapter)
      await Promise.all([
        writer.commit(append('log', 0, 'a')),
        writer.commit(append('log', 1, 'b')),
        writer.commit(replace(covering(0, 2, 'x'))),
        writer.commit(append('log', 2, 'c')),
        writer.commit(replace(covering(0, 3, 'y'))),
      ])
      expectBytes((await read(0)).batches, [covering(0, 3, 'y')])
    })
  })

  describe('begin-log', () => {
    test('begin-log makes a log that begins at an offset, where there is none', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const begin = (offset: number): Operation => ({ kind: 'begin-log', log: 'log', offset })
      await writer.commit(begin(1000), append('log', 1000, 'a', 'b'))
      expect(await read(0)).toMatchObject({ startOffset: 1000, endOffset: 1002 })
      expectBytes((await read(0)).batches, [batchAt(1000, 'a', 'b')])
      await expectCode(writer.commit(put('key'), begin(5)), 'GAP')
      writer.commitNumber = 1
      await writer.commit({ kind: 'drop-log', log: 'log' }, begin(7))
      expect(await read(0)).toEqual({ batches: [], startOffset: 7, endOffset: 7 })
      await expectCode(writer.commit(append('log', 0, 'x')), 'GAP')
      writer.commitNumber = 2
      await writer.commit(append('log', 7, 'c'), { kind: 'trim', log: 'log', beforeOffset: 8 })
      expect(await keysOf(adapter)).toEqual([])
      expect(await adapter.logs(shard)).toEqual([
        { log: 'log', startOffset: 8, endOffset: 8, bytes: 0 },
      ])
    })
  })

  test('a shard holds 2,000 logs', async () => {
    const { adapter } = subject
    const writer = await openWriter(adapter)
    const names = Array.from({ length: 2000 }, (_, at) => `log-${String(at).padStart(4, '0')}`)
    await writer.commit(...names.map((name) => append(name, 0, name)))
    await writer.commit(...names.map((name) => append(name, 1, 'second')))
    const logs = await adapter.logs(shard)
    expect(logs.map(({ log }) => log)).toEqual(names)
    expect(logs.every(({ endOffset }) => endOffset === 2)).toBe(true)
    expectBytes(await readAll(adapter, 'log-1234'), [batchAt(0, 'log-1234'), batchAt(1, 'second')])
    expect(await adapter.stats(shard)).toMatchObject({ logs: 2000, keys: 0, commitNumber: 2 })
  })
}
