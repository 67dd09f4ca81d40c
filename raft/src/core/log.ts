/**
 * The log as the core sees it: all entries since the base, in memory, and how far they are durable,
 * committed and applied. It plans writes; the driver carries one out at a time.
 *
 *   base <= applied <= min(commit, stable)    stable, commit <= last
 */
import assert from 'node:assert'
import type { LogPosition, LogWrite, StoredLog } from '../ports/log-store.ts'
import type { LogEntry } from './messages.ts'

/** The part of a write that the log plans; the election state is added by the node. */
export type LogChange = Omit<LogWrite, 'hardState'>

export const ENTRY_OVERHEAD_BYTES = 24

export class RaftLog {
  #base: LogPosition
  #entries: LogEntry[]
  #commitIndex: number
  #appliedIndex: number
  /** Durable here up to this index. */
  #stableIndex: number
  /** The next entry to hand to a write. */
  #saveFrom: number
  #pendingReset: LogPosition | undefined
  #pendingTruncate: number | undefined
  #pendingCompact: LogPosition | undefined
  /** What the running write makes durable; lowered when part of it is overwritten meanwhile. */
  #writing: { lastIndex: number } | undefined

  constructor(stored: StoredLog) {
    this.#base = stored.base
    this.#entries = [...stored.entries]
    this.#commitIndex = stored.base.index
    this.#appliedIndex = stored.base.index
    this.#stableIndex = this.lastIndex
    this.#saveFrom = this.lastIndex + 1
  }

  get baseIndex(): number {
    return this.#base.index
  }

  get firstIndex(): number {
    return this.#base.index + 1
  }

  get lastIndex(): number {
    return this.#base.index + this.#entries.length
  }

  get lastTerm(): number {
    return this.#entries.at(-1)?.term ?? this.#base.term
  }

  get commitIndex(): number {
    return this.#commitIndex
  }

  get appliedIndex(): number {
    return this.#appliedIndex
  }

  get stableIndex(): number {
    return this.#stableIndex
  }

