/**
 * A replicated key-value store in one process: three members in memory, one of which is stopped.
 *
 *   node --conditions=source --import tsx raft/examples/three-members.ts
 */
import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import {
  createRaft,
  MemoryLogStore,
  MemoryNetwork,
  MemorySnapshotStore,
  type Raft,
  systemClock,
} from 'raft-ts'
import { encodeCommand, KeyValueMachine } from './key-value-machine.ts'

interface Member {
  readonly id: string
  readonly raft: Raft
  readonly machine: KeyValueMachine
}

const IDS = ['a', 'b', 'c']

export async function run(print: (line: string) => void): Promise<void> {
  const network = new MemoryNetwork()
  const members = IDS.map((id) => createMember(id, network))
  await Promise.all(members.map(({ raft }) => raft.start()))
  try {
    const leader = await leaderOf(members)
    print(`${leader.id} leads`)
    await leader.raft.propose(encodeCommand({ kind: 'put', key: 'greeting', value: 'hello' }))

    // Whoever leads next has everything that was committed.
    await leader.raft.stop()
    const rest = members.filter((member) => member !== leader)
    const next = await leaderOf(rest)
    print(`${leader.id} is gone, ${next.id} leads`)

    // After readIndex the state of this member holds all that was committed when it was called.
    await next.raft.readIndex()
    print(`greeting: ${next.machine.get('greeting')}`)
    const { result } = await next.raft.propose(
      encodeCommand({ kind: 'compare-and-set', key: 'greeting', expected: 'hello', value: 'bye' }),
    )
    print(`compared and set: ${JSON.stringify(result)}`)
  } finally {
    await Promise.all(members.map(({ raft }) => raft.stop()))
  }
}

function createMember(id: string, network: MemoryNetwork): Member {
  const machine = new KeyValueMachine()
  const raft = createRaft({
    clusterId: 'example',
    nodeId: id,
    incarnation: randomUUID(),
    members: IDS.map((member) => ({ id: member, address: member })),
    stateMachine: machine,
    transport: network.transport(id),
    logStore: new MemoryLogStore(),
    snapshotStore: new MemorySnapshotStore(),
    clock: systemClock,
    random: Math.random,
    onFatal: (error) => {
      throw error
    },
  })
  return { id, raft, machine }
}

async function leaderOf(members: readonly Member[]): Promise<Member> {
  for (;;) {
    const leader = members.find(({ raft }) => raft.status().role === 'leader')
    if (leader !== undefined) return leader
    await sleep(20)
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await run((line) => console.log(line))
}
