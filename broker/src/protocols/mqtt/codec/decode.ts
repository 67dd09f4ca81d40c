// One whole control packet to a `Packet` (MQTT 3.1, 3.1.1, 5.0). PacketReader finds the packets and
// has its own faster way for PUBLISH and successful acknowledgements; this is for all the rest, and
// for whoever has a frame at hand. Byte strings in the result are copies.

import { ByteReader, LongVarintError, ShortInputError } from '../../shared/byte-reader.ts'
import {
  type AckPacket,
  type AckType,
  type AuthPacket,
  type ConnackPacket,
  type DisconnectPacket,
  type Packet,
  PacketType,
  type Properties,
  type ProtocolVersion,
  type PublishPacket,
  type QoS,
  ReasonCode,
  type SubscribePacket,
  type SubscriptionRequest,
  type UnsubackPacket,
} from '../packets.ts'
import { decodeConnect } from './decode-connect.ts'
import { type MqttError, malformed, violation } from './mqtt-error.ts'
import { readProperties } from './properties.ts'
import { reasonOfConnackReturnCode, requireReasonCode } from './reason-codes.ts'
import { readTopicFilter, requireTopicName, scanText } from './text.ts'

/** What a body decoder gets: the first byte of the packet and the version spoken. */
export interface FrameContext {
  header: number
  version: ProtocolVersion
}

type Decoder = (reader: ByteReader, context: FrameContext) => Packet

const DECODERS: Record<number, Decoder> = {
  [PacketType.connect]: decodeConnect,
  [PacketType.connack]: decodeConnack,
  [PacketType.publish]: decodePublish,
  [PacketType.puback]: decodeAck,
  [PacketType.pubrec]: decodeAck,
  [PacketType.pubrel]: decodeAck,
  [PacketType.pubcomp]: decodeAck,
  [PacketType.subscribe]: decodeSubscribe,
  [PacketType.suback]: decodeSuback,
  [PacketType.unsubscribe]: decodeUnsubscribe,
  [PacketType.unsuback]: decodeUnsuback,
  [PacketType.pingreq]: () => ({ kind: 'pingreq' }),
  [PacketType.pingresp]: () => ({ kind: 'pingresp' }),
  [PacketType.disconnect]: decodeDisconnect,
  [PacketType.auth]: decodeAuth,
}

/** Decodes the one packet that `frame` consists of. Throws MqttError. */
export function decodePacket(frame: Buffer, version: ProtocolVersion): Packet {
  const reader = new ByteReader(frame)
  try {
    const header = reader.uint8()
    if (reader.varint(4) !== reader.remaining) {
      throw malformed('[MQTT 5.0 section 2.1.4]', 'the remaining length is not that of the frame')
    }
    return decodeBody(reader, { header, version })
  } catch (error) {
    throw asMqttError(error)
  }
}

/** Decodes what follows the fixed header; the reader must end where the packet ends. */
export function decodeBody(reader: ByteReader, context: FrameContext): Packet {
  const type = context.header >> 4
  requireHeaderFlags(context.header, context.version)
  const decoder = DECODERS[type]
  if (decoder === undefined || (type === PacketType.auth && context.version < 5)) {
    throw malformed('[MQTT 5.0 section 2.1.2]', `packet type ${type} is reserved`)
  }
  const packet = decoder(reader, context)
  if (reader.remaining > 0) {
    throw malformed(
      '[MQTT 5.0 section 2.1.4]',
      `${reader.remaining} bytes behind the end of a packet of type ${type}`,
    )
  }
  return packet
}

/** The errors of the byte tools are the peer's fault: a field runs over the end of its packet. */
export function asMqttError(error: unknown): unknown {
  if (error instanceof ShortInputError) {
    return malformed('[MQTT-4.13.1-1]', `a field runs over the end: ${error.message}`)
  }
  if (error instanceof LongVarintError) {
    return malformed('[MQTT 5.0 section 1.5.5]', error.message)
  }
  return error
}

const FLAG_CLAUSES: Record<number, string> = {
  [PacketType.pubrel]: '[MQTT-3.6.1-1]',
  [PacketType.subscribe]: '[MQTT-3.8.1-1]',
  [PacketType.unsubscribe]: '[MQTT-3.10.1-1]',
  [PacketType.auth]: '[MQTT-3.15.1-1]',
}

