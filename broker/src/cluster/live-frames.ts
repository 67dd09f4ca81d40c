/**
 * Live messages to a peer, many in a frame. Of all that brokers tell each other this is the most by far, and nobody
 * waits for an answer: protobuf would be most of what such a message costs. Texts (addresses, publishers, dialects)
 * are sent once and then by number; both sides count alike, so frames must not be lost or change their order. A message
 * that came as a packet which may be passed on as it is goes as that packet. Packets lie one after the other, so that
 * what a publisher sent in a row is one write to a subscriber at the other broker, too.
 *
 *     frame:   bytes of the heads u32, head*, content*
 *     head:    flags u8 (1 retained, 2 it expires, 4 all numbers begin anew, 8 a packet, 16 the rest as before),
 *              unless as before: address, publisher, dialect, timestamp f64, [expiry f64];
 *              bytes of the content; where in it the properties begin and end, and the payload begins: varints;
 *              of a packet its layout u8
 *     content: a packet, or the properties and the payload
 *     text:    varint 0, varint length, bytes; or varint number
 */
import type { Message, Packet } from '../core/message.ts'

const TEXTS_MAX = 16_384
/** Characters of all of them: a topic may be long. */
const TEXT_LENGTH_MAX = 1024 * 1024
/** A head needs no more than this besides its texts. */
const HEAD_BYTES = 2 + 2 * 8 + 10 * 5
const HEADS_BYTES_FIRST = 4 * 1024
const CONTENTS_BYTES_FIRST = 16 * 1024
/** What is kept for the next frame. */
const BYTES_KEPT_MAX = 1024 * 1024
const LENGTH_BYTES = 4
const NO_BYTES = Buffer.alloc(0)

const RETAINED = 1
const EXPIRES = 2
const ANEW = 4
const PACKET = 8
const AS_BEFORE = 16

/** The other side sent what is no such frame. */
export class LiveFrameError extends Error {
  override readonly name = 'LiveFrameError'
}

/** Bytes that grow. */
class Growing {
  bytes: Buffer
  end = 0

  constructor(size: number) {
    this.bytes = Buffer.allocUnsafeSlow(size)
  }

  reserve(bytes: number): void {
    if (this.end + bytes <= this.bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(this.bytes.length * 2, this.end + bytes))
    this.bytes.copy(larger, 0, 0, this.end)
    this.bytes = larger
  }

