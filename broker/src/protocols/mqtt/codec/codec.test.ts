// Properties of the codec as a whole: what is encoded reads back, however it is cut into chunks, and
// damaged input is refused with MqttError and nothing else.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import type { AckPacket, Packet, Properties, ProtocolVersion, QoS } from '../packets.ts'
import { decodePacket } from './decode.ts'
import { encode } from './encode.ts'
import { MqttError } from './mqtt-error.ts'
import { PacketReader, type PacketSink } from './packet-reader.ts'
import { decodePublishProperties } from './properties.ts'

const VERSIONS: ProtocolVersion[] = [3, 4, 5]

/** MQTT_CODEC_SEED repeats a run. */
const seed = Number(process.env['MQTT_CODEC_SEED'] ?? Date.now() % 2 ** 31)
console.log(`codec.test.ts: MQTT_CODEC_SEED=${seed}`)
fc.configureGlobal({ seed, numRuns: 150 })

const text = fc.string({ unit: 'binary', maxLength: 12 }).filter((value) => !value.includes('\0'))
const topic = text.map((value) => `t${value.replace(/[+#]/g, '_')}`)
const filter = fc.oneof(
  topic,
  fc.constantFrom('#', '+', '+/+', 'a/+/b', 'a/#', '/', '$share/g/a/#', '$share/g/+'),
)
const bytes = fc.uint8Array({ maxLength: 40 }).map((value) => Buffer.from(value))
const uint32 = fc.nat({ max: 0xffff_ffff })
const uint16 = fc.nat({ max: 0xffff })
const positive16 = fc.integer({ min: 1, max: 0xffff })
const packetId = positive16
const bit = fc.constantFrom<0 | 1>(0, 1)
const qos = fc.constantFrom<QoS>(0, 1, 2)
const identifier = fc.integer({ min: 1, max: 268_435_455 })
const pairs = fc.array(fc.tuple(text, text), { minLength: 1, maxLength: 3 })
const some = { requiredKeys: [] as [] }

const message = {
  payloadFormatIndicator: bit,
  messageExpiryInterval: uint32,
  contentType: text,
  responseTopic: topic,
  correlationData: bytes,
  userProperties: pairs,
}
const authentication = { authenticationMethod: text, authenticationData: bytes }
const reason = fc.record({ reasonString: text, userProperties: pairs }, some)

function withMethod(properties: Properties): Properties {
  return properties.authenticationData === undefined
    ? properties
    : { authenticationMethod: '', ...properties }
}

const limits = {
  sessionExpiryInterval: uint32,
  receiveMaximum: positive16,
  topicAliasMaximum: uint16,
  maximumPacketSize: fc.integer({ min: 1, max: 0xffff_ffff }),
  userProperties: pairs,
  ...authentication,
}
const PROPERTIES: Record<string, fc.Arbitrary<Properties>> = {
  connect: fc
    .record(
      {
        ...limits,
        requestProblemInformation: fc.boolean(),
        requestResponseInformation: fc.boolean(),
      },
      some,
    )
    .map(withMethod),
  will: fc.record({ ...message, willDelayInterval: uint32 }, some),
  connack: fc
    .record(
      {
        ...limits,
        maximumQoS: bit,
        retainAvailable: fc.boolean(),
        assignedClientIdentifier: text,
        reasonString: text,
        wildcardSubscriptionAvailable: fc.boolean(),
        subscriptionIdentifierAvailable: fc.boolean(),
        sharedSubscriptionAvailable: fc.boolean(),
        serverKeepAlive: uint16,
        responseInformation: text,
        serverReference: text,
      },
      some,
    )
    .map(withMethod),
  publish: fc.record(
    {
      ...message,
      topicAlias: positive16,
      subscriptionIdentifiers: fc.array(identifier, { minLength: 1, maxLength: 3 }),
    },
    some,
  ),
  subscribe: fc.record(
    { subscriptionIdentifiers: fc.tuple(identifier), userProperties: pairs },
    some,
  ),
  unsubscribe: fc.record({ userProperties: pairs }, some),
  disconnect: fc.record(
    {
      sessionExpiryInterval: uint32,
      reasonString: text,
      serverReference: text,
      userProperties: pairs,
    },
    some,
  ),
  auth: fc
    .record({ ...authentication, reasonString: text, userProperties: pairs }, some)
    .map((properties) => ({ authenticationMethod: 'm', ...properties })),
}

