/** The groups that are coordinated here: those whose shard is owned here, each with what it has committed. */
import { BrokerError } from '../../../core/errors.ts'
import type { Clock, Timer } from '../../../core/ports/clock.ts'
import type {
  CommittedOffset,
  CommittedOffsets,
  GroupChange,
  OffsetsHome,
} from '../../../core/topics/committed-offsets.ts'
import { ERROR } from '../errors.ts'
import { GROUPS_MAX, OFFSETS_CHECK_MS } from '../limits.ts'
import { Group, type StoredGroup } from './group.ts'
import { subscribedTopics } from './subscription.ts'

export interface CoordinatorOptions {
  readonly offsets: CommittedOffsets
  readonly clock: Clock
  readonly newMemberId: (groupInstanceId: string | null) => string
  /** Of offsets that nobody reads on from, ms. */
  readonly offsetsRetentionMs: () => number
  /** The name of a topic; undefined: it is not known. */
  readonly topicName: (id: string) => string | undefined
}

/** A group as it is stored. */
interface StoredState {
  readonly group: StoredGroup
  /** Wall clock, ms; null: it has members. */
  readonly emptySinceMs: number | null
}

export class CoordinatedGroup {
  readonly group: Group
  readonly #home: OffsetsHome
  readonly #options: CoordinatorOptions
  #isStored: boolean
  #emptySinceMs: number | null
  #offsets: Promise<Map<string, CommittedOffset>> | undefined

  constructor(home: OffsetsHome, options: CoordinatorOptions, stored: StoredState | undefined) {
    this.#home = home
    this.#options = options
    this.#isStored = stored !== undefined
    this.#emptySinceMs = stored?.emptySinceMs ?? null
    const { clock, newMemberId } = options
    const save = (group: StoredGroup) => this.#change({ state: this.#stateOf(group) })
    this.group = new Group({ clock, newMemberId, save }, stored?.group)
  }

  get isServed(): boolean {
    return this.#home.isServed
  }

  /** It has, or had, members or offsets. */
  get isKnown(): boolean {
    return this.#isStored || !this.group.isIdle
  }

