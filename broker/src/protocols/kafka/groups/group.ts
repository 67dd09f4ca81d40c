/**
 * One group of consumers by the classic protocol (KIP-62): its members, their rebalances, generation after
 * generation. Of the members' plans it knows nothing but who made them. In memory only: when the group's shard moves,
 * its members are unknown to the new coordinator and join again. No I/O but timers.
 */
import type { Clock, Timer } from '../../../core/ports/clock.ts'
import { ERROR } from '../errors.ts'
import { FIRST_REBALANCE_MS, MEMBERS_MAX } from '../limits.ts'

export interface Protocol {
  readonly name: string
  readonly metadata: Buffer
}

export interface Joining {
  readonly sessionMs: number
  readonly rebalanceMs: number
  /** Empty: it is new. */
  readonly memberId: string
  readonly protocolType: string
  /** In the order in which the member likes them. */
  readonly protocols: readonly Protocol[]
  /** As operators see the member. */
  readonly clientId: string
  readonly clientHost: string
  /** A new member is told its id first, and joins with it (KIP-394). */
  readonly needsId: boolean
}

export interface Joined {
  readonly errorCode: number
  readonly generationId: number
  readonly protocolName: string
  readonly leader: string
  readonly memberId: string
  /** Of the leader only. */
  readonly members: readonly { readonly memberId: string; readonly metadata: Buffer }[]
}

export interface Synced {
  readonly errorCode: number
  readonly assignment: Buffer
}

export interface Assignment {
  readonly memberId: string
  readonly assignment: Buffer
}

/** As operators see it. */
export interface GroupView {
  readonly state: string
  readonly protocolType: string
  readonly protocolName: string
  readonly members: readonly {
    readonly memberId: string
    readonly clientId: string
    readonly clientHost: string
    readonly metadata: Buffer
    readonly assignment: Buffer
  }[]
}

interface Member {
  readonly id: string
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
  timer: Timer | undefined
}

type Phase = 'empty' | 'joining' | 'syncing' | 'stable'

export interface GroupOptions {
  readonly clock: Clock
  readonly newMemberId: () => string
}

const NO_BYTES = Buffer.alloc(0)

export class Group {
  readonly #options: GroupOptions
  readonly #members = new Map<string, Member>()
  /** Members that were told their id and have not joined yet. */
  readonly #promised = new Map<string, Timer>()
  #phase: Phase = 'empty'
  #generation = 0
  #protocolType = ''
  #protocolName = ''
  #leader = ''
  /** Ends the joining: members that have not come by then are out. */
  #deadline: Timer | undefined
  /** More members may come: a new group does not begin with the first one. */
  #isGathering = false

  constructor(options: GroupOptions) {
    this.#options = options
  }

  get isIdle(): boolean {
    return this.#members.size === 0 && this.#promised.size === 0
  }

