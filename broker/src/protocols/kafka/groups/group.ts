/**
 * One group by the classic protocol (KIP-62): its members, their rebalances, generation after generation. Of the
 * members' plans it knows nothing but who made them, and whether one that comes back reads the same topics. What is
 * complete is stored, so that members go on at the next coordinator: a generation with its assignments, a static
 * member that has come back, and that nobody is left. A rebalance under way is not. No I/O but timers.
 */
import type { Clock, Timer } from '../../../core/ports/clock.ts'
import { ERROR } from '../errors.ts'
import { FIRST_REBALANCE_MS, MEMBERS_MAX } from '../limits.ts'
import { type GroupSummary, type GroupView, summaryOf } from './group-view.ts'
import {
  type Assignment,
  choiceOf,
  failedJoin,
  failedSync,
  type Identity,
  type Joined,
  type Joining,
  joinedOf,
  type Member,
  memberOf,
  metadataOf,
  NO_BYTES,
  restoredMember,
  type StoredMember,
  type Synced,
  type Syncing,
  sameProtocols,
  sameTopics,
  speaks,
  storedMember,
  syncOf,
} from './member.ts'
import { subscribedTopics } from './subscription.ts'

export interface StoredGroup {
  readonly kind: 'classic'
  readonly generation: number
  readonly protocolType: string
  readonly protocolName: string
  readonly leader: string
  readonly members: readonly StoredMember[]
}

type Phase = 'empty' | 'joining' | 'syncing' | 'stable'

export interface GroupOptions {
  readonly clock: Clock
  readonly newMemberId: (groupInstanceId: string | null) => string
  /** Resolves when it is durable. False: the shard is lost, and the group is about to be closed. */
  readonly save: (stored: StoredGroup) => Promise<boolean>
}

export class Group {
  readonly kind = 'classic'
  readonly #options: GroupOptions
  readonly #members = new Map<string, Member>()
  /** Ids of static members by their names. */
  readonly #statics = new Map<string, string>()
  /** Members that were told their id and have not joined yet. */
  readonly #promised = new Map<string, Timer>()
  #phase: Phase = 'empty'
  #generation = 0
  #protocolType = ''
  #protocolName = ''
  #leader = ''
  /** Ends the joining, or the wait for those who do not ask for their assignment. */
  #deadline: Timer | undefined
  /** More members may come: a new group does not begin with the first one. */
  #isGathering = false
  /** Why the last rebalance began, in the words of a client; empty: none said. */
  #reason = ''

