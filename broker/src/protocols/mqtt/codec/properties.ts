// MQTT 5 property sections (section 2.2.2): checked in place, decoded to `Properties` and encoded.
// The scanner allocates nothing, so the hot path can check a section that nobody will decode.

import { ByteReader } from '../../shared/byte-reader.ts'
import { ByteWriter, varintBytes } from '../../shared/byte-writer.ts'
import { PacketType, type Properties, ReasonCode } from '../packets.ts'
import { MqttError, malformed, violation } from './mqtt-error.ts'
import {
  ALLOWED_IN,
  PROPERTY_ID_MAX,
  PropertyId,
  type PropertyRow,
  ROWS,
  WIRE_TYPE,
  WireType,
} from './property-table.ts'
import { readText, skipText, skipTopicName } from './text.ts'

/** More properties than this in one section serve no purpose but to make us work. */
const PROPERTIES_MAX = 4096

/**
 * Walks over a property section and checks all of it: known ids, allowed here, once each, values in
 * range. Afterwards its fields tell what the hot path must know. Throws MqttError, or
 * ShortInputError when a property runs over the end of the section.
 */
export class PropertyScanner {
  /** 0 when there is none. */
  topicAlias = 0
  /** Where the three bytes of the topic alias property start in the buffer, -1 when there is none. */
  topicAliasStart = -1
  /** Seconds; -1 when there is none. */
  messageExpiryInterval = -1
  /** The sender says that the payload is UTF-8. */
  isTextPayload = false
  hasSubscriptionIdentifier = false
  hasAuthenticationMethod = false
  #seenLow = 0
  #seenHigh = 0

  /** Scans from the reader's position to its end. */
  scan(reader: ByteReader, section: number): void {
    this.clear()
    let count = 0
    while (reader.position < reader.end) {
      if (++count > PROPERTIES_MAX) {
        throw new MqttError(
          ReasonCode.quotaExceeded,
          '[MQTT 5.0 section 2.2.2.2]',
          `more than ${PROPERTIES_MAX} properties in a packet`,
        )
      }
      const start = reader.position
      const id = readVarint(reader)
      this.#admit(id, section)
      this.#value(reader, id)
      if (id === PropertyId.topicAlias) this.topicAliasStart = start
    }
    if (this.#has(PropertyId.authenticationData) && !this.hasAuthenticationMethod) {
      throw violation('[MQTT 5.0 section 3.1.2.11.10]', 'authentication data without a method')
    }
  }

  clear(): void {
    this.topicAlias = 0
    this.topicAliasStart = -1
    this.messageExpiryInterval = -1
    this.isTextPayload = false
    this.hasSubscriptionIdentifier = false
    this.hasAuthenticationMethod = false
    this.#seenLow = 0
    this.#seenHigh = 0
  }

  #has(id: number): boolean {
    return id < 32 ? (this.#seenLow & (1 << id)) !== 0 : (this.#seenHigh & (1 << (id - 32))) !== 0
  }

  /** A PUBLISH may have several subscription identifiers, any packet several user properties. */
  #admit(id: number, section: number): void {
    const allowed = id > PROPERTY_ID_MAX ? 0 : (ALLOWED_IN[id] as number)
    if ((allowed & (1 << section)) === 0) {
      throw malformed('[MQTT 5.0 section 2.2.2.2]', `property ${id} is not allowed in this packet`)
    }
    const repeatable =
      id === PropertyId.userProperty ||
      (id === PropertyId.subscriptionIdentifier && section === PacketType.publish)
    if (this.#has(id) && !repeatable) {
      throw violation('[MQTT 5.0 section 2.2.2.2]', `property ${id} appears twice`)
    }
    if (id < 32) this.#seenLow |= 1 << id
    else this.#seenHigh |= 1 << (id - 32)
  }

  #value(reader: ByteReader, id: number): void {
    switch (WIRE_TYPE[id]) {
      case WireType.byte:
        this.#flag(reader.uint8(), id)
        return
      case WireType.uint16:
        this.#number(reader.uint16(), id)
        return
      case WireType.uint32:
        this.#number(reader.uint32(), id)
        return
      case WireType.varint:
        this.#number(readVarint(reader), id)
        return
      case WireType.text:
        if (id === PropertyId.responseTopic) skipTopicName(reader, '[MQTT-3.3.2-14]')
        else skipText(reader)
        if (id === PropertyId.authenticationMethod) this.hasAuthenticationMethod = true
        return
      case WireType.binary:
        reader.skip(reader.uint16())
        return
      default:
        skipText(reader)
        skipText(reader)
    }
  }

  #flag(value: number, id: number): void {
    if (value > 1) {
      throw violation('[MQTT 5.0 section 2.2.2.2]', `property ${id} is neither 0 nor 1`)
    }
    if (id === PropertyId.payloadFormatIndicator) this.isTextPayload = value === 1
  }

  #number(value: number, id: number): void {
    switch (id) {
      case PropertyId.topicAlias:
        if (value === 0) throw zeroAlias()
        this.topicAlias = value
        return
      case PropertyId.messageExpiryInterval:
        this.messageExpiryInterval = value
        return
      case PropertyId.subscriptionIdentifier:
        if (value === 0) throw violation('[MQTT 5.0 section 3.8.2.1.2]', zeroText(id))
        this.hasSubscriptionIdentifier = true
        return
      case PropertyId.receiveMaximum:
        if (value === 0) throw violation('[MQTT 5.0 section 3.1.2.11.3]', zeroText(id))
        return
      case PropertyId.maximumPacketSize:
        if (value === 0) throw violation('[MQTT 5.0 section 3.1.2.11.4]', zeroText(id))
    }
  }
}

