/**
 * Partitions of topics whose records are shared by the members of groups, at the owner of each partition. What is done
 * is stored on the partition's shard; who has what is known here only, and is given again by the next owner.
 */
import { baseOffset, nextOffset, type StorageAdapter } from '@robust/storage-adapters'
import { BrokerError } from '../errors.ts'
import type { HostedShard, HostedShards } from '../hosted-shard.ts'
import { shareKey } from '../logs/log-keys.ts'
import type { Clock, Timer } from '../ports/clock.ts'
import type { Directory } from '../ports/directory.ts'
import { decodeJson, encodeJson } from '../stored.ts'
import type { ServedPartition } from '../topics/served-partition.ts'
import { partitionOf, type Topic } from '../topics/topic.ts'
import {
  type AcquiredRun,
  Deliveries,
  type DeliveryLimits,
  type StoredDeliveries,
} from './deliveries.ts'

export type { DeliveryLimits, Verdict } from './deliveries.ts'

/** Which group it is, of those that had its name, and where it was told to begin. */
export interface ShareOrigin {
  readonly groupId: string
  /** Grows with each time that the group was told where to begin. */
  readonly resets: number
  /** Undefined: where the log ends, or begins. */
  readonly startOffset: number | undefined
}

interface StoredShare extends StoredDeliveries {
  readonly groupId: string
  readonly resets: number
}

export interface SharePartitionsOptions {
  readonly directory: Directory
  readonly hosted: HostedShards
  readonly storage: StorageAdapter
  readonly clock: Clock
  readonly limits: (group: string) => DeliveryLimits
  /** This broker is certainly a member: what it owns nobody else does. */
  readonly isMember: () => boolean
}

export interface Wanted {
  readonly bytesMax: number
  readonly recordsMax: number
  /** No more than so many records, though a batch is torn. */
  readonly isStrict: boolean
}

export interface Taken {
  readonly batches: readonly Uint8Array[]
  readonly runs: readonly AcquiredRun[]
}

const NOTHING: Taken = { batches: [], runs: [] }
/** Others may take what is read while it is read. */
const ATTEMPTS = 3

export class SharePartition {
  readonly deliveries: Deliveries
  readonly origin: Omit<ShareOrigin, 'startOffset'>
  readonly #key: string
  readonly #hosted: HostedShard
  readonly #clock: Clock
  readonly #waiting = new Set<() => void>()
  #timer: Timer | undefined

  constructor(
    { hosted, key, clock }: { hosted: HostedShard; key: string; clock: Clock },
    deliveries: Deliveries,
    origin: Omit<ShareOrigin, 'startOffset'>,
  ) {
    this.#hosted = hosted
    this.#key = key
    this.#clock = clock
    this.deliveries = deliveries
    this.origin = origin
  }

  get isLost(): boolean {
    return this.#hosted.writer.lost
  }

  /** `tell` runs when records may be given again, until the returned function is called. */
  onAvailable(tell: () => void): () => void {
    this.#waiting.add(tell)
    return () => this.#waiting.delete(tell)
  }

