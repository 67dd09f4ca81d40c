import { describe, expect, it } from 'vitest'
import { entriesOf, LoneNode } from '../testing/lone-node.ts'
import { encodeConfiguration } from './configuration.ts'
import type { MessageBody, RaftMessage, SnapshotHeader } from './messages.ts'

const voteRequest = (lastLogIndex: number, lastLogTerm: number): MessageBody => ({
  kind: 'vote-request',
  lastLogIndex,
  lastLogTerm,
})
const heartbeat = (round: number, commitIndex = 0): MessageBody => ({
  kind: 'heartbeat-request',
  round,
  commitIndex,
})

const ROLES = {
  follower: () => new LoneNode({ terms: [1], term: 3 }),
  'pre-candidate': () => {
    const lone = new LoneNode({ terms: [1], term: 3 })
    lone.becomePreCandidate()
    lone.settle()
    return lone
  },
  candidate: () => {
    const lone = new LoneNode({ terms: [1], term: 2 })
    lone.becomePreCandidate()
    lone.step('b', 3, { kind: 'pre-vote-response', granted: true })
    lone.settle()
    return lone
  },
  leader: () => {
    const lone = new LoneNode({ terms: [1], term: 2 })
    lone.lead()
    lone.settle()
    return lone
  },
} as const

describe('RaftNode step', () => {
  const roles = Object.keys(ROLES) as (keyof typeof ROLES)[]
  it.each(roles)('as %s in term 3 is what the name says', (role) => {
    expect([ROLES[role]().node.role, ROLES[role]().node.term]).toEqual([role, 3])
  })

  // [message, its term, then per role: role and term afterwards, answer]
  type Row = [string, number, MessageBody, Record<string, [string, number, string]>]
  const same = (answer: string): Record<string, [string, number, string]> =>
    Object.fromEntries(roles.map((role) => [role, [role, 3, answer]]))
  const follows = (term: number, answer: string): Record<string, [string, number, string]> =>
    Object.fromEntries(roles.map((role) => [role, ['follower', term, answer]]))
  const empty: MessageBody = {
    kind: 'append-request',
    prevLogIndex: 1,
    prevLogTerm: 1,
    commitIndex: 0,
    entries: [],
  }
  const rows: Row[] = [
    ['a heartbeat of an older term', 2, heartbeat(1), same('heartbeat-response 3')],
    ['an append of an older term', 2, empty, same('append-response 3 false')],
    ['a vote request of an older term', 2, voteRequest(9, 2), same('vote-response 3 false')],
    ['a heartbeat of a newer term', 4, heartbeat(1), follows(4, 'heartbeat-response 4')],
    ['an append of a newer term', 4, empty, follows(4, 'append-response 4 true')],
    [
      'a pre-vote request for the next term',
      4,
      { kind: 'pre-vote-request', lastLogIndex: 9, lastLogTerm: 3 },
      { ...same('pre-vote-response 4 true'), leader: ['leader', 3, 'pre-vote-response 3 false'] },
    ],
    [
      'a pre-vote request with an older log',
      4,
      { kind: 'pre-vote-request', lastLogIndex: 9, lastLogTerm: 0 },
      same('pre-vote-response 3 false'),
    ],
    [
      'a vote request of a newer term',
      4,
      voteRequest(9, 3),
      { ...follows(4, 'vote-response 4 true'), leader: ['leader', 3, ''] },
    ],
    [
      'a vote request of the same term',
      3,
      voteRequest(9, 3),
      {
        ...same('vote-response 3 false'),
        follower: ['follower', 3, 'vote-response 3 true'],
        'pre-candidate': ['pre-candidate', 3, 'vote-response 3 true'],
      },
    ],
    ['an answer of a newer term', 4, { kind: 'heartbeat-response', round: 1 }, follows(4, '')],
    ['an answer of an older term', 2, { kind: 'vote-response', granted: true }, same('')],
  ]
  it.each(rows)('%s', (_, term, body, expected) => {
    for (const role of roles) {
      const lone = ROLES[role]()
      lone.step('b', term, body)
      const answers = lone.settle().filter((message) => message.kind.endsWith('-response'))
      const text = answers.map((message) =>
        [message.kind, message.term, verdictOf(message)].filter((part) => part !== '').join(' '),
      )
      expect([role, lone.node.role, lone.node.term, text.join()]).toEqual([
        role,
        ...expected[role]!,
      ])
    }
  })

  it('drops and counts what is foreign', () => {
    const lone = ROLES.follower()
    const good = { ...heartbeat(1), ...lone.envelope('b', 9) } as RaftMessage
    lone.node.step({ ...good, clusterId: 'other' })
    lone.node.step({ ...good, from: 'stranger' })
    lone.node.step({ ...good, to: 'b' })
    lone.node.step({ ...good, protocolVersion: 99 })
    lone.node.step({ ...good, term: Number.NaN })
    expect(lone.node.term).toBe(3)
    expect(lone.node.counters).toMatchObject({
      droppedCluster: 1,
      droppedPeer: 1,
      droppedAddress: 1,
      droppedVersion: 1,
      droppedInvalid: 1,
    })
  })
})

