/** Bytes that no client would send: valid packets, spoiled by chance. The same seed spoils them alike. */
import { generate, type Packet } from 'mqtt-packet'

/** Small, fast, and good enough here (mulberry32). */
export class Chance {
  #state: number

  constructor(seed: number) {
    this.#state = seed >>> 0
  }

  /** In [0, 1). */
  next(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let mixed = this.#state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }

  below(bound: number): number {
    return Math.floor(this.next() * bound)
  }

  of<T>(list: readonly T[]): T {
    return list[this.below(list.length)] as T
  }
}

export type Version = 3 | 4 | 5

const CLIENT_IDS = Array.from({ length: 64 }, (_, i) => `fuzz-${i}`)
const TOPICS = [
  ...['fuzz/a', 'fuzz/b/c', 'fuzz/+', 'fuzz/#', 'none/#', 'a/b/c', '+/+/d', 'x', 'y/#', '#'],
  ...['$SYS/broker/version', '$exclusive/fuzz/a'],
]
const WORDS = ['', 'x', 'fuzz/a', '\u0000', '+', '#', '\ud800', 'é'.repeat(40), '$share/g/fuzz/a']

export function connectPacket(version: Version, chance: Chance): Buffer {
  const packet: Packet = {
    cmd: 'connect',
    protocolId: version === 3 ? 'MQIsdp' : 'MQTT',
    protocolVersion: version,
    clean: chance.next() < (version === 5 ? 0.8 : 0.95),
    clientId: chance.of(CLIENT_IDS),
    keepalive: chance.below(100),
    ...(chance.next() < 0.1 && {
      will: {
        topic: 'fuzz/will',
        payload: Buffer.from('gone'),
        qos: chance.below(3) as 0 | 1 | 2,
        retain: chance.next() < 0.3,
        ...(version === 5 && { properties: { willDelayInterval: chance.below(3) } }),
      },
    }),
    ...(version === 5 && {
      properties: {
        sessionExpiryInterval: chance.next() < 0.1 ? 1 + chance.below(3) : 0,
        receiveMaximum: 1 + chance.below(20),
        topicAliasMaximum: chance.below(5),
        maximumPacketSize: 60 + chance.below(2_000),
        ...(chance.next() < 0.1 && {
          authenticationMethod: 'SCRAM-SHA-256',
          authenticationData: Buffer.from('n,,n=fuzz,r=abc'),
        }),
      },
    }),
  }
  return generate(packet)
}

/** Something that a connected client may say. */
export function validPacket(version: Version, chance: Chance): Buffer {
  const messageId = 1 + chance.below(20)
  const properties = version === 5 ? propertiesOf(chance) : {}
  const qos = chance.below(3) as 0 | 1 | 2
  const kinds: (() => Packet)[] = [
    () => ({
      ...{ cmd: 'publish', topic: chance.of(['fuzz/a', 'fuzz/b/c']), qos, dup: false },
      ...{ retain: chance.next() < 0.2, payload: 'y'.repeat(chance.below(200)), messageId },
      ...(version === 5 && { properties }),
    }),
    () => ({
      ...{ cmd: 'subscribe', messageId },
      subscriptions: [{ topic: chance.of(TOPICS), qos, nl: false, rap: true, rh: chance.below(3) }],
    }),
    () => ({ cmd: 'unsubscribe', messageId, unsubscriptions: [chance.of(TOPICS)] }),
    () => ({ cmd: chance.of(['puback', 'pubrec', 'pubrel', 'pubcomp'] as const), messageId }),
    () => ({ cmd: 'pingreq' }),
    () => ({ cmd: 'disconnect' }),
    () =>
      version === 5 ? { cmd: 'auth', reasonCode: 0x19, properties: AUTH } : { cmd: 'pingreq' },
  ]
  return generate(chance.of(kinds)(), { protocolVersion: version })
}

const AUTH = {
  authenticationMethod: 'SCRAM-SHA-256',
  authenticationData: Buffer.from('n,,n=a,r=b'),
}

function propertiesOf(chance: Chance): object {
  return {
    ...(chance.next() < 0.3 && { topicAlias: 1 + chance.below(70) }),
    ...(chance.next() < 0.3 && { messageExpiryInterval: chance.below(5) }),
    ...(chance.next() < 0.3 && { payloadFormatIndicator: true }),
    ...(chance.next() < 0.3 && { userProperties: { a: ['1', '2'] } }),
    ...(chance.next() < 0.3 && { responseTopic: 'fuzz/r', correlationData: Buffer.from('c') }),
  }
}

type Mutation = (bytes: Buffer, chance: Chance) => Buffer

const MUTATIONS: readonly Mutation[] = [
  flipBit,
  (bytes, chance) => withByte(bytes, chance, chance.below(256)),
  (bytes, chance) => withByte(bytes, chance, chance.of([0, 1, 0x7f, 0x80, 0xff])),
  // Cut off, doubled, grown and shrunk in the middle.
  (bytes, chance) => bytes.subarray(0, chance.below(bytes.length)),
  (bytes, chance) => splice(bytes, chance, bytes.subarray(chance.below(bytes.length))),
  (bytes, chance) => splice(bytes, chance, Buffer.from(chance.of(WORDS))),
  (bytes, chance) => {
    const at = chance.below(bytes.length)
    return Buffer.concat([bytes.subarray(0, at), bytes.subarray(at + 1 + chance.below(4))])
  },
  // The remaining length lies.
  (bytes, chance) => {
    const copy = Buffer.from(bytes)
    copy[1] = chance.below(256)
    return copy
  },
  (bytes, chance) => {
    const huge = chance.of(['ffffff7f', 'ffffffff7f', '80808001', '8000', 'ff01'])
    return Buffer.concat([bytes.subarray(0, 1), Buffer.from(huge, 'hex'), bytes.subarray(2)])
  },
  // Another packet type with this body.
  (bytes, chance) => {
    const copy = Buffer.from(bytes)
    copy[0] = chance.below(256)
    return copy
  },
  (bytes, chance) => Buffer.concat([bytes, randomBytes(chance)]),
  (_bytes, chance) => randomBytes(chance),
]

export function mutated(bytes: Buffer, chance: Chance): Buffer {
  let spoiled = bytes
  const times = 1 + chance.below(3)
  for (let i = 0; i < times && spoiled.length > 0; i++)
    spoiled = chance.of(MUTATIONS)(spoiled, chance)
  return spoiled
}

function flipBit(bytes: Buffer, chance: Chance): Buffer {
  const copy = Buffer.from(bytes)
  const at = chance.below(copy.length)
  copy[at] = (copy[at] as number) ^ (1 << chance.below(8))
  return copy
}

function withByte(bytes: Buffer, chance: Chance, value: number): Buffer {
  const copy = Buffer.from(bytes)
  copy[chance.below(copy.length)] = value
  return copy
}

function splice(bytes: Buffer, chance: Chance, more: Buffer): Buffer {
  const at = chance.below(bytes.length)
  return Buffer.concat([bytes.subarray(0, at), more, bytes.subarray(at)])
}

function randomBytes(chance: Chance): Buffer {
  return Buffer.from(Array.from({ length: 1 + chance.below(60) }, () => chance.below(256)))
}
