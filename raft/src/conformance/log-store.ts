/** What a LogStore must do: the log, and term and vote as one record, whole and checked at each open. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { LogEntry } from '../core/messages.ts'
import { LogDamagedError, LogIdentityError } from '../errors.ts'
import type { HardState, LogPosition, LogStore, LogWrite, StoredLog } from '../ports/log-store.ts'
import { seededRandom } from '../testing/random.ts'

export interface LogStoreUnderTest {
  /** Places can flip bits: damage is tried. Not for stores that keep nothing at rest. */
  readonly isDamageable: boolean
  /** A new place with no data. */
  create(): Promise<LogStorePlace>
}

export interface LogStorePlace {
  /** A store over the data of this place. The suite opens and closes it; one at a time. */
  store(): LogStore
  /**
   * Flips one bit of the data at rest, at this fraction [0, 1) of it, no store being open; false when
   * there is no data.
   */
  flipBit?(fraction: number): Promise<boolean>
  /** Removes all data. */
  dispose(): Promise<void>
}

const IDENTITY = { clusterId: 'conformance', nodeId: 'a' }
export const NOTHING: LogWrite = {
  hardState: undefined,
  reset: undefined,
  truncateFrom: undefined,
  entries: [],
  compactTo: undefined,
}

export function describeLogStore(name: string, underTest: LogStoreUnderTest): void {
  describe(`${name} as a log store`, () => {
    let place: LogStorePlace
    let opened: LogStore | undefined

    beforeEach(async () => {
      place = await underTest.create()
    })
    afterEach(async () => {
      await opened?.close()
      opened = undefined
      await place.dispose()
    })

    async function open(): Promise<{ store: LogStore; stored: StoredLog }> {
      await opened?.close()
      const store = place.store()
      opened = store
      return { store, stored: await store.open(IDENTITY) }
    }

    const write = (change: Partial<LogWrite>): LogWrite => ({ ...NOTHING, ...change })

    it('is empty at first: term 0, no vote, no entry', async () => {
      const { stored } = await open()
      expect(plain(stored)).toEqual(plain(EMPTY))
      expect(plain((await open()).stored)).toEqual(plain(EMPTY))
    })

    it('keeps entries of every kind and size as they are', async () => {
      const { store } = await open()
      const everyByte = Uint8Array.from({ length: 256 }, (_, at) => at)
      const entries: LogEntry[] = [
        { index: 1, term: 1, kind: 'configuration', data: everyByte },
        { index: 2, term: 1, kind: 'no-op', data: new Uint8Array(0) },
        { index: 3, term: 1, kind: 'command', data: new Uint8Array(3 * 1024 * 1024).fill(0xa5) },
        { index: 4, term: 2, kind: 'state-check', data: new Uint8Array(0) },
        { index: 5, term: 2 ** 40, kind: 'state-verdict', data: everyByte.subarray(100, 110) },
      ]
      const hardState = { term: 2 ** 40, votedFor: 'b' }
      await store.write(write({ hardState, entries }))
      const { stored } = await open()
      expect(plain(stored)).toEqual(plain({ ...EMPTY, hardState, entries }))
    })

    it('keeps term and vote as one record, with or without entries', async () => {
      const { store } = await open()
      await store.write(write({ hardState: { term: 4, votedFor: 'b' } }))
      await store.write(write({ hardState: { term: 5, votedFor: undefined } }))
      // Not the vote of term 4 in term 5.
      expect((await open()).stored.hardState).toEqual({ term: 5, votedFor: undefined })
      const again = await open()
      await again.store.write(write({ entries: [entry(1, 5)] }))
      await again.store.write(
        write({ hardState: { term: 6, votedFor: 'ü/"\\' }, entries: [entry(2, 6)] }),
      )
      const { stored } = await open()
      expect(stored.hardState).toEqual({ term: 6, votedFor: 'ü/"\\' })
      expect(stored.entries).toHaveLength(2)
    })

    it('carries out the parts of a write in their order', async () => {
      const { store } = await open()
      const hardState = { term: 9, votedFor: undefined }
      await store.write(write({ hardState, entries: [1, 2, 3, 4].map((index) => entry(index, 1)) }))
      await store.write(write({ truncateFrom: 3, entries: [entry(3, 2), entry(4, 2)] }))
      await store.write(write({ compactTo: { index: 2, term: 1 } }))
      expect(plain((await open()).stored)).toEqual(
        plain({ hardState, base: { index: 2, term: 1 }, entries: [entry(3, 2), entry(4, 2)] }),
      )
      const again = await open()
      await again.store.write(
        write({
          reset: { index: 100, term: 3 },
          entries: [entry(101, 3), entry(102, 3)],
          compactTo: { index: 101, term: 3 },
        }),
      )
      expect(plain((await open()).stored)).toEqual(
        plain({ hardState, base: { index: 101, term: 3 }, entries: [entry(102, 3)] }),
      )
    })

    it('belongs to one node of one cluster', async () => {
      await open()
      await opened?.close()
      for (const other of [
        { ...IDENTITY, nodeId: 'b' },
        { ...IDENTITY, clusterId: 'x' },
      ]) {
        const store = place.store()
        await expect(store.open(other)).rejects.toBeInstanceOf(LogIdentityError)
        await store.close()
      }
      expect(plain((await open()).stored)).toEqual(plain(EMPTY))
    })

    it('closes after the running write, may be closed twice, and then takes no write', async () => {
      const { store } = await open()
      const hardState = { term: 1, votedFor: 'a' }
      const writing = store.write(write({ hardState, entries: [entry(1, 1)] }))
      const outcome = writing.then(
        () => true,
        () => false,
      )
      await store.close()
      await store.close()
      await expect(store.write(write({ entries: [entry(2, 1)] }))).rejects.toBeInstanceOf(Error)
      const wasWritten = await outcome
      const { stored } = await open()
      // What was reported done is there; a write that was refused is there as a whole or not at all.
      if (wasWritten) expect(stored.entries).toHaveLength(1)
      expect(stored.entries.length).toBe(stored.hardState.term)
    })

    it('gives what a simple model of it gives, over random writes and opens', async () => {
      for (const seed of [1, 2, 3]) {
        const random = seededRandom(seed)
        let { store, stored } = await open()
        let model: StoredLog = stored
        for (let step = 0; step < 40; step += 1) {
          const change = randomWrite(model, random)
          await store.write(change)
          model = applied(model, change)
          if (random() < 0.25) {
            ;({ store, stored } = await open())
            expect(plain(stored), `seed ${seed} step ${step}`).toEqual(plain(model))
          }
        }
      }
    })

    if (!underTest.isDamageable) return
    it('never gives a damaged log for a sound one, or a shorter one', async () => {
      let found = 0
      for (let at = 0; at < 24; at += 1) {
        await opened?.close()
        await place.dispose()
        place = await underTest.create()
        const { store } = await open()
        const hardState = { term: 1, votedFor: 'b' }
        let model: StoredLog = { ...EMPTY, hardState }
        for (let index = 1; index <= 12; index += 1) {
          const change = write({ hardState, entries: [entry(index, 1)] })
          await store.write(change)
          model = applied(model, change)
        }
        await store.close()
        expect(await place.flipBit?.(at / 24)).toBe(true)
        const damaged = place.store()
        const outcome = await damaged.open(IDENTITY).catch((error: unknown) => error)
        await damaged.close()
        opened = undefined
        if (outcome instanceof LogDamagedError) found += 1
        // A bit that nothing depends on may be flipped unnoticed; then all is there.
        else expect(plain(outcome as StoredLog), `bit at ${at}/24`).toEqual(plain(model))
      }
      expect(found).toBeGreaterThan(0)
    }, 60_000)
  })
}

