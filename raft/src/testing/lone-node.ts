/** One core driven by hand: messages are written as a test thinks of them, the envelope is added. */
import type { LogEntry, MessageBody, RaftMessage, SnapshotMeta } from '../core/messages.ts'
import { PROTOCOL_VERSION } from '../core/messages.ts'
import { RaftNode } from '../core/node.ts'
import { DEFAULT_LIMITS } from '../options.ts'
import type { LogWrite } from '../ports/log-store.ts'
import { WORLD_TIMINGS } from '../simulation/world.ts'

export interface LoneOptions {
  /** The terms of the entries in the log, from index 1 on. */
  readonly terms?: readonly number[]
  readonly term?: number
  readonly votedFor?: string
  readonly snapshot?: SnapshotMeta
  readonly members?: readonly string[]
}

export function entriesOf(terms: readonly number[], first = 1): LogEntry[] {
  return terms.map((term, at) => ({
    index: first + at,
    term,
    kind: 'command',
    data: Buffer.from(`${first + at}/${term}`),
  }))
}

/** Member `a` of a, b, c. */
export class LoneNode {
  readonly node: RaftNode
  readonly writes: LogWrite[] = []

  constructor(options: LoneOptions = {}) {
    const terms = options.terms ?? []
    const term = options.term ?? terms.at(-1) ?? 0
    this.node = new RaftNode({
      id: 'a',
      clusterId: 'c1',
      incarnation: 'a/1',
      members: (options.members ?? ['a', 'b', 'c']).map((id) => ({ id, address: id })),
      timings: WORLD_TIMINGS,
      limits: DEFAULT_LIMITS,
      random: () => 0,
      stored: {
        hardState: { term, votedFor: options.votedFor },
        base: { index: 0, term: 0 },
        entries: entriesOf(terms),
      },
      snapshot: options.snapshot,
    })
  }

  envelope(from: string, term: number): Omit<RaftMessage, 'kind'> {
    const protocolVersion = PROTOCOL_VERSION
    return { protocolVersion, clusterId: 'c1', from, to: 'a', incarnation: `${from}/1`, term }
  }

  step(from: string, term: number, body: MessageBody): void {
    this.node.step({ ...body, ...this.envelope(from, term) } as RaftMessage)
  }

  append(
    from: string,
    term: number,
    body: Partial<MessageBody & { kind: 'append-request' }>,
  ): void {
    const { prevLogIndex = 0, prevLogTerm = 0, commitIndex = 0, entries = [] } = body
    this.step(from, term, {
      kind: 'append-request',
      prevLogIndex,
      prevLogTerm,
      commitIndex,
      entries,
    })
  }

  accept(from: string, index: number): void {
    const body = {
      kind: 'append-response',
      accepted: true,
      index,
      hintIndex: 0,
      hintTerm: 0,
    } as const
    this.step(from, this.node.term, body)
  }

  /** What leaves before any write completes. */
  take(): readonly RaftMessage[] {
    const ready = this.node.ready()
    if (ready.write !== undefined) this.writes.push(ready.write)
    return ready.messages
  }

  /** What leaves while every write completes. */
  settle(): readonly RaftMessage[] {
    const messages: RaftMessage[] = []
    for (;;) {
      const ready = this.node.ready()
      messages.push(...ready.messages)
      if (ready.write === undefined) return messages
      this.writes.push(ready.write)
      this.node.written()
    }
  }

  tick(count: number): void {
    for (let at = 0; at < count; at += 1) this.node.tick()
  }

  /** Through a whole election, with the votes of the others. */
  lead(): void {
    this.becomePreCandidate()
    this.step('b', this.node.term + 1, { kind: 'pre-vote-response', granted: true })
    this.settle()
    this.step('b', this.node.term, { kind: 'vote-response', granted: true })
  }

  becomePreCandidate(): void {
    while (this.node.role === 'follower') this.node.tick()
  }
}