function verdictOf(message: RaftMessage): string {
  if ('granted' in message) return String(message.granted)
  return message.kind === 'append-response' ? String(message.accepted) : ''
}

describe('a vote', () => {
  it('leaves only after term and vote are durable in one record', () => {
    const lone = new LoneNode({ term: 1 })
    lone.step('b', 2, voteRequest(0, 0))
    expect(lone.take()).toEqual([])
    expect(lone.writes.map((write) => write.hardState)).toEqual([{ term: 2, votedFor: 'b' }])
    lone.node.written()
    expect(lone.take()).toMatchObject([{ kind: 'vote-response', granted: true, to: 'b' }])
  })

  it.each([
    [[1, 1], 1, 1, false],
    [[1, 1], 2, 1, true],
    [[1, 2], 9, 1, false],
    [[1, 1], 1, 2, true],
  ])(
    'with the log %j for one that ends at %i in term %i: %s [Raft 5.4.1]',
    (terms, index, term, granted) => {
      const lone = new LoneNode({ terms, term: 4 })
      lone.step('b', 5, voteRequest(index, term))
      expect(lone.settle()).toMatchObject([{ granted }])
    },
  )

  it('is given once per term, and compared with the log when asked again', () => {
    const lone = new LoneNode({ terms: [1], term: 5, votedFor: 'b' })
    lone.step('c', 5, voteRequest(9, 4))
    lone.step('b', 5, voteRequest(9, 4))
    lone.step('b', 5, voteRequest(0, 0))
    expect(lone.settle()).toMatchObject([
      { to: 'c', granted: false },
      { to: 'b', granted: true },
      { to: 'b', granted: false },
    ])
  })

  it('is refused while a leader is heard, and not for long after', () => {
    const lone = new LoneNode({ term: 1, terms: [1] })
    lone.step('b', 1, heartbeat(1))
    lone.step('c', 2, voteRequest(9, 1))
    expect([lone.node.term, lone.node.leaderId]).toEqual([1, 'b'])
    lone.tick(20)
    lone.step('c', 2, voteRequest(9, 1))
    expect(lone.node.term).toBe(2)
  })

  it('of the candidate itself counts only when durable', () => {
    const lone = new LoneNode({ term: 1, terms: [1], members: ['a'] })
    lone.tick(40)
    expect(lone.node.role).toBe('candidate')
    lone.take()
    expect(lone.node.role).toBe('candidate')
    lone.node.written()
    expect(lone.node.role).toBe('leader')
  })

  it('of the candidate itself does not count with a write that was taken before', () => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    lone.append('b', 1, { prevLogIndex: 1, prevLogTerm: 1, entries: entriesOf([1], 2) })
    lone.take()
    lone.becomePreCandidate()
    lone.step('b', 2, { kind: 'pre-vote-response', granted: true })
    lone.node.written()
    lone.step('b', 2, { kind: 'vote-response', granted: true })
    expect(lone.node.role).toBe('candidate')
    lone.settle()
    expect(lone.node.role).toBe('leader')
  })
})

