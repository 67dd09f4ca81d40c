/** Members of a cluster in this process, on a network in memory, for tests of the driver in real time. */
import { createRaft } from '../driver/raft-driver.ts'
import { systemClock } from '../driver/system-clock.ts'
import { MemoryLogStore } from '../memory/memory-log-store.ts'
import { MemoryNetwork } from '../memory/memory-network.ts'
import { MemorySnapshotStore } from '../memory/memory-snapshot-store.ts'
import type { StateMachine } from '../ports/state-machine.ts'
import type { Raft, RaftEvent, RaftOptions } from '../raft.ts'
import { ChainMachine } from './chain-machine.ts'

export interface ClusterMember<M extends StateMachine = ChainMachine> {
  readonly id: string
  readonly raft: Raft
  readonly machine: M
  readonly events: RaftEvent[]
  readonly fatal: Error[]
}

const TIMINGS = { electionMinMs: 300, electionMaxMs: 600, heartbeatMs: 50, tickMs: 20 }
const WAIT_MS = 10_000

export function memoryStores(): Pick<RaftOptions, 'logStore' | 'snapshotStore'> {
  return { logStore: new MemoryLogStore(), snapshotStore: new MemorySnapshotStore() }
}

export class MemoryCluster {
  readonly network = new MemoryNetwork()
  readonly members: ClusterMember[] = []
  #started = 0

  /** Without `ids` the member joins: it waits until a leader has added it. */
  async start(
    id: string,
    options: Partial<RaftOptions> & {
      ids?: readonly string[]
      machine?: ChainMachine
      observer?: (event: RaftEvent) => void
    } = {},
  ): Promise<ClusterMember> {
    const { ids = [id], machine = new ChainMachine(), observer, timings, ...rest } = options
    const events: RaftEvent[] = []
    const fatal: Error[] = []
    this.#started += 1
    const raft = createRaft({
      clusterId: 'test',
      nodeId: id,
      incarnation: `${id}-${this.#started}`,
      members: ids.map((member) => ({ id: member, address: `memory://${member}` })),
      join: options.ids === undefined,
      stateMachine: machine,
      transport: this.network.transport(id),
      clock: systemClock,
      random: Math.random,
      timings: { ...TIMINGS, ...timings },
      onFatal: (error) => fatal.push(error),
      ...memoryStores(),
      ...rest,
    })
    raft.observe((event) => events.push(event))
    if (observer !== undefined) raft.observe(observer)
    await raft.start()
    const member = { id, raft, machine, events, fatal }
    this.members.push(member)
    return member
  }

  startAll(
    ids: readonly string[],
    options: Parameters<MemoryCluster['start']>[1] = {},
  ): Promise<ClusterMember[]> {
    return Promise.all(ids.map((id) => this.start(id, { ...options, ids })))
  }

  get leader(): ClusterMember | undefined {
    return this.members.find(({ raft }) => raft.status().role === 'leader')
  }

  async waitForLeader(): Promise<ClusterMember> {
    await until(() => this.leader !== undefined, 'a leader')
    return this.leader as ClusterMember
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.splice(0).map(({ raft }) => raft.stop()))
  }
}

/** Polls; the bound is for a machine that is busy with other things. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const endMs = systemClock.nowMs() + WAIT_MS
  while (!condition()) {
    if (systemClock.nowMs() > endMs) throw new Error(`there was not ${what} within ${WAIT_MS} ms`)
    await new Promise((resolve) => setTimeout(resolve, 5))
  }
}

export function textCommand(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
