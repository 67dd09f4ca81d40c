/**
 * Live messages to a peer, many in a frame. Of all that brokers tell each other this is the most by far, and nobody
 * waits for an answer: protobuf would be most of what such a message costs. Texts (addresses, publishers, dialects)
 * are sent once and then by number; both sides count alike, so frames must not be lost or change their order.
 *
 *     frame:   message*
 *     message: flags u8 (1 retained, 2 it expires, 4 all numbers begin anew), address, publisher, dialect,
 *              timestamp f64, [expiry f64], bytes of the properties, bytes of the payload
 *     text:    varint 0, bytes; or varint number       bytes: varint length, content
 */
import type { Message } from '../core/message.ts'

const TEXTS_MAX = 16_384
/** Characters of all of them: a topic may be long. */
const TEXT_LENGTH_MAX = 1024 * 1024
/** A message needs no more than this besides its texts and bytes. */
const FIXED_BYTES = 1 + 2 * 8 + 5 * 5
const FRAME_BYTES_FIRST = 16 * 1024

const RETAINED = 1
const EXPIRES = 2
const ANEW = 4

/** The other side sent what is no such frame. */
export class LiveFrameError extends Error {
  override readonly name = 'LiveFrameError'
}

export class LiveWriter {
  readonly #texts = new Map<string, number>()
  #textLength = 0
  #bytes: Buffer = Buffer.allocUnsafeSlow(FRAME_BYTES_FIRST)
  #end = 0

  /** Of the frame that is being written. */
  get length(): number {
    return this.#end
  }

  /** At most once, and nothing of it is kept. */
  push(message: Message): void {
    const { address, publisher, dialect, payload, properties, expiresAtMs } = message
    const isFull = this.#texts.size > TEXTS_MAX - 3 || this.#textLength > TEXT_LENGTH_MAX
    if (isFull) {
      this.#texts.clear()
      this.#textLength = 0
    }
    this.#reserve(
      FIXED_BYTES +
        3 * (address.length + publisher.length + dialect.length) +
        payload.byteLength +
        properties.byteLength,
    )
    const flags =
      (message.retain ? RETAINED : 0) | (expiresAtMs === 0 ? 0 : EXPIRES) | (isFull ? ANEW : 0)
    this.#bytes[this.#end++] = flags
    this.#text(address)
    this.#text(publisher)
    this.#text(dialect)
    this.#end = this.#bytes.writeDoubleLE(message.timestampMs, this.#end)
    if (expiresAtMs !== 0) this.#end = this.#bytes.writeDoubleLE(expiresAtMs, this.#end)
    this.#content(properties)
    this.#content(payload)
  }

  /** The frame; the next one begins. */
  take(): Buffer {
    const frame = this.#bytes.subarray(0, this.#end)
    this.#bytes = Buffer.allocUnsafeSlow(Math.max(FRAME_BYTES_FIRST, Math.min(this.#end, 1 << 20)))
    this.#end = 0
    return frame
  }

  #reserve(bytes: number): void {
    if (this.#end + bytes <= this.#bytes.length) return
    const larger = Buffer.allocUnsafeSlow(Math.max(this.#bytes.length * 2, this.#end + bytes))
    this.#bytes.copy(larger, 0, 0, this.#end)
    this.#bytes = larger
  }

  #text(text: string): void {
    const number = this.#texts.get(text)
    if (number !== undefined) {
      this.#varint(number)
      return
    }
    this.#texts.set(text, this.#texts.size + 1)
    this.#textLength += text.length
    this.#varint(0)
    const length = Buffer.byteLength(text)
    this.#varint(length)
    this.#end += this.#bytes.write(text, this.#end)
  }

  #content(content: Uint8Array): void {
    this.#varint(content.byteLength)
    this.#bytes.set(content, this.#end)
    this.#end += content.byteLength
  }

  #varint(value: number): void {
    let rest = value
    while (rest > 0x7f) {
      this.#bytes[this.#end++] = (rest & 0x7f) | 0x80
      rest >>>= 7
    }
    this.#bytes[this.#end++] = rest
  }
}

const NO_BYTES = Buffer.alloc(0)

/** A class, since objects that are put together by spreading cost five times as much. */
class LiveMessage implements Message {
  address = ''
  readonly guarantee = 0
  retain = false
  payload: Buffer = NO_BYTES
  dialect = ''
  properties: Buffer = NO_BYTES
  timestampMs = 0
  expiresAtMs = 0
  publisher = ''
  readonly token = ''
}

export class LiveReader {
  #texts: string[] = []
  #frame: Buffer = Buffer.alloc(0)
  #at = 0

  /** The messages are views of the frame. Throws LiveFrameError. */
  read(frame: Buffer, visit: (message: Message) => void): void {
    this.#frame = frame
    this.#at = 0
    while (this.#at < frame.length) visit(this.#message())
  }

  #message(): Message {
    const flags = this.#byte()
    if ((flags & ANEW) !== 0) this.#texts = []
    const message = new LiveMessage()
    message.retain = (flags & RETAINED) !== 0
    message.address = this.#text()
    message.publisher = this.#text()
    message.dialect = this.#text()
    message.timestampMs = this.#double()
    if ((flags & EXPIRES) !== 0) message.expiresAtMs = this.#double()
    message.properties = this.#content()
    message.payload = this.#content()
    return message
  }

  #text(): string {
    const number = this.#varint()
    if (number === 0) {
      const text = this.#content().toString()
      if (this.#texts.length >= TEXTS_MAX) throw new LiveFrameError('too many texts')
      this.#texts.push(text)
      return text
    }
    const known = this.#texts[number - 1]
    if (known === undefined) throw new LiveFrameError(`no text has the number ${number}`)
    return known
  }

  #content(): Buffer {
    const length = this.#varint()
    if (length === 0) return NO_BYTES
    const start = this.#at
    if (length > this.#frame.length - start) throw new LiveFrameError('a frame that ends too soon')
    this.#at += length
    return this.#frame.subarray(start, this.#at)
  }

  #double(): number {
    if (this.#frame.length - this.#at < 8) throw new LiveFrameError('a frame that ends too soon')
    this.#at += 8
    return this.#frame.readDoubleLE(this.#at - 8)
  }

  #varint(): number {
    let value = 0
    for (let shift = 0; shift < 35; shift += 7) {
      const byte = this.#byte()
      value += (byte & 0x7f) * 2 ** shift
      if (byte < 0x80) return value
    }
    throw new LiveFrameError('a number of more than five bytes')
  }

  #byte(): number {
    const byte = this.#frame[this.#at++]
    if (byte === undefined) throw new LiveFrameError('a frame that ends too soon')
    return byte
  }
}
