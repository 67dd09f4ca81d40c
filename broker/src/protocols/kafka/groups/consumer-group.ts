/**
 * One group whose coordinator assigns partitions (KIP-848): members heartbeat, and are told what to give up and what
 * to read. Three epochs: the group's grows when what there is to assign changes, that of the assignment follows it, a
 * member's follows when it has given up what it must. All of it is stored before a member hears of it. Members by the
 * classic protocol take part: see classic-members.ts. No I/O but timers.
 */
import type { Clock } from '../../../core/ports/clock.ts'
import { ERROR } from '../errors.ts'
import { MEMBERS_MAX } from '../limits.ts'
import { ASSIGNORS, type AssignorName } from './assignors.ts'
import {
  type ConsumerMember,
  newMember,
  reconcile,
  restoredConsumer,
  type StoredConsumerMember,
  storedConsumer,
} from './consumer-member.ts'
import type { GroupSummary } from './group-view.ts'
import type { Identity } from './member.ts'
import { byTopic, NO_PARTITIONS, type PartitionSet, sameSet } from './partition-set.ts'
import { SubscribedTopics, type TopicCatalogue } from './subscribed-topics.ts'

export interface StoredConsumerGroup {
  readonly kind: 'consumer'
  readonly epoch: number
  readonly targetEpoch: number
  readonly assignor: AssignorName
  /** Of each topic that was assigned, by id: how many there were. */
  readonly partitions: readonly (readonly [topicId: string, count: number])[]
  readonly members: readonly StoredConsumerMember[]
}

export interface ConsumerGroupOptions {
  readonly clock: Clock
  readonly topics: TopicCatalogue
  /** From a member's last heartbeat to its end. */
  readonly sessionMs: () => number
  /** Resolves when the group as it is now, or later, is durable. False: the shard is lost. */
  readonly save: () => Promise<boolean>
  /** Only members by the classic protocol are left. */
  readonly onClassicOnly: () => void
}

/** Null: unchanged. */
export interface ConsumerHeartbeat {
  readonly memberId: string
  readonly memberEpoch: number
  readonly instanceId: string | null
  readonly rackId: string | null
  /** -1: unchanged. */
  readonly rebalanceMs: number
  readonly names: readonly string[] | null
  readonly pattern: string | null
  /** What a pattern matches is only told to clients that may know of it. */
  readonly maySee: (topic: string) => boolean
  readonly assignor: string | null
  readonly owned: PartitionSet | null
  readonly clientId: string
  readonly clientHost: string
}

export interface ConsumerBeat {
  readonly errorCode: number
  readonly errorMessage: string | null
  readonly memberId: string
  readonly memberEpoch: number
  /** Undefined: as it was told before. */
  readonly assigned: PartitionSet | undefined
}

export type GroupState = 'Empty' | 'Assigning' | 'Reconciling' | 'Stable'

const JOINS = 0
const LEAVES = -1
const LEAVES_FOR_A_WHILE = -2

export class ConsumerGroup {
  readonly kind = 'consumer'
  readonly protocolType = 'consumer'
  /** Why a member has come or gone last, in the words of a client; empty: none said. */
  reason = ''
  readonly #options: ConsumerGroupOptions
  readonly #topics: SubscribedTopics
  readonly members = new Map<string, ConsumerMember>()
  readonly #statics = new Map<string, string>()
  /** Who has, or has not yet given up, a partition. */
  readonly #holders = new Map<string, string>()
  readonly #held = new Map<string, readonly string[]>()
  #epoch = 0
  #targetEpoch = 0
  #assignor: AssignorName = 'uniform'

  constructor(options: ConsumerGroupOptions, stored?: StoredConsumerGroup) {
    this.#options = options
    this.#topics = new SubscribedTopics(options.topics, new Map(stored?.partitions))
    if (stored === undefined) return
    this.#epoch = stored.epoch
    this.#targetEpoch = stored.targetEpoch
    this.#assignor = stored.assignor
    for (const one of stored.members) this.add(restoredConsumer(one))
    for (const member of this.members.values()) {
      this.touch(member)
      this.#watch(member)
    }
  }

  get epoch(): number {
    return this.#epoch
  }

  get targetEpoch(): number {
    return this.#targetEpoch
  }

  get assignor(): AssignorName {
    return this.#assignor
  }

  get isIdle(): boolean {
    return this.members.size === 0
  }

  get isEmpty(): boolean {
    return this.isIdle
  }

