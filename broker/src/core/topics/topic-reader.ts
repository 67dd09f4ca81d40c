/** Topics as any broker can tell of them: what is committed, whoever owns it; rates where they are known. */
import {
  baseOffset,
  openRecordBatch,
  RecordBatchError,
  type StorageAdapter,
  type StoredRecord,
} from '@robust/storage-adapters'
import { BrokerError } from '../errors.ts'
import type { HostedShards } from '../hosted-shard.ts'
import type { LogReport } from '../logs/partition-log.ts'
import type { Directory } from '../ports/directory.ts'
import { fromRecord } from '../record.ts'
import { partitionOf, type Topic } from './topic.ts'
import type { Topics } from './topics.ts'

export interface TopicReaderOptions {
  readonly directory: Directory
  readonly hosted: HostedShards
  readonly storage: StorageAdapter
  readonly topics: Topics
}

export interface PartitionStatus {
  readonly partition: number
  readonly shard: number
  /** Node id; empty: nobody now. */
  readonly owner: string
  readonly startOffset: number
  readonly endOffset: number
  /** Of the owner, when it is asked. */
  readonly report: LogReport | undefined
}

export interface TopicRecord extends StoredRecord {
  /** That it was published to. */
  readonly address: string
}

export interface TopicRead {
  readonly records: readonly TopicRecord[]
  readonly startOffset: number
  readonly endOffset: number
}

const READ_BYTES = 1024 * 1024
/** Of one answer, and one record more: the next page has the rest. */
const PAGE_BYTES = 16 * 1024 * 1024
/** Partitions asked of storage at once. */
const TOGETHER = 32

export class TopicReader {
  readonly #options: TopicReaderOptions

  constructor(options: TopicReaderOptions) {
    this.#options = options
  }

  /** Throws NOT_FOUND. */
  async describe(tenant: string, name: string): Promise<readonly PartitionStatus[]> {
    const topic = this.#topic(tenant, name)
    const partitions: PartitionStatus[] = []
    for (let first = 0; first < topic.partitions; first += TOGETHER) {
      const count = Math.min(TOGETHER, topic.partitions - first)
      const numbers = Array.from({ length: count }, (_, at) => first + at)
      partitions.push(...(await Promise.all(numbers.map((at) => this.#describe(topic, at)))))
    }
    return partitions
  }

  /** Records from the offset on, no more than `recordsMax`. Throws NOT_FOUND. */
  async read(
    { tenant, name, partition }: { tenant: string; name: string; partition: number },
    fromOffset: number,
    recordsMax: number,
  ): Promise<TopicRead> {
    const topic = this.#topic(tenant, name)
    const { directory, storage } = this.#options
    if (partition >= topic.partitions) {
      const message = `topic ${name} has ${topic.partitions} partitions, from 0 on`
      throw new BrokerError('NOT_FOUND', message)
    }
    const place = partitionOf(topic, partition, directory.shardCount)
    const records: TopicRecord[] = []
    let next = fromOffset
    let bytes = 0
    for (;;) {
      const read = { ...place, fromOffset: next, bytesMax: READ_BYTES }
      const { batches, startOffset, endOffset } = await storage.read(read)
      for (const record of batches.flatMap(recordsOf)) {
        next = record.offset + 1
        if (record.offset < fromOffset) continue
        // What came by another dialect than those with addresses was sent to the topic itself.
        const address = fromRecord(record).message.address || topic.address
        records.push({ ...record, address })
        bytes += (record.key?.byteLength ?? 0) + (record.value?.byteLength ?? 0)
        const isFull = records.length === recordsMax || bytes >= PAGE_BYTES
        if (isFull) return { records, startOffset, endOffset }
      }
      if (batches.length === 0 || next >= endOffset) return { records, startOffset, endOffset }
    }
  }

  async #describe(topic: Topic, partition: number): Promise<PartitionStatus> {
    const { directory, hosted, storage } = this.#options
    const { shard, log } = partitionOf(topic, partition, directory.shardCount)
    const report = hosted.get(shard)?.logs.report(log)
    const end = { shard, log, fromOffset: Number.MAX_SAFE_INTEGER, bytesMax: 1 }
    const { startOffset, endOffset } = report ?? (await storage.read(end))
    const owner = directory.owner(shard)?.node ?? ''
    return { partition, shard, owner, startOffset, endOffset, report }
  }

  #topic(tenant: string, name: string): Topic {
    const topic = this.#options.topics.get(tenant, name)
    if (topic === undefined) throw new BrokerError('NOT_FOUND', `there is no topic ${name}`)
    return topic
  }
}

/** Throws REFUSED: of what a producer has compressed there may be more than can be looked at, or nothing that can. */
function recordsOf(batch: Uint8Array): StoredRecord[] {
  try {
    return openRecordBatch(batch)
  } catch (error) {
    if (!(error instanceof RecordBatchError)) throw error
    const message = `the records from offset ${baseOffset(batch)} on cannot be read: ${error.message}`
    throw new BrokerError('REFUSED', message, { cause: error })
  }
}
