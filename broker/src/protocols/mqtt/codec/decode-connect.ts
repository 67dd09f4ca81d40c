// The body of CONNECT in all versions (MQTT 5.0 section 3.1). Rules about what a client id may be
// are the session's: it answers them with a CONNACK.

import type { ByteReader } from '../../shared/byte-reader.ts'
import {
  type ConnectPacket,
  PacketType,
  type ProtocolVersion,
  type QoS,
  ReasonCode,
  type Will,
} from '../packets.ts'
import { MqttError, malformed } from './mqtt-error.ts'
import { readProperties } from './properties.ts'
import { WILL_SECTION } from './property-table.ts'
import { readText, readTopicName } from './text.ts'

const Flag = { reserved: 0x01, cleanStart: 0x02, will: 0x04, willRetain: 0x20 } as const
const PASSWORD_FLAG = 0x40
const USER_NAME_FLAG = 0x80

export function decodeConnect(reader: ByteReader): ConnectPacket {
  const version = readVersion(reader)
  const flags = readFlags(reader, version)
  const keepAliveSeconds = reader.uint16()
  const properties = version === 5 ? readProperties(reader, PacketType.connect) : {}
  const packet: ConnectPacket = {
    kind: 'connect',
    version,
    clientId: readText(reader),
    cleanStart: (flags & Flag.cleanStart) !== 0,
    keepAliveSeconds,
    properties,
  }
  if (flags & Flag.will) packet.will = readWill(reader, { flags, version })
  if (flags & USER_NAME_FLAG && !isLeftOut(reader, version)) packet.userName = readText(reader)
  if (flags & PASSWORD_FLAG && !isLeftOut(reader, version)) {
    packet.password = reader.copy(reader.uint16())
  }
  return packet
}

/**
 * The version that the bytes of a CONNECT ask for, to answer in when the rest of it is refused:
 * 4 when the name or the level is not one of ours, 5 for a level above it.
 */
export function peekVersion(body: Buffer): ProtocolVersion {
  const nameLength = body.length < 2 ? 0 : body.readUInt16BE(0)
  const level = body[2 + nameLength]
  if (level === 3 && nameLength === 6) return 3
  return level !== undefined && level >= 5 && level < 0x80 ? 5 : 4
}

function readVersion(reader: ByteReader): ProtocolVersion {
  const name = readText(reader)
  const level = reader.uint8()
  if (name === 'MQTT') {
    if (level === 4 || level === 5) return level
  } else if (name === 'MQIsdp') {
    if (level === 3) return level
  } else {
    throw unsupported('[MQTT-3.1.2-1]', 'the protocol name is not that of MQTT')
  }
  throw unsupported('[MQTT-3.1.2-2]', `protocol level ${level} of ${name} is not supported`)
}

function unsupported(clause: string, message: string): MqttError {
  return new MqttError(ReasonCode.unsupportedProtocolVersion, clause, message)
}

function readFlags(reader: ByteReader, version: ProtocolVersion): number {
  const flags = reader.uint8()
  // MQTT 3.1 does not use bit 0 and does not forbid it.
  if (flags & Flag.reserved && version > 3) {
    throw malformed('[MQTT-3.1.2-3]', 'the reserved flag of CONNECT is set')
  }
  if (willQoS(flags) === 3) throw malformed('[MQTT-3.1.2-12]', 'will with QoS 3')
  if ((flags & Flag.will) === 0 && version > 3) {
    if (willQoS(flags) !== 0) throw malformed('[MQTT-3.1.2-11]', 'will QoS without a will')
    if (flags & Flag.willRetain) throw malformed('[MQTT-3.1.2-13]', 'will retain without a will')
  }
  if (version < 5 && (flags & (USER_NAME_FLAG | PASSWORD_FLAG)) === PASSWORD_FLAG) {
    throw malformed('[MQTT 3.1.1 MQTT-3.1.2-22]', 'a password without a user name')
  }
  return flags
}

function willQoS(flags: number): number {
  return (flags >> 3) & 3
}

function readWill(reader: ByteReader, context: { flags: number; version: number }): Will {
  const { flags, version } = context
  const properties = version === 5 ? readProperties(reader, WILL_SECTION) : {}
  const topic = readTopicName(reader, '[MQTT-4.7.0-1]')
  return {
    topic,
    payload: reader.copy(reader.uint16()),
    qos: willQoS(flags) as QoS,
    retain: (flags & Flag.willRetain) !== 0,
    properties,
  }
}

/** MQTT 3.1: the remaining length takes precedence over the flags of user name and password. */
function isLeftOut(reader: ByteReader, version: ProtocolVersion): boolean {
  return version === 3 && reader.remaining === 0
}
