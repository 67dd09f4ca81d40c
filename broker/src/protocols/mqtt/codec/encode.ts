// Packets to bytes (MQTT 3.1, 3.1.1, 5.0). What does not fit its field is a programmer's error
// (RangeError): names and properties that came through the decoder always fit. The hot path of a
// server uses `publishHead` and the `write...` functions and encodes shared parts once.

import { ByteWriter, VARINT_MAX, varintBytes, writeVarint } from '../../shared/byte-writer.ts'
import {
  type AckPacket,
  type AckType,
  type AuthPacket,
  type ConnackPacket,
  type ConnectPacket,
  type DisconnectPacket,
  type Packet,
  PacketType,
  type ProtocolVersion,
  type PublishPacket,
  type QoS,
  ReasonCode,
  type SubackPacket,
  type SubscribePacket,
  type UnsubackPacket,
  type UnsubscribePacket,
} from '../packets.ts'
import { encodeProperties, writeProperties } from './properties.ts'
import { connackReturnCode } from './reason-codes.ts'

/** Encodes any packet. A reason code that 3.x does not have is left out or translated. */
export function encode(packet: Packet, version: ProtocolVersion): Buffer {
  switch (packet.kind) {
    case 'connect':
      return encodeConnect(packet)
    case 'connack':
      return encodeConnack(packet, version)
    case 'publish':
      return encodePublish(packet, version)
    case 'puback':
    case 'pubrec':
    case 'pubrel':
    case 'pubcomp':
      return encodeAckPacket(packet, version)
    case 'subscribe':
      return encodeSubscribe(packet, version)
    case 'suback':
      return encodeSuback(packet, version)
    case 'unsubscribe':
      return encodeUnsubscribe(packet, version)
    case 'unsuback':
      return encodeUnsuback(packet, version)
    case 'pingreq':
      return Buffer.of(PacketType.pingreq << 4, 0)
    case 'pingresp':
      return Buffer.of(PacketType.pingresp << 4, 0)
    case 'disconnect':
      return encodeDisconnect(packet, version)
    case 'auth':
      return encodeAuth(packet, version)
    default:
      return packet satisfies never
  }
}

/** Bytes of an acknowledgement that says success: the same in all versions. */
export const ACK_BYTES = 4

/** Writes a successful PUBACK (4 bytes) and returns the index after it. */
export function writePuback(target: Buffer, offset: number, packetId: number): number {
  target[offset] = PacketType.puback << 4
  return writeAckBody(target, offset, packetId)
}

/** Writes a successful PUBREC (4 bytes) and returns the index after it. */
export function writePubrec(target: Buffer, offset: number, packetId: number): number {
  target[offset] = PacketType.pubrec << 4
  return writeAckBody(target, offset, packetId)
}

/** Writes a successful PUBREL (4 bytes) and returns the index after it. */
export function writePubrel(target: Buffer, offset: number, packetId: number): number {
  target[offset] = (PacketType.pubrel << 4) | 2
  return writeAckBody(target, offset, packetId)
}

/** Writes a successful PUBCOMP (4 bytes) and returns the index after it. */
export function writePubcomp(target: Buffer, offset: number, packetId: number): number {
  target[offset] = PacketType.pubcomp << 4
  return writeAckBody(target, offset, packetId)
}

function writeAckBody(target: Buffer, offset: number, packetId: number): number {
  target[offset + 1] = 2
  target[offset + 2] = packetId >> 8
  target[offset + 3] = packetId & 0xff
  return offset + ACK_BYTES
}

/** PUBACK, PUBREC, PUBREL or PUBCOMP without properties. Before MQTT 5 the reason code is dropped. */
export function encodeAck(
  ack: { type: AckType; packetId: number; reasonCode: number },
  version: ProtocolVersion,
): Buffer {
  const header = (ack.type << 4) | (ack.type === PacketType.pubrel ? 2 : 0)
  const high = ack.packetId >> 8
  const low = ack.packetId & 0xff
  return version < 5 || ack.reasonCode === ReasonCode.success
    ? Buffer.of(header, 2, high, low)
    : Buffer.of(header, 3, high, low, ack.reasonCode)
}