  get state(): GroupState {
    if (this.isEmpty) return 'Empty'
    if (this.#epoch > this.#targetEpoch) return 'Assigning'
    const isDone = [...this.members.values()].every(
      ({ reconciliation, epoch }) => reconciliation === 'stable' && epoch === this.#targetEpoch,
    )
    return isDone ? 'Stable' : 'Reconciling'
  }

  get summary(): GroupSummary {
    return {
      ...{ state: this.state, protocol: this.#assignor },
      members: [...this.members.values()].map(
        ({ id, instanceId, clientId, clientHost, assigned }) => ({
          ...{ memberId: id, instanceId: instanceId ?? '', clientId, clientHost },
          partitions: this.#topics.named(byTopic(assigned)),
        }),
      ),
    }
  }

  get stored(): StoredConsumerGroup {
    return {
      ...{ kind: 'consumer', epoch: this.#epoch, targetEpoch: this.#targetEpoch },
      ...{ assignor: this.#assignor, partitions: [...this.#topics.partitions] },
      members: [...this.members.values()].map(storedConsumer),
    }
  }

  get topicsRead(): ReadonlySet<string> {
    return this.#topics.names(this.members.values())
  }

  async heartbeat(beat: ConsumerHeartbeat): Promise<ConsumerBeat> {
    const { memberEpoch } = beat
    const refusal = this.#topics.refusalOf(beat) ?? refusalOf(beat)
    if (refusal !== undefined) return failedBeat(refusal.errorCode, refusal.errorMessage)
    if (memberEpoch === LEAVES || memberEpoch === LEAVES_FOR_A_WHILE) return this.#leave(beat)
    const member = memberEpoch === JOINS ? this.#join(beat) : this.#known(beat)
    if (typeof member === 'number') return failedBeat(member)
    this.touch(member)
    const hasChanged = this.#update(member, beat)
    const before = member.assigned
    const hasMoved = this.step(member, beat.owned)
    if ((hasChanged || hasMoved) && !(await this.#options.save())) {
      return failedBeat(ERROR.NOT_COORDINATOR)
    }
    const isFull =
      memberEpoch === JOINS ||
      (beat.owned !== null && beat.rebalanceMs !== -1 && (beat.names ?? beat.pattern) !== null)
    const isTold = isFull || !sameSet(before, member.assigned)
    return {
      ...{ errorCode: ERROR.NONE, errorMessage: null, memberId: member.id },
      ...{ memberEpoch: member.epoch, assigned: isTold ? member.assigned : undefined },
    }
  }

  /** Whether the member may commit, or fetch what is committed. -1: it is in no group. */
  epochError({ memberId }: Pick<Identity, 'memberId'>, epoch: number): number {
    const member = this.members.get(memberId)
    if (member === undefined) return ERROR.UNKNOWN_MEMBER_ID
    if (member.epoch === epoch) return ERROR.NONE
    return member.classic === null ? ERROR.STALE_MEMBER_EPOCH : ERROR.ILLEGAL_GENERATION
  }

  commitError({ memberId, groupInstanceId }: Identity, epoch: number): number {
    if (epoch < 0 && memberId === '' && groupInstanceId === null) {
      return this.isEmpty ? ERROR.NONE : ERROR.UNKNOWN_MEMBER_ID
    }
    return this.epochError({ memberId }, epoch)
  }

  close(): void {
    for (const member of this.members.values()) {
      member.session?.cancel()
      member.revocation?.cancel()
    }
    this.members.clear()
    this.#statics.clear()
    this.#holders.clear()
    this.#held.clear()
  }

  /** What there is to assign has changed, once more or for the first time since it was assigned. */
  bump(): void {
    if (this.#epoch === this.#targetEpoch) this.#epoch++
  }

  staticMember(instanceId: string): ConsumerMember | undefined {
    return this.members.get(this.#statics.get(instanceId) ?? '')
  }

  add(member: ConsumerMember): void {
    this.members.set(member.id, member)
    if (member.instanceId !== null) this.#statics.set(member.instanceId, member.id)
    this.#hold(member)
  }

  /** A static member has come back, by another id: it has what it had. */
  replace(before: ConsumerMember, id: string): ConsumerMember {
    this.#forget(before)
    const member: ConsumerMember = {
      ...{ ...before, id, epoch: 0, epochBefore: 0, classic: null },
      ...{ reconciliation: 'stable', revoking: NO_PARTITIONS },
    }
    this.add(member)
    return member
  }

  /** The assignment, where it is due, and one step of the member towards it. False: nothing has changed. */
  step(member: ConsumerMember, owned: PartitionSet | null): boolean {
    const hasTopics = this.#topics.refresh(this.members.values())
    if (hasTopics) this.bump()
    const isDue = this.#epoch > this.#targetEpoch
    if (isDue) this.#assign()
    const { id } = member
    const hasMoved = reconcile(member, {
      ...{ targetEpoch: this.#targetEpoch, owned },
      isHeld: (key) => (this.#holders.get(key) ?? id) !== id,
    })
    if (hasMoved) {
      this.#hold(member)
      this.#watch(member)
    }
    return hasMoved || isDue
  }

  /** Whether a further step of the member would give it more. */
  canAdvance({ id, target, assigned }: ConsumerMember): boolean {
    const missing = [...target].filter((key) => !assigned.has(key))
    return missing.some((key) => (this.#holders.get(key) ?? id) === id)
  }

  touch(member: ConsumerMember): void {
    const { clock, sessionMs } = this.#options
    member.session?.cancel()
    const afterMs = member.classic?.sessionMs ?? sessionMs()
    member.session = clock.after(afterMs, () => void this.remove(member))
  }

  /** Resolves when it is durable; false: the shard is lost. */
  remove(member: ConsumerMember): Promise<boolean> {
    this.#forget(member)
    this.bump()
    const rest = [...this.members.values()]
    if (
      rest.length > 0 &&
      member.classic === null &&
      rest.every(({ classic }) => classic !== null)
    ) {
      this.#options.onClassicOnly()
    }
    return this.#options.save()
  }

  async #leave({ memberId, memberEpoch, instanceId }: ConsumerHeartbeat): Promise<ConsumerBeat> {
    const member = instanceId === null ? this.members.get(memberId) : this.staticMember(instanceId)
    if (member === undefined) return failedBeat(ERROR.UNKNOWN_MEMBER_ID)
    if (member.id !== memberId) return failedBeat(ERROR.FENCED_INSTANCE_ID)
    if (memberEpoch === LEAVES_FOR_A_WHILE) {
      member.epoch = LEAVES_FOR_A_WHILE
      member.revocation?.cancel()
    }
    const isStored = await (memberEpoch === LEAVES ? this.remove(member) : this.#options.save())
    if (!isStored) return failedBeat(ERROR.NOT_COORDINATOR)
    const rest = { errorCode: ERROR.NONE, errorMessage: null, assigned: undefined }
    return { ...rest, memberId, memberEpoch }
  }

  /** New, or known already; the number is an error. */
  #join(beat: ConsumerHeartbeat): ConsumerMember | number {
    const { memberId, instanceId } = beat
    if (instanceId === null) return this.members.get(memberId) ?? this.#enter(beat)
    const before = this.staticMember(instanceId)
    if (before === undefined) return this.#enter(beat)
    if (before.id === memberId) return before
    // Two members of one name at once are a mistake; one that has said that it goes may be followed.
    if (before.epoch !== LEAVES_FOR_A_WHILE && before.classic === null) {
      return ERROR.UNRELEASED_INSTANCE_ID
    }
    return this.replace(before, memberId)
  }

  #enter({ memberId: id, instanceId, clientId, clientHost }: ConsumerHeartbeat) {
    if (this.members.size >= MEMBERS_MAX) return ERROR.GROUP_MAX_SIZE_REACHED
    const member = newMember({ id, instanceId, clientId, clientHost })
    this.add(member)
    this.bump()
    return member
  }

  /** It is one, and at the epoch that it says, or one answer behind. */
  #known({ memberId, memberEpoch, instanceId, owned }: ConsumerHeartbeat): ConsumerMember | number {
    const member = instanceId === null ? this.members.get(memberId) : this.staticMember(instanceId)
    if (member === undefined) return ERROR.UNKNOWN_MEMBER_ID
    if (member.id !== memberId) return ERROR.FENCED_INSTANCE_ID
    if (member.classic !== null) return ERROR.UNKNOWN_MEMBER_ID
    if (memberEpoch === member.epoch) return member
    const hasMissedAnswer =
      memberEpoch === member.epochBefore &&
      owned !== null &&
      [...owned].every((key) => member.assigned.has(key))
    return hasMissedAnswer ? member : ERROR.FENCED_MEMBER_EPOCH
  }

  /** False: all is as it was. */
  #update(member: ConsumerMember, beat: ConsumerHeartbeat): boolean {
    const { names, pattern, assignor, rackId, rebalanceMs, clientId, clientHost } = beat
    const before = this.#attributes(member)
    const readBefore = readBy(member)
    member.names = names === null ? member.names : [...new Set(names)].sort()
    member.pattern = pattern ?? member.pattern
    member.hidden = this.#topics.hidden(member.pattern, beat.maySee)
    member.assignor = (assignor ?? member.assignor) as AssignorName | null
    member.rackId = rackId ?? member.rackId
    if (rebalanceMs >= 0) member.rebalanceMs = rebalanceMs
    Object.assign(member, { clientId, clientHost })
    if (readBefore !== readBy(member)) this.bump()
    return before !== this.#attributes(member)
  }

  #attributes(member: ConsumerMember) {
    const { assignor, rackId, rebalanceMs, clientId, epoch } = member
    return JSON.stringify([readBy(member), assignor, rackId, rebalanceMs, clientId, epoch])
  }

  #assign(): void {
    const members = [...this.members.values()]
    this.#assignor = this.#chooseAssignor()
    const assigned = ASSIGNORS[this.#assignor]({
      partitions: this.#topics.partitions,
      members: members.map((member) => ({
        ...{ id: member.id, order: member.instanceId ?? member.id, before: member.target },
        topics: this.#topics.idsOf(member),
      })),
    })
    for (const member of members) member.target = assigned.get(member.id) ?? NO_PARTITIONS
    this.#targetEpoch = this.#epoch
  }

  /** That which most members ask for. */
  #chooseAssignor(): AssignorName {
    const votes = new Map<AssignorName, number>()
    for (const { assignor } of this.members.values()) {
      if (assignor !== null) votes.set(assignor, (votes.get(assignor) ?? 0) + 1)
    }
    return [...votes].sort(([, a], [, b]) => b - a)[0]?.[0] ?? 'uniform'
  }

  #hold({ id, assigned, revoking }: ConsumerMember): void {
    for (const key of this.#held.get(id) ?? []) {
      if (this.#holders.get(key) === id) this.#holders.delete(key)
    }
    const held = [...assigned, ...revoking]
    for (const key of held) this.#holders.set(key, id)
    this.#held.set(id, held)
  }

  /** Whoever does not give up in its time what it must is out: others wait for it. */
  #watch(member: ConsumerMember): void {
    member.revocation?.cancel()
    member.revocation = undefined
    if (member.reconciliation !== 'revoking') return
    member.revocation = this.#options.clock.after(
      member.rebalanceMs,
      () => void this.remove(member),
    )
  }

  #forget(member: ConsumerMember): void {
    member.session?.cancel()
    member.revocation?.cancel()
    this.members.delete(member.id)
    if (member.instanceId !== null) this.#statics.delete(member.instanceId)
    this.#hold({ ...member, assigned: NO_PARTITIONS, revoking: NO_PARTITIONS })
    this.#held.delete(member.id)
  }
}

