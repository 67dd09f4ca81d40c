/** What an adapter says of itself, and how much it takes. */
import { describe, expect, test } from 'vitest'
import { operationOverheadBytes } from '../limits.ts'
import { batchHeaderBytes } from '../record-batch/record-batch.ts'
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

export function describeLimits(subject: Subject, durable: boolean): void {
  describe('capabilities', () => {
    test('are said in one line for people, and agree with themselves', () => {
      const { capabilities } = subject.adapter
      expect(capabilities.promise).toMatch(/^[^\n]{20,1000}$/)
      expect(capabilities.promise).toContain(capabilities.adapter)
      expect(capabilities.commitBytesMax).toBeGreaterThanOrEqual(64 * 1024 * 1024)
      expect(capabilities.survivesProcessCrash).toBe(durable)
      if (capabilities.survivesMachineLoss) expect(capabilities.survivesProcessCrash).toBe(true)
      if (capabilities.survivesOsCrash) expect(capabilities.survivesProcessCrash).toBe(true)
    })

    test('pressure is a share of what there is, and low when there is nothing', () => {
      const pressure = subject.adapter.pressure ?? 0
      expect(pressure).toBeGreaterThanOrEqual(0)
      expect(pressure).toBeLessThan(0.75)
    })
  })

  describe('limits', () => {
    test('a commit as large as the limit is kept, as a value and as a batch', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const room = adapter.capabilities.commitBytesMax - operationOverheadBytes - 1
      const value = Buffer.alloc(room, 'v')
      await writer.commit(put('k', value))
      expect(Buffer.compare((await adapter.get(shard, 'k')) as Uint8Array, value)).toBe(0)
      await writer.commit({ kind: 'delete', key: 'k' })
      // Lengths inside the batch take a few bytes more than its header.
      const large = value.subarray(0, room - batchHeaderBytes - 32)
      await writer.commit(append('l', 0, large))
      expectBytes(await readAll(adapter, 'l', { bytesMax: 1 }), [batchAt(0, large)])
      await expectCode(writer.commit(put('kk', value)), 'TOO_LARGE')
    }, 60_000)

    test('a shard has 10,000 logs, each read, trimmed and listed by itself', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const names = Array.from({ length: 10_000 }, (_, at) => `log-${String(at).padStart(5, '0')}`)
      for (let at = 0; at < names.length; at += 1000) {
        await writer.commit(...names.slice(at, at + 1000).map((name) => append(name, 0, name)))
      }
      const few = names.filter((_, at) => at % 1000 === 7)
      await writer.commit(...few.map((name) => append(name, 1, 'second')))
      await writer.commit(...few.map((log) => ({ kind: 'trim', log, beforeOffset: 1 }) as const))
      const logs = await adapter.logs(shard)
      expect(logs.map(({ log }) => log)).toEqual(names)
      expect(logs.filter(({ startOffset }) => startOffset === 1).map(({ log }) => log)).toEqual(few)
      expectBytes(await readAll(adapter, 'log-05007'), [batchAt(1, 'second')])
      expectBytes(await readAll(adapter, 'log-09999'), [batchAt(0, 'log-09999')])
      await adapter.drop(shard, 2)
      expect(await adapter.logs(shard)).toEqual([])
    }, 60_000)

    test('commits of very many small operations are kept', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const keys = Array.from({ length: 20_000 }, (_, at) => `k${String(at).padStart(5, '0')}`)
      await writer.commit(...keys.map((key) => put(key, '')))
      await writer.commit(...Array.from({ length: 5000 }, (_, at) => append('log', at, '')))
      expect(await keysOf(adapter)).toEqual(keys)
      expect((await readAll(adapter, 'log')).length).toBe(5000)
    }, 60_000)

    test('batches of very different sizes in one log are read whole and within the limit', async () => {
      const { adapter } = subject
      const writer = await openWriter(adapter)
      const sizes = Array.from({ length: 120 }, (_, at) => (at % 40 === 39 ? 2_000_000 : 10 + at))
      for (const [at, size] of sizes.entries())
        await writer.commit(append('log', at, 'x'.repeat(size)))
      const read: Uint8Array[] = []
      while (read.length < sizes.length) {
        const request = { shard, log: 'log', fromOffset: read.length, bytesMax: 100_000 }
        const { batches } = await adapter.read(request)
        const bytes = batches.reduce((sum, batch) => sum + batch.length, 0)
        expect(batches.length).toBeGreaterThan(0)
        expect(batches.length === 1 || bytes <= 100_000).toBe(true)
        read.push(...batches)
      }
      expectBytes(
        read,
        sizes.map((size, at) => batchAt(at, 'x'.repeat(size))),
      )
    }, 60_000)
  })
}
