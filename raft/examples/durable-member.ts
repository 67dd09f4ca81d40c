/**
 * One member with its log and its snapshots in files. Run it twice: the second run goes on
 * where the first ended. A cluster of one takes the same path to the disk as one of three.
 *
 *   node --conditions=source --import tsx raft/examples/durable-member.ts FOLDER
 */
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import {
  createRaft,
  FileLogStore,
  FileSnapshotStore,
  LogDamagedError,
  MemoryNetwork,
  renderPrometheus,
  SessionClient,
  SessionMachine,
  type SessionResult,
  systemClock,
} from 'raft-ts'
import { encodeCommand, KeyValueMachine } from './key-value-machine.ts'

export async function run(directory: string, print: (line: string) => void): Promise<void> {
  const machine = new KeyValueMachine()
  const raft = createRaft({
    clusterId: 'example',
    nodeId: 'a',
    incarnation: randomUUID(),
    members: [{ id: 'a', address: 'a' }],
    // A command that is proposed twice is carried out once.
    stateMachine: new SessionMachine(machine),
    transport: new MemoryNetwork().transport('a'),
    logStore: new FileLogStore({ directory: join(directory, 'log') }),
    snapshotStore: new FileSnapshotStore({ directory: join(directory, 'snapshots') }),
    clock: systemClock,
    random: Math.random,
    onFatal: (error) => {
      // A failed write or sync ends up here too: exit, and start again.
      throw error
    },
  })
  const stopObserving = raft.observe((event) => {
    if (event.kind === 'role') print(`role: ${event.role} in term ${event.term}`)
  })
  try {
    await raft.start()
  } catch (error) {
    if (error instanceof LogDamagedError) print('the log cannot be read: replace this member')
    throw error
  }
  try {
    while (raft.status().role !== 'leader') await sleep(20)
    await raft.readIndex()
    print(`runs so far: ${machine.get('runs') ?? 0}`)

    const opened = (await raft.propose(SessionClient.open())).result as SessionResult
    if (opened.kind !== 'opened') throw new Error(`the session was not opened: ${opened.kind}`)
    const client = new SessionClient(opened.session)
    const runs = `${Number(machine.get('runs') ?? 0) + 1}`
    const command = client.next(encodeCommand({ kind: 'put', key: 'runs', value: runs }))
    await raft.propose(command.bytes)
    // As after a time-out, when it is not known whether it was done.
    const { result } = await raft.propose(command.bytes)
    command.answered()
    print(`repeated: ${JSON.stringify(result)}`)
    const text = renderPrometheus(raft.metrics())
    print(text.split('\n').find((line) => line.startsWith('raft_proposals_total')) ?? '')
  } finally {
    stopObserving()
    await raft.stop()
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  await run(process.argv[2] ?? 'example-data', (line) => console.log(line))
}
