import { describe, expect, test } from 'vitest'
import { PacketType, ReasonCode } from '../packets.ts'
import { decodePacket } from './decode.ts'
import {
  encode,
  encodeAck,
  publishFrame,
  publishHead,
  writePuback,
  writePubcomp,
  writePubrec,
  writePubrel,
} from './encode.ts'
import { encodeProperties } from './properties.ts'

const message = { topic: 'a/é', retain: true, dup: false, packetId: 0x1234 }

describe('publishHead', () => {
  test.each([
    { qos: 0, version: 4 },
    { qos: 1, version: 4 },
    { qos: 2, version: 5 },
    { qos: 0, version: 5 },
  ] as const)('is a PUBLISH but for its payload: %o', ({ qos, version }) => {
    const payload = Buffer.alloc(300, 7)
    const properties = encodeProperties({ contentType: 'text' })
    const options = { ...message, qos, version, properties }
    const head = publishHead({ ...options, payloadLength: payload.length })
    const whole = Buffer.concat([head.bytes, payload])
    expect(publishFrame(options, payload).bytes).toEqual(whole)
    const topic = Buffer.from(message.topic)
    expect(publishFrame({ ...options, topic }, payload).bytes).toEqual(whole)
    expect(decodePacket(whole, version)).toMatchObject({
      topic: message.topic,
      payload,
      packetId: qos === 0 ? 0 : 0x1234,
      properties: version === 5 ? { contentType: 'text' } : {},
    })
  })

  test('tells where the packet identifier is', () => {
    const options = { ...message, version: 5, payloadLength: 0 } as const
    const { bytes, packetIdOffset } = publishHead({ ...options, qos: 1 })
    bytes.writeUInt16BE(9, packetIdOffset)
    expect(decodePacket(bytes, 5)).toMatchObject({ packetId: 9 })
    expect(publishHead({ ...options, qos: 0 }).packetIdOffset).toBe(-1)
  })

  test('refuses what MQTT cannot carry', () => {
    const options = { ...message, qos: 0, version: 4, payloadLength: 0 } as const
    expect(() => publishHead({ ...options, topic: 'x'.repeat(65_536) })).toThrow(RangeError)
    expect(() => publishHead({ ...options, payloadLength: 268_435_456 })).toThrow(RangeError)
  })
})

describe('acknowledgements', () => {
  test('are written side by side', () => {
    const target = Buffer.alloc(16)
    const writers = [writePuback, writePubrec, writePubrel, writePubcomp]
    const end = writers.reduce((at, write, index) => write(target, at, 0x0100 + index), 0)
    expect(end).toBe(16)
    expect(target.toString('hex')).toBe('40020100500201016202010270020103')
  })

  test('have a reason code in MQTT 5 only, and only when it says something', () => {
    const ack = { type: PacketType.pubrel, packetId: 5, reasonCode: 0x92 }
    expect(encodeAck(ack, 5).toString('hex')).toBe('6203000592')
    expect(encodeAck(ack, 4).toString('hex')).toBe('62020005')
    expect(encodeAck({ ...ack, reasonCode: 0 }, 5).toString('hex')).toBe('62020005')
  })
})

describe('encode', () => {
  test.each([
    [ReasonCode.success, 0],
    [ReasonCode.unsupportedProtocolVersion, 1],
    [ReasonCode.clientIdentifierNotValid, 2],
    [ReasonCode.serverUnavailable, 3],
    [ReasonCode.badUserNameOrPassword, 4],
    [ReasonCode.notAuthorized, 5],
    [ReasonCode.banned, 5],
    [ReasonCode.quotaExceeded, 3],
  ])('CONNACK of 3.1.1 turns 0x%x into return code %i', (reasonCode, returnCode) => {
    const packet = { kind: 'connack', sessionPresent: false, reasonCode, properties: {} } as const
    expect(encode(packet, 4)).toEqual(Buffer.of(0x20, 2, 0, returnCode))
  })

  test('SUBACK of 3.1.1 turns every refusal into 0x80', () => {
    const packet = { kind: 'suback', packetId: 1, reasonCodes: [2, 0x87], properties: {} } as const
    expect(encode({ ...packet, reasonCodes: [2, 0x87] }, 4).toString('hex')).toBe('900400010280')
  })

  test('AUTH does not exist before MQTT 5', () => {
    expect(() => encode({ kind: 'auth', reasonCode: 0, properties: {} }, 4)).toThrow(RangeError)
  })
})
