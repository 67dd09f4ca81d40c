/**
 * One connection of a bridge, from CONNECT to its end. It is a client to the other broker, and to this cluster a
 * durable session: what is taken from the other side is acknowledged to it when it is safe here, what waits for the
 * other side is acknowledged here when that side has it. The states of both directions are those of our own
 * clients' connections, seen from the other end.
 */
import type { AttachedSession } from '../../../core/attached-session.ts'
import { type Message, ownCopy, type Subscription } from '../../../core/message.ts'
import { filterMatches, type Messaging } from '../../../core/messaging.ts'
import type { Clock } from '../../../core/ports/clock.ts'
import type { Delivery } from '../../../core/ports/connections.ts'
import { Latencies } from '../../../core/ports/telemetry.ts'
import { encode } from '../codec/encode.ts'
import type { PacketSink, PublishView } from '../codec/packet-reader.ts'
import { Inbound } from '../inbound.ts'
import { RECEIVE_MAXIMUM, TOPIC_ALIAS_MAXIMUM, WINDOW_3X, WINDOW_MAX } from '../limits.ts'
import { Outbound } from '../outbound.ts'
import {
  type AckType,
  type ConnackPacket,
  type ConnectPacket,
  type Packet,
  PacketType,
  ReasonCode,
  type SubackPacket,
} from '../packets.ts'
import type { MqttPolicy } from '../policy.ts'
import { BridgeConnection } from './connection.ts'
import { type BridgeDefinition, sessionOf } from './definition.ts'
import { leaving, pathOf } from './path.ts'

export interface BridgeServices {
  readonly messaging: Messaging
  readonly clock: Clock
  readonly policy: () => MqttPolicy
  readonly packetBytesMax: () => number
  readonly clusterId: () => string
  readonly nextToken: () => string
}

export interface BridgeCounts {
  received: number
  sent: number
  /** Came back here, or would have been sent where it had been. */
  looped: number
  /** The other side did not take them. */
  refused: number
}

export const FOREVER_SECONDS = 0xffff_ffff
/** The owner of every bridge's session: no user of the metadata takes one over. */
export const BRIDGE_USER = '$bridge'

const ANSWER_MS = 10_000
/** A week: so long may a bridge be away and the other side keeps what waits for it. */
const REMOTE_EXPIRY_SECONDS = 7 * 86_400
const SUBSCRIBE_ID = 1
/** mosquitto and others take a 3.1.1 client that sets this bit of its level for a bridge. */
const BRIDGE_BIT = 0x80
/** Of `00 04 M Q T T` and the level behind the fixed header. */
const LEVEL_AT = 6
const UNSENT_BYTES_MAX = 8 * 1024 * 1024
const WAITING_BYTES_MAX = 64 * 1024 * 1024

interface Flow {
  readonly session: AttachedSession
  readonly inbound: Inbound
  readonly outbound: Outbound
  /** Lower where the other side takes no more. */
  readonly qosMax: 0 | 1 | 2
  readonly takesRetained: boolean
}

export class Conversation implements PacketSink {
  readonly #definition: BridgeDefinition
  readonly #services: BridgeServices
  readonly #counts: BridgeCounts
  readonly #connection: BridgeConnection
  #connack: ((packet: ConnackPacket) => void) | undefined
  #suback: ((packet: SubackPacket) => void) | undefined
  #flow: Flow | undefined
  /** Packet ids of exactly-once messages that were dropped, since they had been here. */
  readonly #dropped = new Set<number>()

