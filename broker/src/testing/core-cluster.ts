/**
 * Several brokers' cores in one process over one storage adapter: no sockets, virtual time, links that a
 * test can cut. The test plays the Placement Center: it says who owns what.
 */
import type { StorageAdapter } from '@robust/storage-adapters'
import type { SessionEvents } from '../core/attached-session.ts'
import { ClaimShard } from '../core/claims.ts'
import type { GroupDelivery } from '../core/groups/hosted-groups.ts'
import { answer, type HostedShard, HostedShards } from '../core/hosted-shard.ts'
import { LogShard } from '../core/logs/log-shard.ts'
import { TailCache } from '../core/logs/tail-cache.ts'
import { TaskBudget } from '../core/logs/task-budget.ts'
import type { Message, Subscription } from '../core/message.ts'
import { Messaging } from '../core/messaging.ts'
import type { Connections, Delivery, SessionAddress } from '../core/ports/connections.ts'
import type { Directory, ShardOwner } from '../core/ports/directory.ts'
import type { Peers, PublishReply } from '../core/ports/peers.ts'
import { QueueTable } from '../core/queues/queue-table.ts'
import { toKeyedRecord } from '../core/record.ts'
import { type RetainedLimits, RetainedShard } from '../core/retained-shard.ts'
import { type FilterChange, Router } from '../core/router.ts'
import type { SessionLosses } from '../core/sessions/session-losses.ts'
import { SessionShard } from '../core/sessions/session-shard.ts'
import { shardOf } from '../core/shard-hash.ts'
import { ShardWriter } from '../core/shard-writer.ts'
import { StoragePressure } from '../core/storage-pressure.ts'
import { LogRelays } from '../core/topics/log-relays.ts'
import { Topics } from '../core/topics/topics.ts'
import { GroupShard } from '../functions/group-shard.ts'
import { Scheduled } from '../functions/scheduled.ts'
import { CoreQueues } from './core-queues.ts'
import { CoreTransactions } from './core-transactions.ts'
import { settle, VirtualClock } from './virtual-clock.ts'

export interface CoreNode {
  readonly name: string
  readonly nodeEpoch: number
  readonly messaging: Messaging
  readonly queues: CoreQueues
  readonly transactions: CoreTransactions
  readonly hosted: HostedShards
  readonly router: Router
  readonly errors: Error[]
}

export class CoreCluster {
  readonly clock = new VirtualClock()
  /** Known to all. */
  readonly topics = new Topics(() => {
    for (const { router } of this.nodes.values()) router.keepersChanged()
  })
  readonly queueTable = new QueueTable()
  readonly shardCount: number
  /** Of all session shards; messages that sessions do not get. */
  losses: SessionLosses = {
    messagesMax: () => Number.POSITIVE_INFINITY,
    lost: () => undefined,
    sessionExpired: () => undefined,
  }
  retainedLimits: RetainedLimits = { messagesMax: undefined, expirySeconds: undefined }
  readonly nodes = new Map<string, CoreNode>()
  /** Nodes whose registration may be gone. */
  readonly stale = new Set<string>()
  readonly storage: StorageAdapter
  readonly #owners = new Map<number, ShardOwner>()
  readonly #cuts = new Set<string>()
  #epoch = 0

  constructor(storage: StorageAdapter, shardCount: number) {
    this.storage = storage
    this.shardCount = shardCount
  }