  /** Resolves when it is durable. False: the shard is lost, the outcome unknown. */
  save(): Promise<boolean> {
    this.#watch()
    const { groupId, resets } = this.origin
    const stored: StoredShare = { groupId, resets, ...this.deliveries.stored }
    const { writer } = this.#hosted
    writer.put(this.#key, encodeJson(stored))
    return new Promise((resolve) => writer.onCommit((outcome) => resolve(outcome === 'committed')))
  }

  /**
   * Records that are free, for the member, from the partition that is served here: whole batches, of which it may read
   * what is in the runs. At least one batch, however large it is.
   */
  async take(member: string, served: ServedPartition, wanted: Wanted): Promise<Taken> {
    const { deliveries } = this
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      deliveries.trim(served.startOffset)
      if (deliveries.expire(this.#clock.nowMs())) this.#freed()
      const { next } = deliveries
      const { endOffset } = served
      if (next === undefined || next >= endOffset) break
      const { batches } = await served.read(next, { bytesMax: wanted.bytesMax, endOffset })
      const spans = batches.map((batch) => ({
        ...{ first: baseOffset(batch), last: nextOffset(batch) - 1 },
      }))
      const runs = deliveries.acquire(member, { ...wanted, batches: spans }, this.#clock.nowMs())
      const [first, last] = [runs[0]?.first ?? 0, runs.at(-1)?.last ?? -1]
      if (runs.length === 0) continue
      this.#watch()
      const given = batches.filter((_, at) => {
        const span = spans[at]
        return span !== undefined && span.last >= first && span.first <= last
      })
      return { batches: given, runs }
    }
    return NOTHING
  }

  /** `refused`: the member has not all of them, and nothing is done. `lost`: the outcome is unknown. */
  async settle(
    member: string,
    verdicts: Parameters<Deliveries['settle']>[1],
  ): Promise<'done' | 'refused' | 'lost'> {
    if (this.isLost) return 'lost'
    if (!this.deliveries.settle(member, verdicts, this.#clock.nowMs())) return 'refused'
    const saved = this.save()
    if (verdicts.some(({ verdicts: each }) => each.includes('release'))) this.#tell()
    return (await saved) ? 'done' : 'lost'
  }

  /** Of a member that is gone. */
  release(member: string): void {
    if (this.deliveries.release(member)) this.#freed()
  }

  #freed(): void {
    void this.save()
    this.#tell()
  }

  #tell(): void {
    for (const tell of [...this.#waiting]) tell()
  }

  #watch(): void {
    this.#timer?.cancel()
    const { nextMs } = this.deliveries
    if (nextMs === undefined || this.isLost) return
    const waitMs = Math.max(1, nextMs - this.#clock.nowMs())
    this.#timer = this.#clock.after(waitMs, () => {
      if (this.deliveries.expire(this.#clock.nowMs())) this.#freed()
      else this.#watch()
    })
  }
}

/** Those without anything given are forgotten from here on. */
const PARTITIONS_MAX = 10_000

export class SharePartitions {
  readonly #options: SharePartitionsOptions
  readonly #opened = new Map<string, Promise<SharePartition>>()

  constructor(options: SharePartitionsOptions) {
    this.#options = options
  }

  /** Undefined: it is not owned here. Rejects with BrokerError UNAVAILABLE. */
  async open(
    { topic, partition, group }: { topic: Topic; partition: number; group: string },
    origin: ShareOrigin,
    beginAt: () => Promise<number>,
  ): Promise<SharePartition | undefined> {
    const { directory } = this.#options
    const { shard, log } = partitionOf(topic, partition, directory.shardCount)
    const hosted = this.#options.hosted.get(shard)
    if (hosted?.writer.lost !== false || !this.#options.isMember()) return undefined
    const key = shareKey(log, group)
    const known = await this.#opened.get(key)?.catch(() => undefined)
    if (known?.isLost === false && isOf(known.origin, origin)) return known
    if (this.#opened.size >= PARTITIONS_MAX) await this.#forget()
    const opened = this.#load({ hosted, key, group }, origin, beginAt)
    this.#opened.set(key, opened)
    return opened
  }

  /** What is stored, whoever owns the partition. Undefined: nothing of this group. Rejects with BrokerError UNAVAILABLE. */
  async startOf(
    { topic, partition, group }: { topic: Topic; partition: number; group: string },
    origin: ShareOrigin,
  ): Promise<number | undefined> {
    const { directory } = this.#options
    const { shard, log } = partitionOf(topic, partition, directory.shardCount)
    const stored = await this.#read(shard, shareKey(log, group))
    return stored !== undefined && isOf(stored, origin) ? stored.start : origin.startOffset
  }

  async #load(
    { hosted, key, group }: { hosted: HostedShard; key: string; group: string },
    origin: ShareOrigin,
    beginAt: () => Promise<number>,
  ): Promise<SharePartition> {
    const { clock, limits } = this.#options
    const stored = await this.#read(hosted.shard, key)
    const { groupId, resets, startOffset } = origin
    const isKnown = stored !== undefined && isOf(stored, origin)
    const from = isKnown ? stored : { start: startOffset ?? (await beginAt()), runs: [] }
    const made = new SharePartition(
      { hosted, key, clock },
      new Deliveries(() => limits(group), from),
      {
        groupId,
        resets,
      },
    )
    // Where it begins must not move until something is acknowledged.
    if (!isKnown) void made.save()
    return made
  }

  async #read(shard: number, key: string): Promise<StoredShare | undefined> {
    try {
      const found = await this.#options.storage.get(shard, key)
      return found === undefined ? undefined : decodeJson<StoredShare>(found)
    } catch (cause) {
      throw new BrokerError('UNAVAILABLE', 'what a group shares cannot be read now', { cause })
    }
  }

  async #forget(): Promise<void> {
    for (const [key, opened] of this.#opened) {
      const one = await opened.catch(() => undefined)
      if (one?.isLost === false && one.deliveries.isHeld) continue
      this.#opened.delete(key)
      return
    }
  }
}

function isOf(
  one: Omit<ShareOrigin, 'startOffset'>,
  other: Omit<ShareOrigin, 'startOffset'>,
): boolean {
  return one.groupId === other.groupId && one.resets === other.resets
}
