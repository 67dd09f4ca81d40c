// The properties of MQTT 5 (table 2-4): wire type, where each is allowed, and its name here.

import { PacketType, type Properties } from '../packets.ts'

/** Where a property section stands: the packet type, or 0 for the will properties in CONNECT. */
export const WILL_SECTION = 0

export const WireType = { byte: 1, uint16: 2, uint32: 3, varint: 4, text: 5, binary: 6, pair: 7 }

/** How a value is read and written. */
export type PropertyForm = 'number' | 'boolean' | 'text' | 'binary' | 'identifiers' | 'pairs'

export interface PropertyRow {
  id: number
  name: keyof Properties
  wireType: number
  form: PropertyForm
}

export const PropertyId = {
  payloadFormatIndicator: 0x01,
  messageExpiryInterval: 0x02,
  responseTopic: 0x08,
  subscriptionIdentifier: 0x0b,
  authenticationMethod: 0x15,
  authenticationData: 0x16,
  receiveMaximum: 0x21,
  topicAlias: 0x23,
  userProperty: 0x26,
  maximumPacketSize: 0x27,
} as const

export const PROPERTY_ID_MAX = 0x2a

/** By property id: the wire type, 0 for an id that does not exist. */
export const WIRE_TYPE = new Uint8Array(PROPERTY_ID_MAX + 1)

/** By property id: the sections that may have it, one bit for each. */
export const ALLOWED_IN = new Uint16Array(PROPERTY_ID_MAX + 1)

/** By property id. */
export const ROWS: (PropertyRow | undefined)[] = []

const T = PacketType
const MESSAGE = [T.publish, WILL_SECTION]
const HANDSHAKE = [T.connect, T.connack]
const AUTHENTICATION = [T.connect, T.connack, T.auth]
const ANSWERS = [T.puback, T.pubrec, T.pubrel, T.pubcomp, T.suback, T.unsuback]
const REASONED = [T.connack, ...ANSWERS, T.disconnect, T.auth]

type Definition = [name: keyof Properties, form: PropertyForm, wireType: number, sections: number[]]

const W = WireType
const DEFINITIONS: Record<number, Definition> = {
  1: ['payloadFormatIndicator', 'number', W.byte, MESSAGE],
  2: ['messageExpiryInterval', 'number', W.uint32, MESSAGE],
  3: ['contentType', 'text', W.text, MESSAGE],
  8: ['responseTopic', 'text', W.text, MESSAGE],
  9: ['correlationData', 'binary', W.binary, MESSAGE],
  11: ['subscriptionIdentifiers', 'identifiers', W.varint, [T.publish, T.subscribe]],
  17: ['sessionExpiryInterval', 'number', W.uint32, [...HANDSHAKE, T.disconnect]],
  18: ['assignedClientIdentifier', 'text', W.text, [T.connack]],
  19: ['serverKeepAlive', 'number', W.uint16, [T.connack]],
  21: ['authenticationMethod', 'text', W.text, AUTHENTICATION],
  22: ['authenticationData', 'binary', W.binary, AUTHENTICATION],
  23: ['requestProblemInformation', 'boolean', W.byte, [T.connect]],
  24: ['willDelayInterval', 'number', W.uint32, [WILL_SECTION]],
  25: ['requestResponseInformation', 'boolean', W.byte, [T.connect]],
  26: ['responseInformation', 'text', W.text, [T.connack]],
  28: ['serverReference', 'text', W.text, [T.connack, T.disconnect]],
  31: ['reasonString', 'text', W.text, REASONED],
  33: ['receiveMaximum', 'number', W.uint16, HANDSHAKE],
  34: ['topicAliasMaximum', 'number', W.uint16, HANDSHAKE],
  35: ['topicAlias', 'number', W.uint16, [T.publish]],
  36: ['maximumQoS', 'number', W.byte, [T.connack]],
  37: ['retainAvailable', 'boolean', W.byte, [T.connack]],
  38: [
    'userProperties',
    'pairs',
    W.pair,
    [...MESSAGE, ...REASONED, T.connect, T.subscribe, T.unsubscribe],
  ],
  39: ['maximumPacketSize', 'number', W.uint32, HANDSHAKE],
  40: ['wildcardSubscriptionAvailable', 'boolean', W.byte, [T.connack]],
  41: ['subscriptionIdentifierAvailable', 'boolean', W.byte, [T.connack]],
  42: ['sharedSubscriptionAvailable', 'boolean', W.byte, [T.connack]],
}

for (const [key, [name, form, wireType, sections]] of Object.entries(DEFINITIONS)) {
  const id = Number(key)
  ROWS[id] = { id, name, wireType, form }
  WIRE_TYPE[id] = wireType
  ALLOWED_IN[id] = sections.reduce((bits, section) => bits | (1 << section), 0)
}
