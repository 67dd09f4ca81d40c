/**
 * Which change of the members a leader should make by itself: a learner that has been healthy for long
 * enough becomes a voter; a voter that has been silent for too long is removed, if that was asked for and
 * enough others remain. Pure: it is given the status of the leader and the time, and says what to do.
 *
 * It decides and does not act (see run-autopilot.ts); it never adds members, and never removes the leader.
 */
import type { MembershipChange } from '../core/membership.ts'
import type { RaftMemberStatus, RaftPeerStatus, RaftStatus } from '../raft.ts'

export interface AutopilotOptions {
  /** A learner is promoted when it was healthy for so long without a break. */
  readonly stabilizeMs: number
  /** A member that was not heard of for longer is not healthy. */
  readonly contactLossMs: number
  /** A member that lacks more of the log is not healthy. */
  readonly lagEntriesMax: number
  /** Left out: no member is ever removed. */
  readonly removal?: AutopilotRemoval
}

export interface AutopilotRemoval {
  /** A member is removed when it was not heard of for so long. */
  readonly deadMs: number
  /** As many voters remain at least. */
  readonly votersMin: number
}

export const DEFAULT_AUTOPILOT: AutopilotOptions = {
  stabilizeMs: 10_000,
  contactLossMs: 2_000,
  lagEntriesMax: 250,
}

export interface MemberHealth {
  readonly id: string
  readonly role: 'voter' | 'learner'
  readonly isHealthy: boolean
  /** Since when that is so; at the earliest since this member leads. */
  readonly sinceMs: number
}

export interface AutopilotDecision {
  /** With the index of the configuration that was looked at: void when that changed meanwhile. */
  readonly change: MembershipChange
  readonly reason: string
}

/** What was seen of one member since this leadership began. */
interface Seen {
  isHealthy: boolean
  sinceMs: number
  lastContactAtMs: number
}

export class Autopilot {
  readonly #options: AutopilotOptions
  readonly #seen = new Map<string, Seen>()
  #term = 0
  #health: readonly MemberHealth[] = []

  /** @throws RangeError for options that cannot work. */
  constructor(options: Partial<AutopilotOptions> = {}) {
    this.#options = { ...DEFAULT_AUTOPILOT, ...options }
    const { stabilizeMs, contactLossMs, lagEntriesMax, removal } = this.#options
    for (const [name, value] of Object.entries({ stabilizeMs, contactLossMs, lagEntriesMax })) {
      if (!(value >= 0)) throw new RangeError(`${name} must not be ${value}`)
    }
    if (removal === undefined) return
    if (!(removal.deadMs > contactLossMs)) {
      throw new RangeError('deadMs must be above contactLossMs')
    }
    if (!Number.isSafeInteger(removal.votersMin) || removal.votersMin < 1) {
      throw new RangeError('votersMin must be a whole number above 0')
    }
  }

  /** As of the last call of advance; empty on others than the leader. */
  get health(): readonly MemberHealth[] {
    return this.#health
  }

  /** Call every second or so with this member's status. One decision at a time, as members change. */
  advance(status: RaftStatus, nowMs: number): AutopilotDecision | undefined {
    // A leader without a majority learns nothing of the others' health, and can change nothing.
    if (status.role !== 'leader' || status.lastQuorumContactMs === undefined) {
      this.#forget()
      return undefined
    }
    // A new leader has heard of nobody yet: everyone gets the whole time again.
    if (status.term !== this.#term) this.#forget()
    this.#term = status.term
    this.#examine(status, nowMs)
    return this.#promotion(status, nowMs) ?? this.#removal(status, nowMs)
  }

  #forget(): void {
    this.#term = 0
    this.#seen.clear()
    this.#health = []
  }

  #examine(status: RaftStatus, nowMs: number): void {
    const ids = new Set(status.members.map((member) => member.id))
    for (const id of this.#seen.keys()) if (!ids.has(id)) this.#seen.delete(id)
    this.#health = status.members.map(({ id, role }) => {
      const isHealthy = this.#isHealthy(status, id)
      const seen = this.#seen.get(id) ?? { isHealthy, sinceMs: nowMs, lastContactAtMs: nowMs }
      if (seen.isHealthy !== isHealthy) Object.assign(seen, { isHealthy, sinceMs: nowMs })
      const { lastContactMs } = peerOf(status, id) ?? {}
      if (id === status.nodeId) seen.lastContactAtMs = nowMs
      else if (lastContactMs !== undefined) {
        seen.lastContactAtMs = Math.max(seen.lastContactAtMs, nowMs - lastContactMs)
      }
      this.#seen.set(id, seen)
      return { id, role, isHealthy, sinceMs: seen.sinceMs }
    })
  }

  #isHealthy(status: RaftStatus, id: string): boolean {
    if (id === status.nodeId) return true
    const peer = peerOf(status, id)
    if (peer?.lastContactMs === undefined) return false
    const { contactLossMs, lagEntriesMax } = this.#options
    const lag = status.lastIndex - peer.matchIndex
    return peer.lastContactMs <= contactLossMs && lag <= lagEntriesMax
  }

  #promotion(status: RaftStatus, nowMs: number): AutopilotDecision | undefined {
    const { stabilizeMs } = this.#options
    const stable = this.#health.find(
      ({ role, isHealthy, sinceMs }) =>
        role === 'learner' && isHealthy && nowMs - sinceMs >= stabilizeMs,
    )
    if (stable === undefined) return undefined
    const reason = `healthy for ${nowMs - stable.sinceMs} ms`
    return decide(status, 'promote', { id: stable.id, reason })
  }

  #removal(status: RaftStatus, nowMs: number): AutopilotDecision | undefined {
    const { removal } = this.#options
    if (removal === undefined) return undefined
    const silentMs = (id: string): number => nowMs - (this.#seen.get(id)?.lastContactAtMs ?? nowMs)
    // The longest silent first, so that the order does not depend on that of the configuration.
    const dead = status.members
      .filter(({ id }) => silentMs(id) >= removal.deadMs)
      .sort((a, b) => silentMs(b.id) - silentMs(a.id))
    const chosen = dead.find((member) => this.#mayRemove(status, member, removal))
    if (chosen === undefined) return undefined
    const reason = `not heard of for ${silentMs(chosen.id)} ms`
    return decide(status, 'remove', { id: chosen.id, reason })
  }

  /** What remains must be enough, and be able to agree without anyone that is not healthy now. */
  #mayRemove(
    { members }: RaftStatus,
    member: RaftMemberStatus,
    removal: AutopilotRemoval,
  ): boolean {
    if (member.role === 'learner') return true
    const voters = members.filter(({ role }) => role === 'voter')
    const healthy = this.#health.filter(({ role, isHealthy }) => role === 'voter' && isHealthy)
    const isMajorityHealthy = healthy.length > voters.length / 2
    return voters.length - 1 >= removal.votersMin && isMajorityHealthy
  }
}

function peerOf(status: RaftStatus, id: string): RaftPeerStatus | undefined {
  return status.peers.find((peer) => peer.id === id)
}

function decide(
  { configurationIndex }: RaftStatus,
  kind: 'promote' | 'remove',
  { id, reason }: { readonly id: string; readonly reason: string },
): AutopilotDecision {
  return {
    change: { kind, member: { id }, expectedConfigurationIndex: configurationIndex },
    reason,
  }
}
