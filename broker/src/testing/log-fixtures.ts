/** Logs over a real adapter in virtual time, and batches as producers make them. */
import { gzipSync } from 'node:zlib'
import {
  batchAttribute,
  batchHeaderBytes,
  crc32c,
  createMemoryStorage,
  encodeRecordBatch,
  type NewRecord,
  openRecordBatch,
  type StorageAdapter,
} from '@robust/storage-adapters'
import { DEFAULT_LOG_POLICY, type LogPolicy } from '../core/logs/log-policy.ts'
import { LogShard } from '../core/logs/log-shard.ts'
import type { PartitionLog } from '../core/logs/partition-log.ts'
import { TailCache } from '../core/logs/tail-cache.ts'
import { TaskBudget } from '../core/logs/task-budget.ts'
import { toKeyedRecord } from '../core/record.ts'
import { ShardWriter } from '../core/shard-writer.ts'
import { settle, VirtualClock } from './virtual-clock.ts'

export const LOG = 'topic/t/0'

export class LogBench {
  readonly clock = new VirtualClock()
  readonly storage: StorageAdapter
  readonly errors: Error[] = []
  readonly deleted = new Set<string>()
  policy: LogPolicy
  #epoch = 0
  #shard: LogShard | undefined
  #writer: ShardWriter | undefined

  constructor(policy: Partial<LogPolicy> = {}, storage: StorageAdapter = createMemoryStorage()) {
    this.storage = storage
    this.policy = { ...DEFAULT_LOG_POLICY, ...policy }
  }

  /** Another owner takes the shard; the one before is gone without a word, or in order. */
  async own(options: { readonly orderly?: boolean } = {}): Promise<LogShard> {
    if (options.orderly) {
      this.#shard?.flush()
      await this.commit()
    }
    this.#shard?.stop()
    this.#writer?.abandon()
    const writer = new ShardWriter({
      shard: 1,
      epoch: ++this.#epoch,
      owner: `b${this.#epoch}/x`,
      storage: this.storage,
      clock: this.clock,
      onLost: (_reason, error) => this.errors.push(error),
    })
    await writer.open()
    const shard = new LogShard({
      writer,
      storage: this.storage,
      clock: this.clock,
      tails: new TailCache(1 << 20),
      budget: new TaskBudget({ clock: this.clock, bytesPerSecond: 1 << 24 }),
      policyOf: (log) => (log.startsWith('topic/') ? this.policy : undefined),
      isDeleted: (log) => this.deleted.has(log),
      recordOf: toKeyedRecord,
      onError: (error) => this.errors.push(error),
    })
    shard.start()
    this.#writer = writer
    this.#shard = shard
    return shard
  }

  get shard(): LogShard {
    if (this.#shard === undefined) throw new Error('nobody owns the shard')
    return this.#shard
  }

  get writer(): ShardWriter {
    if (this.#writer === undefined) throw new Error('nobody owns the shard')
    return this.#writer
  }

  log(name = LOG): Promise<PartitionLog> {
    return this.shard.open(name)
  }

  async append(log: PartitionLog, ...batches: Uint8Array[]): Promise<void> {
    for (const batch of batches) log.appendBatch(batch, () => undefined)
    await this.commit()
  }

  async commit(): Promise<void> {
    await settle()
    await this.writer.drained()
    await settle()
  }

  /** `offset:key=value` of every record that a reader gets. */
  async contents(name = LOG): Promise<string[]> {
    const log = await this.log(name)
    const found: string[] = []
    let next = log.startOffset
    while (next < log.endOffset) {
      const { batches } = await log.read(next, 1 << 16)
      if (batches.length === 0) throw new Error(`nothing at ${next} of ${log.endOffset}`)
      for (const batch of batches) {
        for (const record of openRecordBatch(batch)) {
          if (record.offset >= log.startOffset) found.push(textOf(record))
        }
      }
      const last = batches[batches.length - 1] as Uint8Array
      next = endOf(last)
    }
    return found
  }
}

function endOf(batch: Uint8Array): number {
  const bytes = Buffer.from(batch.buffer, batch.byteOffset, batch.byteLength)
  return Number(bytes.readBigInt64BE(0)) + bytes.readInt32BE(23) + 1
}

function textOf(record: { offset: number; key: Uint8Array | null; value: Uint8Array | null }) {
  const key = record.key === null ? '' : Buffer.from(record.key).toString()
  const value = record.value === null ? '-' : Buffer.from(record.value).toString()
  return `${record.offset}:${key}=${value}`
}

export interface BatchOptions {
  readonly timestamp?: number
  readonly producerId?: number
  readonly producerEpoch?: number
  readonly baseSequence?: number
  readonly transactional?: boolean
}

/** `k=v` is a record, `k` a tombstone, `=v` a record without a key. */
export function batchOf(records: readonly string[], options: BatchOptions = {}): Uint8Array {
  const { timestamp = 1, transactional = false, ...producer } = options
  return encodeRecordBatch(
    records.map((text) => recordOf(text, timestamp)),
    {
      baseOffset: 0,
      leaderEpoch: 0,
      attributes: transactional ? batchAttribute.transactional : 0,
      ...producer,
    },
  )
}

/** As a producer with gzip sends it. */
export function gzipped(batch: Uint8Array): Buffer {
  const content = gzipSync(batch.subarray(batchHeaderBytes))
  const packed = Buffer.concat([batch.subarray(0, batchHeaderBytes), content])
  packed.writeInt32BE(packed.length - 12, 8)
  packed.writeInt16BE(packed.readInt16BE(21) | 1, 21)
  packed.writeUInt32BE(crc32c(packed, 0, { from: 21 }), 17)
  return packed
}

export function recordOf(text: string, timestamp = 1): NewRecord {
  const [key = '', value] = text.split('=')
  return {
    timestamp,
    key: key === '' ? null : Buffer.from(key),
    value: value === undefined ? null : Buffer.from(value),
    headers: [],
  }
}

export function markerOf(outcome: 'abort' | 'commit', producerId: number): Uint8Array {
  const key = Buffer.from([0, 0, 0, outcome === 'abort' ? 0 : 1])
  return encodeRecordBatch([{ timestamp: 1, key, value: Buffer.alloc(6), headers: [] }], {
    baseOffset: 0,
    leaderEpoch: 0,
    producerId,
    producerEpoch: 0,
    attributes: batchAttribute.transactional | batchAttribute.control,
  })
}
