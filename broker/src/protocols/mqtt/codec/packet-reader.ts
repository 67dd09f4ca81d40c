// Finds and checks every MQTT packet in a stream of chunks: the hot path. All packets of a chunk are
// parsed in one pass and in place; a PUBLISH or an acknowledgement allocates nothing. It keeps no
// session state but the version, and it never writes to memory that it has handed to a sink.

import assert from 'node:assert'
import { ByteReader } from '../../shared/byte-reader.ts'
import {
  type AckType,
  type Packet,
  PacketType,
  type ProtocolVersion,
  type QoS,
  ReasonCode,
} from '../packets.ts'
import {
  asMqttError,
  decodeBody,
  emptyTopic,
  requireHeaderFlags,
  requirePublishFlags,
  zeroPacketId,
} from './decode.ts'
import { peekVersion } from './decode-connect.ts'
import { MqttError, malformed, violation } from './mqtt-error.ts'
import { PropertyScanner, readVarint } from './properties.ts'
import { requireReasonCode } from './reason-codes.ts'
import { PLAIN_TOPIC_BYTE, requireTopicName, scanText, Text } from './text.ts'

/**
 * One PUBLISH where it lies. All positions are indexes into `bytes`. The same object is used for
 * every call, so read it before returning; `bytes` itself stays valid as long as the chunk that was
 * pushed does.
 */
export interface PublishView {
  bytes: Buffer
  /** The first byte of the fixed header. */
  start: number
  /** Just after the packet. */
  end: number
  /** Just after the fixed header. */
  variableStart: number
  qos: QoS
  retain: boolean
  dup: boolean
  /** The topic name; empty only in MQTT 5 with a topic alias. */
  topicStart: number
  topicEnd: number
  /** The topic name has no byte above 0x7f, so latin1 reads it right and faster than utf8. */
  topicIsAscii: boolean
  /** 0 for QoS 0. */
  packetId: number
  /** The properties without their length; equal when there are none. Checked already. */
  propertiesStart: number
  propertiesEnd: number
  /** 0 when there is none. */
  topicAlias: number
  /** Where the three bytes of the topic alias property start, -1 when there is none. */
  topicAliasStart: number
  /** Seconds; -1 when there is none. */
  messageExpiryInterval: number
  /** The sender says that the payload is UTF-8. */
  isTextPayload: boolean
  /** The payload runs to `end`. */
  payloadStart: number
}

/** Is called with each packet, in order, during `push` and `resume`. What it throws ends the reader. */
export interface PacketSink {
  publish(view: PublishView): void
  /** PUBACK, PUBREC, PUBREL or PUBCOMP. Its properties were checked and are dropped. */
  acknowledge(type: AckType, packetId: number, reasonCode: number): void
  /** Every other packet. It owns its memory. */
  packet(packet: Packet): void
}

export interface PacketReaderOptions {
  /** The largest packet accepted, with its fixed header. */
  packetBytesMax: number
  /** Who sends the packets; a client unless told otherwise. Set `version` by hand for a server's. */
  from?: 'client' | 'server'
}

const EMPTY = Buffer.alloc(0)
const HEADER_BYTES_MAX = 5
/** A longer packet gets its buffer as it arrives: a header alone must not cost us 256 MB. */
const FIRST_BUFFER_BYTES = 64 * 1024
/** Bits of the packet types that each side may send. */
const FROM_CLIENT = 0b1101_0101_1111_1010
const FROM_SERVER = 0b1110_1010_1111_1100

// Shared by all readers: they hold nothing across the call of a sink.
const cursor = new ByteReader()
const scanner = new PropertyScanner()

export class PacketReader {
  /** Set when CONNECT is decoded, before the sink sees it. */
  version: ProtocolVersion = 4
  /**
   * A sink (or anyone) may set it: the reader then stops after the current packet and keeps what
   * follows and what is pushed, without a bound: stop reading the socket. `resume` goes on.
   */
  paused = false
  readonly #packetBytesMax: number
  readonly #fromClient: boolean
  readonly #view = createView()
  #connected: boolean
  /** Where the packet that is looked at goes on behind a long remaining length. */
  #bodyStart = 0
  #ended = false
  #busy = false
  #failure: unknown
  /** The packet that is not complete yet: its first #partialBytes bytes. */
  #partial: Buffer = EMPTY
  #partialBytes = 0
  /** Its whole length, 0 while even the fixed header is incomplete. */
  #partialLength = 0
  /** Copies of what was not parsed while paused; the first one is parsed up to #waitingStart. */
  #waiting: Buffer[] = []
  #waitingStart = 0

