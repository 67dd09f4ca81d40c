// Committed writes: three Placement Center processes against three of etcd's, if it is installed, with the
// same load from this process: 1, 64 and 256 puts of 256 bytes in flight over gRPC to the leader. Rounds are
// interleaved; figures are medians, and ratios of one run are what can be compared. Everything shares the
// machine and its one disk. `ETCD` names the program when it is not on the PATH.

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { Client, credentials, Metadata, type ServiceError } from '@grpc/grpc-js'
import { placement } from '@robust/proto'

const ROBUST = resolve(import.meta.dirname, '../../cli/bin/robust.js')
const IN_FLIGHT = [1, 64, 256]
const ROUNDS = 3
const ROUND_MS = 3_000
const VALUE = 'x'.repeat(240)
/** Puts go round so many keys, so that neither side's data grows with its speed. */
const KEYS = 1_000
const START_MS = 30_000

interface Subject {
  readonly name: string
  start(directory: string, ports: readonly number[]): ChildProcess[]
  /** Resolves after the commit. */
  connect(port: number): { put(at: number): Promise<void>; close(): void }
}

const CENTER: Subject = {
  name: 'placement',
  start: (directory, ports) => {
    const ids = [1, 2, 3].map((number) => `placement-${number}`)
    const peers = ids.map((id, at) => `${id}=127.0.0.1:${ports[at]}`).join(',')
    return ids.map((id, at) => {
      const flags = ['--node-id', id, '--listen', `127.0.0.1:${ports[at]}`, '--peers', peers]
      const rest = ['--data', join(directory, id), '--log-level', 'error']
      const args = [ROBUST, 'placement', 'start', ...flags, ...rest]
      return spawn(process.execPath, args, { stdio: 'ignore' })
    })
  },
  connect: (port) => {
    const client = new placement.PlacementClient(`127.0.0.1:${port}`, credentials.createInsecure())
    const value = JSON.stringify({ tags: [VALUE] })
    return {
      put: (at) =>
        answered((done) =>
          client.putResource(
            {
              key: { kind: 'user', tenant: 'bench', name: `${at % KEYS}` },
              value,
              expectedVersion: undefined,
              by: '',
            },
            new Metadata(),
            { deadline: Date.now() + 10_000 },
            done,
          ),
        ),
      close: () => client.close(),
    }
  },
}

const ETCD: Subject = {
  name: 'etcd',
  start: (directory, ports) => {
    const peerPort = (at: number): number => ports[3 + at] ?? 0
    const cluster = [0, 1, 2].map((at) => `n${at}=http://127.0.0.1:${peerPort(at)}`).join(',')
    return [0, 1, 2].map((at) => {
      const client = `http://127.0.0.1:${ports[at]}`
      const peer = `http://127.0.0.1:${peerPort(at)}`
      const flags = {
        name: `n${at}`,
        'data-dir': join(directory, `etcd-${at}`),
        'listen-client-urls': client,
        'advertise-client-urls': client,
        'listen-peer-urls': peer,
        'initial-advertise-peer-urls': peer,
        'initial-cluster': cluster,
        'initial-cluster-state': 'new',
      }
      const args = Object.entries(flags).flatMap(([flag, value]) => [`--${flag}`, value])
      return spawn(process.env['ETCD'] ?? 'etcd', args, { stdio: 'ignore' })
    })
  },
  connect: (port) => {
    const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure())
    const bytes = (message: Buffer): Buffer => message
    return {
      put: (at) =>
        answered((done) =>
          client.makeUnaryRequest(
            '/etcdserverpb.KV/Put',
            bytes,
            bytes,
            Buffer.concat([field(1, `${at % KEYS}`), field(2, VALUE)]),
            new Metadata(),
            { deadline: Date.now() + 10_000 },
            done,
          ),
        ),
      close: () => client.close(),
    }
  },
}

/** A length-delimited field of a protobuf message. */
function field(number: number, text: string): Buffer {
  const content = Buffer.from(text)
  const length = content.byteLength
  const size = length < 128 ? [length] : [(length & 0x7f) | 0x80, length >> 7]
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...size]), content])
}

function answered(call: (done: (error: ServiceError | null) => void) => unknown): Promise<void> {
  return new Promise((done, fail) => {
    call((error) => (error === null ? done() : fail(error)))
  })
}

class Running {
  readonly #processes: readonly ChildProcess[]
  readonly #directory = mkdtempSync(join(tmpdir(), 'bench-puts-'))
  readonly #subject: Subject
  readonly #ports: readonly number[]
  #missing = false

  constructor(subject: Subject, ports: readonly number[]) {
    this.#subject = subject
    this.#ports = ports
    this.#processes = subject.start(this.#directory, ports)
    for (const child of this.#processes) {
      child.once('error', () => {
        this.#missing = true
      })
    }
  }

