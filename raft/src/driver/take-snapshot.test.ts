import { afterEach, describe, expect, it } from 'vitest'
import {
  createRaft,
  MemoryLogStore,
  MemoryNetwork,
  MemorySnapshotStore,
  type Raft,
  systemClock,
} from '../index.ts'
import { ChainMachine } from '../testing/chain-machine.ts'

const cleanups: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function lone() {
  const snapshotStore = new MemorySnapshotStore()
  const raft: Raft = createRaft({
    clusterId: 'c',
    nodeId: 'a',
    incarnation: 'a/1',
    members: [{ id: 'a', address: 'a' }],
    stateMachine: new ChainMachine(),
    logStore: new MemoryLogStore(),
    snapshotStore,
    transport: new MemoryNetwork().transport('a'),
    clock: systemClock,
    random: Math.random,
    onFatal: (error) => {
      throw error
    },
  })
  await raft.start()
  cleanups.push(() => raft.stop())
  await expect.poll(() => raft.status().role).toBe('leader')
  return { raft, snapshotStore }
}

describe('takeSnapshot', () => {
  it('holds everything that was applied when it was called, and is taken once for it', async () => {
    const { raft, snapshotStore } = await lone()
    const { index } = await raft.propose(Buffer.from('one'))
    const first = await raft.takeSnapshot()
    expect(first.index).toBeGreaterThanOrEqual(index)
    expect((await snapshotStore.list())[0]).toMatchObject(first)
    expect(await raft.takeSnapshot()).toEqual(first)
    const second = await raft.propose(Buffer.from('two'))
    const [one, other] = await Promise.all([raft.takeSnapshot(), raft.takeSnapshot()])
    expect(one.index).toBeGreaterThanOrEqual(second.index)
    expect(other).toEqual(one)
    expect(raft.status()).toMatchObject({ snapshotIndex: one.index })
  })

  it('is refused by a member that does not run', async () => {
    const { raft } = await lone()
    await raft.stop()
    await expect(raft.takeSnapshot()).rejects.toThrow()
  })
})
