/** MQTT: its listeners, its connections, and what they share. */
import { randomBytes, randomUUID } from 'node:crypto'
import type { Messaging } from '../../core/messaging.ts'
import type { Clock, Timer } from '../../core/ports/clock.ts'
import type { Authenticator } from '../../security/authenticator.ts'
import type { AdmissionPort } from '../shared/admission.ts'
import type {
  ClientMove,
  ListeningEndpoint,
  ProtocolCounters,
  ProtocolLog,
  ProtocolServer,
} from '../shared/protocol-server.ts'
import { SeldomLog } from '../shared/seldom-log.ts'
import { MqttConnection } from './connection.ts'
import { WEB_SOCKET_MESSAGE_BYTES_MAX } from './limits.ts'
import { MqttListeners, type MqttListenersOptions, type MqttPeer } from './listeners.ts'
import { ReasonCode } from './packets.ts'
import type { MqttPolicy } from './policy.ts'
import type { MqttSession, SessionServices } from './session.ts'

export type MqttEntrances = Omit<MqttListenersOptions, 'log' | 'onPeer' | 'messageBytesMax'>

export interface MqttServerOptions {
  readonly entrances: MqttEntrances
  /** For connections that begin now. */
  readonly packetBytesMax: () => number
  readonly policy: () => MqttPolicy
  readonly admission: AdmissionPort
  readonly security: Authenticator
  readonly messaging: Messaging
  readonly clock: Clock
  readonly log: ProtocolLog
}

const KEEP_ALIVE_CHECK_MS = 1_000
const DETACH_WAIT_MS = 4_000

export class MqttServer implements ProtocolServer {
  readonly protocol = 'mqtt'
  readonly #options: MqttServerOptions
  readonly #connections = new Set<MqttConnection>()
  readonly #detaching = new Set<Promise<void>>()
  readonly #services: SessionServices
  /** Of connections that have ended. */
  readonly #ended = {
    messagesIn: 0,
    messagesOut: 0,
    bytesIn: 0,
    bytesOut: 0,
    dropped: 0,
    denied: 0,
    opened: 0,
  }
  /** Which of the named servers the next client is told. */
  #turn = 0
  readonly #listeners: MqttListeners
  #moving = this.#connections.values()
  #keepAlive: Timer | undefined

  constructor(options: MqttServerOptions) {
    this.#options = options
    const { messaging, clock, log, packetBytesMax, policy, admission, security } = options
    const prefix = randomUUID().slice(0, 8)
    let tokens = 0
    this.#services = {
      messaging,
      clock,
      log: new SeldomLog(log, clock),
      packetBytesMax,
      policy,
      admission,
      security,
      nextToken: () => `${prefix}-${tokens++}`,
      nextClientId: () => `auto-${randomBytes(12).toString('base64url')}`,
      onConnected: () => undefined,
      onClosed: (session, detached) => this.#sessionClosed(session, detached),
    }
    security.onRevoked((user) => {
      for (const { session } of [...this.#connections]) {
        if (session.connected?.user === user) session.revoke('its user has changed')
      }
    })
    security.onRules(() => {
      for (const { session } of [...this.#connections]) session.checkAccess()
    })
    this.#listeners = new MqttListeners({
      ...options.entrances,
      log,
      messageBytesMax: WEB_SOCKET_MESSAGE_BYTES_MAX,
      onPeer: (peer, onHttp) => this.#accept(peer, onHttp),
    })
  }

  async start(): Promise<readonly ListeningEndpoint[]> {
    const endpoints = await this.#listeners.start()
    this.#checkKeepAlive()
    return endpoints
  }

  #checkKeepAlive(): void {
    const { clock } = this.#options
    const now = clock.nowMs()
    for (const connection of [...this.#connections]) connection.checkKeepAlive(now)
    this.#keepAlive = clock.after(KEEP_ALIVE_CHECK_MS, () => this.#checkKeepAlive())
  }

  async stop(): Promise<void> {
    this.#keepAlive?.cancel()
    const stopped = this.#listeners.stop()
    this.disconnectAll('the broker is shutting down')
    const told = Promise.all([...this.#detaching])
    // Owners that do not answer learn it from this broker's leave.
    const enough = new Promise<void>((resolve) =>
      this.#options.clock.after(DETACH_WAIT_MS, resolve),
    )
    await Promise.race([told, enough])
    await stopped
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

  /** One after the other, from where the last move ended. */
  #nextToMove(): MqttConnection | undefined {
    const next = this.#moving.next()
    if (next.done !== true) return next.value
    this.#moving = this.#connections.values()
    return this.#moving.next().value
  }

  counters(): ProtocolCounters {
    const sum = { ...this.#ended }
    for (const { session, bytesRead, outbox } of this.#connections) {
      const counts = session.counts()
      sum.messagesIn += counts.messagesIn
      sum.messagesOut += counts.messagesOut
      sum.dropped += counts.dropped
      sum.denied += counts.denied
      sum.bytesIn += bytesRead
      sum.bytesOut += outbox.bytesWritten
    }
    const { messagesIn, messagesOut, bytesIn, bytesOut, dropped, denied, opened } = sum
    const more = { dropped, denied, opened }
    return { connections: this.#connections.size, messagesIn, messagesOut, bytesIn, bytesOut, more }
  }

  #accept(peer: MqttPeer, onHttp: ((begun: Buffer) => void) | undefined): void {
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
    const counts = session.counts()
    this.#ended.messagesIn += counts.messagesIn
    this.#ended.messagesOut += counts.messagesOut
    this.#ended.dropped += counts.dropped
    this.#ended.denied += counts.denied
    this.#detaching.add(detached)
    void detached.then(() => this.#detaching.delete(detached))
  }
}