  constructor(options: PacketReaderOptions) {
    this.#packetBytesMax = options.packetBytesMax
    this.#fromClient = options.from !== 'server'
    this.#connected = !this.#fromClient
  }

  /** Bytes kept: an incomplete packet and what waits while paused. */
  get bufferedBytes(): number {
    const waiting = this.#waiting.reduce((sum, chunk) => sum + chunk.length, 0)
    return this.#partialBytes + waiting - this.#waitingStart
  }

  /**
   * Parses what has arrived. Throws MqttError at the first packet that breaks a rule, after the sink
   * has seen those before it, and throws it again when called again. What follows a DISCONNECT is
   * ignored [MQTT-3.14.4-1]. Not to be called from within a sink.
   */
  push(chunk: Buffer, sink: PacketSink): void {
    this.#requireUsable()
    if (this.#ended || chunk.length === 0) return
    if (this.paused || this.#waiting.length > 0) {
      this.#waiting.push(Buffer.from(chunk))
      if (!this.paused) this.#drain(sink)
      return
    }
    const consumed = this.#guarded(chunk, 0, sink)
    if (consumed < chunk.length) this.#waiting.push(Buffer.from(chunk.subarray(consumed)))
  }

  /** Goes on after a pause; within a sink it only takes the pause back. */
  resume(sink: PacketSink): void {
    this.paused = false
    if (this.#busy) return
    this.#requireUsable()
    this.#drain(sink)
  }

  #requireUsable(): void {
    assert(!this.#busy, 'a sink must not push into the reader that calls it')
    if (this.#failure !== undefined) throw this.#failure
  }

  #drain(sink: PacketSink): void {
    let index = 0
    try {
      while (index < this.#waiting.length && !this.paused) {
        const chunk = this.#waiting[index] as Buffer
        const consumed = this.#guarded(chunk, this.#waitingStart, sink)
        this.#waitingStart = consumed < chunk.length ? consumed : 0
        if (consumed >= chunk.length) index++
      }
    } finally {
      if (index > 0) this.#waiting = this.#waiting.slice(index)
    }
  }

  /** Parses from `start`, keeps an incomplete packet, returns where a pause stopped it. */
  #guarded(chunk: Buffer, start: number, sink: PacketSink): number {
    this.#busy = true
    try {
      let position = start
      if (this.#partialBytes > 0) position = this.#complete(chunk, start, sink)
      position = this.#parse(chunk, position, sink)
      if (this.#ended) {
        this.#partialBytes = 0
        return chunk.length
      }
      if (this.paused || position >= chunk.length) return position
      return this.#collect(chunk, position)
    } catch (error) {
      this.#failure = asMqttError(error)
      this.#waiting = []
      this.#waitingStart = 0
      this.#dropPartial()
      throw this.#failure
    } finally {
      this.#busy = false
      this.#view.bytes = EMPTY
      cursor.reset(EMPTY, 0)
    }
  }

  /** Parses whole packets from `start` on; returns where the first incomplete or held one starts. */
  #parse(bytes: Buffer, start: number, sink: PacketSink): number {
    const view = this.#view
    const length = bytes.length
    view.bytes = bytes
    let position = start
    while (position < length && !this.paused && !this.#ended) {
      const header = bytes[position] as number
      if (!this.#connected || header >> 4 !== PacketType.publish) this.#admit(header)
      let at = position + 1
      let remaining = at < length ? (bytes[at++] as number) : 0xff
      if (remaining > 0x7f) {
        remaining = this.#longRemainingLength(bytes, position + 1)
        if (remaining < 0) break
        at = this.#bodyStart
      }
      const end = at + remaining
      if (end - position > this.#packetBytesMax) throw this.#tooLarge(end - position)
      if (end > length) break
      view.start = position
      view.variableStart = at
      view.end = end
      position = end
      if (header >> 4 === PacketType.publish) this.#publish(header, sink)
      else this.#other(header, sink)
    }
    return position
  }

  /** The value, or -1 when it is incomplete; #bodyStart is set to just after it. */
  #longRemainingLength(bytes: Buffer, start: number): number {
    let value = 0
    for (let index = 0; index < 4; index++) {
      const byte = bytes[start + index]
      if (byte === undefined) return -1
      value |= (byte & 0x7f) << (7 * index)
      if (byte < 0x80) {
        if (byte === 0 && index > 0 && this.#connected && this.version === 5) {
          throw malformed('[MQTT-1.5.5-1]', 'the remaining length is longer than necessary')
        }
        this.#bodyStart = start + index + 1
        return value
      }
    }
    throw malformed('[MQTT 5.0 section 1.5.5]', 'the remaining length has more than four bytes')
  }

  /** Refuses by the first byte alone what must not come here or now. */
  #admit(header: number): void {
    const type = header >> 4
    if (!this.#connected && type !== PacketType.connect) {
      throw violation('[MQTT-3.1.0-1]', 'the first packet is not CONNECT')
    }
    if (this.#fromClient && this.#connected && type === PacketType.connect) {
      throw violation('[MQTT-3.1.0-2]', 'a second CONNECT')
    }
    requireHeaderFlags(header, this.version)
    if (type === 0 || (type === PacketType.auth && this.version < 5)) {
      throw malformed('[MQTT 5.0 section 2.1.2]', `packet type ${type} is reserved`)
    }
    if ((((this.#fromClient ? FROM_CLIENT : FROM_SERVER) >> type) & 1) === 0) {
      const side = this.#fromClient ? 'client' : 'server'
      throw violation('[MQTT 5.0 section 2.1.2]', `a ${side} must not send packet type ${type}`)
    }
  }

  #tooLarge(bytes: number): MqttError {
    return new MqttError(
      ReasonCode.packetTooLarge,
      '[MQTT-3.2.2-15]',
      `a packet of ${bytes} bytes, at most ${this.#packetBytesMax} are accepted`,
    )
  }

  /** Checks a PUBLISH whose frame is in the view, without allocating. */
  #publish(header: number, sink: PacketSink): void {
    const view = this.#view
    const { bytes, end } = view
    const qos = (header >> 1) & 3
    if ((header & 0x08) !== 0 || qos === 3) requirePublishFlags(header, this.version)
    const topicStart = view.variableStart + 2
    if (topicStart > end) throw shortPublish()
    const topicEnd =
      topicStart + (((bytes[topicStart - 2] as number) << 8) | (bytes[topicStart - 1] as number))
    let at = topicEnd + (qos === 0 ? 0 : 2)
    if (at > end) throw shortPublish()
    view.topicIsAscii = isPlainTopic(bytes, topicStart, topicEnd)
    view.packetId = 0
    if (qos !== 0) {
      view.packetId = ((bytes[at - 2] as number) << 8) | (bytes[at - 1] as number)
      if (view.packetId === 0) throw zeroPacketId()
    }
    view.qos = qos as QoS
    view.retain = (header & 1) !== 0
    view.dup = (header & 8) !== 0
    view.topicStart = topicStart
    view.topicEnd = topicEnd
    view.topicAlias = 0
    view.topicAliasStart = -1
    view.messageExpiryInterval = -1
    view.isTextPayload = false
    view.propertiesStart = at
    view.propertiesEnd = at
    if (this.version === 5) {
      if (at < end && bytes[at] === 0) {
        view.propertiesStart = view.propertiesEnd = ++at
      } else {
        at = this.#properties(at)
      }
    }
    if (topicStart === topicEnd && view.topicAlias === 0) throw emptyTopic()
    view.payloadStart = at
    sink.publish(view)
  }

  /** Checks the property section at `start` and returns where it ends. */
  #properties(start: number): number {
    const view = this.#view
    const reader = cursor.reset(view.bytes, start).limit(view.end)
    const length = readVarint(reader)
    view.propertiesStart = reader.position
    view.propertiesEnd = reader.position + length
    if (view.propertiesEnd > view.end) {
      throw malformed('[MQTT 5.0 section 2.2.2.1]', 'the properties run over the end of the packet')
    }
    scanner.scan(reader.limit(view.propertiesEnd), PacketType.publish)
    if (scanner.hasSubscriptionIdentifier && this.#fromClient) {
      throw violation('[MQTT-3.3.4-6]', 'a subscription identifier in a PUBLISH from a client')
    }
    view.topicAlias = scanner.topicAlias
    view.topicAliasStart = scanner.topicAliasStart
    view.messageExpiryInterval = scanner.messageExpiryInterval
    view.isTextPayload = scanner.isTextPayload
    return view.propertiesEnd
  }

  /** Any packet but PUBLISH, whose frame is in the view. */
  #other(header: number, sink: PacketSink): void {
    const { bytes, variableStart, end } = this.#view
    const type = header >> 4
    const reader = cursor.reset(bytes, variableStart).limit(end)
    if (type >= PacketType.puback && type <= PacketType.pubcomp) {
      this.#acknowledgement(type as AckType, sink)
      return
    }
    if (type === PacketType.connect && this.#fromClient) {
      this.version = peekVersion(bytes.subarray(variableStart, end))
    }
    const packet = decodeBody(reader, { header, version: this.version })
    if (packet.kind === 'connect') this.#connected = true
    else if (packet.kind === 'disconnect') this.#ended = true
    sink.packet(packet)
  }

