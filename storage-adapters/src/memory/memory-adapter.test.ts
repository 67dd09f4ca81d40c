import { expect, test } from 'vitest'
import { describeStorageAdapter } from '../conformance/describe-storage-adapter.ts'
import { batchAt, expectCode, openWriter, put, shard } from '../conformance/fixtures.ts'
import { createMemoryStorage } from './memory-adapter.ts'

describeStorageAdapter('memory', { create: async () => createMemoryStorage(), durable: false })

test('memory has another incarnation each time', async () => {
  const request = { shard: 1, epoch: 1, owner: 'node' }
  const [first, second] = [createMemoryStorage(), createMemoryStorage()]
  expect((await first.open(request)).incarnation).not.toBe((await second.open(request)).incarnation)
})

test('memory beyond its bound is FULL for what adds, until something is freed', async () => {
  const adapter = createMemoryStorage({ bytesMax: 1300 })
  const writer = await openWriter(adapter)
  await writer.commit(put('a', 'x'.repeat(900)))
  await expectCode(writer.commit(put('b', 'x'.repeat(200))), 'FULL')
  writer.commitNumber = 1
  await writer.commit({ kind: 'delete', key: 'a' })
  await writer.commit(put('b', 'x'.repeat(200)))
})

test('memory keeps a verified batch itself when it is most of its memory, and a copy of any other', async () => {
  const adapter = createMemoryStorage()
  const writer = await openWriter(adapter)
  const append = (log: string, batch: Uint8Array, verified?: true) =>
    writer.commit({ kind: 'append', log, expectedOffset: 0, batch, ...(verified && { verified }) })
  const own = Uint8Array.from(batchAt(0, 'a'.repeat(1_000)))
  const roomy = new Uint8Array(own.length * 2)
  roomy.set(own)
  const part = roomy.subarray(0, own.length)
  await append('own', own, true)
  await append('part', part, true)
  await append('borrowed', own)
  const kept = async (log: string) => {
    const { batches } = await adapter.read({ shard, log, fromOffset: 0, bytesMax: 1e6 })
    expect(batches[0]).toEqual(own)
    return batches[0]?.buffer
  }
  expect(await kept('own')).toBe(own.buffer)
  expect(await kept('part')).not.toBe(roomy.buffer)
  expect(await kept('borrowed')).not.toBe(own.buffer)
})