  constructor(options: GroupOptions, stored?: StoredGroup) {
    this.#options = options
    if (stored === undefined) return
    this.#generation = stored.generation
    this.#protocolType = stored.protocolType
    this.#protocolName = stored.protocolName
    this.#leader = stored.leader
    for (const one of stored.members) this.#add(restoredMember(one, stored.protocolName))
    if (this.#members.size > 0) this.#phase = 'stable'
    for (const member of this.#members.values()) this.#touch(member)
  }

  get isIdle(): boolean {
    return this.isEmpty && this.#promised.size === 0
  }

  get isEmpty(): boolean {
    return this.#members.size === 0
  }

  get reason(): string {
    return this.#reason
  }

  get protocolType(): string {
    return this.#protocolType
  }

  get view(): GroupView {
    const protocolName = this.#phase === 'stable' ? this.#protocolName : ''
    const members = [...this.#members.values()].map((member) => ({
      ...{ memberId: member.id, groupInstanceId: member.instanceId },
      ...{ clientId: member.clientId, clientHost: member.clientHost },
      metadata: metadataOf(member, protocolName),
      assignment: member.assignment,
    }))
    return { state: STATES[this.#phase], protocolType: this.#protocolType, protocolName, members }
  }

  get summary(): GroupSummary {
    return summaryOf(this.view)
  }

  get stored(): StoredGroup {
    return {
      ...{ kind: 'classic', generation: this.#generation, protocolType: this.#protocolType },
      ...{ protocolName: this.#protocolName, leader: this.#leader },
      members: [...this.#members.values()].map((one) => storedMember(one, this.#protocolName)),
    }
  }

  /** By name; undefined: one of the members is no consumer. */
  get topicsRead(): ReadonlySet<string> | undefined {
    const topics = new Set<string>()
    for (const member of this.#members.values()) {
      const one = subscribedTopics(metadataOf(member, this.#protocolName))
      if (one === undefined) return undefined
      for (const topic of one) topics.add(topic)
    }
    return topics
  }

  /** Resolves when the generation begins. */
  join(joining: Joining): Promise<Joined> {
    const { memberId, groupInstanceId } = joining
    if (!this.#agrees(joining)) return failedJoin(memberId, ERROR.INCONSISTENT_GROUP_PROTOCOL)
    if (memberId === '') {
      const before = groupInstanceId === null ? undefined : this.#statics.get(groupInstanceId)
      const member = before === undefined ? undefined : this.#members.get(before)
      return member === undefined ? this.#joinNew(joining) : this.#replace(member, joining)
    }
    const promised = this.#promised.get(memberId)
    if (promised !== undefined) {
      promised.cancel()
      this.#promised.delete(memberId)
      return this.#enter(memberId, joining)
    }
    const member = this.#identify(joining)
    return typeof member === 'number' ? failedJoin(memberId, member) : this.#rejoin(member, joining)
  }

  /** The leader brings everybody's assignment, the others wait for theirs. */
  sync(syncing: Syncing, assignments: readonly Assignment[]): Promise<Synced> {
    const { generationId, protocolType, protocolName } = syncing
    const member = this.#identify(syncing)
    if (typeof member === 'number') return failedSync(member)
    if (generationId !== this.#generation) return failedSync(ERROR.ILLEGAL_GENERATION)
    if ((protocolType ?? this.#protocolType) !== this.#protocolType) {
      return failedSync(ERROR.INCONSISTENT_GROUP_PROTOCOL)
    }
    if ((protocolName ?? this.#protocolName) !== this.#protocolName) {
      return failedSync(ERROR.INCONSISTENT_GROUP_PROTOCOL)
    }
    this.#touch(member)
    if (this.#phase === 'joining') return failedSync(ERROR.REBALANCE_IN_PROGRESS)
    member.hasSynced = true
    if (this.#phase === 'stable') return Promise.resolve(this.#syncedOf(member))
    member.sync?.(syncOf(ERROR.REBALANCE_IN_PROGRESS))
    const synced = new Promise<Synced>((resolve) => {
      member.sync = resolve
    })
    if (member.id === this.#leader) void this.#assign(assignments)
    return synced
  }

  heartbeat(identity: Identity, generationId: number): number {
    const member = this.#identify(identity)
    if (typeof member === 'number') return member
    if (generationId !== this.#generation) return ERROR.ILLEGAL_GENERATION
    this.#touch(member)
    return this.#phase === 'joining' ? ERROR.REBALANCE_IN_PROGRESS : ERROR.NONE
  }

  /** A static member may be named by its name alone: that is how tools remove one. */
  leave({ memberId, groupInstanceId }: Identity, reason: string): number {
    const promised = this.#promised.get(memberId)
    if (promised !== undefined) {
      promised.cancel()
      this.#promised.delete(memberId)
      return ERROR.NONE
    }
    const named = groupInstanceId === null ? undefined : this.#statics.get(groupInstanceId)
    const id = memberId === '' ? (named ?? '') : memberId
    const member = this.#identify({ memberId: id, groupInstanceId })
    if (typeof member === 'number') return member
    this.#remove(member, reason)
    return ERROR.NONE
  }

  /** Whether the member may commit. Who is in no group may while the group has no members. */
  commitError(identity: Identity, generationId: number): number {
    if (generationId < 0 && identity.memberId === '' && identity.groupInstanceId === null) {
      return this.isEmpty ? ERROR.NONE : ERROR.UNKNOWN_MEMBER_ID
    }
    const member = this.#identify(identity)
    if (typeof member === 'number') return member
    if (generationId !== this.#generation) return ERROR.ILLEGAL_GENERATION
    this.#touch(member)
    return this.#phase === 'syncing' ? ERROR.REBALANCE_IN_PROGRESS : ERROR.NONE
  }

  /** Everybody joins again. */
  rebalance(reason: string): void {
    if (this.#phase === 'stable') this.#beginJoining(reason)
  }

  /** It ends here: whoever waits is told why. */
  close(errorCode: number): void {
    this.#deadline?.cancel()
    for (const timer of this.#promised.values()) timer.cancel()
    for (const member of this.#members.values()) {
      member.timer?.cancel()
      member.join?.(joinedOf(member.id, errorCode))
      member.sync?.(syncOf(errorCode))
    }
    this.#members.clear()
    this.#statics.clear()
    this.#promised.clear()
    this.#phase = 'empty'
  }

  #identify({ memberId, groupInstanceId }: Identity): Member | number {
    if (groupInstanceId !== null) {
      const id = this.#statics.get(groupInstanceId)
      if (id === undefined) return ERROR.UNKNOWN_MEMBER_ID
      if (id !== memberId) return ERROR.FENCED_INSTANCE_ID
    }
    return this.#members.get(memberId) ?? ERROR.UNKNOWN_MEMBER_ID
  }

  /** There is a protocol that the member and all others speak. */
  #agrees({ memberId, groupInstanceId, protocolType, protocols }: Joining): boolean {
    if (protocols.length === 0 || protocolType === '') return false
    const others = [...this.#members.values()].filter(
      ({ id, instanceId }) =>
        id !== memberId && (instanceId === null || instanceId !== groupInstanceId),
    )
    if (others.length === 0) return true
    if (protocolType !== this.#protocolType) return false
    return protocols.some(({ name }) => others.every((other) => speaks(other, name)))
  }

  #joinNew(joining: Joining): Promise<Joined> {
    const { groupInstanceId, needsId, sessionMs } = joining
    const id = this.#options.newMemberId(groupInstanceId)
    if (this.#members.size + this.#promised.size >= MEMBERS_MAX) {
      return failedJoin('', ERROR.GROUP_MAX_SIZE_REACHED)
    }
    // A static member is known by its name.
    if (!needsId || groupInstanceId !== null) return this.#enter(id, joining)
    const forget = (): boolean => this.#promised.delete(id)
    this.#promised.set(id, this.#options.clock.after(sessionMs, forget))
    return failedJoin(id, ERROR.MEMBER_ID_REQUIRED)
  }

  #enter(id: string, joining: Joining): Promise<Joined> {
    if (this.isEmpty) this.#protocolType = joining.protocolType
    const member = memberOf(id, joining)
    this.#add(member)
    this.#touch(member)
    return this.#await(member, joining.reason)
  }

  #add(member: Member): void {
    this.#members.set(member.id, member)
    if (member.instanceId !== null) this.#statics.set(member.instanceId, member.id)
  }

  /** A static member has come back: it has what it had, and who had its name before is fenced (KIP-345). */
  async #replace(before: Member, joining: Joining): Promise<Joined> {
    const member = memberOf(this.#options.newMemberId(joining.groupInstanceId), joining)
    member.assignment = before.assignment
    member.hasSynced = before.hasSynced
    const leaderBefore = this.#leader
    if (this.#leader === before.id) this.#leader = member.id
    before.timer?.cancel()
    before.join?.(joinedOf(before.id, ERROR.FENCED_INSTANCE_ID))
    before.sync?.(syncOf(ERROR.FENCED_INSTANCE_ID))
    this.#members.delete(before.id)
    this.#add(member)
    this.#touch(member)
    const name = this.#protocolName
    const isSame =
      this.#phase === 'stable' &&
      choiceOf([...this.#members.values()]) === name &&
      sameTopics(metadataOf(before, name), metadataOf(member, name))
    if (!isSame) return this.#await(member, joining.reason)
    if (!(await this.#options.save(this.stored))) {
      return joinedOf(member.id, ERROR.NOT_COORDINATOR)
    }
    const joined = this.#joinedOf(member)
    if (this.#leader !== member.id) return joined
    // Whoever cannot be told to assign nothing must not take itself for the leader.
    if (joining.maySkip) return { ...joined, skipAssignment: true }
    return { ...joined, leader: leaderBefore, members: [] }
  }

  #rejoin(member: Member, joining: Joining): Promise<Joined> {
    const isSame = sameProtocols(member.protocols, joining.protocols)
    const { sessionMs, rebalanceMs, protocols, protocolType } = joining
    Object.assign(member, { sessionMs, rebalanceMs, protocols })
    if (this.#members.size === 1) this.#protocolType = protocolType
    this.#touch(member)
    // It has missed the answer, or only asks again; the leader asks because the topics have changed.
    const isRepeat = this.#phase === 'syncing' || member.id !== this.#leader
    if (isSame && isRepeat && (this.#phase === 'syncing' || this.#phase === 'stable')) {
      return Promise.resolve(this.#joinedOf(member))
    }
    return this.#await(member, joining.reason)
  }

  #await(member: Member, reason: string): Promise<Joined> {
    member.join?.(joinedOf(member.id, ERROR.REBALANCE_IN_PROGRESS))
    const joined = new Promise<Joined>((resolve) => {
      member.join = resolve
    })
    if (this.#phase !== 'joining') this.#beginJoining(reason)
    this.#joinedAll()
    return joined
  }

  #beginJoining(reason: string): void {
    const { clock } = this.#options
    this.#reason = reason
    this.#isGathering = this.#phase === 'empty'
    this.#phase = 'joining'
    for (const member of this.#members.values()) {
      member.sync?.(syncOf(ERROR.REBALANCE_IN_PROGRESS))
      member.sync = undefined
    }
    this.#deadline?.cancel()
    if (this.#isGathering) {
      this.#deadline = clock.after(FIRST_REBALANCE_MS, () => {
        this.#isGathering = false
        this.#begin()
      })
      return
    }
    this.#deadline = clock.after(this.#rebalanceMs(), () => this.#begin())
  }

  #rebalanceMs(): number {
    return Math.max(...[...this.#members.values()].map(({ rebalanceMs }) => rebalanceMs))
  }

  #joinedAll(): void {
    if (this.#isGathering) return
    for (const { join } of this.#members.values()) if (join === undefined) return
    this.#begin()
  }

  /** The generation begins with those that have joined, and static ones: these are out with their sessions only. */
  #begin(): void {
    const { clock } = this.#options
    this.#deadline?.cancel()
    for (const member of [...this.#members.values()]) {
      if (member.join === undefined && member.instanceId === null) this.#forget(member)
    }
    if (this.isEmpty) {
      this.#ended()
      return
    }
    const joined = [...this.#members.values()].filter(({ join }) => join !== undefined)
    const [first] = joined
    if (first === undefined) {
      this.#deadline = clock.after(this.#rebalanceMs(), () => this.#begin())
      return
    }
    this.#generation++
    if (!joined.some(({ id }) => id === this.#leader)) this.#leader = first.id
    this.#protocolName = choiceOf([...this.#members.values()]) ?? ''
    this.#phase = 'syncing'
    for (const member of this.#members.values()) {
      Object.assign(member, { assignment: NO_BYTES, hasSynced: false })
    }
    for (const member of joined) {
      const { join } = member
      member.join = undefined
      join?.(this.#joinedOf(member))
      this.#touch(member)
    }
    // Whoever does not come for its assignment in this time reads nothing, and others could.
    this.#deadline = clock.after(this.#rebalanceMs(), () => {
      for (const member of [...this.#members.values()]) {
        if (!member.hasSynced && member.instanceId === null) this.#remove(member, '')
      }
    })
  }

  #joinedOf(member: Member): Joined {
    const isLeader = member.id === this.#leader
    const name = this.#protocolName
    const members = [...this.#members.values()].map(({ id, instanceId, protocols }) => ({
      ...{ memberId: id, groupInstanceId: instanceId, metadata: metadataOf({ protocols }, name) },
    }))
    return {
      ...{ errorCode: ERROR.NONE, generationId: this.#generation, skipAssignment: false },
      ...{ protocolType: this.#protocolType, protocolName: name, leader: this.#leader },
      ...{ memberId: member.id, members: isLeader ? members : [] },
    }
  }

  #syncedOf({ assignment }: Member): Synced {
    const of = { protocolType: this.#protocolType, protocolName: this.#protocolName }
    return { errorCode: ERROR.NONE, ...of, assignment }
  }

  /** Nobody has an assignment before it is stored: the next coordinator must know the generation then. */
  async #assign(assignments: readonly Assignment[]): Promise<void> {
    const generation = this.#generation
    const byMember = new Map(assignments.map((one) => [one.memberId, one.assignment]))
    for (const member of this.#members.values()) {
      member.assignment = byMember.get(member.id) ?? NO_BYTES
    }
    const isStored = await this.#options.save(this.stored)
    // Another rebalance has begun meanwhile: its members were told so.
    if (this.#phase !== 'syncing' || this.#generation !== generation) return
    if (isStored) this.#phase = 'stable'
    for (const member of this.#members.values()) {
      member.sync?.(isStored ? this.#syncedOf(member) : syncOf(ERROR.NOT_COORDINATOR))
      member.sync = undefined
      this.#touch(member)
    }
  }

  /** It has been heard of; from now on its session lasts anew. */
  #touch(member: Member): void {
    member.timer?.cancel()
    member.timer = this.#options.clock.after(member.sessionMs, () => {
      // Who waits for an answer from here cannot say anything.
      if (member.join === undefined && member.sync === undefined) this.#remove(member, '')
      else this.#touch(member)
    })
  }

  #remove(member: Member, reason: string): void {
    this.#forget(member)
    if (this.isEmpty) {
      this.#ended()
      return
    }
    if (this.#phase === 'joining') this.#joinedAll()
    else this.#beginJoining(reason)
  }

  #ended(): void {
    this.#deadline?.cancel()
    this.#generation++
    this.#phase = 'empty'
    this.#isGathering = false
    this.#protocolName = ''
    this.#leader = ''
    void this.#options.save(this.stored)
  }

  #forget(member: Member): void {
    member.timer?.cancel()
    this.#members.delete(member.id)
    if (member.instanceId !== null) this.#statics.delete(member.instanceId)
    member.join?.(joinedOf(member.id, ERROR.UNKNOWN_MEMBER_ID))
    member.sync?.(syncOf(ERROR.UNKNOWN_MEMBER_ID))
  }
}

/** The words of Kafka's tools. */
const STATES: Readonly<Record<Phase, string>> = {
  empty: 'Empty',
  joining: 'PreparingRebalance',
  syncing: 'CompletingRebalance',
  stable: 'Stable',
}