  constructor(definition: BridgeDefinition, services: BridgeServices, counts: BridgeCounts) {
    this.#definition = definition
    this.#services = services
    this.#counts = counts
    const { clock, packetBytesMax } = services
    this.#connection = new BridgeConnection({
      ...{ definition, clock, packetBytesMax: packetBytesMax(), sink: this },
    })
  }

  /** Resolves when messages flow; answers the filters that the other side refused. Rejects with the reason. */
  async begin(): Promise<readonly string[]> {
    const connection = this.#connection
    try {
      await connection.open()
      connection.sendBytes(connectBytes(this.#definition, this.#services.packetBytesMax()))
      const connack = await this.#answer<ConnackPacket>((take) => {
        this.#connack = take
      })
      if (connack.reasonCode !== ReasonCode.success) {
        const text = connack.properties.reasonString ?? ''
        throw new Error(
          `the other side refused: 0x${connack.reasonCode.toString(16)} ${text}`.trim(),
        )
      }
      this.#flow = await this.#attach(connack)
      connection.resume()
      const refused = await this.#subscribe()
      this.#flow.session.start()
      return refused
    } catch (error) {
      connection.close(error instanceof Error ? error.message : String(error))
      await this.end()
      throw error
    }
  }

  /** Resolves with the reason when it has ended by itself, or was told to. */
  get ended(): Promise<string> {
    return this.#connection.ended
  }

  /** Tells both sides; resolves when this one knows. */
  async end(): Promise<void> {
    const flow = this.#flow
    this.#flow = undefined
    if (flow !== undefined) {
      this.#connection.send({ kind: 'disconnect', reasonCode: 0, properties: {} })
    }
    this.#connection.close('the bridge was stopped')
    await flow?.session.detach({ publishWill: false, expirySeconds: undefined })
  }

  publish(view: PublishView): void {
    const { inbound } = this.#flow ?? {}
    if (inbound === undefined) return
    this.#counts.received++
    const properties = view.bytes.subarray(view.propertiesStart, view.propertiesEnd)
    if (pathOf(properties).includes(this.#services.clusterId())) {
      this.#drop(view)
      return
    }
    inbound.publish(view)
  }

  acknowledge(type: AckType, packetId: number, reasonCode: number): void {
    const { inbound, outbound } = this.#flow ?? {}
    if (type === PacketType.pubrel) {
      if (this.#dropped.delete(packetId)) {
        this.#connection.outbox.word(PacketType.pubcomp << 4, 2, packetId)
      } else inbound?.release(packetId)
      return
    }
    if (reasonCode >= ReasonCode.unspecifiedError) this.#counts.refused++
    outbound?.acknowledged(type, packetId, reasonCode)
  }

  packet(packet: Packet): void {
    switch (packet.kind) {
      case 'connack':
        // What follows it needs the session first.
        this.#connection.pause()
        this.#connack?.(packet)
        return
      case 'suback':
        this.#suback?.(packet)
        return
      case 'disconnect': {
        const text = packet.properties.reasonString ?? ''
        const code = packet.reasonCode.toString(16)
        this.#connection.close(`the other side disconnected: 0x${code} ${text}`.trim())
        return
      }
      default:
    }
  }

  /** It was here before: acknowledged, and forgotten. */
  #drop(view: PublishView): void {
    this.#counts.looped++
    const { outbox } = this.#connection
    if (view.qos === 1) outbox.word(PacketType.puback << 4, 2, view.packetId)
    if (view.qos !== 2) return
    this.#dropped.add(view.packetId)
    outbox.word(PacketType.pubrec << 4, 2, view.packetId)
  }

  async #answer<T>(listen: (take: (packet: T) => void) => void): Promise<T> {
    const connection = this.#connection
    const timer = this.#services.clock.after(ANSWER_MS, () =>
      connection.close('the other side does not answer'),
    )
    try {
      return await new Promise<T>((resolve, reject) => {
        listen(resolve)
        void connection.ended.then((reason) => reject(new Error(reason)))
      })
    } finally {
      timer.cancel()
    }
  }

  async #attach(connack: ConnackPacket): Promise<Flow> {
    const { messaging, clock, policy, nextToken } = this.#services
    const { properties, sessionPresent } = connack
    const { protocol, in: rules } = this.#definition
    const connection = this.#connection
    const window =
      protocol === 5 ? Math.min(properties.receiveMaximum ?? 0xffff, WINDOW_MAX) : WINDOW_3X
    const packetBytesMax = properties.maximumPacketSize ?? Number.MAX_SAFE_INTEGER
    const outbound = new Outbound({
      outbox: connection.outbox,
      ...{ version: protocol, window, packetBytesMax, aliasesMax: 0 },
      nowMs: () => clock.wallMs(),
      latencies: new Latencies(),
      limits: () => ({ unsentBytesMax: UNSENT_BYTES_MAX, waitingBytesMax: WAITING_BYTES_MAX }),
      onOverflow: () => connection.close('too many messages wait for the other side'),
      onFailure: (error) => connection.close(String(error)),
    })
    const session = await messaging.attach(attachOptions(this.#definition, window), {
      deliver: (message, grants) => this.#deliver(message, grants),
      push: (deliveries) => this.#push(deliveries),
      deliverShared: (_delivery, done) => done(),
      evicted: () => connection.close('another broker has the bridge'),
    })
    outbound.attach(session)
    const isFresh = !sessionPresent
    if (isFresh) {
      for (const packetId of session.incoming.keys()) {
        await session.noteIncoming(packetId, undefined)
      }
    }
    const inbound = new Inbound({
      ...{ session, messaging, outbox: connection.outbox, version: protocol, isFresh },
      ...{ access: undefined, policy, explains: false, packetBytesMax, nextToken },
      allowsExcess: true,
      rewriter: { topic: (topic) => prefixOf(rules, topic) + topic },
      nowMs: () => clock.wallMs(),
      clockMs: () => clock.nowMs(),
      latencies: new Latencies(),
      pauseReading: (paused) => (paused ? connection.pause() : connection.resume()),
      rest: (ms) => connection.rest(ms),
      onFailure: (error) => connection.close(String(error)),
    })
    const takesRetained = properties.retainAvailable !== false
    return { session, inbound, outbound, qosMax: properties.maximumQoS ?? 2, takesRetained }
  }

  async #subscribe(): Promise<readonly string[]> {
    const { in: rules, protocol } = this.#definition
    if (rules.length === 0) return []
    const subscriptions = rules.map(({ filter, qos }) => ({
      ...{ filter, qos, noLocal: true, retainAsPublished: true },
      retainHandling: 1 as const,
    }))
    const answer = this.#answer<SubackPacket>((take) => {
      this.#suback = take
    })
    const packetId = SUBSCRIBE_ID
    this.#connection.send({ kind: 'subscribe', packetId, subscriptions, properties: {} })
    const { reasonCodes } = await answer
    const isRefused = (code: number): boolean => code >= ReasonCode.unspecifiedError
    if (protocol === 5 && reasonCodes.length !== rules.length) throw new Error('a bad SUBACK')
    return rules.flatMap(({ filter }, at) => (isRefused(reasonCodes[at] ?? 0) ? [filter] : []))
  }

  /** At most once, what is published while both sides are there. */
  #deliver(message: Message, grants: readonly Subscription[]): void {
    const flow = this.#flow
    const sent = flow && this.#outgoing(message, flow)
    if (flow === undefined || sent === undefined) return
    this.#counts.sent++
    flow.outbound.deliver(sent, grants)
  }

  #push(deliveries: readonly Delivery[]): void {
    const flow = this.#flow
    if (flow === undefined) return
    for (const delivery of deliveries) {
      const message = delivery.released ? delivery.message : this.#outgoing(delivery.message, flow)
      if (message === undefined) {
        flow.session.acknowledge(delivery.offset)
        continue
      }
      if (!delivery.released) this.#counts.sent++
      // No identifiers: those of this side's subscriptions mean nothing there.
      flow.outbound.push([{ ...delivery, message, identifiers: [] }])
    }
  }

  #outgoing(message: Message, { qosMax, takesRetained }: Flow): Message | undefined {
    const marked = leaving(message, this.#services.clusterId())
    if (marked === undefined) {
      this.#counts.looped++
      return undefined
    }
    const guarantee = Math.min(marked.guarantee, qosMax) as Message['guarantee']
    const address = prefixOf(this.#definition.out, message.address) + message.address
    return ownCopy({ ...marked, address, guarantee, retain: marked.retain && takesRetained })
  }
}

