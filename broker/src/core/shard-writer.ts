/**
 * The one writer of an owned shard: collects appends and key changes, commits them together, one commit in
 * flight, the rest waiting for the next (group commit). Assigns offsets when a record is handed in.
 *
 * An unknown outcome is never taken for a failure: the shard is opened again at the same epoch and the same
 * commit is repeated under its number, until storage answers or says that another owner has the shard.
 * What is staged is visible to nobody before its `onCommit` callbacks have run.
 */

import type { CommitRequest, NewRecord, Operation, StorageAdapter } from '@robust/storage-adapters'
import {
  encodeRecordBatch,
  nextOffset,
  StorageError,
  setBaseOffset,
  setLeaderEpoch,
} from '@robust/storage-adapters'
import { BrokerError } from './errors.ts'
import { COMMIT_BYTES_MAX, COMMIT_OPERATIONS_MAX } from './limits.ts'
import type { Clock } from './ports/clock.ts'

export interface ShardWriterOptions {
  readonly shard: number
  readonly epoch: number
  readonly owner: string
  readonly storage: StorageAdapter
  readonly clock: Clock
  /** Called once: this broker must drop all state of the shard. */
  readonly onLost: (reason: LostReason, error: Error) => void
  /** What a commit took that is of no background task, ms. */
  readonly onLatency?: (ms: number) => void
  readonly onStorage?: (state: StorageState, error?: Error) => void
}

export type StorageState = 'accepting' | 'full' | 'unavailable'

export type LostReason = 'fenced' | 'data-loss'

export type CommitOutcome = 'committed' | 'lost'
/** `unkept`: all is well, but a limit kept it from being stored. `full`: the queue takes no more, and must be asked again. */
export type PlaceOutcome = CommitOutcome | 'unkept' | 'full'

/** Records that will share a batch, or a batch as it is. */
interface StagedBatch {
  readonly base: number
  readonly records: NewRecord[]
  readonly batch: Uint8Array | undefined
}

interface Staged {
  operations: Operation[]
  appends: Map<string, StagedBatch[]>
  /** Logs in which batches are replaced, and logs that are cut: a commit does not do both to one. */
  readonly replaced: Set<string>
  readonly cut: Set<string>
  bytes: number
  count: number
  /** What is added when nothing else will be, by who adds it. */
  late: Map<object, () => readonly Operation[]>
  done: ((outcome: CommitOutcome) => void)[]
}

const RETRY_MS = 200

export class ShardWriter {
  readonly shard: number
  readonly epoch: number
  readonly #options: ShardWriterOptions
  readonly #ends = new Map<string, number>()
  /** Where logs were cut ahead of their turn. */
  readonly #freed = new Map<string, number>()
  #commitNumber = 0
  #incarnation = ''
  #queue: Staged[] = []
  #running = false
  #scheduled = false
  #lost = false
  #together = false
  /** Since the shard was opened here: commits, records and keys in them, and their bytes. */
  commits = 0
  operations = 0
  bytes = 0
  #idle: (() => void)[] = []

  constructor(options: ShardWriterOptions) {
    this.shard = options.shard
    this.epoch = options.epoch
    this.#options = options
  }

  /** Fences first, reads after. Rejects with the StorageError of the adapter. */
  async open(): Promise<void> {
    const { shard, epoch, owner, storage } = this.#options
    const opened = await storage.open({ shard, epoch, owner })
    this.#incarnation = opened.incarnation
    this.#commitNumber = opened.commitNumber
    for (const log of await storage.logs(shard)) this.#ends.set(log.log, log.endOffset)
  }

  get commitNumber(): number {
    return this.#commitNumber
  }

  get incarnation(): string {
    return this.#incarnation
  }

  get lost(): boolean {
    return this.#lost
  }

  /** Offset that the next record of the log will get. */
  endOf(log: string): number {
    return this.#ends.get(log) ?? 0
  }

