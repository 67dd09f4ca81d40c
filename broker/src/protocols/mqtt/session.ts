/**
 * The conversation with one client, as a state machine that knows no socket.
 *
 *   waiting --CONNECT--> connecting --attached--> connected --+--> closed
 *      |                     |                                |
 *      +---------------------+--------- any failure ----------+
 *
 * While connecting, and while the publisher is held back, the transport does not read.
 */
import type { AttachedSession } from '../../core/attached-session.ts'
import { BrokerError } from '../../core/errors.ts'
import type { GroupDelivery } from '../../core/groups/hosted-groups.ts'
import type { Message, Subscription } from '../../core/message.ts'
import type { Messaging } from '../../core/messaging.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { Delivery } from '../../core/ports/connections.ts'
import type { Access } from '../../security/access.ts'
import type { Authenticator } from '../../security/authenticator.ts'
import type { Bans } from '../../security/bans.ts'
import type { AdmissionPort } from '../shared/admission.ts'
import type { Outbox } from '../shared/outbox.ts'
import type { ProtocolLatencies } from '../shared/protocol-server.ts'
import type { ClientRates, Rates, Sent } from '../shared/rates.ts'
import type { SeldomLog } from '../shared/seldom-log.ts'
import type { ClientEvents } from './client-events.ts'
import { encode } from './codec/encode.ts'
import type { MqttError } from './codec/mqtt-error.ts'
import { violation } from './codec/mqtt-error.ts'
import type { PacketSink, PublishView } from './codec/packet-reader.ts'
import { reasonOf } from './errors.ts'
import type { Flapping } from './flapping.ts'
import type { SharedHeaders } from './foreign-properties.ts'
import { handlers } from './handlers/index.ts'
import type { Inbound } from './inbound.ts'
import { MEMORY_WAIT_MS } from './limits.ts'
import type { MqttPeer } from './listeners.ts'
import type { Outbound } from './outbound.ts'
import {
  type AckType,
  type ConnectPacket,
  type Packet,
  PacketType,
  type Properties,
  type ProtocolVersion,
  ReasonCode,
} from './packets.ts'
import type { MqttPolicy, MqttRules } from './policy.ts'
import type { Rewriter } from './rewrite.ts'
import type { SystemTopics } from './system-topics.ts'

/** What the session asks of the connection that carries it. */
export interface Transport {
  readonly outbox: Outbox
  readonly remote: string
  readonly peer: Omit<MqttPeer, 'stream'>
  /** The largest packet that it reads. */
  readonly packetBytesMax: number
  /** Whether packets are read. */
  setReading(reading: boolean): void
  /** Nothing more is taken from the socket for so long; what has been taken goes on. */
  rest(ms: number): void
  /** Seconds without a packet after which the client counts as gone; 0 never. */
  setKeepAlive(seconds: number): void
  /** Sends what is queued, then ends. Idempotent. */
  close(): void
}

/** What all sessions of a server share. */
export interface SessionServices {
  readonly messaging: Messaging
  readonly clock: Clock
  readonly log: SeldomLog
  readonly nextToken: () => string
  readonly nextClientId: () => string
  /** For connections that begin now. */
  readonly packetBytesMax: () => number
  readonly policy: () => MqttPolicy
  readonly rules: () => MqttRules
  readonly events: ClientEvents
  readonly flapping: Flapping
  readonly system: SystemTopics
  readonly admission: AdmissionPort
  readonly rates: Rates
  readonly bans: Bans
  readonly security: Authenticator
  readonly latencies: ProtocolLatencies
  readonly shared: SharedHeaders | undefined
  readonly onConnected: (session: MqttSession) => void
  readonly onClosed: (session: MqttSession, detached: Promise<void>) => void
}

/** What is there once the client is connected. */
export interface Connected {
  readonly session: AttachedSession
  readonly inbound: Inbound
  readonly outbound: Outbound
  readonly connect: ConnectPacket
  readonly expirySeconds: number
  /** Wall clock, ms. */
  readonly connectedAtMs: number
  readonly user: string
  /** Undefined: everything is allowed. */
  readonly access: Access | undefined
  /** Wall clock, ms: the client must not stay for longer. */
  readonly until: number | undefined
  readonly rewriter: Rewriter
  readonly rates: ClientRates
}

