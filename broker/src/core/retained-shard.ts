/**
 * The retained messages of one owned shard: the newest message of each address that was published to be
 * kept. Addresses are indexed in memory, messages stay in storage.
 */

import type { StorageAdapter } from '@robust/storage-adapters'
import { decodeRecordBatch, encodeRecordBatch } from '@robust/storage-adapters'
import { filterMatches, hasWildcard } from './filter-index.ts'
import { RETAINED_ADDRESSES_AT_ONCE, RETAINED_READS_AT_ONCE } from './limits.ts'
import type { Message } from './message.ts'
import type { Clock } from './ports/clock.ts'
import { fromRecord, toRecord } from './record.ts'
import { RETAINED, retainedKey } from './sessions/session-keys.ts'
import type { PlaceOutcome, ShardWriter } from './shard-writer.ts'
import { SortedList } from './sorted-list.ts'
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
  readonly #sorted = new SortedList<string>(inOrder)
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
    return [...this.#sorted].filter((address) => filterMatches(filter, address))
  }

  async load(): Promise<void> {
    for await (const { key } of scanAll(this.#storage, this.#writer.shard, RETAINED)) {
      const address = key.slice('retained/'.length)
      this.#addresses.set(address, 0)
      this.#sorted.add(address)
    }
  }

  /** Keeps the message, or forgets the address when the payload is empty. [MQTT-3.3.1-6] */
  store(message: Message, done: (outcome: PlaceOutcome) => void): void {
    const key = retainedKey(message.address)
    const { messagesMax = Number.POSITIVE_INFINITY } = this.#options.limits()
    const isNew = !this.#addresses.has(message.address)
    if (message.payload.byteLength === 0) {
      this.#forget(message.address)
    } else if (isNew && this.#addresses.size >= messagesMax) {
      this.refused++
      this.#options.onUnkept?.()
      this.#writer.onCommit((outcome) => done(outcome === 'lost' ? 'lost' : 'unkept'))
      return
    } else {
      this.#addresses.set(message.address, ++this.#changes)
      if (isNew) this.#sorted.add(message.address)
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
    let after = options.after
    // What is staged belongs to publishers that may have been told already that it is kept.
    await new Promise<void>((resolve) => this.#writer.onCommit(() => resolve()))
    for (;;) {
      const { addresses, next } = this.#candidates(filter, after)
      const found = await Promise.all(
        addresses.map((address) => this.#read(address, options.nowMs)),
      )
      for (const [at, entry] of found.entries()) {
        if (bytes >= options.bytesMax) return { messages, bytes, next: addresses[at - 1] ?? after }
        if (entry === undefined) continue
        messages.push(entry.message)
        bytes += entry.bytes
      }
      if (next === undefined) return { messages, bytes, next: undefined }
      after = next
      await new Promise<void>((resolve) => this.#options.clock.defer(resolve))
    }
  }

  /** Undefined: it has gone, or its time is over. */
  async #read(
    address: string,
    nowMs: number,
  ): Promise<{ readonly message: Message; readonly bytes: number } | undefined> {
    const change = this.#addresses.get(address)
    const value = await this.#storage.get(this.#writer.shard, retainedKey(address))
    const record = value && decodeRecordBatch(value)[0]
    if (value === undefined || record === undefined) return undefined
    const { message } = fromRecord(record)
    if (message.expiresAtMs !== 0 && message.expiresAtMs <= nowMs) {
      // Found by whoever looks for it next: it takes no room from then on.
      if (this.#addresses.get(address) === change) this.#forget(address)
      return undefined
    }
    return { message: { ...message, retain: true }, bytes: value.byteLength }
  }

  #forget(address: string): void {
    if (!this.#addresses.delete(address)) return
    this.#sorted.delete(address)
    this.#writer.delete(retainedKey(address))
  }

  /** Some that sort after the address; `next`: the last one that was looked at, when there are more. */
  #candidates(
    filter: string,
    after: string,
  ): { readonly addresses: string[]; readonly next: string | undefined } {
    if (!hasWildcard(filter)) {
      const isKept = this.#addresses.has(filter) && filter > after
      return { addresses: isKept ? [filter] : [], next: undefined }
    }
    const prefix = literalStart(filter)
    const addresses: string[] = []
    let index = this.#sorted.indexAfter(after)
    if (after < prefix) {
      index = this.#sorted.indexAfter(prefix)
      // The address that is the prefix itself, as `a` is of `a/#`.
      if (this.#sorted.at(index - 1) === prefix) index--
    }
    for (let looked = 0; ; looked++, index++) {
      const address = this.#sorted.at(index)
      if (address === undefined || !address.startsWith(prefix))
        return { addresses, next: undefined }
      if (filterMatches(filter, address)) addresses.push(address)
      if (addresses.length >= RETAINED_READS_AT_ONCE || looked >= RETAINED_ADDRESSES_AT_ONCE) {
        return { addresses, next: address }
      }
    }
  }
}

/** What every address that the filter matches begins with. */
function literalStart(filter: string): string {
  const wildcard = filter.search(/[+#]/)
  return filter.slice(0, Math.max(0, wildcard - 1))
}

function inOrder(a: string, b: string): number {
  return a < b ? -1 : a === b ? 0 : 1
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