describe('an append', () => {
  it('is acknowledged when durable, and only as far as it proved', () => {
    const lone = new LoneNode({ terms: [1, 1, 1], term: 2 })
    lone.append('b', 2, { prevLogIndex: 1, prevLogTerm: 1, entries: entriesOf([1], 2) })
    expect(lone.settle()).toMatchObject([{ accepted: true, index: 2 }])
    lone.append('b', 2, { prevLogIndex: 3, prevLogTerm: 1, entries: entriesOf([2], 4) })
    // The term became durable with the write before; this entry did not.
    expect(lone.take()).toEqual([])
    lone.node.written()
    expect(lone.take()).toMatchObject([{ accepted: true, index: 4 }])
  })

  it('commits only what it proved equal', () => {
    const lone = new LoneNode({ terms: [1, 1, 1], term: 2 })
    lone.append('b', 2, { prevLogIndex: 1, prevLogTerm: 1, commitIndex: 3 })
    expect(lone.node.log.commitIndex).toBe(1)
  })

  it('truncates at a conflict of terms and nowhere else', () => {
    const lone = new LoneNode({ terms: [1, 2, 2], term: 3 })
    lone.append('b', 3, { prevLogIndex: 1, prevLogTerm: 1, entries: entriesOf([2], 2) })
    expect(lone.node.log.lastIndex).toBe(3)
    lone.append('b', 3, { prevLogIndex: 2, prevLogTerm: 2, entries: entriesOf([3], 3) })
    lone.settle()
    expect(lone.node.log.termAt(3)).toBe(3)
    expect(lone.writes.map((write) => write.truncateFrom)).toContain(3)
  })

  it('refused names where the logs may agree', () => {
    const lone = new LoneNode({ terms: [1, 1, 2, 2, 2], term: 5 })
    lone.append('b', 5, { prevLogIndex: 5, prevLogTerm: 1 })
    lone.append('b', 5, { prevLogIndex: 9, prevLogTerm: 4 })
    expect(lone.settle()).toMatchObject([
      { accepted: false, index: 5, hintIndex: 2, hintTerm: 1 },
      { accepted: false, index: 9, hintIndex: 5, hintTerm: 2 },
    ])
  })

  it('of an old term is not acknowledged any more once the term has changed', () => {
    const lone = new LoneNode({ terms: [1], term: 2 })
    lone.append('b', 2, { prevLogIndex: 1, prevLogTerm: 1, entries: entriesOf([2, 2], 2) })
    lone.append('c', 3, { prevLogIndex: 1, prevLogTerm: 1, entries: entriesOf([3], 2) })
    const acknowledged = lone.settle().filter((message) => message.to === 'b')
    expect(acknowledged).toEqual([])
    expect(lone.node.log.lastIndex).toBe(2)
  })

  it('that overwrites a running write is not taken for durable with it', () => {
    const lone = new LoneNode({ terms: [1], term: 2 })
    lone.append('b', 2, { prevLogIndex: 1, prevLogTerm: 1, entries: entriesOf([2, 2], 2) })
    lone.take()
    lone.append('c', 3, { prevLogIndex: 1, prevLogTerm: 1, entries: entriesOf([3, 3], 2) })
    lone.node.written()
    expect(lone.node.log.stableIndex).toBe(1)
    expect(lone.take().filter((message) => message.kind === 'append-response')).toEqual([])
    lone.node.written()
    expect(lone.take()).toMatchObject([{ to: 'c', accepted: true, index: 3 }])
  })

  it('that overwrites what was durable makes it unsure again', () => {
    const lone = new LoneNode({ terms: [1, 1, 1], term: 2 })
    lone.append('b', 2, { prevLogIndex: 1, prevLogTerm: 1, entries: entriesOf([2, 2], 2) })
    expect(lone.node.log.stableIndex).toBe(1)
  })

  it('below the commit index is skipped, not compared', () => {
    const lone = new LoneNode({ terms: [1, 1], term: 2 })
    lone.append('b', 2, { prevLogIndex: 2, prevLogTerm: 1, commitIndex: 2 })
    const conflicting = { prevLogIndex: 1, prevLogTerm: 1, entries: entriesOf([2, 2], 2) }
    lone.append('b', 2, conflicting)
    expect(lone.node.log.termAt(2)).toBe(1)
  })

  it('with a gap or falling terms inside is dropped', () => {
    const lone = new LoneNode({ terms: [1], term: 2 })
    const entries = [...entriesOf([2], 2), ...entriesOf([2], 9)]
    lone.append('b', 2, { prevLogIndex: 1, prevLogTerm: 1, entries })
    lone.append('b', 2, { prevLogIndex: 1, prevLogTerm: 1, entries: entriesOf([2, 1], 2) })
    expect([lone.node.log.lastIndex, lone.node.counters.droppedInvalid]).toEqual([1, 2])
  })
})

