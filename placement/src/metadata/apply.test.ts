import { describe, expect, it } from 'vitest'
import { type ApplyResult, applyCommand } from './apply.ts'
import { type Command, decodeCommand, encodeCommand, type GrantShards } from './commands.ts'
import { EVENTS_MAX } from './events.ts'
import { emptyState, type MetadataState } from './state.ts'

const timeMs = 1_700_000_000_000

const bootstrap: Command = { kind: 'bootstrap', clusterId: 'c', shardCount: 4, timeMs }

function register(nodeId: string, incarnation = `${nodeId}-1`): Command {
  const node = { nodeId, incarnation, version: '0', grpcAddress: 'localhost:1', endpoints: [] }
  return { kind: 'register-node', node, timeMs }
}

function remove(nodeId: string, nodeEpoch: number): Command {
  return { kind: 'remove-node', nodeId, nodeEpoch, cause: 'time-out', reason: 'silent', timeMs }
}

function grant(shard: number, to: { nodeId: string; nodeEpoch: number }, prevEpoch = 0): Command {
  const grants = [{ shard, ...to, prevEpoch, reason: 'first grant' }]
  return { kind: 'grant-shards', grants, timeMs }
}

function open(shard: number, epoch: number, by: { nodeId: string; nodeEpoch: number }): Command {
  const shards = [{ shard, epoch, storageIncarnation: 's', commitNumber: 7 }]
  return { kind: 'open-shards', ...by, shards, timeMs }
}

function release(shard: number, epoch: number, by: { nodeId: string; nodeEpoch: number }): Command {
  return { kind: 'release-shards', ...by, shards: [{ shard, epoch, commitNumber: 9 }], timeMs }
}

/** Applies commands at indexes 1, 2, ...; returns the state and the last result. */
function run(...commands: Command[]): { state: MetadataState; result: ApplyResult | undefined } {
  const state = emptyState()
  let result: ApplyResult | undefined
  for (const [at, command] of commands.entries()) {
    const { result: latest } = applyCommand(state, decodeCommand(encodeCommand(command)), at + 1)
    result = latest
  }
  return { state, result }
}

const kinds = (state: MetadataState): string[] => state.events.after(0).map(({ kind }) => kind)

/** Index 2 registers a, index 3 registers b. */
const a = { nodeId: 'a', nodeEpoch: 2 }
const b = { nodeId: 'b', nodeEpoch: 3 }
const two = [bootstrap, register('a'), register('b')]

describe('bootstrap', () => {
  it('makes shards that nobody owns', () => {
    const { state, result } = run(bootstrap)
    expect(result).toEqual({ kind: 'done' })
    expect(state.shards).toHaveLength(4)
    expect(state.shards[3]).toMatchObject({ shard: 3, epoch: 0, owner: undefined, opened: false })
  })

  it('changes nothing in a cluster that exists', () => {
    const { state, result } = run(bootstrap, { ...bootstrap, clusterId: 'other', shardCount: 9 })
    expect(result).toEqual({ kind: 'exists' })
    expect([state.clusterId, state.shards.length]).toEqual(['c', 4])
  })
})

describe('register-node', () => {
  it('gives the log index as the node epoch', () => {
    expect(run(bootstrap, register('a')).result).toEqual({ kind: 'registered', nodeEpoch: 2 })
  })

  it('is idempotent for the same incarnation', () => {
    const { result, state } = run(...two, register('a'))
    expect(result).toEqual({ kind: 'registered', nodeEpoch: 2 })
    expect(kinds(state).filter((kind) => kind === 'NodeRegistered')).toHaveLength(2)
  })

  it('refuses another incarnation while the node is a member', () => {
    const { result, state } = run(...two, register('a', 'a-2'))
    expect(result).toEqual({ kind: 'duplicate', nodeEpoch: 2, incarnation: 'a-1' })
    expect(state.nodes.get('a')?.incarnation).toBe('a-1')
  })

  it('takes another incarnation after the removal, at a new epoch', () => {
    const { result } = run(...two, remove('a', 2), register('a', 'a-2'))
    expect(result).toEqual({ kind: 'registered', nodeEpoch: 5 })
  })
})

