import { describe, expect, test } from 'vitest'
import { ByteReader } from './byte-reader.ts'
import { ByteWriter, VARINT_MAX, varintBytes } from './byte-writer.ts'

function createWriter(capacityBytes = 1): ByteWriter {
  return new ByteWriter({ headBytes: 0, capacityBytes })
}

describe('ByteWriter', () => {
  test('grows and keeps what was written', () => {
    const writer = createWriter()
    writer.uint8(1)
    writer.uint16(0x0203)
    writer.uint32(0x0405_0607)
    writer.utf8WithLength16('é')
    writer.bytesWithLength16(Buffer.from([8]))
    expect(writer.finish(0).toString('hex')).toBe('010203040506070002c3a9000108')
  })

  test('leaves the head free', () => {
    const writer = new ByteWriter({ headBytes: 5, capacityBytes: 0 })
    writer.uint8(7)
    expect(writer.length).toBe(6)
    expect(writer.finish(5)).toEqual(Buffer.from([7]))
  })

  test.each([0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, VARINT_MAX])(
    'varint %i takes the fewest bytes and reads back',
    (value) => {
      const writer = createWriter()
      writer.varint(value)
      expect(writer.length).toBe(varintBytes(value))
      expect(new ByteReader(writer.finish(0)).varint(4)).toBe(value)
    },
  )

  test.each([
    ['uint8', (writer: ByteWriter) => writer.uint8(256)],
    ['uint16', (writer: ByteWriter) => writer.uint16(-1)],
    ['uint32', (writer: ByteWriter) => writer.uint32(2 ** 32)],
    ['varint', (writer: ByteWriter) => writer.varint(VARINT_MAX + 1)],
    ['text', (writer: ByteWriter) => writer.utf8WithLength16('x'.repeat(65_536))],
    ['bytes', (writer: ByteWriter) => writer.bytesWithLength16(Buffer.alloc(65_536))],
  ])('%s refuses a value that does not fit', (_name, write) => {
    expect(() => write(createWriter())).toThrow(RangeError)
  })
})
