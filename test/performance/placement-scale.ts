// The Placement Center at the size that it is made for: three real processes, 50 simulated brokers in this
// one, 1,024 shards, 100,000 topics. Says how fast metadata is written and told, how long a change of
// leaders and a restart of all nodes hold everybody up, and how late the leader's event loop gets. Exits 1
// when a bar is missed. Everything shares the machine, so figures are of this machine on this day.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { credentials, Metadata } from '@grpc/grpc-js'
import { placement } from '@robust/proto'
import { pause, SimulatedBroker } from './simulated-broker.ts'

const BROKERS = 50
const SHARDS = 1_024
const TOPICS = 100_000
const BATCH = 500
const PUTS = 12_000
const PUTS_AT_ONCE = 128

const ROBUST = resolve(import.meta.dirname, '../../cli/bin/robust.js')
const LOOP_DELAY = resolve(import.meta.dirname, 'loop-delay.mjs')

interface Figure {
  readonly what: string
  readonly value: number
  readonly unit: string
  /** At most, or at least for rates. */
  readonly bar?: number
}

interface Member {
  readonly id: string
  readonly port: number
  process: ChildProcess | undefined
  /** Of each second since it was last asked. */
  loopDelays: number[]
}

class Center {
  readonly members: readonly Member[]
  readonly #directory = mkdtempSync(join(tmpdir(), 'placement-scale-'))

  private constructor(ports: readonly number[]) {
    this.members = ports.map((port, at) => ({
      id: `placement-${at + 1}`,
      port,
      process: undefined,
      loopDelays: [],
    }))
  }

  static async start(): Promise<Center> {
    const center = new Center(await freePorts(3))
    for (const member of center.members) center.startMember(member)
    await center.leader()
    return center
  }

  get addresses(): string[] {
    return this.members.map(({ port }) => `127.0.0.1:${port}`)
  }

  startMember(member: Member): void {
    const peers = this.members.map(({ id, port }) => `${id}=127.0.0.1:${port}`).join(',')
    const flags = {
      'node-id': member.id,
      listen: `127.0.0.1:${member.port}`,
      peers,
      data: join(this.#directory, member.id),
      shards: String(SHARDS),
      'log-level': 'error',
    }
    const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value])
    const child = spawn(
      process.execPath,
      ['--import', LOOP_DELAY, ROBUST, 'placement', 'start', ...args],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    )
    child.stderr.on('data', (chunk: Buffer) => {
      for (const [, ms] of chunk.toString().matchAll(/loop-delay ([\d.]+)/g)) {
        member.loopDelays.push(Number(ms))
      }
    })
    member.process = child
  }

  kill(member: Member): Promise<void> {
    const { process: child } = member
    if (child === undefined) return Promise.resolve()
    member.process = undefined
    return new Promise((done) => {
      child.once('exit', () => done())
      child.kill('SIGKILL')
    })
  }

  async stop(): Promise<void> {
    await Promise.all(this.members.map((member) => this.kill(member)))
    rmSync(this.#directory, { recursive: true, force: true })
  }

  /** The member that leads with a majority. */
  async leader(): Promise<Member> {
    for (;;) {
      const replies = await Promise.all(this.members.map((member) => statusOf(member)))
      const at = replies.findIndex(
        (reply) => reply?.role === 'leader' && reply.hasQuorum && reply.metadata?.shardCount,
      )
      const member = this.members[at]
      if (member !== undefined) return member
      await pause(50)
    }
  }
}

function statusOf({ port }: Member): Promise<placement.StatusReply | undefined> {
  const client = new placement.PlacementClient(`127.0.0.1:${port}`, credentials.createInsecure(), {
    'grpc.use_local_subchannel_pool': 1,
  })
  return new Promise((done) => {
    client.status({}, new Metadata(), { deadline: Date.now() + 1_000 }, (error, reply) => {
      client.close()
      done(error ? undefined : reply)
    })
  })
}

async function freePorts(count: number): Promise<number[]> {
  const probes = Array.from({ length: count }, () => createServer())
  const ports = await Promise.all(
    probes.map(
      (probe) =>
        new Promise<number>((done) => {
          probe.listen(0, '127.0.0.1', () => done((probe.address() as { port: number }).port))
        }),
    ),
  )
  await Promise.all(probes.map((probe) => new Promise((done) => probe.close(done))))
  return ports
}

