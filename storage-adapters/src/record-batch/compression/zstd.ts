/**
 * Zstandard frames without dictionaries (RFC 8878). Node has this from version 22 on only. Checksums are not looked at:
 * the batch has one over all of it.
 */
import { Input, malformed, type Output } from './output.ts'
import {
  BackwardBits,
  type FseTable,
  fseTable,
  type HuffmanTable,
  readFseTable,
  readHuffman,
  readHuffmanTable,
  singleTable,
} from './zstd-entropy.ts'

const MAGIC = 0xfd2f_b528
const SKIPPABLE = 0x184d_2a50
const BLOCK_BYTES_MAX = 128 * 1024

/** Throws RecordBatchError: MALFORMED, TOO_LARGE. */
export function readZstd(bytes: Uint8Array, output: Output): void {
  const input = new Input(bytes)
  while (input.left > 0) {
    const magic = input.number(4)
    if (magic === MAGIC) readFrame(input, output)
    else if (magic - (magic % 16) === SKIPPABLE) input.skip(input.number(4))
    else throw malformed('No Zstandard frame')
  }
}

/** What blocks of a frame take over from those before. */
interface FrameState {
  /** Where the frame's data begins in the output. */
  readonly begin: number
  huffman: HuffmanTable | undefined
  tables: readonly (FseTable | undefined)[]
  offsets: [number, number, number]
}

function readFrame(input: Input, output: Output): void {
  const hasChecksum = readFrameHead(input, output)
  const state: FrameState = {
    ...{ begin: output.length, huffman: undefined, tables: [] },
    offsets: [1, 4, 8],
  }
  for (;;) {
    const head = input.number(3)
    readBlock(input, output, { state, type: (head >> 1) & 3, size: head >> 3 })
    if (head & 1) break
  }
  if (hasChecksum) input.skip(4)
}

function readFrameHead(input: Input, output: Output): boolean {
  const flags = input.byte()
  const isSingle = (flags & 0x20) !== 0
  if (flags & 0x08) throw malformed('A Zstandard frame has an unknown flag')
  if (!isSingle) input.skip(1)
  if (input.number([0, 1, 2, 4][flags & 3] as number) !== 0) {
    throw malformed('A Zstandard frame wants a dictionary')
  }
  const sizeFlag = flags >> 6
  const sizeBytes = sizeFlag === 0 ? (isSingle ? 1 : 0) : 1 << sizeFlag
  const low = input.number(Math.min(4, sizeBytes))
  const high = sizeBytes === 8 ? input.number(4) : 0
  output.reserve(low + high * 2 ** 32 + (sizeFlag === 1 ? 256 : 0))
  return (flags & 0x04) !== 0
}

interface Block {
  readonly state: FrameState
  readonly type: number
  readonly size: number
}

function readBlock(input: Input, output: Output, { state, type, size }: Block): void {
  if (size > BLOCK_BYTES_MAX) throw malformed('A Zstandard block is too large')
  switch (type) {
    case 0: {
      const from = input.skip(size)
      output.append(input.bytes, from, from + size)
      return
    }
    case 1:
      output.fill(input.byte(), size)
      return
    case 2: {
      const from = input.skip(size)
      readCompressed(new Input(input.bytes, from, from + size), output, state)
      return
    }
    default:
      throw malformed('A Zstandard block of an unknown type')
  }
}

function readCompressed(input: Input, output: Output, state: FrameState): void {
  const literals = readLiterals(input, state)
  const count = readCount(input)
  const until = output.length + BLOCK_BYTES_MAX
  const used = count === 0 ? 0 : readSequences(input, output, { state, literals, count, until })
  output.append(literals, used, literals.length)
  if (output.length > until) throw malformed('A Zstandard block is too large')
}

/** By the format: bytes of the head, and bits of each size in it. */
const PLAIN_SIZES = [
  [1, 5],
  [2, 12],
  [1, 5],
  [3, 20],
] as const
const CODED_SIZES = [
  [3, 10],
  [3, 10],
  [4, 14],
  [5, 18],
] as const

