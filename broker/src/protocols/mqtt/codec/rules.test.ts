// Each rule that the decoder enforces, with the clause it names. Every row is fed to `decodePacket`
// and, as a stream behind a CONNECT, to `PacketReader`: both must refuse it in the same words.

import { describe, expect, test } from 'vitest'
import {
  AFTER_CONNECT,
  CONNECT,
  frame,
  MALFORMED,
  NAME,
  NAME_31,
  PROTOCOL_ERROR,
  type Row,
} from '../../../testing/mqtt-rules.ts'
import type { Packet, ProtocolVersion } from '../packets.ts'
import { decodePacket } from './decode.ts'
import { encode } from './encode.ts'
import { MqttError } from './mqtt-error.ts'
import { PacketReader } from './packet-reader.ts'

const sink = { publish: () => {}, acknowledge: () => {}, packet: () => {} }

function errorOf(run: () => unknown): MqttError {
  try {
    run()
  } catch (error) {
    if (error instanceof MqttError) return error
    throw error
  }
  throw new Error('nothing was thrown')
}

function hello(version: ProtocolVersion): Buffer {
  const connect = { version, clientId: 'c', cleanStart: true, keepAliveSeconds: 0, properties: {} }
  return encode({ kind: 'connect', ...connect }, version)
}

describe('decodePacket and PacketReader refuse', () => {
  test.each(AFTER_CONNECT)('%s (level %i) [%#]', (_rule, version, header, body, code, clause) => {
    const bytes = frame(header, body)
    const reader = new PacketReader({ packetBytesMax: 1000 })
    reader.push(hello(version), sink)
    for (const run of [() => decodePacket(bytes, version), () => reader.push(bytes, sink)]) {
      expect(errorOf(run)).toMatchObject({ reasonCode: code, clause })
    }
  })

  test.each(CONNECT)('CONNECT: %s (level %i)', (_rule, version, header, body, code, clause) => {
    const bytes = frame(header, body)
    const reader = new PacketReader({ packetBytesMax: 1000 })
    for (const run of [() => decodePacket(bytes, version), () => reader.push(bytes, sink)]) {
      expect(errorOf(run)).toMatchObject({ reasonCode: code, clause })
    }
    if (clause !== '[MQTT-2.1.3-1]') expect(reader.version).toBe(version)
  })
})

describe('decodePacket refuses', () => {
  test.each<Row>([
    ['CONNACK flags', 4, 0x20, '02 00', MALFORMED, '[MQTT-3.2.2-1]'],
    ['CONNACK code 6', 4, 0x20, '00 06', MALFORMED, '[MQTT 3.1.1 section 3.2.2.3]'],
    ['CONNACK code 1', 5, 0x20, '00 01 00', PROTOCOL_ERROR, '[MQTT-3.2.2-8]'],
    ['SUBACK code 3', 4, 0x90, '0001 03', PROTOCOL_ERROR, '[MQTT-3.9.3-2]'],
    ['SUBACK code of MQTT 5', 4, 0x90, '0001 87', MALFORMED, '[MQTT 3.1.1 MQTT-3.9.3-2]'],
    ['UNSUBACK code 1', 5, 0xb0, '0001 00 01', PROTOCOL_ERROR, '[MQTT-3.11.3-2]'],
    ['UNSUBACK with a body', 4, 0xb0, '0001 00', MALFORMED, '[MQTT 5.0 section 2.1.4]'],
  ])('%s (level %i)', (_rule, version, header, body, code, clause) => {
    const error = errorOf(() => decodePacket(frame(header, body), version))
    expect(error).toMatchObject({ reasonCode: code, clause })
  })
})

describe('decodePacket accepts', () => {
  const accepted: [string, ProtocolVersion, Buffer, Partial<Packet>][] = [
    ['PUBREL with DUP', 3, frame(0x6a, '0001'), { kind: 'pubrel' }],
    ['PUBLISH with QoS 0 and DUP', 3, frame(0x38, '0001 61'), { kind: 'publish' }],
    ['a flagged user name that is missing', 3, frame(0x10, `${NAME_31} 03 c2 0000 0001 61`), {}],
    ['a password without user name', 5, frame(0x10, `${NAME} 05 42 0000 00 0000 0000`), {}],
    ['a byte order mark in a topic', 4, frame(0x30, '0004 efbbbf61'), { topic: '\ufeffa' }],
    ['U+10FFFF in a topic', 4, frame(0x30, '0004 f48fbfbf'), { topic: '\u{10ffff}' }],
    ['AUTH without a body', 5, frame(0xf0, ''), { kind: 'auth', reasonCode: 0 }],
  ]
  test.each(accepted)('%s (level %i)', (_name, version, bytes, expected) => {
    expect(decodePacket(bytes, version)).toMatchObject(expected)
  })
})