export interface PublishHeadOptions {
  /** UTF-8 when it is a buffer; not checked. */
  topic: Buffer | string
  qos: QoS
  retain: boolean
  dup: boolean
  /** Left out of the packet for QoS 0. */
  packetId: number
  /** The content of the property section, already encoded; only for MQTT 5. */
  properties?: Buffer
  payloadLength: number
  version: ProtocolVersion
}

export interface PublishHead {
  /** Everything of the packet but its payload. */
  bytes: Buffer
  /** Where the two bytes of the packet identifier are, -1 for QoS 0: patch a copy for each receiver. */
  packetIdOffset: number
}

const NO_PROPERTIES = Buffer.alloc(0)

/** Encodes a PUBLISH up to its payload. */
export function publishHead(options: PublishHeadOptions): PublishHead {
  return placePublish(options, 0)
}

/** Encodes a whole PUBLISH into one buffer. */
export function publishFrame(
  options: Omit<PublishHeadOptions, 'payloadLength'>,
  payload: Uint8Array,
): PublishHead {
  const frame = placePublish({ ...options, payloadLength: payload.length }, payload.length)
  frame.bytes.set(payload, frame.bytes.length - payload.length)
  return frame
}

/** Leaves `roomBytes` free behind the head. */
function placePublish(options: PublishHeadOptions, roomBytes: number): PublishHead {
  const { topic, qos, packetId } = options
  const topicLength = typeof topic === 'string' ? Buffer.byteLength(topic) : topic.length
  if (topicLength > 0xffff) throw new RangeError(`a topic of ${topicLength} bytes`)
  const properties = options.properties ?? NO_PROPERTIES
  const propertyBytes = options.version < 5 ? 0 : varintBytes(properties.length) + properties.length
  const variableBytes = 2 + topicLength + (qos === 0 ? 0 : 2) + propertyBytes
  const remaining = requireRemaining(variableBytes + options.payloadLength)
  const bytes = Buffer.allocUnsafe(1 + varintBytes(remaining) + variableBytes + roomBytes)
  bytes[0] =
    (PacketType.publish << 4) | (options.dup ? 8 : 0) | (qos << 1) | (options.retain ? 1 : 0)
  let at = writeVarint(bytes, 1, remaining)
  bytes[at++] = topicLength >> 8
  bytes[at++] = topicLength & 0xff
  if (typeof topic === 'string') bytes.write(topic, at)
  else bytes.set(topic, at)
  at += topicLength
  const packetIdOffset = qos === 0 ? -1 : at
  if (qos !== 0) {
    bytes[at++] = packetId >> 8
    bytes[at++] = packetId & 0xff
  }
  if (propertyBytes > 0) bytes.set(properties, writeVarint(bytes, at, properties.length))
  return { bytes, packetIdOffset }
}

function requireRemaining(bytes: number): number {
  if (bytes > VARINT_MAX) throw new RangeError(`a packet of ${bytes} bytes`)
  return bytes
}

/** Room for the longest fixed header in front of a body. */
const HEAD_BYTES = 5

function createWriter(): ByteWriter {
  return new ByteWriter({ headBytes: HEAD_BYTES, capacityBytes: 64 })
}

/** Puts the fixed header right in front of the body. */
function finish(writer: ByteWriter, header: number): Buffer {
  const remaining = requireRemaining(writer.length - HEAD_BYTES)
  const start = HEAD_BYTES - 1 - varintBytes(remaining)
  const frame = writer.finish(start)
  frame[0] = header
  writeVarint(frame, 1, remaining)
  return frame
}

function encodeConnect(packet: ConnectPacket): Buffer {
  const { version, will, userName, password } = packet
  const writer = createWriter()
  writer.utf8WithLength16(version === 3 ? 'MQIsdp' : 'MQTT')
  writer.uint8(version)
  writer.uint8(
    (packet.cleanStart ? 0x02 : 0) |
      (will === undefined ? 0 : 0x04 | (will.qos << 3) | (will.retain ? 0x20 : 0)) |
      (password === undefined ? 0 : 0x40) |
      (userName === undefined ? 0 : 0x80),
  )
  writer.uint16(packet.keepAliveSeconds)
  if (version === 5) writeProperties(writer, packet.properties)
  writer.utf8WithLength16(packet.clientId)
  if (will !== undefined) {
    if (version === 5) writeProperties(writer, will.properties)
    writer.utf8WithLength16(will.topic)
    writer.bytesWithLength16(will.payload)
  }
  if (userName !== undefined) writer.utf8WithLength16(userName)
  if (password !== undefined) writer.bytesWithLength16(password)
  return finish(writer, PacketType.connect << 4)
}

