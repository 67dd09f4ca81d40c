import { describe, expect, test } from 'vitest'
import { ByteReader, LongVarintError, ShortInputError } from './byte-reader.ts'

describe('ByteReader', () => {
  test('reads big-endian numbers in order', () => {
    const reader = new ByteReader(Buffer.from('01020304050607', 'hex'))
    expect([reader.uint8(), reader.uint16(), reader.uint32()]).toEqual([1, 0x0203, 0x04050607])
    expect(reader.remaining).toBe(0)
  })

  test.each([
    ['uint8', (reader: ByteReader) => reader.uint8(), 0],
    ['uint16', (reader: ByteReader) => reader.uint16(), 1],
    ['uint32', (reader: ByteReader) => reader.uint32(), 3],
    ['view', (reader: ByteReader) => reader.view(5), 4],
    ['varint', (reader: ByteReader) => reader.varint(4), 0],
  ])('%s refuses a short input and stays where it was', (_name, read, bytes) => {
    const reader = new ByteReader(Buffer.alloc(bytes))
    expect(() => read(reader)).toThrow(ShortInputError)
    expect(reader.position).toBe(0)
  })

  test('limit hides what lies behind it', () => {
    const reader = new ByteReader(Buffer.from([1, 2, 3])).limit(2)
    reader.skip(2)
    expect(() => reader.uint8()).toThrow(ShortInputError)
    expect(() => reader.limit(4)).toThrow(ShortInputError)
    expect(() => reader.limit(1)).toThrow(ShortInputError)
  })

  test('varint refuses more bytes than it may take', () => {
    const bytes = Buffer.from('ffffff7fffffffff', 'hex')
    const reader = new ByteReader(bytes)
    expect(reader.varint(4)).toBe(268_435_455)
    expect(() => reader.varint(4)).toThrow(LongVarintError)
  })

  test('copy owns its memory and view does not', () => {
    const bytes = Buffer.from([1, 1])
    const reader = new ByteReader(bytes)
    const view = reader.view(1)
    const copy = reader.copy(1)
    bytes.fill(9)
    expect([view[0], copy[0]]).toEqual([9, 1])
  })
})