  #acknowledgement(type: AckType, sink: PacketSink): void {
    const reader = cursor
    const packetId = reader.uint16()
    if (packetId === 0) throw zeroPacketId()
    if (reader.remaining === 0) {
      sink.acknowledge(type, packetId, ReasonCode.success)
      return
    }
    if (this.version < 5) {
      throw malformed('[MQTT 5.0 section 2.1.4]', `bytes behind the end of packet type ${type}`)
    }
    const reasonCode = requireReasonCode(type, reader.uint8())
    if (reader.remaining > 0) {
      if (readVarint(reader) !== reader.remaining) {
        throw malformed('[MQTT 5.0 section 2.2.2.1]', 'the properties do not end with the packet')
      }
      scanner.scan(reader, type)
    }
    sink.acknowledge(type, packetId, reasonCode)
  }

  /** Starts or goes on with an incomplete packet: takes all of the chunk from `start` on. */
  #collect(chunk: Buffer, start: number): number {
    this.#partialLength = frameLength(chunk, start)
    this.#append(chunk, start, chunk.length)
    return chunk.length
  }

  /** Adds to the incomplete packet, and parses it when it is whole; returns what is consumed. */
  #complete(chunk: Buffer, start: number, sink: PacketSink): number {
    let position = start
    while (this.#partialLength === 0) {
      if (position === chunk.length) return position
      this.#append(chunk, position, ++position)
      // Also refuses an oversized or unexpected packet from its header.
      const header = this.#partial.subarray(0, this.#partialBytes)
      this.#parse(header, 0, sink)
      this.#partialLength = frameLength(header, 0)
      // A packet without a body, and so the whole of it: parsed just now.
      if (this.#partialLength === this.#partialBytes) {
        this.#dropPartial()
        return position
      }
    }
    const taken = Math.min(this.#partialLength - this.#partialBytes, chunk.length - position)
    this.#append(chunk, position, position + taken)
    if (this.#partialBytes === this.#partialLength) {
      const frame = this.#partial.subarray(0, this.#partialLength)
      this.#dropPartial()
      this.#parse(frame, 0, sink)
    }
    return position + taken
  }

  /** Copies into the partial buffer; it doubles up to the packet's length, so copying is linear. */
  #append(chunk: Buffer, start: number, end: number): void {
    const needed = this.#partialBytes + end - start
    if (needed > this.#partial.length) {
      const doubled = Math.max(needed, 2 * this.#partial.length, FIRST_BUFFER_BYTES)
      const capacity =
        this.#partialLength > 0 ? Math.min(doubled, this.#partialLength) : HEADER_BYTES_MAX
      const grown = Buffer.allocUnsafe(capacity)
      this.#partial.copy(grown, 0, 0, this.#partialBytes)
      this.#partial = grown
    }
    chunk.copy(this.#partial, this.#partialBytes, start, end)
    this.#partialBytes = needed
  }

  /** A sink may have kept what was in the buffer: it is left to it, never written again. */
  #dropPartial(): void {
    this.#partial = EMPTY
    this.#partialBytes = 0
    this.#partialLength = 0
  }
}

