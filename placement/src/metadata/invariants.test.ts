import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { applyCommand } from './apply.ts'
import type { Command } from './commands.ts'
import { decodeSnapshot, snapshotChunks } from './snapshot.ts'
import { emptyState, type MetadataState } from './state.ts'
import { hashOfState } from './state-hash.ts'

const SHARDS = 4
const timeMs = 1

const nodeId = fc.constantFrom('a', 'b', 'c')
/** Epochs are log indexes: small numbers hit existing ones often. */
const epoch = fc.integer({ min: 0, max: 60 })
const shard = fc.integer({ min: 0, max: SHARDS })
const registration = fc.record({
  nodeId,
  incarnation: fc.constantFrom('1', '2'),
  version: fc.constant('0'),
  grpcAddress: fc.constant('localhost:1'),
  endpoints: fc.constant([]),
})
const reason = fc.constant('')
const commitNumber = fc.integer({ min: 0, max: 9 })

const resourceChange = fc.record({
  kind: fc.constantFrom('topic' as const, 'setting' as const),
  tenant: fc.constantFrom('', 't'),
  name: fc.constantFrom('x', 'y'),
  value: fc.constantFrom('1', '{"a":2}', null),
  expectedVersion: fc.constantFrom(null, 0, 3),
})

/** Random commands; `now` marks epochs that are replaced by the current ones, so that many succeed. */
const command = fc.oneof(
  fc.record({ kind: fc.constant('register-node' as const), node: registration }),
  fc.record({
    kind: fc.constant('remove-node' as const),
    nodeId,
    nodeEpoch: epoch,
    cause: fc.constant('time-out' as const),
    reason,
  }),
  fc.record({
    kind: fc.constant('grant-shards' as const),
    grants: fc.array(fc.record({ shard, nodeId, nodeEpoch: epoch, prevEpoch: epoch, reason }), {
      maxLength: 4,
    }),
  }),
  fc.record({
    kind: fc.constant('open-shards' as const),
    nodeId,
    nodeEpoch: epoch,
    shards: fc.array(
      fc.record({ shard, epoch, storageIncarnation: fc.constantFrom('s', 't'), commitNumber }),
      { maxLength: 3 },
    ),
  }),
  fc.record({
    kind: fc.constant('release-shards' as const),
    nodeId,
    nodeEpoch: epoch,
    shards: fc.array(fc.record({ shard, epoch, commitNumber }), { maxLength: 3 }),
  }),
  fc.record({
    kind: fc.constant('set-draining' as const),
    nodeId,
    nodeEpoch: epoch,
    deadlineMs: fc.constantFrom(1, null),
    reason,
  }),
  fc.record({
    kind: fc.constant('change-resources' as const),
    changes: fc.array(resourceChange, { minLength: 1, maxLength: 3 }),
    by: fc.constantFrom('', 'ann'),
  }),
  fc.record({
    kind: fc.constant('record-member' as const),
    memberId: fc.constantFrom('placement-1', 'placement-2'),
    folderId: fc.constantFrom('one', 'two'),
  }),
  fc.record({
    kind: fc.constant('begin-generation' as const),
    previous: fc.nat({ max: 2 }),
    reason,
  }),
)

const step = fc.record({ command, now: fc.boolean() })

/** The same command with the epochs that hold now. */
function current(state: MetadataState, given: Command): Command {
  const nodeEpochOf = (id: string): number => state.nodes.get(id)?.nodeEpoch ?? 0
  const shardEpochOf = (number: number): number => state.shards[number]?.epoch ?? 0
  if (given.kind === 'register-node' || given.kind === 'bootstrap') return given
  if (given.kind === 'record-event' || given.kind === 'record-member') return given
  if (given.kind === 'begin-generation') return { ...given, previous: state.generation }
  if (given.kind === 'change-resources') {
    const changes = given.changes.map((change) => ({
      ...change,
      expectedVersion: state.resources.get(change)?.version ?? 0,
    }))
    return { ...given, changes }
  }
  if (given.kind === 'grant-shards') {
    const grants = given.grants.map((grant) => ({
      ...grant,
      nodeEpoch: nodeEpochOf(grant.nodeId),
      prevEpoch: shardEpochOf(grant.shard),
    }))
    return { ...given, grants }
  }
  const nodeEpoch = nodeEpochOf(given.nodeId)
  if (given.kind === 'open-shards') {
    const shards = given.shards.map((item) => ({ ...item, epoch: shardEpochOf(item.shard) }))
    return { ...given, nodeEpoch, shards }
  }
  if (given.kind === 'release-shards') {
    const shards = given.shards.map((item) => ({ ...item, epoch: shardEpochOf(item.shard) }))
    return { ...given, nodeEpoch, shards }
  }
  return { ...given, nodeEpoch }
}

