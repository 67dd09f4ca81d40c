/**
 * The waist: everything that a protocol may ask of the broker. It hides which broker owns what, and holds
 * no protocol's notion of anything.
 */
import {
  AttachedSession,
  type AttachOptions,
  type SessionContext,
  type SessionEvents,
} from './attached-session.ts'
import type { ClaimRequest } from './claims.ts'
import { BrokerError } from './errors.ts'
import { filterMatches } from './filter-index.ts'
import { Forwarder } from './forwarder.ts'
import type { GroupDelivery } from './groups/hosted-groups.ts'
import { shardOfGroup } from './groups/shared-filter.ts'
import { appendTo, type HostedShards } from './hosted-shard.ts'
import {
  grantsFor,
  type Message,
  ownCopy,
  type PublishOutcome,
  type Receipt,
  type Subscriber,
  type Subscription,
} from './message.ts'
import type { Clock } from './ports/clock.ts'
import type { Delivery, SessionAddress } from './ports/connections.ts'
import { isNewer, sameAttachment } from './ports/connections.ts'
import type { Directory } from './ports/directory.ts'
import type { Peers, PublishItem, PublishReply } from './ports/peers.ts'
import { RetainedSearch, type TakeRetained } from './retained-search.ts'
import type { LiveTarget, Route, Router } from './router.ts'
import { ShardClient } from './shard-client.ts'
import { shardOf } from './shard-hash.ts'
import type { StoragePressure } from './storage-pressure.ts'
import { type Topic, topicIdOf } from './topics/topic.ts'

/** Holders that come and go between two looks. */
const CLAIM_TRIES_MAX = 5

export { filterMatches }

export interface MessagingOptions {
  readonly directory: Directory
  readonly hosted: HostedShards
  readonly peers: Peers
  readonly clock: Clock
  readonly router: Router
  readonly pressure: StoragePressure
  /** The epoch of this broker's registration. */
  readonly nodeEpoch: () => number
  /** Whether what this broker knows of subscribers is certainly enough to acknowledge by. */
  readonly mayAcknowledge: () => boolean
}

export class Messaging {
  readonly #options: MessagingOptions
  readonly #router: Router
  readonly #forwarder: Forwarder
  readonly #client: ShardClient
  readonly #retainedSearch: RetainedSearch
  readonly #sessions = new Map<string, AttachedSession>()
  /** Shard epochs at whose owner this broker's sessions are known. */
  readonly #epochs = new Map<number, number>()
  /** Runs in order once this broker may acknowledge again. */
  #withheld: (() => void)[] = []
  #context: SessionContext | undefined
  /** Messages that were not kept since storage is full. */
  #refused = 0
  /** Resolves when this broker knows the filters of all others, under its present registration. */
  #synced: Promise<void> = Promise.resolve()

