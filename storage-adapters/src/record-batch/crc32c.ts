/**
 * CRC-32C (Castagnoli), as Kafka record batches and our stored values use it. Large inputs go to the processor's own
 * instruction through a native module. Where that does not load, and for small inputs, for which the call
 * costs more than the work: slicing by eight, eight table look-ups per eight bytes.
 */
import { createRequire } from 'node:module'

const require = createRequire(import.meta.url)
const polynomial = 0x82f63b78
const tables = buildTables()

/** Bytes from which on the native module is faster: by measurement 300 ns against 420 at 512, 190 µs against 910 at 1 MiB. */
const nativeBytesMin = 512

type Native = (bytes: Uint8Array, previous: number) => number

/**
 * Checksum as an unsigned 32-bit number. `previous` continues the checksum of the bytes before; `range` is
 * cheaper than a view.
 */
export type Crc32c = (bytes: Uint8Array, previous?: number, range?: ByteRange) => number

/** `load` is called when the first large input comes; when it throws, everything is computed here. */
export function createCrc32c(load: () => Native): Crc32c {
  let native: Native | undefined
  let isLoaded = false
  return (bytes, previous = 0, range) => {
    const from = range?.from ?? 0
    const to = range?.to ?? bytes.length
    if (to - from < nativeBytesMin) return slicingByEight(bytes, previous, { from, to })
    if (!isLoaded) {
      isLoaded = true
      native = attempt(load)
    }
    if (native === undefined) return slicingByEight(bytes, previous, { from, to })
    return native(bytes.subarray(from, to), previous)
  }
}

export const crc32c = createCrc32c(() => require('@node-rs/crc32').crc32c)

function attempt(load: () => Native): Native | undefined {
  try {
    return load()
  } catch {
    // No binary for this system: slower, not wrong.
    return undefined
  }
}

function slicingByEight(
  bytes: Uint8Array,
  previous: number,
  { from, to: end }: Required<ByteRange>,
): number {
  const t = tables
  const sliced = end - ((end - from) & 7)
  let crc = ~previous
  let at = from
  while (at < sliced) {
    crc ^=
      (bytes[at] as number) |
      ((bytes[at + 1] as number) << 8) |
      ((bytes[at + 2] as number) << 16) |
      ((bytes[at + 3] as number) << 24)
    crc =
      (t[0x700 + (crc & 0xff)] as number) ^
      (t[0x600 + ((crc >>> 8) & 0xff)] as number) ^
      (t[0x500 + ((crc >>> 16) & 0xff)] as number) ^
      (t[0x400 + (crc >>> 24)] as number) ^
      (t[0x300 + (bytes[at + 4] as number)] as number) ^
      (t[0x200 + (bytes[at + 5] as number)] as number) ^
      (t[0x100 + (bytes[at + 6] as number)] as number) ^
      (t[bytes[at + 7] as number] as number)
    at += 8
  }
  while (at < end) {
    crc = (crc >>> 8) ^ (t[(crc ^ (bytes[at] as number)) & 0xff] as number)
    at += 1
  }
  return ~crc >>> 0
}

/** `to` excluded; undefined: to the end. */
export interface ByteRange {
  readonly from: number
  readonly to?: number
}

function buildTables(): Int32Array {
  const built = new Int32Array(8 * 256)
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = byte
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ polynomial : crc >>> 1
    built[byte] = crc
  }
  for (let byte = 0; byte < 256; byte += 1) {
    let crc = built[byte] as number
    for (let slice = 1; slice < 8; slice += 1) {
      crc = (crc >>> 8) ^ (built[crc & 0xff] as number)
      built[slice * 256 + byte] = crc
    }
  }
  return built
}
