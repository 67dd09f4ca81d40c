/** MQTT's names and fields as the core's, and back: topics are addresses, QoS is the guarantee. */
import type { Guarantee, Message, Packet, Subscription } from '../../core/message.ts'
import type { Will as CoreWill } from '../../core/sessions/session.ts'
import type { PublishView } from './codec/packet-reader.ts'
import { decodePublishProperties, encodeProperties } from './codec/properties.ts'
import type { Properties, SubscriptionRequest, Will } from './packets.ts'

export const DIALECT = 'mqtt'
const NO_BYTES = Buffer.alloc(0)
const TOPIC_ALIAS_PROPERTY_BYTES = 3

/** Layouts of a PUBLISH packet: that of MQTT 5 has properties. */
export const LAYOUT_3 = 3
export const LAYOUT_5 = 5

/**
 * A published message as it lies in the read buffer: what passes through unchanged is never copied. Keep it
 * past the turn only by `ownCopy`.
 */
export class PublishedMessage implements Message, Packet {
  readonly address: string
  readonly guarantee: Guarantee
  readonly retain: boolean
  readonly dialect = DIALECT
  readonly timestampMs: number
  readonly expiresAtMs: number
  readonly publisher: string
  readonly token: string
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  /** Where the packet id is, when the QoS is above 0. */
  readonly packetIdAt: number
  readonly layout: number
  /** The packet names its topic, and no other is meant. */
  readonly isVerbatim: boolean
  readonly #aliasStart: number
  readonly propertiesStart: number
  readonly propertiesEnd: number
  readonly payloadStart: number

  constructor(view: PublishView, context: PublishContext) {
    this.address = context.address
    this.guarantee = view.qos
    this.retain = view.retain
    this.timestampMs = context.nowMs
    this.expiresAtMs =
      view.messageExpiryInterval < 0 ? 0 : context.nowMs + view.messageExpiryInterval * 1000
    this.publisher = context.publisher
    this.token = context.token
    this.bytes = view.bytes
    this.start = view.start
    this.end = view.end
    this.packetIdAt = view.topicEnd
    this.layout = context.layout5 ? LAYOUT_5 : LAYOUT_3
    const isNamed = view.topicAlias === 0 && view.topicEnd > view.topicStart
    this.isVerbatim = isNamed && context.isRenamed !== true
    this.#aliasStart = view.topicAliasStart
    this.propertiesStart = view.propertiesStart
    this.propertiesEnd = view.propertiesEnd
    this.payloadStart = view.payloadStart
  }

  get packet(): Packet | undefined {
    return this.isVerbatim ? this : undefined
  }

  get payload(): Buffer {
    return this.bytes.subarray(this.payloadStart, this.end)
  }

  /** The topic alias belongs to the publisher's connection and stays behind. [MQTT-3.3.2-13] */
  get properties(): Buffer {
    if (this.propertiesEnd === this.propertiesStart) return NO_BYTES
    const before = this.bytes.subarray(this.propertiesStart, this.propertiesEnd)
    if (this.#aliasStart < 0) return before
    const at = this.#aliasStart - this.propertiesStart
    return Buffer.concat([before.subarray(0, at), before.subarray(at + TOPIC_ALIAS_PROPERTY_BYTES)])
  }
}

export interface PublishContext {
  readonly address: string
  readonly nowMs: number
  readonly publisher: string
  readonly token: string
  readonly layout5: boolean
  /** The address is not the topic that came. */
  readonly isRenamed?: boolean
}

/** What Node's buffers have and its types do not tell: decoding without looking up the encoding's name. */
interface SliceDecoder {
  latin1Slice(start: number, end: number): string
  utf8Slice(start: number, end: number): string
}

export function topicOf(view: PublishView): string {
  const bytes = view.bytes as unknown as SliceDecoder
  return view.topicIsAscii
    ? bytes.latin1Slice(view.topicStart, view.topicEnd)
    : bytes.utf8Slice(view.topicStart, view.topicEnd)
}

export function toSubscription(request: SubscriptionRequest, identifier: number): Subscription {
  const { filter, qos, noLocal, retainAsPublished } = request
  return { filter, guarantee: qos, noLocal, retainAsPublished, identifier }
}

/** The will as it will be published; the delay is the session's business. */
export function toWill(
  will: Will | undefined,
  publisher: string,
  nowMs: number,
): CoreWill | undefined {
  if (will === undefined) return undefined
  const { willDelayInterval = 0, ...properties } = will.properties
  const expiry = properties.messageExpiryInterval
  return {
    delaySeconds: willDelayInterval,
    message: {
      address: will.topic,
      guarantee: will.qos,
      retain: will.retain,
      payload: will.payload,
      dialect: DIALECT,
      properties: encodeProperties(properties),
      timestampMs: nowMs,
      // The session's owner moves both to the time of the publication.
      expiresAtMs: expiry === undefined ? 0 : nowMs + expiry * 1000,
      publisher,
      token: '',
    },
  }
}

const SYSTEM = '$SYS/'
const DOLLAR = 0x24

/** The first level of what the server tells. */
export const SYSTEM_LEVEL = '$SYS'

/** The server's own part of the addresses. */
export function isSystem(address: string): boolean {
  return address.charCodeAt(0) === DOLLAR && address.startsWith(SYSTEM)
}

/** What the server itself has to say. */
export function systemMessage(address: string, text: string, nowMs: number): Message {
  return {
    address,
    guarantee: 0,
    retain: false,
    payload: Buffer.from(text),
    dialect: DIALECT,
    properties: NO_BYTES,
    timestampMs: nowMs,
    expiresAtMs: 0,
    publisher: '',
    token: '',
  }
}

/** The levels of a template that stand for names. */
export function filledIn(template: string, names: Readonly<Record<string, string>>): string {
  return template
    .split('/')
    .map((level) => names[level] ?? level)
    .join('/')
}

/** What other dialects understand of MQTT's own properties. A user property is a header of its name. */
export function sharedHeaders(properties: Uint8Array): [name: string, value: Uint8Array][] {
  const bytes = asBuffer(properties)
  const view = { bytes, propertiesStart: 0, propertiesEnd: bytes.length }
  const { contentType, responseTopic, correlationData, userProperties } =
    decodePublishProperties(view)
  const headers: [string, Uint8Array][] = []
  if (contentType !== undefined) headers.push(['content-type', Buffer.from(contentType)])
  if (responseTopic !== undefined) headers.push(['reply-to', Buffer.from(responseTopic)])
  if (correlationData !== undefined) headers.push(['correlation-id', correlationData])
  for (const [name, value] of userProperties ?? []) headers.push([name, Buffer.from(value)])
  return headers
}

/** MQTT 5 properties of a message that goes to a client now: the rest of its time to live is told. */
export function outgoingProperties(
  message: Message,
  nowMs: number,
  decode: (content: Buffer) => Properties,
): Buffer {
  const content = asBuffer(message.properties)
  if (message.expiresAtMs === 0) return content
  const properties = decode(content)
  const rest = Math.max(0, Math.ceil((message.expiresAtMs - nowMs) / 1000))
  return encodeProperties({ ...properties, messageExpiryInterval: rest })
}

export function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes)
    ? bytes
    : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}