function readLiterals(input: Input, state: FrameState): Uint8Array {
  const first = input.byte()
  input.at--
  const type = first & 3
  const format = (first >> 2) & 3
  if (type < 2) {
    const [bytes, bits] = PLAIN_SIZES[format] as readonly [number, number]
    const size = Math.floor(input.number(bytes) / 2 ** (bits === 5 ? 3 : 4))
    if (size > BLOCK_BYTES_MAX) throw malformed('Too many Zstandard literals')
    if (type === 1) return new Uint8Array(size).fill(input.byte())
    const from = input.skip(size)
    return input.bytes.subarray(from, from + size)
  }
  const [bytes, bits] = CODED_SIZES[format] as readonly [number, number]
  const head = readWide(input, bytes)
  const size = Number((head >> 4n) & ((1n << BigInt(bits)) - 1n))
  const coded = Number(head >> BigInt(4 + bits))
  if (size > BLOCK_BYTES_MAX) throw malformed('Too many Zstandard literals')
  const from = input.skip(coded)
  const content = new Input(input.bytes, from, from + coded)
  if (type === 2) state.huffman = readHuffmanTable(content)
  if (state.huffman === undefined) throw malformed('A Zstandard block has no Huffman table')
  return decodeLiterals(content, state.huffman, { size, isOne: format === 0 })
}

function readWide(input: Input, bytes: number): bigint {
  let value = 0n
  for (let at = 0; at < bytes; at++) value |= BigInt(input.byte()) << BigInt(8 * at)
  return value
}

function decodeLiterals(
  input: Input,
  table: HuffmanTable,
  { size, isOne }: { readonly size: number; readonly isOne: boolean },
): Uint8Array {
  const to = new Uint8Array(size)
  const read = (bytes: number, from: number, end: number): void => {
    const at = input.skip(bytes)
    readHuffman(table, new BackwardBits(input.bytes, at, at + bytes), { to, from, end })
  }
  if (isOne) {
    read(input.left, 0, size)
    return to
  }
  const lengths = [input.number(2), input.number(2), input.number(2)]
  const quarter = (size + 3) >> 2
  if (quarter * 3 > size) throw malformed('Too few Zstandard literals')
  for (const [part, length] of lengths.entries()) read(length, part * quarter, (part + 1) * quarter)
  read(input.left, 3 * quarter, size)
  return to
}

function readCount(input: Input): number {
  const first = input.byte()
  if (first < 128) return first
  if (first < 255) return ((first - 128) << 8) + input.byte()
  return input.number(2) + 0x7f00
}

/** Kinds of codes, in the order of their tables. */
const LITERALS = 0
const OFFSETS = 1
const MATCHES = 2

const LIMITS = [
  { logMax: 9, symbolMax: 35 },
  { logMax: 8, symbolMax: 31 },
  { logMax: 9, symbolMax: 52 },
] as const

