import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { append, expectCode, openWriter, put, readAll, shard } from '../conformance/fixtures.ts'
import { sealValue, unsealValue } from '../sealed-values.ts'
import type { StorageAdapter } from '../storage-adapter.ts'
import { openEngine } from './engine.ts'
import { identityKey, logHeadKey, shardHeadKey } from './keys.ts'
import { openLevelDbStorage } from './leveldb-adapter.ts'

let directory = ''
let adapter: StorageAdapter

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'robust-hosted-'))
  adapter = await openLevelDbStorage(directory)
})

afterEach(async () => {
  await adapter.stop()
  await rm(directory, { recursive: true, force: true })
})

async function reopen(between?: () => Promise<void>): Promise<void> {
  await adapter.stop()
  await between?.()
  adapter = await openLevelDbStorage(directory)
}

async function stored(key: Buffer): Promise<Buffer | undefined> {
  const engine = await openEngine(directory)
  const value = await engine.get(key)
  await engine.close()
  return value
}

const ends = async (): Promise<string[]> =>
  (await adapter.logs(shard)).map(
    ({ log, startOffset, endOffset }) => `${log} ${startOffset}-${endOffset}`,
  )

test('the head of the only log that changes has no entry of its own until another one changes', async () => {
  const writer = await openWriter(adapter)
  await writer.commit(append('b', 0, 'x'))
  await writer.commit(append('b', 1, 'y'), put('key'))
  await reopen(async () => {
    expect(await stored(logHeadKey(shard, 'b'))).toBeUndefined()
  })
  expect(await ends()).toEqual(['b 0-2'])
  const next = await openWriter(adapter, { epoch: 2 })
  await next.commit(append('a', 0, 'x'))
  await reopen(async () => {
    expect(await stored(logHeadKey(shard, 'b'))).toBeDefined()
    expect(await stored(logHeadKey(shard, 'a'))).toBeUndefined()
  })
  expect(await ends()).toEqual(['a 0-1', 'b 0-2'])
})

test('heads are the same after a new start, whichever logs commits touch', async () => {
  const expected: string[][] = []
  let epoch = 1
  const steps = [
    [append('m', 0, '0')],
    [append('m', 1, '1'), append('z', 0, '0')],
    [append('z', 1, '1')],
    [{ kind: 'trim', log: 'm', beforeOffset: 1 }],
    [append('a', 0, '0')],
    [{ kind: 'drop-log', log: 'a' }],
    [append('a', 0, 'again'), { kind: 'trim', log: 'z', beforeOffset: 2 }],
    [{ kind: 'begin-log', log: 'n', offset: 40 }],
    [append('n', 40, 'x')],
    [put('only a key')],
    [{ kind: 'drop-log', log: 'n' }, append('n', 0, 'y')],
    [{ kind: 'trim', log: 'n', beforeOffset: 1 }],
    [append('z', 2, 'last')],
  ] as const
  for (const operations of steps) {
    const writer = await openWriter(adapter, { epoch: epoch++ })
    await writer.commit(...operations)
    const before = await ends()
    await reopen()
    expect(await ends()).toEqual(before)
    expect((await adapter.check?.(shard))?.problems).toEqual([])
    expected.push(before)
  }
  expect(expected.at(-1)).toEqual(['a 0-1', 'm 1-2', 'n 1-1', 'z 2-3'])
  expect((await readAll(adapter, 'z')).length).toBe(1)
})

test('a damaged head of a shard is DATA_LOSS for the log whose head is in it, too', async () => {
  await (await openWriter(adapter)).commit(append('log', 0, 'x'))
  await reopen(async () => {
    const engine = await openEngine(directory)
    const key = shardHeadKey(shard)
    const value = Buffer.from((await engine.get(key)) ?? [])
    value[value.length - 8] = (value[value.length - 8] ?? 0) ^ 1
    await engine.put(key, value, { sync: true })
    await engine.close()
  })
  await expectCode(readAll(adapter, 'log'), 'DATA_LOSS')
  await expectCode(adapter.logs(shard), 'DATA_LOSS')
  expect((await adapter.check?.(shard))?.problems[0]).toMatch(/^the head of the shard: .*checksum/)
})

test('a database of format 1 is read and becomes format 2', async () => {
  await (await openWriter(adapter)).commit(append('one', 0, 'x'), append('two', 0, 'x'))
  const formatOf = (value: Buffer | undefined): unknown =>
    JSON.parse(unsealValue(identityKey, value ?? Buffer.alloc(0)).toString())
  await reopen(async () => {
    const engine = await openEngine(directory)
    const identity = formatOf(await engine.get(identityKey)) as object
    const old = Buffer.from(JSON.stringify({ ...identity, format: 1 }))
    await engine.put(identityKey, sealValue(identityKey, old), { sync: true })
    await engine.close()
  })
  expect(await ends()).toEqual(['one 0-1', 'two 0-1'])
  await reopen(async () => {
    expect(formatOf(await stored(identityKey))).toMatchObject({ format: 2 })
  })
})