describe('a leader', () => {
  it('commits an older entry only together with one of its own term [Raft 5.4.2, figure 8]', () => {
    const lone = new LoneNode({ terms: [1, 2], term: 4 })
    lone.lead()
    lone.settle()
    lone.accept('b', 2)
    expect(lone.node.log.commitIndex).toBe(0)
    lone.accept('b', 3)
    expect(lone.node.log.commitIndex).toBe(3)
  })

  it('counts itself only when its own write is durable, but sends in parallel', () => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    lone.lead()
    const kinds = lone.take().map((message) => message.kind)
    expect(kinds).toContain('append-request')
    lone.accept('b', 2)
    expect(lone.node.log.commitIndex).toBe(0)
    lone.node.written()
    expect(lone.node.log.commitIndex).toBe(2)
  })

  it('records the initial configuration in an empty log and a no-op in any other', () => {
    const fresh = new LoneNode()
    fresh.lead()
    expect(fresh.node.log.entryAt(1)).toMatchObject({ kind: 'configuration', term: 1 })
    const recorded = new LoneNode({ terms: [1], term: 1, snapshot: snapshotAt(1, 1) })
    recorded.lead()
    expect(recorded.node.log.entryAt(2)).toMatchObject({ kind: 'no-op', term: 2 })
  })

  it('steps down without a majority, and keeps on with one', () => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    lone.lead()
    lone.tick(15)
    lone.step('c', lone.node.term, { kind: 'heartbeat-response', round: 1 })
    lone.tick(20)
    expect(lone.node.role).toBe('leader')
    lone.tick(1)
    expect(lone.node.role).toBe('follower')
    expect(lone.node.leaderId).toBeUndefined()
  })

  it('steps down when its disk stalls, and does not campaign until it works', () => {
    const lone = new LoneNode({ terms: [1], term: 1, members: ['a'] })
    lone.tick(20)
    lone.settle()
    expect(lone.node.role).toBe('leader')
    lone.node.propose(Buffer.from('x'))
    lone.take()
    lone.tick(31)
    expect(lone.node.role).toBe('follower')
    lone.tick(100)
    expect([lone.node.role, lone.node.term]).toEqual(['follower', 2])
    lone.node.written()
    lone.tick(100)
    lone.settle()
    expect(lone.node.role).toBe('leader')
  })

  it('finds a far-behind log in few steps by the hint of the refusal', () => {
    const lone = new LoneNode({ terms: [1, 1, 1, 4, 4, 4, 4], term: 5 })
    lone.lead()
    lone.settle()
    const refusal = {
      kind: 'append-response',
      accepted: false,
      index: 7,
      hintIndex: 7,
      hintTerm: 3,
    }
    lone.step('b', 6, refusal as MessageBody)
    const next = lone.settle().find((message) => message.kind === 'append-request')
    expect(next).toMatchObject({ prevLogIndex: 3, prevLogTerm: 1 })
  })
})

