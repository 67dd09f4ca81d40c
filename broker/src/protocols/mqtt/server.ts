/** MQTT: its listeners, its connections, and what they share. */
import { randomBytes, randomUUID } from 'node:crypto'
import { isShared } from '../../core/groups/shared-filter.ts'
import type { Message } from '../../core/message.ts'
import type { Messaging } from '../../core/messaging.ts'
import type { Clock, Timer } from '../../core/ports/clock.ts'
import { Latencies } from '../../core/ports/telemetry.ts'
import type { Authenticator } from '../../security/authenticator.ts'
import type { Bans } from '../../security/bans.ts'
import type { AdmissionPort } from '../shared/admission.ts'
import type {
  ClientMove,
  ConnectedClient,
  ListeningEndpoint,
  ProtocolCounters,
  ProtocolLog,
  ProtocolServer,
} from '../shared/protocol-server.ts'
import type { Rates } from '../shared/rates.ts'
import { SeldomLog } from '../shared/seldom-log.ts'
import { ClientEvents } from './client-events.ts'
import { MqttConnection } from './connection.ts'
import { Flapping } from './flapping.ts'
import type { SharedHeaders } from './foreign-properties.ts'
import { WEB_SOCKET_MESSAGE_BYTES_MAX } from './limits.ts'
import { MqttListeners, type MqttListenersOptions, type MqttPeer } from './listeners.ts'
import { SYSTEM_LEVEL } from './mapping.ts'
import { ReasonCode } from './packets.ts'
import type { MqttPolicy, MqttRules } from './policy.ts'
import type { MqttSession, SessionCounts, SessionServices } from './session.ts'
import { type SystemCounts, SystemTopics } from './system-topics.ts'

export type MqttEntrances = Omit<MqttListenersOptions, 'log' | 'onPeer' | 'messageBytesMax'>

export interface MqttServerOptions {
  readonly entrances: MqttEntrances
  /** For connections that begin now. */
  readonly packetBytesMax: () => number
  readonly policy: () => MqttPolicy
  readonly rules: () => MqttRules
  readonly rates: Rates
  readonly bans: Bans
  /** Of this broker. */
  readonly node: string
  readonly version: string
  readonly gauges: () => SystemGauges
  readonly admission: AdmissionPort
  readonly security: Authenticator
  readonly messaging: Messaging
  /** What messages of other dialects say; undefined: there are none. */
  readonly shared?: SharedHeaders | undefined
  readonly clock: Clock
  readonly log: ProtocolLog
}

/** What the rest of the broker knows. */
export type SystemGauges = Pick<
  SystemCounts,
  | 'offline'
  | 'subscriptions'
  | 'retained'
  | 'retainedRefused'
  | 'heapBytes'
  | 'stored'
  | 'expired'
  | 'bridges'
>

type Writable<T> = { -readonly [K in keyof T]: number }

interface Counts extends Writable<SessionCounts> {
  bytesIn: number
  bytesOut: number
  opened: number
  accepted: number
}

const NO_COUNTS: SessionCounts = {
  ...{ messagesIn: 0, messagesOut: 0, payloadIn: 0, payloadOut: 0 },
  ...{ dropped: 0, denied: 0, packetsIn: 0, packetsOut: 0, acknowledged: 0, redelivered: 0 },
}

const CHECK_MS = 1_000
const VERSIONS = { 3: 'MQTT 3.1', 4: 'MQTT 3.1.1', 5: 'MQTT 5.0' } as const
const DETACH_WAIT_MS = 4_000

