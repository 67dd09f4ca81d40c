// Everything on the MQTT wire as typed values (MQTT 3.1, 3.1.1 and 5.0). The names are those of the
// MQTT 5 specification; older versions use the part of them that they have. No behaviour here.

/** The protocol level in CONNECT: 3 is MQTT 3.1 ("MQIsdp"), 4 is 3.1.1, 5 is 5.0. */
export type ProtocolVersion = 3 | 4 | 5
export type QoS = 0 | 1 | 2

/** Control packet types, MQTT 5.0 table 2-1. */
export const PacketType = {
  connect: 1,
  connack: 2,
  publish: 3,
  puback: 4,
  pubrec: 5,
  pubrel: 6,
  pubcomp: 7,
  subscribe: 8,
  suback: 9,
  unsubscribe: 10,
  unsuback: 11,
  pingreq: 12,
  pingresp: 13,
  disconnect: 14,
  auth: 15,
} as const

export type AckType = 4 | 5 | 6 | 7

/** Reason codes, MQTT 5.0 table 2-6. */
export const ReasonCode = {
  success: 0x00,
  normalDisconnection: 0x00,
  grantedQoS0: 0x00,
  grantedQoS1: 0x01,
  grantedQoS2: 0x02,
  disconnectWithWillMessage: 0x04,
  noMatchingSubscribers: 0x10,
  noSubscriptionExisted: 0x11,
  continueAuthentication: 0x18,
  reAuthenticate: 0x19,
  unspecifiedError: 0x80,
  malformedPacket: 0x81,
  protocolError: 0x82,
  implementationSpecificError: 0x83,
  unsupportedProtocolVersion: 0x84,
  clientIdentifierNotValid: 0x85,
  badUserNameOrPassword: 0x86,
  notAuthorized: 0x87,
  serverUnavailable: 0x88,
  serverBusy: 0x89,
  banned: 0x8a,
  serverShuttingDown: 0x8b,
  badAuthenticationMethod: 0x8c,
  keepAliveTimeout: 0x8d,
  sessionTakenOver: 0x8e,
  topicFilterInvalid: 0x8f,
  topicNameInvalid: 0x90,
  packetIdentifierInUse: 0x91,
  packetIdentifierNotFound: 0x92,
  receiveMaximumExceeded: 0x93,
  topicAliasInvalid: 0x94,
  packetTooLarge: 0x95,
  messageRateTooHigh: 0x96,
  quotaExceeded: 0x97,
  administrativeAction: 0x98,
  payloadFormatInvalid: 0x99,
  retainNotSupported: 0x9a,
  qosNotSupported: 0x9b,
  useAnotherServer: 0x9c,
  serverMoved: 0x9d,
  sharedSubscriptionsNotSupported: 0x9e,
  connectionRateExceeded: 0x9f,
  maximumConnectTime: 0xa0,
  subscriptionIdentifiersNotSupported: 0xa1,
  wildcardSubscriptionsNotSupported: 0xa2,
} as const

/** MQTT 5 properties, table 2-4. Intervals are seconds, sizes are bytes. */
export interface Properties {
  payloadFormatIndicator?: 0 | 1
  messageExpiryInterval?: number
  contentType?: string
  responseTopic?: string
  correlationData?: Buffer
  subscriptionIdentifiers?: number[]
  sessionExpiryInterval?: number
  assignedClientIdentifier?: string
  serverKeepAlive?: number
  authenticationMethod?: string
  authenticationData?: Buffer
  requestProblemInformation?: boolean
  willDelayInterval?: number
  requestResponseInformation?: boolean
  responseInformation?: string
  serverReference?: string
  reasonString?: string
  receiveMaximum?: number
  topicAliasMaximum?: number
  topicAlias?: number
  maximumQoS?: 0 | 1
  retainAvailable?: boolean
  userProperties?: [name: string, value: string][]
  maximumPacketSize?: number
  wildcardSubscriptionAvailable?: boolean
  subscriptionIdentifierAvailable?: boolean
  sharedSubscriptionAvailable?: boolean
}

export interface Will {
  topic: string
  payload: Buffer
  qos: QoS
  retain: boolean
  properties: Properties
}

export interface ConnectPacket {
  kind: 'connect'
  version: ProtocolVersion
  clientId: string
  /** Clean session before MQTT 5. */
  cleanStart: boolean
  /** 0 turns keep alive off. */
  keepAliveSeconds: number
  will?: Will
  userName?: string
  password?: Buffer
  properties: Properties
}

export interface ConnackPacket {
  kind: 'connack'
  sessionPresent: boolean
  /** An MQTT 5 reason code in every version; the codec translates the return codes of 3.x. */
  reasonCode: number
  properties: Properties
}

export interface PublishPacket {
  kind: 'publish'
  /** Empty only in MQTT 5 with a topic alias. */
  topic: string
  payload: Buffer
  qos: QoS
  retain: boolean
  dup: boolean
  /** 0 for QoS 0. */
  packetId: number
  properties: Properties
}

export interface AckPacket {
  kind: 'puback' | 'pubrec' | 'pubrel' | 'pubcomp'
  packetId: number
  /** Always success before MQTT 5. */
  reasonCode: number
  properties: Properties
}

export interface SubscriptionRequest {
  filter: string
  qos: QoS
  noLocal: boolean
  retainAsPublished: boolean
  /** 0: send retained messages, 1: only when the subscription is new, 2: never. */
  retainHandling: 0 | 1 | 2
}

export interface SubscribePacket {
  kind: 'subscribe'
  packetId: number
  subscriptions: SubscriptionRequest[]
  properties: Properties
}

export interface SubackPacket {
  kind: 'suback'
  packetId: number
  /** One for each requested filter, in order. 3.x knows no failure but 0x80. */
  reasonCodes: number[]
  properties: Properties
}

export interface UnsubscribePacket {
  kind: 'unsubscribe'
  packetId: number
  filters: string[]
  properties: Properties
}

export interface UnsubackPacket {
  kind: 'unsuback'
  packetId: number
  /** One for each filter, in order; empty before MQTT 5. */
  reasonCodes: number[]
  properties: Properties
}

export interface DisconnectPacket {
  kind: 'disconnect'
  reasonCode: number
  properties: Properties
}

export interface AuthPacket {
  kind: 'auth'
  reasonCode: number
  properties: Properties
}

export type Packet =
  | ConnectPacket
  | ConnackPacket
  | PublishPacket
  | AckPacket
  | SubscribePacket
  | SubackPacket
  | UnsubscribePacket
  | UnsubackPacket
  | { kind: 'pingreq' }
  | { kind: 'pingresp' }
  | DisconnectPacket
  | AuthPacket
