/**
 * One log of a shard as its owner serves it: appends, reads, look-up by time, its producers. Its newest
 * batches are read from memory. What is staged but not committed is visible to nobody.
 *
 * What goes when is decided in `log-tasks.ts` and `compactor.ts`; here is how it is carried out.
 */
import {
  baseOffset,
  encodeRecordBatch,
  leaderEpoch,
  maxTimestamp,
  type NewRecord,
  nextOffset,
  type StorageAdapter,
  setAppendTime,
} from '@robust/storage-adapters'
import type { Clock } from '../ports/clock.ts'
import type { CommitOutcome, ShardWriter } from '../shard-writer.ts'
import { decodeJson, encodeJson, scanAll } from '../stored.ts'
import { Verifications } from '../transactions/verifications.ts'
import { type EpochEnd, EpochHistory } from './epoch-history.ts'
import {
  abortedKey,
  abortedPrefix,
  epochsKey,
  keysOfLog,
  producersKey,
  rangeOf,
  segmentKey,
  segmentsPrefix,
  stateKey,
} from './log-keys.ts'
import { type LogPolicy, segmentBytesOf } from './log-policy.ts'
import {
  type AbortedTransaction,
  encodeMarker,
  type Marker,
  Producers,
  type ProducerVerdict,
} from './producers.ts'
import { type Segment, Segments } from './segments.ts'
import type { LogTail } from './tail-cache.ts'

export interface PartitionLogOptions {
  readonly name: string
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
  readonly clock: Clock
  readonly tail: LogTail
  readonly policy: () => LogPolicy
}

export type AppendResult =
  | {
      readonly baseOffset: number
      /** Given by the log, ms; undefined: the records keep theirs. */
      readonly timestamp: number | undefined
    }
  | Exclude<ProducerVerdict, { kind: 'new' }>

export interface LogRead {
  /** Whole batches: the first holds the wanted offset, or is the first after it. */
  readonly batches: readonly Uint8Array[]
  readonly startOffset: number
  /** Of the record after the last committed one. */
  readonly endOffset: number
}

export interface LogReport {
  readonly log: string
  readonly startOffset: number
  readonly endOffset: number
  readonly bytes: number
  /** Appended, over the last seconds. */
  readonly recordsPerSecond: number
  readonly bytesPerSecond: number
}

interface StoredState {
  /** Readers begin here or later; a batch may begin before it. */
  readonly startOffset: number
  readonly cleanedTo: number
}

/** Bytes asked of storage in one go: one frame between processes. */
const READ_BYTES = 1024 * 1024

export class PartitionLog {
  readonly name: string
  readonly producers = new Producers()
  readonly verifications = new Verifications()
  segments = new Segments()
  #epochs = new EpochHistory()
  /** Everything below has been compacted at least once. */
  cleanedTo = 0
  readonly #options: PartitionLogOptions
  #startOffset = 0
  #endOffset = 0
  /** The segment that grows. */
  #open: Segment | undefined
  #generation = 0
  #producersStored = false
  #pending: NewRecord[] = []
  #pendingDone: ((outcome: CommitOutcome) => void)[] = []
  readonly #onGrowth = new Set<() => void>()
  /** Since the last measurement. */
  #recordsIn = 0
  #bytesIn = 0
  #measuredAtMs: number
  #rate = { records: 0, bytes: 0 }

  constructor(options: PartitionLogOptions) {
    this.#options = options
    this.name = options.name
    this.#measuredAtMs = options.clock.nowMs()
  }

