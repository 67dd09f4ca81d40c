/** What a SnapshotStore must do: a snapshot is complete and verified, or it does not exist. */
import { createHash } from 'node:crypto'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { SnapshotMeta } from '../core/messages.ts'
import { SnapshotDamagedError } from '../errors.ts'
import type { SnapshotPosition, SnapshotStore } from '../ports/snapshot-store.ts'

export interface SnapshotStoreUnderTest {
  /** Places can flip bits: damage is tried. Not for stores that keep nothing at rest. */
  readonly isDamageable: boolean
  /** A new place with no data. */
  create(): Promise<SnapshotStorePlace>
}

export interface SnapshotStorePlace {
  /** A store over the data of this place; the suite opens it. */
  store(): SnapshotStore
  /** Flips one bit of the data at rest, at this fraction [0, 1) of it; false when there is none. */
  flipBit?(fraction: number): Promise<boolean>
  dispose(): Promise<void>
}

export function describeSnapshotStore(name: string, underTest: SnapshotStoreUnderTest): void {
  describe(`${name} as a snapshot store`, () => {
    let place: SnapshotStorePlace
    let store: SnapshotStore

    beforeEach(async () => {
      place = await underTest.create()
      store = await opened()
    })
    afterEach(() => place.dispose())

    async function opened(): Promise<SnapshotStore> {
      const next = place.store()
      await next.open()
      return next
    }

    const listed = async (): Promise<number[]> => (await store.list()).map(({ index }) => index)

    it('is empty at first', async () => {
      expect(await store.list()).toEqual([])
    })

    it.each([
      ['no byte', []],
      ['one chunk', [bytesOf(10)]],
      ['many chunks of odd sizes', [bytesOf(1), bytesOf(70_000), bytesOf(0), bytesOf(300_001)]],
      ['more than a megabyte in one chunk', [bytesOf(1_500_000)]],
    ])('keeps a snapshot of %s, described by its length and hash', async (_name, chunks) => {
      const whole = Buffer.concat(chunks)
      const meta = await store.create(position(7), from(chunks))
      const expected = { ...position(7), bytes: whole.byteLength, sha256: hashOf(whole) }
      expect(meta).toEqual(expected)
      store = await opened()
      expect(await store.list()).toEqual([expected])
      expect(hashOf(await read(store, meta))).toBe(expected.sha256)
    })

    it('keeps the members with their roles, and their configuration', async () => {
      const members = [
        { id: 'a', address: 'a:1' },
        { id: 'b', address: 'b:1', role: 'learner' as const },
      ]
      await store.create({ index: 9, term: 2, members, configurationIndex: 4 }, from([bytesOf(3)]))
      store = await opened()
      expect(await store.list()).toMatchObject([{ members, configurationIndex: 4 }])
    })

    it('lists the newest first, and retains as many as it is told', async () => {
      for (const index of [5, 300, 20]) await store.create(position(index), from([bytesOf(index)]))
      expect(await listed()).toEqual([300, 20, 5])
      await store.retain(2)
      expect(await listed()).toEqual([300, 20])
      store = await opened()
      expect(await listed()).toEqual([300, 20])
      await store.retain(5)
      expect(await listed()).toEqual([300, 20])
    })

    it('refuses bytes that are not those which were announced, and lists nothing of them', async () => {
      const content = bytesOf(1_000)
      const proof = { bytes: content.byteLength, sha256: hashOf(content) }
      const altered = new Uint8Array(content)
      altered[500] = (altered[500] ?? 0) ^ 1
      const wrong = [[altered], [content.subarray(0, 999)], [content, bytesOf(1)], []]
      for (const chunks of wrong) {
        const creating = store.create(position(7), from(chunks), proof)
        await expect(creating).rejects.toBeInstanceOf(SnapshotDamagedError)
      }
      expect(await listed()).toEqual([])
      await store.create(position(7), from([content]), proof)
      expect(await listed()).toEqual([7])
    })

    it('lists nothing of a snapshot whose chunks fail, and passes the error on', async () => {
      const failure = new Error('the stream broke')
      async function* failing(): AsyncGenerator<Uint8Array> {
        yield bytesOf(100_000)
        throw failure
      }
      await store.create(position(3), from([bytesOf(5)]))
      await expect(store.create(position(7), failing())).rejects.toBe(failure)
      expect(await listed()).toEqual([3])
      store = await opened()
      expect(await listed()).toEqual([3])
    })

    it('lists nothing of a snapshot that was never finished', async () => {
      let isWaiting: () => void = () => undefined
      const waiting = new Promise<void>((resolve) => {
        isWaiting = resolve
      })
      let crash: (error: Error) => void = () => undefined
      async function* endless(): AsyncGenerator<Uint8Array> {
        yield bytesOf(100_000)
        isWaiting()
        await new Promise((_, reject) => {
          crash = reject
        })
      }
      const creating = store.create(position(7), endless()).catch((error: unknown) => error)
      await waiting
      expect(await listed()).toEqual([])
      // As after a crash: another store over the same place.
      store = await opened()
      expect(await listed()).toEqual([])
      await store.create(position(7), from([bytesOf(9)]))
      expect(await listed()).toEqual([7])
      crash(new Error('the end of the test'))
      await creating
    })

    it('gives one snapshot to several readers at once', async () => {
      const content = bytesOf(600_000)
      const meta = await store.create(position(7), from([content]))
      const reads = await Promise.all([read(store, meta), read(store, meta), read(store, meta)])
      expect(reads.map(hashOf)).toEqual([meta.sha256, meta.sha256, meta.sha256])
    })

    it('fails to read a snapshot that is gone', async () => {
      const meta = await store.create(position(7), from([bytesOf(10)]))
      await store.create(position(8), from([bytesOf(10)]))
      await store.retain(1)
      await expect(read(store, meta)).rejects.toBeInstanceOf(Error)
    })

    if (!underTest.isDamageable) return
    it('never gives damaged bytes for sound ones', async () => {
      let found = 0
      for (let at = 0; at < 16; at += 1) {
        await place.dispose()
        place = await underTest.create()
        store = await opened()
        const created = await store.create(position(7), from([bytesOf(2_000)]))
        expect(await place.flipBit?.(at / 16)).toBe(true)
        store = await opened()
        const [meta] = await store.list()
        if (meta === undefined) {
          found += 1
          continue
        }
        const outcome = await read(store, meta).catch((error: unknown) => error)
        if (outcome instanceof SnapshotDamagedError) found += 1
        else
          expect({ meta, hash: hashOf(outcome as Uint8Array) }).toEqual({
            meta: created,
            hash: created.sha256,
          })
      }
      expect(found).toBeGreaterThan(0)
    })
  })
}

function position(index: number): SnapshotPosition {
  return { index, term: 2, members: [{ id: 'a', address: 'a:1' }], configurationIndex: 1 }
}

function bytesOf(length: number): Uint8Array {
  return Uint8Array.from({ length }, (_, at) => (at * 31 + length) % 251)
}

async function* from(chunks: readonly Uint8Array[]): AsyncGenerator<Uint8Array> {
  yield* chunks
}

async function read(store: SnapshotStore, meta: SnapshotMeta): Promise<Uint8Array> {
  const parts: Uint8Array[] = []
  for await (const chunk of store.read(meta)) parts.push(chunk)
  return Buffer.concat(parts)
}

function hashOf(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('hex')
}
