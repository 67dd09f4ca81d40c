/**
 * The logs of one owned shard that have a policy, opened when they are first used, and their tasks: retention,
 * compaction, forgetting of silent producers. The tasks move with the shard: they begin when it is opened, end
 * when it is given up, and every step of theirs is one commit.
 */
import type { NewRecord, StorageAdapter } from '@robust/storage-adapters'
import type { Message } from '../message.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { CommitOutcome, ShardWriter } from '../shard-writer.ts'
import { compact, wantsCompaction } from './compactor.ts'
import { PRODUCER_SILENCE_MS, TASK_INTERVAL_MS } from './log-limits.ts'
import type { LogPolicy } from './log-policy.ts'
import { type LogReport, PartitionLog } from './partition-log.ts'
import type { Marker } from './producers.ts'
import { retainedFrom } from './segments.ts'
import type { TailCache } from './tail-cache.ts'
import type { TaskBudget } from './task-budget.ts'

/** What the logs of all shards of a broker share. */
export interface LogResources {
  readonly tails: TailCache
  readonly budget: TaskBudget
  /** Undefined: the name is of no log that is kept by a policy. */
  readonly policyOf: (log: string) => LogPolicy | undefined
  /** What was published to an address, as the log keeps it. */
  readonly recordOf: (message: Message) => NewRecord
  /** For certain: what it is kept for was deleted. That it is not known is no reason. */
  readonly isDeleted: (log: string) => boolean
}

export interface LogShardOptions extends LogResources {
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
  readonly clock: Clock
  readonly onError: (error: Error) => void
}

export class LogShard {
  readonly #options: LogShardOptions
  readonly #logs = new Map<string, Promise<PartitionLog>>()
  readonly #opened = new Map<string, PartitionLog>()
  #timer: Timer | undefined
  #working = false
  #stopped = false

  constructor(options: LogShardOptions) {
    this.#options = options
  }

  /** The tasks begin to run. */
  start(): void {
    this.#schedule()
  }

  /** The log, made ready to serve. Rejects with a StorageError, and may be asked again then. */
  open(name: string): Promise<PartitionLog> {
    let log = this.#logs.get(name)
    if (log === undefined) {
      log = this.#load(name)
      this.#logs.set(name, log)
      log.catch(() => this.#logs.delete(name))
    }
    return log
  }

  /** What was published to an address, see `append`. */
  keep(name: string, message: Message, done: (outcome: CommitOutcome) => void): void {
    this.append(name, this.#options.recordOf(message), done)
  }

  /** In the order of the calls for one log. `done` runs when the record is durable, or the shard is lost. */
  append(name: string, record: NewRecord, done: (outcome: CommitOutcome) => void): void {
    const opened = this.#opened.get(name)
    if (opened !== undefined) {
      opened.append(record, done)
      return
    }
    this.open(name).then(
      (log) => log.append(record, done),
      (error: unknown) => {
        this.#options.onError(error instanceof Error ? error : new Error(String(error)))
        done('lost')
      },
    )
  }

  /**
   * Ends what a producer has open in the log. Resolves when that is durable, or the shard is lost; false: the
   * producer is fenced. Rejects with a StorageError.
   */
  async mark(name: string, marker: Marker): Promise<boolean> {
    if (this.#options.isDeleted(name)) return true
    const log = await this.open(name)
    let isTaken = true
    await new Promise((resolve) => {
      isTaken = log.appendMarker(marker, resolve)
    })
    return isTaken
  }

  /** Stages the removal of the log and of everything that is kept about it. */
  async drop(name: string): Promise<void> {
    const log = await this.open(name)
    log.drop()
    // Whoever opens it before that would find what is about to go.
    await new Promise<void>((resolve) => this.#options.writer.onCommit(() => resolve()))
    this.#logs.delete(name)
    this.#opened.delete(name)
  }

  /** Of a log that is open here. */
  report(name: string): LogReport | undefined {
    return this.#opened.get(name)?.report
  }

  /** Stages what is only in memory, for an orderly hand-over: the next owner has nothing to walk through. */
  flush(): void {
    for (const log of this.#opened.values()) log.closeSegment()
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
  }

  async #load(name: string): Promise<PartitionLog> {
    const { writer, storage, clock, tails, policyOf } = this.#options
    let policy = policyOf(name)
    const log = new PartitionLog({
      name,
      writer,
      storage,
      clock,
      tail: tails.newTail(),
      policy: () => {
        policy = policyOf(name) ?? policy
        return policy ?? KEEP_ALL
      },
    })
    await log.load()
    this.#opened.set(name, log)
    return log
  }

  #schedule(): void {
    if (this.#stopped) return
    this.#timer = this.#options.clock.after(TASK_INTERVAL_MS, () => {
      void this.#work().then(() => this.#schedule())
    })
  }

  /** One look at every log. One at a time, so that a look that takes long is not joined by the next. */
  async #work(): Promise<void> {
    if (this.#working) return
    this.#working = true
    for (const name of this.#options.writer.logNames()) {
      if (this.#stopped) break
      const deleted = this.#options.isDeleted(name)
      if (!deleted && this.#options.policyOf(name) === undefined) continue
      try {
        if (deleted) await this.drop(name)
        else await this.#care(await this.open(name))
      } catch (error) {
        this.#options.onError(error instanceof Error ? error : new Error(String(error)))
      }
    }
    this.#working = false
  }

  async #care(log: PartitionLog): Promise<void> {
    const { clock, budget } = this.#options
    const nowMs = clock.wallMs()
    log.measure()
    log.producers.expire(nowMs - PRODUCER_SILENCE_MS)
    log.closeWhenOld()
    const from = retainedFrom(log.segments.all, log.policy, nowMs)
    if (from > 0) log.deleteBefore(from)
    if (wantsCompaction(log, nowMs)) {
      await compact(log, { clock, budget, isStopped: () => this.#stopped })
    }
  }
}

/** For a log whose policy is not known (yet): nothing goes. */
const KEEP_ALL: LogPolicy = {
  retentionMs: undefined,
  retentionBytes: undefined,
  compact: false,
  tombstoneDelayMs: 0,
  compactionLagMs: 0,
  dirtyRatio: 1,
  batchBytesMax: Number.POSITIVE_INFINITY,
  segmentBytes: 4 * 1024 * 1024,
  segmentMs: Number.POSITIVE_INFINITY,
  appendTime: false,
}
