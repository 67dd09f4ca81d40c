/**
 * Writes a message to a subscriber's connection. One encoding serves all subscribers that can share it; what
 * is passed on unchanged is not even copied.
 */
import type { Guarantee, Message } from '../../core/message.ts'
import { varintBytes, writeVarint } from '../shared/byte-writer.ts'
import type { Outbox } from '../shared/outbox.ts'
import { publishFrame } from './codec/encode.ts'
import { decodePublishProperties } from './codec/properties.ts'
import { foreignProperties, type SharedHeaders } from './foreign-properties.ts'
import {
  asBuffer,
  DIALECT,
  LAYOUT_3,
  LAYOUT_5,
  outgoingProperties,
  PublishedMessage,
} from './mapping.ts'
import type { OutgoingAliases } from './outgoing-aliases.ts'
import type { ProtocolVersion } from './packets.ts'

export interface DeliveryOptions {
  readonly version: ProtocolVersion
  readonly guarantee: Guarantee
  readonly retain: boolean
  readonly duplicate: boolean
  /** 0 for QoS 0. */
  readonly packetId: number
  readonly identifiers: readonly number[]
  readonly nowMs: number
  /** The largest packet that the client takes. */
  readonly packetBytesMax: number
  /** Undefined: the client takes none. */
  readonly aliases?: OutgoingAliases | undefined
  /** Undefined: nothing is known of other dialects. */
  readonly shared?: SharedHeaders | undefined
}

const PUBLISH = 0x30
const SUBSCRIPTION_IDENTIFIER = 0x0b
const TOPIC_ALIAS = 0x23
const TOPIC_ALIAS_BYTES = 3

/** False: the packet is larger than the client takes, and nothing was queued. [MQTT-3.1.2-24] */
export function writeMessage(outbox: Outbox, message: Message, options: DeliveryOptions): boolean {
  const { guarantee, version, identifiers, aliases } = options
  const layout = version === 5 ? LAYOUT_5 : LAYOUT_3
  if (aliases !== undefined && message.address.length > TOPIC_ALIAS_BYTES) {
    return writeAliased(outbox, message, { ...options, aliases })
  }
  const header = headerOf(options)
  const { packet } = message
  if (
    packet !== undefined &&
    packet.layout === layout &&
    message.dialect === DIALECT &&
    identifiers.length === 0 &&
    (message.guarantee === 0) === (guarantee === 0)
  ) {
    const { bytes, start, end } = packet
    if (end - start > options.packetBytesMax) return false
    if (guarantee === 0 && bytes[start] === header) outbox.slice(bytes, start, end)
    else {
      const packetIdAt = message instanceof PublishedMessage ? message.packetIdAt : 0
      const frame = { bytes, start, end, packetIdAt }
      copyFrame(outbox, frame, { header, packetId: options.packetId })
    }
    return true
  }
  // The first time: most messages of inboxes go to one client.
  if (layout === LAYOUT_3 && fanned !== message) {
    fanned = message
    fannedFrames.fill(undefined)
    return writeAtOnce(outbox, message, options)
  }
  const frame = encoded(message, options)
  const { bytes, packetIdOffset: packetIdAt } = frame
  if (bytes.length > options.packetBytesMax) return false
  if (guarantee === 0 && bytes[0] === header) outbox.slice(bytes, 0, bytes.length)
  else {
    const frame = { bytes, start: 0, end: bytes.length, packetIdAt }
    copyFrame(outbox, frame, { header, packetId: options.packetId })
  }
  return true
}

/** The first byte of the packet. */
function headerOf({ duplicate, guarantee, retain }: DeliveryOptions): number {
  return PUBLISH | (duplicate ? 8 : 0) | (guarantee << 1) | (retain ? 1 : 0)
}

/** Before MQTT 5: into the outbox, without a frame of its own. */
function writeAtOnce(outbox: Outbox, message: Message, options: DeliveryOptions): boolean {
  const { address, payload } = message
  const { packetId, packetBytesMax } = options
  const topicBytes = utf8Bytes(address)
  const remaining = 2 + topicBytes + (packetId === 0 ? 0 : 2) + payload.byteLength
  const bytes = 1 + varintBytes(remaining) + remaining
  if (bytes > packetBytesMax) return false
  const { buffer, at } = outbox.reserve(bytes)
  buffer[at] = headerOf(options)
  let next = writeVarint(buffer, at + 1, remaining)
  buffer[next++] = topicBytes >> 8
  buffer[next++] = topicBytes & 0xff
  if (topicBytes === address.length) {
    for (let i = 0; i < topicBytes; i++) buffer[next + i] = address.charCodeAt(i)
  } else buffer.write(address, next)
  next += topicBytes
  if (packetId !== 0) {
    buffer[next++] = packetId >> 8
    buffer[next++] = packetId & 0xff
  }
  buffer.set(payload, next)
  return true
}

