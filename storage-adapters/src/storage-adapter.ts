/**
 * The storage port: shards, each with many logs and one ordered key-value space, written by one owner
 * at a time. No protocol word belongs here. Each adapter passes the suite in `conformance/`.
 *
 * Order and concurrency: calls for one shard may overlap; commits of one shard take effect in the order
 * of their commit numbers. Commits of different shards may share one durable write (group commit).
 * Failure: every rejection is a StorageError. `UNAVAILABLE` means that the outcome is unknown: the owner
 * opens the shard again before it writes anything else.
 * Ownership: bytes given to a call must not change until it settles; bytes that a call returned must not
 * be changed at all. Names and keys are any well-formed text, the empty one included, up to 128 KiB.
 */
import type { Capabilities } from './capabilities.ts'

export interface StorageAdapter {
  readonly capabilities: Capabilities

  /**
   * How near the storage is to refusing what adds with FULL: 0, or absent, is room enough, 1 is full. Cheap
   * to read, at most a second or two old. From 0.75 on publishers should be slowed, near 1 refused.
   */
  readonly pressure?: number

  /**
   * Fences the shard: durably stores `epoch` if it is higher than the stored one, and only then answers.
   * The same epoch with the same owner is idempotent. Rejects with FENCED for a lower epoch, or the
   * same epoch with another owner. Who has opened what is forgotten at a new start of the process that serves
   * the adapter, so that every commit after that is NOT_OPEN until the owner opens again.
   */
  open(request: OpenRequest): Promise<OpenResult>

  /**
   * All or nothing, durable at the adapter's promised level when it resolves. A lower epoch than the
   * stored one is FENCED, a higher one NOT_OPEN. `commitNumber` must be the last one plus one; a retry of the
   * last commit (same number, same epoch) resolves again without a second effect, anything else is GAP.
   * An append whose `expectedOffset` is not the log's end is GAP, and nothing of the commit is applied.
   */
  commit(request: CommitRequest): Promise<void>

  /**
   * Whole batches from the one that holds `fromOffset` on, at least one if there is any, and no more
   * than fit in `bytesMax`. Needs no lease. An unknown log reads as empty. Rejects with DATA_LOSS when
   * a stored batch fails its CRC or offsets do not join.
   */
  read(request: ReadRequest): Promise<ReadResult>

  /** The value, or undefined. Needs no lease. */
  get(shard: number, key: string): Promise<Uint8Array | undefined>

  /**
   * Keys in UTF-8 byte order within [from, to), at most `limit`; `reverse` starts at the end. An empty
   * `to` is no upper bound; `prefixEnd` gives the one of a prefix. Needs no lease.
   */
  scan(request: ScanRequest): Promise<KeyValue[]>

  /** Every log of the shard that has not been dropped, by name in UTF-8 byte order. Needs no lease. */
  logs(shard: number): Promise<LogInfo[]>

  /** Numbers of all shards that were ever opened, dropped ones too, in order. */
  shards(): Promise<number[]>

  /** May walk over all keys of the shard: for people and reports, not for the hot path. */
  stats(shard: number): Promise<ShardStats>

  /**
   * Gives the shard up: waits for its commits; later ones with this epoch are NOT_OPEN until it is opened
   * again. Idempotent. A lower epoch than the stored one is FENCED, a higher one NOT_OPEN.
   */
  close(shard: number, epoch: number): Promise<void>

  /**
   * Deletes everything of the shard but a tombstone that keeps the epoch, so that zombies stay fenced.
   * Takes the stored epoch or a higher one, open or not; a lower one is FENCED. Opening the shard again
   * takes a higher epoch than the drop's and finds it empty, with commit number 0.
   */
  drop(shard: number, epoch: number): Promise<void>

  /**
   * Looks at everything that is kept for the shard: each checksum, the joints of its logs, each key. Writes
   * nothing. Absent where the data is behind another process, which can be asked by its reads only.
   */
  check?(shard: number): Promise<ShardCheck>

