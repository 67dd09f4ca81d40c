/** What a group by the classic protocol knows of a member, in memory and as it is stored. */
import type { Timer } from '../../../core/ports/clock.ts'
import { subscribedTopics } from './subscription.ts'

export interface Protocol {
  readonly name: string
  readonly metadata: Buffer
}

/** Who a member says it is. */
export interface Identity {
  /** Empty: it is new. */
  readonly memberId: string
  /** Of a static member (KIP-345): the name by which it comes back. */
  readonly groupInstanceId: string | null
}

export interface Joining extends Identity {
  readonly sessionMs: number
  readonly rebalanceMs: number
  readonly protocolType: string
  /** In the order in which the member likes them. */
  readonly protocols: readonly Protocol[]
  /** As operators see the member. */
  readonly clientId: string
  readonly clientHost: string
  /** A new member is told its id first, and joins with it (KIP-394). */
  readonly needsId: boolean
  /** A leader that comes back may be told the members and to assign nothing (KIP-814). */
  readonly maySkip: boolean
  /** Why, in the words of the client (KIP-800). */
  readonly reason: string
}

export interface Joined {
  readonly errorCode: number
  readonly generationId: number
  readonly protocolType: string
  readonly protocolName: string
  readonly leader: string
  readonly skipAssignment: boolean
  readonly memberId: string
  /** Of the leader only. */
  readonly members: readonly {
    readonly memberId: string
    readonly groupInstanceId: string | null
    readonly metadata: Buffer
  }[]
}

export interface Syncing extends Identity {
  readonly generationId: number
  /** Null: it does not say. */
  readonly protocolType: string | null
  readonly protocolName: string | null
}

export interface Synced {
  readonly errorCode: number
  readonly protocolType: string
  readonly protocolName: string
  readonly assignment: Buffer
}

export interface Assignment {
  readonly memberId: string
  readonly assignment: Buffer
}

export interface Member {
  readonly id: string
  readonly instanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  sessionMs: number
  rebalanceMs: number
  protocols: readonly Protocol[]
  assignment: Buffer
  /** It waits for the generation to begin. */
  join: ((joined: Joined) => void) | undefined
  /** It waits for its assignment. */
  sync: ((synced: Synced) => void) | undefined
  /** It has asked for its assignment in this generation. */
  hasSynced: boolean
  timer: Timer | undefined
}

/** A member of a generation that is complete. */
export interface StoredMember {
  readonly id: string
  readonly instanceId: string | null
  readonly clientId: string
  readonly clientHost: string
  readonly sessionMs: number
  readonly rebalanceMs: number
  /** Of the protocol that the generation has; both in base 64. */
  readonly metadata: string
  readonly assignment: string
}

export const NO_BYTES = Buffer.alloc(0)

export function memberOf(id: string, joining: Joining): Member {
  const { groupInstanceId, clientId, clientHost, sessionMs, rebalanceMs, protocols } = joining
  return {
    ...{ id, instanceId: groupInstanceId, clientId, clientHost, sessionMs, rebalanceMs, protocols },
    ...{ assignment: NO_BYTES, join: undefined, sync: undefined, hasSynced: false },
    timer: undefined,
  }
}

export function storedMember(member: Member, protocolName: string): StoredMember {
  const { id, instanceId, clientId, clientHost, sessionMs, rebalanceMs, assignment } = member
  return {
    ...{ id, instanceId, clientId, clientHost, sessionMs, rebalanceMs },
    metadata: metadataOf(member, protocolName).toString('base64'),
    assignment: assignment.toString('base64'),
  }
}

export function restoredMember(stored: StoredMember, protocolName: string): Member {
  const { metadata, assignment, ...rest } = stored
  return {
    ...rest,
    protocols: [{ name: protocolName, metadata: Buffer.from(metadata, 'base64') }],
    assignment: Buffer.from(assignment, 'base64'),
    ...{ join: undefined, sync: undefined, hasSynced: true, timer: undefined },
  }
}

export function metadataOf({ protocols }: Pick<Member, 'protocols'>, wanted: string): Buffer {
  return protocols.find(({ name }) => name === wanted)?.metadata ?? NO_BYTES
}

export function speaks({ protocols }: Pick<Member, 'protocols'>, wanted: string): boolean {
  return protocols.some(({ name }) => name === wanted)
}

/** The protocol that most members like best of those that all speak; undefined: there is none. */
export function choiceOf(members: readonly Pick<Member, 'protocols'>[]): string | undefined {
  const votes = new Map<string, number>()
  for (const { protocols } of members) {
    const best = protocols.find(({ name }) => members.every((other) => speaks(other, name)))
    if (best !== undefined) votes.set(best.name, (votes.get(best.name) ?? 0) + 1)
  }
  return [...votes].sort(([, a], [, b]) => b - a)[0]?.[0]
}

export function sameProtocols(before: readonly Protocol[], now: readonly Protocol[]): boolean {
  if (before.length !== now.length) return false
  return before.every(({ name, metadata }, at) => {
    const other = now[at]
    return other !== undefined && other.name === name && other.metadata.equals(metadata)
  })
}

/** What both want to read is the same; of what is no subscription, every byte. */
export function sameTopics(before: Buffer, now: Buffer): boolean {
  const [had, has] = [before, now].map((metadata) => subscribedTopics(metadata))
  if (had === undefined || has === undefined) return before.equals(now)
  return [...had].sort().join() === [...has].sort().join()
}

export function joinedOf(memberId: string, errorCode: number): Joined {
  return {
    ...{ errorCode, generationId: -1, protocolType: '', protocolName: '', leader: '' },
    ...{ skipAssignment: false, memberId, members: [] },
  }
}

export function syncOf(errorCode: number): Synced {
  return { errorCode, protocolType: '', protocolName: '', assignment: NO_BYTES }
}

export function failedJoin(memberId: string, errorCode: number): Promise<Joined> {
  return Promise.resolve(joinedOf(memberId, errorCode))
}

export function failedSync(errorCode: number): Promise<Synced> {
  return Promise.resolve(syncOf(errorCode))
}
