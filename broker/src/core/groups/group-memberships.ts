/**
 * The groups that a connected session is in, as the broker with its socket sees them: joins where each group is, again
 * when that moves, and says what the client has got, together for all of a turn.
 */

import type { Subscription } from '../message.ts'
import { withDelivery } from '../message.ts'
import type { Clock } from '../ports/clock.ts'
import type { Delivery, SessionAddress } from '../ports/connections.ts'
import type { ShardClient } from '../shard-client.ts'
import type { Enqueued } from '../shard-requests.ts'
import type { GroupDelivery, GroupReceipt } from './hosted-groups.ts'
import { shardOfGroup } from './shared-filter.ts'

export interface GroupMembershipsOptions {
  readonly to: () => SessionAddress
  readonly node: string
  readonly nodeEpoch: number
  readonly durable: boolean
  /** Messages of one group that are under way at most. */
  readonly window: number
  readonly shardCount: () => number
  readonly client: ShardClient
  readonly clock: Clock
  /** `done` runs once the client has the message, or never will on this connection. */
  readonly deliver: (delivery: GroupDelivery, done: () => void) => void
  /** Into the inbox of the session. */
  readonly enqueue: (messages: readonly Enqueued[]) => Promise<void>
}

interface Said {
  readonly done: GroupReceipt[]
  credit: number
}

const RETRY_MS = 1_000
/** What a member had under way is given to others by it, so the owner is told however long it takes to find one. */
const LEAVE_WAIT_MS = 24 * 3_600_000

export class GroupMemberships {
  readonly #options: GroupMembershipsOptions
  readonly #groups = new Map<string, Subscription>()
  #said = new Map<string, Said>()
  /** Exactly-once messages that went through the inbox, by token, then by their offset there: their groups. */
  readonly #enqueued = new Map<string, string>()
  readonly #inInbox = new Map<number, string>()
  #ended = false

  constructor(options: GroupMembershipsOptions) {
    this.#options = options
  }

  /** Rejects with BrokerError. */
  async join(subscription: Subscription): Promise<void> {
    this.#groups.set(subscription.filter, subscription)
    await this.#join(subscription)
  }

  async leave(group: string): Promise<void> {
    if (!this.#groups.delete(group)) return
    await this.#leave(group, true)
  }

  /** Ownership of shards has changed, or a stream to an owner was lost with what was on it. */
  rejoin(shards: ReadonlySet<number>): void {
    for (const subscription of this.#groups.values()) {
      if (shards.has(this.#shardOf(subscription.filter))) this.#background(this.#join(subscription))
    }
  }

  /** The connection has ended. */
  end(): void {
    this.#ended = true
    this.#flush()
    for (const group of this.#groups.keys()) {
      this.#background(this.#leave(group, !this.#options.durable, LEAVE_WAIT_MS))
    }
  }

  push(deliveries: readonly GroupDelivery[]): void {
    for (const delivery of deliveries) {
      if (this.#ended || !this.#groups.has(delivery.group)) continue
      // What began exactly once is completed with this client, whenever it comes again. [MQTT-4.8.2-4]
      if (this.#options.durable && delivery.guarantee === 2) this.#enqueue(delivery)
      else this.#deliver(delivery)
    }
  }

  /** Of the session's inbox: messages that came from a group are among them. */
  pushed(deliveries: readonly Delivery[]): void {
    if (this.#enqueued.size === 0) return
    for (const { offset, message } of deliveries) {
      const group = this.#enqueued.get(message.token)
      if (group === undefined) continue
      this.#enqueued.delete(message.token)
      this.#inInbox.set(offset, group)
    }
  }

  /** The client is done with a message of the inbox. */
  acknowledged(offset: number): void {
    const group = this.#inInbox.get(offset)
    if (group === undefined) return
    this.#inInbox.delete(offset)
    this.#say(group, undefined, 1)
  }

  #deliver(delivery: GroupDelivery): void {
    const { group, receipt } = delivery
    this.#options.deliver(delivery, () => {
      if (receipt !== undefined) this.#say(group, receipt, 1)
    })
  }

  #enqueue(delivery: GroupDelivery): void {
    const { group, message, retain, identifier, receipt } = delivery
    if (receipt === undefined) return
    const { token } = message
    if (token !== '') this.#enqueued.set(token, group)
    const identifiers = identifier === 0 ? [] : [identifier]
    const entry = { message: withDelivery(message, 2, retain), identifiers }
    this.#options.enqueue([entry]).then(
      () => this.#say(group, receipt, token === '' ? 1 : 0),
      () => {
        this.#enqueued.delete(token)
        // It stays this session's while it is connected; afterwards the group gives it away.
        this.#options.clock.after(RETRY_MS, () => this.push([delivery]))
      },
    )
  }

  #say(group: string, receipt: GroupReceipt | undefined, credit: number): void {
    if (this.#ended && receipt === undefined) return
    let said = this.#said.get(group)
    if (said === undefined) {
      if (this.#said.size === 0) this.#options.clock.defer(() => this.#flush())
      said = { done: [], credit: 0 }
      this.#said.set(group, said)
    }
    if (receipt !== undefined) said.done.push(receipt)
    said.credit += credit
  }

  #flush(): void {
    const said = this.#said
    this.#said = new Map()
    const to = this.#options.to()
    for (const [group, { done, credit }] of said) {
      const settle = { group, to, done, credit }
      this.#background(this.#options.client.call(this.#shardOf(group), { kind: 'settle', settle }))
    }
  }

  async #join(subscription: Subscription): Promise<void> {
    const { to, node, nodeEpoch, durable, window, client } = this.#options
    const group = subscription.filter
    const member = { group, to: to(), node, nodeEpoch, durable, subscription, window }
    await client.call(this.#shardOf(group), { kind: 'join', member })
    // It was left while it was being joined.
    if (this.#ended || this.#groups.get(group) !== subscription) {
      await this.#leave(group, !this.#groups.has(group) || !durable)
    }
  }

  async #leave(group: string, forever: boolean, waitMs?: number): Promise<void> {
    const leave = { group, to: this.#options.to(), forever }
    await this.#options.client.call(this.#shardOf(group), { kind: 'leave', leave }, waitMs)
  }

  #shardOf(group: string): number {
    return shardOfGroup(group, this.#options.shardCount())
  }

  /** An owner that cannot be reached learns of the end from the next one, or from the members of the cluster. */
  #background(work: Promise<unknown>): void {
    work.catch(() => undefined)
  }
}