  varint(value: number): void {
    let rest = value
    while (rest > 0x7f) {
      this.bytes[this.end++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.bytes[this.end++] = rest
  }

  append(content: Uint8Array): void {
    this.bytes.set(content, this.end)
    this.end += content.byteLength
  }
}

export class LiveWriter {
  readonly #texts = new Map<string, number>()
  #textLength = 0
  readonly #heads = new Growing(HEADS_BYTES_FIRST)
  #contents = new Growing(CONTENTS_BYTES_FIRST)
  /** A run of packets that lie one after the other where they came: they are copied together. */
  #run: Buffer = NO_BYTES
  #runStart = 0
  #runEnd = 0
  /** Of the message before, in this frame. */
  #address = ''
  #publisher = ''
  #dialect = ''
  #timestampMs = Number.NaN
  #expiresAtMs = 0

  /** Of the frame that is being written. */
  get length(): number {
    const heads = this.#heads.end
    if (heads === 0) return 0
    return LENGTH_BYTES + heads + this.#contents.end + this.#runEnd - this.#runStart
  }

  /** At most once. The bytes of its packet are looked at until the frame is taken. */
  push(message: Message): void {
    const { address, publisher, dialect, timestampMs, expiresAtMs } = message
    // A packet says how long it is to live; what waits on its way must say less. [MQTT-3.3.2-6]
    const packet = expiresAtMs === 0 ? message.packet : undefined
    const isFull = this.#texts.size > TEXTS_MAX - 3 || this.#textLength > TEXT_LENGTH_MAX
    if (isFull) {
      this.#texts.clear()
      this.#textLength = 0
    }
    const isAsBefore =
      !isFull &&
      this.#timestampMs === timestampMs &&
      this.#address === address &&
      this.#publisher === publisher &&
      this.#expiresAtMs === expiresAtMs &&
      this.#dialect === dialect
    const heads = this.#heads
    const texts = isAsBefore ? 0 : address.length + publisher.length + dialect.length
    heads.reserve(HEAD_BYTES + 3 * texts)
    heads.bytes[heads.end++] =
      (message.retain ? RETAINED : 0) |
      (expiresAtMs === 0 ? 0 : EXPIRES) |
      (isFull ? ANEW : 0) |
      (packet === undefined ? 0 : PACKET) |
      (isAsBefore ? AS_BEFORE : 0)
    if (!isAsBefore) this.#fields(message)
    if (packet === undefined) this.#parts(message)
    else this.#packet(packet)
  }

  #fields({ address, publisher, dialect, timestampMs, expiresAtMs }: Message): void {
    this.#text(address)
    this.#text(publisher)
    this.#text(dialect)
    const heads = this.#heads
    heads.end = heads.bytes.writeDoubleLE(timestampMs, heads.end)
    if (expiresAtMs !== 0) heads.end = heads.bytes.writeDoubleLE(expiresAtMs, heads.end)
    this.#address = address
    this.#publisher = publisher
    this.#dialect = dialect
    this.#timestampMs = timestampMs
    this.#expiresAtMs = expiresAtMs
  }

  #packet(packet: Packet): void {
    const { bytes, start, end } = packet
    if (bytes === this.#run && start === this.#runEnd) this.#runEnd = end
    else {
      this.#copyRun()
      this.#run = bytes
      this.#runStart = start
      this.#runEnd = end
    }
    const heads = this.#heads
    heads.varint(end - start)
    heads.varint(packet.propertiesStart - start)
    heads.varint(packet.propertiesEnd - start)
    heads.varint(packet.payloadStart - start)
    heads.bytes[heads.end++] = packet.layout
  }

  #copyRun(): void {
    const [start, end, contents] = [this.#runStart, this.#runEnd, this.#contents]
    contents.reserve(end - start)
    this.#run.copy(contents.bytes, contents.end, start, end)
    contents.end += end - start
    this.#run = NO_BYTES
    this.#runStart = 0
    this.#runEnd = 0
  }

  #parts({ properties, payload }: Message): void {
    this.#copyRun()
    const contents = this.#contents
    const before = properties.byteLength
    contents.reserve(before + payload.byteLength)
    contents.append(properties)
    contents.append(payload)
    const heads = this.#heads
    heads.varint(before + payload.byteLength)
    heads.varint(0)
    heads.varint(before)
    heads.varint(before)
  }

  /** The frame; the next one begins. */
  take(): Buffer {
    this.#copyRun()
    const [heads, contents] = [this.#heads, this.#contents]
    if (heads.end === 0) return NO_BYTES
    const frame = Buffer.allocUnsafeSlow(this.length)
    let at = frame.writeUInt32LE(heads.end, 0)
    at += heads.bytes.copy(frame, at, 0, heads.end)
    contents.bytes.copy(frame, at, 0, contents.end)
    heads.end = 0
    contents.end = 0
    if (contents.bytes.length > BYTES_KEPT_MAX) this.#contents = new Growing(CONTENTS_BYTES_FIRST)
    this.#timestampMs = Number.NaN
    return frame
  }

  #text(text: string): void {
    const heads = this.#heads
    const number = this.#texts.get(text)
    if (number !== undefined) {
      heads.varint(number)
      return
    }
    this.#texts.set(text, this.#texts.size + 1)
    this.#textLength += text.length
    heads.varint(0)
    heads.varint(Buffer.byteLength(text))
    heads.end += heads.bytes.write(text, heads.end)
  }
}

/** A class, since objects that are put together by spreading cost five times as much. */
class LiveMessage implements Message, Packet {
  readonly guarantee = 0
  readonly token = ''
  readonly address: string
  readonly publisher: string
  readonly dialect: string
  readonly timestampMs: number
  readonly expiresAtMs: number
  readonly retain: boolean
  readonly bytes: Buffer
  readonly start: number
  readonly end: number
  readonly propertiesStart: number
  readonly propertiesEnd: number
  readonly payloadStart: number
  /** -1: it is no packet. */
  readonly layout: number