  get view(): GroupView {
    const protocolName = this.#phase === 'stable' ? this.#protocolName : ''
    const members = [...this.#members.values()].map((member) => ({
      ...{ memberId: member.id, clientId: member.clientId, clientHost: member.clientHost },
      metadata: metadataOf(member, protocolName),
      assignment: member.assignment,
    }))
    return { state: STATES[this.#phase], protocolType: this.#protocolType, protocolName, members }
  }

  /** Resolves when the generation begins. */
  join(joining: Joining): Promise<Joined> {
    const { memberId } = joining
    if (!this.#agrees(joining)) return failedJoin(memberId, ERROR.INCONSISTENT_GROUP_PROTOCOL)
    if (memberId === '') return this.#joinNew(joining)
    const promised = this.#promised.get(memberId)
    if (promised !== undefined) {
      promised.cancel()
      this.#promised.delete(memberId)
      return this.#enter(memberId, joining)
    }
    const member = this.#members.get(memberId)
    if (member === undefined) return failedJoin(memberId, ERROR.UNKNOWN_MEMBER_ID)
    return this.#rejoin(member, joining)
  }

  /** The leader brings everybody's assignment, the others wait for theirs. */
  sync(
    { memberId, generationId }: { memberId: string; generationId: number },
    assignments: readonly Assignment[],
  ): Promise<Synced> {
    const member = this.#members.get(memberId)
    if (member === undefined) return failedSync(ERROR.UNKNOWN_MEMBER_ID)
    if (generationId !== this.#generation) return failedSync(ERROR.ILLEGAL_GENERATION)
    this.#touch(member)
    if (this.#phase === 'joining') return failedSync(ERROR.REBALANCE_IN_PROGRESS)
    if (this.#phase === 'stable') {
      return Promise.resolve({ errorCode: ERROR.NONE, assignment: member.assignment })
    }
    member.sync?.({ errorCode: ERROR.REBALANCE_IN_PROGRESS, assignment: NO_BYTES })
    const synced = new Promise<Synced>((resolve) => {
      member.sync = resolve
    })
    if (memberId === this.#leader) this.#assign(assignments)
    return synced
  }

  heartbeat(memberId: string, generationId: number): number {
    const errorCode = this.#errorOf(memberId, generationId)
    const member = this.#members.get(memberId)
    if (errorCode !== ERROR.NONE || member === undefined) return errorCode
    this.#touch(member)
    return this.#phase === 'joining' ? ERROR.REBALANCE_IN_PROGRESS : ERROR.NONE
  }

  leave(memberId: string): number {
    const promised = this.#promised.get(memberId)
    if (promised !== undefined) {
      promised.cancel()
      this.#promised.delete(memberId)
      return ERROR.NONE
    }
    const member = this.#members.get(memberId)
    if (member === undefined) return ERROR.UNKNOWN_MEMBER_ID
    this.#remove(member)
    return ERROR.NONE
  }

  /** Whether the member may commit. Who is in no group may while the group has no members. */
  commitError(memberId: string, generationId: number): number {
    if (generationId < 0 && memberId === '') {
      return this.#members.size === 0 ? ERROR.NONE : ERROR.UNKNOWN_MEMBER_ID
    }
    const errorCode = this.#errorOf(memberId, generationId)
    const member = this.#members.get(memberId)
    if (errorCode !== ERROR.NONE || member === undefined) return errorCode
    this.#touch(member)
    return this.#phase === 'syncing' ? ERROR.REBALANCE_IN_PROGRESS : ERROR.NONE
  }

  /** The shard is lost: whoever waits is told to look for the coordinator. */
  close(): void {
    this.#deadline?.cancel()
    for (const timer of this.#promised.values()) timer.cancel()
    for (const member of this.#members.values()) {
      member.timer?.cancel()
      member.join?.(joinedOf(member.id, ERROR.NOT_COORDINATOR))
      member.sync?.({ errorCode: ERROR.NOT_COORDINATOR, assignment: NO_BYTES })
    }
    this.#members.clear()
    this.#promised.clear()
    this.#phase = 'empty'
  }

  #errorOf(memberId: string, generationId: number): number {
    if (!this.#members.has(memberId)) return ERROR.UNKNOWN_MEMBER_ID
    return generationId === this.#generation ? ERROR.NONE : ERROR.ILLEGAL_GENERATION
  }

  /** There is a protocol that the member and all others speak. */
  #agrees({ memberId, protocolType, protocols }: Joining): boolean {
    if (protocols.length === 0 || protocolType === '') return false
    const others = [...this.#members.values()].filter(({ id }) => id !== memberId)
    if (others.length === 0) return true
    if (protocolType !== this.#protocolType) return false
    return protocols.some(({ name }) => others.every((other) => speaks(other, name)))
  }

  #joinNew(joining: Joining): Promise<Joined> {
    const id = this.#options.newMemberId()
    if (this.#members.size + this.#promised.size >= MEMBERS_MAX) {
      return failedJoin('', ERROR.GROUP_MAX_SIZE_REACHED)
    }
    if (!joining.needsId) return this.#enter(id, joining)
    const forget = (): boolean => this.#promised.delete(id)
    this.#promised.set(id, this.#options.clock.after(joining.sessionMs, forget))
    return failedJoin(id, ERROR.MEMBER_ID_REQUIRED)
  }

  #enter(id: string, joining: Joining): Promise<Joined> {
    const { sessionMs, rebalanceMs, protocols, protocolType, clientId, clientHost } = joining
    const member: Member = {
      ...{ clientId, clientHost },
      ...{ id, sessionMs, rebalanceMs, protocols, assignment: NO_BYTES },
      ...{ join: undefined, sync: undefined, timer: undefined },
    }
    if (this.#members.size === 0) this.#protocolType = protocolType
    this.#members.set(id, member)
    this.#touch(member)
    return this.#await(member)
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
    return this.#await(member)
  }

  #await(member: Member): Promise<Joined> {
    member.join?.(joinedOf(member.id, ERROR.REBALANCE_IN_PROGRESS))
    const joined = new Promise<Joined>((resolve) => {
      member.join = resolve
    })
    if (this.#phase !== 'joining') this.#beginJoining()
    this.#joinedAll()
    return joined
  }

  #beginJoining(): void {
    const { clock } = this.#options
    this.#isGathering = this.#phase === 'empty'
    this.#phase = 'joining'
    for (const member of this.#members.values()) {
      member.sync?.({ errorCode: ERROR.REBALANCE_IN_PROGRESS, assignment: NO_BYTES })
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
    const waitMs = Math.max(...[...this.#members.values()].map(({ rebalanceMs }) => rebalanceMs))
    this.#deadline = clock.after(waitMs, () => this.#begin())
  }

  #joinedAll(): void {
    if (this.#isGathering) return
    for (const { join } of this.#members.values()) if (join === undefined) return
    this.#begin()
  }

  /** The generation begins with those that have joined. */
  #begin(): void {
    this.#deadline?.cancel()
    for (const member of [...this.#members.values()]) {
      if (member.join === undefined) this.#forget(member)
    }
    this.#generation++
    const [first] = this.#members.values()
    if (first === undefined) {
      this.#phase = 'empty'
      return
    }
    if (!this.#members.has(this.#leader)) this.#leader = first.id
    this.#protocolName = this.#choose()
    this.#phase = 'syncing'
    for (const member of this.#members.values()) {
      const { join } = member
      member.join = undefined
      member.assignment = NO_BYTES
      join?.(this.#joinedOf(member))
      this.#touch(member)
    }
    // A leader that does not come with assignments goes by its session, and the rest join again.
  }

  /** The one that most members like best of those that all speak. */
  #choose(): string {
    const members = [...this.#members.values()]
    const votes = new Map<string, number>()
    for (const { protocols } of members) {
      const best = protocols.find(({ name }) => members.every((other) => speaks(other, name)))
      if (best !== undefined) votes.set(best.name, (votes.get(best.name) ?? 0) + 1)
    }
    const [winner] = [...votes].sort(([, a], [, b]) => b - a)
    return winner?.[0] ?? ''
  }

  #joinedOf(member: Member): Joined {
    const isLeader = member.id === this.#leader
    const name = this.#protocolName
    const members = [...this.#members.values()].map(({ id, protocols }) => ({
      memberId: id,
      metadata: metadataOf({ protocols }, name),
    }))
    return {
      ...{ errorCode: ERROR.NONE, generationId: this.#generation, protocolName: name },
      ...{ leader: this.#leader, memberId: member.id, members: isLeader ? members : [] },
    }
  }

  #assign(assignments: readonly Assignment[]): void {
    this.#phase = 'stable'
    const byMember = new Map(assignments.map((one) => [one.memberId, one.assignment]))
    for (const member of this.#members.values()) {
      member.assignment = byMember.get(member.id) ?? NO_BYTES
      member.sync?.({ errorCode: ERROR.NONE, assignment: member.assignment })
      member.sync = undefined
      this.#touch(member)
    }
  }

  /** It has been heard of; from now on its session lasts anew. */
  #touch(member: Member): void {
    member.timer?.cancel()
    member.timer = this.#options.clock.after(member.sessionMs, () => {
      // Who waits for an answer from here cannot say anything.
      if (member.join === undefined && member.sync === undefined) this.#remove(member)
      else this.#touch(member)
    })
  }

  #remove(member: Member): void {
    this.#forget(member)
    if (this.#members.size === 0) {
      this.#deadline?.cancel()
      this.#phase = 'empty'
      this.#generation++
      return
    }
    if (this.#phase === 'joining') this.#joinedAll()
    else this.#beginJoining()
  }

  #forget(member: Member): void {
    member.timer?.cancel()
    this.#members.delete(member.id)
    member.join?.(joinedOf(member.id, ERROR.UNKNOWN_MEMBER_ID))
    member.sync?.({ errorCode: ERROR.UNKNOWN_MEMBER_ID, assignment: NO_BYTES })
  }
}

/** The words of Kafka's tools. */
const STATES: Readonly<Record<Phase, string>> = {
  empty: 'Empty',
  joining: 'PreparingRebalance',
  syncing: 'CompletingRebalance',
  stable: 'Stable',
}

function metadataOf({ protocols }: Pick<Member, 'protocols'>, wanted: string): Buffer {
  return protocols.find(({ name }) => name === wanted)?.metadata ?? NO_BYTES
}

function speaks({ protocols }: Member, wanted: string): boolean {
  return protocols.some(({ name }) => name === wanted)
}

function sameProtocols(before: readonly Protocol[], now: readonly Protocol[]): boolean {
  if (before.length !== now.length) return false
  return before.every(({ name, metadata }, at) => {
    const other = now[at]
    return other !== undefined && other.name === name && other.metadata.equals(metadata)
  })
}

function joinedOf(memberId: string, errorCode: number): Joined {
  return { errorCode, generationId: -1, protocolName: '', leader: '', memberId, members: [] }
}

export function failedJoin(memberId: string, errorCode: number): Promise<Joined> {
  return Promise.resolve(joinedOf(memberId, errorCode))
}

export function failedSync(errorCode: number): Promise<Synced> {
  return Promise.resolve({ errorCode, assignment: NO_BYTES })
}
