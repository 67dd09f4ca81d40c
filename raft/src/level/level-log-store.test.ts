import { copyFile, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ClassicLevel } from 'classic-level'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { LogDamagedError, LogIdentityError } from '../errors.ts'
import { MemoryLogStore } from '../memory/memory-log-store.ts'
import type { LogStore, LogWrite } from '../ports/log-store.ts'
import { entriesOf } from '../testing/lone-node.ts'
import { LevelLogStore } from './level-log-store.ts'

const IDENTITY = { clusterId: 'c1', nodeId: 'a' }
const NOTHING: LogWrite = {
  hardState: undefined,
  reset: undefined,
  truncateFrom: undefined,
  entries: [],
  compactTo: undefined,
}

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'raft-log-'))
})

afterEach(() => rm(directory, { recursive: true, force: true }))

describe.each([
  ['LevelLogStore', () => new LevelLogStore({ directory })],
  ['MemoryLogStore', () => new MemoryLogStore()],
])('%s', (_, create) => {
  async function reopened(store: LogStore) {
    await store.close()
    return store.open(IDENTITY)
  }

  it('starts empty and keeps term, vote and entries', async () => {
    const store = create()
    expect(await store.open(IDENTITY)).toEqual({
      hardState: { term: 0, votedFor: undefined },
      base: { index: 0, term: 0 },
      entries: [],
    })
    const entries = entriesOf([1, 1, 2])
    const hardState = { term: 2, votedFor: 'b' }
    await store.write({ ...NOTHING, hardState, entries })
    const stored = await reopened(store)
    expect(stored.hardState).toEqual(hardState)
    expect(stored.entries.map(plain)).toEqual(entries.map(plain))
    await store.close()
  })

  it('truncates, compacts and resets in one write each', async () => {
    const store = create()
    await store.open(IDENTITY)
    const hardState = { term: 9, votedFor: undefined }
    await store.write({ ...NOTHING, hardState, entries: entriesOf([1, 1, 1, 1]) })
    await store.write({ ...NOTHING, truncateFrom: 3, entries: entriesOf([2, 2], 3) })
    await store.write({ ...NOTHING, compactTo: { index: 2, term: 1 } })
    let stored = await reopened(store)
    expect(stored.base).toEqual({ index: 2, term: 1 })
    expect(stored.entries.map((entry) => [entry.index, entry.term])).toEqual([
      [3, 2],
      [4, 2],
    ])
    await store.write({ ...NOTHING, reset: { index: 100, term: 3 }, entries: entriesOf([3], 101) })
    stored = await reopened(store)
    expect(stored.base).toEqual({ index: 100, term: 3 })
    expect(stored.entries.map((entry) => entry.index)).toEqual([101])
    await store.close()
  })

  it('belongs to one node', async () => {
    const store = create()
    await store.open(IDENTITY)
    await store.close()
    await expect(store.open({ ...IDENTITY, nodeId: 'b' })).rejects.toBeInstanceOf(LogIdentityError)
    await expect(store.open({ ...IDENTITY, clusterId: 'x' })).rejects.toBeInstanceOf(
      LogIdentityError,
    )
  })
})

function plain(entry: { index: number; term: number; kind: string; data: Uint8Array }) {
  return { ...entry, data: Buffer.from(entry.data).toString('hex') }
}

describe('LevelLogStore open', () => {
  /** Ten entries in ten writes, closed. */
  async function fill(): Promise<void> {
    const store = new LevelLogStore({ directory })
    await store.open(IDENTITY)
    const hardState = { term: 1, votedFor: 'b' }
    for (const entry of entriesOf(Array.from({ length: 10 }, () => 1))) {
      await store.write({ ...NOTHING, hardState, entries: [entry] })
    }
    await store.close()
  }

  /** Changes the database behind the store's back. */
  async function tamper(
    change: (db: ClassicLevel<string, Uint8Array>) => Promise<void>,
  ): Promise<void> {
    const db = new ClassicLevel<string, Uint8Array>(join(directory, 'log'), {
      valueEncoding: 'view',
    })
    await change(db)
    await db.close()
  }

  const open = (): Promise<unknown> => new LevelLogStore({ directory }).open(IDENTITY)
  const key = (index: number): string => `e:${index.toString(16).padStart(16, '0')}`

  it.each(['m:hard-state', 'm:bounds', 'm:identity', key(1), key(5), key(10)])(
    'finds a flipped bit in %s',
    async (damaged) => {
      await fill()
      await tamper(async (db) => {
        const value = await db.get(damaged)
        value![value!.length - 1]! ^= 4
        await db.put(damaged, value!)
      })
      await expect(open()).rejects.toBeInstanceOf(LogDamagedError)
    },
  )

  it.each(['m:hard-state', 'm:bounds', 'm:identity', key(1), key(5), key(10)])(
    'finds that %s is gone',
    async (missing) => {
      await fill()
      await tamper((db) => db.del(missing))
      await expect(open()).rejects.toBeInstanceOf(LogDamagedError)
    },
  )

  it('finds a valid record under the wrong key', async () => {
    await fill()
    await tamper(async (db) => db.put(key(5), (await db.get(key(6)))!))
    await expect(open()).rejects.toBeInstanceOf(LogDamagedError)
  })

  it('finds an entry beyond the end', async () => {
    await fill()
    await tamper(async (db) => db.put(key(11), (await db.get(key(10)))!))
    await expect(open()).rejects.toBeInstanceOf(LogDamagedError)
  })

  it('finds that synced writes at the end are gone, though the rest is sound', async () => {
    await fill()
    const wal = (await readdir(join(directory, 'log'))).find((name) => name.endsWith('.log'))
    const path = join(directory, 'log', wal!)
    const bytes = await readFile(path)
    // One flipped bit in the last record: LevelDB drops it without a word.
    bytes[bytes.length - 20]! ^= 1
    await writeFile(path, bytes)
    await expect(open()).rejects.toBeInstanceOf(LogDamagedError)
  })

  it('finds that the whole database, or the watermark, is gone', async () => {
    await fill()
    await copyFile(join(directory, 'watermark'), join(directory, 'kept'))
    await rm(join(directory, 'watermark'))
    await expect(open()).rejects.toBeInstanceOf(LogDamagedError)
    await copyFile(join(directory, 'kept'), join(directory, 'watermark'))
    await rm(join(directory, 'log'), { recursive: true })
    await expect(open()).rejects.toBeInstanceOf(LogDamagedError)
  })

  it('takes a sound log after all of these checks', async () => {
    await fill()
    const store = new LevelLogStore({ directory })
    expect((await store.open(IDENTITY)).entries).toHaveLength(10)
    await store.close()
  })
})