  join(name: string): CoreNode {
    const hosted = new HostedShards()
    const router = new Router(this, { topics: this.topics, queues: this.queueTable })
    const directory = this.#directory(name)
    const nodeEpoch = ++this.#epoch
    const pressure = new StoragePressure({
      clock: this.clock,
      level: () => this.storage.pressure ?? 0,
    })
    const parts = { directory, hosted, peers: this.#peers(name, () => node), clock: this.clock }
    const queues = new CoreQueues({ ...parts, table: this.queueTable, router, pressure })
    const messaging = new Messaging({
      ...parts,
      router,
      pressure,
      nodeEpoch: () => nodeEpoch,
      mayAcknowledge: () => !this.stale.has(name),
    })
    const transactions = new CoreTransactions(parts)
    const kept = { messaging, queues, transactions, hosted, router }
    const node: CoreNode = { name, nodeEpoch, ...kept, errors: [] }
    this.nodes.set(name, node)
    for (const other of this.nodes.values()) {
      if (other === node) continue
      router.changePeerFilters(other.name, {
        reset: true,
        added: other.router.liveFilters(),
        removed: [],
      })
      for (const { shard, epoch, sessions, groups } of other.hosted.all()) {
        router.changeShardFilters(shard, epoch, {
          reset: true,
          added: [...sessions.filters(), ...groups.groups()],
          removed: [],
        })
      }
    }
    return node
  }

  /** Gives the shard to the node: fences, loads, serves, tells all. The owner before learns nothing. */
  async own(shard: number, name: string): Promise<void> {
    const node = this.#node(name)
    const epoch = ++this.#epoch
    const lost = (): void => {
      node.hosted.remove(shard)
      sessions.stop()
      groups.stop()
      schedule.stop()
      queues.stop()
      transactions.coordinator.stop()
      relays.stop()
      logs.stop()
      node.messaging.changed()
      node.queues.changed()
      node.transactions.changed()
    }
    const writer = new ShardWriter({
      shard,
      epoch,
      owner: `${name}/1`,
      storage: this.storage,
      clock: this.clock,
      onLost: lost,
    })
    await writer.open()
    const connections: Connections = {
      push: (to, address, deliveries) => this.#push(name, to, { address, deliveries }),
      pushShared: (to, address, deliveries) => {
        if (!this.#linked(name, to)) return
        queueMicrotask(() => this.nodes.get(to)?.messaging.pushShared(address, deliveries))
      },
      evict: async (to, address) => {
        if (this.#linked(name, to)) this.nodes.get(to)?.messaging.evict(address)
      },
      isMember: (other, nodeEpoch) => this.nodes.get(other)?.nodeEpoch === nodeEpoch,
    }
    const sessions: SessionShard = new SessionShard({
      writer,
      storage: this.storage,
      clock: this.clock,
      connections,
      publish: (message) => node.messaging.publishAndWait(message),
      losses: {
        messagesMax: () => this.losses.messagesMax(),
        lost: (message, loss) => this.losses.lost(message, loss),
        sessionExpired: () => this.losses.sessionExpired(),
      },
      leaveGroups: (to, filters) => node.messaging.leaveGroups(to, filters),
      announce: (change) => this.#announceShard(shard, epoch, change),
      onError: (error) => node.errors.push(error),
    })
    const groups: GroupShard = new GroupShard({
      writer,
      storage: this.storage,
      clock: this.clock,
      connections,
      announce: (change) => this.#announceShard(shard, epoch, change),
      onError: (error) => node.errors.push(error),
      dispatch: () => 'round-robin',
      random: () => 0,
    })
    const schedule = new Scheduled({
      writer,
      storage: this.storage,
      clock: this.clock,
      publish: (message) => node.messaging.publishAndWait(message),
      onError: (error) => node.errors.push(error),
    })
    const queues = node.queues.host({
      writer,
      storage: this.storage,
      onError: (error) => node.errors.push(error),
    })
    const retained = new RetainedShard(writer, this.storage, {
      clock: this.clock,
      limits: () => this.retainedLimits,
    })
    const claims = new ClaimShard(writer, this.storage)
    const logs = new LogShard({
      writer,
      storage: this.storage,
      clock: this.clock,
      tails: new TailCache(1 << 20),
      budget: new TaskBudget({ clock: this.clock, bytesPerSecond: 1 << 24 }),
      policyOf: (log) => this.topics.policyOf(log),
      isDeleted: (log) => this.topics.isDeleted(log),
      recordOf: (message) => toKeyedRecord(message),
      onError: (error) => node.errors.push(error),
    })
    const transactions = node.transactions.host({
      writer,
      storage: this.storage,
      logs,
      onError: (error) => node.errors.push(error),
    })
    const relays = new LogRelays({
      writer,
      storage: this.storage,
      logs,
      targets: {
        wants: (topic) => node.messaging.wantsOf(topic),
        relay: (topic, message) => node.messaging.relay(topic, message),
        messageOf: ({ address }, { value }) =>
          messageTo(address, Buffer.from(value ?? '').toString()),
      },
      topicById: (id) => this.topics.byId(id),
      onError: (error) => node.errors.push(error),
    })
    await Promise.all([
      relays.load(),
      sessions.load(),
      groups.load(),
      schedule.load(),
      retained.load(),
      claims.load(),
      transactions.coordinator.load(),
    ])
    const all = { sessions, groups, schedule, queues, retained, claims, logs, transactions, relays }
    node.hosted.add({ shard, epoch, writer, ...all })
    logs.start()
    groups.start()
    schedule.start()
    queues.start()
    transactions.coordinator.start()
    relays.start()
    const added = [...sessions.filters(), ...groups.groups()]
    await this.#announceShard(shard, epoch, { reset: true, added, removed: [] })
    this.#owners.set(shard, { node: name, epoch })
    sessions.checkMembers()
    groups.checkMembers()
    await this.changed()
  }

  async ownAll(assign: (shard: number) => string): Promise<void> {
    for (let shard = 0; shard < this.shardCount; shard++) await this.own(shard, assign(shard))
  }

  /** The owner gives the shard back, and the node gets it. */
  async handOver(shard: number, to: string): Promise<void> {
    const node = this.#node(this.#owners.get(shard)?.node ?? '')
    const hosted = node.hosted.get(shard)
    if (hosted === undefined) throw new Error(`nobody serves shard ${shard}`)
    node.hosted.remove(shard)
    stopAll(hosted)
    await hosted.writer.drained()
    hosted.writer.abandon()
    await this.disown(shard)
    await this.own(shard, to)
  }

  /** The shard has no owner any more, as after a broker's death. */
  async disown(shard: number): Promise<void> {
    this.#owners.delete(shard)
    await this.changed()
  }

  /** The broker is gone: memory, sockets, membership. */
  async kill(name: string): Promise<void> {
    const node = this.#node(name)
    this.nodes.delete(name)
    for (const hosted of node.hosted.all()) {
      stopAll(hosted)
      hosted.writer.abandon()
      this.#owners.delete(hosted.shard)
    }
    for (const other of this.nodes.values()) {
      other.router.forgetPeer(name)
      for (const { sessions, groups } of other.hosted.all()) {
        sessions.checkMembers()
        groups.checkMembers()
      }
    }
    await this.changed()
  }

  async cut(a: string, b: string, cut = true): Promise<void> {
    for (const pair of [`${a} ${b}`, `${b} ${a}`]) {
      if (cut) this.#cuts.add(pair)
      else this.#cuts.delete(pair)
    }
    if (!cut) {
      this.nodes.get(a)?.messaging.peerLinked(b)
      this.nodes.get(b)?.messaging.peerLinked(a)
    }
    await this.changed()
  }

  async changed(): Promise<void> {
    for (const node of this.nodes.values()) {
      node.messaging.changed()
      node.queues.changed()
      node.transactions.changed()
    }
    await settle()
  }

  shardOfSession(name: string): number {
    return shardOf('session', name, this.shardCount)
  }

  ownerOf(shard: number): ShardOwner | undefined {
    return this.#owners.get(shard)
  }

  #node(name: string): CoreNode {
    const node = this.nodes.get(name)
    if (node === undefined) throw new Error(`no node ${name}`)
    return node
  }

  #linked(from: string, to: string): boolean {
    return from === to || (this.nodes.has(to) && !this.#cuts.has(`${from} ${to}`))
  }

  #directory(self: string): Directory {
    return {
      self,
      shardCount: this.shardCount,
      owner: (shard) => this.#owners.get(shard),
      peers: () => [...this.nodes.keys()].filter((name) => name !== self),
      isMember: (name, nodeEpoch) => this.nodes.get(name)?.nodeEpoch === nodeEpoch,
    }
  }

  #push(
    from: string,
    to: string,
    push: { address: SessionAddress; deliveries: readonly Delivery[] },
  ) {
    if (!this.#linked(from, to)) return
    queueMicrotask(() => this.nodes.get(to)?.messaging.push(push.address, push.deliveries))
  }

  async #announceShard(shard: number, epoch: number, change: FilterChange): Promise<void> {
    for (const node of this.nodes.values()) node.router.changeShardFilters(shard, epoch, change)
  }