function encodeConnack(packet: ConnackPacket, version: ProtocolVersion): Buffer {
  const writer = createWriter()
  writer.uint8(packet.sessionPresent && version > 3 ? 1 : 0)
  writer.uint8(version === 5 ? packet.reasonCode : connackReturnCode(packet.reasonCode))
  if (version === 5) writeProperties(writer, packet.properties)
  return finish(writer, PacketType.connack << 4)
}

function encodePublish(packet: PublishPacket, version: ProtocolVersion): Buffer {
  const { topic, qos, retain, dup, packetId } = packet
  const properties = encodeProperties(packet.properties)
  return publishFrame({ topic, qos, retain, dup, packetId, properties, version }, packet.payload)
    .bytes
}

function encodeAckPacket(packet: AckPacket, version: ProtocolVersion): Buffer {
  const { packetId, reasonCode } = packet
  const type = PacketType[packet.kind]
  if (version < 5 || isEmpty(packet)) return encodeAck({ type, packetId, reasonCode }, version)
  const writer = createWriter()
  writer.uint16(packetId)
  writer.uint8(reasonCode)
  writeProperties(writer, packet.properties)
  return finish(writer, (type << 4) | (type === PacketType.pubrel ? 2 : 0))
}

function isEmpty(packet: AckPacket | DisconnectPacket | AuthPacket): boolean {
  return Object.keys(packet.properties).length === 0
}

function encodeSubscribe(packet: SubscribePacket, version: ProtocolVersion): Buffer {
  const writer = createWriter()
  writer.uint16(packet.packetId)
  if (version === 5) writeProperties(writer, packet.properties)
  for (const request of packet.subscriptions) {
    writer.utf8WithLength16(request.filter)
    const options =
      (request.noLocal ? 4 : 0) |
      (request.retainAsPublished ? 8 : 0) |
      (request.retainHandling << 4)
    writer.uint8(request.qos | (version === 5 ? options : 0))
  }
  return finish(writer, (PacketType.subscribe << 4) | 2)
}

function encodeSuback(packet: SubackPacket, version: ProtocolVersion): Buffer {
  const writer = createWriter()
  writer.uint16(packet.packetId)
  if (version === 5) writeProperties(writer, packet.properties)
  for (const code of packet.reasonCodes) {
    writer.uint8(version < 5 && code > 2 ? ReasonCode.unspecifiedError : code)
  }
  return finish(writer, PacketType.suback << 4)
}

function encodeUnsubscribe(packet: UnsubscribePacket, version: ProtocolVersion): Buffer {
  const writer = createWriter()
  writer.uint16(packet.packetId)
  if (version === 5) writeProperties(writer, packet.properties)
  for (const filter of packet.filters) writer.utf8WithLength16(filter)
  return finish(writer, (PacketType.unsubscribe << 4) | 2)
}

function encodeUnsuback(packet: UnsubackPacket, version: ProtocolVersion): Buffer {
  const writer = createWriter()
  writer.uint16(packet.packetId)
  if (version === 5) {
    writeProperties(writer, packet.properties)
    writer.bytes(Buffer.from(packet.reasonCodes))
  }
  return finish(writer, PacketType.unsuback << 4)
}

function encodeDisconnect(packet: DisconnectPacket, version: ProtocolVersion): Buffer {
  const header = PacketType.disconnect << 4
  if (version < 5) return Buffer.of(header, 0)
  return encodeReason(packet, header)
}

function encodeAuth(packet: AuthPacket, version: ProtocolVersion): Buffer {
  if (version < 5) throw new RangeError('AUTH does not exist before MQTT 5')
  return encodeReason(packet, PacketType.auth << 4)
}

/** Leaves out what the specification allows to leave out. */
function encodeReason(packet: DisconnectPacket | AuthPacket, header: number): Buffer {
  const success = packet.reasonCode === ReasonCode.success
  if (isEmpty(packet)) {
    return success ? Buffer.of(header, 0) : Buffer.of(header, 1, packet.reasonCode)
  }
  const writer = createWriter()
  writer.uint8(packet.reasonCode)
  writeProperties(writer, packet.properties)
  return finish(writer, header)
}
