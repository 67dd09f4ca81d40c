import type { CommitRequest, StorageAdapter } from '@robust/storage-adapters'
import { createMemoryStorage, decodeRecordBatch, StorageError } from '@robust/storage-adapters'
import { describe, expect, test } from 'vitest'
import { settle, VirtualClock } from '../testing/virtual-clock.ts'
import { ShardWriter } from './shard-writer.ts'

type Commit = (request: CommitRequest, really: () => Promise<void>) => Promise<void>

/** The memory adapter with its commits in the test's hands. */
function storageWith(commit: Commit): { storage: StorageAdapter; real: StorageAdapter } {
  const real = createMemoryStorage()
  const storage = new Proxy(real, {
    get: (target, name) => {
      if (name === 'commit') {
        return (request: CommitRequest) => commit(request, () => real.commit(request))
      }
      const value = Reflect.get(target, name) as unknown
      return typeof value === 'function' ? value.bind(target) : value
    },
  })
  return { storage, real }
}

async function opened(storage: StorageAdapter, epoch = 1) {
  const clock = new VirtualClock()
  const lost: string[] = []
  const writer = new ShardWriter({
    shard: 3,
    epoch,
    owner: 'b1/x',
    storage,
    clock,
    onLost: (reason) => lost.push(reason),
  })
  await writer.open()
  return { writer, clock, lost }
}

const record = (text: string) => ({
  timestamp: 1,
  key: null,
  value: Buffer.from(text),
  headers: [],
})

async function valuesOf(storage: StorageAdapter, log: string): Promise<string[]> {
  const { batches } = await storage.read({ shard: 3, log, fromOffset: 0, bytesMax: 1 << 20 })
  return batches.flatMap((batch) =>
    decodeRecordBatch(batch).map(({ offset, value }) => `${offset}:${Buffer.from(value ?? [])}`),
  )
}