/** The whole length of the packet that starts at `start`, 0 while its fixed header is incomplete. */
function frameLength(bytes: Buffer, start: number): number {
  let remaining = 0
  for (let index = 0; index < 4; index++) {
    const byte = bytes[start + 1 + index]
    if (byte === undefined) return 0
    remaining |= (byte & 0x7f) << (7 * index)
    if (byte < 0x80) return remaining + index + 2
  }
  return 0
}

/** Checks a topic name; true when all of it is ASCII. */
function isPlainTopic(bytes: Buffer, start: number, end: number): boolean {
  for (let index = start; index < end; index++) {
    if (PLAIN_TOPIC_BYTE[bytes[index] as number] === 0) {
      const found = requireTopicName(scanText(bytes, index, end), '[MQTT-3.3.2-2]')
      return (found & Text.nonAscii) === 0
    }
  }
  return true
}

function shortPublish(): MqttError {
  return malformed('[MQTT-4.13.1-1]', 'PUBLISH ends within its topic name or packet identifier')
}

function createView(): PublishView {
  return {
    bytes: EMPTY,
    start: 0,
    end: 0,
    variableStart: 0,
    qos: 0,
    retain: false,
    dup: false,
    topicStart: 0,
    topicEnd: 0,
    topicIsAscii: true,
    packetId: 0,
    propertiesStart: 0,
    propertiesEnd: 0,
    topicAlias: 0,
    topicAliasStart: -1,
    messageExpiryInterval: -1,
    isTextPayload: false,
    payloadStart: 0,
  }
}
