/**
 * A session as the broker with its client's socket sees it: live subscriptions here, everything durable at
 * the owner of its shard, wherever that is and whenever it moves.
 */
import { BrokerError } from './errors.ts'
import { GroupMemberships } from './groups/group-memberships.ts'
import type { GroupDelivery } from './groups/hosted-groups.ts'
import { isShared } from './groups/shared-filter.ts'
import { effectiveGuarantee, type Message, type Subscriber, type Subscription } from './message.ts'
import type { Clock } from './ports/clock.ts'
import type { Attachment, Delivery, SessionAddress } from './ports/connections.ts'
import { PushedOffsets } from './pushed-offsets.ts'
import type { Attached } from './sessions/attach-requests.ts'
import type { Will } from './sessions/session.ts'
import type { Answered, ShardClient } from './shard-client.ts'
import type { Enqueued, ShardRequest } from './shard-requests.ts'

/** The protocol's side of a session. Called synchronously; it must only queue. */
export interface SessionEvents {
  /** Live messages. */
  deliver(message: Message, grants: readonly Subscription[]): void
  /** Messages of a durable session, in order of their offsets. */
  push(deliveries: readonly Delivery[]): void
  /** A message of a shared subscription; `done` runs when the client has it, or will not get it. */
  deliverShared(delivery: GroupDelivery, done: () => void): void
  /** Another connection has the session: close the socket. */
  evicted(): void
}

export interface AttachOptions {
  /** Unique in the cluster: the client's id. */
  readonly session: string
  readonly cleanStart: boolean
  /** Who the client is. */
  readonly user?: string
  /** Nobody but the user that has the session may take it over. */
  readonly ownerOnly?: boolean
  /** 0 ends with the connection; 0xffffffff never ends. */
  readonly expirySeconds: number
  /** Messages in flight towards the client. */
  readonly window: number
  readonly will: Will | undefined
}

/** What the sessions of a broker share. */
export interface SessionContext {
  readonly node: string
  readonly client: ShardClient
  readonly clock: Clock
  readonly shardCount: () => number
  readonly acknowledge: (shard: number, to: SessionAddress, offsets: readonly number[]) => void
  /** Live registration; resolves when every peer knows. */
  readonly subscribeLive: (subscriber: Subscriber, subscription: Subscription) => Promise<void>
  readonly unsubscribeLive: (subscriber: Subscriber, filter: string) => void
  readonly forget: (session: AttachedSession) => void
}

/** Wills and expiries hang on it, so the owner is told however long it takes to find one. */
const DETACH_WAIT_MS = 24 * 3_600_000

export class AttachedSession implements Subscriber {
  readonly name: string
  readonly shard: number
  readonly present: boolean
  readonly durable: boolean
  /** Packet ids that the client has published exactly once and not released, with their tokens. */
  readonly incoming: ReadonlyMap<number, string>
  attachment: Attachment
  readonly #options: AttachOptions
  readonly #nodeEpoch: number
  readonly #context: SessionContext
  readonly #events: SessionEvents
  readonly #subscriptions = new Map<string, Subscription>()
  // Made when they are needed: most connections of a large broker are idle, and each has one of these.
  #offsets: PushedOffsets | undefined
  #groups: GroupMemberships | undefined
  #toAcknowledge: number[] | undefined
  #started = false
  #closed = false
  #ending: ShardRequest | undefined

  constructor(
    options: AttachOptions,
    attached: Attached,
    more: {
      readonly shard: number
      readonly nodeEpoch: number
      readonly context: SessionContext
      readonly events: SessionEvents
    },
  ) {
    this.#options = options
    this.#context = more.context
    this.#events = more.events
    this.name = options.session
    this.shard = more.shard
    this.#nodeEpoch = more.nodeEpoch
    this.durable = attached.durable
    this.present = attached.present
    this.attachment = attached.attachment
    this.incoming = attached.incoming
    for (const subscription of attached.subscriptions) {
      this.#subscriptions.set(subscription.filter, subscription)
    }
  }

