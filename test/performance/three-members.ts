// Three processes of a replicated store on this machine: our Placement Center, or etcd. Both sync to disk
// before they acknowledge, and run with the settings that they come with.

import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { credentials, Metadata } from '@grpc/grpc-js'
import { ChangeClient, placement } from '@robust/proto'
import { GrpcLoad } from './grpc-load.ts'
import { pause } from './simulated-broker.ts'

export type StoreName = 'ours' | 'etcd'

const ROBUST = resolve(import.meta.dirname, '../../cli/bin/robust.js')
const VALUE_BYTES = 256
const START_MS_MAX = 20_000
/** A caller that no leader answers for so long tries again with its next write. */
const ASK_MS_MAX = 60

interface Member {
  readonly id: string
  readonly port: number
  readonly peerPort: number
  readonly directory: string
}

/** One connection. */
export interface Puts {
  /** A value of 256 bytes under a name. False: it failed. */
  put(name: string): Promise<boolean>
  close(): void
}

/** What differs between the two. */
interface Store {
  /** By the best call that it has. */
  openPuts(port: number): Promise<Puts>
  command(member: Member, all: readonly Member[]): readonly [string, ...string[]]
  /** Undefined: it does not answer. */
  isLeader(member: Member): Promise<boolean | undefined>
}

const ours: Store = {
  openPuts: async (port) => {
    const identity = { clusterId: '', senderId: 'bench', incarnation: randomUUID() }
    const addresses = [`127.0.0.1:${port}`]
    const client = new ChangeClient({ addresses, identity, timeoutMs: ASK_MS_MAX })
    const value = padded((filler) => JSON.stringify({ source: 'bench', destination: filler }))
    return {
      put: async (name) => {
        const key = { kind: 'binding', tenant: 'bench', name }
        try {
          await client.change([{ key, value, expectedVersion: undefined }], '')
          return true
        } catch {
          return false
        }
      },
      close: () => client.close(),
    }
  },
  command: ({ id, port, directory }, all) => {
    const peers = all.map((each) => `${each.id}=127.0.0.1:${each.port}`).join(',')
    const flags = ['--node-id', id, '--listen', `127.0.0.1:${port}`, '--peers', peers]
    const more = ['--data', directory, '--log-level', 'error']
    return [process.execPath, ROBUST, 'placement', 'start', ...flags, ...more]
  },
  isLeader: ({ port }) => {
    const client = new placement.PlacementClient(
      `127.0.0.1:${port}`,
      credentials.createInsecure(),
      { 'grpc.use_local_subchannel_pool': 1 },
    )
    return new Promise((done) => {
      client.status({}, new Metadata(), { deadline: Date.now() + 1_000 }, (error, reply) => {
        client.close()
        // A leader without its metadata does not take writes yet.
        const leads = reply?.role === 'leader' && reply.hasQuorum && reply.metadata?.shardCount
        done(error ? undefined : Boolean(leads))
      })
    })
  },
}

const etcd: Store = {
  openPuts: async (port) => {
    const load = await GrpcLoad.open(port, '/etcdserverpb.KV/Put')
    const value = padded((filler) => JSON.stringify({ source: 'bench', destination: filler }))
    const valueField = field(2, Buffer.from(value))
    return {
      put: (name) => load.call(Buffer.concat([field(1, Buffer.from(name)), valueField])),
      close: () => load.close(),
    }
  },
  command: ({ id, port, peerPort, directory }, all) => {
    const cluster = all.map((each) => `${each.id}=http://127.0.0.1:${each.peerPort}`).join(',')
    const [client, peer] = [`http://127.0.0.1:${port}`, `http://127.0.0.1:${peerPort}`]
    const listen = ['--listen-client-urls', client, '--listen-peer-urls', peer]
    const advertise = ['--advertise-client-urls', client, '--initial-advertise-peer-urls', peer]
    const name = ['--name', id, '--data-dir', directory, '--initial-cluster', cluster]
    return ['etcd', ...name, ...listen, ...advertise, '--log-level', 'error']
  },
  isLeader: ({ port }) =>
    new Promise((done) => {
      const args = ['--endpoints', `http://127.0.0.1:${port}`, 'endpoint', 'status', '-w', 'simple']
      const env = { ...process.env, ETCDCTL_API: '3' }
      execFile('etcdctl', args, { env, timeout: 5_000 }, (error, stdout) => {
        done(error ? undefined : stdout.split(', ')[4] === 'true')
      })
    }),
}

