/**
 * Who gets a message of an address: live subscribers here, brokers with live subscribers, and shards with
 * durable sessions. Results are kept per address until any subscription changes.
 *
 * A shard whose filters this broker has not heard of yet is part of every route: what would be acknowledged
 * without asking it could be lost for its sessions.
 */
import { FilterIndex } from './filter-index.ts'
import { isShared, plainFilter } from './groups/shared-filter.ts'
import { ROUTES_CACHED_MAX } from './limits.ts'
import type { Subscriber, Subscription } from './message.ts'
import type { BoundQueue } from './queues/queue-table.ts'
import { type Partition, partitionFor, partitionOf, type Topic } from './topics/topic.ts'

export interface LiveTarget {
  readonly subscriber: Subscriber
  readonly grants: readonly Subscription[]
  /** Some grant wants no messages of the subscriber's own. */
  readonly noLocal: boolean
}

export interface Route {
  readonly targets: readonly LiveTarget[]
  /** Node ids of brokers that have live subscribers. */
  readonly peers: readonly string[]
  /** Shards that have durable sessions that match, or may have. */
  readonly shards: readonly number[]
  /** Shards that have groups that match, or may have. */
  readonly groups: readonly number[]
  /** Logs of the topics that keep the address. */
  readonly logs: readonly Partition[]
  readonly queues: readonly BoundQueue[]
}

/** `reaches`: false when none keeps anything of the system's addresses that begin with the level. */
type Keepers<T> = T & { reaches(level: string): boolean }

/** What keeps an address. */
export interface AddressKeepers {
  readonly topics: Keepers<{ match(address: string): readonly Topic[] }>
  readonly queues: Keepers<{ match(address: string, shardCount: number): readonly BoundQueue[] }>
}

/** Several groups of a shard may have one filter. */
interface GroupEntry {
  readonly shard: number
  readonly key: string
}

interface LiveEntry {
  readonly subscriber: Subscriber
  readonly subscription: Subscription
}

export class Router {
  readonly #live = new FilterIndex<LiveEntry>(({ subscriber }) => subscriber.name)
  readonly #peers = new FilterIndex<string>((peer) => peer)
  readonly #shards = new FilterIndex<number>(String)
  readonly #groups = new FilterIndex<GroupEntry>(({ key }) => key)
  readonly #peerFilters = new Map<string, Set<string>>()
  readonly #shardFilters = new Map<number, { epoch: number; filters: Set<string> }>()
  readonly #cache = new Map<string, Route>()
  readonly #cluster: { readonly shardCount: number }
  readonly #keepers: AddressKeepers

  /** The number of shards is known once the metadata is. */
  constructor(cluster: { readonly shardCount: number }, keepers: AddressKeepers) {
    this.#cluster = cluster
    this.#keepers = keepers
  }

  /** Other topics or queues keep what is published. */
  keepersChanged(): void {
    this.#cache.clear()
  }

