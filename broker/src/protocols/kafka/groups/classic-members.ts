/**
 * Members by the classic protocol in a group whose coordinator assigns partitions (KIP-848): while the consumers of a
 * group are exchanged for newer ones, or back, both are in it. Such a member leads nothing: it joins and is told its
 * epoch as a generation, asks for its assignment, and hears by its heartbeats that it must join again.
 */
import { ERROR } from '../errors.ts'
import { MEMBERS_MAX } from '../limits.ts'
import type { ConsumerGroup } from './consumer-group.ts'
import { type ConsumerMember, newMember } from './consumer-member.ts'
import {
  type Identity,
  type Joined,
  type Joining,
  joinedOf,
  NO_BYTES,
  type Synced,
  type Syncing,
  syncOf,
} from './member.ts'
import { byTopic, NO_PARTITIONS, partitionKey } from './partition-set.ts'
import type { TopicCatalogue } from './subscribed-topics.ts'
import { encodeAssignment, type Subscription, subscriptionOf } from './subscription.ts'

export const CONSUMERS = 'consumer'

export interface ClassicMembersOptions {
  readonly topics: TopicCatalogue
  readonly newMemberId: (groupInstanceId: string | null) => string
  /** Resolves when the group as it is now, or later, is durable. False: the shard is lost. */
  readonly save: () => Promise<boolean>
}

export class ClassicMembers {
  readonly #group: ConsumerGroup
  readonly #options: ClassicMembersOptions

  constructor(group: ConsumerGroup, options: ClassicMembersOptions) {
    this.#group = group
    this.#options = options
  }

