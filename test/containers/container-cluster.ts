/** A cluster of containers on a private network, as the chaos engine drives it. */
import { execFileSync } from 'node:child_process'
import { createServer } from 'node:net'
import type { ClusterControl, ClusterLinks } from '@robust/chaos'
import {
  GenericContainer,
  Network,
  type StartedNetwork,
  type StartedTestContainer,
  Wait,
} from 'testcontainers'
import { docker, IMAGE } from '../support/docker-engine.ts'

export type Role = 'placement' | 'storage' | 'broker'

interface Member {
  readonly name: string
  readonly role: Role
  readonly flags: readonly string[]
  /** In the container, and on this machine. */
  readonly ports: readonly { readonly container: number; readonly host: number }[]
  container: StartedTestContainer
}

export interface ContainerClusterOptions {
  readonly brokers?: number
  readonly placement?: number
  /** `host:port` of a Placement Center in another cluster of containers, on this network. */
  readonly external?: { readonly placement: string; readonly network: StartedNetwork }
}

const CLI = '/opt/robust/cli/bin/robust.js'
const READY_MS = 60_000
const HEALTHY_MS = 60_000
const HTTP = 8080

export class ContainerCluster {
  readonly #members = new Map<string, Member>()
  readonly #ownsNetwork: boolean
  readonly network: StartedNetwork
  #placement = ''

  private constructor(network: StartedNetwork, ownsNetwork: boolean) {
    this.network = network
    this.#ownsNetwork = ownsNetwork
  }

  static async start(options: ContainerClusterOptions = {}): Promise<ContainerCluster> {
    const { external, brokers = 3, placement = 3 } = options
    const network = external?.network ?? (await new Network().start())
    const cluster = new ContainerCluster(network, external === undefined)
    try {
      await cluster.#startCenter(external === undefined ? placement : 0, external?.placement)
      if (brokers > 0) await cluster.#startBrokers(brokers)
      return cluster
    } catch (error) {
      await cluster.remove()
      throw error
    }
  }