function zeroText(id: number): string {
  return `property ${id} is 0`
}

function zeroAlias(): MqttError {
  return new MqttError(ReasonCode.topicAliasInvalid, '[MQTT-3.3.2-8]', 'the topic alias is 0')
}

/** A variable byte integer in its shortest form. */
export function readVarint(reader: ByteReader): number {
  const start = reader.position
  const value = reader.varint(4)
  if (reader.position - start !== varintBytes(value)) {
    throw malformed('[MQTT-1.5.5-1]', 'a variable byte integer is longer than necessary')
  }
  return value
}

const scratch = new PropertyScanner()

/**
 * Checks and decodes the section from the reader's position to its end, which stands in a packet
 * of type `section` (or in the will). Byte strings are copies. Throws as PropertyScanner does.
 */
export function decodeProperties(reader: ByteReader, section: number): Properties {
  const start = reader.position
  if (start === reader.end) return {}
  scratch.scan(reader, section)
  reader.position = start
  const properties: Properties = {}
  while (reader.position < reader.end) {
    const row = ROWS[readVarint(reader)]
    if (row !== undefined) decodeValue(reader, row, properties)
  }
  return properties
}

/** Decodes the properties of a PUBLISH where PacketReader found them. */
export function decodePublishProperties(view: {
  bytes: Buffer
  propertiesStart: number
  propertiesEnd: number
}): Properties {
  const reader = new ByteReader().reset(view.bytes, view.propertiesStart)
  return decodeProperties(reader.limit(view.propertiesEnd), PacketType.publish)
}

/** Reads a section with the length in front of it, and moves behind it. */
export function readProperties(reader: ByteReader, section: number): Properties {
  const packetEnd = reader.end
  const length = readVarint(reader)
  const sectionEnd = reader.position + length
  if (sectionEnd > packetEnd) {
    throw malformed('[MQTT 5.0 section 2.2.2.1]', 'the properties run over the end of the packet')
  }
  const properties = decodeProperties(reader.limit(sectionEnd), section)
  reader.limit(packetEnd)
  return properties
}

function decodeValue(reader: ByteReader, row: PropertyRow, properties: Properties): void {
  switch (row.form) {
    case 'number':
      Object.assign(properties, { [row.name]: readNumber(reader, row.wireType) })
      return
    case 'boolean':
      Object.assign(properties, { [row.name]: reader.uint8() === 1 })
      return
    case 'text':
      Object.assign(properties, { [row.name]: readText(reader) })
      return
    case 'binary':
      Object.assign(properties, { [row.name]: reader.copy(reader.uint16()) })
      return
    case 'identifiers':
      properties.subscriptionIdentifiers ??= []
      properties.subscriptionIdentifiers.push(readVarint(reader))
      return
    case 'pairs': {
      properties.userProperties ??= []
      const name = readText(reader)
      properties.userProperties.push([name, readText(reader)])
      return
    }
    default:
      row.form satisfies never
  }
}

function readNumber(reader: ByteReader, wireType: number): number {
  if (wireType === WireType.byte) return reader.uint8()
  return wireType === WireType.uint16 ? reader.uint16() : reader.uint32()
}

/** The content of a section, without the length in front. Properties that are not set are left out. */
export function encodeProperties(properties: Properties): Buffer {
  const writer = new ByteWriter({ headBytes: 0, capacityBytes: 64 })
  for (const row of ROWS) {
    const value = row === undefined ? undefined : properties[row.name]
    if (row !== undefined && value !== undefined) encodeValue(writer, row, value)
  }
  return writer.finish(0)
}

/** Writes a section with the length in front of it. */
export function writeProperties(writer: ByteWriter, properties: Properties): void {
  const content = encodeProperties(properties)
  writer.varint(content.length)
  writer.bytes(content)
}

type PropertyValue = Exclude<Properties[keyof Properties], undefined>

function encodeValue(writer: ByteWriter, row: PropertyRow, value: PropertyValue): void {
  if (Array.isArray(value)) {
    for (const item of value) {
      writer.uint8(row.id)
      if (typeof item === 'number') writer.varint(item)
      else for (const text of item) writer.utf8WithLength16(text)
    }
    return
  }
  writer.uint8(row.id)
  if (typeof value === 'string') writer.utf8WithLength16(value)
  else if (typeof value === 'boolean') writer.uint8(value ? 1 : 0)
  else if (typeof value !== 'number') writer.bytesWithLength16(value)
  else if (row.wireType === WireType.byte) writer.uint8(value)
  else if (row.wireType === WireType.uint16) writer.uint16(value)
  else writer.uint32(value)
}