function propertiesOf(kind: string, version: ProtocolVersion): fc.Arbitrary<Properties> {
  return version === 5 ? (PROPERTIES[kind] ?? reason) : fc.constant({})
}

function connectOf(version: ProtocolVersion): fc.Arbitrary<Packet> {
  const will = fc.record({
    topic,
    payload: bytes,
    qos,
    retain: fc.boolean(),
    properties: propertiesOf('will', version),
  })
  const userName = fc.record({ userName: text })
  const both = fc.record({ userName: text, password: bytes })
  const password = fc.record({ password: bytes })
  return fc
    .tuple(
      fc.record({
        kind: fc.constant('connect' as const),
        version: fc.constant(version),
        clientId: text,
        cleanStart: fc.boolean(),
        keepAliveSeconds: uint16,
        properties: propertiesOf('connect', version),
      }),
      fc.oneof(fc.constant({}), fc.record({ will })),
      fc.oneof(fc.constant({}), userName, both, ...(version === 5 ? [password] : [])),
    )
    .map(([base, willPart, login]) => ({ ...base, ...willPart, ...login }))
}

function publishOf(version: ProtocolVersion): fc.Arbitrary<Packet> {
  return fc
    .record({
      kind: fc.constant('publish' as const),
      topic: version === 5 ? fc.oneof(topic, fc.constant('')) : topic,
      payload: bytes,
      qos,
      retain: fc.boolean(),
      dup: fc.boolean(),
      packetId,
      properties: propertiesOf('publish', version),
    })
    .map((packet) => {
      const properties =
        packet.topic === '' ? { topicAlias: 7, ...packet.properties } : packet.properties
      return packet.qos === 0
        ? { ...packet, properties, packetId: 0, dup: false }
        : { ...packet, properties }
    })
}

function ackOf(version: ProtocolVersion): fc.Arbitrary<Packet> {
  const codes: Record<AckPacket['kind'], number[]> = {
    puback: [0, 0x10, 0x97],
    pubrec: [0, 0x80],
    pubrel: [0, 0x92],
    pubcomp: [0, 0x92],
  }
  return fc.constantFrom<AckPacket['kind']>('puback', 'pubrec', 'pubrel', 'pubcomp').chain((kind) =>
    fc.record({
      kind: fc.constant(kind),
      packetId,
      reasonCode: version === 5 ? fc.constantFrom(...codes[kind]) : fc.constant(0),
      properties: propertiesOf(kind, version),
    }),
  )
}

function subscribeOf(version: ProtocolVersion): fc.Arbitrary<Packet> {
  const request = fc
    .record({
      filter,
      qos,
      noLocal: fc.boolean(),
      retainAsPublished: fc.boolean(),
      retainHandling: fc.constantFrom<0 | 1 | 2>(0, 1, 2),
    })
    .map((value) => ({ ...value, noLocal: value.noLocal && !value.filter.startsWith('$share/') }))
    .map((value) =>
      version === 5
        ? value
        : { ...value, noLocal: false, retainAsPublished: false, retainHandling: 0 as const },
    )
  return fc.record({
    kind: fc.constant('subscribe' as const),
    packetId,
    subscriptions: fc.array(request, { minLength: 1, maxLength: 4 }),
    properties: propertiesOf('subscribe', version),
  })
}

function answerOf(version: ProtocolVersion): fc.Arbitrary<Packet> {
  const granted = version === 5 ? [0, 1, 2, 0x80, 0x87, 0x9e] : [0, 1, 2, 0x80]
  const suback = fc.record({
    kind: fc.constant('suback' as const),
    packetId,
    reasonCodes: fc.array(fc.constantFrom(...granted), { maxLength: 4 }),
    properties: propertiesOf('suback', version),
  })
  const unsuback = fc.record({
    kind: fc.constant('unsuback' as const),
    packetId,
    reasonCodes: fc.array(fc.constantFrom(0, 0x11), { maxLength: version === 5 ? 4 : 0 }),
    properties: propertiesOf('unsuback', version),
  })
  const refusals = version === 5 ? [0, 0x81, 0x95, 0x9f] : [0, 0x84, 0x85, 0x86, 0x87, 0x88]
  const connack = fc.record({
    kind: fc.constant('connack' as const),
    sessionPresent: version === 3 ? fc.constant(false) : fc.boolean(),
    reasonCode: fc.constantFrom(...refusals),
    properties: propertiesOf('connack', version),
  })
  return fc.oneof(suback, unsuback, connack)
}

