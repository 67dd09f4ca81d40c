/**
 * One group whose members share the records of partitions (KIP-932): who is in it, and which partitions each reads;
 * several may read one. What is given to whom is known to the owners of the partitions. Kept are the members, and
 * where the group was told to begin. No I/O but timers.
 */
import type { Clock } from '../../../core/ports/clock.ts'
import type { ShareOrigin } from '../../../core/shares/share-partitions.ts'
import { ERROR } from '../errors.ts'
import { MEMBERS_MAX } from '../limits.ts'
import { type ConsumerBeat, failedBeat } from './consumer-group.ts'
import { type ConsumerMember, newMember } from './consumer-member.ts'
import type { GroupSummary } from './group-view.ts'
import { byTopic, type PartitionSet, partitionKey, sameSet } from './partition-set.ts'
import { SubscribedTopics, type TopicCatalogue } from './subscribed-topics.ts'

interface StoredShareMember {
  readonly id: string
  readonly rackId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly names: readonly string[]
}

export interface StoredShareGroup {
  readonly kind: 'share'
  /** Never given twice: a group made anew is another one. */
  readonly id: string
  readonly epoch: number
  readonly members: readonly StoredShareMember[]
  /** By partition: how often it was told where to begin, and where; null: as a new group. */
  readonly resets: Readonly<Record<string, readonly [times: number, startOffset: number | null]>>
  /** Ids of topics that it has read. */
  readonly seen: readonly string[]
}

export interface ShareGroupOptions {
  readonly clock: Clock
  readonly topics: TopicCatalogue
  readonly newId: () => string
  /** From a member's last heartbeat to its end. */
  readonly sessionMs: () => number
  /** Resolves when the group as it is now, or later, is durable. False: the shard is lost. */
  readonly save: () => Promise<boolean>
}

export interface ShareHeartbeat {
  readonly memberId: string
  readonly memberEpoch: number
  readonly rackId: string | null
  /** Null: unchanged. */
  readonly names: readonly string[] | null
  readonly clientId: string
  readonly clientHost: string
}

/** Where a group begins to read a partition, by what is stored of it. */
export function originOf({ id, resets }: StoredShareGroup, key: string): ShareOrigin {
  const [times, startOffset] = resets[key] ?? [0, null]
  return { groupId: id, resets: times, startOffset: startOffset ?? undefined }
}

export class ShareGroup {
  readonly kind = 'share'
  readonly protocolType = 'share'
  readonly reason = ''
  readonly members = new Map<string, ConsumerMember>()
  readonly #options: ShareGroupOptions
  readonly #topics: SubscribedTopics
  readonly #id: string
  readonly #seen: Set<string>
  #epoch = 0
  readonly #resets: Record<string, readonly [times: number, startOffset: number | null]> = {}