/** The low four bits are fixed for all packets but PUBLISH. */
export function requireHeaderFlags(header: number, version: ProtocolVersion): void {
  const type = header >> 4
  if (type === PacketType.publish) return
  const clause = FLAG_CLAUSES[type]
  const expected = clause === undefined || type === PacketType.auth ? 0 : 2
  // MQTT 3.1 repeats PUBREL, SUBSCRIBE and UNSUBSCRIBE with the DUP flag set.
  const ignored = version === 3 && expected === 2 ? 0x08 : 0
  if ((header & 0x0f & ~ignored) !== expected) {
    throw malformed(clause ?? '[MQTT-2.1.3-1]', `reserved header flags in packet type ${type}`)
  }
}

export function readPacketId(reader: ByteReader): number {
  const packetId = reader.uint16()
  if (packetId === 0) throw zeroPacketId()
  return packetId
}

export function zeroPacketId(): MqttError {
  return violation('[MQTT-2.2.1-3]', 'the packet identifier is 0')
}

function versionedProperties(reader: ByteReader, context: FrameContext): Properties {
  return context.version === 5 ? readProperties(reader, context.header >> 4) : {}
}

function decodeConnack(reader: ByteReader, context: FrameContext): ConnackPacket {
  const flags = reader.uint8()
  // MQTT 3.1 has no session present flag; the byte is reserved and not to be looked at.
  if (flags > 1 && context.version > 3) throw malformed('[MQTT-3.2.2-1]', 'reserved CONNACK flags')
  const code = reader.uint8()
  const reasonCode =
    context.version === 5
      ? requireReasonCode(PacketType.connack, code)
      : reasonOfConnackReturnCode(code)
  if (reasonCode === undefined) {
    throw malformed('[MQTT 3.1.1 section 3.2.2.3]', `connect return code ${code} is reserved`)
  }
  const sessionPresent = context.version > 3 && flags === 1
  return {
    kind: 'connack',
    sessionPresent,
    reasonCode,
    properties: versionedProperties(reader, context),
  }
}

function decodePublish(reader: ByteReader, context: FrameContext): PublishPacket {
  const { header, version } = context
  requirePublishFlags(header, version)
  const qos = ((header >> 1) & 3) as QoS
  const topic = readPublishTopic(reader)
  const packetId = qos === 0 ? 0 : readPacketId(reader)
  const properties = versionedProperties(reader, context)
  if (topic === '' && properties.topicAlias === undefined) throw emptyTopic()
  return {
    kind: 'publish',
    topic,
    payload: reader.copy(reader.remaining),
    qos,
    retain: (header & 1) !== 0,
    dup: (header & 8) !== 0,
    packetId,
    properties,
  }
}

function readPublishTopic(reader: ByteReader): string {
  const start = reader.skip(reader.uint16())
  requireTopicName(scanText(reader.bytes, start, reader.position), '[MQTT-3.3.2-2]')
  return reader.bytes.toString('utf8', start, reader.position)
}

export function emptyTopic(): MqttError {
  return violation('[MQTT-4.7.3-1]', 'the topic name is empty and there is no topic alias')
}

export function requirePublishFlags(header: number, version: ProtocolVersion): void {
  if ((header & 0x06) === 0x06) throw malformed('[MQTT-3.3.1-4]', 'PUBLISH with QoS 3')
  if ((header & 0x0e) === 0x08 && version > 3) {
    throw malformed('[MQTT-3.3.1-2]', 'PUBLISH with QoS 0 and DUP')
  }
}

const ACK_KINDS: Record<AckType, AckPacket['kind']> = {
  [PacketType.puback]: 'puback',
  [PacketType.pubrec]: 'pubrec',
  [PacketType.pubrel]: 'pubrel',
  [PacketType.pubcomp]: 'pubcomp',
}

function decodeAck(reader: ByteReader, context: FrameContext): AckPacket {
  const type = (context.header >> 4) as AckType
  const packetId = readPacketId(reader)
  return { kind: ACK_KINDS[type], packetId, ...readReason(reader, context) }
}