  constructor(reader: LiveReader, flags: number, content: { start: number; end: number }) {
    this.address = reader.address
    this.publisher = reader.publisher
    this.dialect = reader.dialect
    this.timestampMs = reader.timestampMs
    this.expiresAtMs = reader.expiresAtMs
    this.retain = (flags & RETAINED) !== 0
    this.bytes = reader.frame
    const { start, end } = content
    this.start = start
    this.end = end
    this.propertiesStart = start + reader.varint()
    this.propertiesEnd = start + reader.varint()
    this.payloadStart = start + reader.varint()
    this.layout = (flags & PACKET) === 0 ? -1 : reader.byte()
    const isInOrder =
      this.propertiesStart <= this.propertiesEnd &&
      this.propertiesEnd <= this.payloadStart &&
      this.payloadStart <= end
    if (!isInOrder) throw new LiveFrameError('parts of a message that are not in it')
  }

  get packet(): Packet | undefined {
    return this.layout < 0 ? undefined : this
  }

  get payload(): Buffer {
    if (this.payloadStart === this.end) return NO_BYTES
    return this.bytes.subarray(this.payloadStart, this.end)
  }

  get properties(): Buffer {
    if (this.propertiesStart === this.propertiesEnd) return NO_BYTES
    return this.bytes.subarray(this.propertiesStart, this.propertiesEnd)
  }
}

export class LiveReader {
  #texts: string[] = []
  #at = 0
  #headsEnd = 0
  /** For `LiveMessage`: what is read, and the fields of the message that is read. */
  frame: Buffer = NO_BYTES
  address = ''
  publisher = ''
  dialect = ''
  timestampMs = 0
  expiresAtMs = 0

  /** The messages are views of the frame. Throws LiveFrameError. */
  read(frame: Buffer, visit: (message: Message) => void): void {
    if (frame.length === 0) return
    if (frame.length < LENGTH_BYTES) throw new LiveFrameError('a frame without heads')
    this.frame = frame
    this.#at = LENGTH_BYTES
    this.#headsEnd = LENGTH_BYTES + frame.readUInt32LE(0)
    if (this.#headsEnd > frame.length) throw new LiveFrameError('a frame that ends too soon')
    const content = { start: this.#headsEnd, end: this.#headsEnd }
    let isFirst = true
    while (this.#at < this.#headsEnd) {
      const flags = this.byte()
      if ((flags & ANEW) !== 0) this.#texts = []
      if ((flags & AS_BEFORE) === 0) this.#fields(flags)
      else if (isFirst) throw new LiveFrameError('as before, without one before')
      isFirst = false
      content.start = content.end
      content.end += this.varint()
      if (content.end > frame.length) throw new LiveFrameError('a frame that ends too soon')
      visit(new LiveMessage(this, flags, content))
    }
    // Messages that are still on their way keep it, nobody else.
    this.frame = NO_BYTES
  }

  #fields(flags: number): void {
    this.address = this.#text()
    this.publisher = this.#text()
    this.dialect = this.#text()
    this.timestampMs = this.#double()
    this.expiresAtMs = (flags & EXPIRES) === 0 ? 0 : this.#double()
  }

  #text(): string {
    const number = this.varint()
    if (number === 0) {
      const length = this.varint()
      const start = this.#at
      if (length > this.#headsEnd - start) throw new LiveFrameError('a frame that ends too soon')
      if (this.#texts.length >= TEXTS_MAX) throw new LiveFrameError('too many texts')
      this.#at += length
      const text = this.frame.toString('utf8', start, this.#at)
      this.#texts.push(text)
      return text
    }
    const known = this.#texts[number - 1]
    if (known === undefined) throw new LiveFrameError(`no text has the number ${number}`)
    return known
  }

  #double(): number {
    if (this.#headsEnd - this.#at < 8) throw new LiveFrameError('a frame that ends too soon')
    this.#at += 8
    return this.frame.readDoubleLE(this.#at - 8)
  }

  varint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.byte()
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new LiveFrameError('a number of more than five bytes')
  }

  byte(): number {
    if (this.#at >= this.#headsEnd) throw new LiveFrameError('a frame that ends too soon')
    return this.frame[this.#at++] as number
  }
}
