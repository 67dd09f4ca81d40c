/** What a durable adapter keeps over a stop and a new start. */
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
  Writer,
} from './fixtures.ts'

export function describeDurability(subject: Subject): void {
  describe('reopen', () => {
    test('everything that was committed is kept, and so is the incarnation', async () => {
      const before = await subject.adapter.open({ shard, epoch: 3, owner })
      const writer = await openWriter(subject.adapter, { epoch: 3 })
      await writer.commit(append('log', 0, 'a', 'b'), append('gone', 0, 'x'), put('key'))
      await writer.commit(append('log', 2, 'c'), { kind: 'trim', log: 'log', beforeOffset: 2 })
      await writer.commit({ kind: 'drop-log', log: 'gone' })
      const logs = await subject.adapter.logs(shard)
      await subject.reopen()
      const { adapter } = subject
      expectBytes(await readAll(adapter, 'log'), [batchAt(2, 'c')])
      expect(await adapter.logs(shard)).toEqual(logs)
      expect(await keysOf(adapter)).toEqual(['key'])
      const after = await adapter.open({ shard, epoch: 3, owner })
      expect(after).toEqual({ incarnation: before.incarnation, commitNumber: 3 })
    })

    test('nothing is open after a new start; fences and tombstones hold', async () => {
      const writer = await openWriter(subject.adapter, { epoch: 3 })
      await writer.commit(put('a'))
      await subject.adapter.drop(9, 4)
      await subject.reopen()
      const { adapter } = subject
      const again = new Writer(adapter, { epoch: 3 })
      again.commitNumber = 1
      await expectCode(again.commit(put('b')), 'NOT_OPEN')
      await expectCode(adapter.open({ shard, epoch: 2, owner }), 'FENCED')
      await expectCode(adapter.open({ shard, epoch: 3, owner: 'another' }), 'FENCED')
      await expectCode(adapter.open({ shard: 9, epoch: 4, owner }), 'FENCED')
      await (await again.open()).commit(put('b'))
      expect(await keysOf(adapter)).toEqual(['a', 'b'])
    })

    test('a check finds nothing wrong, and counts what there is', async () => {
      const { adapter } = subject
      if (adapter.check === undefined) return
      const writer = await openWriter(adapter)
      const bytes = batchAt(1, 'b').length + 3
      await writer.commit(append('log', 0, 'a'), append('log', 1, 'b'), put('a', '123'))
      await writer.commit({ kind: 'trim', log: 'log', beforeOffset: 1 }, put('gone'))
      await writer.commit({ kind: 'delete', key: 'gone' }, append('dropped', 0, 'x'))
      await writer.commit({ kind: 'drop-log', log: 'dropped' })
      const expected = { logs: 1, batches: 1, keys: 1, bytes, problems: [] }
      expect(await adapter.check(shard)).toEqual(expected)
      expect((await adapter.check(99)).batches).toBe(0)
    })

    test('a copy is adopted under the numbers of what it was copied from', async () => {
      const { adapter } = subject
      if (adapter.adopt === undefined) return
      await expectCode(
        adapter.adopt({ shard, epoch: 5, commitNumber: 77, incarnation: 'x' }),
        'NOT_OPEN',
      )
      const writer = await openWriter(adapter, { epoch: 5 })
      const { incarnation } = await adapter.open({ shard, epoch: 5, owner })
      await writer.commit(put('a'))
      await adapter.adopt({ shard, epoch: 5, commitNumber: 77, incarnation })
      await subject.reopen()
      const opened = await subject.adapter.open({ shard, epoch: 6, owner })
      expect(opened).toEqual({ incarnation, commitNumber: 77 })
    })

    test('the last commit can be retried after a new start', async () => {
      const operations = [append('log', 0, 'x')]
      const request = { shard, epoch: 1, commitNumber: 1, operations }
      await openWriter(subject.adapter)
      await subject.adapter.commit(request)
      await subject.reopen()
      await openWriter(subject.adapter)
      await subject.adapter.commit(request)
      expectBytes(await readAll(subject.adapter, 'log'), [batchAt(0, 'x')])
    })
  })
}