  constructor(options: MessagingOptions) {
    this.#options = options
    this.#router = options.router
    this.#forwarder = new Forwarder(options)
    this.#client = new ShardClient(options)
    this.#retainedSearch = new RetainedSearch(this.#client, options.directory)
    options.pressure.whenFull(() => this.#forwarder.refuseWaiting())
  }

  /**
   * Hands the message to everyone who may have it. True: what its guarantee promises holds already, and the
   * receipt stays silent; else the receipt is settled later. It may be refused only while storage, or a queue, is full.
   */
  publish(message: Message, receipt: Receipt | undefined): boolean {
    const route = this.#router.route(message.address)
    const { peers, shards, groups, logs, queues } = route
    const wanted = shards.length + groups.length > 0
    const kept = logs.length + queues.length > 0 || (message.guarantee > 0 && wanted)
    let delayMs = 0
    if (kept || (message.retain && message.payload.byteLength > 0)) {
      const { pressure } = this.#options
      delayMs = pressure.delayMs
      if (delayMs > 0) {
        receipt?.slow?.(delayMs)
        if (pressure.isFull && this.#refuse(message, route, receipt)) return false
      }
    }
    deliverLive(message, route.targets)
    const alone = peers.length + groups.length === 0 && !kept
    if (alone && !message.retain) {
      if (message.guarantee === 0 || this.#options.mayAcknowledge()) return true
      this.#whenAllowed(() => receipt?.settle('accepted'))
      return false
    }
    const { shardCount } = this.#options.directory
    const retainedShard = message.retain ? shardOf('retained', message.address, shardCount) : -1
    const gated = receipt && receipt.isSilent !== true ? this.#gated(receipt, delayMs) : undefined
    this.#forwarder.forward(message, route, { receipt: gated, retainedShard })
    return false
  }

  /** There is no room. False: whoever published it has to wait. */
  #refuse(message: Message, route: Route, receipt: Receipt | undefined): boolean {
    if (message.guarantee > 0) {
      if (receipt?.refusable !== true) return false
      this.#refused++
      receipt.settle('refused')
      return true
    }
    // At most once: the live subscribers get it, and it is kept nowhere.
    this.#refused++
    deliverLive(message, route.targets)
    const live = { ...route, logs: [], queues: [] }
    this.#forwarder.forward(message, live, { receipt: undefined, retainedShard: -1 })
    return true
  }

  #gated(receipt: Receipt, delayMs: number): Receipt {
    const settle = (outcome: PublishOutcome): void => {
      const tell = (): void => this.#whenAllowed(() => receipt.settle(outcome))
      if (delayMs > 0 && outcome === 'accepted') this.#options.clock.after(delayMs, tell)
      else tell()
    }
    return { refusable: receipt.refusable === true, settle }
  }

  /** Somebody wants what is published to the topic's address, besides the topic itself. */
  wantsOf({ address, id }: Topic): boolean {
    const { targets, peers, shards, groups, logs, queues } = this.#router.route(address)
    if (targets.length + peers.length + shards.length + groups.length + queues.length > 0)
      return true
    return logs.some(({ log }) => topicIdOf(log) !== id)
  }

  /** As `publish`, of what the topic keeps already. Resolves when everybody else has it; waits where there is no room. */
  relay({ id }: Topic, message: Message): Promise<void> {
    const known = this.#router.route(message.address)
    const route = { ...known, logs: known.logs.filter(({ log }) => topicIdOf(log) !== id) }
    deliverLive(message, route.targets)
    return new Promise((resolve) => {
      const receipt = { settle: () => resolve() }
      this.#forwarder.forward(message, route, { receipt, retainedShard: -1 })
    })
  }

  /** Resolves when the guarantee of the message holds. */
  publishAndWait(message: Message): Promise<void> {
    return new Promise((resolve, reject) => {
      const settle = (outcome: string): void => {
        if (outcome === 'accepted') resolve()
        else reject(new BrokerError('REFUSED', 'the message was refused'))
      }
      if (this.publish(message, { settle })) resolve()
    })
  }

  /** The registration holds: what was withheld is acknowledged. */
  renewed(): void {
    if (this.#withheld.length === 0 || !this.#options.mayAcknowledge()) return
    const withheld = this.#withheld
    this.#withheld = []
    for (const run of withheld) run()
  }

  /**
   * The registration was lost, and the connections of its time are closed: nothing withheld is acknowledged.
   * Nobody connects before `synced`.
   */
  restarted(synced: Promise<void>): void {
    this.#withheld = []
    this.#synced = synced
  }

  /** In the order of the calls. A pause of the process between the check and the run does no harm: what was
   * known at the check was known to be enough. */
  #whenAllowed(run: () => void): void {
    if (this.#withheld.length === 0 && this.#options.mayAcknowledge()) run()
    else this.#withheld.push(run)
  }

  /** Takes over the session from any other connection in the cluster, or begins it. */
  async attach(options: AttachOptions, events: SessionEvents): Promise<AttachedSession> {
    const { directory } = this.#options
    await this.#synced
    const shard = shardOf('session', options.session, directory.shardCount)
    const attach = { ...options, node: directory.self, nodeEpoch: this.#options.nodeEpoch() }
    const { attached } = await this.#client.call(shard, { kind: 'attach', attach })
    if (attached === undefined) throw new BrokerError('UNAVAILABLE', 'the owner gave no attachment')
    this.#context ??= this.#sessionContext()
    const { nodeEpoch } = attach
    const more = { shard, nodeEpoch, context: this.#context, events }
    const session = new AttachedSession(options, attached, more)
    const other = this.#sessions.get(session.name)
    if (other !== undefined && isNewer(other.attachment, session.attachment)) {
      throw new BrokerError('TAKEN_OVER', 'another connection has the session')
    }
    other?.evict()
    this.#sessions.set(session.name, session)
    await session.restore()
    // The shard may have moved while the answer was under way.
    const owner = directory.owner(shard)
    if (owner !== undefined && owner.epoch > attached.attachment.epoch) await session.reattach()
    return session
  }

  #sessionContext(): SessionContext {
    const { directory, clock } = this.#options
    return {
      node: directory.self,
      client: this.#client,
      clock,
      shardCount: () => directory.shardCount,
      acknowledge: (shard, to, offsets) => this.#acknowledge(shard, to, offsets),
      subscribeLive: (subscriber, subscription) => this.#subscribeLive(subscriber, subscription),
      unsubscribeLive: (subscriber, filter) => this.#unsubscribeLive(subscriber, filter),
      forget: (session) => {
        if (this.#sessions.get(session.name) === session) this.#sessions.delete(session.name)
      },
    }
  }

  /** False: nothing is to be told under the system's addresses that begin with this level: nobody listens. */
  reaches(level: string): boolean {
    return this.#router.reaches(level)
  }

  /** Delivers to the live subscribers of this broker only, at most once. */
  publishHere(message: Message): void {
    deliverLive(message, this.#router.route(message.address).targets)
  }

  /**
   * Makes the session the only one that has the name: false when another one has it. `filter` is what the
   * holder of the name is subscribed to.
   */
  async claim(name: string, session: string, filter: string): Promise<boolean> {
    let insteadOf = ''
    for (let tries = 0; tries < CLAIM_TRIES_MAX; tries++) {
      const holder = await this.#claim({ name, session, insteadOf, release: false })
      if (holder === session) return true
      const { shardCount } = this.#options.directory
      const shard = shardOf('session', holder, shardCount)
      const request = { kind: 'holds' as const, session: holder, filter }
      const { existed } = await this.#client.call(shard, request)
      if (existed?.[0] === true) return false
      insteadOf = holder
    }
    return false
  }

  /** Publishes the message at a time; wall clock, ms. Resolves when that is sure to happen. */
  async schedule(message: Message, dueAtMs: number): Promise<void> {
    const shard = shardOf('schedule', message.address, this.#options.directory.shardCount)
    const schedule = { message, dueAtMs }
    await this.#client.call(shard, { kind: 'schedule', schedule })
  }

  async unclaim(name: string, session: string): Promise<void> {
    await this.#claim({ name, session, insteadOf: '', release: true })
  }

  async #claim(claim: ClaimRequest): Promise<string> {
    const shard = shardOf('claim', claim.name, this.#options.directory.shardCount)
    const { holder = '' } = await this.#client.call(shard, { kind: 'claim', claim })
    return holder
  }

  /** Retained messages whose address the filter matches, a page at a time. */
  retainedPages(filter: string, take: TakeRetained): Promise<void> {
    return this.#retainedSearch.find(filter, take)
  }

  /** All of them at once. */
  async retained(filter: string): Promise<Message[]> {
    const found: Message[] = []
    await this.retainedPages(filter, (messages) => {
      for (const message of messages) found.push(message)
      return true
    })
    return found
  }

  /** Nothing is retained for the address from then on; nobody is told. */
  forgetRetained(address: string): Promise<void> {
    const nobody = { targets: [], peers: [], shards: [], groups: [], logs: [], queues: [] }
    const retainedShard = shardOf('retained', address, this.#options.directory.shardCount)
    const message = { ...EMPTY_MESSAGE, address, timestampMs: this.#options.clock.wallMs() }
    return new Promise((resolve) => {
      const receipt = { settle: () => resolve() }
      this.#forwarder.forward(message, nobody, { receipt, retainedShard })
    })
  }

  /** Ends a session, wherever it is, and its connection. False: there is none. */
  async endSession(session: string): Promise<boolean> {
    const events = {
      deliver: () => undefined,
      deliverShared: () => undefined,
      push: () => undefined,
      evicted: () => undefined,
    }
    const options = { session, cleanStart: false, expirySeconds: 0, window: 1, will: undefined }
    const attached = await this.attach(options, events)
    await attached.detach({ publishWill: true, expirySeconds: 0 })
    return attached.present
  }

  /** Ownership or membership has changed. */
  changed(): void {
    this.#client.changed()
    this.#forwarder.changed()
    const moved = new Set<number>()
    for (let shard = 0; shard < this.#options.directory.shardCount; shard++) {
      const owner = this.#options.directory.owner(shard)
      if (owner === undefined || this.#epochs.get(shard) === owner.epoch) continue
      if (this.#epochs.has(shard)) moved.add(shard)
      this.#epochs.set(shard, owner.epoch)
    }
    if (moved.size === 0) return
    for (const session of this.#sessions.values()) {
      if (moved.has(session.shard)) void session.reattach()
      session.rejoin(moved)
    }
  }

  /** There is a new stream to the broker: what was on the way in the old one, pushes included, is lost. */
  peerLinked(node: string): void {
    const { directory } = this.#options
    const shards = new Set<number>()
    for (let shard = 0; shard < directory.shardCount; shard++) {
      if (directory.owner(shard)?.node === node) shards.add(shard)
    }
    for (const session of [...this.#sessions.values()]) {
      if (shards.has(session.shard)) void session.reattach()
      session.rejoin(shards)
    }
  }

  /** A peer forwards a message. `reply` runs when it is with the live subscribers and durable on the shards. */
  receive(item: PublishItem, reply: (reply: PublishReply) => void): void {
    // What is kept must not keep the whole frame that it came in.
    const message = item.places.length > 0 ? ownCopy(item.message) : item.message
    if (item.live) deliverLive(message, this.#router.route(message.address).targets)
    let remaining = 1
    const refused: number[] = []
    const full: number[] = []
    let unkept = false
    const done = (): void => {
      remaining--
      if (remaining === 0) reply({ refused, full, unkept })
    }
    for (const [at, place] of item.places.entries()) {
      remaining++
      const shard = this.#options.hosted.get(place.shard)
      const served = appendTo(shard, { message, place }, (outcome) => {
        if (outcome === 'lost') refused.push(at)
        else if (outcome === 'full') full.push(at)
        else if (outcome === 'unkept') unkept = true
        done()
      })
      if (!served) {
        refused.push(at)
        done()
      }
    }
    done()
  }

  /** The owner of a session pushes to the connection here. */
  push(to: SessionAddress, deliveries: readonly Delivery[]): void {
    const session = this.#sessions.get(to.session)
    if (session !== undefined && sameAttachment(session.attachment, to.attachment)) {
      session.push(deliveries)
    }
  }

  /** The owner of a group pushes to the connection here. */
  pushShared(to: SessionAddress, deliveries: readonly GroupDelivery[]): void {
    const session = this.#sessions.get(to.session)
    if (session !== undefined && sameAttachment(session.attachment, to.attachment)) {
      session.pushShared(deliveries)
    }
  }

  /** A session has ended, with its memberships. Resolves when the groups know. */
  async leaveGroups(to: SessionAddress, filters: readonly string[]): Promise<void> {
    const { shardCount } = this.#options.directory
    await Promise.all(
      filters.map((group) => {
        const leave = { group, to, forever: true }
        return this.#client.call(shardOfGroup(group, shardCount), { kind: 'leave', leave })
      }),
    )
  }

  evict(to: SessionAddress): void {
    const session = this.#sessions.get(to.session)
    if (session !== undefined && sameAttachment(session.attachment, to.attachment)) session.evict()
  }

  /** The connection's broker acknowledges to the owner here. */
  acknowledged(shard: number, to: SessionAddress, offsets: readonly number[]): void {
    this.#options.hosted.get(shard)?.sessions.acknowledge(to, offsets)
  }

  get counts(): Record<'sessions' | 'subscriptions' | 'held' | 'dropped' | 'unkept', number> {
    return {
      sessions: this.#sessions.size,
      subscriptions: this.#router.liveSubscriptions,
      held: this.#forwarder.held,
      dropped: this.#forwarder.dropped,
      unkept: this.#refused,
    }
  }

  stop(): void {
    this.#forwarder.stop()
  }

  async #subscribeLive(subscriber: Subscriber, subscription: Subscription): Promise<void> {
    // Another subscriber's announcement of the same filter may still be under way: wait for it as well.
    const added = this.#router.subscribe(subscriber, subscription) ? [subscription.filter] : []
    await this.#options.peers.announceLive({ reset: false, added, removed: [] })
    await new Promise<void>((resolve) => this.#whenAllowed(resolve))
  }

  #unsubscribeLive(subscriber: Subscriber, filter: string): void {
    if (!this.#router.unsubscribe(subscriber, filter)) return
    void this.#options.peers.announceLive({ reset: false, added: [], removed: [filter] })
  }

  #acknowledge(shard: number, to: SessionAddress, offsets: readonly number[]): void {
    const { directory, hosted, peers } = this.#options
    if (hosted.get(shard) !== undefined) {
      this.acknowledged(shard, to, offsets)
      return
    }
    // Lost with a broken stream or a moving shard: the messages come again and are acknowledged again.
    const owner = directory.owner(shard)
    if (owner !== undefined && owner.node !== directory.self)
      peers.acknowledge(owner.node, to, offsets)
  }
}

const EMPTY_MESSAGE: Omit<Message, 'address' | 'timestampMs'> = {
  guarantee: 1,
  retain: true,
  payload: new Uint8Array(0),
  dialect: '',
  properties: new Uint8Array(0),
  expiresAtMs: 0,
  publisher: '',
  token: '',
}

function deliverLive(message: Message, targets: readonly LiveTarget[]): void {
  for (let i = 0; i < targets.length; i++) {
    const target = targets[i] as LiveTarget
    const { subscriber } = target
    if (!target.noLocal) {
      subscriber.deliver(message, target.grants)
      continue
    }
    const grants = grantsFor(message, subscriber.name, target.grants)
    if (grants.length > 0) subscriber.deliver(message, grants)
  }
}
