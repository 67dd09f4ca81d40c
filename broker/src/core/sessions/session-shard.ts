/**
 * The sessions of one owned shard: who is connected where, durable subscriptions, inboxes, wills, expiry.
 * Runs only while this broker holds the shard; `stop` ends it without a trace, since everything that counts
 * is in storage or is told again by the brokers that have the sockets.
 */
import type { StorageAdapter } from '@robust/storage-adapters'
import { BrokerError } from '../errors.ts'
import { isShared } from '../groups/shared-filter.ts'
import {
  effectiveGuarantee,
  grantsFor,
  type Message,
  type Subscription,
  withDelivery,
} from '../message.ts'
import type { Clock } from '../ports/clock.ts'
import {
  type Connections,
  isNewer,
  type SessionAddress,
  sameAttachment,
} from '../ports/connections.ts'
import type { FilterChange } from '../router.ts'
import type { Enqueued } from '../shard-requests.ts'
import { type CommitOutcome, requireCommitted, type ShardWriter } from '../shard-writer.ts'
import { encodeJson } from '../stored.ts'
import { Turns } from '../turns.ts'
import type { Attached, AttachRequest, DetachRequest, ReattachRequest } from './attach-requests.ts'
import { Inbox } from './inbox.ts'
import { loadSessions } from './load-sessions.ts'
import {
  type Connected,
  decodeSession,
  EXPIRES_AT_ONCE,
  EXPIRES_NEVER,
  encodeSession,
  newSession,
  nextWaitMs,
  publishedNow,
  requireOwner,
  type Session,
  addressOf as to,
} from './session.ts'
import {
  incomingKey,
  incomingOf,
  sessionKey,
  subscriptionKey,
  subscriptionsOf,
} from './session-keys.ts'
import type { SessionLosses } from './session-losses.ts'
import { ShardSubscriptions } from './shard-subscriptions.ts'

export interface SessionShardOptions {
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
  readonly clock: Clock
  readonly connections: Connections
  /** Publishes a will through this broker; settles when it is accepted. */
  readonly publish: (message: Message) => Promise<void>
  readonly losses: SessionLosses
  /** The session is a member of these groups no more. */
  readonly leaveGroups: (to: SessionAddress, filters: readonly string[]) => Promise<void>
  /** Tells every broker, this one included, and resolves when all know. */
  readonly announce: (change: FilterChange) => Promise<void>
  readonly onError: (error: Error) => void
}

export class SessionShard {
  readonly #options: SessionShardOptions
  readonly #sessions = new Map<string, Session>()
  readonly #subscriptions = new ShardSubscriptions()
  /** One attach or detach at a time for each session. */
  readonly #turns = new Turns()
  #counter = 0
  #stopped = false

  constructor(options: SessionShardOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#sessions.size
  }

