/**
 * The promises of Raft, checked over all members of a simulated world after every step. They look at what
 * happened, not at the rules of the core, which a test may have replaced. (Raft figure 3)
 */
import assert from 'node:assert'
import type { RaftMember } from '../core/configuration.ts'
import type { LogEntry, RaftMessage } from '../core/messages.ts'
import type { RaftNode } from '../core/node.ts'
import type { LogWrite } from '../ports/log-store.ts'
import type { SimulatedDisk } from './disk.ts'

interface Applied {
  readonly term: number
  readonly text: string
  /** The state of the first member that applied it, after it. */
  readonly state: string
}

export class Invariants {
  readonly #leaders = new Map<number, string>()
  /** What was applied anywhere, by index. */
  readonly #applied = new Map<number, Applied>()
  /** To whom a member gave its vote, by member and term. */
  readonly #votes = new Map<string, string>()
  readonly #leaderLogs = new Map<string, { readonly term: number; readonly lastIndex: number }>()
  /** By index: of which term the entry is, and in which term a leader first had it committed. */
  readonly #committed = new Map<number, { readonly term: number; readonly inTerm: number }>()
  #highestCommit = 0

  get highestCommit(): number {
    return this.#highestCommit
  }

  get termsLed(): number {
    return this.#leaders.size
  }

  appliedText(index: number): string | undefined {
    return this.#applied.get(index)?.text
  }

  /** State-machine safety: no two members apply different entries, or reach different states, at an index. */
  applied(id: string, entry: LogEntry, state: string): void {
    const text = `${entry.kind}:${Buffer.from(entry.data).toString('latin1')}`
    const now = { term: entry.term, text, state }
    const before = this.#applied.get(entry.index)
    if (before === undefined) this.#applied.set(entry.index, now)
    else assert.deepEqual(now, before, `${id} differs at ${entry.index}`)
  }

  /** Election safety, leader completeness, leader append-only, and what commits. */
  check(node: RaftNode, id: string): void {
    // One that steps down with the commit of its own removal is not a leader any more here.
    this.#noteCommits(node)
    if (node.role !== 'leader') return
    this.#checkAppendOnly(node, id)
    const leader = this.#leaders.get(node.term)
    if (leader === id) return
    assert.equal(leader, undefined, `${leader} and ${id} lead term ${node.term}`)
    this.#leaders.set(node.term, id)
    for (const [index, entry] of this.#committed) {
      // One that was paused may find out late that it was elected: what came after is not its to have.
      if (index < node.log.firstIndex || entry.inTerm >= node.term) continue
      assert.equal(node.log.termAt(index), entry.term, `leader ${id} lacks committed ${index}`)
    }
  }

  #noteCommits({ log, term, role }: RaftNode): void {
    for (let index = this.#highestCommit + 1; index <= log.commitIndex; index += 1) {
      const entryTerm = log.termAt(index)
      const isCounted = role === 'leader' && index === log.commitIndex
      assert(
        !isCounted || entryTerm === term,
        `${index} of term ${entryTerm} is committed in ${term}`,
      )
      if (entryTerm !== undefined) this.#committed.set(index, { term: entryTerm, inTerm: term })
    }
    this.#highestCommit = Math.max(this.#highestCommit, log.commitIndex)
  }

  #checkAppendOnly(node: RaftNode, id: string): void {
    const { term, log } = node
    const before = this.#leaderLogs.get(id)
    if (before?.term === term) {
      assert(log.lastIndex >= before.lastIndex, `leader ${id} dropped entries of its log`)
    }
    this.#leaderLogs.set(id, { term, lastIndex: log.lastIndex })
  }

  /** An entry carries the term of someone who led it. */
  checkWrite(id: string, write: LogWrite): void {
    for (const { index, term } of write.entries) {
      assert(this.#leaders.has(term), `${id} has entry ${index} of term ${term}, which nobody led`)
    }
  }

  /** What a message promises is on the disk of its sender when it leaves; a vote is given once a term. */
  checkPromise(message: RaftMessage, disk: SimulatedDisk): void {
    if (message.kind === 'pre-vote-request' || message.kind === 'pre-vote-response') return
    const { from, to, term } = message
    const { hardState, base, entries } = disk.written
    assert(hardState.term >= term, `${from} speaks in term ${term}, which it would forget`)
    if (message.kind === 'vote-response' && message.granted) {
      const kept = hardState.term > term || hardState.votedFor === to
      assert(kept, `${from} votes for ${to}, which it would forget`)
      const before = this.#votes.get(`${from} in ${term}`)
      assert(before === undefined || before === to, `${from} votes for ${before} and ${to}`)
      this.#votes.set(`${from} in ${term}`, to)
    }
    if (message.kind !== 'append-response' || !message.accepted) return
    const lastIndex = Math.max(base.index + entries.length, disk.writtenSnapshot?.meta.index ?? 0)
    assert(
      lastIndex >= message.index,
      `${from} acknowledges ${message.index} and has durably ${lastIndex}`,
    )
  }

  /** A leader has one change on its way at most, of one vote; it is a voter, or removes itself. */
  checkConfiguration(node: RaftNode, id: string): void {
    const { log, configurationIndex } = node
    if (node.role !== 'leader') return
    const voters = votersOf(node.members)
    const isPending = configurationIndex > Math.max(log.commitIndex, 1)
    if (!isPending) {
      assert(voters.includes(id), `${id} leads and is no voter`)
      return
    }
    const previousIndex = node.configurationIndexAt(configurationIndex - 1)
    assert(
      previousIndex <= this.#highestCommit,
      `${id} has two changes on their way: ${previousIndex} and ${configurationIndex}`,
    )
    const before = votersOf(node.membersAt(configurationIndex - 1))
    const added = voters.filter((voter) => !before.includes(voter))
    const removed = before.filter((voter) => !voters.includes(voter))
    assert(
      added.length + removed.length <= 1,
      `more than one vote changed at ${configurationIndex}`,
    )
    assert(voters.includes(id) || removed.includes(id), `${id} leads and is no voter`)
  }

  /** Log matching: equal terms at an index mean equal logs up to it. */
  static checkLogMatching(nodes: readonly RaftNode[]): void {
    for (const [at, a] of nodes.entries()) {
      for (const b of nodes.slice(at + 1)) {
        let index = Math.min(a.log.lastIndex, b.log.lastIndex)
        const first = Math.max(a.log.firstIndex, b.log.firstIndex)
        while (index >= first && a.log.termAt(index) !== b.log.termAt(index)) index -= 1
        for (; index >= first; index -= 1) {
          assert.deepEqual(a.log.entryAt(index), b.log.entryAt(index), `logs differ at ${index}`)
        }
      }
    }
  }
}

/** Not by the core's own rule, which a test may have replaced. */
export function votersOf(members: readonly RaftMember[]): readonly string[] {
  return members.filter((member) => member.role !== 'learner').map((member) => member.id)
}