describe('ShardWriter', () => {
  test('append and put of one turn share one commit, and onCommit runs after it', async () => {
    const commits: CommitRequest[] = []
    const { storage, real } = storageWith((request, really) => {
      commits.push(request)
      return really()
    })
    const { writer } = await opened(storage)
    const outcomes: string[] = []
    expect(writer.append('log', record('a'))).toBe(0)
    expect(writer.append('log', record('b'))).toBe(1)
    writer.put('key', Buffer.from('v'))
    writer.onCommit((outcome) => outcomes.push(outcome))
    expect(outcomes).toEqual([])
    await settle()
    expect(outcomes).toEqual(['committed'])
    expect(commits).toHaveLength(1)
    expect(await valuesOf(real, 'log')).toEqual(['0:a', '1:b'])
  })

  test('what arrives while a commit is in flight shares the next one', async () => {
    const release: (() => void)[] = []
    let commits = 0
    const { storage, real } = storageWith(async (_request, really) => {
      commits++
      await new Promise<void>((resolve) => release.push(resolve))
      await really()
    })
    const { writer } = await opened(storage)
    writer.append('log', record('a'))
    await settle()
    for (const text of ['b', 'c', 'd']) writer.append('log', record(text))
    release.shift()?.()
    await settle()
    release.shift()?.()
    await writer.drained()
    expect(commits).toBe(2)
    expect(await valuesOf(real, 'log')).toEqual(['0:a', '1:b', '2:c', '3:d'])
  })

  test('an unknown outcome that was applied is not applied twice', async () => {
    let failures = 1
    const { storage, real } = storageWith(async (_request, really) => {
      await really()
      if (failures-- > 0) throw new StorageError('UNAVAILABLE', 'the reply was lost')
    })
    const { writer, clock } = await opened(storage)
    const outcomes: string[] = []
    writer.append('log', record('a'))
    writer.onCommit((outcome) => outcomes.push(outcome))
    await clock.advance(1_000)
    expect(outcomes).toEqual(['committed'])
    expect(await valuesOf(real, 'log')).toEqual(['0:a'])
  })

  test('without room logs are cut ahead of what waits, once, and the rest follows when there is some', async () => {
    const commits: string[][] = []
    let hasRoom = true
    const { storage, real } = storageWith((request, really) => {
      const kinds = request.operations.map(({ kind }) => kind)
      commits.push(kinds)
      const frees = kinds.every((kind) => kind === 'trim')
      if (hasRoom || frees) return really()
      return Promise.reject(new StorageError('FULL', 'no room'))
    })
    const { writer, clock, lost } = await opened(storage)
    for (const text of ['a', 'b', 'c']) {
      writer.append('log', record(text))
      await writer.drained()
    }
    hasRoom = false
    writer.append('log', record('d'))
    writer.put('cut', Buffer.from('2'))
    await settle()
    writer.trim('log', 2)
    await clock.advance(1_000)
    expect(await valuesOf(real, 'log')).toEqual(['2:c'])
    expect(commits.filter((kinds) => kinds.join() === 'trim')).toHaveLength(1)
    hasRoom = true
    await clock.advance(1_000)
    expect(await valuesOf(real, 'log')).toEqual(['2:c', '3:d'])
    expect(writer.commitNumber).toBe((await real.stats(3)).commitNumber)
    expect(lost).toEqual([])
  })

  test('without room a log whose batches are to be replaced is not cut ahead', async () => {
    let hasRoom = true
    const { storage, real } = storageWith((_request, really) =>
      hasRoom ? really() : Promise.reject(new StorageError('FULL', 'no room')),
    )
    const { writer, clock, lost } = await opened(storage)
    for (const text of ['a', 'b']) {
      writer.append('log', record(text))
      await writer.drained()
    }
    hasRoom = false
    const { batches } = await real.read({ shard: 3, log: 'log', fromOffset: 0, bytesMax: 1 << 20 })
    writer.replace('log', Buffer.from(batches[0] as Uint8Array))
    writer.trim('log', 1)
    await clock.advance(1_000)
    hasRoom = true
    await clock.advance(1_000)
    expect(await valuesOf(real, 'log')).toEqual(['1:b'])
    expect(lost).toEqual([])
  })

  test('an unknown outcome that was not applied is repeated until it is', async () => {
    let failures = 3
    const { storage, real } = storageWith(async (_request, really) => {
      if (failures-- > 0) throw new StorageError('UNAVAILABLE', 'no answer')
      await really()
    })
    const { writer, clock } = await opened(storage)
    const outcomes: string[] = []
    writer.append('log', record('a'))
    writer.onCommit((outcome) => outcomes.push(outcome))
    await clock.advance(300)
    expect(outcomes).toEqual([])
    await clock.advance(5_000)
    expect(outcomes).toEqual(['committed'])
    expect(await valuesOf(real, 'log')).toEqual(['0:a'])
  })

  test('a fenced writer loses the shard once and fails everything pending', async () => {
    const { storage, real } = storageWith((_request, really) => really())
    const { writer, lost } = await opened(storage)
    await real.open({ shard: 3, epoch: 2, owner: 'b2/y' })
    const outcomes: string[] = []
    writer.append('log', record('a'))
    writer.onCommit((outcome) => outcomes.push(outcome))
    await settle()
    writer.onCommit((outcome) => outcomes.push(outcome))
    expect(outcomes).toEqual(['lost', 'lost'])
    expect(lost).toEqual(['fenced'])
    expect(await valuesOf(real, 'log')).toEqual([])
  })

  test('a log dropped and written in the same commit begins at 0 again', async () => {
    const { storage, real } = storageWith((_request, really) => really())
    const { writer } = await opened(storage)
    writer.append('log', record('old'))
    await settle()
    writer.dropLog('log')
    expect(writer.append('log', record('new'))).toBe(0)
    await writer.drained()
    expect(await valuesOf(real, 'log')).toEqual(['0:new'])
  })

  test('open finds the ends of the logs that another owner wrote', async () => {
    const { storage, real } = storageWith((_request, really) => really())
    const first = await opened(storage)
    first.writer.append('log', record('a'))
    await settle()
    const second = await opened(real, 2)
    expect(second.writer.endOf('log')).toBe(1)
    expect(second.writer.append('log', record('b'))).toBe(1)
    await settle()
    expect(await valuesOf(real, 'log')).toEqual(['0:a', '1:b'])
  })
})
