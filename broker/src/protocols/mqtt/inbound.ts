/**
 * What a client publishes. Acknowledges in the order of arrival, and only what holds. [MQTT-4.6.0-2, -3]
 * Exactly once: a packet id is noted (durably, if the session outlives its connection) before its message
 * is routed, and forgotten when the client releases it. [MQTT-4.3.3]
 */
import { isUtf8 } from 'node:buffer'
import type { AttachedSession } from '../../core/attached-session.ts'
import { type Message, ownCopy, type PublishOutcome, type Receipt } from '../../core/message.ts'
import type { Messaging } from '../../core/messaging.ts'
import type { Latencies } from '../../core/ports/telemetry.ts'
import type { Access } from '../../security/access.ts'
import type { Outbox } from '../shared/outbox.ts'
import { encode, encodeAck } from './codec/encode.ts'
import { MqttError } from './codec/mqtt-error.ts'
import type { PublishView } from './codec/packet-reader.ts'
import { delayedTopic } from './delayed.ts'
import { OWED_BYTES_MAX, RECEIVE_MAXIMUM, TOPIC_ALIAS_MAXIMUM } from './limits.ts'
import { isSystem, PublishedMessage, topicOf } from './mapping.ts'
import { PacketType, type ProtocolVersion, ReasonCode } from './packets.ts'
import type { MqttPolicy } from './policy.ts'
import type { Rewriter } from './rewrite.ts'

export interface InboundOptions {
  readonly session: AttachedSession
  readonly messaging: Messaging
  readonly outbox: Outbox
  readonly version: ProtocolVersion
  /** Undefined: everything is allowed. */
  readonly access: Access | undefined
  readonly policy: () => MqttPolicy
  /** The address that a topic stands for. */
  readonly rewriter: Pick<Rewriter, 'topic'>
  /** Reasons are told in words too. */
  readonly explains: boolean
  /** The largest packet that the client takes. */
  readonly packetBytesMax: number
  /** Wall clock. */
  readonly nowMs: () => number
  /** The other side knows nothing of what it has sent before: no packet id of it is under way. */
  readonly isFresh?: boolean
  /** More under way than the receive maximum is no offence: some brokers send it when they are connected again. */
  readonly allowsExcess?: boolean
  /** Monotonic. */
  readonly clockMs: () => number
  readonly latencies: Latencies
  readonly nextToken: () => string
  readonly pauseReading: (paused: boolean) => void
  /** Reads nothing more for so long. */
  readonly rest: (ms: number) => void
  /** The broker cannot keep its promise to this client: close. */
  readonly onFailure: (error: unknown) => void
}

/** One acknowledgement that is owed. */
class Owed implements Receipt {
  packetId = 0
  readonly type: 4 | 5
  reasonCode = -1
  readonly refusable: boolean
  bytes = 0
  /** Until the message is to be published. */
  delayMs = 0
  /** Monotonic: when the message came; negative: its acknowledgement says nothing about how long it took. */
  sinceMs = -1
  readonly #inbound: Inbound

  constructor(inbound: Inbound, type: 4 | 5) {
    this.#inbound = inbound
    this.type = type
    this.refusable = inbound.canRefuse
  }

  slow(ms: number): void {
    this.#inbound.slow(ms)
  }

  settle(outcome: PublishOutcome): void {
    this.reasonCode = outcome === 'accepted' ? ReasonCode.success : ReasonCode.quotaExceeded
    this.#inbound.drain()
  }
}

interface Incoming {
  readonly token: string
  /** PUBREC has been sent on this connection. */
  received: boolean
  /** Its message is being routed on this connection. */
  routing: boolean
}

