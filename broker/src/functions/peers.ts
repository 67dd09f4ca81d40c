/**
 * Consumers that take the same messages, and which of them gets the next one. Whatever the strategy, the choice does
 * not take longer when there are more of them.
 */
import type { NewRecord } from '@robust/storage-adapters'
import { HEADER, textHeader } from '../core/queues/headers.ts'
import type { DispatchStrategy } from '../core/queues/queue-policy.ts'
import { hashOf } from '../core/shard-hash.ts'
import type { Consumer } from './consumers.ts'

export class Peers {
  readonly priority: number
  /** Those with a selector of their own have no peers. */
  readonly matches: ((record: NewRecord) => boolean) | undefined
  readonly #random: () => number
  /** In the order in which they came. */
  readonly #members: Consumer[] = []
  /** Those with credit, who waits longest first. */
  readonly #willing = new Set<Consumer>()
  /** The same, to be found by number, and their numbers. */
  readonly #numbered: Consumer[] = []
  readonly #numbers = new Map<Consumer, number>()
  /** The same, by how much they have in flight, which is at least `#least`. */
  readonly #byLoad = new Map<number, Set<Consumer>>()
  #least = 0
  #sticky: Consumer | undefined
  #turn = 0

  /** `random`: from 0 to 1. */
  constructor({ priority, matches }: Pick<Consumer, 'priority' | 'matches'>, random: () => number) {
    this.priority = priority
    this.matches = matches
    this.#random = random
  }

  get size(): number {
    return this.#members.length
  }

  get isWilling(): boolean {
    return this.#willing.size > 0
  }

  add(consumer: Consumer): void {
    this.#members.push(consumer)
    if (consumer.credit > 0) this.#enter(consumer)
  }

  remove(consumer: Consumer): void {
    const at = this.#members.indexOf(consumer)
    if (at >= 0) this.#members.splice(at, 1)
    this.#leave(consumer)
    if (this.#sticky === consumer) this.#sticky = undefined
  }

  /** Its credit, or what it has in flight, is another one from now on. */
  change(consumer: Consumer, by: { readonly credit: number; readonly inFlight: number }): void {
    const isIn = this.#numbers.has(consumer)
    if (isIn && by.inFlight !== 0) this.#unload(consumer)
    consumer.credit += by.credit
    consumer.load += by.inFlight
    if (consumer.credit <= 0) this.#leave(consumer)
    else if (!isIn) this.#enter(consumer)
    else if (by.inFlight !== 0) this.#load(consumer)
  }

  /** One that has credit. Somebody must be willing. */
  choose(strategy: DispatchStrategy, record: NewRecord): Consumer {
    switch (strategy) {
      case 'round-robin':
        return this.#longest()
      case 'random':
        return this.#numbered[this.#lot(this.#numbered.length)] as Consumer
      case 'sticky':
        if (this.#sticky === undefined || !this.#willing.has(this.#sticky)) {
          this.#sticky = this.#longest()
        }
        return this.#sticky
      case 'least-in-flight':
        return this.#leastLoaded()
      case 'hash-publisher':
        return this.#hashed(textHeader(record, HEADER.publisher) ?? '')
      case 'hash-address':
        return this.#hashed(textHeader(record, HEADER.address) ?? '')
      default:
        return strategy satisfies never
    }
  }

  /** Whatever its credit: for what is not stored, and not counted. There must be one. */
  chooseAny(strategy: DispatchStrategy, record: NewRecord): Consumer {
    const isHashed = strategy === 'hash-publisher' || strategy === 'hash-address'
    const needsCredit = strategy === 'sticky' || strategy === 'least-in-flight' || isHashed
    if (needsCredit && this.isWilling) return this.choose(strategy, record)
    const { length } = this.#members
    const at = strategy === 'random' ? this.#lot(length) : this.#turn++ % length
    return this.#members[at] as Consumer
  }

  #lot(count: number): number {
    return Math.min(count - 1, Math.floor(this.#random() * count))
  }

  /** It is the last one from now on. */
  #longest(): Consumer {
    const [first] = this.#willing
    if (first === undefined) throw new Error('nobody is willing')
    this.#willing.delete(first)
    this.#willing.add(first)
    return first
  }

  #leastLoaded(): Consumer {
    for (;;) {
      const [first] = this.#byLoad.get(this.#least) ?? []
      if (first !== undefined) return first
      if (this.#byLoad.size === 0) throw new Error('nobody is willing')
      this.#least++
    }
  }

  /** Over all that are there, so that one without credit does not change whose a message is. */
  #hashed(key: string): Consumer {
    const hash = hashOf(key)
    const its = this.#members[hash % this.#members.length] as Consumer
    return this.#willing.has(its) ? its : (this.#numbered[hash % this.#numbered.length] as Consumer)
  }

  #enter(consumer: Consumer): void {
    this.#willing.add(consumer)
    this.#numbers.set(consumer, this.#numbered.length)
    this.#numbered.push(consumer)
    this.#load(consumer)
  }

  #leave(consumer: Consumer): void {
    const number = this.#numbers.get(consumer)
    if (number === undefined) return
    this.#unload(consumer)
    this.#willing.delete(consumer)
    this.#numbers.delete(consumer)
    const last = this.#numbered.pop() as Consumer
    if (last === consumer) return
    this.#numbered[number] = last
    this.#numbers.set(last, number)
  }

  #load(consumer: Consumer): void {
    const { load } = consumer
    const same = this.#byLoad.get(load)
    if (same === undefined) this.#byLoad.set(load, new Set([consumer]))
    else same.add(consumer)
    this.#least = Math.min(this.#least, load)
  }

  #unload(consumer: Consumer): void {
    const same = this.#byLoad.get(consumer.load)
    if (same?.delete(consumer) === true && same.size === 0) this.#byLoad.delete(consumer.load)
  }
}
