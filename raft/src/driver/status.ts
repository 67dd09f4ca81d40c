/** What a member tells about itself, and the times of contact that it needs for that. */
import type { RaftMember } from '../core/configuration.ts'
import type { RaftNode } from '../core/node.ts'
import type { RaftStatus } from '../raft.ts'
import { withRole } from './events.ts'

export class ContactTimes {
  readonly #receivedMs = new Map<string, number>()
  /** When each round of heartbeats left, from the newest that a majority answered on. */
  readonly #rounds = new Map<number, number>()
  #lastRound = 0

  received(from: string, nowMs: number): void {
    this.#receivedMs.set(from, nowMs)
  }

  lastFrom(id: string): number | undefined {
    return this.#receivedMs.get(id)
  }

  roundSent(round: number, nowMs: number, acknowledged: number): void {
    for (let unseen = this.#lastRound + 1; unseen <= round; unseen += 1) {
      this.#rounds.set(unseen, nowMs)
    }
    this.#lastRound = Math.max(this.#lastRound, round)
    for (const old of this.#rounds.keys()) {
      if (old < acknowledged) this.#rounds.delete(old)
    }
  }

  sentAt(round: number): number | undefined {
    return this.#rounds.get(round)
  }

  /** A new leadership counts from one again. */
  forgetRounds(): void {
    this.#lastRound = 0
    this.#rounds.clear()
  }
}

export interface StatusSource {
  readonly nodeId: string
  /** Until the member has started. */
  readonly members: readonly RaftMember[]
  readonly metrics: Readonly<Record<string, number>>
  readonly nowMs: number
  readonly node: RaftNode | undefined
  readonly snapshotIndex: number
  readonly contacts: ContactTimes
}

export function describeStatus(source: StatusSource): RaftStatus {
  const { nodeId, node, nowMs, contacts } = source
  const members = node?.members ?? source.members
  const leaderId = node?.leaderId
  return {
    nodeId,
    role: node?.role ?? 'follower',
    term: node?.term ?? 0,
    leaderId,
    leaderAddress: leaderId === undefined ? undefined : addressOf(leaderId, source),
    commitIndex: node?.log.commitIndex ?? 0,
    appliedIndex: node?.log.appliedIndex ?? 0,
    firstIndex: node?.log.firstIndex ?? 1,
    lastIndex: node?.log.lastIndex ?? 0,
    snapshotIndex: source.snapshotIndex,
    members: members.map(withRole),
    configurationIndex: node?.configurationIndex ?? 0,
    uncommittedBytes: node?.uncommittedBytes ?? 0,
    peers: (node?.progress ?? []).map((progress) => ({
      id: progress.id,
      matchIndex: progress.matchIndex,
      state: progress.state,
      bytesInFlight: progress.bytesInFlight,
      lastContactMs: age(nowMs, contacts.lastFrom(progress.id)),
    })),
    lastQuorumContactMs: quorumContactAge(source),
    metrics: { ...source.metrics, ...node?.counters },
  }
}

function quorumContactAge(source: StatusSource): number | undefined {
  const { node, nodeId } = source
  const rounds = node?.rounds
  if (node === undefined || rounds === undefined || node.mayBeDeposed) return undefined
  if (node.voters.length === 1 && node.voters[0] === nodeId) return 0
  return age(source.nowMs, source.contacts.sentAt(rounds.acknowledged))
}

function addressOf(id: string, { node, members }: StatusSource): string | undefined {
  const member = node?.addressOf(id) ?? members.find((candidate) => candidate.id === id)
  return member?.address
}

function age(nowMs: number, thenMs: number | undefined): number | undefined {
  return thenMs === undefined ? undefined : nowMs - thenMs
}
