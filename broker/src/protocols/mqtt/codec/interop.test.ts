// The codec against mqtt-packet, the codec of MQTT.js: what one writes, the other reads alike.

import mqttPacket from 'mqtt-packet'
import { describe, expect, test } from 'vitest'
import type { Packet, ProtocolVersion } from '../packets.ts'
import { decodePacket } from './decode.ts'
import { encode } from './encode.ts'

type Theirs = mqttPacket.Packet

const payload = Buffer.from([0, 1, 2, 255])

/** Pairs of the same packet, ours and theirs, that all versions have. */
function commonPairs(version: ProtocolVersion): [Packet, Theirs][] {
  const properties = {}
  const theirProtocol =
    version === 3
      ? ({ protocolId: 'MQIsdp', protocolVersion: 3 } as const)
      : ({ protocolId: 'MQTT', protocolVersion: version } as const)
  return [
    [
      {
        kind: 'connect',
        version,
        clientId: 'device-1',
        cleanStart: true,
        keepAliveSeconds: 30,
        will: { topic: 'last/wörd', payload, qos: 2, retain: true, properties },
        userName: 'ümlaut',
        password: payload,
        properties,
      },
      {
        cmd: 'connect',
        ...theirProtocol,
        clientId: 'device-1',
        clean: true,
        keepalive: 30,
        will: { topic: 'last/wörd', payload, qos: 2, retain: true },
        username: 'ümlaut',
        password: payload,
      },
    ],
    [
      {
        kind: 'publish',
        topic: 'a/ß/c',
        payload: Buffer.alloc(200, 1),
        qos: 1,
        retain: true,
        dup: true,
        packetId: 513,
        properties,
      },
      {
        cmd: 'publish',
        topic: 'a/ß/c',
        payload: Buffer.alloc(200, 1),
        qos: 1,
        retain: true,
        dup: true,
        messageId: 513,
      },
    ],
    ...(['puback', 'pubrec', 'pubrel', 'pubcomp'] as const).map((kind): [Packet, Theirs] => [
      { kind, packetId: 300, reasonCode: 0, properties },
      { cmd: kind, messageId: 300 },
    ]),
    [
      {
        kind: 'unsubscribe',
        packetId: 9,
        filters: ['a/+', '#'],
        properties,
      },
      { cmd: 'unsubscribe', messageId: 9, unsubscriptions: ['a/+', '#'] },
    ],
    [{ kind: 'pingreq' }, { cmd: 'pingreq' }],
    [{ kind: 'pingresp' }, { cmd: 'pingresp' }],
    [{ kind: 'disconnect', reasonCode: 0, properties }, { cmd: 'disconnect' }],
  ]
}

const request = { filter: 'a/#', qos: 1, noLocal: false, retainAsPublished: false } as const

function olderPairs(version: ProtocolVersion): [Packet, Theirs][] {
  const properties = {}
  return [
    ...commonPairs(version),
    [
      {
        kind: 'subscribe',
        packetId: 8,
        subscriptions: [{ ...request, retainHandling: 0 }],
        properties,
      },
      { cmd: 'subscribe', messageId: 8, subscriptions: [{ topic: 'a/#', qos: 1 }] },
    ],
    [
      { kind: 'connack', sessionPresent: version === 4, reasonCode: 0x87, properties },
      { cmd: 'connack', sessionPresent: version === 4, returnCode: 5 },
    ],
    [
      { kind: 'suback', packetId: 8, reasonCodes: [0, 1, 2, 0x80], properties },
      { cmd: 'suback', messageId: 8, granted: [0, 1, 2, 128] },
    ],
    [
      { kind: 'unsuback', packetId: 9, reasonCodes: [], properties },
      { cmd: 'unsuback', messageId: 9 } as Theirs,
    ],
  ]
}

const userProperties: [string, string][] = [
  ['k', 'v1'],
  ['k', 'v2'],
]
const theirUserProperties = { k: ['v1', 'v2'] }