function endOf(version: ProtocolVersion): fc.Arbitrary<Packet> {
  const disconnect = fc.record({
    kind: fc.constant('disconnect' as const),
    reasonCode: version === 5 ? fc.constantFrom(0, 4, 0x81, 0x8e) : fc.constant(0),
    properties: propertiesOf('disconnect', version),
  })
  if (version < 5) return disconnect
  const auth = fc.record({
    kind: fc.constant('auth' as const),
    reasonCode: fc.constantFrom(0, 0x18, 0x19),
    properties: propertiesOf('auth', version),
  })
  return fc.oneof(disconnect, auth)
}

function packetOf(version: ProtocolVersion): fc.Arbitrary<Packet> {
  const unsubscribe = fc.record({
    kind: fc.constant('unsubscribe' as const),
    packetId,
    filters: fc.array(filter, { minLength: 1, maxLength: 4 }),
    properties: propertiesOf('unsubscribe', version),
  })
  return fc.oneof(
    connectOf(version),
    publishOf(version),
    ackOf(version),
    subscribeOf(version),
    unsubscribe,
    answerOf(version),
    endOf(version),
    fc.constantFrom<Packet>({ kind: 'pingreq' }, { kind: 'pingresp' }),
  )
}

const fromServer = new Set(['connack', 'suback', 'unsuback', 'pingresp'])

/** Packets that a client may send after CONNECT. */
function clientPacketOf(version: ProtocolVersion): fc.Arbitrary<Packet> {
  return packetOf(version)
    .filter((packet) => packet.kind !== 'connect' && packet.kind !== 'disconnect')
    .filter((packet) => !fromServer.has(packet.kind))
    .map((packet) => {
      if (packet.kind !== 'publish') return packet
      const { subscriptionIdentifiers: _dropped, ...properties } = packet.properties
      return { ...packet, properties }
    })
}

/** Turns what a sink sees back into packets. The properties of acknowledgements are gone. */
function collect(version: ProtocolVersion): { packets: Packet[]; sink: PacketSink } {
  const kinds = { 4: 'puback', 5: 'pubrec', 6: 'pubrel', 7: 'pubcomp' } as const
  const packets: Packet[] = []
  const sink: PacketSink = {
    publish(view) {
      const properties = decodePublishProperties(view)
      expect(view.topicAlias).toBe(properties.topicAlias ?? 0)
      expect(view.messageExpiryInterval).toBe(properties.messageExpiryInterval ?? -1)
      if (view.topicAlias > 0) expect(view.bytes[view.topicAliasStart]).toBe(0x23)
      const topicBytes = view.bytes.subarray(view.topicStart, view.topicEnd)
      expect(view.topicIsAscii).toBe(topicBytes.every((byte) => byte < 0x80))
      packets.push({
        kind: 'publish',
        topic: topicBytes.toString(),
        payload: Buffer.from(view.bytes.subarray(view.payloadStart, view.end)),
        qos: view.qos,
        retain: view.retain,
        dup: view.dup,
        packetId: view.packetId,
        properties,
      })
    },
    acknowledge(type, id, reasonCode) {
      packets.push({ kind: kinds[type], packetId: id, reasonCode, properties: {} })
    },
    packet(packet) {
      if (packet.kind === 'connect') expect(packet.version).toBe(version)
      packets.push(packet)
    },
  }
  return { packets, sink }
}

function withoutAckProperties(packet: Packet): Packet {
  return packet.kind.startsWith('pub') && packet.kind !== 'publish'
    ? ({ ...packet, properties: {} } as Packet)
    : packet
}

