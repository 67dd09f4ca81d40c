/** The entropy codes of Zstandard: FSE and Huffman tables, and the streams that are read from their ends (RFC 8878, 4). */
import { type Input, malformed } from './output.ts'

/** A stream of bits that is read backwards. Before its beginning there are zeros. */
export class BackwardBits {
  readonly #bytes: Uint8Array
  readonly #from: number
  /** Bits that are left; negative when more was read than there was. */
  left: number

  constructor(bytes: Uint8Array, from: number, to: number) {
    const last = to > from ? (bytes[to - 1] ?? 0) : 0
    if (last === 0) throw malformed('A Zstandard stream has no end mark')
    this.#bytes = bytes
    this.#from = from
    // The highest bit that is set in the last byte is the mark.
    this.left = (to - from) * 8 - Math.clz32(last) + 23
  }

  /** Up to 25 bits. */
  read(count: number): number {
    this.left -= count
    if (this.left >= 0) return this.#at(this.left, count)
    const missing = -this.left
    return missing >= count ? 0 : this.#at(0, count - missing) << missing
  }

  #at(bit: number, count: number): number {
    const bytes = this.#bytes
    const at = this.#from + (bit >>> 3)
    const word =
      (bytes[at] ?? 0) |
      ((bytes[at + 1] ?? 0) << 8) |
      ((bytes[at + 2] ?? 0) << 16) |
      ((bytes[at + 3] ?? 0) << 24)
    return (word >>> (bit & 7)) & ((1 << count) - 1)
  }
}

/** States of a finite automaton: each says a symbol, and how the next state is found. */
export interface FseTable {
  readonly log: number
  readonly symbols: Uint8Array
  readonly bits: Uint8Array
  readonly bases: Uint16Array
}

/** Of one symbol only, without any bits. */
export function singleTable(symbol: number): FseTable {
  return {
    log: 0,
    symbols: Uint8Array.of(symbol),
    bits: Uint8Array.of(0),
    bases: Uint16Array.of(0),
  }
}

/** -1: less than one. */
export function fseTable(log: number, probabilities: readonly number[]): FseTable {
  const size = 1 << log
  const symbols = new Uint8Array(size)
  const next = new Uint16Array(probabilities.length)
  let high = size
  for (const [symbol, probability] of probabilities.entries()) {
    if (probability === -1) symbols[--high] = symbol
    next[symbol] = Math.abs(probability)
  }
  const step = (size >> 1) + (size >> 3) + 3
  let at = 0
  for (const [symbol, probability] of probabilities.entries()) {
    for (let count = 0; count < probability; count++) {
      symbols[at] = symbol
      do at = (at + step) & (size - 1)
      while (at >= high)
    }
  }
  const bits = new Uint8Array(size)
  const bases = new Uint16Array(size)
  for (let state = 0; state < size; state++) {
    const symbol = symbols[state] as number
    const turn = next[symbol] as number
    next[symbol] = turn + 1
    bits[state] = log - (31 - Math.clz32(turn))
    bases[state] = (turn << (bits[state] as number)) - size
  }
  return { log, symbols, bits, bases }
}

export interface FseLimits {
  readonly logMax: number
  readonly symbolMax: number
}

/** Reads the description of a table; what follows begins with a whole byte. */
export function readFseTable(input: Input, { logMax, symbolMax }: FseLimits): FseTable {
  const bits = new ForwardBits(input)
  const log = bits.read(4) + 5
  if (log > logMax) throw malformed('A Zstandard table is too large')
  const probabilities: number[] = []
  let left = 1 << log
  while (left > 0) {
    if (probabilities.length > symbolMax) throw malformed('A Zstandard table has too many symbols')
    const probability = readProbability(bits, left)
    left -= Math.abs(probability)
    probabilities.push(probability)
    if (probability === 0) readZeros(bits, probabilities, symbolMax)
  }
  if (left < 0 || probabilities.length > symbolMax + 1) throw malformed('A bad Zstandard table')
  bits.finish()
  return fseTable(log, probabilities)
}

/** What is likelier not to be left is written with a bit less. */
function readProbability(bits: ForwardBits, left: number): number {
  const count = 32 - Math.clz32(left + 1)
  const lowMask = (1 << (count - 1)) - 1
  const threshold = (1 << count) - 1 - (left + 1)
  const low = bits.read(count - 1)
  if (low < threshold) return low - 1
  const value = low | (bits.read(1) << (count - 1))
  return (value > lowMask ? value - threshold : value) - 1
}