const FIVE: [Packet, Theirs][] = [
  ...commonPairs(5),
  [
    {
      kind: 'connect',
      version: 5,
      clientId: 'second',
      cleanStart: false,
      keepAliveSeconds: 0,
      will: {
        topic: 'w',
        payload,
        qos: 1,
        retain: false,
        properties: { willDelayInterval: 5, messageExpiryInterval: 6, userProperties },
      },
      properties: {
        sessionExpiryInterval: 0xffff_ffff,
        receiveMaximum: 10,
        maximumPacketSize: 1000,
        topicAliasMaximum: 3,
        requestResponseInformation: true,
        requestProblemInformation: false,
        authenticationMethod: 'SCRAM',
        authenticationData: payload,
        userProperties,
      },
    },
    {
      cmd: 'connect',
      protocolId: 'MQTT',
      protocolVersion: 5,
      clientId: 'second',
      clean: false,
      keepalive: 0,
      will: {
        topic: 'w',
        payload,
        qos: 1,
        retain: false,
        properties: {
          willDelayInterval: 5,
          messageExpiryInterval: 6,
          userProperties: theirUserProperties,
        },
      },
      properties: {
        sessionExpiryInterval: 0xffff_ffff,
        receiveMaximum: 10,
        maximumPacketSize: 1000,
        topicAliasMaximum: 3,
        requestResponseInformation: true,
        requestProblemInformation: false,
        authenticationMethod: 'SCRAM',
        authenticationData: payload,
        userProperties: theirUserProperties,
      },
    },
  ],
  [
    {
      kind: 'publish',
      topic: '',
      payload,
      qos: 0,
      retain: false,
      dup: false,
      packetId: 0,
      properties: {
        payloadFormatIndicator: 1,
        messageExpiryInterval: 60,
        topicAlias: 4,
        responseTopic: 'r/t',
        correlationData: payload,
        subscriptionIdentifiers: [1, 300, 268_435_455],
        contentType: 'text/plain',
        userProperties,
      },
    },
    {
      cmd: 'publish',
      topic: '',
      payload,
      qos: 0,
      retain: false,
      dup: false,
      properties: {
        payloadFormatIndicator: true,
        messageExpiryInterval: 60,
        topicAlias: 4,
        responseTopic: 'r/t',
        correlationData: payload,
        subscriptionIdentifier: [1, 300, 268_435_455],
        contentType: 'text/plain',
        userProperties: theirUserProperties,
      },
    },
  ],
  [
    {
      kind: 'pubrec',
      packetId: 3,
      reasonCode: 0x97,
      properties: { reasonString: 'full', userProperties },
    },
    {
      cmd: 'pubrec',
      messageId: 3,
      reasonCode: 0x97,
      properties: { reasonString: 'full', userProperties: theirUserProperties },
    },
  ],
  [
    {
      kind: 'subscribe',
      packetId: 8,
      subscriptions: [
        { filter: 'a/#', qos: 2, noLocal: true, retainAsPublished: true, retainHandling: 2 },
      ],
      properties: { subscriptionIdentifiers: [145] },
    },
    {
      cmd: 'subscribe',
      messageId: 8,
      subscriptions: [{ topic: 'a/#', qos: 2, nl: true, rap: true, rh: 2 }],
      properties: { subscriptionIdentifier: 145 },
    },
  ],
  [
    {
      kind: 'connack',
      sessionPresent: true,
      reasonCode: 0,
      properties: {
        assignedClientIdentifier: 'x',
        maximumQoS: 1,
        retainAvailable: false,
        serverKeepAlive: 20,
        wildcardSubscriptionAvailable: true,
        subscriptionIdentifierAvailable: true,
        sharedSubscriptionAvailable: false,
        responseInformation: 'i',
        serverReference: 's',
        reasonString: 'r',
      },
    },
    {
      cmd: 'connack',
      sessionPresent: true,
      reasonCode: 0,
      properties: {
        assignedClientIdentifier: 'x',
        maximumQoS: 1,
        retainAvailable: false,
        serverKeepAlive: 20,
        wildcardSubscriptionAvailable: true,
        subscriptionIdentifiersAvailable: true,
        sharedSubscriptionAvailable: false,
        responseInformation: 'i',
        serverReference: 's',
        reasonString: 'r',
      },
    } as Theirs,
  ],
  [
    { kind: 'suback', packetId: 8, reasonCodes: [0, 2, 0x9e], properties: { reasonString: 'r' } },
    {
      cmd: 'suback',
      messageId: 8,
      granted: [0, 2, 0x9e],
      properties: { reasonString: 'r' },
    } as Theirs,
  ],
  [
    { kind: 'unsuback', packetId: 8, reasonCodes: [0, 0x11], properties: {} },
    { cmd: 'unsuback', messageId: 8, granted: [0, 0x11] } as unknown as Theirs,
  ],
  [
    {
      kind: 'disconnect',
      reasonCode: 0x8e,
      properties: { sessionExpiryInterval: 1, serverReference: 'other:1883' },
    },
    {
      cmd: 'disconnect',
      reasonCode: 0x8e,
      properties: { sessionExpiryInterval: 1, serverReference: 'other:1883' },
    },
  ],
  [
    {
      kind: 'auth',
      reasonCode: 0x18,
      properties: { authenticationMethod: 'm', authenticationData: payload },
    },
    {
      cmd: 'auth',
      reasonCode: 0x18,
      properties: { authenticationMethod: 'm', authenticationData: payload },
    } as Theirs,
  ],
]

function generateTheirs(packet: Theirs, version: ProtocolVersion): Buffer {
  return mqttPacket.generate(packet, { protocolVersion: version })
}

function parseTheirs(bytes: Buffer, version: ProtocolVersion): Theirs {
  const parser = mqttPacket.parser({ protocolVersion: version })
  const packets: Theirs[] = []
  parser.on('packet', (packet: Theirs) => packets.push(packet))
  parser.on('error', (error: Error) => {
    throw error
  })
  parser.parse(bytes)
  if (packets.length !== 1) throw new Error(`${packets.length} packets in ${bytes.toString('hex')}`)
  return packets[0]!
}

/** Their parser leaves user properties in an object without a prototype; compare as plain data. */
function plain(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value))
}

const CASES = [
  ...olderPairs(3).map((pair) => [3, ...pair] as const),
  ...olderPairs(4).map((pair) => [4, ...pair] as const),
  ...FIVE.map((pair) => [5, ...pair] as const),
].map(([version, ours, theirs], index) => ({
  name: `${index} ${ours.kind}`,
  version,
  ours,
  theirs,
}))

describe('mqtt-packet', () => {
  test.each(CASES)('$name of level $version is read as it wrote it', (row) => {
    const { version, ours, theirs } = row
    expect(decodePacket(generateTheirs(theirs, version), version)).toEqual(ours)
  })

  test.each(CASES)('$name of level $version is written as it reads it', (row) => {
    const { version, ours, theirs } = row
    const read = parseTheirs(encode(ours, version), version)
    const expected = parseTheirs(generateTheirs(theirs, version), version)
    expect(plain({ ...read, length: 0 })).toEqual(plain({ ...expected, length: 0 }))
  })
})