describe('readIndex', () => {
  const settledLeader = (): LoneNode => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    lone.lead()
    lone.settle()
    return lone
  }
  const answerRound = (lone: LoneNode, round: number): void =>
    lone.step('b', lone.node.term, { kind: 'heartbeat-response', round })

  it('waits for an entry of the own term to be committed', () => {
    const lone = settledLeader()
    lone.node.readIndex(1)
    lone.settle()
    answerRound(lone, 1)
    lone.tick(3)
    answerRound(lone, 2)
    expect(lone.node.ready().reads).toEqual([])
    lone.accept('b', 2)
    const sent = lone.settle().filter((message) => message.kind === 'heartbeat-request')
    expect(sent[0]).toMatchObject({ round: 3 })
    answerRound(lone, 3)
    expect(lone.node.ready().reads).toEqual([{ token: 1, index: 2 }])
  })

  it('is not confirmed by the answer to a round that left before it came', () => {
    const lone = settledLeader()
    lone.accept('b', 2)
    lone.settle()
    lone.tick(3)
    const rounds = lone.settle().filter((message) => message.kind === 'heartbeat-request')
    expect(rounds[0]).toMatchObject({ round: 2 })
    lone.node.readIndex(1)
    lone.settle()
    answerRound(lone, 2)
    expect(lone.node.ready().reads).toEqual([])
    answerRound(lone, 3)
    expect(lone.node.ready().reads).toEqual([{ token: 1, index: 2 }])
  })

  it('is refused by who does not lead', () => {
    expect(new LoneNode().node.readIndex(1)).toBe(false)
  })
})

describe('a snapshot', () => {
  const header = (lone: LoneNode, term: number, index: number): SnapshotHeader => ({
    ...lone.envelope('b', term),
    snapshot: snapshotAt(index, 2),
  })

  it('with another term at its index drops the whole log', () => {
    const lone = new LoneNode({ terms: [1, 1, 1, 1, 1], term: 3 })
    expect(lone.node.judgeSnapshot(header(lone, 3, 3))).toBe('receive')
    lone.node.adoptSnapshot(snapshotAt(3, 2))
    lone.node.answerSnapshot(header(lone, 3, 3), true)
    expect(lone.take()).toEqual([])
    expect(lone.writes[0]).toMatchObject({ reset: { index: 3, term: 2 }, entries: [] })
    lone.node.written()
    expect(lone.take()).toMatchObject([{ kind: 'snapshot-response', accepted: true, index: 3 }])
    expect([lone.node.log.firstIndex, lone.node.log.lastIndex]).toEqual([4, 3])
  })

  it('that the log agrees with keeps what follows', () => {
    const lone = new LoneNode({ terms: [1, 2, 2, 2], term: 3 })
    lone.node.judgeSnapshot(header(lone, 3, 3))
    lone.node.adoptSnapshot(snapshotAt(3, 2))
    expect([lone.node.log.commitIndex, lone.node.log.lastIndex]).toEqual([3, 4])
  })

  it('of an older term is stale, of what is committed is had', () => {
    const lone = new LoneNode({ terms: [1, 2], term: 3 })
    expect(lone.node.judgeSnapshot(header(lone, 2, 9))).toBe('stale')
    lone.append('b', 3, { prevLogIndex: 2, prevLogTerm: 2, commitIndex: 2 })
    expect(lone.node.judgeSnapshot(header(lone, 3, 2))).toBe('have')
  })
})

describe('the configuration', () => {
  it('comes from the log once it is there; addresses of the options win', () => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    const members = [
      { id: 'a', address: 'old' },
      { id: 'd', address: 'new' },
    ]
    const entry = {
      index: 2,
      term: 1,
      kind: 'configuration',
      data: encodeConfiguration(members),
    } as const
    lone.append('b', 1, { prevLogIndex: 1, prevLogTerm: 1, entries: [entry] })
    expect(lone.node.members).toEqual([
      { id: 'a', address: 'a' },
      { id: 'd', address: 'new' },
    ])
  })

  it('falls back when the entry is truncated', () => {
    const lone = new LoneNode({ terms: [1], term: 1 })
    const data = encodeConfiguration(['a', 'b', 'd'].map((id) => ({ id, address: id })))
    const entry = { index: 2, term: 1, kind: 'configuration', data } as const
    lone.append('b', 1, { prevLogIndex: 1, prevLogTerm: 1, entries: [entry] })
    expect(lone.node.members.map((member) => member.id)).toEqual(['a', 'b', 'd'])
    lone.append('b', 2, { prevLogIndex: 1, prevLogTerm: 1, entries: entriesOf([2], 2) })
    expect(lone.node.members.map((member) => member.id)).toEqual(['a', 'b', 'c'])
  })
})

function snapshotAt(index: number, term: number) {
  const members = ['a', 'b', 'c'].map((id) => ({ id, address: id }))
  return { index, term, members, bytes: 1, sha256: 'x' }
}