  /** Of the session, made when it first joins one. */
  get #memberships(): GroupMemberships {
    this.#groups ??= new GroupMemberships({
      ...this.#context,
      nodeEpoch: this.#nodeEpoch,
      to: () => this.#address(),
      durable: this.durable,
      window: this.#options.window,
      deliver: (delivery, done) => this.#events.deliverShared(delivery, done),
      enqueue: (messages) => this.enqueue(messages),
    })
    return this.#groups
  }

  /** Registers the stored subscriptions here. Before `start`. */
  async restore(): Promise<void> {
    const own = [...this.#subscriptions.values()].filter(({ filter }) => !isShared(filter))
    await Promise.all(own.map((subscription) => this.#context.subscribeLive(this, subscription)))
  }

  /** That the session is subscribed to. */
  filters(): readonly string[] {
    return [...this.#subscriptions.keys()]
  }

  subscriptions(): readonly Subscription[] {
    return [...this.#subscriptions.values()]
  }

  /** The client knows that it is connected: deliveries may begin. */
  start(): void {
    this.#started = true
    this.#askStart()
    for (const subscription of this.#subscriptions.values()) {
      // Durable sessions are members while they are away: nothing is missed until it has joined again.
      if (isShared(subscription.filter)) {
        this.#memberships.join(subscription).catch(() => undefined)
      }
    }
  }

  /** Answered, since another connection may have taken the session before this broker knew of its own. */
  #askStart(): void {
    // An owner that cannot be found now is told again when there is one.
    this.#call((to) => ({ kind: 'start', to })).catch(() => undefined)
  }

  deliver(message: Message, grants: readonly Subscription[]): void {
    if (!this.#started) return
    // What is acknowledged to a durable session comes through its inbox.
    if (this.durable && effectiveGuarantee(message, grants) > 0) return
    this.#events.deliver(message, grants)
  }

  push(deliveries: readonly Delivery[]): void {
    const fresh: Delivery[] = []
    this.#offsets ??= new PushedOffsets()
    const offsets = this.#offsets
    for (const delivery of deliveries) {
      const { offset } = delivery
      if (offsets.isAcknowledged(offset)) this.#queueAcknowledgement(offset)
      else if (delivery.released) fresh.push(delivery)
      else if (!offsets.isPushed(offset)) {
        offsets.push(offset)
        fresh.push(delivery)
      }
    }
    this.#groups?.pushed(fresh)
    if (fresh.length > 0) this.#events.push(fresh)
  }

  /** From the owners of groups. */
  pushShared(deliveries: readonly GroupDelivery[]): void {
    this.#groups?.push(deliveries)
  }

  /** These shards have other owners, or streams to their owners were lost. */
  rejoin(shards: ReadonlySet<number>): void {
    if (this.#started && !this.#closed) this.#groups?.rejoin(shards)
  }

  /** The client is done with the message. */
  acknowledge(offset: number): void {
    this.#groups?.acknowledged(offset)
    this.#offsets?.acknowledge(offset)
    this.#queueAcknowledgement(offset)
  }

  /** The client has an exactly-once message; resolves when that is durable. */
  async release(offset: number): Promise<void> {
    await this.#call((to) => ({ kind: 'release', to, offset }))
  }

  /** Durable when it resolves. A session that ends with its connection keeps it in the protocol's memory only. */
  async noteIncoming(packetId: number, token: string | undefined): Promise<void> {
    if (!this.durable) return
    await this.#call((to) => ({ kind: 'incoming', to, packetId, token }))
  }

  /** Messages that this session alone is to have, with the guarantee of its inbox. Only durable sessions. */
  async enqueue(messages: readonly Enqueued[]): Promise<void> {
    await this.#call((to) => ({ kind: 'enqueue', to, messages }))
  }

  /** Resolves when no publish acknowledged from then on can miss the session; tells which filters existed. */
  async subscribe(subscriptions: readonly Subscription[]): Promise<readonly boolean[]> {
    // What is registered after the end would stay for ever.
    if (this.#closed) throw new BrokerError('TAKEN_OVER', 'the connection has ended')
    const existed = subscriptions.map(({ filter }) => this.#subscriptions.has(filter))
    const live = subscriptions.map((subscription) => {
      this.#subscriptions.set(subscription.filter, subscription)
      if (isShared(subscription.filter)) return this.#memberships.join(subscription)
      return this.#context.subscribeLive(this, subscription)
    })
    if (this.durable) await this.#call((to) => ({ kind: 'subscribe', to, subscriptions }))
    await Promise.all(live)
    return existed
  }

  async unsubscribe(filters: readonly string[]): Promise<readonly boolean[]> {
    const shared: Promise<void>[] = []
    const existed = filters.map((filter) => {
      if (isShared(filter)) shared.push(this.#memberships.leave(filter))
      else this.#context.unsubscribeLive(this, filter)
      return this.#subscriptions.delete(filter)
    })
    if (this.durable) await this.#call((to) => ({ kind: 'unsubscribe', to, filters }))
    await Promise.all(shared)
    return existed
  }

  /** The connection has ended. The owner is told even if it has to be found first. */
  detach(options: {
    readonly publishWill: boolean
    readonly expirySeconds: number | undefined
  }): Promise<void> {
    if (this.#closed) return Promise.resolve()
    this.#flushAcknowledgements()
    this.#end()
    const detach = { to: this.#address(), ...options }
    const request: ShardRequest = { kind: 'detach', detach }
    this.#ending = request
    return this.#context.client.call(this.shard, request, DETACH_WAIT_MS).then(
      () => undefined,
      () => undefined,
    )
  }

  /** The owner says that another connection has the session. */
  evict(): void {
    if (this.#closed) return
    this.#end()
    this.#events.evicted()
  }

  /** The shard has another owner now: tell it who is connected here. */
  async reattach(): Promise<void> {
    const { node, client } = this.#context
    const nodeEpoch = this.#nodeEpoch
    const { expirySeconds, window, will, user = '' } = this.#options
    const { attachment, name } = this
    const reattach = {
      session: name,
      node,
      nodeEpoch,
      attachment,
      expirySeconds,
      window,
      will,
      user,
    }
    while (!this.#closed) {
      try {
        await client.call(this.shard, { kind: 'reattach', reattach })
        break
      } catch (error) {
        if (!(error instanceof BrokerError) || error.code !== 'UNAVAILABLE') this.evict()
      }
    }
    if (!this.#closed) {
      if (this.#started) this.#askStart()
      return
    }
    // It ended meanwhile: the owner may have heard of the connection after its end.
    if (this.#ending !== undefined)
      await client.call(this.shard, this.#ending).catch(() => undefined)
  }

  #end(): void {
    this.#closed = true
    for (const filter of this.#subscriptions.keys()) {
      if (!isShared(filter)) this.#context.unsubscribeLive(this, filter)
    }
    this.#groups?.end()
    this.#context.forget(this)
  }

  #address(): SessionAddress {
    return { session: this.name, attachment: this.attachment }
  }

  async #call(build: (to: SessionAddress) => ShardRequest): Promise<Answered> {
    try {
      return await this.#context.client.call(this.shard, build(this.#address()))
    } catch (error) {
      if (error instanceof BrokerError && error.code === 'TAKEN_OVER') this.evict()
      throw error
    }
  }

  #queueAcknowledgement(offset: number): void {
    if (this.#toAcknowledge !== undefined) {
      this.#toAcknowledge.push(offset)
      return
    }
    this.#toAcknowledge = [offset]
    this.#context.clock.defer(() => this.#flushAcknowledgements())
  }

  #flushAcknowledgements(): void {
    const offsets = this.#toAcknowledge
    if (offsets === undefined) return
    this.#toAcknowledge = undefined
    this.#context.acknowledge(this.shard, this.#address(), offsets)
  }
}