  /** Every log of the shard, what is staged included. */
  logNames(): string[] {
    return [...this.#ends.keys()]
  }

  /** Stages a record; returns its offset. */
  append(log: string, record: NewRecord): number {
    const staged = this.#stage((record.value?.byteLength ?? 0) + 128)
    const offset = this.endOf(log)
    this.#ends.set(log, offset + 1)
    const batches = appendsOf(staged, log)
    const last = batches[batches.length - 1]
    if (last === undefined || last.batch !== undefined) {
      batches.push({ base: offset, records: [record], batch: undefined })
    } else {
      last.records.push(record)
    }
    return offset
  }

  /**
   * Stages one record batch, whose base offset and leader epoch are set in place; returns its base offset. The caller has
   * made it or verified its checksum, and does not change it any more.
   */
  appendBatch(log: string, batch: Uint8Array): number {
    const staged = this.#stage(batch.byteLength)
    const base = this.endOf(log)
    setBaseOffset(batch, base)
    setLeaderEpoch(batch, this.leaderEpoch)
    this.#ends.set(log, nextOffset(batch))
    appendsOf(staged, log).push({ base, records: [], batch })
    return base
  }

  /** Stored batches are exchanged for one that covers just their offsets. */
  replace(log: string, batch: Uint8Array): void {
    const staged = this.#stage(batch.byteLength, ({ cut }) => cut.has(log))
    staged.replaced.add(log)
    staged.operations.push({ kind: 'replace', log, batch })
  }

  /** The epoch as record batches carry it. */
  get leaderEpoch(): number {
    return this.epoch & 0x7fffffff
  }

  put(key: string, value: Uint8Array): void {
    this.#stage(value.byteLength + key.length).operations.push({ kind: 'put', key, value })
  }

  delete(key: string): void {
    this.#stage(key.length).operations.push({ kind: 'delete', key })
  }

  /** Deletes keys within [from, to). */
  deleteRange(from: string, to: string): void {
    this.#stage(from.length).operations.push({ kind: 'delete-range', from, to })
  }

  trim(log: string, beforeOffset: number): void {
    const staged = this.#stage(log.length, ({ replaced }) => replaced.has(log))
    staged.cut.add(log)
    staged.operations.push({ kind: 'trim', log, beforeOffset })
  }

  /** The log is gone and begins at 0 again, records staged just before included. */
  dropLog(log: string): void {
    const staged = this.#stage(log.length, ({ replaced }) => replaced.has(log))
    staged.cut.add(log)
    staged.appends.delete(log)
    staged.operations.push({ kind: 'drop-log', log })
    this.#ends.delete(log)
  }

  /** Whatever `change` stages, and adds late, is in one commit. It must not wait for anything. */
  transact(change: () => void): void {
    if (this.#together) {
      change()
      return
    }
    this.#stage(0)
    this.#together = true
    try {
      change()
    } finally {
      this.#together = false
    }
  }

  /**
   * Adds operations to the commit that collects now, made when it is closed: what changes many times is
   * stored once, as it is then. `by` adds once to a commit. Within `transact` only: else the commit may be
   * closed in the middle of a change.
   */
  late(by: object, make: () => readonly Operation[]): void {
    if (!this.#together) throw new Error('late operations belong to a transaction')
    this.#stage(0).late.set(by, make)
  }

  /** Runs `done` when everything staged so far is durable, or the shard is lost. */
  onCommit(done: (outcome: CommitOutcome) => void): void {
    if (this.#lost) {
      done('lost')
      return
    }
    const last = this.#queue[this.#queue.length - 1]
    if (last === undefined) done('committed')
    else last.done.push(done)
  }

  /** Resolves when nothing is staged or in flight any more, or the shard is lost. */
  drained(): Promise<void> {
    if (this.#queue.length === 0 || this.#lost) return Promise.resolve()
    return new Promise((resolve) => this.#idle.push(resolve))
  }

  /** Gives up: everything pending is told that the shard is lost. Idempotent. */
  abandon(): void {
    if (this.#lost) return
    this.#lost = true
    const queue = this.#queue
    this.#queue = []
    for (const staged of queue) for (const done of staged.done) done('lost')
    this.#wakeIdle()
  }

  /** What collects for the next commit; a new one when it is full or `clashes`. */
  #stage(bytes: number, clashes?: (staged: Staged) => boolean): Staged {
    let staged = this.#queue[this.#queue.length - 1]
    const inFlight = this.#running && this.#queue.length === 1
    const full =
      staged !== undefined &&
      (staged.count >= COMMIT_OPERATIONS_MAX || staged.bytes + bytes > COMMIT_BYTES_MAX)
    const mustSplit = full && !this.#together
    if (staged === undefined || inFlight || mustSplit || clashes?.(staged) === true) {
      if (staged !== undefined && !inFlight) seal(staged)
      staged = newStaged()
      if (!this.#lost) this.#queue.push(staged)
    }
    staged.bytes += bytes
    staged.count++
    this.#schedule()
    return staged
  }

  #schedule(): void {
    if (this.#scheduled || this.#running || this.#lost) return
    this.#scheduled = true
    this.#options.clock.defer(() => {
      this.#scheduled = false
      if (!this.#running) void this.#run()
    })
  }

  async #run(): Promise<void> {
    this.#running = true
    for (let staged = this.#queue[0]; staged !== undefined; staged = this.#queue[0]) {
      const committed = await this.#commit(staged)
      if (!committed || this.#lost) break
      this.#queue.shift()
      this.commits++
      this.operations += staged.count
      this.bytes += staged.bytes
      for (const done of staged.done) done('committed')
    }
    this.#running = false
    if (this.#queue.length === 0) this.#wakeIdle()
  }

  async #commit(staged: Staged): Promise<boolean> {
    seal(staged)
    const operations = staged.operations.concat(encodeAppends(staged, this.leaderEpoch))
    /** While there is no room only what frees some is tried in between. */
    let next: readonly Operation[] = operations
    let reopen = false
    const startedAtMs = this.#options.clock.nowMs()
    while (!this.#lost) {
      const commitNumber = this.#commitNumber + 1
      const { shard, epoch } = this
      const request: CommitRequest = { shard, epoch, commitNumber, operations: next }
      try {
        if (!reopen || !(await this.#reopen(commitNumber))) {
          await this.#options.storage.commit(request)
        }
        this.#commitNumber = commitNumber
        reopen = false
        if (next === operations) {
          const { onStorage, onLatency, clock } = this.#options
          onStorage?.('accepting')
          if (staged.replaced.size === 0) onLatency?.(clock.nowMs() - startedAtMs)
          return true
        }
        for (const cut of next) if (cut.kind === 'trim') this.#freed.set(cut.log, cut.beforeOffset)
        next = operations
      } catch (error) {
        if (!this.#retryable(error)) return false
        reopen = !isFull(error)
        const freeing = isFull(error) && next === operations ? this.#freeing() : []
        if (freeing.length > 0) {
          next = freeing
          continue
        }
        if (!reopen) next = operations
        await new Promise<void>((resolve) => this.#options.clock.after(RETRY_MS, resolve))
      }
    }
    return false
  }

  /**
   * Logs are cut ahead of what waits for room, since that may be what makes room. It does no harm: nobody wants
   * what is cut, whatever becomes of the rest, and it is cut once more in its turn.
   */
  #freeing(): Operation[] {
    const cuts = new Map<string, Operation>()
    for (const { operations } of this.#queue) {
      for (const operation of operations) {
        if (operation.kind !== 'trim') continue
        const isDone = this.#freed.get(operation.log) === operation.beforeOffset
        if (!isDone) cuts.set(operation.log, operation)
      }
    }
    // What is to be replaced must still be there in its turn.
    for (const { replaced } of this.#queue) for (const log of replaced) cuts.delete(log)
    return [...cuts.values()]
  }

  /** True: the commit whose outcome was unknown has been applied. */
  async #reopen(commitNumber: number): Promise<boolean> {
    const { shard, epoch, owner, storage } = this.#options
    const opened = await storage.open({ shard, epoch, owner })
    const joins = opened.commitNumber === commitNumber || opened.commitNumber === commitNumber - 1
    if (opened.incarnation !== this.#incarnation || !joins) {
      throw new StorageError(
        'DATA_LOSS',
        `shard ${shard} went back in time: commit ${opened.commitNumber}, expected ${commitNumber - 1}`,
      )
    }
    return opened.commitNumber === commitNumber
  }

  #retryable(cause: unknown): boolean {
    const error = cause instanceof Error ? cause : new Error(String(cause))
    const code = error instanceof StorageError ? error.code : 'UNAVAILABLE'
    if (code === 'UNAVAILABLE' || code === 'FULL' || code === 'NOT_OPEN') {
      // A storage node that has come back only wants the shard opened again.
      if (code !== 'NOT_OPEN') {
        this.#options.onStorage?.(code === 'FULL' ? 'full' : 'unavailable', error)
      }
      return !this.#lost
    }
    if (this.#lost) return false
    this.abandon()
    this.#options.onLost(code === 'FENCED' || code === 'GAP' ? 'fenced' : 'data-loss', error)
    return false
  }

  #wakeIdle(): void {
    const idle = this.#idle
    this.#idle = []
    for (const wake of idle) wake()
  }
}

function isFull(error: unknown): boolean {
  return error instanceof StorageError && error.code === 'FULL'
}

function newStaged(): Staged {
  return {
    operations: [],
    appends: new Map(),
    replaced: new Set(),
    cut: new Set(),
    bytes: 0,
    count: 0,
    late: new Map(),
    done: [],
  }
}

function seal(staged: Staged): void {
  for (const make of staged.late.values()) staged.operations.push(...make())
  staged.late.clear()
}

function appendsOf(staged: Staged, log: string): StagedBatch[] {
  let batches = staged.appends.get(log)
  if (batches === undefined) {
    batches = []
    staged.appends.set(log, batches)
  }
  return batches
}

function encodeAppends(staged: Staged, leaderEpoch: number): Operation[] {
  const operations: Operation[] = []
  for (const [log, batches] of staged.appends) {
    for (const { base, records, batch: ready } of batches) {
      const batch = ready ?? encodeRecordBatch(records, { baseOffset: base, leaderEpoch })
      operations.push({ kind: 'append', log, expectedOffset: base, batch, verified: true })
    }
  }
  return operations
}

/** Throws UNAVAILABLE unless it was committed. */
export function requireCommitted(outcome: CommitOutcome): void {
  if (outcome === 'lost') throw new BrokerError('UNAVAILABLE', 'the shard has moved')
}
