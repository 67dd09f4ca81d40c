/**
 * Those that messages are pushed to, within the credit that they gave. A consumer's leases last as long as it is
 * there; when it goes, what it had is given to others. Which of several gets a message is in peers.ts.
 */
import type { NewRecord } from '@robust/storage-adapters'
import type { Received } from '../core/queues/queue-requests.ts'
import type { Entry } from './entry.ts'
import { Peers } from './peers.ts'

export interface ConsumerOptions {
  /** Unique in the cluster. */
  readonly id: string
  /** The broker that has its connection. */
  readonly node: string
  readonly nodeEpoch: number
  /** Higher ones are served first. */
  readonly priority: number
  readonly matches: ((record: NewRecord) => boolean) | undefined
  readonly push: (message: Received) => void
}

export interface Consumer extends ConsumerOptions {
  /** Changed by `Consumers` only. */
  credit: number
  /** Size of `inFlight`, as its peers know it. */
  load: number
  readonly inFlight: Set<Entry>
}

export class Consumers {
  readonly #byId = new Map<string, Consumer>()
  /** Highest priority first; those of one priority in the order in which they came. */
  readonly #all: Consumer[] = []
  readonly #peers: Peers[] = []
  readonly #peersOf = new Map<Consumer, Peers>()
  readonly #random: () => number

  /** `random`: from 0 to 1. */
  constructor(random: () => number) {
    this.#random = random
  }

  get size(): number {
    return this.#all.length
  }

  get(id: string): Consumer | undefined {
    return this.#byId.get(id)
  }

  /** A consumer of the same id that is there still stays, and is found by it no more. */
  add(options: ConsumerOptions, credit: number): Consumer {
    const consumer: Consumer = { ...options, credit, load: 0, inFlight: new Set() }
    this.#byId.set(consumer.id, consumer)
    this.#all.splice(placeFor(this.#all, consumer.priority), 0, consumer)
    const peers = this.#peersFor(consumer)
    this.#peersOf.set(consumer, peers)
    peers.add(consumer)
    return consumer
  }

  remove(consumer: Consumer): void {
    const peers = this.#peersOf.get(consumer)
    if (peers === undefined) return
    this.#peersOf.delete(consumer)
    if (this.#byId.get(consumer.id) === consumer) this.#byId.delete(consumer.id)
    this.#all.splice(this.#all.indexOf(consumer), 1)
    peers.remove(consumer)
    if (peers.size === 0) this.#peers.splice(this.#peers.indexOf(peers), 1)
  }

  /** More messages may be pushed to it. */
  allow(consumer: Consumer, credit: number): void {
    this.#change(consumer, { credit, inFlight: 0 })
  }

  /** It gets the message. */
  give(consumer: Consumer, entry: Entry): void {
    consumer.inFlight.add(entry)
    this.#change(consumer, { credit: -1, inFlight: 1 })
  }

  /** It has the message no more. */
  take(consumer: Consumer, entry: Entry): void {
    if (consumer.inFlight.delete(entry)) this.#change(consumer, { credit: 0, inFlight: -1 })
  }

  /** Who takes the same messages, those that are served first at the head. */
  peers(): readonly Peers[] {
    return this.#peers
  }

  /** The only one that gets something, where there may be one only. */
  first(): Consumer | undefined {
    return this.#all[0]
  }

  isHere(consumer: Consumer): boolean {
    return this.#peersOf.has(consumer)
  }

  #change(consumer: Consumer, by: { readonly credit: number; readonly inFlight: number }): void {
    const peers = this.#peersOf.get(consumer)
    if (peers !== undefined) {
      peers.change(consumer, by)
      return
    }
    consumer.credit += by.credit
    consumer.load += by.inFlight
  }

  #peersFor({ priority, matches }: Consumer): Peers {
    if (matches === undefined) {
      const known = this.#peers.find((each) => each.priority === priority && !each.matches)
      if (known !== undefined) return known
    }
    const peers = new Peers({ priority, matches }, this.#random)
    this.#peers.splice(placeFor(this.#peers, priority), 0, peers)
    return peers
  }
}

/** Behind all that have the same priority or a higher one. */
function placeFor(sorted: readonly { readonly priority: number }[], priority: number): number {
  let low = 0
  let high = sorted.length
  while (low < high) {
    const middle = (low + high) >>> 1
    if ((sorted[middle] as { readonly priority: number }).priority >= priority) low = middle + 1
    else high = middle
  }
  return low
}