  /** To the member that takes puts fastest: the leader. Undefined when the program is not there. */
  async connect(): Promise<ReturnType<Subject['connect']> | undefined> {
    const endMs = performance.now() + START_MS
    while (performance.now() < endMs && !this.#missing) {
      for (const port of this.#ports.slice(0, 3)) {
        const connection = this.#subject.connect(port)
        const isTaken = await connection.put(0).then(
          () => true,
          () => false,
        )
        if (isTaken && (await this.#isLeader(connection))) return connection
        connection.close()
      }
      await sleep(200)
    }
    return undefined
  }

  /** etcd's followers forward, and are slower by that: three in a row are compared with the others'. */
  async #isLeader(connection: ReturnType<Subject['connect']>): Promise<boolean> {
    if (this.#subject !== ETCD) return true
    const timeOf = async (tried: ReturnType<Subject['connect']>): Promise<number> => {
      const times: number[] = []
      for (let at = 0; at < 40; at += 1) {
        const startMs = performance.now()
        await tried.put(at)
        times.push(performance.now() - startMs)
      }
      return median(times)
    }
    const own = await timeOf(connection)
    for (const port of this.#ports.slice(0, 3)) {
      const other = this.#subject.connect(port)
      const time = await timeOf(other).catch(() => Number.POSITIVE_INFINITY)
      other.close()
      if (time < own * 0.8) return false
    }
    return true
  }

  async stop(): Promise<void> {
    await Promise.all(
      this.#processes.map(
        (child) =>
          new Promise<void>((done) => {
            if (child.exitCode !== null || child.pid === undefined) return done()
            child.once('exit', () => done())
            child.kill('SIGKILL')
          }),
      ),
    )
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

async function measure(
  connection: ReturnType<Subject['connect']>,
  inFlight: number,
): Promise<{ perSecond: number; p50: number; p99: number }> {
  const times: number[] = []
  const startMs = performance.now()
  const client = async (number: number): Promise<void> => {
    for (let at = number; performance.now() < startMs + ROUND_MS; at += inFlight) {
      const sentMs = performance.now()
      await connection.put(at)
      times.push(performance.now() - sentMs)
    }
  }
  await Promise.all(Array.from({ length: inFlight }, (_, number) => client(number)))
  const perSecond = (1_000 * times.length) / (performance.now() - startMs)
  times.sort((a, b) => a - b)
  return { perSecond, p50: median(times), p99: times[Math.floor(times.length * 0.99)] ?? 0 }
}

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0
}

async function freePorts(count: number): Promise<number[]> {
  const probes = Array.from({ length: count }, () => createServer())
  const ports: number[] = []
  for (const probe of probes) {
    await new Promise<void>((done) => probe.listen(0, '127.0.0.1', done))
    ports.push((probe.address() as { port: number }).port)
  }
  await Promise.all(probes.map((probe) => new Promise((done) => probe.close(done))))
  return ports
}

/** Returns the exit code: 1 when the Placement Center could not be measured. */
export async function puts(): Promise<number> {
  const figures = new Map<string, { perSecond: number[]; p50: number[]; p99: number[] }>()
  const absent = new Set<string>()
  for (let round = 1; round <= ROUNDS; round += 1) {
    for (const subject of [CENTER, ETCD]) {
      if (absent.has(subject.name)) continue
      const running = new Running(subject, await freePorts(6))
      try {
        const connection = await running.connect()
        if (connection === undefined) {
          absent.add(subject.name)
          continue
        }
        await measure(connection, 16)
        for (const inFlight of IN_FLIGHT) {
          const figure = await measure(connection, inFlight)
          const key = `${subject.name} ${inFlight}`
          const all = figures.get(key) ?? { perSecond: [], p50: [], p99: [] }
          all.perSecond.push(figure.perSecond)
          all.p50.push(figure.p50)
          all.p99.push(figure.p99)
          figures.set(key, all)
        }
        connection.close()
      } finally {
        await running.stop()
      }
    }
  }
  for (const inFlight of IN_FLIGHT) {
    const [own, other] = [CENTER, ETCD].map(({ name }) => figures.get(`${name} ${inFlight}`))
    for (const [name, figure] of [
      ['placement', own],
      ['etcd', other],
    ] as const) {
      if (figure === undefined) continue
      const { perSecond, p50, p99 } = figure
      const times = `p50 ${median(p50).toFixed(1)} ms, p99 ${median(p99).toFixed(1)} ms`
      console.log(`${inFlight} in flight, ${name}: ${median(perSecond).toFixed(0)}/s, ${times}`)
    }
    if (own === undefined || other === undefined) continue
    const ratio = median(own.perSecond) / median(other.perSecond)
    console.log(`${inFlight} in flight: ${ratio.toFixed(2)}x etcd`)
  }
  for (const name of absent) console.log(`${name} is not installed, or did not start`)
  return absent.has(CENTER.name) ? 1 : 0
}