describe('remove-node', () => {
  it('frees the shards of that epoch and keeps their epochs', () => {
    const { state } = run(...two, grant(0, a), open(0, 4, a), grant(1, b), remove('a', 2))
    expect(state.shards[0]).toMatchObject({ epoch: 4, owner: undefined, opened: false })
    expect(state.shards[1]?.owner).toEqual(b)
    expect([...state.nodes.keys()]).toEqual(['b'])
  })

  it.each([
    ['an older epoch', remove('a', 1)],
    ['a node that is no member', remove('x', 2)],
  ])('does nothing for %s', (_, command) => {
    const { state, result } = run(...two, command)
    expect(result).toEqual({ kind: 'unknown-node' })
    expect(state.nodes.size).toBe(2)
  })
})

describe('grant-shards', () => {
  it('gives the log index as the shard epoch', () => {
    const { state, result } = run(...two, grant(0, a))
    expect(result).toEqual({ kind: 'shards', refused: [] })
    expect(state.shards[0]).toMatchObject({ epoch: 4, owner: a, opened: false })
  })

  it('carries many shards and refuses only those whose preconditions do not hold', () => {
    const grants: GrantShards['grants'] = [
      { shard: 0, ...a, prevEpoch: 0, reason: '' },
      { shard: 1, ...a, prevEpoch: 3, reason: '' },
      { shard: 2, ...b, prevEpoch: 0, reason: '' },
      { shard: 2, ...a, prevEpoch: 0, reason: '' },
      { shard: 9, ...a, prevEpoch: 0, reason: '' },
    ]
    const { state, result } = run(...two, { kind: 'grant-shards', grants, timeMs })
    expect(result).toEqual({ kind: 'shards', refused: [1, 2, 9] })
    expect(state.shards.map(({ owner }) => owner?.nodeId)).toEqual(['a', undefined, 'b', undefined])
  })

  it.each([
    ['a removed node', [remove('a', 2), grant(0, a)]],
    ['an epoch that a node had before', [remove('a', 2), register('a', 'a-2'), grant(0, a)]],
    [
      'a draining node',
      [{ kind: 'set-draining', ...a, deadlineMs: 1, reason: '', timeMs }, grant(0, a)],
    ],
    ['a shard that was granted since', [grant(0, b), grant(0, a, 0)]],
  ] as [string, Command[]][])('refuses %s', (_, commands) => {
    expect(run(...two, ...commands).result).toEqual({ kind: 'shards', refused: [0] })
  })

  it('takes a shard from a member that still owns it, with a higher epoch', () => {
    const { state } = run(...two, grant(0, a), open(0, 4, a), grant(0, b, 4))
    expect(state.shards[0]).toMatchObject({ epoch: 6, owner: b, opened: false })
  })
})

describe('open-shards', () => {
  it('opens what its owner has at that epoch', () => {
    const { state, result } = run(...two, grant(0, a), open(0, 4, a))
    expect(result).toEqual({ kind: 'shards', refused: [] })
    const stored = { incarnation: 's', commitNumber: 7 }
    expect(state.shards[0]).toMatchObject({ opened: true, stored })
  })

  it.each([
    ['another epoch', open(0, 3, a)],
    ['another node', open(0, 4, b)],
    ['another registration of the node', open(0, 4, { nodeId: 'a', nodeEpoch: 1 })],
  ])('refuses %s', (_, command) => {
    const { state, result } = run(...two, grant(0, a), command)
    expect(result).toEqual({ kind: 'shards', refused: [0] })
    expect(state.shards[0]?.opened).toBe(false)
  })

  it('accepts a report that comes twice without a second event', () => {
    const { state, result } = run(...two, grant(0, a), open(0, 4, a), open(0, 4, a))
    expect(result).toEqual({ kind: 'shards', refused: [] })
    expect(kinds(state).filter((kind) => kind === 'ShardsOpened')).toHaveLength(1)
  })

  it('records a lower commit number or another storage as data loss', () => {
    const again = (report: { storageIncarnation: string; commitNumber: number }): Command => {
      return { kind: 'open-shards', ...b, shards: [{ shard: 0, epoch: 6, ...report }], timeMs }
    }
    const moved = [...two, grant(0, a), open(0, 4, a), grant(0, b, 4)]
    const lower = run(...moved, again({ storageIncarnation: 's', commitNumber: 6 }))
    const other = run(...moved, again({ storageIncarnation: 't', commitNumber: 7 }))
    const same = run(...moved, again({ storageIncarnation: 's', commitNumber: 7 }))
    expect(kinds(lower.state)).toContain('ShardDataLoss')
    expect(kinds(other.state)).toContain('ShardDataLoss')
    expect(kinds(same.state)).not.toContain('ShardDataLoss')
  })
})

