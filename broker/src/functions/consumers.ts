/**
 * Those that messages are pushed to, within the credit that they gave, and which of them gets the next one. A
 * consumer's leases last as long as it is there; when it goes, what it had is given to others.
 */
import type { NewRecord } from '@robust/storage-adapters'
import { HEADER, textHeader } from '../core/queues/headers.ts'
import type { DispatchStrategy } from '../core/queues/queue-policy.ts'
import type { Received } from '../core/queues/queue-requests.ts'
import { hashOf } from '../core/shard-hash.ts'
import type { Entry } from './entry.ts'

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
  credit: number
  readonly inFlight: Set<Entry>
}

export class Consumers {
  #all: Consumer[] = []
  #turn = 0
  #sticky: Consumer | undefined
  readonly #random: () => number

  /** `random`: from 0 to 1. */
  constructor(random: () => number) {
    this.#random = random
  }

  get size(): number {
    return this.#all.length
  }

  get(id: string): Consumer | undefined {
    return this.#all.find((consumer) => consumer.id === id)
  }

  all(): readonly Consumer[] {
    return this.#all
  }

  add(options: ConsumerOptions, credit: number): Consumer {
    const consumer: Consumer = { ...options, credit, inFlight: new Set() }
    this.#all.push(consumer)
    // Stable: those of one priority stay in the order in which they came.
    this.#all.sort((a, b) => b.priority - a.priority)
    return consumer
  }

  remove(consumer: Consumer): void {
    this.#all = this.#all.filter((each) => each !== consumer)
    if (this.#sticky === consumer) this.#sticky = undefined
  }

  /** Those that may get something now, in groups that take the same messages. */
  *willing(singleConsumer: boolean): Generator<readonly Consumer[]> {
    const all = singleConsumer ? this.#all.slice(0, 1) : this.#all
    let peers: Consumer[] = []
    for (const consumer of all) {
      if (consumer.credit <= 0) continue
      const [first] = peers
      const joins =
        first === undefined ||
        (first.priority === consumer.priority && !first.matches && !consumer.matches)
      if (!joins) {
        yield peers
        peers = []
      }
      peers.push(consumer)
    }
    if (peers.length > 0) yield peers
  }

  /** Which of the willing peers gets the message. */
  choose(strategy: DispatchStrategy, peers: readonly Consumer[], record: NewRecord): Consumer {
    const [first] = peers
    if (first === undefined) throw new Error('nobody is willing')
    switch (strategy) {
      case 'round-robin':
        return this.#next(peers)
      case 'random':
        return peers[Math.floor(this.#random() * peers.length)] ?? first
      case 'sticky':
        if (this.#sticky === undefined || !peers.includes(this.#sticky))
          this.#sticky = this.#next(peers)
        return this.#sticky
      case 'least-in-flight':
        return peers.reduce((least, each) =>
          each.inFlight.size < least.inFlight.size ? each : least,
        )
      case 'hash-publisher':
        return this.#hashed(textHeader(record, HEADER.publisher) ?? '', peers)
      case 'hash-address':
        return this.#hashed(textHeader(record, HEADER.address) ?? '', peers)
      default:
        return strategy satisfies never
    }
  }

  #next(peers: readonly Consumer[]): Consumer {
    this.#turn++
    return peers[this.#turn % peers.length] as Consumer
  }

  /** Over all that are there, so that one without credit does not change whose a message is; else the next one. */
  #hashed(key: string, peers: readonly Consumer[]): Consumer {
    const start = hashOf(key) % this.#all.length
    for (let step = 0; step < this.#all.length; step++) {
      const consumer = this.#all[(start + step) % this.#all.length] as Consumer
      if (peers.includes(consumer)) return consumer
    }
    return peers[0] as Consumer
  }
}
