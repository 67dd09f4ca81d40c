/** Epochs, commit numbers, tombstones: who may write, and what counts as the next commit. */
import { describe, expect, test } from 'vitest'
import type { Subject } from './describe-storage-adapter.ts'
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
  textOf,
  Writer,
} from './fixtures.ts'

export function describeFencing(subject: Subject): void {
  describe('open', () => {
    test('open gives the incarnation and commit number 0 for a new shard', async () => {
      const { adapter } = subject
      const opened = await adapter.open({ shard, epoch: 1, owner })
      expect(opened.commitNumber).toBe(0)
      expect(opened.incarnation).not.toBe('')
      const other = await adapter.open({ shard: shard + 1, epoch: 1, owner })
      expect(other.incarnation).toBe(opened.incarnation)
    })

    test('open is idempotent for the same epoch and owner, and gives the last commit', async () => {
      const writer = await openWriter(subject.adapter)
      await writer.commit(put('a'))
      expect(await subject.adapter.open({ shard, epoch: 1, owner })).toMatchObject({
        commitNumber: 1,
      })
      await writer.commit(put('b'))
    })

    test('open of a lower epoch, or the same with another owner, is FENCED', async () => {
      const { adapter } = subject
      await adapter.open({ shard, epoch: 5, owner })
      await expectCode(adapter.open({ shard, epoch: 4, owner }), 'FENCED')
      await expectCode(adapter.open({ shard, epoch: 5, owner: 'node-1/b' }), 'FENCED')
      await adapter.open({ shard, epoch: 6, owner: 'node-1/b' })
      await expectCode(adapter.open({ shard, epoch: 5, owner }), 'FENCED')
    })

    test('open waits for the commits before it', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const commits = [writer.commit(put('a')), writer.commit(put('b'))]
      const opened = await adapter.open({ shard, epoch: 2, owner: 'node-2/a' })
      await Promise.all(commits)
      expect(opened.commitNumber).toBe(2)
    })

    test('epochs near 2^53 are kept exactly', async () => {
      const { adapter } = subject
      const epoch = Number.MAX_SAFE_INTEGER - 1
      const writer = await openWriter(adapter, { epoch })
      await writer.commit(put('a'))
      await expectCode(adapter.open({ shard, epoch: epoch - 1, owner }), 'FENCED')
      expect((await adapter.stats(shard)).epoch).toBe(epoch)
      await openWriter(adapter, { epoch: epoch + 1 })
    })
  })

  describe('fence', () => {
    const operations = {
      append: append('log', 1, 'late'),
      put: put('key', 'late'),
      delete: { kind: 'delete', key: 'key' },
      'delete-range': { kind: 'delete-range', from: '', to: '' },
      trim: { kind: 'trim', log: 'log', beforeOffset: 1 },
      'drop-log': { kind: 'drop-log', log: 'log' },
      replace: { kind: 'replace', log: 'log', batch: batchAt(0, 'x') },
    } as const
    for (const [kind, operation] of Object.entries(operations)) {
      test(`commit of ${kind} with an old epoch is FENCED and changes nothing`, async () => {
        const { adapter } = subject
        const old = await openWriter(adapter)
        await old.commit(append('log', 0, 'kept'), put('key', 'kept'))
        await adapter.open({ shard, epoch: 2, owner: 'node-2/a' })
        await expectCode(old.commit(operation), 'FENCED')
        expectBytes(await readAll(adapter, 'log'), [batchAt(0, 'kept')])
        expect(textOf(await adapter.get(shard, 'key'))).toBe('kept')
        expect(await adapter.stats(shard)).toMatchObject({ epoch: 2, commitNumber: 1 })
      })
    }

    test('close and drop with an old epoch are FENCED and change nothing', async () => {
      const { adapter } = subject
      await openWriter(adapter)
      const current = await openWriter(adapter, { epoch: 2 })
      await current.commit(put('key'))
      await expectCode(adapter.close(shard, 1), 'FENCED')
      await expectCode(adapter.drop(shard, 1), 'FENCED')
      await current.commit(put('other'))
      expect(await keysOf(adapter)).toEqual(['key', 'other'])
    })

    test('a fence of one shard leaves the others open', async () => {
      const { adapter } = subject
      const other = await openWriter(adapter, { shard: 8 })
      await openWriter(adapter)
      await openWriter(adapter, { epoch: 2 })
      await other.commit(put('a'))
    })
  })

  describe('NOT_OPEN', () => {
    test('commit to a shard that was never opened, or with a higher epoch, is NOT_OPEN', async () => {
      const { adapter } = subject
      await expectCode(new Writer(adapter).commit(put('a')), 'NOT_OPEN')
      await openWriter(adapter)
      await expectCode(new Writer(adapter, { epoch: 2 }).commit(put('a')), 'NOT_OPEN')
      expect(await keysOf(adapter)).toEqual([])
    })

    test('close makes later commits NOT_OPEN until the shard is opened again', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const commit = writer.commit(put('a'))
      await adapter.close(shard, 1)
      await commit
      await adapter.close(shard, 1)
      await expectCode(writer.commit(put('b')), 'NOT_OPEN')
      await expectCode(adapter.close(shard, 2), 'NOT_OPEN')
      await (await writer.open()).commit(put('b'))
      expect(await keysOf(adapter)).toEqual(['a', 'b'])
    })

    test('reads need no lease', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await writer.commit(put('a'), append('log', 0, 'x'))
      await adapter.close(shard, 1)
      expect(await keysOf(adapter)).toEqual(['a'])
      expectBytes(await readAll(adapter, 'log'), [batchAt(0, 'x')])
    })
  })

  describe('commit number', () => {
    test('commit that skips a number or goes back is GAP', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await writer.commit(put('a'))
      await writer.commit(put('b'))
      for (const commitNumber of [0, 1, 4]) {
        const request = { shard, epoch: 1, commitNumber, operations: [put('c')] }
        await expectCode(adapter.commit(request), 'GAP')
      }
      expect(await keysOf(adapter)).toEqual(['a', 'b'])
    })

    test('a retry of the last commit resolves without a second effect', async () => {
      const { adapter } = subject
      await openWriter(adapter)
      const request = { shard, epoch: 1, commitNumber: 1, operations: [append('log', 0, 'x')] }
      await adapter.commit(request)
      await adapter.commit(request)
      await Promise.all([adapter.commit(request), adapter.commit(request)])
      expect(await adapter.read({ shard, log: 'log', fromOffset: 0, bytesMax: 1e6 })).toMatchObject(
        { endOffset: 1 },
      )
    })

    test('the number of the last commit under a new epoch is no retry but GAP', async () => {
      const { adapter } = subject
      await (await openWriter(adapter)).commit(put('a'))
      await adapter.open({ shard, epoch: 2, owner })
      const request = { shard, epoch: 2, commitNumber: 1, operations: [put('b')] }
      await expectCode(adapter.commit(request), 'GAP')
    })

    test('a refused commit takes no number', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      await expectCode(writer.commit(append('log', 3, 'x')), 'GAP')
      writer.commitNumber = 0
      await writer.commit(append('log', 0, 'x'))
    })

    test('an empty commit takes a number', async () => {
      const writer = await openWriter(subject.adapter)
      await writer.commit()
      await writer.commit(put('a'))
      expect(await subject.adapter.stats(shard)).toMatchObject({ commitNumber: 2 })
    })
  })

  describe('drop', () => {
    test('drop leaves an empty shard whose old epochs are FENCED', async () => {
      const { adapter } = subject
      const old = await openWriter(adapter)
      await old.commit(put('a'), append('log', 0, 'x'))
      await adapter.drop(shard, 2)
      await adapter.drop(shard, 2)
      await expectCode(old.commit(put('b')), 'FENCED')
      await expectCode(adapter.open({ shard, epoch: 1, owner }), 'FENCED')
      await expectCode(adapter.open({ shard, epoch: 2, owner }), 'FENCED')
      expect(await adapter.logs(shard)).toEqual([])
      expect(await adapter.stats(shard)).toMatchObject({ epoch: 2, commitNumber: 0, keys: 0 })
      const next = await openWriter(adapter, { epoch: 3 })
      expect(next.commitNumber).toBe(0)
      expect(await keysOf(adapter)).toEqual([])
      await next.commit(append('log', 0, 'new'))
      expectBytes(await readAll(adapter, 'log'), [batchAt(0, 'new')])
    })

    test('drop takes effect after the commits before it, and on its own shard only', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const neighbour = await openWriter(adapter, { shard: shard + 1 })
      const commits = [
        writer.commit(put('a'), append('log', 0, 'x')),
        neighbour.commit(put('a'), append('log', 0, 'x')),
      ]
      await adapter.drop(shard, 1)
      await Promise.all(commits)
      await expectCode(writer.commit(put('b')), 'NOT_OPEN')
      expect(await keysOf(adapter)).toEqual([])
      expect(await readAll(adapter, 'log')).toEqual([])
      expect(await keysOf(adapter, { shard: shard + 1 })).toEqual(['a'])
      expectBytes(await readAll(adapter, 'log', { shard: shard + 1 }), [batchAt(0, 'x')])
    })
  })

  describe('stop', () => {
    test('stop settles what is in flight, and calls after it are UNAVAILABLE', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const commit = writer.commit(put('a'))
      await Promise.all([commit, adapter.stop(), adapter.stop()])
      await expectCode(writer.commit(put('b')), 'UNAVAILABLE')
      await expectCode(adapter.get(shard, 'a'), 'UNAVAILABLE')
      await expectCode(adapter.open({ shard, epoch: 2, owner }), 'UNAVAILABLE')
    })
  })
}
