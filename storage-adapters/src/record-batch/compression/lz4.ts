/** LZ4 frames. Their checksums are not looked at: the batch has one over all of it. */
import { Input, malformed, type Output } from './output.ts'

const MAGIC = 0x184d_2204
/** Sixteen magic numbers of frames that say nothing to us. */
const SKIPPABLE = 0x184d_2a50

const flag = { dictionary: 0x01, contentChecksum: 0x04, contentSize: 0x08, blockChecksum: 0x10 }

/** Throws RecordBatchError: MALFORMED, TOO_LARGE. */
export function readLz4(bytes: Uint8Array, output: Output): void {
  const input = new Input(bytes)
  while (input.left > 0) {
    const magic = input.number(4)
    if (magic === MAGIC) readFrame(input, output)
    else if (magic - (magic % 16) === SKIPPABLE) input.skip(input.number(4))
    else throw malformed('No LZ4 frame')
  }
}

function readFrame(input: Input, output: Output): void {
  const flags = input.byte()
  if (flags >> 6 !== 1) throw malformed('An unknown version of LZ4 frames')
  if (flags & flag.dictionary) throw malformed('An LZ4 frame wants a dictionary')
  // The block's greatest size, and what else the head has, its checksum last.
  input.skip(1 + (flags & flag.contentSize ? 8 : 0) + 1)
  for (;;) {
    const size = input.number(4)
    if (size === 0) break
    const isRaw = size >= 0x8000_0000
    const length = isRaw ? size - 0x8000_0000 : size
    const from = input.skip(length)
    if (isRaw) output.append(input.bytes, from, from + length)
    else readBlock(new Input(input.bytes, from, from + length), output)
    if (flags & flag.blockChecksum) input.skip(4)
  }
  if (flags & flag.contentChecksum) input.skip(4)
}

/** Matches may reach into the blocks before. */
function readBlock(input: Input, output: Output): void {
  while (input.left > 0) {
    const token = input.byte()
    const literals = lengthOf(token >> 4, input)
    const from = input.skip(literals)
    output.append(input.bytes, from, from + literals)
    // A block ends with literals.
    if (input.left === 0) return
    const distance = input.number(2)
    output.repeat(distance, lengthOf(token & 15, input) + 4)
  }
}

function lengthOf(nibble: number, input: Input): number {
  let length = nibble
  if (nibble < 15) return length
  for (;;) {
    const more = input.byte()
    length += more
    if (more < 255) return length
  }
}