const PREDEFINED: readonly FseTable[] = [
  fseTable(6, [
    ...[4, 3, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 2, 1, 1, 1, 2, 2, 2, 2, 2, 2, 2, 2, 2, 3, 2, 1],
    ...[1, 1, 1, 1, -1, -1, -1, -1],
  ]),
  fseTable(5, [
    ...[1, 1, 1, 1, 1, 1, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    ...[-1, -1, -1, -1, -1],
  ]),
  fseTable(6, [
    ...[1, 4, 3, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    ...[1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, -1, -1, -1, -1, -1, -1, -1],
  ]),
]

/** From the code on: what it stands for is the base, and so many bits more. */
const LITERAL_BITS = [
  ...new Array<number>(16).fill(0),
  ...[1, 1, 1, 1, 2, 2, 3, 3, 4, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
]
const MATCH_BITS = [
  ...new Array<number>(32).fill(0),
  ...[1, 1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16],
]
const LITERAL_BASES = basesOf(LITERAL_BITS, 0)
const MATCH_BASES = basesOf(MATCH_BITS, 3)

function basesOf(bits: readonly number[], first: number): readonly number[] {
  let next = first
  return bits.map((count) => {
    const base = next
    next += 1 << count
    return base
  })
}

function readTables(input: Input, state: FrameState): readonly FseTable[] {
  const modes = input.byte()
  if (modes & 3) throw malformed('A Zstandard block has an unknown flag')
  const tables = LIMITS.map((limits, kind) => {
    switch ((modes >> (6 - 2 * kind)) & 3) {
      case 0:
        return PREDEFINED[kind] as FseTable
      case 1: {
        const symbol = input.byte()
        if (symbol > limits.symbolMax) throw malformed('An unknown Zstandard code')
        return singleTable(symbol)
      }
      case 2:
        return readFseTable(input, limits)
      default: {
        const before = state.tables[kind]
        if (before === undefined) throw malformed('A Zstandard block has no table')
        return before
      }
    }
  })
  state.tables = tables
  return tables
}

interface Sequences {
  readonly state: FrameState
  readonly literals: Uint8Array
  readonly count: number
  /** Length of the output that the block must not go beyond. */
  readonly until: number
}

/** Returns how many of the literals were used. */
function readSequences(
  input: Input,
  output: Output,
  { state, literals, count, until }: Sequences,
): number {
  const tables = readTables(input, state)
  const [literalTable, offsetTable, matchTable] = tables as [FseTable, FseTable, FseTable]
  const stream = new BackwardBits(input.bytes, input.at, input.end)
  const states = [LITERALS, OFFSETS, MATCHES].map((kind) => stream.read(tables[kind]?.log ?? 0))
  let [inLiterals, inOffsets, inMatches] = states as [number, number, number]
  let used = 0
  for (let left = count; left > 0; left--) {
    const literalCode = literalTable.symbols[inLiterals] as number
    const matchCode = matchTable.symbols[inMatches] as number
    const value = readOffset(stream, offsetTable.symbols[inOffsets] as number)
    const match = (MATCH_BASES[matchCode] as number) + stream.read(MATCH_BITS[matchCode] as number)
    const length =
      (LITERAL_BASES[literalCode] as number) + stream.read(LITERAL_BITS[literalCode] as number)
    const distance = distanceOf(value, length, state)
    if (used + length > literals.length) throw malformed('Too few Zstandard literals')
    if (output.length + length + match > until) throw malformed('A Zstandard block is too large')
    output.append(literals, used, used + length)
    used += length
    if (distance > output.length - state.begin) throw malformed('A match begins before the data')
    output.repeat(distance, match)
    if (left > 1) {
      inLiterals = next(literalTable, inLiterals, stream)
      inMatches = next(matchTable, inMatches, stream)
      inOffsets = next(offsetTable, inOffsets, stream)
    }
  }
  if (stream.left !== 0) throw malformed('Zstandard sequences have another length')
  return used
}

function next(table: FseTable, state: number, stream: BackwardBits): number {
  return (table.bases[state] as number) + stream.read(table.bits[state] as number)
}

function readOffset(stream: BackwardBits, code: number): number {
  // The upper bits come first.
  const upper = code > 16 ? stream.read(code - 16) * 65_536 : 0
  return 2 ** code + upper + stream.read(Math.min(16, code))
}

/** The first three values stand for distances before: which, depends on whether there are literals. */
function distanceOf(value: number, literals: number, state: FrameState): number {
  const [first, second, third] = state.offsets
  if (value > 3) {
    state.offsets = [value - 3, first, second]
    return value - 3
  }
  const which = literals === 0 ? value : value - 1
  if (which === 0) return first
  if (which === 1) {
    state.offsets = [second, first, third]
    return second
  }
  const distance = which === 2 ? third : first - 1
  state.offsets = [distance, first, second]
  return distance
}
