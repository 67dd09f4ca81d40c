/**
 * The groups of one owned shard. Stored are: that a group is there, its durable members, and its queue. Who is
 * connected is told again by the brokers that have the sockets when the shard has moved.
 */
import type { NewRecord, StorageAdapter } from '@robust/storage-adapters'
import { BrokerError } from '../core/errors.ts'
import { FilterIndex } from '../core/filter-index.ts'
import type {
  GroupDelivery,
  GroupLeave,
  GroupMember,
  GroupSettle,
  HostedGroups,
} from '../core/groups/hosted-groups.ts'
import { plainFilter } from '../core/groups/shared-filter.ts'
import type { Message, Subscription } from '../core/message.ts'
import type { Clock, Timer } from '../core/ports/clock.ts'
import type { Connections, SessionAddress } from '../core/ports/connections.ts'
import { HEADER, withHeaders } from '../core/queues/headers.ts'
import { newQueueCounts } from '../core/queues/hosted-queues.ts'
import {
  DEFAULT_QUEUE_POLICY,
  type DispatchStrategy,
  type QueuePolicy,
} from '../core/queues/queue-policy.ts'
import { toRecord } from '../core/record.ts'
import type { FilterChange } from '../core/router.ts'
import type { CommitOutcome, ShardWriter } from '../core/shard-writer.ts'
import { decodeJson, encodeJson, scanAll } from '../core/stored.ts'
import { Turns } from '../core/turns.ts'
import { Group, type Member } from './group.ts'
import { Queue } from './queue.ts'
import { dropQueue, padded, rangeOf } from './queue-keys.ts'

export interface GroupResources {
  readonly dispatch: () => DispatchStrategy
  /** From 0 to 1. */
  readonly random: () => number
}

export interface GroupShardOptions extends GroupResources {
  readonly writer: ShardWriter
  readonly storage: StorageAdapter
  readonly clock: Clock
  readonly connections: Connections
  /** Tells every broker, this one included, and resolves when all know. */
  readonly announce: (change: FilterChange) => Promise<void>
  readonly onError: (error: Error) => void
}

interface StoredGroup {
  readonly id: number
  /** Acknowledged messages are kept for it, whoever has joined. */
  readonly keeps: boolean
}

interface StoredMember {
  readonly subscription: Subscription
}

const GROUPS = 'group/'
const MEMBERS = 'group-member/'
const CARE_MS = 1_000
/** A publisher's broker repeats what it does not know the outcome of well within this time. */
const RETRIES_REMEMBERED_MS = 600_000

const POLICY: QueuePolicy = {
  ...DEFAULT_QUEUE_POLICY,
  deadLetterExpired: false,
  deduplicationMs: RETRIES_REMEMBERED_MS,
}

/** How long a group without members waits for brokers to tell of those that are connected, ms. */
const EMPTY_MS = 60_000

export class GroupShard implements HostedGroups {
  readonly #options: GroupShardOptions
  readonly #groups = new Map<string, Group>()
  readonly #index = new FilterIndex<Group>(({ name }) => name)
  /** Groups that nobody is a member of, and since when; monotonic, ms. */
  readonly #emptySince = new Map<Group, number>()
  /** One join or leave at a time for each group. */
  readonly #turns = new Turns()
  readonly #outgoing = new Map<string, { node: string; to: SessionAddress; all: GroupDelivery[] }>()
  #newestId = 0
  #timer: Timer | undefined
  #stopped = false

  constructor(options: GroupShardOptions) {
    this.#options = options
  }

  async load(): Promise<void> {
    const { storage, writer } = this.#options
    for await (const { key, value } of scanAll(storage, writer.shard, rangeOf(GROUPS))) {
      const stored = decodeJson<StoredGroup>(value)
      this.#newestId = Math.max(this.#newestId, stored.id)
      const group = this.#open(key.slice(GROUPS.length), stored)
      await group.queue.load()
      this.#emptySince.set(group, this.#options.clock.nowMs())
    }
    for await (const { key, value } of scanAll(storage, writer.shard, rangeOf(MEMBERS))) {
      const [name = '', session = ''] = key.slice(MEMBERS.length).split('\0')
      const group = this.#groups.get(name)
      if (group === undefined) continue
      const { subscription } = decodeJson<StoredMember>(value)
      group.members.set(session, awayMember(session, subscription))
      this.#emptySince.delete(group)
    }
  }