/** What no member may say. */
function refusalOf(beat: ConsumerHeartbeat): Refusal | undefined {
  const { memberId, memberEpoch, instanceId, rebalanceMs, names, pattern, owned } = beat
  const invalid = (errorMessage: string) => ({ errorCode: ERROR.INVALID_REQUEST, errorMessage })
  if (memberId === '') return invalid('MemberId must not be empty')
  if (memberEpoch < LEAVES_FOR_A_WHILE) return invalid('MemberEpoch is invalid')
  if (instanceId === '') return invalid('InstanceId must not be empty')
  if (memberEpoch === LEAVES_FOR_A_WHILE && instanceId === null) {
    return invalid('only a static member leaves for a while')
  }
  if (memberEpoch !== JOINS) return undefined
  if (rebalanceMs < 0) return invalid('RebalanceTimeoutMs must be given when joining')
  if (names === null && (pattern ?? '') === '') {
    return invalid('a member that joins must subscribe to something')
  }
  if (owned === null || owned.size > 0) {
    return invalid('TopicPartitions must be empty when joining')
  }
  return undefined
}

export interface Refusal {
  readonly errorCode: number
  readonly errorMessage: string
}

export function failedBeat(errorCode: number, errorMessage: string | null = null): ConsumerBeat {
  return { errorCode, errorMessage, memberId: '', memberEpoch: 0, assigned: undefined }
}

function readBy({ names, pattern, hidden }: ConsumerMember): string {
  return JSON.stringify([names, pattern, hidden])
}