  /** Rejects with BrokerError UNAVAILABLE, and may be asked again then. */
  async committed(): Promise<readonly CommittedOffset[]> {
    return [...(await this.#load()).values()]
  }

  async committedAt(topicId: string, partition: number): Promise<CommittedOffset | undefined> {
    return (await this.#load()).get(nameOf(topicId, partition))
  }

  /** False: the shard is lost, the outcome unknown. */
  async commit(offsets: readonly Omit<CommittedOffset, 'committedAtMs'>[]): Promise<boolean> {
    const known = await this.#load()
    const committedAtMs = this.#options.clock.wallMs()
    const commit = offsets.map((one) => ({ ...one, committedAtMs }))
    const state = this.#isStored ? {} : { state: this.#stateOf(this.group.stored) }
    if (!(await this.#change({ commit, ...state }))) return false
    for (const offset of commit) known.set(nameOf(offset.topicId, offset.partition), offset)
    return true
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
    this.group.close(ERROR.UNKNOWN_MEMBER_ID)
    return this.#change({ forget, state: null })
  }

  /** Whether one of its members reads the topic; a group of which that is not known reads every topic. */
  reads(topic: string): boolean {
    if (this.group.isEmpty) return false
    return this.group.topicsOf(subscribedTopics)?.has(topic) ?? true
  }

  /** Offsets from which nobody has read on for the time of retention go, and with the last an empty group (KIP-211). */
  async expire(): Promise<void> {
    const { clock, offsetsRetentionMs, topicName } = this.#options
    const beforeMs = clock.wallMs() - offsetsRetentionMs()
    const all = await this.committed()
    const old = all.filter(({ topicId, committedAtMs }) => {
      if (committedAtMs > beforeMs) return false
      if (this.group.isEmpty) return (this.#emptySinceMs ?? 0) <= beforeMs
      const name = topicName(topicId)
      return name === undefined || !this.reads(name)
    })
    const isOver = this.group.isIdle && old.length === all.length
    if (isOver && (this.#emptySinceMs ?? 0) <= beforeMs) await this.delete()
    else if (old.length > 0) await this.forget(old)
  }

  #stateOf(group: StoredGroup): StoredState {
    const isEmpty = group.members.length === 0
    this.#emptySinceMs = isEmpty ? (this.#emptySinceMs ?? this.#options.clock.wallMs()) : null
    return { group, emptySinceMs: this.#emptySinceMs }
  }

  #change(change: GroupChange): Promise<boolean> {
    if (change.state !== undefined) this.#isStored = change.state !== null
    return this.#home.change(change)
  }

  #load(): Promise<Map<string, CommittedOffset>> {
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

function nameOf(topicId: string, partition: number): string {
  return `${topicId}/${partition}`
}

interface Known {
  readonly home: OffsetsHome
  /** Rejects with BrokerError UNAVAILABLE. */
  readonly loaded: Promise<CoordinatedGroup | undefined>
  /** When it is loaded. */
  group: CoordinatedGroup | undefined
}

export class Coordinator {
  readonly #options: CoordinatorOptions
  readonly #groups = new Map<string, Known>()
  #timer: Timer | undefined

  constructor(options: CoordinatorOptions) {
    this.#options = options
  }

  /** Looks for offsets that are too old, now and then, until it is stopped. */
  start(): void {
    this.#timer = this.#options.clock.after(OFFSETS_CHECK_MS, () => {
      this.start()
      void this.expire()
    })
  }

  stop(): void {
    this.#timer?.cancel()
  }

  /** The broker that coordinates the group; undefined: none does now. */
  nodeOf(group: string): string | undefined {
    return this.#options.offsets.owner(group)?.node
  }

  /** Undefined: it is coordinated elsewhere. Rejects with BrokerError UNAVAILABLE. */
  find(name: string): Promise<CoordinatedGroup | undefined> {
    const known = this.#groups.get(name)
    if (known?.home.isServed === true) return known.loaded
    if (known !== undefined) this.#leave(name, known)
    const home = this.#options.offsets.home(name)
    if (home === undefined) return Promise.resolve(undefined)
    if (this.#groups.size >= GROUPS_MAX) this.#dropIdle()
    return this.#load(name, home)
  }

  /** All that is coordinated here. Rejects with BrokerError UNAVAILABLE. */
  async all(): Promise<readonly (readonly [name: string, group: CoordinatedGroup])[]> {
    const names = new Set([...this.#groups.keys(), ...(await this.#options.offsets.names())])
    const found: [string, CoordinatedGroup][] = []
    for (const name of names) {
      const group = await this.find(name)
      if (group?.isKnown === true) found.push([name, group])
    }
    return found
  }

  /** With all that it has committed. It must be empty. False: the shard is lost, the outcome unknown. */
  delete(name: string, group: CoordinatedGroup): Promise<boolean> {
    this.#groups.delete(name)
    return group.delete()
  }

  /** Shards have come or gone: those who wait at a group that is not coordinated here any more are told. */
  ownersChanged(): void {
    for (const [name, known] of this.#groups) if (!known.home.isServed) this.#leave(name, known)
  }

  /** What cannot be read now is looked at the next time. */
  async expire(): Promise<void> {
    try {
      for (const [name, group] of await this.all()) {
        await group.expire()
        if (!group.isKnown) this.#groups.delete(name)
      }
    } catch (error) {
      if (!(error instanceof BrokerError)) throw error
    }
  }

  async #load(name: string, home: OffsetsHome): Promise<CoordinatedGroup | undefined> {
    const loaded = home.loadState().then((stored) => {
      // The shard may have gone meanwhile: nobody would end the sessions of its members.
      if (!home.isServed) return undefined
      return new CoordinatedGroup(home, this.#options, stored as StoredState | undefined)
    })
    const known: Known = { home, loaded, group: undefined }
    this.#groups.set(name, known)
    try {
      known.group = await loaded
      return known.group
    } catch (error) {
      if (this.#groups.get(name) === known) this.#groups.delete(name)
      throw error
    }
  }

  #leave(name: string, { group }: Known): void {
    group?.group.close(ERROR.NOT_COORDINATOR)
    this.#groups.delete(name)
  }

  #dropIdle(): void {
    for (const [name, { group }] of this.#groups) {
      if (group?.group.isIdle !== true) continue
      this.#groups.delete(name)
      return
    }
  }
}
