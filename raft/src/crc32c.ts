/** CRC-32C (Castagnoli, RFC 3720 appendix B.4), table driven. */

const POLYNOMIAL = 0x82f63b78
const TABLE = buildTable()

/** Of `bytes`; pass an earlier result as `seed` to continue over more bytes. */
export function crc32c(bytes: Uint8Array, seed = 0): number {
  let crc = ~seed
  for (const byte of bytes) crc = (TABLE[(crc ^ byte) & 0xff] ?? 0) ^ (crc >>> 8)
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