export function attachOptions(definition: BridgeDefinition, window: number) {
  return {
    session: sessionOf(definition),
    ...{ cleanStart: false, user: BRIDGE_USER, ownerOnly: true },
    ...{ expirySeconds: FOREVER_SECONDS, window, will: undefined },
  }
}

/** Of the first rule that fits. */
function prefixOf(rules: BridgeDefinition['in'], topic: string): string {
  return rules.find(({ filter }) => filterMatches(filter, topic))?.prefix ?? ''
}

function connectBytes(definition: BridgeDefinition, packetBytesMax: number): Buffer {
  const { protocol, clientId, username, password, keepAliveSeconds } = definition
  const packet: ConnectPacket = {
    ...{ kind: 'connect', version: protocol, clientId, cleanStart: false, keepAliveSeconds },
    ...(username !== undefined && { userName: username }),
    ...(password !== undefined && { password: Buffer.from(password) }),
    properties: {
      sessionExpiryInterval: REMOTE_EXPIRY_SECONDS,
      receiveMaximum: RECEIVE_MAXIMUM,
      topicAliasMaximum: TOPIC_ALIAS_MAXIMUM,
      maximumPacketSize: packetBytesMax,
    },
  }
  const bytes = encode(packet, protocol)
  if (protocol === 4) {
    const body = bytes.findIndex((byte, at) => at > 0 && byte < 0x80) + 1
    bytes[body + LEVEL_AT] = (bytes[body + LEVEL_AT] ?? 0) | BRIDGE_BIT
  }
  return bytes
}
