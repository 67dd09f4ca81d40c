/**
 * The retained messages of one owned shard: the newest message of each address that was published to be
 * kept. Addresses are indexed in memory, messages stay in storage.
 */

import type { StorageAdapter } from '@robust/storage-adapters'
import { decodeRecordBatch, encodeRecordBatch } from '@robust/storage-adapters'
import { filterMatches, hasWildcard } from './filter-index.ts'
import type { Message } from './message.ts'
import type { Clock } from './ports/clock.ts'
import { fromRecord, toRecord } from './record.ts'
import { RETAINED, retainedKey } from './sessions/session-keys.ts'
import type { PlaceOutcome, ShardWriter } from './shard-writer.ts'
import { scanAll } from './stored.ts'

export interface RetainedLimits {
  /** Of one shard; undefined: no limit. */
  readonly messagesMax: number | undefined
  /** After its publication no message is kept for longer; undefined: as its publisher says. */
  readonly expirySeconds: number | undefined
}

export interface RetainedOptions {
  readonly limits: () => RetainedLimits
  /** A message was not kept since there are too many. */
  readonly onUnkept?: () => void
  readonly clock: Clock
}

export class RetainedShard {
  readonly #writer: ShardWriter
  readonly #storage: StorageAdapter
  readonly #options: RetainedOptions
  /** With a number that is another one after each change. */
  readonly #addresses = new Map<string, number>()
  #changes = 0
  /** Messages that were not kept since there are too many. */
  refused = 0

  constructor(writer: ShardWriter, storage: StorageAdapter, options: RetainedOptions) {
    this.#writer = writer
    this.#storage = storage
    this.#options = options
  }

  get size(): number {
    return this.#addresses.size
  }

  /** In order. */
  addresses(filter: string): readonly string[] {
    return this.#candidates(filter)
  }

  async load(): Promise<void> {
    for await (const { key } of scanAll(this.#storage, this.#writer.shard, RETAINED)) {
      this.#addresses.set(key.slice('retained/'.length), 0)
    }
  }

  /** Keeps the message, or forgets the address when the payload is empty. [MQTT-3.3.1-6] */
  store(message: Message, done: (outcome: PlaceOutcome) => void): void {
    const key = retainedKey(message.address)
    const { messagesMax = Number.POSITIVE_INFINITY } = this.#options.limits()
    const isNew = !this.#addresses.has(message.address)
    if (message.payload.byteLength === 0) {
      if (this.#addresses.delete(message.address)) this.#writer.delete(key)
    } else if (isNew && this.#addresses.size >= messagesMax) {
      this.refused++
      this.#options.onUnkept?.()
      this.#writer.onCommit((outcome) => done(outcome === 'lost' ? 'lost' : 'unkept'))
      return
    } else {
      this.#addresses.set(message.address, ++this.#changes)
      const batch = encodeRecordBatch([toRecord(this.#expiring(message))], {
        baseOffset: 0,
        leaderEpoch: 0,
      })
      this.#writer.put(key, batch)
    }
    this.#writer.onCommit(done)
  }

  #expiring(message: Message): Message {
    const { limits, clock } = this.#options
    const { expirySeconds } = limits()
    if (expirySeconds === undefined) return message
    const latest = clock.wallMs() + expirySeconds * 1_000
    const { expiresAtMs } = message
    return expiresAtMs !== 0 && expiresAtMs <= latest
      ? message
      : { ...message, expiresAtMs: latest }
  }

  /**
   * Messages whose address the filter matches and that have not expired, marked as retained, in order of their
   * addresses; `next` is set when there are more than fit in `bytesMax`.
   */
  async find(filter: string, options: FindOptions): Promise<Found> {
    const messages: Message[] = []
    let bytes = 0
    // What is staged belongs to publishers that may have been told already that it is kept.
    await new Promise<void>((resolve) => this.#writer.onCommit(() => resolve()))
    for (const address of this.#candidates(filter)) {
      if (address <= options.after) continue
      if (bytes >= options.bytesMax) return { messages, bytes, next: lastAddress(messages) }
      const change = this.#addresses.get(address)
      const value = await this.#storage.get(this.#writer.shard, retainedKey(address))
      const record = value && decodeRecordBatch(value)[0]
      if (value === undefined || record === undefined) continue
      const { message } = fromRecord(record)
      if (message.expiresAtMs !== 0 && message.expiresAtMs <= options.nowMs) {
        // Found by whoever looks for it next: it takes no room from then on.
        if (this.#addresses.get(address) === change && this.#addresses.delete(address)) {
          this.#writer.delete(retainedKey(address))
        }
        continue
      }
      messages.push({ ...message, retain: true })
      bytes += value.byteLength
    }
    return { messages, bytes, next: undefined }
  }

  #candidates(filter: string): string[] {
    if (!hasWildcard(filter)) return this.#addresses.has(filter) ? [filter] : []
    return [...this.#addresses.keys()].filter((address) => filterMatches(filter, address)).sort()
  }
}

export interface FindOptions {
  /** Only addresses that sort after this one. */
  readonly after: string
  readonly bytesMax: number
  /** Wall clock. */
  readonly nowMs: number
}

export interface Found {
  readonly messages: readonly Message[]
  readonly bytes: number
  /** The last address that was looked at, when there are more. */
  readonly next: string | undefined
}

function lastAddress(messages: readonly Message[]): string {
  return messages[messages.length - 1]?.address ?? ''
}