/** Reason code and properties at the end of a packet: either may be left out in MQTT 5. */
function readReason(
  reader: ByteReader,
  context: FrameContext,
): { reasonCode: number; properties: Properties } {
  if (context.version < 5 || reader.remaining === 0) {
    return { reasonCode: ReasonCode.success, properties: {} }
  }
  const reasonCode = requireReasonCode(context.header >> 4, reader.uint8())
  const properties = reader.remaining === 0 ? {} : versionedProperties(reader, context)
  return { reasonCode, properties }
}

function decodeSubscribe(reader: ByteReader, context: FrameContext): SubscribePacket {
  const packetId = readPacketId(reader)
  const properties = versionedProperties(reader, context)
  if (reader.remaining === 0) throw violation('[MQTT-3.8.3-2]', 'SUBSCRIBE without a topic filter')
  const subscriptions: SubscriptionRequest[] = []
  while (reader.remaining > 0) subscriptions.push(readSubscription(reader, context.version))
  return { kind: 'subscribe', packetId, subscriptions, properties }
}

function readSubscription(reader: ByteReader, version: ProtocolVersion): SubscriptionRequest {
  const filter = readTopicFilter(reader)
  const options = reader.uint8()
  if ((options & (version === 5 ? 0xc0 : 0xfc)) !== 0) {
    throw malformed('[MQTT-3.8.3-5]', 'reserved bits in the subscription options')
  }
  const qos = options & 3
  if (qos === 3) throw violation('[MQTT 5.0 section 3.8.3.1]', 'subscription with QoS 3')
  const retainHandling = (options >> 4) & 3
  if (retainHandling === 3) {
    throw violation('[MQTT 5.0 section 3.8.3.1]', 'subscription with retain handling 3')
  }
  const noLocal = (options & 4) !== 0
  if (noLocal && filter.startsWith('$share/')) {
    throw violation('[MQTT-3.8.3-4]', 'no local on a shared subscription')
  }
  return {
    filter,
    qos: qos as QoS,
    noLocal,
    retainAsPublished: (options & 8) !== 0,
    retainHandling: retainHandling as 0 | 1 | 2,
  }
}

function decodeSuback(reader: ByteReader, context: FrameContext): Packet {
  const packetId = readPacketId(reader)
  const properties = versionedProperties(reader, context)
  const reasonCodes: number[] = []
  while (reader.remaining > 0) {
    const code = requireReasonCode(PacketType.suback, reader.uint8())
    if (context.version < 5 && code > ReasonCode.unspecifiedError) {
      throw malformed('[MQTT 3.1.1 MQTT-3.9.3-2]', `SUBACK return code ${code} is reserved`)
    }
    reasonCodes.push(code)
  }
  return { kind: 'suback', packetId, reasonCodes, properties }
}

function decodeUnsubscribe(reader: ByteReader, context: FrameContext): Packet {
  const packetId = readPacketId(reader)
  const properties = versionedProperties(reader, context)
  if (reader.remaining === 0) {
    throw violation('[MQTT-3.10.3-2]', 'UNSUBSCRIBE without a topic filter')
  }
  const filters: string[] = []
  while (reader.remaining > 0) filters.push(readTopicFilter(reader))
  return { kind: 'unsubscribe', packetId, filters, properties }
}

function decodeUnsuback(reader: ByteReader, context: FrameContext): UnsubackPacket {
  const packetId = readPacketId(reader)
  const properties = versionedProperties(reader, context)
  const reasonCodes: number[] = []
  while (context.version === 5 && reader.remaining > 0) {
    reasonCodes.push(requireReasonCode(PacketType.unsuback, reader.uint8()))
  }
  return { kind: 'unsuback', packetId, reasonCodes, properties }
}

function decodeDisconnect(reader: ByteReader, context: FrameContext): DisconnectPacket {
  return { kind: 'disconnect', ...readReason(reader, context) }
}

function decodeAuth(reader: ByteReader, context: FrameContext): AuthPacket {
  const reason = readReason(reader, context)
  const { authenticationMethod } = reason.properties
  if (reason.reasonCode !== ReasonCode.success && authenticationMethod === undefined) {
    throw violation('[MQTT 5.0 section 3.15.2.2.2]', 'AUTH without an authentication method')
  }
  return { kind: 'auth', ...reason }
}
