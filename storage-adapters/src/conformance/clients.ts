/** Two clients of the same data at the same time: a zombie and its successor. */
import { describe, expect, test } from 'vitest'
import type { StorageAdapter } from '../storage-adapter.ts'
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
} from './fixtures.ts'

export function describeClients(subject: Subject, another: () => Promise<StorageAdapter>): void {
  describe('two clients', () => {
    test('every operation of the old owner is FENCED, and the new one sees all that it had', async () => {
      const second = await another()
      try {
        const old = await openWriter(subject.adapter)
        await old.commit(put('a'), append('log', 0, 'x'))
        const current = await openWriter(second, { epoch: 2 })
        expect(current.commitNumber).toBe(1)
        const late = [
          put('late'),
          append('log', 1, 'late'),
          { kind: 'delete', key: 'a' },
          { kind: 'delete-range', from: '', to: '' },
          { kind: 'trim', log: 'log', beforeOffset: 1 },
          { kind: 'drop-log', log: 'log' },
        ] as const
        for (const operation of late) {
          await expectCode(old.commit(operation), 'FENCED')
          old.commitNumber -= 1
        }
        await expectCode(subject.adapter.close(shard, 1), 'FENCED')
        await expectCode(subject.adapter.drop(shard, 1), 'FENCED')
        await expectCode(subject.adapter.open({ shard, epoch: 1, owner }), 'FENCED')
        await current.commit(put('b'), append('log', 1, 'y'))
        for (const adapter of [subject.adapter, second]) {
          expect(await keysOf(adapter)).toEqual(['a', 'b'])
          expectBytes(await readAll(adapter, 'log'), [batchAt(0, 'x'), batchAt(1, 'y')])
        }
      } finally {
        await second.stop()
      }
    })

    test('while ownership goes to and fro, each acknowledged commit is kept once', async () => {
      const second = await another()
      try {
        const acknowledged: string[] = []
        for (let epoch = 1; epoch <= 12; epoch += 1) {
          const writer = await openWriter(epoch % 2 === 0 ? second : subject.adapter, { epoch })
          const before = acknowledged.length
          const overlapping = Array.from({ length: 8 }, async (_, at) => {
            const end = before + at
            const key = `${String(epoch).padStart(2, '0')}-${at}`
            await writer.commit(put(key), append('log', end, key)).then(
              () => acknowledged.push(key),
              () => undefined,
            )
          })
          if (epoch % 3 === 0) await Promise.all(overlapping)
          else await overlapping[3]
          const next = epoch % 2 === 0 ? subject.adapter : second
          await next.open({ shard, epoch: epoch + 1, owner: 'successor' })
          await Promise.all(overlapping)
          const { endOffset } = await next.read({ shard, log: 'log', fromOffset: 0, bytesMax: 1 })
          expect(endOffset).toBe(acknowledged.length)
          epoch += 1
        }
        expect(await keysOf(second)).toEqual(acknowledged.toSorted())
      } finally {
        await second.stop()
      }
    })

    test('what one drops the other finds gone', async () => {
      const second = await another()
      try {
        const writer = await openWriter(subject.adapter)
        await writer.commit(put('a'), append('log', 0, 'x'))
        await second.drop(shard, 2)
        await expectCode(writer.commit(put('b')), 'FENCED')
        expect(await keysOf(subject.adapter)).toEqual([])
        expect(await subject.adapter.logs(shard)).toEqual([])
        const next = await openWriter(subject.adapter, { epoch: 3 })
        expect(next.commitNumber).toBe(0)
      } finally {
        await second.stop()
      }
    })
  })
}