async function until(condition: () => boolean, withinMs = 120_000): Promise<void> {
  const end = performance.now() + withinMs
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within ${withinMs} ms: ${condition}`)
    await pause(5)
  }
}

export async function placementScale(): Promise<number> {
  const figures: Figure[] = []
  const add = (what: string, value: number, more: { unit: string; bar?: number }): void => {
    figures.push({ what, value, ...more })
    say(`${what}: ${Math.round(value * 10) / 10} ${more.unit}`)
  }
  const center = await Center.start()
  const brokers = Array.from({ length: BROKERS }, (_, at) => {
    const { addresses } = center
    return new SimulatedBroker({ nodeId: `broker-${String(at + 1).padStart(2, '0')}`, addresses })
  })
  try {
    await measure({ center, brokers, add })
  } finally {
    for (const broker of brokers) broker.stop()
    await center.stop()
  }
  return report(figures)
}

interface Run {
  readonly center: Center
  readonly brokers: readonly SimulatedBroker[]
  readonly add: (what: string, value: number, more: { unit: string; bar?: number }) => void
}

async function measure(run: Run): Promise<void> {
  const { center, brokers, add } = run
  let at = performance.now()
  await Promise.all(brokers.map((broker) => broker.start()))
  await openShards(center)
  add(`${BROKERS} brokers registered, ${SHARDS} shards opened`, performance.now() - at, {
    unit: 'ms',
  })
  const leader = await center.leader()
  takeDelays(center)

  at = performance.now()
  await makeTopics(run)
  const seconds = (performance.now() - at) / 1_000
  add('topics made in batches and told to all', TOPICS / seconds, { unit: 'topics/s' })

  for (const broker of brokers) broker.takeLatencies()
  at = performance.now()
  await putSingly(run)
  const rate = PUTS / ((performance.now() - at) / 1_000)
  add(`single changes, ${PUTS_AT_ONCE} at once, a snapshot meanwhile`, rate, { unit: 'changes/s' })
  const latencies = brokers.flatMap((broker) => broker.takeLatencies()).sort((x, y) => x - y)
  add('heartbeats meanwhile, 99th percentile', quantile(latencies, 0.99), { unit: 'ms' })
  const delays = takeDelays(center)
  add('event loop of the leader, latest', Math.max(...(delays.get(leader.id) ?? [0])), {
    unit: 'ms',
  })

  await newcomer(run)
  await failover(run)
  await restart(run)
  add('watches that had to load everything again', reloads(brokers), { unit: '', bar: 0 })
}

async function openShards(center: Center): Promise<void> {
  for (;;) {
    const status = await statusOf(await center.leader())
    const shards = status?.metadata?.shards ?? []
    if (shards.length === SHARDS && shards.every(({ opened }) => opened)) return
    await pause(50)
  }
}

async function makeTopics({ brokers }: Run): Promise<void> {
  const [first] = brokers as [SimulatedBroker]
  const batches = Array.from({ length: TOPICS / BATCH }, (_, batch) =>
    Array.from({ length: BATCH }, (__, at) => ({
      key: { kind: 'topic', tenant: 'default', name: `plant/${batch}/sensor/${at}` },
      value: '{"partitions":3}',
      expectedVersion: 0,
    })),
  )
  for (const changes of batches) {
    await first.persist((client, done) =>
      client.changeResources({ changes, by: 'bench' }, new Metadata(), inTime(), done),
    )
  }
  await until(() => brokers.every(({ topics }) => topics === TOPICS))
}

async function putSingly({ brokers }: Run): Promise<void> {
  const [first] = brokers as [SimulatedBroker]
  let next = 0
  const worker = async (): Promise<void> => {
    for (let n = next++; n < PUTS; n = next++) {
      const name = `plant/${n % (TOPICS / BATCH)}/sensor/${n % BATCH}`
      const key = { kind: 'topic', tenant: 'default', name }
      const value = `{"partitions":${1 + (n % 9)}}`
      await first.persist((client, done) =>
        client.putResource(
          { key, value, expectedVersion: undefined, by: 'bench' },
          new Metadata(),
          inTime(),
          done,
        ),
      )
    }
  }
  await Promise.all(Array.from({ length: PUTS_AT_ONCE }, worker))
}

/** A broker that knows nothing loads everything. */
async function newcomer({ center, add }: Run): Promise<void> {
  const broker = new SimulatedBroker({ nodeId: 'newcomer', addresses: center.addresses })
  const at = performance.now()
  await broker.start()
  await until(() => broker.caughtUp.atMs > 0 && broker.topics === TOPICS)
  add('a new broker knows everything', performance.now() - at, { unit: 'ms', bar: 5_000 })
  broker.stop()
}

async function failover(run: Run): Promise<void> {
  const { center, add } = run
  const leader = await center.leader()
  const at = performance.now()
  await center.kill(leader)
  const { servedMs, resumedMs } = await served(run, at)
  add('leader killed: next leader answers every broker', servedMs, { unit: 'ms', bar: 5_000 })
  add('leader killed: from its first answer until every watch goes on', resumedMs, {
    unit: 'ms',
    bar: 1_000,
  })
  center.startMember(leader)
  await pause(3_000)
}

async function restart(run: Run): Promise<void> {
  const { center, add } = run
  await Promise.all(center.members.map((member) => center.kill(member)))
  const at = performance.now()
  for (const member of center.members) center.startMember(member)
  const { servedMs, resumedMs } = await served(run, at)
  add('all nodes killed and started: every broker is answered', servedMs, {
    unit: 'ms',
    bar: 10_000,
  })
  add('all nodes restarted: from the first answer until every watch goes on', resumedMs, {
    unit: 'ms',
    bar: 1_000,
  })
  const events = await eventsOf(center)
  add('brokers that were removed for it', events, { unit: '', bar: 0 })
}

/** Until every broker has an answer, and its watch, from a leader after the moment. */
async function served(
  { brokers }: Run,
  sinceMs: number,
): Promise<{ servedMs: number; resumedMs: number }> {
  const before = Math.max(...brokers.map(({ beaten }) => beaten.term))
  const isNew = ({ atMs, term }: { atMs: number; term: number }): boolean =>
    term > before && atMs > sinceMs
  await until(() => brokers.some(({ beaten, caughtUp }) => isNew(beaten) || isNew(caughtUp)))
  const firstMs = performance.now()
  let servedMs = 0
  let resumedMs = 0
  await until(() => {
    const nowMs = performance.now()
    if (resumedMs === 0 && brokers.every(({ caughtUp }) => isNew(caughtUp))) {
      resumedMs = nowMs - firstMs
    }
    if (servedMs === 0 && brokers.every(({ beaten }) => isNew(beaten))) servedMs = nowMs - sinceMs
    return resumedMs > 0 && servedMs > 0
  })
  return { servedMs, resumedMs }
}

function reloads(brokers: readonly SimulatedBroker[]): number {
  return brokers.reduce((sum, { snapshots }) => sum + snapshots - 1, 0)
}

async function eventsOf(center: Center): Promise<number> {
  const { port } = await center.leader()
  const client = new placement.PlacementClient(`127.0.0.1:${port}`, credentials.createInsecure())
  const reply = await new Promise<placement.EventsReply>((done, fail) => {
    client.events({ after: 0, limit: 0 }, new Metadata(), inTime(), (error, events) =>
      error ? fail(error) : done(events),
    )
  })
  client.close()
  const removed = reply.events.filter(({ kind }) => kind === 'NodeRemoved')
  return removed.filter(({ subject }) => subject !== 'newcomer').length
}

function takeDelays(center: Center): ReadonlyMap<string, number[]> {
  return new Map(center.members.map(({ id, loopDelays }) => [id, loopDelays.splice(0)]))
}

function quantile(sorted: readonly number[], q: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))] ?? 0
}

function inTime(): { deadline: number } {
  return { deadline: Date.now() + 10_000 }
}

function say(text: string): void {
  process.stderr.write(`${text}\n`)
}

function report(figures: readonly Figure[]): number {
  const width = Math.max(...figures.map(({ what }) => what.length))
  let missed = 0
  for (const { what, value, unit, bar } of figures) {
    const isMissed = bar !== undefined && value > bar
    if (isMissed) missed += 1
    const wanted = bar === undefined ? '' : `  (at most ${bar}${isMissed ? ', MISSED' : ''})`
    console.log(`${what.padEnd(width)}  ${value.toFixed(0).padStart(8)} ${unit}${wanted}`)
  }
  return missed === 0 ? 0 : 1
}