  async join(joining: Joining): Promise<Joined> {
    const { memberId, groupInstanceId, protocols, needsId } = joining
    const subscription = this.#subscriptionOf(joining)
    if (subscription === undefined) return joinedOf(memberId, ERROR.INCONSISTENT_GROUP_PROTOCOL)
    if (memberId === '' && groupInstanceId === null && needsId) {
      return joinedOf(this.#options.newMemberId(null), ERROR.MEMBER_ID_REQUIRED)
    }
    const member = this.#find(joining) ?? this.#enter(joining)
    if (typeof member === 'number') return joinedOf(memberId, member)
    this.#update(member, joining, subscription)
    this.#group.touch(member)
    this.#group.step(member, this.#ownedBy(subscription))
    if (!(await this.#options.save())) return joinedOf(member.id, ERROR.NOT_COORDINATOR)
    return {
      ...{ errorCode: ERROR.NONE, generationId: member.epoch, protocolType: CONSUMERS },
      ...{ protocolName: protocols[0]?.name ?? '', leader: '', skipAssignment: false },
      ...{ memberId: member.id, members: [] },
    }
  }

  sync(syncing: Syncing): Promise<Synced> {
    const { generationId, protocolType, protocolName } = syncing
    const member = this.#identify(syncing)
    if (typeof member === 'number') return Promise.resolve(syncOf(member))
    const chosen = member.classic?.protocols[0]?.name ?? ''
    const isOther = (protocolType ?? CONSUMERS) !== CONSUMERS || (protocolName ?? chosen) !== chosen
    if (isOther) return Promise.resolve(syncOf(ERROR.INCONSISTENT_GROUP_PROTOCOL))
    if (generationId !== member.epoch) return Promise.resolve(syncOf(ERROR.ILLEGAL_GENERATION))
    this.#group.touch(member)
    if (this.#isBehind(member)) return Promise.resolve(syncOf(ERROR.REBALANCE_IN_PROGRESS))
    const assignment = assignmentFor(member, this.#options.topics)
    const errorCode = ERROR.NONE
    return Promise.resolve({
      errorCode,
      protocolType: CONSUMERS,
      protocolName: chosen,
      assignment,
    })
  }

  heartbeat(identity: Identity, generationId: number): number {
    const member = this.#identify(identity)
    if (typeof member === 'number') return member
    if (generationId !== member.epoch) return ERROR.ILLEGAL_GENERATION
    this.#group.touch(member)
    const mustJoin =
      this.#isBehind(member) ||
      member.reconciliation === 'revoking' ||
      (member.reconciliation === 'waiting' && this.#group.canAdvance(member))
    return mustJoin ? ERROR.REBALANCE_IN_PROGRESS : ERROR.NONE
  }

  leave({ memberId, groupInstanceId }: Identity, reason: string): number {
    const named = groupInstanceId === null ? undefined : this.#group.staticMember(groupInstanceId)
    if (groupInstanceId !== null && named === undefined) return ERROR.UNKNOWN_MEMBER_ID
    if (named !== undefined && memberId !== '' && named.id !== memberId) {
      return ERROR.FENCED_INSTANCE_ID
    }
    const member = named ?? this.#group.members.get(memberId)
    if (member === undefined) return ERROR.UNKNOWN_MEMBER_ID
    this.#group.reason = reason
    void this.#group.remove(member)
    return ERROR.NONE
  }

  /** There is an assignment that it does not know of, and it has nothing to give up first. */
  #isBehind({ epoch, reconciliation }: ConsumerMember): boolean {
    return this.#group.epoch > epoch && reconciliation !== 'revoking'
  }

  #identify({ memberId, groupInstanceId }: Identity): ConsumerMember | number {
    if (groupInstanceId !== null) {
      const named = this.#group.staticMember(groupInstanceId)
      if (named === undefined) return ERROR.UNKNOWN_MEMBER_ID
      if (named.id !== memberId) return ERROR.FENCED_INSTANCE_ID
    }
    const member = this.#group.members.get(memberId)
    return member === undefined || member.classic === null ? ERROR.UNKNOWN_MEMBER_ID : member
  }

  /** Undefined: it is no consumer, or speaks no protocol that the others of its kind do. */
  #subscriptionOf({ protocolType, protocols, memberId }: Joining): Subscription | undefined {
    const [first] = protocols
    if (protocolType !== CONSUMERS || first === undefined) return undefined
    const others = [...this.#group.members.values()].flatMap(({ id, classic }) =>
      classic === null || id === memberId ? [] : classic.protocols,
    )
    const isShared =
      others.length === 0 || protocols.some(({ name }) => others.some((one) => one.name === name))
    return isShared ? subscriptionOf(first.metadata) : undefined
  }

  /** Undefined: it is new; a number is an error. */
  #find({ memberId, groupInstanceId }: Joining): ConsumerMember | number | undefined {
    if (groupInstanceId === null) return this.#group.members.get(memberId)
    const named = this.#group.staticMember(groupInstanceId)
    if (named === undefined) return memberId === '' ? undefined : ERROR.UNKNOWN_MEMBER_ID
    if (memberId === '')
      return this.#group.replace(named, this.#options.newMemberId(groupInstanceId))
    return named.id === memberId ? named : ERROR.FENCED_INSTANCE_ID
  }

  #enter({
    memberId,
    groupInstanceId,
    clientId,
    clientHost,
    reason,
  }: Joining): ConsumerMember | number {
    if (this.#group.members.size >= MEMBERS_MAX) return ERROR.GROUP_MAX_SIZE_REACHED
    const id = memberId === '' ? this.#options.newMemberId(groupInstanceId) : memberId
    const member = newMember({ id, instanceId: groupInstanceId, clientId, clientHost })
    this.#group.add(member)
    this.#group.bump()
    this.#group.reason = reason
    return member
  }

  #update(member: ConsumerMember, joining: Joining, { topics }: Subscription): void {
    const { sessionMs, rebalanceMs, protocols, clientId, clientHost } = joining
    const names = [...new Set(topics)].sort()
    if (names.join() !== member.names.join()) this.#group.bump()
    const classic = {
      sessionMs,
      protocols: protocols.map(({ name, metadata }) => ({
        ...{ name, metadata: metadata.toString('base64') },
      })),
    }
    Object.assign(member, { names, pattern: '', hidden: [], classic })
    Object.assign(member, { rebalanceMs, clientId, clientHost })
  }

  #ownedBy({ ownedPartitions }: Subscription): ReadonlySet<string> {
    const owned = ownedPartitions.flatMap(({ topic, partitions }) => {
      const id = this.#options.topics.get(topic)?.id
      return id === undefined ? [] : partitions.map((partition) => partitionKey(id, partition))
    })
    return owned.length === 0 ? NO_PARTITIONS : new Set(owned)
  }
}

/** As consumers by the classic protocol read it. */
export function assignmentFor({ assigned }: ConsumerMember, topics: TopicCatalogue): Buffer {
  if (assigned.size === 0) return NO_BYTES
  return encodeAssignment(
    byTopic(assigned).flatMap(({ topicId, partitions }) => {
      const topic = topics.byId(topicId)?.name
      return topic === undefined ? [] : [{ topic, partitions }]
    }),
  )
}