export class MqttServer implements ProtocolServer {
  readonly protocol = 'mqtt'
  readonly latencies = { publish: new Latencies(), delivery: new Latencies() }
  readonly #options: MqttServerOptions
  readonly #connections = new Set<MqttConnection>()
  readonly #detaching = new Set<Promise<void>>()
  readonly #services: SessionServices
  /** Of connections that have ended. */
  readonly #ended: Counts = {
    ...NO_COUNTS,
    ...{ bytesIn: 0, bytesOut: 0, opened: 0, accepted: 0 },
  }
  /** Which of the named servers the next client is told. */
  #turn = 0
  readonly #listeners: MqttListeners
  #checks: Timer | undefined

  constructor(options: MqttServerOptions) {
    this.#options = options
    const { messaging, clock, log, packetBytesMax, policy, rules } = options
    const { admission, security, rates, bans } = options
    const prefix = randomUUID().slice(0, 8)
    let tokens = 0
    this.#services = {
      messaging,
      clock,
      log: new SeldomLog(log, clock),
      packetBytesMax,
      policy,
      rules,
      ...{ rates, bans, latencies: this.latencies },
      ...this.#watchers(),
      shared: options.shared,
      admission,
      security,
      nextToken: () => `${prefix}-${tokens++}`,
      nextClientId: () => `auto-${randomBytes(12).toString('base64url')}`,
      onConnected: (session) => {
        this.#ended.accepted++
        this.#services.events.connected(session)
      },
      onClosed: (session, detached) => this.#sessionClosed(session, detached),
    }
    security.onRevoked((user) => {
      for (const { session } of [...this.#connections]) {
        if (session.connected?.user === user) session.revoke('its user has changed')
      }
    })
    bans.onChange(() => {
      for (const { session } of [...this.#connections]) session.checkBan()
    })
    security.onRules(() => {
      for (const { session } of [...this.#connections]) session.checkAccess()
    })
    this.#listeners = new MqttListeners({
      ...options.entrances,
      log,
      messageBytesMax: WEB_SOCKET_MESSAGE_BYTES_MAX,
      onPeer: (peer, onHttp) => this.accept(peer, onHttp),
    })
  }

  async start(): Promise<readonly ListeningEndpoint[]> {
    const endpoints = await this.#listeners.start()
    this.#check()
    return endpoints
  }

  /** Those who tell of what clients do. */
  #watchers(): Pick<SessionServices, 'events' | 'flapping' | 'system'> {
    const { messaging, clock, policy, node, version } = this.#options
    const publish = (message: Message): void => {
      messaging.publish(message, undefined)
    }
    return {
      events: new ClientEvents({
        ...{ node, clock, publish },
        isOn: () => policy().tellsEvents && messaging.reaches(SYSTEM_LEVEL),
      }),
      flapping: new Flapping(clock, () => policy().flapping),
      system: new SystemTopics({
        ...{ node, version, clock, publish },
        publishHere: (message) => messaging.publishHere(message),
        intervalSeconds: () => policy().systemSeconds,
        counts: () => this.#systemCounts(),
      }),
    }
  }

  #check(): void {
    const { clock } = this.#options
    const now = clock.nowMs()
    for (const connection of [...this.#connections]) connection.check(now)
    this.#services.system.tick()
    this.#checks = clock.after(CHECK_MS, () => this.#check())
  }

  async stop(): Promise<void> {
    this.#checks?.cancel()
    const stopped = this.#listeners.stop()
    this.disconnectAll('the broker is shutting down')
    const told = Promise.all([...this.#detaching])
    // Owners that do not answer learn it from this broker's leave.
    const enough = new Promise<void>((resolve) =>
      this.#options.clock.after(DETACH_WAIT_MS, resolve),
    )
    await Promise.race([told, enough])
    await stopped
    this.#options.security.stop()
  }

  disconnectAll(reason: string): void {
    const reasonCode = ReasonCode.serverShuttingDown
    for (const { session } of [...this.#connections]) {
      session.close({ reasonCode, reason, publishWill: true })
    }
  }

  get connections(): number {
    return this.#connections.size
  }

  moveClients(count: number, { serversBy, closeOthers }: ClientMove): number {
    const known = new Map<string, readonly string[]>()
    let moved = 0
    let looked = this.#connections.size
    while (moved < count && looked-- > 0) {
      const connection = this.#nextToMove()
      if (connection === undefined) break
      const { session, peer } = connection
      const servers = known.get(peer.entrance) ?? serversBy(peer.entrance)
      known.set(peer.entrance, servers)
      const canBeTold = session.version === 5 && servers.length > 0
      if (session.state !== 'connected' || !(canBeTold || closeOthers)) continue
      const server = servers[this.#turn++ % servers.length]
      const reasonCode = server === undefined ? ReasonCode.serverBusy : ReasonCode.useAnotherServer
      const reason = 'the client is moved to another broker'
      const to = server === undefined ? {} : { server }
      session.close({ reasonCode, reason, publishWill: true, ...to })
      moved++
    }
    return moved
  }

  /**
   * One after the other, from where the last move ended: who was looked at goes to the end. An iterator that is
   * kept would keep every connection that there has been since.
   */
  #nextToMove(): MqttConnection | undefined {
    const [next] = this.#connections
    if (next === undefined) return undefined
    this.#connections.delete(next)
    this.#connections.add(next)
    return next
  }

  *clients(): Generator<ConnectedClient> {
    for (const { session, peer } of this.#connections) {
      const { connected } = session
      if (connected === undefined) continue
      const { messagesIn, messagesOut, dropped } = session.counts()
      yield {
        clientId: session.clientId,
        user: connected.user,
        protocol: VERSIONS[session.version],
        remote: session.transport.remote,
        entrance: peer.entrance,
        connectedAtMs: connected.connectedAtMs,
        keepAliveSeconds: connected.connect.keepAliveSeconds,
        expirySeconds: connected.expirySeconds,
        subscriptions: connected.session.subscriptions(),
        ...{ messagesIn, messagesOut, dropped },
      }
    }
  }

  kick(clientId: string): boolean {
    let isKnown = false
    for (const { session } of [...this.#connections]) {
      if (session.clientId !== clientId || session.connected === undefined) continue
      isKnown = true
      const reasonCode = ReasonCode.administrativeAction
      session.close({ reasonCode, reason: 'ended by an operator', publishWill: true })
    }
    return isKnown
  }

  counters(): ProtocolCounters {
    const { payloadIn, payloadOut, packetsIn, packetsOut, accepted, ...counts } = this.#counts()
    const more = { payloadIn, payloadOut, packetsIn, packetsOut, accepted }
    return { connections: this.#connections.size, ...counts, more }
  }

  #counts(): Counts {
    const sum = { ...this.#ended }
    for (const { session, bytesRead, outbox } of this.#connections) {
      add(sum, session.counts())
      sum.bytesIn += bytesRead
      sum.bytesOut += outbox.bytesWritten
    }
    return sum
  }

  #systemCounts(): SystemCounts {
    const { denied: _, acknowledged: __, redelivered: ___, ...counts } = this.#counts()
    const connected = this.#connections.size
    let sharedSubscriptions = 0
    let inFlight = 0
    for (const { session } of this.#connections) {
      const { session: attached, outbound } = session.connected ?? {}
      inFlight += outbound?.inFlight ?? 0
      for (const filter of attached?.filters() ?? []) {
        if (isShared(filter)) sharedSubscriptions++
      }
    }
    const now = { connected, sharedSubscriptions, inFlight }
    return { ...counts, ...this.#options.gauges(), ...now }
  }

  /** A client has come in. `onHttp` is there where it may turn out to speak WebSocket. */
  accept(peer: MqttPeer, onHttp: ((begun: Buffer) => void) | undefined): void {
    this.#ended.opened++
    if (this.#options.admission.isOverrun) {
      peer.stream.destroy()
      return
    }
    const connection = new MqttConnection(peer, {
      services: this.#services,
      onHttp,
      onEnd: (ended) => {
        this.#ended.bytesIn += ended.bytesRead
        this.#ended.bytesOut += ended.outbox.bytesWritten
        this.#connections.delete(ended)
      },
    })
    this.#connections.add(connection)
  }

  #sessionClosed(session: MqttSession, detached: Promise<void>): void {
    add(this.#ended, session.counts())
    this.#services.events.disconnected(session)
    this.#detaching.add(detached)
    void detached.then(() => this.#detaching.delete(detached))
  }
}

function add(sum: Writable<SessionCounts>, counts: SessionCounts): void {
  for (const [name, count] of Object.entries(counts)) sum[name as keyof SessionCounts] += count
}
