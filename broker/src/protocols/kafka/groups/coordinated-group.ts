/**
 * A group of whatever kind, with what it has committed. Its kind may change: one without members becomes what the next
 * member is, and one of consumers is exchanged while they run (KIP-848).
 */
import type { Clock } from '../../../core/ports/clock.ts'
import type {
  CommittedOffset,
  GroupChange,
  OffsetsHome,
  TransactionNumber,
} from '../../../core/topics/committed-offsets.ts'
import { ERROR } from '../errors.ts'
import { ClassicMembers } from './classic-members.ts'
import { ConsumerGroup, type StoredConsumerGroup } from './consumer-group.ts'
import { toClassicGroup, toConsumerGroup } from './conversions.ts'
import { Group, type StoredGroup } from './group.ts'
import type { BeatingKind, GroupConfigs } from './group-configs.ts'
import {
  type Assignment,
  failedJoin,
  failedSync,
  type Identity,
  type Joined,
  type Joining,
  type Synced,
  type Syncing,
} from './member.ts'
import { ShareGroup, type StoredShareGroup } from './share-group.ts'
import type { TopicCatalogue } from './subscribed-topics.ts'

export interface CoordinatedGroupOptions {
  readonly clock: Clock
  readonly topics: TopicCatalogue
  readonly newMemberId: (groupInstanceId: string | null) => string
  /** Of offsets that nobody reads on from, ms. */
  readonly offsetsRetentionMs: () => number
  readonly groupConfigs: GroupConfigs
}

type AnyGroup = Group | ConsumerGroup | ShareGroup
type StoredKind = StoredGroup | StoredConsumerGroup | StoredShareGroup

/** A group as it is stored. */
export interface StoredState {
  readonly group: StoredKind
  /** Wall clock, ms; null: it has members. */
  readonly emptySinceMs: number | null
}

/** What members by the classic protocol ask. */
export interface ClassicRequests {
  join(joining: Joining): Promise<Joined>
  sync(syncing: Syncing, assignments: readonly Assignment[]): Promise<Synced>
  heartbeat(identity: Identity, generationId: number): number
  leave(identity: Identity, reason: string): number
}

export class CoordinatedGroup {
  readonly #name: string
  readonly #home: OffsetsHome
  readonly #options: CoordinatedGroupOptions
  #group: AnyGroup
  #isStored: boolean
  #emptySinceMs: number | null
  #offsets: Promise<Map<string, CommittedOffset>> | undefined
  #revision = 0
  #lastSave: Promise<unknown> = Promise.resolve()
  #nextSave: Promise<boolean> | undefined

  constructor(
    { name, home }: { readonly name: string; readonly home: OffsetsHome },
    options: CoordinatedGroupOptions,
    stored: StoredState | undefined,
  ) {
    this.#name = name
    this.#home = home
    this.#options = options
    this.#isStored = stored !== undefined
    this.#emptySinceMs = stored?.emptySinceMs ?? null
    this.#group = this.#made(stored?.group)
  }

  get isServed(): boolean {
    return this.#home.isServed
  }

  get group(): AnyGroup {
    return this.#group
  }

  /** It has, or had, members or offsets. */
  get isKnown(): boolean {
    return this.#isStored || !this.#group.isIdle
  }

