import { afterEach, describe, expect, it } from 'vitest'
import { createRaft } from '../driver/raft-driver.ts'
import { readWhole } from '../driver/startup.ts'
import { systemClock } from '../driver/system-clock.ts'
import type { StateMachine } from '../ports/state-machine.ts'
import { ChainMachine } from '../testing/chain-machine.ts'
import { MemoryCluster, memoryStores, textCommand, until } from '../testing/memory-cluster.ts'
import { seededRandom } from '../testing/random.ts'
import { SessionClient } from './session-client.ts'
import { encodeSessionCommand } from './session-command.ts'
import {
  SessionMachine,
  type SessionMachineOptions,
  type SessionResult,
} from './session-machine.ts'

class Subject {
  readonly inner = new ChainMachine()
  readonly machine: SessionMachine
  #index = 0

  constructor(options: SessionMachineOptions = {}) {
    this.machine = new SessionMachine(this.inner, options)
  }

  apply(bytes: Uint8Array): SessionResult {
    this.#index += 1
    return this.machine.apply([{ index: this.#index, term: 1, command: bytes }])[0]!
  }

  open(): SessionClient {
    const opened = this.apply(SessionClient.open())
    if (opened.kind !== 'opened') throw new Error(opened.kind)
    return new SessionClient(opened.session)
  }
}

const applied = (result: unknown, isRepeated = false) => ({ kind: 'applied', result, isRepeated })

describe('SessionMachine', () => {
  it('carries a repeated command out once, and gives the same result', () => {
    const subject = new Subject()
    const client = subject.open()
    const first = client.next(textCommand('x'))
    const second = client.next(textCommand('x'))
    expect(subject.apply(first.bytes)).toEqual(applied(1))
    expect(subject.apply(second.bytes)).toEqual(applied(2))
    expect(subject.apply(first.bytes)).toEqual(applied(1, true))
    expect(subject.apply(second.bytes)).toEqual(applied(2, true))
    expect(subject.inner.count).toBe(2)
  })

  it('carries out what comes in another order', () => {
    const subject = new Subject()
    const client = subject.open()
    const [a, b] = [client.next(textCommand('a')), client.next(textCommand('b'))]
    expect(subject.apply(b.bytes)).toEqual(applied(1))
    expect(subject.apply(a.bytes)).toEqual(applied(2))
    expect(subject.apply(b.bytes)).toEqual(applied(1, true))
  })

  it('keeps the sessions of clients apart', () => {
    const subject = new Subject()
    const [one, other] = [subject.open(), subject.open()]
    expect(subject.apply(one.next(textCommand('x')).bytes)).toEqual(applied(1))
    expect(subject.apply(other.next(textCommand('x')).bytes)).toEqual(applied(2))
  })

  it('forgets what was answered, and never carries it out again', () => {
    const subject = new Subject()
    const client = subject.open()
    const first = client.next(textCommand('1'))
    subject.apply(first.bytes)
    first.answered()
    subject.apply(client.next(textCommand('2')).bytes)
    expect(subject.apply(first.bytes)).toEqual({ kind: 'result-forgotten' })
    expect(subject.inner.count).toBe(2)
  })

  it('keeps a bounded number of results, and says so of the others', () => {
    const subject = new Subject({ limits: { resultsPerSessionMax: 3 } })
    const client = subject.open()
    const commands = [1, 2, 3, 4, 5].map((at) => client.next(textCommand(`${at}`)))
    for (const { bytes } of commands) subject.apply(bytes)
    const again = commands.map(({ bytes }) => subject.apply(bytes))
    expect(again).toEqual([
      { kind: 'result-forgotten' },
      { kind: 'result-forgotten' },
      applied(3, true),
      applied(4, true),
      applied(5, true),
    ])
    expect(subject.inner.count).toBe(5)
  })

  it('keeps a bounded number of sessions: the one used least lately expires', () => {
    const subject = new Subject({ limits: { sessionsMax: 2 } })
    const [old, used] = [subject.open(), subject.open()]
    const command = old.next(textCommand('x'))
    subject.apply(command.bytes)
    subject.apply(used.next(textCommand('y')).bytes)
    subject.open()
    expect(subject.apply(command.bytes)).toEqual({ kind: 'session-expired' })
    expect(subject.apply(used.next(textCommand('z')).bytes)).toEqual(applied(3))
    expect(subject.inner.count).toBe(3)
  })

  it('closes a session', () => {
    const subject = new Subject()
    const client = subject.open()
    expect(subject.apply(client.close())).toEqual({ kind: 'closed' })
    expect(subject.apply(client.close())).toEqual({ kind: 'session-expired' })
    expect(subject.apply(client.next(textCommand('x')).bytes)).toEqual({ kind: 'session-expired' })
  })

  it('keeps sessions and results in its snapshot, and the same after it', async () => {
    const subject = new Subject()
    const client = subject.open()
    const first = client.next(textCommand('x'))
    subject.apply(first.bytes)
    const snapshot = subject.machine.snapshot()
    // Later changes do not show in it.
    const second = client.next(textCommand('y'))
    subject.apply(second.bytes)
    const restored = new Subject()
    restored.machine.restore(await readWhole(snapshot))
    expect(restored.inner.count).toBe(1)
    expect(restored.apply(first.bytes)).toEqual(applied(1, true))
    expect(restored.apply(second.bytes)).toEqual(applied(2))
    expect(restored.machine.hash?.()).toBe(subject.machine.hash?.())
  })

  it('evicts the same on a member that began from a snapshot', async () => {
    const random = seededRandom(5)
    const limits = { sessionsMax: 4, resultsPerSessionMax: 2 }
    const subject = new Subject({ limits })
    const other = new Subject({ limits })
    const sessions = Array.from({ length: 8 }, () => subject.open())
    other.machine.restore(await readWhole(subject.machine.snapshot()))
    const sent: Uint8Array[] = []
    for (let at = 0; at < 300; at += 1) {
      const client = sessions[Math.floor(random() * sessions.length)]!
      const isRetry = random() < 0.3 && sent.length > 0
      const bytes = isRetry
        ? sent[Math.floor(random() * sent.length)]!
        : client.next(textCommand(`${at}`)).bytes
      sent.push(bytes)
      expect(other.apply(bytes)).toEqual(subject.apply(bytes))
    }
    expect(other.inner.digest).toBe(subject.inner.digest)
    expect(await readWhole(other.machine.snapshot())).toEqual(
      await readWhole(subject.machine.snapshot()),
    )
  })

  it('does nothing for bytes that belong to no session: they must not end every member', () => {
    const subject = new Subject()
    const unknown = encodeSessionCommand({ kind: 'open' })
    unknown[1] = 77
    for (const bytes of [textCommand('raw'), new Uint8Array(0), unknown]) {
      expect(subject.apply(bytes)).toEqual({ kind: 'not-a-session-command' })
    }
    expect(subject.inner.count).toBe(0)
  })

  it('has a hash only if the inner machine has one', () => {
    const inner: StateMachine = { apply: () => [], snapshot: () => new Uint8Array(), restore() {} }
    expect(new SessionMachine(inner).hash).toBeUndefined()
  })
})

describe('SessionMachine in a cluster', () => {
  const cluster = new MemoryCluster()
  const stops: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const stop of stops.splice(0)) await stop()
  })

  it('answers a retry at another leader, after the first outcome was unknown', async () => {
    const ids = ['a', 'b', 'c']
    const members = ids.map((id) => {
      const inner = new ChainMachine()
      const raft = createRaft({
        clusterId: 'test',
        nodeId: id,
        incarnation: id,
        members: ids.map((member) => ({ id: member, address: member })),
        stateMachine: new SessionMachine(inner),
        transport: cluster.network.transport(id),
        clock: systemClock,
        random: Math.random,
        timings: { electionMinMs: 300, electionMaxMs: 600, heartbeatMs: 50 },
        onFatal: () => undefined,
        ...memoryStores(),
      })
      stops.push(() => raft.stop())
      return { id, raft, inner }
    })
    await Promise.all(members.map(({ raft }) => raft.start()))
    const leading = () => members.find(({ raft }) => raft.status().role === 'leader')
    await until(() => leading() !== undefined, 'a leader')
    const first = leading()!
    const opened = (await first.raft.propose(SessionClient.open())).result as SessionResult
    const client = new SessionClient(opened.kind === 'opened' ? opened.session : 0)
    const command = client.next(textCommand('x'))
    expect((await first.raft.propose(command.bytes)).result).toEqual(applied(1))
    // The client did not hear that; meanwhile another leads.
    await first.raft.transferLeadership(undefined, 5_000)
    await until(() => leading() !== undefined && leading() !== first, 'another leader')
    expect((await leading()!.raft.propose(command.bytes)).result).toEqual(applied(1, true))
    await until(() => members.every(({ inner }) => inner.count === 1), 'one command everywhere')
  })
})