  /** Reads what is stored; only the open segment is walked through. */
  async load(): Promise<void> {
    const { storage, writer } = this.#options
    const { name } = this
    const state = await storage.get(writer.shard, stateKey(name))
    if (state !== undefined) {
      const { startOffset, cleanedTo } = decodeJson<StoredState>(state)
      this.#startOffset = startOffset
      this.cleanedTo = cleanedTo
    }
    const epochs = await storage.get(writer.shard, epochsKey(name))
    if (epochs !== undefined) this.#epochs = new EpochHistory(decodeJson(epochs))
    const closed: Segment[] = []
    for await (const { value } of scanAll(storage, writer.shard, rangeOf(segmentsPrefix(name)))) {
      closed.push(decodeJson<Segment>(value))
    }
    const aborted: AbortedTransaction[] = []
    for await (const { value } of scanAll(storage, writer.shard, rangeOf(abortedPrefix(name)))) {
      aborted.push(decodeJson<AbortedTransaction>(value))
    }
    this.segments = new Segments(closed)
    const from = closed[closed.length - 1]?.end ?? 0
    const producers = await storage.get(writer.shard, producersKey(name))
    this.#producersStored = producers !== undefined
    // Without a checkpoint nobody was known when the last segment was closed.
    const noteFrom = producers === undefined ? from : this.producers.restore(decodeJson(producers))
    await this.#replay(from, Math.min(from, noteFrom))
    this.producers.restoreAborted(aborted)
  }

