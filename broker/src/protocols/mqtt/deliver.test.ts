import { EventEmitter } from 'node:events'
import type { Socket } from 'node:net'
import { describe, expect, test } from 'vitest'
import type { Guarantee } from '../../core/message.ts'
import { ownCopy } from '../../core/message.ts'
import { Outbox } from '../shared/outbox.ts'
import { encode } from './codec/encode.ts'
import { PacketReader } from './codec/packet-reader.ts'
import { type DeliveryOptions, writeMessage } from './deliver.ts'
import { PublishedMessage, topicOf } from './mapping.ts'
import type { ProtocolVersion, PublishPacket } from './packets.ts'

const NOW = 1_000_000

function published(packet: PublishPacket, version: ProtocolVersion): PublishedMessage {
  const reader = new PacketReader({ packetBytesMax: 1 << 20 })
  const found: PublishedMessage[] = []
  const sink = {
    publish: (view: Parameters<typeof topicOf>[0]) => {
      const address = view.topicAlias === 0 ? topicOf(view) : 'aliased/topic'
      const context = { address, nowMs: NOW, publisher: '', token: '', layout5: version === 5 }
      found.push(new PublishedMessage(view, context))
    },
    acknowledge: () => undefined,
    packet: () => undefined,
  }
  const connect = {
    kind: 'connect' as const,
    version,
    clientId: 'x',
    cleanStart: true,
    keepAliveSeconds: 0,
    properties: {},
  }
  reader.push(Buffer.concat([encode(connect, version), encode(packet, version)]), sink)
  return found[0] as PublishedMessage
}

function sent(
  message: Parameters<typeof writeMessage>[1],
  options: Partial<DeliveryOptions>,
): Buffer {
  const chunks: Buffer[] = []
  const socket = Object.assign(new EventEmitter(), {
    writableLength: 0,
    destroyed: false,
    write: (chunk: Buffer) => chunks.push(Buffer.from(chunk)),
    cork: () => undefined,
    uncork: () => undefined,
  }) as unknown as Socket
  const outbox = new Outbox(socket)
  writeMessage(outbox, message, {
    version: 4,
    guarantee: 0,
    retain: false,
    duplicate: false,
    packetId: 0,
    identifiers: [],
    nowMs: NOW,
    packetBytesMax: 1 << 20,
    ...options,
  })
  outbox.flush()
  return Buffer.concat(chunks)
}

function packet(more: Partial<PublishPacket> = {}): PublishPacket {
  return {
    kind: 'publish',
    topic: 'a/b',
    payload: Buffer.from('hello'),
    qos: 0,
    retain: false,
    dup: false,
    packetId: 0,
    properties: {},
    ...more,
  }
}

describe('writeMessage', () => {
  test.each(
    ([4, 5] as const).flatMap((from) =>
      ([4, 5] as const).flatMap((to) =>
        ([0, 1, 2] as const).flatMap((qos) =>
          ([0, 1, 2] as const)
            .filter((guarantee) => guarantee <= qos)
            .map((guarantee) => [from, to, qos, guarantee] as const),
        ),
      ),
    ),
  )('version %i to %i, QoS %i as %i equals the plain encoding', (from, to, qos, guarantee) => {
    const userProperties: [string, string][] = [['k', 'v']]
    const properties = from === 5 ? { userProperties } : {}
    const incoming = packet({ qos, packetId: qos === 0 ? 0 : 9, retain: true, properties })
    const message = published(incoming, from)
    const packetId = guarantee === 0 ? 0 : 0x1234
    const expected = encode(
      packet({
        qos: guarantee,
        packetId,
        retain: true,
        dup: guarantee > 0,
        properties: to === 5 ? properties : {},
      }),
      to,
    )
    const options = { version: to, guarantee: guarantee as Guarantee, packetId, retain: true }
    const duplicate = guarantee > 0
    expect(sent(message, { ...options, duplicate }).toString('hex')).toBe(expected.toString('hex'))
    // The same from a copy, as it comes out of an inbox or from another broker.
    expect(sent(ownCopy(message), { ...options, duplicate }).toString('hex')).toBe(
      expected.toString('hex'),
    )
  })

  test('a topic alias of the publisher is resolved and left behind [MQTT-3.3.2-13]', () => {
    const incoming = packet({ topic: '', properties: { topicAlias: 3, contentType: 'x' } })
    const expected = encode(packet({ topic: 'aliased/topic', properties: { contentType: 'x' } }), 5)
    expect(sent(published(incoming, 5), { version: 5 }).toString('hex')).toBe(
      expected.toString('hex'),
    )
  })

  test('the remaining time to live is told [MQTT-3.3.2-6]', () => {
    const message = ownCopy(published(packet({ properties: { messageExpiryInterval: 60 } }), 5))
    const expected = encode(packet({ properties: { messageExpiryInterval: 18 } }), 5)
    const later = sent(message, { version: 5, nowMs: NOW + 42_000 })
    expect(later.toString('hex')).toBe(expected.toString('hex'))
  })

  test('several subscription identifiers are told [MQTT-3.3.4-3]', () => {
    const expected = encode(packet({ properties: { subscriptionIdentifiers: [1, 300] } }), 5)
    const bytes = sent(published(packet(), 5), { version: 5, identifiers: [1, 300] })
    expect(bytes.toString('hex')).toBe(expected.toString('hex'))
  })

  test('a packet larger than the client takes is not sent [MQTT-3.1.2-24]', () => {
    expect(sent(published(packet(), 4), { packetBytesMax: 8 })).toHaveLength(0)
  })
})
