/** Snappy: raw, or in the frames of the Java library that Kafka's clients use ("xerial"). */
import { Input, malformed, type Output } from './output.ts'

const XERIAL = Buffer.from([0x82, 0x53, 0x4e, 0x41, 0x50, 0x50, 0x59, 0x00])
/** Behind the magic: the version, and the oldest one that can read it. */
const XERIAL_HEAD_BYTES = XERIAL.length + 8

/** Throws RecordBatchError: MALFORMED, TOO_LARGE. */
export function readSnappy(bytes: Uint8Array, output: Output): void {
  const isFramed = XERIAL.equals(bytes.subarray(0, XERIAL.length))
  if (!isFramed) {
    readBlock(new Input(bytes), output)
    return
  }
  const input = new Input(bytes)
  input.skip(XERIAL_HEAD_BYTES)
  do {
    const length = bigEndian(input)
    const from = input.skip(length)
    readBlock(new Input(bytes, from, from + length), output)
  } while (input.left > 0)
}

function bigEndian(input: Input): number {
  let value = 0
  for (let at = 0; at < 4; at++) value = value * 256 + input.byte()
  return value
}

function readBlock(input: Input, output: Output): void {
  const begin = output.length
  const length = varint(input)
  output.reserve(length)
  while (input.left > 0) {
    readElement(input, output)
    if (output.length - begin > length) throw malformed('Snappy data is longer than it says')
  }
  if (output.length - begin !== length) throw malformed('Snappy data is shorter than it says')
}

function readElement(input: Input, output: Output): void {
  const tag = input.byte()
  const upper = tag >> 2
  switch (tag & 3) {
    case 0: {
      // From 60 on the length is in one to four bytes behind.
      const length = (upper < 60 ? upper : input.number(upper - 59)) + 1
      const from = input.skip(length)
      output.append(input.bytes, from, from + length)
      return
    }
    case 1: {
      const distance = ((upper >> 3) << 8) | input.byte()
      output.repeat(distance, (upper & 7) + 4)
      return
    }
    case 2:
      output.repeat(input.number(2), upper + 1)
      return
    default:
      output.repeat(input.number(4), upper + 1)
  }
}

function varint(input: Input): number {
  let value = 0
  for (let shift = 0; shift < 35; shift += 7) {
    const byte = input.byte()
    value += (byte & 0x7f) * 2 ** shift
    if (byte < 0x80) return value
  }
  throw malformed('The length of snappy data has more than five bytes')
}
