/** Many shards at once, many commits in flight, readers beside writers. */
import { describe, expect, test } from 'vitest'
import { baseOffset, nextOffset } from '../record-batch/record-batch.ts'
import type { Subject } from './describe-storage-adapter.ts'
import {
  append,
  batchAt,
  expectBytes,
  expectCode,
  keysOf,
  openWriter,
  put,
  readAll,
  shard,
} from './fixtures.ts'

export function describeConcurrency(subject: Subject): void {
  describe('concurrency', () => {
    test('64 shards commit in parallel without touching each other', async () => {
      const { adapter } = subject
      const rounds = 20
      const shards = Array.from({ length: 64 }, (_, number) => number)
      await Promise.all(
        shards.map(async (number) => {
          const writer = await openWriter(adapter, { shard: number })
          for (let round = 0; round < rounds; round += 1) {
            await writer.commit(append('log', round, `${number}/${round}`), put(`k${round}`))
          }
        }),
      )
      for (const number of shards) {
        const expected = Array.from({ length: rounds }, (_, at) => batchAt(at, `${number}/${at}`))
        expectBytes(await readAll(adapter, 'log', { shard: number }), expected)
        expect(await adapter.stats(number)).toMatchObject({ commitNumber: rounds, keys: rounds })
      }
    })

    test('commits in flight of one shard take effect in their order', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const count = 300
      await Promise.all(
        Array.from({ length: count }, (_, at) =>
          writer.commit(append('a', at, `a${at}`), append('b', at, `b${at}`), put('last', `${at}`)),
        ),
      )
      const expected = Array.from({ length: count }, (_, at) => batchAt(at, `b${at}`))
      expectBytes(await readAll(adapter, 'b'), expected)
      expect(Buffer.from((await adapter.get(shard, 'last')) ?? []).toString()).toBe(`${count - 1}`)
    })

    test('a failed commit in flight fails those behind it, and nothing else', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const other = await openWriter(adapter, { shard: 8 })
      const outcomes = await Promise.allSettled([
        writer.commit(put('a')),
        writer.commit(append('log', 9, 'x'), put('b')),
        writer.commit(put('c')),
        other.commit(put('d')),
      ])
      expect(outcomes.map(({ status }) => status)).toEqual([
        'fulfilled',
        'rejected',
        'rejected',
        'fulfilled',
      ])
      expect(await keysOf(adapter)).toEqual(['a'])
      expect(await keysOf(adapter, { shard: 8 })).toEqual(['d'])
    })

    test('of two owners that race, the higher epoch wins and every acknowledged commit is kept', async () => {
      const { adapter } = subject
      const old = await openWriter(adapter)
      const acknowledged: string[] = []
      const attempts = Array.from({ length: 50 }, async (_, at) => {
        await old.commit(put(`old-${at}`))
        acknowledged.push(`old-${at}`)
      })
      const taken = await openWriter(adapter, { epoch: 2 })
      await taken.commit(put('new'))
      await Promise.allSettled(attempts)
      await expectCode(old.commit(put('zombie')), 'FENCED')
      const keys = await keysOf(adapter)
      expect(keys).toEqual(['new', ...acknowledged].sort())
    })

    test('readers beside a writer that trims see joined batches up to the end they are told', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      let isDone = false
      const writing = (async () => {
        for (let at = 0; at < 200; at += 1) {
          const trim = { kind: 'trim', log: 'log', beforeOffset: Math.max(0, at - 5) } as const
          await writer.commit(append('log', at, `${at}`), trim)
        }
        isDone = true
      })()
      while (!isDone) {
        const result = await adapter.read({ shard, log: 'log', fromOffset: 0, bytesMax: 1e6 })
        let expected = result.startOffset
        for (const batch of result.batches) {
          expect(baseOffset(batch)).toBe(expected)
          expected = nextOffset(batch)
        }
        expect(expected).toBe(result.endOffset)
      }
      await writing
    })
  })
}
