/**
 * Tells observers what happened to a member, in the order in which it happened. An observer that throws
 * harms nobody: its error is logged, the others are still told.
 */
import type { RaftMember } from '../core/configuration.ts'
import type { RaftNode } from '../core/node.ts'
import type { RaftEvent, RaftLogger } from '../raft.ts'

export class Observers {
  readonly #listeners = new Set<(event: RaftEvent) => void>()
  readonly #logger: RaftLogger | undefined

  constructor(logger: RaftLogger | undefined) {
    this.#logger = logger
  }

  observe(listener: (event: RaftEvent) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  emit(event: RaftEvent): void {
    for (const listener of [...this.#listeners]) {
      try {
        listener(event)
      } catch (error) {
        this.#logger?.error('an observer threw', { event: event.kind, error })
      }
    }
  }
}

type Seen = Pick<RaftNode, 'role' | 'term' | 'leaderId'>

/** The part of a member that observers are told of when it changes. */
export class Changes {
  #seen: Seen
  #configuration = { index: -1, isCommitted: false }
  #isStalled = false
  readonly #unreachable = new Set<string>()

  constructor(node: Seen) {
    this.#seen = { role: node.role, term: node.term, leaderId: node.leaderId }
  }

  /** What is new in role, term and leader since the last call; undefined when nothing is. */
  leadership(node: Seen): { readonly before: Seen; readonly after: Seen } | undefined {
    const before = this.#seen
    const { role, term, leaderId } = node
    if (role === before.role && term === before.term && leaderId === before.leaderId) return
    this.#seen = { role, term, leaderId }
    if (role !== 'leader') this.#unreachable.clear()
    return { before, after: this.#seen }
  }

  /** The newest configuration, when it is another one or has become committed. */
  configuration(node: RaftNode): RaftEvent | undefined {
    const index = node.configurationIndex
    const isCommitted = index <= node.log.commitIndex
    const seen = this.#configuration
    if (index === seen.index && isCommitted === seen.isCommitted) return undefined
    this.#configuration = { index, isCommitted }
    const members = node.members.map(withRole)
    return { kind: 'configuration', index, members, isCommitted }
  }

  storage(isStalled: boolean): RaftEvent | undefined {
    if (isStalled === this.#isStalled) return undefined
    this.#isStalled = isStalled
    return { kind: 'storage', isStalled }
  }

  /** For each peer of a leader, with whether it was heard of lately. */
  peer(peerId: string, isReachable: boolean): RaftEvent | undefined {
    if (isReachable === !this.#unreachable.has(peerId)) return undefined
    if (isReachable) this.#unreachable.delete(peerId)
    else this.#unreachable.add(peerId)
    return { kind: 'peer', peerId, isReachable }
  }
}

export function withRole(member: RaftMember): Required<RaftMember> {
  return { ...member, role: member.role ?? 'voter' }
}
