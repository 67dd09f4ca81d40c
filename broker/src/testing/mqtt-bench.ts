/**
 * MQTT servers over cores in one process: real sockets, virtual time, storage in memory. The settings are
 * plain values that a test changes as it goes; users and rules are resources, as the metadata has them.
 */
import { type SettingName, type SettingValue, settingValue } from '@robust/proto'
import { openStorage } from '@robust/storage-adapters'
import type { IConnackPacket, IConnectPacket } from 'mqtt-packet'
import { ResourceCache } from '../cluster/resource-cache.ts'
import type { Settings } from '../cluster/settings.ts'
import { liveRules, policyOf, rateLimitsOf } from '../mqtt.ts'
import { MqttServer } from '../protocols/mqtt/server.ts'
import { Admission, type AdmissionPort, type Refusal } from '../protocols/shared/admission.ts'
import type { ListeningEndpoint } from '../protocols/shared/protocol-server.ts'
import { Rates } from '../protocols/shared/rates.ts'
import { type Anonymous, Authenticator } from '../security/authenticator.ts'
import type { Backend } from '../security/backends/backend.ts'
import { Bans } from '../security/bans.ts'
import type { AuthenticationMethod } from '../security/enhanced.ts'
import { CoreCluster } from './core-cluster.ts'
import { RawClient } from './raw-client.ts'
import { settle } from './virtual-clock.ts'

export type Connected = RawClient & { readonly connack: IConnackPacket }

export interface LogLine {
  readonly fields: { readonly errId?: string; readonly reason?: string }
  readonly message: string
}

const SHARDS = 4
const NO_GAUGES = {
  ...{ offline: 0, subscriptions: 0, heapBytes: 1 },
  ...{ retained: 0, retainedRefused: 0, stored: 3, expired: 2 },
  bridges: [{ name: 'site', isConnected: true }],
}

export class MqttBench {
  readonly cluster: CoreCluster
  readonly resources = new ResourceCache()
  readonly log: LogLine[] = []
  /** Answers of admission, for the next clients. */
  readonly refusals: Refusal[] = []
  isOutOfMemory = false
  readonly backends: Backend[] = []
  readonly servers: MqttServer[] = []
  readonly ports: number[] = []
  readonly webSocketPorts: number[] = []
  readonly #settings = new Map<SettingName, unknown>()
  readonly #clients: RawClient[] = []
  readonly #put: { kind: string; name: string }[] = []
  readonly #rules = liveRules(this.resources)
  readonly #methods: readonly AuthenticationMethod[]
  readonly #stopStorage: () => Promise<void>
  #version = 0
  #names = 0

  private constructor(
    cluster: CoreCluster,
    more: { methods: readonly AuthenticationMethod[]; stopStorage: () => Promise<void> },
  ) {
    this.cluster = cluster
    this.#stopStorage = more.stopStorage
    this.#methods = more.methods
  }

  /** So many brokers, each with an equal part of the shards. */
  static async start(
    brokers = 1,
    methods: readonly AuthenticationMethod[] = [],
  ): Promise<MqttBench> {
    const storage = await openStorage('memory:', { logger: SILENT })
    const cluster = new CoreCluster(storage, SHARDS)
    const bench = new MqttBench(cluster, { methods, stopStorage: () => storage.stop() })
    for (let i = 0; i < brokers; i++) await bench.#join(`b${i}`)
    await cluster.ownAll((shard) => `b${shard % brokers}`)
    return bench
  }