describe.each(VERSIONS)('the codec of protocol level %i', (version) => {
  const stream = fc.tuple(connectOf(version), fc.array(clientPacketOf(version), { maxLength: 8 }))

  test('decodes what it encodes', () => {
    fc.assert(
      fc.property(packetOf(version), (packet) => {
        expect(decodePacket(encode(packet, version), version)).toEqual(packet)
      }),
      { numRuns: 1500 },
    )
  })

  test('refuses every truncated packet', () => {
    fc.assert(
      fc.property(packetOf(version), (packet) => {
        const frame = encode(packet, version)
        for (let length = 0; length < frame.length; length++) {
          const cut = frame.subarray(0, length)
          expect(() => decodePacket(cut, version)).toThrow(MqttError)
        }
      }),
    )
  })

  test('PacketReader sees the same packets however the stream is cut', () => {
    fc.assert(
      fc.property(
        stream,
        fc.array(fc.nat({ max: 40 }), { minLength: 1 }),
        ([first, rest], cuts) => {
          const all = Buffer.concat([first, ...rest].map((packet) => encode(packet, version)))
          for (const sizes of [[all.length], [1], cuts.map((cut) => cut + 1)]) {
            const reader = new PacketReader({ packetBytesMax: 1 << 20 })
            const { packets, sink } = collect(version)
            let turn = 0
            for (let at = 0; at < all.length; ) {
              const size = sizes[turn++ % sizes.length] ?? 1
              const chunk = Buffer.from(all.subarray(at, at + size))
              reader.push(chunk, sink)
              chunk.fill(0xff)
              at += size
            }
            expect(packets).toEqual([first, ...rest].map(withoutAckProperties))
            expect(reader.version).toBe(version)
            expect(reader.bufferedBytes).toBe(0)
          }
        },
      ),
    )
  })

  test('PacketReader delivers nothing of a truncated last packet', () => {
    fc.assert(
      fc.property(connectOf(version), clientPacketOf(version), (first, last) => {
        const head = encode(first, version)
        const frame = encode(last, version)
        for (let length = 0; length < frame.length; length++) {
          const reader = new PacketReader({ packetBytesMax: 1 << 20 })
          const { packets, sink } = collect(version)
          reader.push(Buffer.concat([head, frame.subarray(0, length)]), sink)
          expect(packets).toEqual([first])
          expect(reader.bufferedBytes).toBe(length)
        }
      }),
      { numRuns: 60 },
    )
  })

  test('refuses mutated packets with MqttError only, and what it takes it can encode', () => {
    const samples = fc.sample(packetOf(version), { seed, numRuns: 400 })
    const frames = samples.map((packet) => encode(packet, version))
    const random = mulberry32(seed + version)
    const below = (bound: number) => Math.floor(random() * bound)
    const greeting = encode(fc.sample(connectOf(version), { seed, numRuns: 1 })[0]!, version)
    for (let run = 0; run < 17_000; run++) {
      const mutated = mutate(Buffer.from(frames[below(frames.length)]!), below)
      expectOnlyMqttError(mutated, () => {
        const packet = decodePacket(mutated, version)
        const again = decodePacket(encode(packet, version), version)
        expect(again).toEqual(packet)
      })
      expectOnlyMqttError(mutated, () => {
        const reader = new PacketReader({ packetBytesMax: 100_000 })
        const { sink } = collect(version)
        reader.push(greeting, sink)
        const cut = below(mutated.length + 1)
        reader.push(mutated.subarray(0, cut), sink)
        reader.push(mutated.subarray(cut), sink)
      })
    }
  })
})

function mutate(frame: Buffer, below: (bound: number) => number): Buffer {
  let result = frame
  for (let change = below(3); change >= 0; change--) {
    const at = below(result.length)
    switch (below(5)) {
      case 0:
        result[at] = below(256)
        break
      case 1:
        result[at] = (result[at] ?? 0) ^ (1 << below(8))
        break
      case 2:
        result = Buffer.concat([result.subarray(0, at), result.subarray(at + 1 + below(3))])
        break
      case 3:
        result = Buffer.concat([result.subarray(0, at), Buffer.of(below(256)), result.subarray(at)])
        break
      default:
        result = Buffer.concat([result, result.subarray(at)])
    }
  }
  // Half of the time the remaining length is made right again, so that the body is looked at.
  if (result.length > 2 && result.length < 130 && below(2) === 0) result[1] = result.length - 2
  return result
}

function expectOnlyMqttError(input: Buffer, run: () => void): void {
  try {
    run()
  } catch (error) {
    if (error instanceof MqttError && error.reasonCode >= 0x80 && error.clause !== '') return
    throw new Error(`input ${input.toString('hex')}, seed ${seed}`, { cause: error })
  }
}

function mulberry32(start: number): () => number {
  let state = start
  return () => {
    state = (state + 0x6d2b_79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
