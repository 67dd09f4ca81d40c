import { mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { SnapshotDamagedError } from '../errors.ts'
import { MemorySnapshotStore } from '../memory/memory-snapshot-store.ts'
import { FileSnapshotStore } from './file-snapshot-store.ts'

let directory: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'raft-snapshots-'))
})

afterEach(() => rm(directory, { recursive: true, force: true }))

const MEMBERS = [{ id: 'a', address: 'x' }]
const CONTENT = Buffer.alloc(700_000, 'snapshot')

async function* chunked(content: Uint8Array, size = 100_000): AsyncGenerator<Uint8Array> {
  for (let at = 0; at < content.byteLength; at += size) yield content.subarray(at, at + size)
}

async function* broken(): AsyncGenerator<Uint8Array> {
  yield CONTENT.subarray(0, 10)
  throw new Error('the stream broke')
}

async function readAll(chunks: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const parts: Uint8Array[] = []
  for await (const chunk of chunks) parts.push(chunk)
  return Buffer.concat(parts)
}

describe.each([
  ['FileSnapshotStore', () => new FileSnapshotStore({ directory })],
  ['MemorySnapshotStore', () => new MemorySnapshotStore()],
])('%s', (_, create) => {
  it('gives back roles and the index of the configuration', async () => {
    const store = create()
    await store.open()
    const members = [...MEMBERS, { id: 'b', address: 'y', role: 'learner' } as const]
    const position = { index: 9, term: 2, members, configurationIndex: 7 }
    await store.create(position, chunked(CONTENT))
    expect((await store.list())[0]).toMatchObject(position)
  })

  it('gives back what it was given, newest first', async () => {
    const store = create()
    await store.open()
    for (const index of [5, 300, 20]) {
      await store.create({ index, term: 2, members: MEMBERS }, chunked(CONTENT))
    }
    const list = await store.list()
    expect(list.map((meta) => meta.index)).toEqual([300, 20, 5])
    expect(list[0]).toMatchObject({ term: 2, members: MEMBERS, bytes: CONTENT.byteLength })
    expect((await readAll(store.read(list[0]!))).equals(CONTENT)).toBe(true)
    await store.retain(2)
    expect((await store.list()).map((meta) => meta.index)).toEqual([300, 20])
  })

  it('keeps nothing of a broken stream or of other bytes than announced', async () => {
    const store = create()
    await store.open()
    const position = { index: 5, term: 2, members: MEMBERS }
    await expect(store.create(position, broken())).rejects.toThrow('the stream broke')
    const proof = { bytes: CONTENT.byteLength, sha256: '0'.repeat(64) }
    await expect(store.create(position, chunked(CONTENT), proof)).rejects.toBeInstanceOf(
      SnapshotDamagedError,
    )
    expect(await store.list()).toEqual([])
  })
})

describe('FileSnapshotStore', () => {
  it.each([0, 350_000, 699_999])('finds a flipped bit at byte %i', async (at) => {
    const store = new FileSnapshotStore({ directory })
    await store.open()
    const meta = await store.create({ index: 5, term: 2, members: MEMBERS }, chunked(CONTENT))
    const [name] = await readdir(directory)
    const bytes = await readFile(join(directory, name!))
    bytes[at]! ^= 1
    await writeFile(join(directory, name!), bytes)
    await expect(readAll(store.read(meta))).rejects.toBeInstanceOf(SnapshotDamagedError)
  })

  it('does not list a file that is cut short, and removes unfinished ones', async () => {
    const store = new FileSnapshotStore({ directory })
    await store.open()
    await store.create({ index: 5, term: 2, members: MEMBERS }, chunked(CONTENT))
    const [name] = await readdir(directory)
    const bytes = await readFile(join(directory, name!))
    await writeFile(join(directory, name!), bytes.subarray(0, bytes.byteLength - 1))
    await writeFile(join(directory, 'x.unfinished'), 'x')
    await store.open()
    expect(await store.list()).toEqual([])
    expect(await readdir(directory)).toEqual([name])
  })
})