/** Of one connection. */
export interface SessionCounts {
  readonly messagesIn: number
  readonly messagesOut: number
  /** Bytes of payload. */
  readonly payloadIn: number
  readonly payloadOut: number
  /** Messages that the client was too slow for, that it does not take, or that expired. */
  readonly dropped: number
  readonly denied: number
  /** By the client. */
  readonly acknowledged: number
  readonly redelivered: number
  readonly packetsIn: number
  readonly packetsOut: number
}

type State =
  | { readonly kind: 'waiting' }
  | { readonly kind: 'connecting' }
  | { readonly kind: 'connected'; readonly connected: Connected }
  | { readonly kind: 'closed' }

export interface CloseOptions {
  /** Told to the client where its version can be told. */
  readonly reasonCode: number
  readonly reason: string
  readonly publishWill: boolean
  readonly expirySeconds?: number
  /** The client closed by itself, so nothing is sent. */
  readonly silent?: boolean
  /** `host:port` that the client shall use instead. */
  readonly server?: string
}

const OPEN = { reason: '', reasonCode: 0 }

export class MqttSession implements PacketSink {
  readonly transport: Transport
  readonly services: SessionServices
  version: ProtocolVersion = 4
  clientId = ''
  /** The client wants to be told reasons in words. [MQTT-3.1.2-29] */
  explains = false
  /** The largest packet that the client takes. */
  packetBytesMax = Number.MAX_SAFE_INTEGER
  /** That CONNECT named. */
  authenticationMethod: string | undefined
  /** Why it ended, while it is being closed. */
  ending: { readonly reason: string; readonly reasonCode: number } = OPEN
  #packetsIn = 0
  #answer: ((data: Buffer | undefined) => void) | undefined
  #state: State = { kind: 'waiting' }

  constructor(transport: Transport, services: SessionServices) {
    this.transport = transport
    this.services = services
  }

  get state(): State['kind'] {
    return this.#state.kind
  }

  get connected(): Connected | undefined {
    return this.#state.kind === 'connected' ? this.#state.connected : undefined
  }

  counts(): SessionCounts {
    const { inbound, outbound } = this.connected ?? {}
    return {
      denied: inbound?.denied ?? 0,
      messagesIn: inbound?.messages ?? 0,
      payloadIn: inbound?.payloadBytes ?? 0,
      messagesOut: outbound?.messages ?? 0,
      payloadOut: outbound?.payloadBytes ?? 0,
      dropped: outbound?.dropped ?? 0,
      acknowledged: outbound?.acknowledgements ?? 0,
      redelivered: outbound?.redelivered ?? 0,
      packetsIn: this.#packetsIn,
      packetsOut: this.transport.outbox.packets,
    }
  }

  /** Messages of the client so far. */
  get published(): number {
    return this.connected?.inbound.messages ?? 0
  }

  /** What the client has sent since the last call; answers for how long not to read it, ms. */
  spend(sent: Sent): number {
    const { connected, services } = this
    if (connected === undefined) return 0
    const waitMs = connected.rates.spend(sent)
    if (waitMs > 0 && services.policy().disconnectsExcess) {
      const reason = 'more messages or bytes than it may send'
      this.close({ reasonCode: ReasonCode.messageRateTooHigh, reason, publishWill: true })
      return 0
    }
    const isPublisher = sent.messages > 0 && services.admission.isOutOfMemory
    return isPublisher ? Math.max(waitMs, MEMORY_WAIT_MS) : waitMs
  }

  /** Called about every second. */
  checkPace(nowMs: number): void {
    const { events, log, policy, clock } = this.services
    const until = this.connected?.until
    if (until !== undefined && until <= clock.wallMs())
      this.revoke('what it came in by has expired')
    const change = this.connected?.outbound.checkPace(nowMs, policy().slowAfterMs)
    if (change === undefined) return
    events.pace(this, change)
    if (change !== 'slow') return
    const fields = { errId: 'MQTT_SLOW_CLIENT', client: this.clientId, reason: 'it is behind' }
    log.warn(fields, 'a client is slow to take what it is sent')
  }

