import { expect, test } from 'vitest'
import { describeStorageAdapter } from '../conformance/describe-storage-adapter.ts'
import { expectCode, openWriter, put } from '../conformance/fixtures.ts'
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