  async #startCenter(count: number, external: string | undefined): Promise<void> {
    const names = Array.from({ length: count }, (_, at) => `placement-${at + 1}`)
    this.#placement = external ?? names.map((name) => `${name}:1228`).join(',')
    const peers = names.map((name) => `${name}=${name}:1228`).join(',')
    await Promise.all(
      names.map((name) =>
        this.#start(name, 'placement', [
          ...['--data=/data', `--node-id=${name}`, '--listen=0.0.0.0:1228', `--http-port=${HTTP}`],
          `--peers=${peers}`,
        ]),
      ),
    )
  }

  async #startBrokers(count: number): Promise<void> {
    await this.#start('storage-1', 'storage', [
      ...['--listen=0.0.0.0:1778', `--http-port=${HTTP}`, '--url=leveldb:/data'],
    ])
    await Promise.all(Array.from({ length: count }, (_, at) => this.addBroker(at + 1)))
    // Clients of the tests are not on the machine that a broker takes for its own.
    await this.robust('config', 'set', 'security.anonymous', 'always')
  }

  /** Starts one more, or the first ones. */
  async addBroker(number: number, image = IMAGE): Promise<void> {
    const name = `broker-${number}`
    const known = this.#members.get(name)
    const ports = known?.ports ?? (await brokerPorts())
    const kafka = ports.find(({ container }) => container >= 9_092 && container < 9_192)
    const flags = [
      ...['--data=/data', `--node-id=${name}`, `--placement=${this.#placement}`],
      ...['--storage=robust://storage-1:1778', '--host=0.0.0.0', `--advertise-host=${name}`],
      ...['--mqtt-port=1883', '--sqs-port=9324', `--http-port=${HTTP}`],
      ...[`--kafka-port=${kafka?.container}`, `--kafka-advertise=127.0.0.1:${kafka?.host}`],
    ]
    await this.#start(name, 'broker', flags, { ports, image })
  }

  /** Another build in the place of a node; what it keeps is its volume's. */
  async upgrade(name: string, image: string): Promise<void> {
    const { container, role, flags, ports } = this.#member(name)
    const id = container.getId()
    docker('stop', '--time', '30', id)
    docker('rename', id, `${id.slice(0, 12)}-before`)
    docker('network', 'disconnect', this.network.getName(), id)
    await this.#start(name, role, flags, { ports, image, volumesFrom: id })
    docker('rm', id)
  }

  async #start(
    name: string,
    role: Role,
    flags: readonly string[],
    more: { ports?: Member['ports']; image?: string; volumesFrom?: string } = {},
  ): Promise<void> {
    const { ports = [], image = IMAGE, volumesFrom } = more
    const wanted = new GenericContainer(image)
      .withCommand([role, 'start', ...flags])
      .withNetwork(this.network)
      .withNetworkAliases(name)
      .withExposedPorts(...ports)
      .withWaitStrategy(Wait.forHealthCheck())
      .withStartupTimeout(READY_MS)
    const source = volumesFrom === undefined ? undefined : volumeOf(volumesFrom)
    const kept =
      source === undefined ? wanted : wanted.withBindMounts([{ source, target: '/data' }])
    this.#members.set(name, { name, role, flags, ports, container: await kept.start() })
  }

  #member(name: string): Member {
    const found = this.#members.get(name)
    if (found === undefined) throw new Error(`there is no ${name}`)
    return found
  }

  idOf(name: string): string {
    return this.#member(name).container.getId()
  }

  /** The command line, in a container that runs. */
  async robust(...args: string[]): Promise<string> {
    const { container } = this.#member(this.#any())
    const command = ['node', CLI, ...args, '--placement', this.#placement]
    const { exitCode, output } = await container.exec(command)
    if (exitCode !== 0) throw new Error(`robust ${args.join(' ')}: ${output}`)
    return output
  }

  #any(): string {
    const running = [...this.#members.values()].find(
      ({ container }) => stateOf(container.getId()) === 'running',
    )
    if (running === undefined) throw new Error('no container runs')
    return running.name
  }

  /** `host:port` as clients on this machine reach it. */
  mqtt(number: number): { host: string; port: number } {
    return this.#reached(`broker-${number}`, (port) => port === 1_883)
  }

  #reached(name: string, isIt: (port: number) => boolean): { host: string; port: number } {
    const port = this.#member(name).ports.find(({ container }) => isIt(container))
    return { host: '127.0.0.1', port: port?.host ?? 0 }
  }

  get control(): ClusterControl {
    const members = [...this.#members.values()]
    const brokers = members.filter(({ role }) => role === 'broker').map(({ name }) => name)
    const at = (isIt: (port: number) => boolean) => brokers.map((name) => this.#reached(name, isIt))
    const each = (act: (id: string) => void) => (name: string) => {
      act(this.idOf(name))
      return Promise.resolve()
    }
    return {
      nodes: members.map(({ name, role }) => ({ name, role })),
      endpoints: {
        mqtt: at((port) => port === 1_883),
        sqs: at((port) => port === 9_324),
        kafka: at((port) => port >= 9_092 && port < 9_192),
      },
      kill: each((id) => docker('kill', id)),
      pause: each((id) => docker('pause', id)),
      resume: each((id) => docker('unpause', id)),
      restart: (name) => this.#restart([name]),
      start: (names) => this.#restart(names),
      drain: () => Promise.reject(new Error('drain: not from outside of a container')),
      undrain: () => Promise.reject(new Error('undrain: not from outside of a container')),
      links: this.#links,
      leader: () => this.leader(),
      trouble: () => Promise.resolve(this.trouble()),
    }
  }

  async #restart(names: readonly string[]): Promise<void> {
    for (const name of names) docker('restart', '--time', '30', this.idOf(name))
    const end = performance.now() + HEALTHY_MS
    while (names.some((name) => healthOf(this.idOf(name)) !== 'healthy')) {
      if (performance.now() > end) throw new Error(`${names.join(', ')}: not healthy`)
      await new Promise((done) => setTimeout(done, 100))
    }
  }

  /** Undefined: none leads. */
  async leader(): Promise<string | undefined> {
    const text = await this.robust('placement', 'status', '-o', 'json')
    const { leader } = JSON.parse(text) as { readonly leader: string | null }
    return leader ?? undefined
  }

  trouble(): string | undefined {
    const ill = [...this.#members.values()].filter(
      ({ container }) => healthOf(container.getId()) !== 'healthy',
    )
    return ill.length === 0 ? undefined : `${ill.map(({ name }) => name).join(', ')}: not healthy`
  }

  get #links(): ClusterLinks {
    const cut = new Set<string>()
    return {
      cut: (nodes, others, oneWay) => {
        for (const node of nodes) {
          const addresses = others.map((other) => this.#addressOf(other))
          filter(pidOf(this.idOf(node)), addresses, oneWay)
          cut.add(node)
        }
        return Promise.resolve()
      },
      disturb: () => Promise.reject(new Error('links of containers are cut, not slowed')),
      heal: () => {
        for (const node of cut) {
          const pid = pidOf(this.idOf(node))
          if (pid > 0) within(pid, ['delete', 'table', 'inet', 'cut'])
        }
        cut.clear()
        return Promise.resolve()
      },
    }
  }

  #addressOf(name: string): string {
    return this.#member(name).container.getIpAddress(this.network.getName())
  }

  async remove(): Promise<void> {
    for (const { container } of this.#members.values()) {
      docker('rm', '--force', '--volumes', container.getId())
    }
    if (this.#ownsNetwork) await this.network.stop()
  }
}

function stateOf(id: string): string {
  return docker('inspect', '--format', '{{.State.Status}}', id).trim()
}

function healthOf(id: string): string {
  const both = docker('inspect', '--format', '{{.State.Status}} {{.State.Health.Status}}', id)
  const [status, health = ''] = both.trim().split(' ')
  return status === 'running' ? health : String(status)
}

function volumeOf(id: string): string {
  return docker('inspect', '--format', '{{range .Mounts}}{{.Name}}{{end}}', id).trim()
}

function pidOf(id: string): number {
  return Number(docker('inspect', '--format', '{{.State.Pid}}', id))
}

/** Packets are dropped in the container's own network, where its kernel sees them. */
function filter(pid: number, addresses: readonly string[], oneWay: boolean): void {
  const others = `{ ${addresses.join(', ')} }`
  const out = `chain o { type filter hook output priority 0; ip daddr ${others} drop; }`
  const back = `chain i { type filter hook input priority 0; ip saddr ${others} drop; }`
  within(pid, [`table inet cut {\n${out}\n${oneWay ? '' : back}\n}\n`])
}

function within(pid: number, args: readonly string[]): void {
  execFileSync('nsenter', ['--target', String(pid), '--net', 'nft', ...args], { stdio: 'pipe' })
}

/** Kafka's clients are told the port of this machine, which is chosen before the container is there. */
async function brokerPorts(): Promise<Member['ports']> {
  const inside = [1_883, 9_092, 9_324]
  return Promise.all(inside.map(async (container) => ({ container, host: await freePort() })))
}

function freePort(): Promise<number> {
  return new Promise((done, fail) => {
    const probe = createServer()
    probe.once('error', fail)
    probe.listen(0, '127.0.0.1', () => {
      const address = probe.address()
      const port = typeof address === 'object' && address !== null ? address.port : 0
      probe.close(() => done(port))
    })
  })
}
