// Each rule that the decoder enforces, with the clause it names. Every row is fed to `decodePacket`
// and, as a stream behind a CONNECT, to `PacketReader`: both must refuse it in the same words.

import { describe, expect, test } from 'vitest'
import type { Packet, ProtocolVersion } from '../packets.ts'
import { decodePacket } from './decode.ts'
import { encode } from './encode.ts'
import { MqttError } from './mqtt-error.ts'
import { PacketReader } from './packet-reader.ts'

const MALFORMED = 0x81
const PROTOCOL_ERROR = 0x82

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

function frame(header: number, body: string): Buffer {
  const bytes = Buffer.from(body.replaceAll(' ', ''), 'hex')
  if (bytes.length > 127) throw new Error('too long for this test')
  return Buffer.concat([Buffer.of(header, bytes.length), bytes])
}

type Row = [
  rule: string,
  version: ProtocolVersion,
  header: number,
  body: string,
  reasonCode: number,
  clause: string,
]

/** What a client may send after CONNECT, spoiled. */
const AFTER_CONNECT: Row[] = [
  ['PUBLISH with QoS 3', 4, 0x36, '0001 61 0001', MALFORMED, '[MQTT-3.3.1-4]'],
  ['PUBLISH with QoS 3 and DUP', 5, 0x3e, '0001 61 0001 00', MALFORMED, '[MQTT-3.3.1-4]'],
  ['PUBLISH with QoS 0 and DUP', 4, 0x38, '0001 61', MALFORMED, '[MQTT-3.3.1-2]'],
  ['PUBLISH with packet id 0', 4, 0x32, '0001 61 0000', PROTOCOL_ERROR, '[MQTT-2.2.1-3]'],
  ['PUBLISH with + in its topic', 4, 0x30, '0003 612f2b', MALFORMED, '[MQTT-3.3.2-2]'],
  ['PUBLISH with # in its topic', 5, 0x30, '0001 23 00', MALFORMED, '[MQTT-3.3.2-2]'],
  ['PUBLISH with an empty topic', 4, 0x30, '0000 61', PROTOCOL_ERROR, '[MQTT-4.7.3-1]'],
  ['PUBLISH without topic and alias', 5, 0x30, '0000 00', PROTOCOL_ERROR, '[MQTT-4.7.3-1]'],
  ['PUBLISH with U+0000', 4, 0x30, '0003 610062', MALFORMED, '[MQTT-1.5.4-2]'],
  ['PUBLISH with a surrogate', 4, 0x30, '0003 eda080', MALFORMED, '[MQTT-1.5.4-1]'],
  ['PUBLISH with an overlong form', 4, 0x30, '0002 c0af', MALFORMED, '[MQTT-1.5.4-1]'],
  ['PUBLISH with an overlong form of three', 4, 0x30, '0003 e08080', MALFORMED, '[MQTT-1.5.4-1]'],
  ['PUBLISH above U+10FFFF', 4, 0x30, '0004 f4908080', MALFORMED, '[MQTT-1.5.4-1]'],
  ['PUBLISH with a cut sequence', 4, 0x30, '0002 61c3', MALFORMED, '[MQTT-1.5.4-1]'],
  ['PUBLISH shorter than its topic', 4, 0x30, '0009 61', MALFORMED, '[MQTT-4.13.1-1]'],
  ['PUBLISH without its packet id', 4, 0x32, '0001 61 00', MALFORMED, '[MQTT-4.13.1-1]'],
  ['PUBLISH without a property length', 5, 0x30, '0001 61', MALFORMED, '[MQTT-4.13.1-1]'],
  [
    'PUBLISH with properties over its end',
    5,
    0x30,
    '0001 61 05 01 00',
    MALFORMED,
    '[MQTT 5.0 section 2.2.2.1]',
  ],
  ['PUBLISH with half a property', 5, 0x30, '0001 61 01 01 00', MALFORMED, '[MQTT-4.13.1-1]'],
  [
    'PUBLISH with a property length of two bytes for one',
    5,
    0x30,
    '0001 61 8000',
    MALFORMED,
    '[MQTT-1.5.5-1]',
  ],
  [
    'PUBLISH with a property length of five bytes',
    5,
    0x30,
    '0001 61 8080808001',
    MALFORMED,
    '[MQTT 5.0 section 1.5.5]',
  ],
  [
    'PUBLISH with an unknown property',
    5,
    0x30,
    '0001 61 02 7f00',
    MALFORMED,
    '[MQTT 5.0 section 2.2.2.2]',
  ],
  [
    'PUBLISH with a property of another packet',
    5,
    0x30,
    '0001 61 05 1100000001',
    MALFORMED,
    '[MQTT 5.0 section 2.2.2.2]',
  ],
  [
    'PUBLISH with the same property twice',
    5,
    0x30,
    '0001 61 04 0101 0100',
    PROTOCOL_ERROR,
    '[MQTT 5.0 section 2.2.2.2]',
  ],
  [
    'PUBLISH with a property of the upper half twice',
    5,
    0x30,
    '0001 61 06 230001 230002',
    PROTOCOL_ERROR,
    '[MQTT 5.0 section 2.2.2.2]',
  ],
  [
    'PUBLISH with payload format 2',
    5,
    0x30,
    '0001 61 02 0102',
    PROTOCOL_ERROR,
    '[MQTT 5.0 section 2.2.2.2]',
  ],
  ['PUBLISH with topic alias 0', 5, 0x30, '0001 61 03 230000', 0x94, '[MQTT-3.3.2-8]'],
  [
    'PUBLISH with a wildcard in its response topic',
    5,
    0x30,
    '0001 61 04 08 0001 2b',
    MALFORMED,
    '[MQTT-3.3.2-14]',
  ],
  [
    'PUBLISH with an ill-formed user property',
    5,
    0x30,
    '0001 61 07 26 0001 61 0001 ff',
    MALFORMED,
    '[MQTT-1.5.4-1]',
  ],
  ['PUBACK with packet id 0', 4, 0x40, '0000', PROTOCOL_ERROR, '[MQTT-2.2.1-3]'],
  ['PUBACK with header flags', 4, 0x42, '0001', MALFORMED, '[MQTT-2.1.3-1]'],
  ['PUBACK cut off', 4, 0x40, '00', MALFORMED, '[MQTT-4.13.1-1]'],
  ['PUBACK with more bytes', 4, 0x40, '0001 00', MALFORMED, '[MQTT 5.0 section 2.1.4]'],
  ['PUBACK with a code of SUBACK', 5, 0x40, '0001 01', PROTOCOL_ERROR, '[MQTT-3.4.2-1]'],
  ['PUBREC with an unknown code', 5, 0x50, '0001 92', PROTOCOL_ERROR, '[MQTT-3.5.2-1]'],
  ['PUBREL with an unknown code', 5, 0x62, '0001 10', PROTOCOL_ERROR, '[MQTT-3.6.2-1]'],
  ['PUBCOMP with an unknown code', 5, 0x70, '0001 80', PROTOCOL_ERROR, '[MQTT-3.7.2-1]'],
  ['PUBREL without its header flag', 4, 0x60, '0001', MALFORMED, '[MQTT-3.6.1-1]'],
  [
    'PUBACK with two reason strings',
    5,
    0x40,
    '0001 00 06 1f0000 1f0000',
    PROTOCOL_ERROR,
    '[MQTT 5.0 section 2.2.2.2]',
  ],
  ['SUBSCRIBE without its header flag', 4, 0x80, '0001 0001 61 00', MALFORMED, '[MQTT-3.8.1-1]'],
  ['SUBSCRIBE with packet id 0', 4, 0x82, '0000 0001 61 00', PROTOCOL_ERROR, '[MQTT-2.2.1-3]'],
  ['SUBSCRIBE without a filter', 4, 0x82, '0001', PROTOCOL_ERROR, '[MQTT-3.8.3-2]'],
  ['SUBSCRIBE without a filter', 5, 0x82, '0001 00', PROTOCOL_ERROR, '[MQTT-3.8.3-2]'],
  ['SUBSCRIBE with an empty filter', 4, 0x82, '0001 0000 00', PROTOCOL_ERROR, '[MQTT-4.7.3-1]'],
  ['SUBSCRIBE with a#', 4, 0x82, '0001 0002 6123 00', MALFORMED, '[MQTT-4.7.1-1]'],
  ['SUBSCRIBE with #/a', 4, 0x82, '0001 0003 232f61 00', MALFORMED, '[MQTT-4.7.1-1]'],
  ['SUBSCRIBE with a+', 4, 0x82, '0001 0002 612b 00', MALFORMED, '[MQTT-4.7.1-2]'],
  ['SUBSCRIBE with +a', 4, 0x82, '0001 0002 2b61 00', MALFORMED, '[MQTT-4.7.1-2]'],
  ['SUBSCRIBE with U+0000', 4, 0x82, '0001 0001 00 00', MALFORMED, '[MQTT-1.5.4-2]'],
  [
    'SUBSCRIBE with $share//a',
    5,
    0x82,
    '0001 00 0009 2473686172652f2f61 00',
    PROTOCOL_ERROR,
    '[MQTT-4.8.2-1]',
  ],
  [
    'SUBSCRIBE with $share/g',
    5,
    0x82,
    '0001 00 0008 2473686172652f67 00',
    PROTOCOL_ERROR,
    '[MQTT-4.8.2-2]',
  ],
  [
    'SUBSCRIBE with $share/+/a',
    5,
    0x82,
    '0001 00 000a 2473686172652f2b2f61 00',
    PROTOCOL_ERROR,
    '[MQTT-4.8.2-2]',
  ],
  [
    'SUBSCRIBE with no local on $share/g/a',
    5,
    0x82,
    '0001 00 000a 2473686172652f672f61 04',
    PROTOCOL_ERROR,
    '[MQTT-3.8.3-4]',
  ],
  [
    'SUBSCRIBE with QoS 3',
    5,
    0x82,
    '0001 00 0001 61 03',
    PROTOCOL_ERROR,
    '[MQTT 5.0 section 3.8.3.1]',
  ],
  [
    'SUBSCRIBE with retain handling 3',
    5,
    0x82,
    '0001 00 0001 61 30',
    PROTOCOL_ERROR,
    '[MQTT 5.0 section 3.8.3.1]',
  ],
  ['SUBSCRIBE with reserved bits', 5, 0x82, '0001 00 0001 61 40', MALFORMED, '[MQTT-3.8.3-5]'],
  ['SUBSCRIBE with MQTT 5 options', 4, 0x82, '0001 0001 61 04', MALFORMED, '[MQTT-3.8.3-5]'],
  ['SUBSCRIBE without options', 4, 0x82, '0001 0001 61', MALFORMED, '[MQTT-4.13.1-1]'],
  [
    'SUBSCRIBE with subscription identifier 0',
    5,
    0x82,
    '0001 02 0b00 0001 61 00',
    PROTOCOL_ERROR,
    '[MQTT 5.0 section 3.8.2.1.2]',
  ],
  [
    'SUBSCRIBE with two subscription identifiers',
    5,
    0x82,
    '0001 04 0b01 0b02 0001 61 00',
    PROTOCOL_ERROR,
    '[MQTT 5.0 section 2.2.2.2]',
  ],
  ['UNSUBSCRIBE without its header flag', 4, 0xa0, '0001 0001 61', MALFORMED, '[MQTT-3.10.1-1]'],
  ['UNSUBSCRIBE with packet id 0', 4, 0xa2, '0000 0001 61', PROTOCOL_ERROR, '[MQTT-2.2.1-3]'],
  ['UNSUBSCRIBE without a filter', 5, 0xa2, '0001 00', PROTOCOL_ERROR, '[MQTT-3.10.3-2]'],
  ['PINGREQ with header flags', 4, 0xc1, '', MALFORMED, '[MQTT-2.1.3-1]'],
  ['PINGREQ with a body', 4, 0xc0, '00', MALFORMED, '[MQTT 5.0 section 2.1.4]'],
  ['DISCONNECT with header flags', 5, 0xe1, '', MALFORMED, '[MQTT-2.1.3-1]'],
  ['DISCONNECT with a body', 4, 0xe0, '00', MALFORMED, '[MQTT 5.0 section 2.1.4]'],
  ['DISCONNECT with an unknown code', 5, 0xe0, '01', PROTOCOL_ERROR, '[MQTT-3.14.2-1]'],
  ['AUTH before MQTT 5', 4, 0xf0, '', MALFORMED, '[MQTT 5.0 section 2.1.2]'],
  ['AUTH with header flags', 5, 0xf2, '', MALFORMED, '[MQTT-3.15.1-1]'],
  ['AUTH with an unknown code', 5, 0xf0, '01', PROTOCOL_ERROR, '[MQTT-3.15.2-1]'],
  ['AUTH without a method', 5, 0xf0, '18 00', PROTOCOL_ERROR, '[MQTT 5.0 section 3.15.2.2.2]'],
  [
    'AUTH with data and no method',
    5,
    0xf0,
    '18 03 160000',
    PROTOCOL_ERROR,
    '[MQTT 5.0 section 3.1.2.11.10]',
  ],
  ['packet type 0', 4, 0x00, '', MALFORMED, '[MQTT 5.0 section 2.1.2]'],
]