  route(address: string): Route {
    const known = this.#cache.get(address)
    if (known !== undefined) return known
    const route = this.#compute(address)
    // The system's own addresses come once for each client and each event: they would push the others out.
    if (address.startsWith('$')) return route
    if (this.#cache.size >= ROUTES_CACHED_MAX) this.#cache.clear()
    this.#cache.set(address, route)
    return route
  }

  /** False: nobody, as far as every broker and shard has told, wants what begins with this level of the system's. */
  reaches(level: string): boolean {
    return (
      this.#shardFilters.size < this.#cluster.shardCount ||
      this.#live.reaches(level) ||
      this.#peers.reaches(level) ||
      this.#shards.reaches(level) ||
      this.#groups.reaches(level) ||
      this.#keepers.topics.reaches(level) ||
      this.#keepers.queues.reaches(level)
    )
  }

  /** True: the filter is new on this broker, so the peers must hear of it. */
  subscribe(subscriber: Subscriber, subscription: Subscription): boolean {
    const { filter } = subscription
    const result = this.#live.add(filter, { subscriber, subscription })
    this.#cache.clear()
    return result === 'first'
  }

  /** True: nobody on this broker wants the filter any more. */
  unsubscribe(subscriber: Subscriber, filter: string): boolean {
    // A later connection of the same name may have subscribed again in the meantime: its entry stays.
    if (this.#live.get(filter, subscriber.name)?.subscriber !== subscriber) return false
    const result = this.#live.remove(filter, subscriber.name)
    this.#cache.clear()
    return result === 'last'
  }

  /** Every filter that a live subscriber of this broker has. */
  liveFilters(): string[] {
    return this.#live.filters()
  }

  get liveSubscriptions(): number {
    return this.#live.size
  }

  changePeerFilters(peer: string, change: FilterChange): void {
    let filters = this.#peerFilters.get(peer)
    if (filters === undefined) {
      filters = new Set()
      this.#peerFilters.set(peer, filters)
    }
    applyChange(filters, change, {
      add: (filter) => this.#peers.add(filter, peer),
      remove: (filter) => this.#peers.remove(filter, peer),
    })
    this.#cache.clear()
  }

  forgetPeer(peer: string): void {
    this.changePeerFilters(peer, { reset: true, added: [], removed: [] })
    this.#peerFilters.delete(peer)
  }

  /** Ignores what an older owner says. True: the change counts. */
  changeShardFilters(shard: number, epoch: number, change: FilterChange): boolean {
    const known = this.#shardFilters.get(shard)
    if (known !== undefined && epoch < known.epoch) return false
    if (!change.reset && known?.epoch !== epoch) {
      // A change to a set that never arrived: what the shard wants is not known any more.
      this.#forgetShard(shard)
      return false
    }
    const entry = known ?? { epoch, filters: new Set<string>() }
    entry.epoch = epoch
    this.#shardFilters.set(shard, entry)
    applyChange(entry.filters, change, {
      add: (filter) => this.#addOfShard(filter, shard),
      remove: (filter) => this.#removeOfShard(filter, shard),
    })
    this.#cache.clear()
    return true
  }

  /** Nothing that was heard counts any more: every shard is asked about everything until it is heard again. */
  forgetShards(): void {
    for (const shard of [...this.#shardFilters.keys()]) this.#forgetShard(shard)
  }

  #forgetShard(shard: number): void {
    for (const filter of this.#shardFilters.get(shard)?.filters ?? []) {
      this.#removeOfShard(filter, shard)
    }
    this.#shardFilters.delete(shard)
    this.#cache.clear()
  }

  #addOfShard(filter: string, shard: number): void {
    if (isShared(filter))
      this.#groups.add(plainFilter(filter), { shard, key: `${shard} ${filter}` })
    else this.#shards.add(filter, shard)
  }

  #removeOfShard(filter: string, shard: number): void {
    if (isShared(filter)) this.#groups.remove(plainFilter(filter), `${shard} ${filter}`)
    else this.#shards.remove(filter, String(shard))
  }

  #compute(address: string): Route {
    const shards = distinct(this.#shards, address)
    const groups: number[] = []
    this.#groups.match(address, ({ shard }) => {
      if (!groups.includes(shard)) groups.push(shard)
    })
    const { shardCount } = this.#cluster
    for (let shard = 0; shard < shardCount && this.#shardFilters.size < shardCount; shard++) {
      if (this.#shardFilters.has(shard)) continue
      shards.push(shard)
      groups.push(shard)
    }
    const { topics, queues } = this.#keepers
    return {
      targets: this.#targets(address),
      peers: distinct(this.#peers, address),
      shards,
      groups,
      logs: topics
        .match(address)
        .map((topic) => partitionOf(topic, partitionFor(topic, address), shardCount)),
      queues: queues.match(address, shardCount),
    }
  }

  #targets(address: string): LiveTarget[] {
    const targets: MutableTarget[] = []
    let byName: Map<string, MutableTarget> | undefined
    this.#live.match(address, ({ subscriber, subscription }) => {
      const { name } = subscriber
      // Most addresses have few subscribers: they are looked through.
      if (byName === undefined && targets.length >= LOOKED_THROUGH_MAX) {
        byName = new Map(targets.map((target) => [target.subscriber.name, target]))
      }
      const known = byName
        ? byName.get(name)
        : targets.find((target) => target.subscriber.name === name)
      if (known !== undefined) {
        known.grants.push(subscription)
        known.noLocal ||= subscription.noLocal
        return
      }
      const target = { subscriber, grants: [subscription], noLocal: subscription.noLocal }
      targets.push(target)
      byName?.set(name, target)
    })
    return targets
  }
}

interface MutableTarget {
  readonly subscriber: Subscriber
  readonly grants: Subscription[]
  noLocal: boolean
}

const LOOKED_THROUGH_MAX = 8

/** What matches, each once: brokers, or shards. There are not many of either. */
function distinct<T>(index: FilterIndex<T>, address: string): T[] {
  const found: T[] = []
  index.match(address, (value) => {
    if (!found.includes(value)) found.push(value)
  })
  return found
}

export interface FilterChange {
  /** Replaces what was there by `added`. */
  readonly reset: boolean
  readonly added: readonly string[]
  readonly removed: readonly string[]
}

function applyChange(
  filters: Set<string>,
  change: FilterChange,
  index: { add: (filter: string) => void; remove: (filter: string) => void },
): void {
  if (change.reset) {
    const wanted = new Set(change.added)
    for (const filter of filters) {
      if (!wanted.has(filter)) {
        filters.delete(filter)
        index.remove(filter)
      }
    }
  }
  for (const filter of change.added) {
    if (!filters.has(filter)) {
      filters.add(filter)
      index.add(filter)
    }
  }
  for (const filter of change.removed) {
    if (filters.delete(filter)) index.remove(filter)
  }
}