/** Of a text that is ASCII, as nearly every address is, without asking the runtime. */
function utf8Bytes(text: string): number {
  for (let i = 0; i < text.length; i++)
    if (text.charCodeAt(i) > 0x7f) return Buffer.byteLength(text)
  return text.length
}

/** A client that takes aliases shares no encoding. [MQTT-3.1.2-26] */
function writeAliased(
  outbox: Outbox,
  message: Message,
  options: DeliveryOptions & { readonly aliases: OutgoingAliases },
): boolean {
  const { aliases, packetBytesMax } = options
  const { address } = message
  const known = aliases.get(address)
  const alias = known === 0 ? aliases.free : known
  const { bytes } = encode(message, { ...options, alias, topic: known === 0 ? address : '' })
  if (bytes.length > packetBytesMax) return false
  // Only what the client is sent does it know.
  if (known === 0 && alias !== 0) aliases.set(address)
  bytes[0] = headerOf(options)
  outbox.slice(bytes, 0, bytes.length)
  return true
}

interface Fields {
  readonly header: number
  readonly packetId: number
}

interface Frame {
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  /** Index into `bytes`; of no meaning for QoS 0. */
  readonly packetIdAt: number
}

function copyFrame(outbox: Outbox, frame: Frame, fields: Fields): void {
  const { header, packetId } = fields
  const { bytes, start, end } = frame
  const { buffer, at } = outbox.reserve(end - start)
  bytes.copy(buffer, at, start, end)
  buffer[at] = header
  if (packetId === 0) return
  const idAt = at + frame.packetIdAt - start
  buffer[idAt] = packetId >> 8
  buffer[idAt + 1] = packetId & 0xff
}

interface Encoded {
  readonly bytes: Buffer
  readonly packetIdOffset: number
}

/** The encodings of the message that is being fanned out; index: layout and whether there is a packet id. */
let fanned: Message | undefined
const fannedFrames: (Encoded | undefined)[] = [undefined, undefined, undefined, undefined]

function encoded(message: Message, options: DeliveryOptions): Encoded {
  if (options.identifiers.length > 0 && options.version === 5) return encode(message, options)
  if (fanned !== message) {
    fanned = message
    fannedFrames.fill(undefined)
  }
  const index = (options.version === 5 ? 2 : 0) + (options.guarantee === 0 ? 0 : 1)
  const known = fannedFrames[index]
  if (known !== undefined) return known
  const frame = encode(message, options)
  fannedFrames[index] = frame
  return frame
}

function encode(
  message: Message,
  options: DeliveryOptions & { readonly topic?: string; readonly alias?: number },
): Encoded {
  const { version, guarantee, identifiers, nowMs, topic = message.address, alias = 0 } = options
  const head = {
    topic,
    qos: guarantee,
    retain: false,
    dup: false,
    packetId: options.packetId === 0 ? 1 : options.packetId,
    version,
  }
  const payload = asBuffer(message.payload)
  if (version !== 5) return publishFrame(head, payload)
  const content =
    message.dialect === DIALECT
      ? outgoingProperties(message, nowMs, decodeContent)
      : foreignProperties(message, { nowMs, shared: options.shared })
  const named = identifiers.length === 0 ? content : withIdentifiers(content, identifiers)
  const properties = alias === 0 ? named : withAlias(named, alias)
  return publishFrame({ ...head, properties }, payload)
}

function decodeContent(bytes: Buffer): ReturnType<typeof decodePublishProperties> {
  return decodePublishProperties({ bytes, propertiesStart: 0, propertiesEnd: bytes.length })
}

function withAlias(content: Buffer, alias: number): Buffer {
  return Buffer.concat([content, Buffer.of(TOPIC_ALIAS, alias >> 8, alias & 0xff)])
}

function withIdentifiers(content: Buffer, identifiers: readonly number[]): Buffer {
  let bytes = content.length
  for (const identifier of identifiers) bytes += 1 + varintBytes(identifier)
  const all = Buffer.allocUnsafe(bytes)
  let at = content.copy(all, 0)
  for (const identifier of identifiers) {
    all[at] = SUBSCRIPTION_IDENTIFIER
    at = writeVarint(all, at + 1, identifier)
  }
  return all
}