describe('release-shards', () => {
  it('frees what its owner has at that epoch', () => {
    const { state } = run(...two, grant(0, a), open(0, 4, a), release(0, 4, a))
    const stored = { incarnation: 's', commitNumber: 9 }
    expect(state.shards[0]).toMatchObject({ epoch: 4, owner: undefined, opened: false, stored })
  })

  it.each([
    ['another epoch', release(0, 3, a)],
    ['another node', release(0, 4, b)],
  ])('ignores %s', (_, command) => {
    const { state, result } = run(...two, grant(0, a), command)
    expect(result).toEqual({ kind: 'shards', refused: [0] })
    expect(state.shards[0]?.owner).toEqual(a)
  })

  it('records when a draining node has given up its last shard', () => {
    const draining: Command = {
      kind: 'set-draining',
      ...a,
      deadlineMs: 1,
      reason: 'upgrade',
      timeMs,
    }
    const before = [...two, grant(0, a), open(0, 4, a), draining]
    expect(kinds(run(...before).state)).not.toContain('NodeDrained')
    expect(kinds(run(...before, release(0, 4, a)).state).slice(-2)).toEqual([
      'ShardsReleased',
      'NodeDrained',
    ])
  })
})

describe('set-draining', () => {
  it('marks the node of that epoch once', () => {
    const draining: Command = {
      kind: 'set-draining',
      ...a,
      deadlineMs: 1,
      reason: 'upgrade',
      timeMs,
    }
    const { state } = run(...two, draining, draining)
    expect(state.nodes.get('a')?.drain).toEqual({ deadlineMs: 1 })
    expect(kinds(state).filter((kind) => kind === 'NodeDraining')).toHaveLength(1)
  })

  it('does nothing for another epoch', () => {
    const draining: Command = {
      kind: 'set-draining',
      nodeId: 'a',
      nodeEpoch: 9,
      deadlineMs: 1,
      reason: '',
      timeMs,
    }
    expect(run(...two, draining).result).toEqual({ kind: 'unknown-node' })
  })
})

describe('record-event', () => {
  const event = { kind: 'LeaderElected', subject: 'p', reason: 'term 1', shards: [1] }
  const command: Command = { kind: 'record-event', event, timeMs }

  it('keeps the index and the time of its command', () => {
    const { state } = run(bootstrap, command)
    expect(state.events.after(1)).toEqual([{ sequence: 2, index: 2, timeMs, ...event }])
  })

  it('keeps a bounded number, found by sequence', () => {
    const state = emptyState()
    for (let index = 1; index <= EVENTS_MAX + 700; index += 1) applyCommand(state, command, index)
    const kept = state.events.after(0)
    expect(kept).toHaveLength(EVENTS_MAX)
    expect(kept[0]?.sequence).toBe(701)
    expect(state.events.after(EVENTS_MAX + 690, 3).map(({ sequence }) => sequence)).toEqual([
      EVENTS_MAX + 691,
      EVENTS_MAX + 692,
      EVENTS_MAX + 693,
    ])
  })
})

describe('decodeCommand', () => {
  it('refuses another version and an unknown kind', () => {
    const bytes = encodeCommand(bootstrap)
    bytes[0] = 9
    expect(() => decodeCommand(bytes)).toThrow('version 9')
    const unknown = encodeCommand({ ...bootstrap, kind: 'other' } as unknown as Command)
    expect(() => decodeCommand(unknown)).toThrow('unknown kind')
  })
})