const EMPTY: StoredLog = {
  hardState: { term: 0, votedFor: undefined },
  base: { index: 0, term: 0 },
  entries: [],
}

function entry(index: number, term: number): LogEntry {
  return { index, term, kind: 'command', data: new TextEncoder().encode(`${index}/${term}`) }
}

/** Bytes compare by value whatever view they come in. */
function plain({ hardState, base, entries }: StoredLog): unknown {
  return {
    hardState: { ...hardState },
    base: { ...base },
    entries: entries.map(({ index, term, kind, data }) => ({
      index,
      term,
      kind,
      bytes: data.byteLength,
      data: Buffer.from(data).toString('base64').slice(0, 400),
      tail: Buffer.from(data.subarray(-100)).toString('base64'),
    })),
  }
}

/** What LogStore.write promises, on a value. */
export function applied({ hardState, base, entries }: StoredLog, write: LogWrite): StoredLog {
  let kept: readonly LogEntry[] = write.reset === undefined ? entries : []
  let from: LogPosition = write.reset ?? base
  if (write.truncateFrom !== undefined) kept = kept.slice(0, write.truncateFrom - from.index - 1)
  kept = [...kept, ...write.entries]
  if (write.compactTo !== undefined) {
    kept = kept.slice(write.compactTo.index - from.index)
    from = write.compactTo
  }
  return { hardState: write.hardState ?? hardState, base: from, entries: kept }
}

function randomWrite({ hardState, base, entries }: StoredLog, random: () => number): LogWrite {
  const below = (bound: number): number => Math.floor(random() * bound)
  const term = hardState.term + below(2)
  const vote = (): HardState => ({ term, votedFor: random() < 0.5 ? 'b' : undefined })
  const reset =
    random() < 0.05 ? { index: base.index + entries.length + 1 + below(5), term } : undefined
  const lastIndex = base.index + entries.length
  const truncateFrom =
    reset === undefined && entries.length > 0 && random() < 0.25
      ? lastIndex - below(entries.length)
      : undefined
  const firstNew = (reset?.index ?? (truncateFrom === undefined ? lastIndex : truncateFrom - 1)) + 1
  const added = Array.from({ length: below(5) }, (_, at) => entry(firstNew + at, term))
  const change = {
    ...NOTHING,
    hardState: term > hardState.term || random() < 0.3 ? vote() : undefined,
    reset,
    truncateFrom,
    entries: added,
  }
  const after = applied({ hardState, base, entries }, change)
  const compacted = random() < 0.2 ? after.entries[below(after.entries.length)] : undefined
  if (compacted === undefined) return change
  return { ...change, compactTo: { index: compacted.index, term: compacted.term } }
}
