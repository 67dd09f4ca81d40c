import { describe, expect, it } from 'vitest'
import type { NodeEntry } from '../metadata/state.ts'
import { Liveness } from './liveness.ts'

const TTL_MS = 3_000
const TICK_MS = 50

function node(nodeId: string, nodeEpoch = 1): NodeEntry {
  const incarnation = `${nodeId}-${nodeEpoch}`
  const rest = { version: '', grpcAddress: '', endpoints: [], drain: undefined }
  return { nodeId, nodeEpoch, incarnation, ...rest }
}

function setUp(...nodes: NodeEntry[]) {
  const clock = { ms: 1_000_000 }
  const removed: string[] = []
  const members = new Map(nodes.map((entry) => [entry.nodeId, entry]))
  const failures = { left: 0 }
  const liveness = new Liveness({
    ttlMs: TTL_MS,
    tickMs: TICK_MS,
    nowMs: () => clock.ms,
    nodes: () => members.values(),
    remove: async ({ nodeId }) => {
      removed.push(nodeId)
      if (failures.left > 0) {
        failures.left -= 1
        throw new Error('not committed')
      }
      members.delete(nodeId)
    },
  })
  /** Ticks as a timer would, with beats of some nodes in between. */
  const pass = async (ms: number, beating: readonly NodeEntry[] = []): Promise<void> => {
    for (let passed = 0; passed < ms; passed += TICK_MS) {
      clock.ms += TICK_MS
      for (const { nodeId, nodeEpoch } of beating) liveness.contact(nodeId, nodeEpoch)
      liveness.tick()
      await Promise.resolve()
    }
  }
  return { clock, removed, members, failures, liveness, pass }
}

describe('Liveness', () => {
  it('gives every node a full time-out after an election', async () => {
    const { removed, pass } = setUp(node('a'), node('b'))
    await pass(TTL_MS + TICK_MS)
    expect(removed).toEqual([])
    await pass(TICK_MS)
    expect(removed).toEqual(['a', 'b'])
  })

  it('removes only who is silent', async () => {
    const a = node('a')
    const { removed, pass } = setUp(a, node('b'))
    await pass(10 * TTL_MS, [a])
    expect(removed).toEqual(['b'])
  })

  it('does not count a contact of another registration', async () => {
    const { removed, pass } = setUp(node('a', 2))
    await pass(TTL_MS + 2 * TICK_MS, [node('a', 1)])
    expect(removed).toEqual(['a'])
  })

  it('gives a node that registers later a full time-out too', async () => {
    const a = node('a')
    const { members, removed, pass } = setUp(a)
    await pass(10 * TTL_MS, [a])
    members.set('b', node('b'))
    await pass(TTL_MS + TICK_MS, [a])
    expect(removed).toEqual([])
    await pass(TICK_MS, [a])
    expect(removed).toEqual(['b'])
  })

  it('removes nobody for a pause of its own process', async () => {
    const a = node('a')
    const { clock, removed, liveness, pass } = setUp(a, node('b'))
    await pass(1_000, [a])
    clock.ms += 60_000
    liveness.tick()
    await pass(1_000)
    expect(removed).toEqual([])
  })

  it('asks once while a removal is on its way, and again when it failed', async () => {
    const { removed, failures, pass } = setUp(node('a'))
    failures.left = 1
    await pass(TTL_MS + 2 * TICK_MS)
    expect(removed).toEqual(['a'])
    await pass(5 * TICK_MS)
    expect(removed).toEqual(['a', 'a'])
  })
})