  async stop(): Promise<void> {
    for (const client of this.#clients) client.drop()
    await Promise.all(this.servers.map((server) => server.stop()))
    await this.#stopStorage()
  }

  set<N extends SettingName>(name: N, value: SettingValue<N>): void {
    this.#settings.set(name, value)
  }

  /** Settings, users and rules as they were in the beginning; every client is gone. */
  reset(): void {
    for (const client of this.#clients.splice(0)) client.drop()
    this.#settings.clear()
    this.isOutOfMemory = false
    this.backends.length = 0
    for (const { kind, name } of this.#put.splice(0)) this.remove(kind, name)
    this.log.length = 0
  }

  put(kind: string, name: string, value: object): void {
    this.#put.push({ kind, name })
    const version = ++this.#version
    const json = JSON.stringify(value)
    this.resources.apply([{ kind, tenant: '', name, created: version, version, value: json }], [])
  }

  remove(kind: string, name: string): void {
    this.resources.apply([], [{ kind, tenant: '', name }])
  }

  /** A client that speaks packets and has sent nothing yet. */
  async raw(broker = 0): Promise<RawClient> {
    const client = await RawClient.open(this.ports[broker] as number)
    this.#clients.push(client)
    return client
  }

  /** A client that is connected, with `connack`; MQTT 5 unless the CONNECT says otherwise. */
  async connected(
    properties: NonNullable<IConnectPacket['properties']> = {},
    more: Partial<IConnectPacket> = {},
    broker = 0,
  ): Promise<Connected> {
    const client = await this.raw(broker)
    const { protocolVersion = 5 } = more
    const asked = protocolVersion === 5 ? { properties } : {}
    const connack = await client.connect({ clientId: `c${this.#names++}`, ...asked, ...more })
    const code = connack.reasonCode ?? connack.returnCode
    if (code !== 0) throw new Error(`refused with ${code}`)
    return Object.assign(client, { connack })
  }

  async advance(ms: number): Promise<void> {
    await this.cluster.clock.advance(ms)
    await settle()
  }

  #admission(get: Settings['get']): AdmissionPort {
    const admission = new Admission({
      clock: this.cluster.clock,
      connections: () => this.servers.reduce((sum, { connections }) => sum + connections, 0),
      limits: () => ({
        connectionsMax: get('limits.connections-max'),
        perSecond: get('limits.connections-per-second'),
        listenerPerSecond: get('limits.listener-connections-per-second'),
        userConnectionsMax: get('limits.user-connections-max'),
        userPerSecond: get('limits.user-connections-per-second'),
      }),
      isOutOfMemory: () => this.isOutOfMemory,
      serverOf: () => undefined,
    })
    return {
      get isOverrun() {
        return admission.isOverrun
      },
      get isOutOfMemory() {
        return admission.isOutOfMemory
      },
      admit: (entrance) => this.refusals.shift() ?? admission.admit(entrance),
      enter: (user) => admission.enter(user),
      leave: (user) => admission.leave(user),
    }
  }

  async #join(name: string): Promise<void> {
    const { messaging } = this.cluster.join(name)
    const { clock } = this.cluster
    const get = <N extends SettingName>(setting: N): SettingValue<N> => {
      const value = this.#settings.get(setting)
      return settingValue(setting, value === undefined ? undefined : JSON.stringify(value))
    }
    const line = (fields: object, message: string): void => {
      this.log.push({ fields, message })
    }
    const server = new MqttServer({
      entrances: {
        host: '127.0.0.1',
        ports: { mqtt: 0, mqtts: undefined, ws: 0, wss: undefined },
        unixSocket: undefined,
        tls: undefined,
        proxied: [],
      },
      security: new Authenticator({
        resources: this.resources,
        methods: this.#methods,
        backends: () => this.backends,
        anonymous: () => get('security.anonymous') as Anonymous,
      }),
      packetBytesMax: () => get('limits.packet-bytes') ?? 1 << 20,
      policy: () => policyOf({ get }),
      rules: this.#rules,
      rates: new Rates(clock, () => rateLimitsOf({ get })),
      bans: new Bans(this.resources, () => clock.wallMs()),
      node: name,
      version: '0.0.0',
      gauges: () => NO_GAUGES,
      admission: this.#admission(get),
      messaging,
      clock,
      log: { debug: line, info: line, warn: line, error: line },
    })
    const endpoints = await server.start()
    this.servers.push(server)
    this.ports.push(portOf(endpoints, 'mqtt'))
    this.webSocketPorts.push(portOf(endpoints, 'ws'))
  }
}

function portOf(endpoints: readonly ListeningEndpoint[], protocol: string): number {
  return endpoints.find((endpoint) => endpoint.protocol === protocol)?.port ?? 0
}

const ignore = (): void => undefined
const SILENT = { debug: ignore, info: ignore, warn: ignore, error: ignore }
