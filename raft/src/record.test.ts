import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { crc32c } from './crc32c.ts'
import {
  decodeEntry,
  decodeJsonRecord,
  decodeRecord,
  encodeEntry,
  encodeJsonRecord,
  encodeRecord,
  RecordDamagedError,
} from './record.ts'

describe('crc32c', () => {
  it.each([
    ['123456789', 0xe3069283],
    ['', 0],
    ['\0'.repeat(32), 0x8a9136aa],
    ['\xff'.repeat(32), 0x62a8ab43],
  ])('of %j is that of RFC 3720', (text, expected) => {
    expect(crc32c(Buffer.from(text, 'latin1'))).toBe(expected)
  })

  it('continues from a seed', () => {
    const bytes = Buffer.from('123456789')
    expect(crc32c(bytes, { seed: crc32c(bytes, { to: 4 }), from: 4 })).toBe(crc32c(bytes))
  })
})

describe('a record', () => {
  const entry = fc.record({
    index: fc.maxSafeNat(),
    term: fc.maxSafeNat(),
    kind: fc.constantFrom('command', 'no-op', 'configuration'),
    data: fc.uint8Array(),
  })

  it('gives back the entry it was made of', () => {
    fc.assert(
      fc.property(entry, (value) => {
        expect(decodeEntry(encodeEntry(value))).toEqual(value)
      }),
    )
  })

  it('with any flipped bit or cut short is damaged', () => {
    fc.assert(
      fc.property(entry, fc.nat(), fc.boolean(), (value, place, isCut) => {
        const bytes = encodeEntry(value)
        const bit = place % (bytes.length * 8)
        bytes[bit >> 3]! ^= 1 << (bit & 7)
        const damaged = isCut ? encodeEntry(value).subarray(0, bit >> 3) : bytes
        expect(() => decodeEntry(damaged)).toThrow(RecordDamagedError)
      }),
    )
  })

  it('of json is an object', () => {
    expect(decodeJsonRecord(encodeJsonRecord({ a: 1 }))).toEqual({ a: 1 })
    expect(() => decodeJsonRecord(encodeRecord(Buffer.from('7')))).toThrow(RecordDamagedError)
    expect(() => decodeRecord(new Uint8Array(3))).toThrow(RecordDamagedError)
  })
})