  /** What answers members by the classic protocol. */
  get classic(): ClassicRequests {
    if (this.#group.kind === 'classic') return this.#group
    if (this.#group.kind === 'share') return NO_CONSUMERS
    return new ClassicMembers(this.#group, { ...this.#options, save: () => this.#save() })
  }

  /** The same for one that joins: a group without members becomes what it wants. */
  beginClassic(): ClassicRequests {
    if (this.#group.kind === 'consumer' && this.#group.isIdle) {
      this.#group = this.#classics(toClassicGroup([], this.#group.epoch, this.#options.topics))
    }
    return this.classic
  }

  /** For a consumer that joins by the new protocol; undefined: there are members that are no consumers. */
  beginConsumer(): ConsumerGroup | undefined {
    if (this.#group.kind === 'consumer') return this.#group
    if (this.#group.kind === 'share') return undefined
    const converted = toConsumerGroup(this.#group.stored, this.#options.topics)
    if (converted === undefined) return undefined
    this.#group.close(ERROR.REBALANCE_IN_PROGRESS)
    const group = this.#consumers(converted)
    this.#group = group
    return group
  }

  /** For a member that shares; undefined: it is a group of another kind, and is that until it is deleted. */
  beginShare(): ShareGroup | undefined {
    if (this.#group.kind !== 'share' && !this.isKnown) this.#group = this.#shares(undefined)
    return this.#group.kind === 'share' ? this.#group : undefined
  }

  /** Rejects with BrokerError UNAVAILABLE, and may be asked again then. */
  async committed(): Promise<readonly CommittedOffset[]> {
    return [...(await this.#load()).values()]
  }

  /** False: the shard is lost, the outcome unknown. */
  async commit(offsets: readonly Omit<CommittedOffset, 'committedAtMs'>[]): Promise<boolean> {
    const known = await this.#load()
    const committedAtMs = this.#options.clock.wallMs()
    const commit = offsets.map((one) => ({ ...one, committedAtMs }))
    const state = this.#isStored ? {} : { state: this.#stateOf(this.#group.stored) }
    if (!(await this.#change({ commit, ...state }))) return false
    for (const offset of commit) known.set(nameOf(offset.topicId, offset.partition), offset)
    return true
  }

  /** Kept until the transaction is committed; false: the shard is lost, the outcome unknown. */
  async commitWith(
    transaction: TransactionNumber,
    offsets: readonly Omit<CommittedOffset, 'committedAtMs'>[],
  ): Promise<boolean> {
    const committedAtMs = this.#options.clock.wallMs()
    const state = this.#stateOf(this.#group.stored)
    if (!this.#isStored && !(await this.#change({ state }))) return false
    const commit = offsets.map((one) => ({ ...one, committedAtMs }))
    return this.#home.commitWith(transaction, commit)
  }

  /** Of transactions that go on. Rejects with a StorageError. */
  pending(): Promise<readonly CommittedOffset[]> {
    return this.#home.pending()
  }

  get verifications(): OffsetsHome['verifications'] {
    return this.#home.verifications
  }

  /** False: the shard is lost, the outcome unknown. */
  async forget(offsets: readonly CommittedOffset[]): Promise<boolean> {
    const known = await this.#load()
    if (!(await this.#change({ forget: offsets }))) return false
    for (const offset of offsets) known.delete(nameOf(offset.topicId, offset.partition))
    return true
  }

  /** False: the shard is lost, the outcome unknown. */
  async delete(): Promise<boolean> {
    const forget = await this.committed()
    this.#group.close(ERROR.UNKNOWN_MEMBER_ID)
    return this.#change({ forget, state: null })
  }

  /** Whether one of its members reads the topic; a group of which that is not known reads every topic. */
  reads(topic: string): boolean {
    if (this.#group.isEmpty) return false
    return this.#group.topicsRead?.has(topic) ?? true
  }

  /** Offsets from which nobody has read on for the time of retention go, and with the last an empty group (KIP-211). */
  async expire(): Promise<void> {
    const { clock, offsetsRetentionMs, topics } = this.#options
    const beforeMs = clock.wallMs() - offsetsRetentionMs()
    const all = await this.committed()
    const old = all.filter(({ topicId, committedAtMs }) => {
      if (committedAtMs > beforeMs) return false
      if (this.#group.isEmpty) return (this.#emptySinceMs ?? 0) <= beforeMs
      const name = topics.byId(topicId)?.name
      return name === undefined || !this.reads(name)
    })
    const isOver = this.#group.isIdle && old.length === all.length
    if (isOver && (this.#emptySinceMs ?? 0) <= beforeMs) await this.delete()
    else if (old.length > 0) await this.forget(old)
  }

  #made(stored: StoredKind | undefined): AnyGroup {
    if (stored?.kind === 'consumer') return this.#consumers(stored)
    return stored?.kind === 'share' ? this.#shares(stored) : this.#classics(stored)
  }

  #shares(stored: StoredShareGroup | undefined): ShareGroup {
    const { clock, topics, newMemberId } = this.#options
    const newId = (): string => newMemberId(null)
    const sessionMs = (): number => this.#sessionMs('share')
    return new ShareGroup({ clock, topics, newId, sessionMs, save: () => this.#save() }, stored)
  }

  #classics(stored: StoredGroup | undefined): Group {
    const { clock, newMemberId } = this.#options
    const save = (group: StoredGroup) => this.#change({ state: this.#stateOf(group) })
    return new Group({ clock, newMemberId, save }, stored)
  }

  #consumers(stored: StoredConsumerGroup): ConsumerGroup {
    const { clock, topics } = this.#options
    const save = (): Promise<boolean> => this.#save()
    const onClassicOnly = (): void => this.#downgrade()
    const sessionMs = (): number => this.#sessionMs('consumer')
    return new ConsumerGroup({ clock, topics, sessionMs, save, onClassicOnly }, stored)
  }

  #sessionMs(kind: BeatingKind): number {
    return this.#options.groupConfigs.sessionMs(kind, this.#name)
  }

  /** The last member by the new protocol has gone, and the others go on among themselves. */
  #downgrade(): void {
    const group = this.#group
    if (group.kind !== 'consumer') return
    const members = [...group.members.values()]
    const classic = this.#classics(toClassicGroup(members, group.epoch, this.#options.topics))
    group.close()
    this.#group = classic
    classic.rebalance('')
  }

  /** Of a group that changes often: what comes while one is stored is stored with the next. */
  #save(): Promise<boolean> {
    this.#nextSave ??= this.#lastSave.then(() => {
      this.#nextSave = undefined
      const saved = this.#change({ state: this.#stateOf(this.#group.stored) })
      this.#lastSave = saved
      return saved
    })
    return this.#nextSave
  }

  #stateOf(group: StoredKind): StoredState {
    const isEmpty = group.members.length === 0
    this.#emptySinceMs = isEmpty ? (this.#emptySinceMs ?? this.#options.clock.wallMs()) : null
    return { group, emptySinceMs: this.#emptySinceMs }
  }

  #change(change: GroupChange): Promise<boolean> {
    if (change.state !== undefined) this.#isStored = change.state !== null
    return this.#home.change(change)
  }

  #load(): Promise<Map<string, CommittedOffset>> {
    const { revision } = this.#home
    if (revision !== this.#revision) this.#offsets = undefined
    this.#revision = revision
    this.#offsets ??= this.#home.load().then(
      (all) => new Map(all.map((one) => [nameOf(one.topicId, one.partition), one])),
      (error: unknown) => {
        this.#offsets = undefined
        throw error
      },
    )
    return this.#offsets
  }
}

/** To consumers a group that shares is none of theirs. */
const NO_CONSUMERS: ClassicRequests = {
  join: ({ memberId }) => failedJoin(memberId, ERROR.INCONSISTENT_GROUP_PROTOCOL),
  sync: () => failedSync(ERROR.UNKNOWN_MEMBER_ID),
  heartbeat: () => ERROR.UNKNOWN_MEMBER_ID,
  leave: () => ERROR.UNKNOWN_MEMBER_ID,
}

function nameOf(topicId: string, partition: number): string {
  return `${topicId}/${partition}`
}