function readZeros(bits: ForwardBits, probabilities: number[], symbolMax: number): void {
  for (;;) {
    const count = bits.read(2)
    for (let zero = 0; zero < count; zero++) probabilities.push(0)
    if (probabilities.length > symbolMax + 1) throw malformed('A bad Zstandard table')
    if (count < 3) return
  }
}

class ForwardBits {
  readonly #input: Input
  #byte = 0
  #left = 0

  constructor(input: Input) {
    this.#input = input
  }

  read(count: number): number {
    let value = 0
    for (let at = 0; at < count; at++) {
      if (this.#left === 0) {
        this.#byte = this.#input.byte()
        this.#left = 8
      }
      value |= (this.#byte & 1) << at
      this.#byte >>= 1
      this.#left--
    }
    return value
  }

  finish(): void {
    this.#left = 0
  }
}

/** By the next `log` bits: the symbol, and how many of them are its own. */
export interface HuffmanTable {
  readonly log: number
  readonly symbols: Uint8Array
  readonly bits: Uint8Array
}

const HUFFMAN_LOG_MAX = 11
const WEIGHTS_MAX = 255

export function readHuffmanTable(input: Input): HuffmanTable {
  const head = input.byte()
  const weights = head < 128 ? compressedWeights(input, head) : plainWeights(input, head - 127)
  let sum = 0
  for (const weight of weights) {
    if (weight > HUFFMAN_LOG_MAX) throw malformed('A Huffman code is too long')
    if (weight > 0) sum += 1 << (weight - 1)
  }
  const log = 32 - Math.clz32(sum)
  if (sum === 0 || log > HUFFMAN_LOG_MAX) throw malformed('A bad Huffman table')
  const left = (1 << log) - sum
  // The last weight makes the sum a power of two.
  if ((left & (left - 1)) !== 0) throw malformed('A bad Huffman table')
  return huffmanTable(log, [...weights, 32 - Math.clz32(left)])
}

function huffmanTable(log: number, weights: readonly number[]): HuffmanTable {
  const symbols = new Uint8Array(1 << log)
  const bits = new Uint8Array(1 << log)
  let at = 0
  for (let weight = 1; weight <= log; weight++) {
    const count = 1 << (weight - 1)
    for (const [symbol, its] of weights.entries()) {
      if (its !== weight) continue
      symbols.fill(symbol, at, at + count)
      bits.fill(log + 1 - weight, at, at + count)
      at += count
    }
  }
  return { log, symbols, bits }
}

function plainWeights(input: Input, count: number): number[] {
  const weights: number[] = []
  while (weights.length < count) {
    const byte = input.byte()
    weights.push(byte >> 4)
    if (weights.length < count) weights.push(byte & 15)
  }
  return weights
}

function compressedWeights(input: Input, bytes: number): number[] {
  const end = input.at + bytes
  const table = readFseTable(input, { logMax: 6, symbolMax: 255 })
  const from = input.skip(end - input.at)
  return weightsOf(table, new BackwardBits(input.bytes, from, end))
}

/** Two automata take turns, until the stream is at its end. */
function weightsOf(table: FseTable, stream: BackwardBits): number[] {
  const states = [stream.read(table.log), stream.read(table.log)]
  const weights: number[] = []
  for (let turn = 0; weights.length < WEIGHTS_MAX; turn ^= 1) {
    const state = states[turn] as number
    weights.push(table.symbols[state] as number)
    states[turn] = (table.bases[state] as number) + stream.read(table.bits[state] as number)
    if (stream.left < 0) {
      weights.push(table.symbols[states[turn ^ 1] as number] as number)
      return weights
    }
  }
  throw malformed('A Huffman table has too many symbols')
}

/** Fills the range of `to` from one stream, which must end with it. */
export function readHuffman(
  table: HuffmanTable,
  stream: BackwardBits,
  { to, from, end }: { readonly to: Uint8Array; readonly from: number; readonly end: number },
): void {
  const { log, symbols, bits } = table
  const mask = (1 << log) - 1
  let window = stream.read(log)
  for (let at = from; at < end; at++) {
    to[at] = symbols[window] as number
    const used = bits[window] as number
    window = ((window << used) & mask) | stream.read(used)
  }
  // The window reaches beyond the end by what it still holds.
  if (stream.left !== -log) throw malformed('A Huffman stream has another length')
}
