/** A Placement Center, storage and brokers as processes of their own, each started by hand, on loopback. */
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Ran, randomOffset, runRobust } from './cluster.ts'
import { killServers, type Server, startServer } from './processes.ts'

const STEP = 100

export interface PlacementView {
  readonly health: string
  readonly leader: string | null
  readonly term: number
  readonly members: readonly {
    readonly node: string
    readonly address: string
    readonly role: string
    readonly votes: boolean
    readonly state: string
  }[]
}

export class HandMade {
  readonly directory = mkdtempSync(join(tmpdir(), 'robust-by-hand-'))
  readonly servers = new Map<string, Server>()
  readonly #offset: number
  readonly #flags: readonly string[]

  /** @param flags of every Placement Center node */
  constructor(flags: readonly string[] = [], offset = randomOffset()) {
    this.#flags = flags
    this.#offset = offset
  }

  placementAddress(number: number): string {
    return `127.0.0.1:${1228 + STEP * (number - 1) + this.#offset}`
  }

  mqttPort(number: number): number {
    return 1883 + STEP * (number - 1) + this.#offset
  }

  get #storage(): string {
    return `127.0.0.1:${1778 + this.#offset}`
  }

  folder(name: string): string {
    return join(this.directory, name)
  }

  /** One of the initial members 1 to `of`. */
  startPlacement(number: number, of: number, more: readonly string[] = []): Server {
    const peers = Array.from(
      { length: of },
      (_, at) => `placement-${at + 1}=${this.placementAddress(at + 1)}`,
    )
    return this.#placement(number, ['--peers', peers.join(','), ...more])
  }

  /** A new one, that is told of others by their numbers. */
  joinPlacement(number: number, others: readonly number[], more: readonly string[] = []): Server {
    const join_ = others.map((other) => this.placementAddress(other)).join(',')
    return this.#placement(number, ['--join', join_, ...more])
  }

  /** A new cluster of one, at the address of another number. */
  restorePlacement(number: number, at: number, file: string): Server {
    const more = ['--restore', file]
    return this.#placement(number, more, this.placementAddress(at))
  }

  #placement(
    number: number,
    more: readonly string[],
    listen = this.placementAddress(number),
  ): Server {
    const name = `placement-${number}`
    const own = ['--node-id', name, '--listen', listen, '--data', this.folder(name)]
    return this.#start(name, ['placement', 'start', ...own, ...this.#flags, ...more])
  }

  async startStorage(): Promise<void> {
    const url = `leveldb:${this.folder('storage')}`
    this.#start('storage', ['storage', 'start', '--url', url, '--listen', this.#storage])
    await eventually(() => isListening(Number(this.#storage.split(':')[1])))
  }

  /** Resolves when it takes clients. */
  async startBroker(number: number, placement: readonly number[]): Promise<void> {
    const name = `broker-${number}`
    const addresses = placement.map((each) => this.placementAddress(each)).join(',')
    const ports = [
      ['--mqtt-port', String(this.mqttPort(number))],
      ['--ws-port', String(8083 + STEP * (number - 1) + this.#offset)],
      ['--grpc-port', String(9981 + STEP * (number - 1) + this.#offset)],
    ].flat()
    const own = ['--node-id', name, '--data', this.folder(name), ...ports]
    const storage = `robust://${this.#storage}`
    this.#start(name, ['broker', 'start', ...own, '--placement', addresses, '--storage', storage])
    await eventually(() => isListening(this.mqttPort(number)))
  }

  #start(name: string, args: readonly string[]): Server {
    const server = startServer(args)
    this.servers.set(name, server)
    return server
  }

  robust(...args: string[]): Promise<Ran> {
    return runRobust(this.folder('home'), args)
  }

  /** `robust placement ...` at a node; fails unless it exits with 0. */
  async placement(at: number, ...args: string[]): Promise<string> {
    const ran = await this.robust('placement', ...args, '--placement', this.placementAddress(at))
    if (ran.code !== 0) throw new Error(`placement ${args.join(' ')}: ${ran.stdout}${ran.stderr}`)
    return ran.stdout
  }

  /** Whatever its health. */
  async view(at: number): Promise<PlacementView | undefined> {
    const address = ['--placement', this.placementAddress(at), '-o', 'json']
    const { stdout } = await this.robust('placement', 'status', ...address)
    return stdout === '' ? undefined : JSON.parse(stdout)
  }

  /** Waits until somebody leads, and is whole. */
  async leader(at: number): Promise<string> {
    let leader: string | undefined
    await eventually(async () => {
      leader = (await this.view(at))?.leader ?? undefined
      return leader !== undefined
    })
    return leader ?? ''
  }

  async purge(): Promise<void> {
    await killServers()
    rmSync(this.directory, { recursive: true, force: true })
  }
}

const EVENTUALLY_MS = 60_000
const POLL_MS = 50

/** Polls; also outside of a test, where expect.poll is not to be had. */
export async function eventually(condition: () => Promise<boolean>): Promise<void> {
  const end = performance.now() + EVENTUALLY_MS
  while (!(await condition())) {
    if (performance.now() > end) throw new Error(`not within ${EVENTUALLY_MS} ms: ${condition}`)
    await new Promise((resolve) => setTimeout(resolve, POLL_MS))
  }
}

function isListening(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1')
    socket.once('connect', () => {
      socket.destroy()
      resolve(true)
    })
    socket.once('error', () => resolve(false))
  })
}