  constructor(options: ShareGroupOptions, stored?: StoredShareGroup) {
    this.#options = options
    this.#topics = new SubscribedTopics(options.topics, new Map())
    this.#id = stored?.id ?? options.newId()
    this.#epoch = stored?.epoch ?? 0
    Object.assign(this.#resets, stored?.resets)
    this.#seen = new Set(stored?.seen)
    for (const one of stored?.members ?? []) {
      const member = { ...newMember({ ...one, instanceId: null }), ...one, epoch: this.#epoch }
      this.members.set(one.id, member)
      this.#touch(member)
    }
    if (stored !== undefined) this.#assign()
  }

  get isIdle(): boolean {
    return this.members.size === 0
  }

  get isEmpty(): boolean {
    return this.isIdle
  }

  get state(): 'Empty' | 'Stable' {
    return this.isEmpty ? 'Empty' : 'Stable'
  }

  get epoch(): number {
    return this.#epoch
  }

  get summary(): GroupSummary {
    return {
      ...{ state: this.state, protocol: 'simple' },
      members: [...this.members.values()].map(({ id, clientId, clientHost, assigned }) => ({
        ...{ memberId: id, instanceId: '', clientId, clientHost },
        partitions: this.#topics.named(byTopic(assigned)),
      })),
    }
  }

  get stored(): StoredShareGroup {
    return {
      ...{ kind: 'share', id: this.#id, epoch: this.#epoch, resets: this.#resets },
      seen: [...this.#seen],
      members: [...this.members.values()].map(({ id, rackId, clientId, clientHost, names }) => ({
        ...{ id, rackId, clientId, clientHost, names },
      })),
    }
  }

  /** Ids of topics that it has read. */
  get topicsSeen(): readonly string[] {
    return [...this.#seen]
  }

  get topicsRead(): ReadonlySet<string> {
    return this.#topics.names(this.members.values())
  }

  /** Nothing is committed in such a group: each record is acknowledged by itself. */
  commitError(): number {
    return ERROR.GROUP_ID_NOT_FOUND
  }

  async heartbeat(beat: ShareHeartbeat): Promise<ConsumerBeat> {
    const { memberId, memberEpoch, names } = beat
    if (memberId === '' || memberEpoch < -1) return failedBeat(ERROR.INVALID_REQUEST)
    const known = this.members.get(memberId)
    if (memberEpoch === -1) return this.#leave(known, memberId)
    if (memberEpoch === 0 && names === null) return failedBeat(ERROR.INVALID_REQUEST)
    if (memberEpoch !== 0 && known === undefined) return failedBeat(ERROR.UNKNOWN_MEMBER_ID)
    if (known === undefined && this.members.size >= MEMBERS_MAX) {
      return failedBeat(ERROR.GROUP_MAX_SIZE_REACHED)
    }
    const member = known ?? newMember({ ...beat, id: memberId, instanceId: null })
    const isBehind = memberEpoch === member.epochBefore
    if (memberEpoch !== 0 && memberEpoch !== member.epoch && !isBehind) {
      return failedBeat(ERROR.FENCED_MEMBER_EPOCH)
    }
    this.members.set(memberId, member)
    this.#touch(member)
    const isOther = names !== null && names.join() !== member.names.join()
    if (names !== null) member.names = [...new Set(names)].sort()
    member.rackId = beat.rackId ?? member.rackId
    const hasTopics = this.#topics.refresh(this.members.values())
    if (known === undefined || isOther || hasTopics) this.#assign()
    const isNew = member.epoch !== this.#epoch
    if (isNew && !(await this.#options.save())) return failedBeat(ERROR.NOT_COORDINATOR)
    if (isNew) Object.assign(member, { epochBefore: member.epoch, epoch: this.#epoch })
    const isTold = isNew || memberEpoch !== member.epoch
    return {
      ...{ errorCode: ERROR.NONE, errorMessage: null, memberId, memberEpoch: member.epoch },
      assigned: isTold ? member.assigned : undefined,
    }
  }

  /** It must be empty. Null: as a new group. Resolves to false when the shard is lost. */
  reset(offsets: ReadonlyMap<string, number | null>): Promise<boolean> {
    for (const [key, startOffset] of offsets) {
      this.#resets[key] = [(this.#resets[key]?.[0] ?? 0) + 1, startOffset]
    }
    return this.#options.save()
  }

  close(): void {
    for (const { session } of this.members.values()) session?.cancel()
    this.members.clear()
  }

  async #leave(member: ConsumerMember | undefined, memberId: string): Promise<ConsumerBeat> {
    if (member === undefined) return failedBeat(ERROR.UNKNOWN_MEMBER_ID)
    if (!(await this.#remove(member))) return failedBeat(ERROR.NOT_COORDINATOR)
    const rest = { errorCode: ERROR.NONE, errorMessage: null, assigned: undefined }
    return { ...rest, memberId, memberEpoch: -1 }
  }

  #remove(member: ConsumerMember): Promise<boolean> {
    member.session?.cancel()
    this.members.delete(member.id)
    this.#assign()
    return this.#options.save()
  }

  #touch(member: ConsumerMember): void {
    member.session?.cancel()
    const end = (): void => void this.#remove(member)
    member.session = this.#options.clock.after(this.#options.sessionMs(), end)
  }

  /** Every partition has a reader, and every reader a partition: with more readers than partitions they share. */
  #assign(): void {
    this.#topics.refresh(this.members.values())
    const sorted = [...this.members.values()].sort((a, b) => (a.id < b.id ? -1 : 1))
    const assigned = new Map(sorted.map(({ id }) => [id, new Set<string>()]))
    for (const [topicId, count] of this.#topics.partitions) {
      this.#seen.add(topicId)
      const readers = sorted.filter((member) => this.#topics.idsOf(member).has(topicId))
      for (let at = 0; at < Math.max(count, readers.length); at++) {
        const reader = readers[at % readers.length]
        if (reader !== undefined && count > 0) {
          assigned.get(reader.id)?.add(partitionKey(topicId, at % count))
        }
      }
    }
    const isOther = sorted.some(
      ({ id, assigned: before }) => !sameSet(before, setFor(assigned, id)),
    )
    for (const member of sorted) member.assigned = setFor(assigned, member.id)
    if (isOther || this.#epoch === 0) this.#epoch++
  }
}

function setFor(assigned: ReadonlyMap<string, PartitionSet>, id: string): PartitionSet {
  return assigned.get(id) ?? new Set()
}
