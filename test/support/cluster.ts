/** A real cluster of processes, started and driven by the command line that users have. */
import { type ExecFileException, execFile } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const ROBUST = resolve(import.meta.dirname, '../../cli/bin/robust.js')

export interface Ran {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

export interface TestCluster {
  readonly home: string
  readonly offset: number
  mqttPort(node: number): number
  sqsPort(node: number): number
  kafkaPort(node: number): number
  kafkaTlsPort(node: number): number
  robust(...args: string[]): Promise<Ran>
  /** The parsed answer of `robust cluster status -o json`. */
  status(): Promise<ClusterStatus>
  events(...flags: string[]): Promise<ClusterEvent[]>
  /** Stops and removes everything. */
  purge(): Promise<void>
}

export interface ClusterStatus {
  readonly health: string
  readonly placement: {
    readonly leader: string | null
    readonly term: number
    readonly quorum: boolean
  }
  readonly nodes: readonly ClusterNode[]
}

export interface ClusterNode {
  readonly name: string
  readonly role: string
  readonly state: string
  readonly pid: number | null
  readonly shards: { readonly owned: number; readonly open: number } | null
  readonly load: { readonly connections: number } | null
}

export interface ClusterEvent {
  readonly time: string
  readonly kind: string
  readonly subject: string
  readonly reason: string
  readonly shards: readonly number[]
}

export function runRobust(home: string, args: readonly string[]): Promise<Ran> {
  const env = { ...process.env, ROBUST_HOME: home, NO_COLOR: '1' }
  return new Promise((done) => {
    execFile(
      process.execPath,
      [ROBUST, ...args],
      { env, timeout: 60_000, maxBuffer: 64 * 1024 * 1024 },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : codeOf(error)
        done({ code, stdout, stderr })
      },
    )
  })
}

function codeOf(error: ExecFileException): number {
  return typeof error.code === 'number' ? error.code : -1
}

/** All ports stay below those that the system gives to outgoing connections (32,768 and up). */
export function randomOffset(): number {
  return 12_000 + 50 * Math.floor(Math.random() * 200)
}

/** Ports are a random block; another one is taken when it is busy. */
export async function startCluster(...more: string[]): Promise<TestCluster> {
  const home = mkdtempSync(join(tmpdir(), 'robust-test-'))
  for (let attempt = 0; ; attempt++) {
    const offset = randomOffset()
    const up = ['cluster', 'up', '--port-offset', String(offset), ...more]
    const ran = await runRobust(home, up)
    if (ran.code === 0) return testCluster(home, offset)
    if (ran.code !== 73 || attempt === 4) {
      throw new Error(`robust ${up.join(' ')} exited ${ran.code}\n${ran.stdout}${ran.stderr}`)
    }
  }
}

function testCluster(home: string, offset: number): TestCluster {
  const robust = (...args: string[]): Promise<Ran> => runRobust(home, args)
  return {
    home,
    offset,
    mqttPort: (node) => 1883 + 100 * (node - 1) + offset,
    sqsPort: (node) => 9324 + 100 * (node - 1) + offset,
    kafkaPort: (node) => 9092 + 100 * (node - 1) + offset,
    kafkaTlsPort: (node) => 9093 + 100 * (node - 1) + offset,
    robust,
    status: async () => JSON.parse((await robust('cluster', 'status', '-o', 'json')).stdout),
    events: async (...flags) =>
      JSON.parse((await robust('cluster', 'events', '-o', 'json', ...flags)).stdout),
    purge: async () => {
      await robust('cluster', 'down', '--purge')
      rmSync(home, { recursive: true, force: true })
    },
  }
}