  /**
   * Makes the shard, filled by a copy under this epoch, count as the one it was copied from: gives it that
   * one's commit number and incarnation. NOT_OPEN unless it is open at the epoch.
   */
  adopt?(request: AdoptRequest): Promise<void>

  /** Waits for commits in flight, then releases files and sockets. Idempotent. */
  stop(): Promise<void>
}

export interface OpenRequest {
  readonly shard: number
  readonly epoch: number
  /** Who opens: `<node id>/<incarnation>`. */
  readonly owner: string
}

export interface OpenResult {
  /** Identity of the stored data: changes when the data is not the same any more (lost, replaced). */
  readonly incarnation: string
  /** The last commit number, 0 when nothing was ever committed. */
  readonly commitNumber: number
}

export interface CommitRequest {
  readonly shard: number
  readonly epoch: number
  readonly commitNumber: number
  readonly operations: readonly Operation[]
}

export type Operation =
  | AppendOperation
  | { kind: 'put'; key: string; value: Uint8Array }
  | { kind: 'delete'; key: string }
  /** Deletes keys within [from, to); an empty `to` is no upper bound. */
  | { kind: 'delete-range'; from: string; to: string }
  /** Whole batches that lie before the offset go; the log's end stays. No effect on an unknown log. */
  | { kind: 'trim'; log: string; beforeOffset: number }
  /**
   * Stored batches are exchanged for this one, which covers exactly their offsets; records may be missing
   * in it (compaction). GAP when it does not begin and end where stored batches do. Apart from appends, a
   * commit does nothing else to the log (INVALID).
   */
  | { kind: 'replace'; log: string; batch: Uint8Array }
  /** All of it goes; a later append begins at offset 0 again. */
  | { kind: 'drop-log'; log: string }
  /** A log that does not exist begins, empty, at the offset; GAP when there is one. For copies of logs. */
  | { kind: 'begin-log'; log: string; offset: number }

/** `batch` is one Kafka record batch (v2) whose base offset is `expectedOffset`, CRC valid. */
export interface AppendOperation {
  readonly kind: 'append'
  readonly log: string
  readonly expectedOffset: number
  readonly batch: Uint8Array
  /**
   * Of a caller in the same process: it has made the batch, or verified its checksum since it came in, and the bytes
   * are never changed again, also after the commit. The adapter need not verify it, and may keep the bytes
   * instead of a copy. It does not cross to another process: a storage node verifies what it is sent.
   */
  readonly verified?: true
}

/** From below the log's start it begins at the start; from its end on it is empty. */
export interface ReadRequest {
  readonly shard: number
  readonly log: string
  readonly fromOffset: number
  readonly bytesMax: number
}

export interface ReadResult {
  readonly batches: readonly Uint8Array[]
  /** Offset of the oldest record that is kept. */
  readonly startOffset: number
  /** Offset that the next record will get. */
  readonly endOffset: number
}

export interface ScanRequest {
  readonly shard: number
  readonly from: string
  readonly to: string
  readonly limit: number
  readonly reverse?: boolean
}

export interface KeyValue {
  readonly key: string
  readonly value: Uint8Array
}

export interface LogInfo {
  readonly log: string
  readonly startOffset: number
  readonly endOffset: number
  /** Of its batches. */
  readonly bytes: number
}

export interface ShardStats {
  readonly epoch: number
  readonly commitNumber: number
  readonly logs: number
  readonly keys: number
  /** Of batches and values; what an engine adds is not counted. */
  readonly bytes: number
  /** As `open` gives it; empty when the shard was never opened. */
  readonly incarnation: string
}

export interface ShardCheck {
  readonly logs: number
  readonly batches: number
  readonly keys: number
  readonly bytes: number
  /** What is wrong, each in one line that names the log or the key; empty when all is well. */
  readonly problems: readonly string[]
}

export interface AdoptRequest {
  readonly shard: number
  readonly epoch: number
  readonly commitNumber: number
  readonly incarnation: string
}