  /** Rebuilds the open segment from `from`, and the producers from `noteFrom`, up to the log's end. */
  async #replay(from: number, noteFrom: number): Promise<void> {
    let next = Math.min(from, noteFrom)
    for (;;) {
      const { batches, startOffset, endOffset } = await this.readStored(next, READ_BYTES)
      this.#startOffset = Math.max(this.#startOffset, startOffset)
      this.#endOffset = endOffset
      for (const batch of batches) {
        next = nextOffset(batch)
        if (baseOffset(batch) >= noteFrom) this.producers.note(batch)
        this.#epochs.note(leaderEpoch(batch), baseOffset(batch))
        if (baseOffset(batch) < from) continue
        this.#open ??= this.segments.begin(baseOffset(batch), maxTimestamp(batch))
        this.segments.grow(batch)
      }
      if (batches.length === 0 || next >= endOffset) return
    }
  }

  get startOffset(): number {
    return this.#startOffset
  }

  /** Of the record after the last committed one. */
  get endOffset(): number {
    return this.#endOffset
  }

  /** Readers of committed transactions see nothing from here on. */
  get stableOffset(): number {
    return Math.min(this.#endOffset, this.producers.firstOpenOffset ?? this.#endOffset)
  }

  /** Changes whenever records go that were there. */
  get generation(): number {
    return this.#generation
  }

  get policy(): LogPolicy {
    return this.#options.policy()
  }

  get report(): LogReport {
    return {
      log: this.name,
      startOffset: this.#startOffset,
      endOffset: this.#endOffset,
      bytes: this.segments.bytes,
      recordsPerSecond: this.#rate.records,
      bytesPerSecond: this.#rate.bytes,
    }
  }

  /** Called every few seconds: from then on the report tells the rates since the call before. */
  measure(): void {
    const nowMs = this.#options.clock.nowMs()
    const seconds = Math.max(0.001, (nowMs - this.#measuredAtMs) / 1_000)
    this.#rate = { records: this.#recordsIn / seconds, bytes: this.#bytesIn / seconds }
    this.#measuredAtMs = nowMs
    this.#recordsIn = 0
    this.#bytesIn = 0
  }

  /** Records of one turn share a batch. `done` runs when the record is durable. Returns its offset. */
  append(record: NewRecord, done: (outcome: CommitOutcome) => void): number {
    if (this.#pending.length === 0) this.#options.clock.defer(() => this.#flushPending())
    this.#pending.push(record)
    this.#pendingDone.push(done)
    return this.#options.writer.endOf(this.name) + this.#pending.length - 1
  }

  /**
   * Appends a whole batch, opaque but for its header; base offset and leader epoch are set in place. `done`
   * runs when it is durable, for a duplicate when the first one is; it does not run for a refusal.
   */
  appendBatch(batch: Uint8Array, done: (outcome: CommitOutcome) => void): AppendResult {
    this.#flushPending()
    const verdict = this.producers.check(batch)
    if (verdict.kind === 'duplicate') this.#options.writer.onCommit(done)
    if (verdict.kind !== 'new') return verdict
    const timestamp = this.#appendTime(batch)
    return { baseOffset: this.#stage(batch, [done]), timestamp }
  }

  /** Ends what the producer has open. `done` runs when that is durable. False: the producer is fenced. */
  appendMarker(marker: Marker, done: (outcome: CommitOutcome) => void): boolean {
    this.#flushPending()
    this.verifications.end(marker.producerId)
    const verdict = this.producers.takes(marker)
    if (verdict === 'new') this.#stage(encodeMarker(marker, this.#options.clock.wallMs()), [done])
    else this.#options.writer.onCommit(done)
    return verdict !== 'fenced'
  }

  /** `tell` runs when there is more to read, or the shard is lost, until the returned function is called. */
  onGrowth(tell: () => void): () => void {
    this.#onGrowth.add(tell)
    return () => this.#onGrowth.delete(tell)
  }

  #flushPending(): void {
    const records = this.#pending
    if (records.length === 0) return
    const done = this.#pendingDone
    this.#pending = []
    this.#pendingDone = []
    const batch = encodeRecordBatch(records, { baseOffset: 0, leaderEpoch: 0 })
    this.#appendTime(batch)
    this.#stage(batch, done)
  }

  /** The batch gets the time of now, ms, where the log wants it so; undefined: it keeps its own. */
  #appendTime(batch: Uint8Array): number | undefined {
    if (!this.policy.appendTime) return undefined
    const nowMs = this.#options.clock.wallMs()
    setAppendTime(batch, nowMs)
    return nowMs
  }

  #stage(batch: Uint8Array, done: readonly ((outcome: CommitOutcome) => void)[]): number {
    const { writer, tail } = this.#options
    this.#makeRoom(batch.byteLength)
    const base = writer.appendBatch(this.name, batch)
    if (this.#epochs.note(leaderEpoch(batch), base)) this.#storeEpochs()
    this.segments.grow(batch)
    const aborted = this.producers.note(batch)
    if (aborted !== undefined) {
      writer.put(abortedKey(this.name, aborted.lastOffset), encodeJson(aborted))
    }
    this.#recordsIn += nextOffset(batch) - base
    this.#bytesIn += batch.byteLength
    writer.onCommit((outcome) => {
      if (outcome === 'committed') {
        this.#endOffset = nextOffset(batch)
        tail.add(batch)
      }
      for (const run of done) run(outcome)
      for (const tell of [...this.#onGrowth]) tell()
    })
    return base
  }

  /** Closes the open segment when it is large or old enough, and begins another. */
  #makeRoom(bytes: number): void {
    const { writer, clock } = this.#options
    const { policy } = this
    const now = clock.wallMs()
    const open = this.#open
    if (open !== undefined) {
      const full = open.bytes > 0 && open.bytes + bytes > segmentBytesOf(policy)
      if (!full && now - open.openedAtMs < policy.segmentMs) return
      this.closeSegment()
    }
    this.#open = this.segments.begin(writer.endOf(this.name), now)
  }

  /** The open segment is described by a key from now on, and what is known of producers with it. */
  closeSegment(): void {
    const { writer } = this.#options
    const open = this.#open
    if (open === undefined) return
    this.#open = undefined
    this.#storeSegment(open)
    if (!this.producers.isEmpty) {
      const stored = this.producers.checkpoint(writer.endOf(this.name))
      writer.put(producersKey(this.name), encodeJson(stored))
    } else if (this.#producersStored) {
      writer.delete(producersKey(this.name))
    }
    this.#producersStored = !this.producers.isEmpty
  }

  /** A log that nobody writes any more is kept by its policy all the same. */
  closeWhenOld(): void {
    const open = this.#open
    if (open === undefined) return
    if (this.#options.clock.wallMs() - open.openedAtMs >= this.policy.segmentMs) this.closeSegment()
  }

  #storeSegment(segment: Segment): void {
    this.#options.writer.put(segmentKey(this.name, segment.base), encodeJson(segment))
  }

  /** Segments that take no appends any more. */
  get closedSegments(): readonly Segment[] {
    const { all } = this.segments
    return this.#open === undefined ? all : all.slice(0, -1)
  }

  /** Whole batches from the one that holds the offset on. */
  async read(fromOffset: number, bytesMax: number): Promise<LogRead> {
    const from = Math.max(fromOffset, this.#startOffset)
    const startOffset = this.#startOffset
    if (from >= this.#endOffset) return { batches: [], startOffset, endOffset: this.#endOffset }
    const cached = this.#options.tail.read(from, bytesMax)
    if (cached !== undefined) return { batches: cached, startOffset, endOffset: this.#endOffset }
    const { batches } = await this.readStored(from, bytesMax)
    // Storage may be ahead: what it has acknowledged to nobody yet is not shown.
    const endOffset = this.#endOffset
    return {
      batches: batches.filter((batch) => nextOffset(batch) <= endOffset),
      startOffset: this.#startOffset,
      endOffset,
    }
  }

  /** Of the owner in whose time the record was appended; -1 unknown. */
  epochAt(offset: number): number {
    return this.#epochs.at(offset)
  }

  /** Where the epoch ended, or the newest before it that has records; undefined: it has not been here. */
  endOfEpoch(epoch: number): EpochEnd | undefined {
    const current = { epoch: this.#options.writer.leaderEpoch, endOffset: this.#endOffset }
    return this.#epochs.endOf(epoch, current)
  }

  readStored(fromOffset: number, bytesMax: number): Promise<LogRead> {
    const { storage, writer } = this.#options
    return storage.read({ shard: writer.shard, log: this.name, fromOffset, bytesMax })
  }

  /** Records before the offset are gone for readers at once; whole batches of them free their space. */
  deleteBefore(offset: number): void {
    const { writer, tail } = this.#options
    const before = Math.min(offset, this.#endOffset)
    if (before <= this.#startOffset) return
    this.#startOffset = before
    this.#generation++
    writer.trim(this.name, before)
    for (const { base } of this.segments.trim(before)) {
      writer.delete(segmentKey(this.name, base))
      if (this.#open?.base === base) this.#open = undefined
    }
    for (const { lastOffset } of this.producers.trim(before)) {
      writer.delete(abortedKey(this.name, lastOffset))
    }
    const { length } = this.#epochs.starts
    this.#epochs.trim(before)
    if (this.#epochs.starts.length < length) this.#storeEpochs()
    tail.clear()
    this.storeState()
  }

  /** Resolves when what was staged before is durable. False: the shard is lost. */
  committed(): Promise<boolean> {
    return new Promise((resolve) => {
      this.#options.writer.onCommit((outcome) => resolve(outcome === 'committed'))
    })
  }

  #storeEpochs(): void {
    this.#options.writer.put(epochsKey(this.name), encodeJson(this.#epochs.starts))
  }

  /**
   * Stored batches of closed segments are exchanged for these, each of which covers just the offsets of those
   * that it stands for. Nothing may have gone since they were read: see `generation`. Resolves when that is
   * durable, or the shard is lost.
   */
  replace(batches: readonly Uint8Array[]): Promise<CommitOutcome> {
    const { writer, tail } = this.#options
    for (const batch of batches) writer.replace(this.name, batch)
    tail.clear()
    return new Promise((resolve) => writer.onCommit(resolve))
  }

  /** Neighbouring closed segments are one from now on. */
  merge(group: readonly Segment[], merged: Segment): void {
    for (const { base } of group) {
      if (base !== merged.base) this.#options.writer.delete(segmentKey(this.name, base))
    }
    this.segments.merge(group, merged)
    this.#storeSegment(merged)
  }

  storeState(): void {
    const state: StoredState = { startOffset: this.#startOffset, cleanedTo: this.cleanedTo }
    this.#options.writer.put(stateKey(this.name), encodeJson(state))
  }

  /** Stages the removal of everything. */
  drop(): void {
    const { writer, tail } = this.#options
    tail.clear()
    this.#generation++
    writer.dropLog(this.name)
    const { from, to } = keysOfLog(this.name)
    writer.deleteRange(from, to)
  }
}