export class Inbound {
  readonly #options: InboundOptions
  readonly #owed: Owed[] = []
  #owedHead = 0
  #incoming: Map<number, Incoming> | undefined
  #aliases: Map<number, string> | undefined
  /** Exactly-once messages whose packet ids are being noted, in order. */
  readonly #noting: { message: Message; owed: Owed; noted: boolean }[] = []
  /** Taken on this connection and not completed: what counts against the receive maximum. */
  #underWay = 0
  #owedBytes = 0
  #paused = false
  #spare: Owed | undefined
  /** For messages that nothing is owed for. */
  readonly #unowed: Receipt = {
    isSilent: true,
    settle: () => undefined,
    slow: (ms) => this.slow(ms),
  }
  messages = 0
  payloadBytes = 0
  /** Messages that the client may not publish. */
  denied = 0

  constructor(options: InboundOptions) {
    this.#options = options
    if (options.isFresh === true) return
    for (const [packetId, token] of options.session.incoming) {
      this.#noteIncoming(packetId, { token, received: false, routing: false })
    }
  }

  #noteIncoming(packetId: number, incoming: Incoming): void {
    this.#incoming ??= new Map()
    this.#incoming.set(packetId, incoming)
  }

  /** Throws MqttError for what the client may not do. */
  publish(view: PublishView): void {
    const { messaging, session, nowMs, version } = this.#options
    this.messages++
    const topic = view.topicAlias === 0 ? topicOf(view) : this.#aliased(view)
    const { access, policy, rewriter } = this.#options
    const named = rewriter.topic(topic)
    const delayed = delayedTopic(named)
    if (delayed === 'malformed') {
      this.#deny(view, ReasonCode.topicNameInvalid)
      return
    }
    const address = delayed === undefined ? named : delayed.topic
    const delayMs = delayed === undefined ? 0 : delayed.seconds * 1_000
    this.payloadBytes += view.end - view.payloadStart
    // What the server says of itself nobody else may say.
    if (isSystem(address) || (access !== undefined && !access.mayPublish(address, view))) {
      this.#deny(view, ReasonCode.notAuthorized)
      return
    }
    if (view.retain && isTooLarge(view, policy().retainedBytesMax)) {
      this.#deny(view, ReasonCode.quotaExceeded)
      return
    }
    if (view.isTextPayload && policy().checksPayloadFormat && !isText(view)) {
      this.#refusePayload(view)
      return
    }
    const isRenamed = address !== topic
    if (view.qos === 2) {
      this.#exactlyOnce(view, address, { isRenamed, delayMs })
      return
    }
    const context = {
      address,
      nowMs: nowMs(),
      publisher: session.name,
      token: '',
      layout5: version === 5,
      isRenamed,
    }
    const message = new PublishedMessage(view, context)
    if (view.qos === 0) {
      if (delayMs === 0) messaging.publish(message, this.#unowed)
      else this.#schedule(message, delayMs).catch(() => undefined)
      return
    }
    if (this.#waiting === 0 && !message.retain && delayMs === 0) {
      // The common case owes nothing: a receipt that was not needed serves the next message.
      const owed = this.#spare ?? new Owed(this, PacketType.puback)
      owed.packetId = view.packetId
      owed.bytes = view.end - view.start
      if (messaging.publish(message, owed)) {
        this.#spare = owed
        // In the turn in which it came: not worth a look at the clock.
        this.#options.latencies.record(0)
        this.#options.outbox.word(PacketType.puback << 4, 2, view.packetId)
        return
      }
      this.#spare = undefined
      owed.sinceMs = this.#options.clockMs()
      this.#owe(owed)
      // It may have been settled already, while it was not owed yet.
      this.drain()
      return
    }
    const owed = new Owed(this, PacketType.puback)
    owed.packetId = view.packetId
    owed.bytes = view.end - view.start
    owed.delayMs = delayMs
    owed.sinceMs = this.#options.clockMs()
    this.#owe(owed)
    this.#route(message, owed)
  }

  /** Before MQTT 5 there is no way to say that there is no room: the client waits. */
  get canRefuse(): boolean {
    return this.#options.version === 5
  }

  slow(ms: number): void {
    this.#options.rest(ms)
  }

  #refusePayload(view: PublishView): void {
    if (view.qos === 0) {
      const message = 'the payload is not the UTF-8 that it is said to be'
      const { payloadFormatInvalid } = ReasonCode
      throw new MqttError(payloadFormatInvalid, '[MQTT 5.0 section 3.3.2.3.2]', message)
    }
    this.#deny(view, ReasonCode.payloadFormatInvalid)
  }

  /** Before MQTT 5 there is no way to say no: it is acknowledged, and goes nowhere. [MQTT-3.3.5-2] */
  #deny({ qos, packetId }: PublishView, reasonCode: number): void {
    this.denied++
    if (qos === 0) return
    if (qos === 2 && this.#incoming?.has(packetId) === true) {
      // It was taken when it came first.
      this.#acknowledge(PacketType.pubrec, packetId, ReasonCode.success)
      return
    }
    const owed = new Owed(this, qos === 1 ? PacketType.puback : PacketType.pubrec)
    owed.packetId = packetId
    owed.reasonCode = reasonCode
    this.#owe(owed)
    this.drain()
  }

  /** The client releases an exactly-once message. [MQTT-4.3.3-11] */
  release(packetId: number): void {
    const { session, version, onFailure } = this.#options
    const known = this.#incoming?.delete(packetId) === true
    if (known) this.#completed()
    const reasonCode =
      known || version < 5 ? ReasonCode.success : ReasonCode.packetIdentifierNotFound
    if (!known || !session.durable) {
      this.#acknowledge(PacketType.pubcomp, packetId, reasonCode)
      return
    }
    session
      .noteIncoming(packetId, undefined)
      .then(() => this.#acknowledge(PacketType.pubcomp, packetId, reasonCode), onFailure)
  }

  /** Sends what is settled, in order. */
  drain(): void {
    const owed = this.#owed
    while (this.#owedHead < owed.length) {
      const next = owed[this.#owedHead] as Owed
      if (next.reasonCode < 0) break
      this.#owedHead++
      this.#owedBytes -= next.bytes
      if (next.sinceMs >= 0) {
        this.#options.latencies.record(this.#options.clockMs() - next.sinceMs)
      }
      if (next.type === PacketType.pubrec && next.reasonCode === ReasonCode.success) {
        const incoming = this.#incoming?.get(next.packetId)
        if (incoming !== undefined) incoming.received = true
      } else {
        if (next.type === PacketType.pubrec) this.#incoming?.delete(next.packetId)
        this.#completed()
      }
      this.#acknowledge(next.type, next.packetId, next.reasonCode)
    }
    if (this.#owedHead === owed.length || this.#owedHead > RECEIVE_MAXIMUM) {
      owed.splice(0, this.#owedHead)
      this.#owedHead = 0
    }
    const isRelieved = this.#waiting < RECEIVE_MAXIMUM / 2 && this.#owedBytes < OWED_BYTES_MAX / 2
    if (this.#paused && isRelieved) {
      this.#paused = false
      this.#options.pauseReading(false)
    }
  }

  get #waiting(): number {
    return this.#owed.length - this.#owedHead
  }

  #owe(owed: Owed): void {
    this.#owed.push(owed)
    this.#underWay++
    const { version, allowsExcess = false } = this.#options
    if (version === 5 && !allowsExcess && this.#underWay > RECEIVE_MAXIMUM) {
      const message = 'more messages are under way than the receive maximum allows'
      throw new MqttError(ReasonCode.receiveMaximumExceeded, '[MQTT-3.3.4-9]', message)
    }
    this.#owedBytes += owed.bytes
    const isMuch = this.#waiting > RECEIVE_MAXIMUM || this.#owedBytes > OWED_BYTES_MAX
    if (this.#paused || !isMuch) return
    this.#paused = true
    this.#options.pauseReading(true)
  }

  /** What an earlier connection began is completed here too, without having been counted. */
  #completed(): void {
    if (this.#underWay > 0) this.#underWay--
  }

  #exactlyOnce(
    view: PublishView,
    address: string,
    { isRenamed, delayMs }: { readonly isRenamed: boolean; readonly delayMs: number },
  ): void {
    const { session, nowMs, version, nextToken, onFailure } = this.#options
    const { packetId } = view
    const known = this.#incoming?.get(packetId)
    if (known?.received === true) {
      this.#acknowledge(PacketType.pubrec, packetId, ReasonCode.success)
      return
    }
    if (known?.routing === true) return
    const token = known?.token ?? nextToken()
    this.#noteIncoming(packetId, { token, received: false, routing: true })
    const owed = new Owed(this, PacketType.pubrec)
    owed.packetId = packetId
    owed.bytes = view.end - view.start
    owed.delayMs = delayMs
    owed.sinceMs = this.#options.clockMs()
    this.#owe(owed)
    const context = {
      address,
      nowMs: nowMs(),
      publisher: session.name,
      token,
      layout5: version === 5,
      isRenamed,
    }
    const message = new PublishedMessage(view, context)
    if (!session.durable) {
      this.#route(message, owed)
      return
    }
    const entry = { message, owed, noted: false }
    this.#noting.push(entry)
    session.noteIncoming(packetId, token).then(() => {
      entry.noted = true
      this.#routeNoted()
    }, onFailure)
  }

  /** Keeps the order of arrival, whatever order the notes were written in. */
  #routeNoted(): void {
    for (let next = this.#noting[0]; next?.noted === true; next = this.#noting[0]) {
      this.#noting.shift()
      this.#route(next.message, next.owed)
    }
  }

  #route(message: Message, owed: Owed): void {
    if (owed.delayMs > 0) {
      const settle = (): void => owed.settle('accepted')
      this.#schedule(message, owed.delayMs).then(settle, this.#options.onFailure)
    } else if (this.#options.messaging.publish(message, owed)) owed.settle('accepted')
  }

  /** Resolves when the message is sure to be published at its time. */
  #schedule(message: Message, delayMs: number): Promise<void> {
    const { messaging, nowMs } = this.#options
    return messaging.schedule(ownCopy(message), nowMs() + delayMs)
  }

  #aliased(view: PublishView): string {
    if (view.topicAlias > TOPIC_ALIAS_MAXIMUM) {
      const message = `topic alias ${view.topicAlias} is above the maximum`
      throw new MqttError(ReasonCode.topicAliasInvalid, '[MQTT-3.3.2-9]', message)
    }
    if (view.topicEnd > view.topicStart) {
      const address = topicOf(view)
      this.#aliases ??= new Map()
      this.#aliases.set(view.topicAlias, address)
      return address
    }
    const known = this.#aliases?.get(view.topicAlias)
    if (known === undefined) {
      const message = `topic alias ${view.topicAlias} has not been set`
      throw new MqttError(ReasonCode.protocolError, '[MQTT 5.0 section 3.3.2.3.4]', message)
    }
    return known
  }

  #acknowledge(type: 4 | 5 | 7, packetId: number, reasonCode: number): void {
    if (reasonCode === ReasonCode.success) {
      this.#options.outbox.word(type << 4, 2, packetId)
      return
    }
    const { version, explains, packetBytesMax, outbox } = this.#options
    const reasonString = explains ? REASONS[reasonCode] : undefined
    const short = encodeAck({ type, packetId, reasonCode }, version)
    if (version !== 5 || reasonString === undefined) {
      outbox.slice(short, 0, short.length)
      return
    }
    const properties = { reasonString }
    const long = encode({ kind: KINDS[type], packetId, reasonCode, properties }, version)
    // [MQTT-3.4.2-2] [MQTT-3.5.2-2] [MQTT-3.7.2-2]
    const bytes = long.length <= packetBytesMax ? long : short
    outbox.slice(bytes, 0, bytes.length)
  }
}

function isTooLarge({ payloadStart, end }: PublishView, bytesMax: number | null): boolean {
  return bytesMax !== null && end - payloadStart > bytesMax
}

const KINDS = { 4: 'puback', 5: 'pubrec', 7: 'pubcomp' } as const

const REASONS: Readonly<Record<number, string>> = {
  [ReasonCode.notAuthorized]: 'the client may not publish to this topic',
  [ReasonCode.quotaExceeded]: 'more than may be kept',
  [ReasonCode.payloadFormatInvalid]: 'the payload is not the UTF-8 that it is said to be',
  [ReasonCode.packetIdentifierNotFound]: 'no exactly-once message has this packet identifier',
}

function isText({ bytes, payloadStart, end }: PublishView): boolean {
  return isUtf8(bytes.subarray(payloadStart, end))
}