  /** Sessions without a connection; looks at each. */
  get offline(): number {
    let count = 0
    for (const { connected } of this.#sessions.values()) if (connected === undefined) count++
    return count
  }

  /** Reads what is stored. Wills and expiries of sessions whose broker is gone begin to count. */
  async load(): Promise<void> {
    const { writer, storage } = this.#options
    const stored = await loadSessions(storage, writer.shard)
    for (const [name, entry] of stored) {
      const { session, hasInbox } = decodeSession(name, entry.session)
      for (const subscription of entry.subscriptions) this.#subscriptions.add(session, subscription)
      for (const [packetId, token] of entry.incoming) session.incoming.set(packetId, token)
      if (hasInbox) {
        session.inbox = this.#newInbox(session)
        if (entry.cursor !== undefined) session.inbox.restore(entry.cursor)
        if (entry.subscriptions.some(({ guarantee }) => guarantee === 2)) {
          await session.inbox.recoverTokens()
        }
      }
      this.#sessions.set(name, session)
    }
  }

  /** A session that ends with its connection keeps its subscriptions at its broker: it counts while connected. */
  holds(name: string, filter: string): boolean {
    const session = this.#sessions.get(name)
    if (session?.inbox === undefined) return session?.connected !== undefined
    return session.subscriptions.has(filter)
  }

  /** Of those that outlive their connections. */
  *durable(): Generator<Session & { readonly inbox: Inbox }> {
    for (const session of this.#sessions.values()) {
      if (session.inbox !== undefined) yield session as Session & { readonly inbox: Inbox }
    }
  }

  /** After the load, and whenever the members change. */
  checkMembers(): void {
    for (const session of this.#sessions.values()) {
      const { connected } = session
      if (connected === undefined) this.#schedule(session)
      else if (!this.#options.connections.isMember(connected.node, connected.nodeEpoch)) {
        const to = { session: session.name, attachment: connected }
        this.#background(this.detach({ to, publishWill: true, expirySeconds: undefined }))
      }
    }
  }

  filters(): string[] {
    return this.#subscriptions.filters()
  }

  stop(): void {
    this.#stopped = true
    for (const session of this.#sessions.values()) {
      session.timer?.cancel()
      session.inbox?.stop()
    }
  }

  /** Stages what is only in memory, for an orderly hand-over. */
  flush(): void {
    for (const session of this.#sessions.values()) session.inbox?.flush()
  }

  attach(request: AttachRequest): Promise<Attached> {
    return this.#inTurn(request.session, () => this.#attach(request))
  }

  async #attach(request: AttachRequest): Promise<Attached> {
    let session = this.#sessions.get(request.session)
    requireOwner(session, request)
    if (session?.connected !== undefined) {
      const before = session.connected
      await this.#options.connections.evict(before.node, to(session, before))
      if (sameAttachment(session.connected, before)) await this.#disconnected(session, true)
      session = this.#sessions.get(request.session)
    }
    if (session !== undefined && request.cleanStart) {
      await this.#publishWill(session)
      await this.#delete(session)
      session = undefined
    }
    const present = session !== undefined
    session ??= newSession(request.session)
    this.#sessions.set(session.name, session)
    session.timer?.cancel()
    session.timer = undefined
    session.expirySeconds = request.expirySeconds
    session.user = request.user ?? ''
    const connected = this.#nextAttachment(request)
    session.connected = connected
    session.detachedAtMs = 0
    session.will = request.will
    if (request.expirySeconds !== EXPIRES_AT_ONCE) session.inbox ??= this.#newInbox(session)
    session.inbox?.attach(request.window)
    await this.#store(session)
    return {
      attachment: connected,
      present,
      durable: session.inbox !== undefined,
      subscriptions: [...session.subscriptions.values()],
      incoming: session.incoming,
    }
  }

  /** The shard has moved here: a broker tells that it has the client. False: another connection has it. */
  reattach(request: ReattachRequest): Promise<boolean> {
    return this.#inTurn(request.session, async () => {
      const { session: name, node, nodeEpoch, attachment } = request
      const known = this.#sessions.get(name)
      if (known?.connected !== undefined) {
        if (isNewer(known.connected, attachment)) return false
        if (isNewer(attachment, known.connected)) {
          await this.#options.connections.evict(known.connected.node, to(known, known.connected))
        }
      } else if (known !== undefined && attachment.epoch === this.#options.writer.epoch) {
        // It was detached under this owner already, so this is an echo.
        return false
      }
      const session = known ?? newSession(name)
      this.#sessions.set(name, session)
      session.timer?.cancel()
      session.timer = undefined
      session.expirySeconds = request.expirySeconds
      session.user = request.user ?? ''
      session.detachedAtMs = 0
      session.connected = { node, nodeEpoch, epoch: attachment.epoch, counter: attachment.counter }
      session.will = request.will
      if (request.expirySeconds !== EXPIRES_AT_ONCE) session.inbox ??= this.#newInbox(session)
      session.inbox?.attach(request.window)
      await this.#store(session)
      return true
    })
  }

  /** The client of this connection has been told; messages may flow. */
  start(address: SessionAddress): void {
    this.#currentOrThrow(address).inbox?.start()
  }

  detach(request: DetachRequest): Promise<void> {
    return this.#inTurn(request.to.session, async () => {
      const session = this.#current(request.to)
      if (session === undefined) return
      if (request.expirySeconds !== undefined) session.expirySeconds = request.expirySeconds
      await this.#disconnected(session, request.publishWill)
    })
  }

  /** Answers for each subscription whether its filter existed before. */
  async subscribe(address: SessionAddress, wanted: readonly Subscription[]): Promise<boolean[]> {
    const session = this.#currentOrThrow(address)
    const added: string[] = []
    const existed = wanted.map((subscription) => {
      const known = session.subscriptions.has(subscription.filter)
      if (this.#subscriptions.add(session, subscription)) added.push(subscription.filter)
      const key = subscriptionKey(session.name, subscription.filter)
      this.#options.writer.put(key, encodeJson(subscription))
      return known
    })
    const announced = this.#options.announce({ reset: false, added, removed: [] })
    await this.#committed()
    await announced
    return existed
  }

  async unsubscribe(address: SessionAddress, filters: readonly string[]): Promise<boolean[]> {
    const session = this.#currentOrThrow(address)
    const removed: string[] = []
    const existed = filters.map((filter) => {
      const known = session.subscriptions.has(filter)
      if (this.#subscriptions.remove(session, filter)) removed.push(filter)
      if (known) this.#options.writer.delete(subscriptionKey(session.name, filter))
      return known
    })
    await this.#committed()
    // Peers that hear of it later only send what is not wanted any more.
    this.#background(this.#options.announce({ reset: false, added: [], removed }))
    return existed
  }

  acknowledge(address: SessionAddress, offsets: readonly number[]): void {
    this.#current(address)?.inbox?.acknowledge(offsets)
  }

  async release(address: SessionAddress, offset: number): Promise<void> {
    const session = this.#currentOrThrow(address)
    requireCommitted(await (session.inbox?.release(offset) ?? 'committed'))
  }

  /** Puts messages into the inbox of one session. Durable when it resolves. */
  async enqueue(address: SessionAddress, messages: readonly Enqueued[]): Promise<void> {
    const { inbox } = this.#currentOrThrow(address)
    const owed = messages.map(({ message, identifiers }) => inbox?.append(message, identifiers))
    await this.#committed()
    await Promise.all(owed)
  }

  /** Notes a packet id before its message is routed, or forgets it. Durable when it resolves. */
  async noteIncoming(
    address: SessionAddress,
    packetId: number,
    token: string | undefined,
  ): Promise<void> {
    const session = this.#currentOrThrow(address)
    const key = incomingKey(session.name, packetId)
    if (token === undefined) {
      session.incoming.delete(packetId)
      this.#options.writer.delete(key)
    } else {
      session.incoming.set(packetId, token)
      this.#options.writer.put(key, encodeJson(token))
    }
    await this.#committed()
  }

  /** Appends to every durable session that wants the message. `done` runs when all of it is durable. */
  append(message: Message, done: (outcome: CommitOutcome) => void): void {
    const owed: Promise<void>[] = []
    for (const [session, all] of this.#subscriptions.match(message.address)) {
      const grants = grantsFor(message, session.name, all)
      const guarantee = effectiveGuarantee(message, grants)
      if (guarantee === 0 || session.inbox === undefined) continue
      const retain = message.retain && grants.some((grant) => grant.retainAsPublished)
      const identifiers = grants.map((grant) => grant.identifier).filter((id) => id !== 0)
      const letter = session.inbox.append(withDelivery(message, guarantee, retain), identifiers)
      if (letter !== undefined) owed.push(letter)
    }
    const { writer, onError } = this.#options
    if (owed.length === 0) {
      writer.onCommit(done)
      return
    }
    const committed = new Promise<CommitOutcome>((resolve) => writer.onCommit(resolve))
    Promise.all(owed)
      .then(() => committed)
      .then(done, onError)
  }

  #newInbox(session: Session): Inbox {
    const { writer, storage, clock, connections, losses, onError } = this.#options
    return new Inbox({
      session: session.name,
      losses,
      writer,
      storage,
      clock,
      onError,
      push: (deliveries) => {
        const { connected } = session
        if (connected !== undefined)
          connections.push(connected.node, to(session, connected), deliveries)
      },
    })
  }

  #nextAttachment(request: AttachRequest): Connected {
    this.#counter++
    const { node, nodeEpoch } = request
    return { node, nodeEpoch, epoch: this.#options.writer.epoch, counter: this.#counter }
  }

  /** Only what must outlive this broker is stored: durable sessions and wills. */
  async #store(session: Session): Promise<void> {
    const wanted = session.inbox !== undefined || session.will !== undefined
    if (!wanted && !session.stored) return
    const { writer } = this.#options
    if (wanted) writer.put(sessionKey(session.name), encodeSession(session))
    else writer.delete(sessionKey(session.name))
    session.stored = wanted
    await this.#committed()
  }

  async #disconnected(session: Session, publishWill: boolean): Promise<void> {
    session.connected = undefined
    session.detachedAtMs = this.#options.clock.wallMs()
    session.inbox?.detach()
    if (!publishWill) session.will = undefined
    const ends = session.expirySeconds === EXPIRES_AT_ONCE
    const due = session.will !== undefined && (ends || session.will.delaySeconds === 0)
    if (ends) {
      if (due) await this.#publishWill(session)
      await this.#delete(session)
      return
    }
    await this.#store(session)
    if (due) await this.#publishWill(session)
    this.#schedule(session)
  }

  async #publishWill(session: Session): Promise<void> {
    const { will } = session
    if (will === undefined) return
    session.will = undefined
    try {
      await this.#options.publish(publishedNow(will.message, this.#options.clock.wallMs()))
      if (this.#sessions.get(session.name) === session) await this.#store(session)
    } catch (error) {
      this.#options.onError(error instanceof Error ? error : new Error(String(error)))
    }
  }

  async #delete(session: Session): Promise<void> {
    const { writer } = this.#options
    session.timer?.cancel()
    await this.#leaveGroups(session)
    // Nothing comes from here on; what is stored goes at the end, so that the next owner can begin again.
    const removed: string[] = []
    for (const filter of [...session.subscriptions.keys()]) {
      if (this.#subscriptions.remove(session, filter)) removed.push(filter)
    }
    if (session.inbox !== undefined && session.inbox.depth > 0) {
      // Who is the owner no more finds out before it tells of what is another's.
      await this.#store(session)
      await session.inbox.loseAll()
    }
    this.#sessions.delete(session.name)
    if (session.inbox !== undefined) {
      session.inbox.drop()
      const subscriptions = subscriptionsOf(session.name)
      writer.deleteRange(subscriptions.from, subscriptions.to)
      const incoming = incomingOf(session.name)
      writer.deleteRange(incoming.from, incoming.to)
    }
    if (session.stored) writer.delete(sessionKey(session.name))
    if (session.inbox !== undefined || session.stored) await this.#committed()
    if (removed.length > 0) {
      this.#background(this.#options.announce({ reset: false, added: [], removed }))
    }
  }

  async #leaveGroups(session: Session): Promise<void> {
    const shared = [...session.subscriptions.keys()].filter((filter) => isShared(filter))
    if (shared.length === 0) return
    // Of the newest connection: a member that came later under the same name stays.
    const attachment = { epoch: this.#options.writer.epoch, counter: this.#counter }
    try {
      await this.#options.leaveGroups({ session: session.name, attachment }, shared)
    } catch (error) {
      this.#options.onError(error instanceof Error ? error : new Error(String(error)))
    }
  }

  /** Sets the timer for what happens next to a session that is not connected: its will, or its end. */
  #schedule(session: Session): void {
    session.timer?.cancel()
    const { clock } = this.#options
    const waitMs = nextWaitMs(session, clock.wallMs())
    if (waitMs === undefined) return
    session.timer = clock.after(waitMs, () => this.#background(this.#due(session)))
  }

  #due(session: Session): Promise<void> {
    return this.#inTurn(session.name, async () => {
      if (this.#sessions.get(session.name) !== session || session.connected !== undefined) return
      const elapsed = this.#options.clock.wallMs() - session.detachedAtMs
      const ended =
        session.expirySeconds !== EXPIRES_NEVER && elapsed >= session.expirySeconds * 1000
      if (session.will !== undefined && (ended || elapsed >= session.will.delaySeconds * 1000)) {
        await this.#publishWill(session)
      }
      if (!ended) {
        this.#schedule(session)
        return
      }
      await this.#delete(session)
      this.#options.losses.sessionExpired()
    })
  }

  #current(address: SessionAddress): Session | undefined {
    const session = this.#sessions.get(address.session)
    return session !== undefined && sameAttachment(session.connected, address.attachment)
      ? session
      : undefined
  }

  #currentOrThrow(address: SessionAddress): Session {
    const session = this.#current(address)
    if (session === undefined) {
      // The shard has just moved here, and the broker of the client has not said yet that it is connected.
      const unheard =
        !this.#sessions.has(address.session) &&
        address.attachment.epoch < this.#options.writer.epoch
      if (unheard) throw new BrokerError('UNAVAILABLE', 'the session is not attached here yet')
      throw new BrokerError('TAKEN_OVER', `session ${address.session} has another connection`)
    }
    return session
  }

  async #committed(): Promise<void> {
    requireCommitted(
      await new Promise<CommitOutcome>((resolve) => this.#options.writer.onCommit(resolve)),
    )
  }

  #inTurn<T>(name: string, run: () => Promise<T>): Promise<T> {
    return this.#turns.run(name, () => {
      if (this.#stopped) throw new BrokerError('UNAVAILABLE', 'the shard has moved')
      return run()
    })
  }

  #background(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (!this.#stopped)
        this.#options.onError(error instanceof Error ? error : new Error(String(error)))
    })
  }
}