  start(): void {
    this.#timer = this.#options.clock.after(CARE_MS, () => {
      this.#care()
      if (!this.#stopped) this.start()
    })
  }

  groups(): string[] {
    return [...this.#groups.keys()]
  }

  append(message: Message, done: (outcome: CommitOutcome) => void): void {
    this.#index.match(message.address, (group) => {
      if (message.guarantee > 0 && group.keeps) group.queue.append(recordOf(message), ignore)
      else group.deliverLoosely(message)
    })
    this.#options.writer.onCommit(done)
  }

  join(member: GroupMember): Promise<void> {
    return this.#inTurn(member.group, async () => {
      const { writer, announce } = this.#options
      const isNew = !this.#groups.has(member.group)
      const group = this.#groups.get(member.group) ?? this.#make(member.group)
      const before = group.members.get(member.to.session)
      const joined = await group.join(member)
      if (joined === undefined) throw new BrokerError('TAKEN_OVER', 'a newer connection has joined')
      this.#emptySince.delete(group)
      if (joined.subscription.guarantee > 0 && !group.keeps) {
        group.keeps = true
        this.#storeGroup(group)
      }
      if (joined.durable) this.#storeMember(group, joined)
      else if (before?.durable === true) writer.delete(memberKey(group.name, joined.session))
      const announced = announce({ reset: false, added: isNew ? [member.group] : [], removed: [] })
      await this.#committed()
      await announced
    })
  }

  leave({ group: name, to, forever }: GroupLeave): Promise<void> {
    return this.#inTurn(name, async () => {
      const group = this.#groups.get(name)
      if (group === undefined) return
      const durable = group.members.get(to.session)?.durable === true
      const outcome = await group.leave(to, forever)
      if (outcome !== 'gone') return
      if (durable) this.#options.writer.delete(memberKey(name, to.session))
      if (group.members.size === 0) this.#drop(group)
      await this.#committed()
    })
  }

  async settle(settle: GroupSettle): Promise<void> {
    await this.#groups.get(settle.group)?.settle(settle)
  }

  checkMembers(): void {
    const { connections } = this.#options
    for (const group of this.#groups.values()) {
      for (const { node, nodeEpoch, to } of group.members.values()) {
        if (node === undefined || connections.isMember(node, nodeEpoch)) continue
        this.leave({ group: group.name, to, forever: false }).catch((error) => this.#failed(error))
      }
    }
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    for (const { queue } of this.#groups.values()) queue.stop()
  }

  #care(): void {
    const now = this.#options.clock.nowMs()
    for (const group of this.#groups.values()) {
      if (group.queue.isBusy) group.queue.care().catch((error) => this.#failed(error))
      const since = this.#emptySince.get(group)
      if (group.members.size === 0 && since !== undefined && now - since >= EMPTY_MS) {
        void this.#inTurn(group.name, async () => {
          if (group.members.size === 0) this.#drop(group)
        })
      }
    }
  }

  #make(name: string): Group {
    const id = Math.max(this.#newestId + 1, this.#options.clock.wallMs())
    this.#newestId = id
    const group = this.#open(name, { id, keeps: false })
    this.#storeGroup(group)
    return group
  }

  #storeGroup({ name, queue, keeps }: Group): void {
    const stored: StoredGroup = { id: queue.id, keeps }
    this.#options.writer.put(`${GROUPS}${name}`, encodeJson(stored))
  }

  #open(name: string, { id, keeps }: StoredGroup): Group {
    const { dispatch, onError } = this.#options
    const queue = new Queue({
      ...this.#options,
      id,
      name,
      prefix: prefixOf(id),
      policy: () => ({ ...POLICY, dispatch: dispatch() }),
      forward: () => Promise.reject(new BrokerError('NOT_FOUND', 'a group forwards nothing')),
      check: () => undefined,
      counts: newQueueCounts(),
      onError,
    })
    const group = new Group({
      name,
      queue,
      keeps,
      dispatch,
      push: (node, to, delivery) => this.#push(node, to, delivery),
    })
    this.#groups.set(name, group)
    this.#index.add(plainFilter(name), group)
    return group
  }

  #drop(group: Group): void {
    const { writer, announce } = this.#options
    group.queue.stop()
    this.#groups.delete(group.name)
    this.#emptySince.delete(group)
    this.#index.remove(plainFilter(group.name), group.name)
    writer.delete(`${GROUPS}${group.name}`)
    dropQueue(writer, prefixOf(group.queue.id))
    // Peers that hear of it later only send what is not wanted any more.
    announce({ reset: false, added: [], removed: [group.name] }).catch((error) =>
      this.#failed(error),
    )
  }

  #storeMember(group: Group, { session, subscription }: Member): void {
    const stored: StoredMember = { subscription }
    this.#options.writer.put(memberKey(group.name, session), encodeJson(stored))
  }

  /** What one connection gets in a turn goes together. */
  #push(node: string, to: SessionAddress, delivery: GroupDelivery): void {
    const { epoch, counter } = to.attachment
    const key = `${node} ${epoch} ${counter} ${to.session}`
    const known = this.#outgoing.get(key)
    if (known !== undefined) {
      known.all.push(delivery)
      return
    }
    if (this.#outgoing.size === 0) this.#options.clock.defer(() => this.#flushPushes())
    this.#outgoing.set(key, { node, to, all: [delivery] })
  }

  #flushPushes(): void {
    const outgoing = [...this.#outgoing.values()]
    this.#outgoing.clear()
    for (const { node, to, all } of outgoing) this.#options.connections.pushShared(node, to, all)
  }

  async #committed(): Promise<void> {
    const { writer } = this.#options
    const outcome = await new Promise<CommitOutcome>((resolve) => writer.onCommit(resolve))
    if (outcome === 'lost') throw new BrokerError('UNAVAILABLE', 'the shard has moved')
  }

  #inTurn<T>(name: string, run: () => Promise<T>): Promise<T> {
    return this.#turns.run(name, () => {
      if (this.#stopped) throw new BrokerError('UNAVAILABLE', 'the shard has moved')
      return run()
    })
  }

  #failed(error: unknown): void {
    if (this.#stopped) return
    this.#options.onError(error instanceof Error ? error : new Error(String(error)))
  }
}

function awayMember(session: string, subscription: Subscription): Member {
  return {
    session,
    to: { session, attachment: { epoch: 0, counter: 0 } },
    node: undefined,
    nodeEpoch: 0,
    durable: true,
    subscription,
    consumer: undefined,
    begun: new Set(),
  }
}

function prefixOf(id: number): string {
  return `group-queue/${padded(id)}/`
}

/** NUL cannot be part of a filter or of a session's name. */
function memberKey(group: string, session: string): string {
  return `${MEMBERS}${group}\0${session}`
}

/** A retry of an exactly-once message is not another one. */
function recordOf(message: Message): NewRecord {
  const record = toRecord(message)
  if (message.guarantee < 2 || message.token === '') return record
  return withHeaders(record, { [HEADER.deduplicationId]: message.token })
}

function ignore(): void {}