  publish(view: PublishView): void {
    this.#packetsIn++
    this.#requireConnected()
    if (this.#state.kind === 'connected') this.#state.connected.inbound.publish(view)
  }

  acknowledge(type: AckType, packetId: number, reasonCode: number): void {
    this.#packetsIn++
    this.#requireConnected()
    if (this.#state.kind !== 'connected') return
    const { inbound, outbound } = this.#state.connected
    if (type === PacketType.pubrel) inbound.release(packetId)
    else outbound.acknowledged(type, packetId, reasonCode)
  }

  packet(packet: Packet): void {
    this.#packetsIn++
    if (this.#state.kind === 'closed') return
    if (packet.kind !== 'auth' && packet.kind !== 'disconnect') this.#requireConnected()
    const handle = handlers[packet.kind] as
      | ((session: MqttSession, packet: Packet) => void)
      | undefined
    if (handle === undefined)
      throw violation('[MQTT-4.13.1-1]', `a client may not send ${packet.kind}`)
    handle(this, packet)
  }

  /** Until CONNACK a client may go on with its authentication, or leave. [MQTT-3.1.2-30] */
  #requireConnected(): void {
    if (this.#state.kind !== 'connecting') return
    throw violation('[MQTT-3.1.2-30]', 'a packet that must not come before CONNACK')
  }

  /** The client owes an answer to its method of authentication. */
  get isChallenged(): boolean {
    return this.#answer !== undefined
  }

  /** Sends what the method of authentication asks; resolves with what the client answers, if it does. */
  challenge(properties: Properties): Promise<Buffer | undefined> {
    return new Promise((resolve) => {
      if (this.#state.kind === 'closed') return
      this.#answer = resolve
      this.send({ kind: 'auth', reasonCode: ReasonCode.continueAuthentication, properties })
      if (this.#state.kind === 'connecting') this.transport.setReading(true)
    })
  }

  answered(data: Buffer | undefined): void {
    const answer = this.#answer
    this.#answer = undefined
    if (this.#state.kind === 'connecting') this.transport.setReading(false)
    answer?.(data)
  }

  beginConnecting(clientId: string): void {
    this.#state = { kind: 'connecting' }
    this.clientId = clientId
    this.transport.setReading(false)
  }

  /** False: the client has gone in the meantime. */
  finishConnecting(connected: Connected): boolean {
    if (this.#state.kind !== 'connecting') return false
    this.#state = { kind: 'connected', connected }
    this.services.onConnected(this)
    return true
  }

  /** What CONNECT says about how to answer, a refusal too. */
  heard({ version, properties }: ConnectPacket): void {
    this.version = version
    this.explains = version === 5 && properties.requestProblemInformation !== false
    this.authenticationMethod = properties.authenticationMethod
    this.packetBytesMax = properties.maximumPacketSize ?? Number.MAX_SAFE_INTEGER
  }

  #cannotSay(packet: Packet): void {
    const reason = 'the client takes no packet as large as the answer'
    // Before CONNACK there is no DISCONNECT. [MQTT-3.14.0-1]
    const silent = packet.kind === 'connack'
    this.close({ reasonCode: ReasonCode.packetTooLarge, reason, publishWill: true, silent })
  }

  /** Seconds that the session outlives its connection, of those asked for. */
  expiryOf(asked: number): number {
    return Math.min(asked, this.services.policy().sessionExpiryMaxSeconds ?? asked)
  }

  send(packet: Packet): void {
    if (this.#state.kind === 'closed') return
    let bytes = encode(packet, this.version)
    if (bytes.length > this.packetBytesMax && 'properties' in packet) {
      // Words are left out before anything else. [MQTT-3.2.2-19] [MQTT-3.14.2-3]
      const { reasonString: _, ...properties } = packet.properties
      bytes = encode({ ...packet, properties } as Packet, this.version)
    }
    if (bytes.length > this.packetBytesMax) {
      // [MQTT-3.1.2-24] The client could not tell what has become of it.
      if (packet.kind !== 'disconnect') this.#cannotSay(packet)
      return
    }
    this.transport.outbox.slice(bytes, 0, bytes.length)
  }

  /** Live messages, from the core. */
  deliver(message: Message, grants: readonly Subscription[]): void {
    if (this.#state.kind === 'connected') this.#state.connected.outbound.deliver(message, grants)
  }

  /** Of a shared subscription, from the core. */
  deliverShared(delivery: GroupDelivery, done: () => void): void {
    if (this.#state.kind === 'connected') {
      this.#state.connected.outbound.deliverShared(delivery, done)
    }
  }

  /** Messages of the inbox, from the core. */
  push(deliveries: readonly Delivery[]): void {
    if (this.#state.kind === 'connected') this.#state.connected.outbound.push(deliveries)
  }

  /** What the client was allowed to do has changed. */
  checkAccess(): void {
    const { connected } = this
    if (connected?.access === undefined) return
    const { access, session } = connected
    if (session.filters().every((filter) => access.maySubscribe(filter))) return
    this.revoke('it may not subscribe any more to what it is subscribed to')
  }

  /** Somebody who manages the broker wants the client gone. */
  checkBan(): void {
    const { connected, clientId, transport } = this
    if (connected === undefined) return
    const visitor = { clientId, user: connected.user, address: transport.peer.address }
    if (!this.services.bans.isBanned(visitor)) return
    const reasonCode = ReasonCode.administrativeAction
    this.close({ reasonCode, reason: 'the client is banned', publishWill: true })
  }

  revoke(reason: string): void {
    this.close({ reasonCode: ReasonCode.notAuthorized, reason, publishWill: true })
  }

  /** Another connection has the session. [MQTT-3.1.4-3] */
  evicted(): void {
    const reasonCode = ReasonCode.sessionTakenOver
    this.close({ reasonCode, reason: 'another connection has the session', publishWill: true })
  }

  /** The client broke a rule of the protocol. */
  violated(error: MqttError): void {
    const { reasonCode, message: reason } = error
    this.services.log.warn(
      {
        errId: 'MQTT_PROTOCOL_ERROR',
        client: this.clientId,
        remote: this.transport.remote,
        reason,
      },
      'closing a connection that broke the protocol',
    )
    if (this.#state.kind === 'waiting' || this.#state.kind === 'connecting') {
      // Before MQTT 5 there is no return code for a CONNECT that breaks the rules. [MQTT 3.1.1 MQTT-3.1.4-1]
      const canSay = this.version === 5 || reasonCode === ReasonCode.unsupportedProtocolVersion
      if (canSay) this.refuse(reasonCode, { reason })
      else this.#end(Promise.resolve())
    } else this.close({ reasonCode, reason, publishWill: true })
  }

  /** The broker cannot do what the client needs. */
  failed(error: unknown): void {
    if (this.#state.kind === 'closed') return
    const reason = error instanceof Error ? error.message : String(error)
    this.services.log.warn(
      { errId: 'MQTT_SESSION_FAILED', client: this.clientId, reason },
      'closing',
    )
    const told = error instanceof BrokerError ? reason : 'the broker failed'
    this.close({ reasonCode: reasonOf(error), reason: told, publishWill: true })
  }

  /** Answers CONNECT with a reason, and closes. */
  refuse(reasonCode: number, more: { server?: string | undefined; reason?: string } = {}): void {
    if (this.#state.kind === 'closed') return
    const properties = this.#told(more)
    this.send({ kind: 'connack', sessionPresent: false, reasonCode, properties })
    this.#end(Promise.resolve())
  }

  close(options: CloseOptions): void {
    const state = this.#state
    if (state.kind === 'closed') return
    this.ending = options
    if (state.kind !== 'connected') {
      this.#end(Promise.resolve())
      return
    }
    if (this.version === 5 && options.silent !== true) {
      const properties = this.#told(options)
      this.send({ kind: 'disconnect', reasonCode: options.reasonCode, properties })
    }
    state.connected.rates.leave()
    this.services.admission.leave(state.connected.user)
    const { publishWill, expirySeconds } = options
    this.#end(state.connected.session.detach({ publishWill, expirySeconds }))
  }

  /** Reasons in words for those who ask for them, and where to go instead. */
  #told({ server, reason }: { server?: string | undefined; reason?: string }): Properties {
    return {
      ...(server !== undefined && { serverReference: server }),
      ...(reason !== undefined && this.explains && { reasonString: reason }),
    }
  }

  #end(detached: Promise<void>): void {
    this.services.onClosed(this, detached)
    this.#state = { kind: 'closed' }
    this.transport.close()
  }
}
