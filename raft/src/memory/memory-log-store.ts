/**
 * The log in memory: what was written survives close and open of the same object. A test can hold a
 * write before it becomes durable, and crash() loses what is held, as a power loss would.
 */
import assert from 'node:assert'
import type { LogEntry } from '../core/messages.ts'
import { LogIdentityError } from '../errors.ts'
import type {
  HardState,
  LogIdentity,
  LogPosition,
  LogStore,
  LogWrite,
  StoredLog,
} from '../ports/log-store.ts'

export interface MemoryLogStoreOptions {
  /** Awaited by each write before it becomes durable. A rejection fails the write and the store. */
  readonly beforeSync?: () => Promise<void>
}

export class MemoryLogStore implements LogStore {
  readonly #beforeSync: () => Promise<void>
  #identity: LogIdentity | undefined
  #hardState: HardState = { term: 0, votedFor: undefined }
  #base: LogPosition = { index: 0, term: 0 }
  #entries: LogEntry[] = []
  /** A write of an earlier life must not reach this one. */
  #life = 0
  #isOpen = false

  constructor(options: MemoryLogStoreOptions = {}) {
    this.#beforeSync = options.beforeSync ?? (() => Promise.resolve())
  }

  async open(identity: LogIdentity): Promise<StoredLog> {
    this.#identity ??= identity
    const { clusterId, nodeId } = this.#identity
    if (clusterId !== identity.clusterId || nodeId !== identity.nodeId) {
      throw new LogIdentityError(`the log belongs to node ${nodeId} of cluster ${clusterId}`)
    }
    this.#life += 1
    this.#isOpen = true
    return { hardState: this.#hardState, base: this.#base, entries: [...this.#entries] }
  }

  async write(write: LogWrite): Promise<void> {
    const life = this.#life
    await this.#beforeSync()
    if (!this.#isOpen || life !== this.#life) throw new Error('the log store is closed')
    if (write.hardState !== undefined) this.#hardState = write.hardState
    if (write.reset !== undefined) {
      this.#base = write.reset
      this.#entries = []
    }
    if (write.truncateFrom !== undefined) this.#dropFrom(write.truncateFrom)
    for (const entry of write.entries) {
      assert.equal(entry.index, this.#base.index + this.#entries.length + 1, 'a write leaves a gap')
      this.#entries.push(entry)
    }
    if (write.compactTo !== undefined) {
      this.#entries.splice(0, write.compactTo.index - this.#base.index)
      this.#base = write.compactTo
    }
  }

  #dropFrom(index: number): void {
    const kept = index - this.#base.index - 1
    assert(kept >= 0 && kept <= this.#entries.length, 'a truncation beyond the log')
    this.#entries.length = kept
  }

  /** Everything that is not durable is lost; open() finds the rest. */
  crash(): void {
    this.#isOpen = false
    this.#life += 1
  }

  async close(): Promise<void> {
    this.#isOpen = false
  }
}