function encodeSnapshot(state: MetadataState): Uint8Array {
  return Buffer.concat([...snapshotChunks(state)])
}

function checkInvariants(before: readonly { epoch: number }[], state: MetadataState): void {
  expect(state.shards).toHaveLength(SHARDS)
  for (const entry of state.shards) {
    const previous = before[entry.shard]?.epoch ?? 0
    expect(entry.epoch).toBeGreaterThanOrEqual(previous)
    expect(Number.isSafeInteger(entry.epoch)).toBe(true)
    if (entry.owner === undefined) expect(entry.opened).toBe(false)
    // An owner is a member, at the epoch at which it owns.
    else expect(state.nodes.get(entry.owner.nodeId)?.nodeEpoch).toBe(entry.owner.nodeEpoch)
  }
}

/** Opened shards: nobody else can be let in without a new epoch. */
function holders(state: MetadataState): Map<string, string> {
  return new Map(
    state.shards.flatMap(({ shard: number, epoch: held, owner }) =>
      owner === undefined ? [] : [[`${number}@${held}`, `${owner.nodeId}@${owner.nodeEpoch}`]],
    ),
  )
}

it('applyCommand keeps epochs growing and one owner for each epoch', () => {
  void fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const state = emptyState()
      applyCommand(state, { kind: 'bootstrap', clusterId: 'c', shardCount: SHARDS, timeMs }, 1)
      const everHeld = new Map<string, string>()
      let index = 1
      for (const { command: random, now } of steps) {
        index += 1
        const before = state.shards.map(({ epoch: at }) => ({ epoch: at }))
        const given: Command = { ...random, timeMs }
        applyCommand(state, now ? current(state, given) : given, index)
        checkInvariants(before, state)
        for (const [lease, holder] of holders(state)) {
          expect(everHeld.get(lease) ?? holder).toBe(holder)
          everHeld.set(lease, holder)
        }
      }
    }),
    { numRuns: 300 },
  )
})

it('decodeSnapshot gives a state that goes on like the original', () => {
  void fc.assert(
    fc.property(
      fc.array(step, { maxLength: 40 }),
      fc.array(step, { maxLength: 20 }),
      (head, tail) => {
        const original = emptyState()
        applyCommand(original, { kind: 'bootstrap', clusterId: 'c', shardCount: SHARDS, timeMs }, 1)
        let index = 1
        const apply = (state: MetadataState, { command: random, now }: (typeof head)[number]) => {
          const given: Command = { ...random, timeMs }
          return applyCommand(state, now ? current(state, given) : given, index)
        }
        for (const one of head) {
          index += 1
          apply(original, one)
        }
        const restored = decodeSnapshot(encodeSnapshot(original))
        expect(restored).toEqual(original)
        expect(hashOfState(restored)).toBe(hashOfState(original))
        for (const one of tail) {
          index += 1
          expect(apply(restored, one)).toEqual(apply(original, one))
        }
        expect(encodeSnapshot(restored)).toEqual(encodeSnapshot(original))
        expect(hashOfState(restored)).toBe(hashOfState(original))
      },
    ),
    { numRuns: 200 },
  )
})

it('decodeSnapshot refuses another version', () => {
  const bytes = encodeSnapshot(emptyState())
  bytes[0] = 9
  expect(() => decodeSnapshot(bytes)).toThrow('version 9')
})
