/**
 * What dialects that write whole batches append to the logs of an owned shard, told to everybody else who wants the
 * topic's address: subscribers, queues, other topics. From the log, and no further than what is committed, so that
 * nothing of an aborted transaction gets anywhere; where it stands is kept in the shard, so the next owner goes on
 * from there. At least once. Where nobody wants the address there is no relay.
 */
import {
  attributes,
  baseOffset,
  batchAttribute,
  decodeRecordBatch,
  nextOffset,
  openRecordBatch,
  prefixEnd,
  producerId,
  RecordBatchError,
  type StorageAdapter,
  type StoredRecord,
} from '@robust/storage-adapters'
import type { LogShard } from '../logs/log-shard.ts'
import type { PartitionLog } from '../logs/partition-log.ts'
import type { Message } from '../message.ts'
import { cameByAddress } from '../record.ts'
import type { ShardWriter } from '../shard-writer.ts'
import { decodeJson, encodeJson, scanAll } from '../stored.ts'
import { type Topic, topicIdOf } from './topic.ts'

/** Who wants what is in a topic besides the topic itself. */
export interface RelayTargets {
  /** Somebody does, as far as this broker knows. */
  wants(topic: Topic): boolean
  /** Resolves when everybody has it. */
  relay(topic: Topic, message: Message): Promise<void>
  messageOf(topic: Topic, record: StoredRecord): Message
}

export interface LogRelaysOptions {
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
  readonly logs: LogShard
  readonly targets: RelayTargets
  readonly topicById: (id: string) => Topic | undefined
  readonly onError: (error: Error) => void
}

interface Relay {
  readonly topic: Topic
  readonly log: PartitionLog
  /** The first offset that was not relayed. */
  next: number
}

/** Taken from a log at once: what is on its way to subscribers is in memory. */
const CHUNK_BYTES = 256 * 1024

export class LogRelays {
  readonly #options: LogRelaysOptions
  readonly #relays = new Map<string, Relay>()
  /** Of logs whose relays have not begun here: where the owner before stood. */
  readonly #left = new Map<string, number>()
  #stopped = false

  constructor(options: LogRelaysOptions) {
    this.#options = options
  }

  async load(): Promise<void> {
    const { storage, writer } = this.#options
    const range = { from: PREFIX, to: prefixEnd(PREFIX) }
    for await (const { key, value } of scanAll(storage, writer.shard, range)) {
      this.#left.set(key.slice(PREFIX.length), decodeJson<number>(value))
    }
  }

  /** Goes on where the owner before stood. */
  start(): void {
    const { logs, topicById, onError } = this.#options
    for (const [name, next] of this.#left) {
      const topic = topicById(topicIdOf(name) ?? '')
      if (topic === undefined) this.#forget(name)
      else {
        logs.open(name).then(
          (log) => this.#begin({ topic, log, next }),
          (error: unknown) => onError(errorOf(error)),
        )
      }
    }
  }

  stop(): void {
    this.#stopped = true
  }

  /** In the turn in which the batch was staged, so that the relay's beginning is in the same commit. */
  appended(topic: Topic, log: PartitionLog, batchOffset: number): void {
    if (this.#relays.has(log.name) || !this.#options.targets.wants(topic)) return
    const left = this.#left.get(log.name)
    if (left === undefined) this.#store(log.name, batchOffset)
    this.#begin({ topic, log, next: left ?? batchOffset })
  }

  #begin(relay: Relay): void {
    const { name } = relay.log
    if (this.#stopped || this.#relays.has(name)) return
    this.#left.delete(name)
    this.#relays.set(name, relay)
    this.#run(relay)
      .catch((error: unknown) => {
        // Goes on from there with the next batch.
        this.#left.set(name, relay.next)
        this.#options.onError(errorOf(error))
      })
      .finally(() => this.#relays.delete(name))
  }

  /** Until nobody wants the address any more, or the shard is given up. */
  async #run(relay: Relay): Promise<void> {
    const { targets, topicById, writer } = this.#options
    const { log } = relay
    for (;;) {
      // What comes while it is looked must not be missed.
      let forget: () => void = () => undefined
      const grown = new Promise<void>((resolve) => {
        forget = log.onGrowth(resolve)
      })
      try {
        if (this.#stopped || writer.lost) return
        const topic = topicById(relay.topic.id)
        if (topic === undefined || !targets.wants(topic)) {
          this.#forget(log.name)
          return
        }
        if (!(await this.#advance({ ...relay, topic }, relay))) await grown
      } finally {
        forget()
      }
    }
  }

  /** False: there is nothing more now. */
  async #advance({ topic, log }: Relay, relay: Relay): Promise<boolean> {
    const until = log.stableOffset
    if (relay.next >= until) return false
    const { batches } = await log.read(relay.next, CHUNK_BYTES)
    const stable = batches.filter((batch) => nextOffset(batch) <= until)
    const last = stable[stable.length - 1]
    if (last === undefined) return false
    const relayed: Promise<void>[] = []
    for (const batch of stable) {
      for (const record of recordsToRelay(log, batch)) {
        if (record.offset < relay.next) continue
        relayed.push(this.#options.targets.relay(topic, this.#messageOf(topic, record)))
      }
    }
    await Promise.all(relayed)
    relay.next = nextOffset(last)
    if (!this.#stopped) this.#store(log.name, relay.next)
    return true
  }

  #messageOf(topic: Topic, record: StoredRecord): Message {
    return this.#options.targets.messageOf(topic, record)
  }

  #store(log: string, next: number): void {
    this.#options.writer.put(keyOf(log), encodeJson(next))
  }

  #forget(log: string): void {
    this.#left.delete(log)
    this.#options.writer.delete(keyOf(log))
  }
}

/** Nothing of markers, of what was aborted, and of what came by its address: that was told when it came. */
function recordsToRelay(log: PartitionLog, batch: Uint8Array): readonly StoredRecord[] {
  const bits = attributes(batch)
  if (bits & batchAttribute.control) return []
  const isTransactional = (bits & batchAttribute.transactional) !== 0
  if (isTransactional && log.producers.isAborted(producerId(batch), baseOffset(batch))) return []
  try {
    // What comes by addresses shares batches with nothing else, and is not compressed.
    const isPlain = (bits & batchAttribute.compressionMask) === 0
    const first = isPlain ? decodeRecordBatch(batch, 1)[0] : undefined
    if (first !== undefined && cameByAddress(first)) return []
    return openRecordBatch(batch)
  } catch (error) {
    // What cannot be looked into stays in the log.
    if (error instanceof RecordBatchError) return []
    throw error
  }
}

function errorOf(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error))
}

/** Never change it: stored data is found by it. */
const PREFIX = 'relay\0'

function keyOf(log: string): string {
  return `${PREFIX}${log}`
}
