/**
 * The disk of a simulated host: records as they would lie on the medium, each with its checksum, so that a
 * flipped bit is met by the same code as on a real one. Writes are whole or not there, as in LevelDB.
 */
import assert from 'node:assert'
import type { SnapshotMeta } from '../core/messages.ts'
import { LogDamagedError } from '../errors.ts'
import type { HardState, LogPosition, LogWrite, StoredLog } from '../ports/log-store.ts'
import {
  decodeEntry,
  decodeJsonRecord,
  encodeEntry,
  encodeJsonRecord,
  RecordDamagedError,
} from '../record.ts'

export interface StoredSnapshot {
  readonly meta: SnapshotMeta
  readonly state: string
}

export class SimulatedDisk {
  #hardState: Uint8Array = encodeJsonRecord({ term: 0, votedFor: null })
  #bounds: Uint8Array = encodeBounds({ index: 0, term: 0 }, 0)
  readonly #entries = new Map<number, Uint8Array>()
  #snapshot: Uint8Array | undefined
  /** What the records say, while none is damaged. */
  #content: StoredLog = {
    hardState: { term: 0, votedFor: undefined },
    base: { index: 0, term: 0 },
    entries: [],
  }
  #snapshotContent: StoredSnapshot | undefined

  /** What was written, whatever happened to the records since. For checks only. */
  get written(): StoredLog {
    return this.#content
  }

  get writtenSnapshot(): StoredSnapshot | undefined {
    return this.#snapshotContent
  }

  /** What LogStore.write promises. */
  write(write: LogWrite): void {
    let { base, entries } = this.#content
    if (write.reset !== undefined) {
      base = write.reset
      entries = []
      this.#entries.clear()
    }
    if (write.truncateFrom !== undefined) {
      entries = entries.slice(0, write.truncateFrom - base.index - 1)
      for (const index of this.#entries.keys()) {
        if (index >= write.truncateFrom) this.#entries.delete(index)
      }
    }
    const next = base.index + entries.length + 1
    assert.equal(write.entries[0]?.index ?? next, next, 'a write leaves a gap')
    entries = [...entries, ...write.entries]
    for (const entry of write.entries) this.#entries.set(entry.index, encodeEntry(entry))
    if (write.compactTo !== undefined) {
      entries = entries.slice(write.compactTo.index - base.index)
      base = write.compactTo
      for (const index of this.#entries.keys()) if (index <= base.index) this.#entries.delete(index)
    }
    const hardState = write.hardState ?? this.#content.hardState
    if (write.hardState !== undefined) {
      const { term, votedFor = null } = write.hardState
      this.#hardState = encodeJsonRecord({ term, votedFor })
    }
    this.#bounds = encodeBounds(base, base.index + entries.length)
    this.#content = { hardState, base, entries }
  }

  storeSnapshot(snapshot: StoredSnapshot): void {
    this.#snapshot = encodeJsonRecord(snapshot)
    this.#snapshotContent = snapshot
  }

  /** Whether an entry is durable here, in the log or under the snapshot. */
  holds(entry: { readonly index: number; readonly term: number | undefined }): boolean {
    const { base, entries } = this.#content
    const covered = Math.max(base.index, this.#snapshotContent?.meta.index ?? 0)
    return entry.index <= covered || entries[entry.index - base.index - 1]?.term === entry.term
  }

  /** One bit of one record, chosen by chance. */
  flipBit(random: () => number): void {
    const records = [this.#hardState, this.#bounds, ...this.#entries.values()]
    if (this.#snapshot !== undefined) records.push(this.#snapshot)
    const record = records[Math.floor(random() * records.length)]
    assert(record !== undefined, 'a disk has records')
    const at = Math.floor(random() * record.byteLength)
    record[at] = (record[at] ?? 0) ^ (1 << Math.floor(random() * 8))
  }

  /**
   * Reads and checks every record, as at the start of a process.
   * @throws LogDamagedError when any of it cannot be read, or no sound snapshot fits the log.
   */
  open(): { readonly stored: StoredLog; readonly snapshot: StoredSnapshot | undefined } {
    try {
      const { base, lastIndex } = decodeBounds(this.#bounds)
      const stored = {
        hardState: decodeHardState(this.#hardState),
        base,
        entries: Array.from({ length: lastIndex - base.index }, (_, at) => {
          const entry = decodeEntry(this.#entries.get(base.index + 1 + at) ?? new Uint8Array(0))
          if (entry.index === base.index + 1 + at) return entry
          throw new RecordDamagedError('an entry is out of place')
        }),
      }
      const snapshot = this.#openSnapshot(base.index)
      assert.deepEqual(stored.hardState, this.#content.hardState, 'damage was not noticed')
      assert.equal(stored.entries.length, this.#content.entries.length, 'damage was not noticed')
      return { stored, snapshot }
    } catch (error) {
      if (!(error instanceof RecordDamagedError)) throw error
      throw new LogDamagedError('the disk cannot be read', { cause: error })
    }
  }

  /** A damaged snapshot is passed over while the log still holds everything. */
  #openSnapshot(baseIndex: number): StoredSnapshot | undefined {
    if (this.#snapshot === undefined) return undefined
    try {
      return decodeJsonRecord(this.#snapshot) as unknown as StoredSnapshot
    } catch (error) {
      if (baseIndex > 0) throw error
      this.#snapshot = undefined
      this.#snapshotContent = undefined
      return undefined
    }
  }
}

function encodeBounds(base: LogPosition, lastIndex: number): Uint8Array {
  return encodeJsonRecord({ base, lastIndex })
}

function decodeBounds(record: Uint8Array): { base: LogPosition; lastIndex: number } {
  return decodeJsonRecord(record) as unknown as { base: LogPosition; lastIndex: number }
}

function decodeHardState(record: Uint8Array): HardState {
  const { term, votedFor } = decodeJsonRecord(record) as { term: number; votedFor: string | null }
  return { term, votedFor: votedFor ?? undefined }
}