  /** Undefined for what was compacted or is not there. */
  termAt(index: number): number | undefined {
    if (index === this.#base.index) return this.#base.term
    return this.entryAt(index)?.term
  }

  entryAt(index: number): LogEntry | undefined {
    return this.#entries[index - this.firstIndex]
  }

  /** Entries from an index on: at least one if there is any, then as many as fit. */
  slice(from: number, bytesMax: number): readonly LogEntry[] {
    assert(from >= this.firstIndex, `index ${from} was compacted`)
    const start = from - this.firstIndex
    let end = start
    let bytes = 0
    while (end < this.#entries.length) {
      bytes += entryBytes(this.#entries[end])
      if (end > start && bytes > bytesMax) break
      end += 1
    }
    return this.#entries.slice(start, end)
  }

  /** Whether a log that ends so holds at least all that this one does. (Raft section 5.4.1) */
  isUpToDate(lastLogIndex: number, lastLogTerm: number): boolean {
    if (lastLogTerm !== this.lastTerm) return lastLogTerm > this.lastTerm
    return lastLogIndex >= this.lastIndex
  }

  /** The highest index not above `index` whose term is not above `term`: the logs may agree there. */
  findAgreement(index: number, term: number): LogPosition {
    let at = Math.min(index, this.lastIndex)
    while (at > this.#base.index && (this.termAt(at) ?? 0) > term) at -= 1
    return at < this.#base.index
      ? { index: at, term: 0 }
      : { index: at, term: this.termAt(at) ?? 0 }
  }

  append(entry: LogEntry): void {
    assert.equal(entry.index, this.lastIndex + 1, 'an append leaves a gap')
    assert(entry.term >= this.lastTerm, 'an append lowers the term')
    this.#entries.push(entry)
  }

  /**
   * Takes a leader's entries, whose predecessor is known to match. Truncates only at a real conflict
   * of terms, never what is committed. Returns the entries that were new.
   */
  merge(entries: readonly LogEntry[]): readonly LogEntry[] {
    const firstNew = entries.findIndex((entry) => this.termAt(entry.index) !== entry.term)
    if (firstNew < 0) return []
    const added = entries.slice(firstNew)
    const from = added[0]?.index ?? this.lastIndex + 1
    if (from <= this.lastIndex) this.#truncateFrom(from)
    for (const entry of added) this.append(entry)
    return added
  }

  #truncateFrom(index: number): void {
    assert(index > this.#commitIndex, `entry ${index} is committed and must not be overwritten`)
    this.#entries.length = index - this.firstIndex
    this.#stableIndex = Math.min(this.#stableIndex, index - 1)
    if (this.#writing !== undefined) {
      this.#writing.lastIndex = Math.min(this.#writing.lastIndex, index - 1)
    }
    if (index >= this.#saveFrom) return
    this.#saveFrom = index
    this.#pendingTruncate = Math.min(this.#pendingTruncate ?? index, index)
  }

  /** Returns whether it advanced. */
  commitTo(index: number): boolean {
    if (index <= this.#commitIndex) return false
    assert(index <= this.lastIndex, `commit of ${index} is beyond the last entry ${this.lastIndex}`)
    this.#commitIndex = index
    return true
  }

  /** Entries that are committed and durable here and not applied, in order. */
  nextCommitted(countMax: number): readonly LogEntry[] {
    const until = Math.min(this.#commitIndex, this.#stableIndex, this.#appliedIndex + countMax)
    if (until <= this.#appliedIndex) return []
    const start = this.#appliedIndex + 1 - this.firstIndex
    return this.#entries.slice(start, until + 1 - this.firstIndex)
  }

  appliedTo(index: number): void {
    assert(index >= this.#appliedIndex && index <= this.#commitIndex, 'applied out of order')
    this.#appliedIndex = index
  }

  /**
   * The state machine now stands at a snapshot. Entries behind it are kept only if the log agrees with
   * it; if the term at its index differs, or it is beyond the end, the whole log goes. (Raft figure 13)
   */
  restore(position: LogPosition): void {
    assert(position.index >= this.#appliedIndex, 'a snapshot must not take the state back')
    if (this.termAt(position.index) !== position.term) {
      assert(position.index > this.#commitIndex, 'a snapshot contradicts the committed log')
      this.#reset(position)
    }
    this.#commitIndex = Math.max(this.#commitIndex, position.index)
    this.#appliedIndex = position.index
  }

  #reset(position: LogPosition): void {
    this.#base = position
    this.#entries = []
    this.#stableIndex = 0
    if (this.#writing !== undefined) this.#writing.lastIndex = 0
    this.#saveFrom = position.index + 1
    this.#pendingReset = position
    this.#pendingTruncate = undefined
    this.#pendingCompact = undefined
  }

  /** Forgets entries up to an applied index that a verified snapshot covers. */
  compactTo(index: number): void {
    assert(index <= this.#appliedIndex, 'only applied entries can be compacted')
    const term = this.termAt(index)
    if (index <= this.#base.index || term === undefined || index > this.#stableIndex) return
    this.#entries.splice(0, index - this.#base.index)
    this.#base = { index, term }
    this.#pendingCompact = this.#base
  }

  /** Whether the entries from this index on have so many bytes together. */
  fills(from: number, bytes: number): boolean {
    let sum = 0
    for (let index = from; index <= this.lastIndex; index += 1) {
      sum += entryBytes(this.entryAt(index))
      if (sum >= bytes) return true
    }
    return false
  }

  get hasChange(): boolean {
    return (
      this.#saveFrom <= this.lastIndex ||
      this.#pendingReset !== undefined ||
      this.#pendingTruncate !== undefined ||
      this.#pendingCompact !== undefined
    )
  }

  /** The next write. It must be reported by `written` before another is taken. */
  takeChange(bytesMax: number): LogChange {
    assert(this.#writing === undefined, 'one write at a time')
    const entries = this.slice(this.#saveFrom, bytesMax)
    const change: LogChange = {
      reset: this.#pendingReset,
      truncateFrom: this.#pendingTruncate,
      entries,
      compactTo: this.#pendingCompact,
    }
    this.#saveFrom += entries.length
    const resetTo = this.#pendingReset?.index ?? 0
    this.#writing = { lastIndex: Math.max(entries.at(-1)?.index ?? 0, resetTo) }
    this.#pendingReset = undefined
    this.#pendingTruncate = undefined
    this.#pendingCompact = undefined
    return change
  }

  written(): void {
    assert(this.#writing !== undefined, 'no write was taken')
    this.#stableIndex = Math.max(this.#stableIndex, this.#writing.lastIndex)
    this.#writing = undefined
  }

  /** The newest entry of kind `configuration` at or before an index. */
  configurationAt(index: number): LogEntry | undefined {
    for (let at = Math.min(index, this.lastIndex); at > this.#base.index; at -= 1) {
      const entry = this.entryAt(at)
      if (entry?.kind === 'configuration') return entry
    }
    return undefined
  }
}

export function entryBytes(entry: LogEntry | undefined): number {
  return entry === undefined ? 0 : entry.data.byteLength + ENTRY_OVERHEAD_BYTES
}
