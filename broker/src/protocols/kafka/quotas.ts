/**
 * How much clients may write, read and ask for, by user and client id, on each broker for itself. Of several quotas
 * that a client could have the most particular holds, for each of the three by itself, as Kafka has it: the first of
 *
 *   user and client id, user and any client id, user, any user and client id, any user and any client id, any user,
 *   client id, any client id
 *
 * Who is above it gets its answer at once, with how long it is to wait, and is not read until then (KIP-219).
 */
import type { Clock } from '../../core/ports/clock.ts'
import { TokenBucket } from '../shared/token-bucket.ts'

/** A second of each. */
export interface Quota {
  readonly producerByteRate?: number
  readonly consumerByteRate?: number
  /** Of the broker's thread. */
  readonly requestPercentage?: number
}

export type QuotaName = keyof Required<Quota>

/** Undefined: whatever it is. Empty: any that has none of its own. */
export interface QuotaEntity {
  readonly user: string | undefined
  readonly client: string | undefined
}

export interface QuotaEntry {
  readonly entity: QuotaEntity
  readonly quota: Quota
}

export interface QuotaStore {
  all(): readonly QuotaEntry[]
  /** `listener` is told when any has changed. */
  observe(listener: () => void): void
  /** Undefined takes a quota away. Resolves when it is known everywhere. Rejects with BrokerError. */
  change(entity: QuotaEntity, changes: ReadonlyMap<QuotaName, number | undefined>): Promise<void>
}

interface Limit {
  readonly perSecond: number
  readonly bucket: TokenBucket
}

/** What is used, in bytes or milliseconds. */
export type Use = readonly [name: QuotaName, count: number]

/** Those that share a quota and are remembered; past it all begin anew. */
const BUCKETS_MAX = 10_000
const ANY = ''

export class ClientQuotas {
  readonly #clock: Clock
  readonly #store: QuotaStore
  /** Undefined: to be read again. */
  #known: ReadonlyMap<string, Quota> | undefined
  readonly #buckets = new Map<string, TokenBucket>()

  constructor(clock: Clock, store: QuotaStore) {
    this.#clock = clock
    this.#store = store
    store.observe(() => {
      this.#known = undefined
    })
  }

  all(): readonly QuotaEntry[] {
    return this.#store.all()
  }

  change(...change: Parameters<QuotaStore['change']>): Promise<void> {
    return this.#store.change(...change)
  }

  /** There are none, which is the usual case. */
  get isOpen(): boolean {
    return this.#quotas.size === 0
  }

  /** Answers how long the client is to wait, ms. */
  spend(client: { user: string; client: string }, uses: readonly Use[]): number {
    if (this.isOpen) return 0
    const waits = uses.map(([name, count]) => {
      const limit = this.#limit(client, name)
      return limit === undefined ? 0 : limit.bucket.spend(limit.perSecond, count)
    })
    return Math.max(0, ...waits)
  }

  get #quotas(): ReadonlyMap<string, Quota> {
    this.#known ??= new Map(this.#store.all().map(({ entity, quota }) => [keyOf(entity), quota]))
    return this.#known
  }

  #limit({ user, client }: { user: string; client: string }, name: QuotaName): Limit | undefined {
    for (const [asUser, asClient] of precedence(user, client)) {
      const value = this.#quotas.get(keyOf({ user: asUser, client: asClient }))?.[name]
      if (value === undefined) continue
      const shared = {
        user: asUser === undefined ? undefined : user,
        client: asClient === undefined ? undefined : client,
      }
      const perSecond = name === 'requestPercentage' ? value * MS_OF_PERCENT : value
      return { perSecond, bucket: this.#bucket(`${name} ${keyOf(shared)}`, perSecond) }
    }
    return undefined
  }

  #bucket(key: string, perSecond: number): TokenBucket {
    const known = this.#buckets.get(key)
    if (known !== undefined) return known
    if (this.#buckets.size >= BUCKETS_MAX) this.#buckets.clear()
    const bucket = new TokenBucket(this.#clock, perSecond)
    this.#buckets.set(key, bucket)
    return bucket
  }
}

/** Of a second. */
const MS_OF_PERCENT = 10

function precedence(user: string, client: string) {
  return [
    [user, client],
    [user, ANY],
    [user, undefined],
    [ANY, client],
    [ANY, ANY],
    [ANY, undefined],
    [undefined, client],
    [undefined, ANY],
  ] as const
}

export function keyOf({ user, client }: QuotaEntity): string {
  return JSON.stringify([user ?? null, client ?? null])
}