  #peers(self: string, own: () => CoreNode): Peers {
    return {
      publish: (to, item, onReply) => {
        if (!this.#linked(self, to)) return false
        queueMicrotask(() => {
          const target = this.nodes.get(to)
          if (target === undefined || !this.#linked(self, to)) {
            onReply?.(undefined)
            return
          }
          target.messaging.receive(item, (reply: PublishReply) => {
            queueMicrotask(() => onReply?.(this.#linked(self, to) ? reply : undefined))
          })
        })
        return true
      },
      request: async (to, shard, { request, signal }) => {
        const target = this.nodes.get(to)
        if (target === undefined || !this.#linked(self, to)) return undefined
        const reply = await answer(target.hosted, shard, { request, clock: this.clock, signal })
        return this.#linked(self, to) ? reply : undefined
      },
      acknowledge: (to, address, offsets) => {
        if (!this.#linked(self, to)) return
        const shard = this.shardOfSession(address.session)
        queueMicrotask(() => this.nodes.get(to)?.messaging.acknowledged(shard, address, offsets))
      },
      announceLive: async (change) => {
        for (const node of this.nodes.values()) {
          if (node !== own()) node.router.changePeerFilters(self, change)
        }
      },
      announceShard: (shard, epoch, change) => this.#announceShard(shard, epoch, change),
    }
  }
}

function stopAll(hosted: HostedShard): void {
  const { sessions, groups, schedule, queues, logs, transactions, relays } = hosted
  const { coordinator } = transactions
  for (const part of [sessions, groups, schedule, queues, logs, coordinator, relays]) part.stop()
}

/** A client that acknowledges what it gets, unless told not to. */
export class TestClient implements SessionEvents {
  readonly live: string[] = []
  readonly inbox: string[] = []
  readonly offsets: number[] = []
  readonly shared: string[] = []
  readonly sharedDone: (() => void)[] = []
  evictions = 0
  acknowledge: ((offset: number) => void) | undefined

  deliver(message: Message, _grants: readonly Subscription[]): void {
    this.live.push(Buffer.from(message.payload).toString())
  }

  push(deliveries: readonly Delivery[]): void {
    for (const { message, offset } of deliveries) {
      this.inbox.push(Buffer.from(message.payload).toString())
      this.offsets.push(offset)
      this.acknowledge?.(offset)
    }
  }

  deliverShared({ message }: GroupDelivery, done: () => void): void {
    this.shared.push(Buffer.from(message.payload).toString())
    if (this.acknowledge === undefined) this.sharedDone.push(done)
    else done()
  }

  evicted(): void {
    this.evictions++
  }
}

export function messageTo(address: string, text: string, more: Partial<Message> = {}): Message {
  return {
    address,
    guarantee: 1,
    retain: false,
    payload: Buffer.from(text),
    dialect: 'test',
    properties: new Uint8Array(0),
    timestampMs: 1,
    expiresAtMs: 0,
    publisher: '',
    token: '',
    ...more,
  }
}

export function wanting(filter: string, more: Partial<Subscription> = {}): Subscription {
  return {
    filter,
    guarantee: 1,
    noLocal: false,
    retainAsPublished: false,
    identifier: 0,
    ...more,
  }
}
