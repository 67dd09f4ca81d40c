/** The promises of Raft, checked over all members of a simulated world. (Raft figure 3) */
import assert from 'node:assert'
import type { RaftMember } from '../core/configuration.ts'
import type { LogEntry } from '../core/messages.ts'
import type { RaftNode } from '../core/node.ts'

export class Invariants {
  readonly #leaders = new Map<number, string>()
  /** What was applied anywhere, by index. */
  readonly #applied = new Map<number, { readonly term: number; readonly text: string }>()
  #highestCommit = 0

  get highestCommit(): number {
    return this.#highestCommit
  }

  appliedText(index: number): string | undefined {
    return this.#applied.get(index)?.text
  }

  /** State-machine safety: no two members apply different entries at an index. */
  applied(id: string, entry: LogEntry): void {
    const text = `${entry.kind}:${Buffer.from(entry.data).toString('latin1')}`
    const before = this.#applied.get(entry.index)
    if (before === undefined) this.#applied.set(entry.index, { term: entry.term, text })
    else assert.deepEqual({ term: entry.term, text }, before, `${id} differs at ${entry.index}`)
  }

  /** Election safety, leader completeness, and what commits. */
  check(node: RaftNode, id: string): void {
    this.#highestCommit = Math.max(this.#highestCommit, node.log.commitIndex)
    if (node.role !== 'leader') return
    const leader = this.#leaders.get(node.term)
    if (leader === id) return
    assert.equal(leader, undefined, `${leader} and ${id} lead term ${node.term}`)
    this.#leaders.set(node.term, id)
    for (const [index, entry] of this.#applied) {
      if (index < node.log.firstIndex) continue
      assert.equal(node.log.termAt(index), entry.term, `leader ${id} lacks committed ${index}`)
    }
  }

  /** A leader has one change on its way at most, of one vote; it is a voter, or removes itself. */
  checkConfiguration(node: RaftNode, id: string): void {
    const { log, configurationIndex } = node
    const voters = votersOf(node.members)
    if (node.role !== 'leader') return
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
