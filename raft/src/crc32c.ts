/** CRC-32C (Castagnoli, RFC 3720 appendix B.4), table driven. */

const POLYNOMIAL = 0x82f63b78
const TABLE = buildTable()

/** What to look at; `seed` is an earlier result, to continue over more bytes. */
export interface CrcRange {
  readonly seed?: number
  readonly from?: number
  readonly to?: number
}

export function crc32c(bytes: Uint8Array, range: CrcRange = {}): number {
  const { seed = 0, from = 0, to = bytes.length } = range
  let crc = ~seed
  for (let at = from; at < to; at += 1) {
    crc = (TABLE[(crc ^ (bytes[at] as number)) & 0xff] as number) ^ (crc >>> 8)
  }
  return ~crc >>> 0
}

function buildTable(): Uint32Array {
  const table = new Uint32Array(256)
  for (let index = 0; index < 256; index += 1) {
    let crc = index
    for (let bit = 0; bit < 8; bit += 1) crc = crc & 1 ? (crc >>> 1) ^ POLYNOMIAL : crc >>> 1
    table[index] = crc >>> 0
  }
  return table
}