const NAME = '0004 4d515454'
const NAME_31 = '0006 4d5149736470'

/** The body of CONNECT, spoiled. The version is what the refusal is to be encoded in. */
const CONNECT: Row[] = [
  ['protocol name', 4, 0x10, '0004 4d515455 04 02 0000 0000', 0x84, '[MQTT-3.1.2-1]'],
  ['level 6', 5, 0x10, `${NAME} 06 02 0000 0000`, 0x84, '[MQTT-3.1.2-2]'],
  ['level 3 of MQTT', 4, 0x10, `${NAME} 03 02 0000 0000`, 0x84, '[MQTT-3.1.2-2]'],
  ['level 4 of MQIsdp', 4, 0x10, `${NAME_31} 04 02 0000 0000`, 0x84, '[MQTT-3.1.2-2]'],
  ['a bridge bit in the level', 4, 0x10, `${NAME} 84 02 0000 0000`, 0x84, '[MQTT-3.1.2-2]'],
  ['reserved flag', 4, 0x10, `${NAME} 04 03 0000 0000`, MALFORMED, '[MQTT-3.1.2-3]'],
  ['header flags', 4, 0x11, `${NAME} 04 02 0000 0000`, MALFORMED, '[MQTT-2.1.3-1]'],
  ['will QoS 3', 4, 0x10, `${NAME} 04 1e 0000 0000 0001 61 0000`, MALFORMED, '[MQTT-3.1.2-12]'],
  ['will QoS without will', 4, 0x10, `${NAME} 04 0a 0000 0000`, MALFORMED, '[MQTT-3.1.2-11]'],
  ['will retain without will', 5, 0x10, `${NAME} 05 22 0000 00 0000`, MALFORMED, '[MQTT-3.1.2-13]'],
  [
    'password without user name',
    4,
    0x10,
    `${NAME} 04 42 0000 0000 0000`,
    MALFORMED,
    '[MQTT 3.1.1 MQTT-3.1.2-22]',
  ],
  [
    'will topic with +',
    4,
    0x10,
    `${NAME} 04 06 0000 0000 0001 2b 0000`,
    MALFORMED,
    '[MQTT-4.7.0-1]',
  ],
  [
    'empty will topic',
    4,
    0x10,
    `${NAME} 04 06 0000 0000 0000 0000`,
    PROTOCOL_ERROR,
    '[MQTT-4.7.3-1]',
  ],
  ['no client id', 4, 0x10, `${NAME} 04 02 0000`, MALFORMED, '[MQTT-4.13.1-1]'],
  ['no user name', 4, 0x10, `${NAME} 04 82 0000 0000`, MALFORMED, '[MQTT-4.13.1-1]'],
  ['client id with U+0000', 4, 0x10, `${NAME} 04 02 0000 0001 00`, MALFORMED, '[MQTT-1.5.4-2]'],
  [
    'bytes at the end',
    4,
    0x10,
    `${NAME} 04 02 0000 0000 00`,
    MALFORMED,
    '[MQTT 5.0 section 2.1.4]',
  ],
  [
    'receive maximum 0',
    5,
    0x10,
    `${NAME} 05 02 0000 03 210000 0000`,
    PROTOCOL_ERROR,
    '[MQTT 5.0 section 3.1.2.11.3]',
  ],
  [
    'maximum packet size 0',
    5,
    0x10,
    `${NAME} 05 02 0000 05 2700000000 0000`,
    PROTOCOL_ERROR,
    '[MQTT 5.0 section 3.1.2.11.4]',
  ],
  [
    'authentication data without a method',
    5,
    0x10,
    `${NAME} 05 02 0000 03 160000 0000`,
    PROTOCOL_ERROR,
    '[MQTT 5.0 section 3.1.2.11.10]',
  ],
  [
    'will delay outside the will',
    5,
    0x10,
    `${NAME} 05 02 0000 05 1800000001 0000`,
    MALFORMED,
    '[MQTT 5.0 section 2.2.2.2]',
  ],
  [
    'topic alias in the will',
    5,
    0x10,
    `${NAME} 05 06 0000 00 0000 03 230001 0001 61 0000`,
    MALFORMED,
    '[MQTT 5.0 section 2.2.2.2]',
  ],
]

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