const STORES: Readonly<Record<StoreName, Store>> = { ours, etcd }

/** What a run that fails leaves behind goes with it. */
const running = new Set<ChildProcess>()
const directories = new Set<string>()
process.on('exit', () => {
  for (const child of running) child.kill('SIGKILL')
  for (const directory of directories) rmSync(directory, { recursive: true, force: true })
})

export class ThreeMembers {
  readonly name: StoreName
  readonly #store: Store
  readonly #directory: string
  readonly #members: readonly Member[]
  readonly #processes: (ChildProcess | undefined)[] = []

  private constructor(name: StoreName, ports: readonly number[]) {
    this.name = name
    this.#store = STORES[name]
    this.#directory = mkdtempSync(join(tmpdir(), `placement-bench-${name}-`))
    directories.add(this.#directory)
    this.#members = [0, 1, 2].map((at) => ({
      id: `member-${at + 1}`,
      port: ports[2 * at] as number,
      peerPort: ports[2 * at + 1] as number,
      directory: join(this.#directory, String(at + 1)),
    }))
  }

  /** Resolves when there is a leader. Throws when there is none in time. */
  static async start(name: StoreName): Promise<ThreeMembers> {
    const members = new ThreeMembers(name, await freePorts(6))
    for (const at of [0, 1, 2]) members.startMember(at)
    await members.leader()
    return members
  }

  /** Rejects when nobody is there. */
  openPuts(at: number): Promise<Puts> {
    return this.#store.openPuts((this.#members[at] as Member).port)
  }

  startMember(at: number): void {
    const [command, ...args] = this.#store.command(this.#members[at] as Member, this.#members)
    const child = spawn(command, args, { stdio: 'ignore' })
    running.add(child)
    child.once('exit', () => running.delete(child))
    this.#processes[at] = child
  }

  /** Its data stays. */
  kill(at: number): Promise<void> {
    const child = this.#processes[at]
    this.#processes[at] = undefined
    if (child === undefined || child.exitCode !== null) return Promise.resolve()
    return new Promise((done) => {
      child.once('exit', () => done())
      child.kill('SIGKILL')
    })
  }

  /** Which of the three leads. All three must answer. */
  async leader(): Promise<number> {
    const end = performance.now() + START_MS_MAX
    while (performance.now() < end) {
      const leads = await Promise.all(this.#members.map((one) => this.#store.isLeader(one)))
      if (!leads.includes(undefined) && leads.includes(true)) return leads.indexOf(true)
      await pause(50)
    }
    throw new Error(`${this.name}: no leader of three members within ${START_MS_MAX} ms`)
  }

  async stop(): Promise<void> {
    await Promise.all([0, 1, 2].map((at) => this.kill(at)))
    rmSync(this.#directory, { recursive: true, force: true })
  }
}

/** The same value for both stores, and one that ours takes. */
function padded(make: (filler: string) => string): string {
  return make('x'.repeat(VALUE_BYTES - make('').length))
}

/** A field of bytes in protobuf, shorter than 16 KiB. */
function field(number: number, bytes: Buffer): Buffer {
  const { byteLength } = bytes
  const length = byteLength < 128 ? [byteLength] : [(byteLength & 0x7f) | 0x80, byteLength >> 7]
  return Buffer.concat([Buffer.from([(number << 3) | 2, ...length]), bytes])
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
