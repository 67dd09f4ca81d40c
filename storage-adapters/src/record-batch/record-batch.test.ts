import { createRequire } from 'node:module'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeRecordBatch,
  encodeCompactedBatch,
  encodeRecordBatch,
  type NewRecord,
} from './codec.ts'
import { crc32c, createCrc32c } from './crc32c.ts'
import * as header from './record-batch.ts'

/** Made by an independent encoder, in Python, from the protocol's description. */
const golden = Buffer.from(
  '000000000000002a000000600000000702ba1d90230010000000010000018bcfe568000000018cf9eb5a000000000000001267000300000063000000021000000001046869004a0080c8afa02502066b6579010218636f6e74656e742d7479706514746578742f706c61696e',
  'hex',
)
const goldenRecords: NewRecord[] = [
  { timestamp: 1_700_000_000_000, key: null, value: Buffer.from('hi'), headers: [] },
  {
    timestamp: 1_705_000_000_000,
    key: Buffer.from('key'),
    value: null,
    headers: [['content-type', Buffer.from('text/plain')]],
  },
]

describe('crc32c', () => {
  test('crc32c gives the check values of RFC 3720', () => {
    expect(crc32c(Buffer.from('123456789'))).toBe(0xe3069283)
    expect(crc32c(Buffer.alloc(32))).toBe(0x8a9136aa)
    expect(crc32c(Buffer.alloc(32, 0xff))).toBe(0x62a8ab43)
    expect(crc32c(new Uint8Array(0))).toBe(0)
  })

  test('the native module and what is computed here agree, whatever the size, place and seed', () => {
    let loads = 0
    const inScript = createCrc32c(() => {
      loads += 1
      throw new Error('no binary for this system')
    })
    const native = createRequire(import.meta.url)('@node-rs/crc32')
    const bytes = Buffer.from(Array.from({ length: 5_000 }, (_, at) => (at * 31) & 0xff))
    for (const size of [0, 1, 511, 512, 513, 1_000, 4_096]) {
      for (const from of [0, 1, 21]) {
        const range = { from, to: from + size }
        const wanted = inScript(bytes, 0x1234_5678, range)
        expect(native.crc32c(bytes.subarray(from, from + size), 0x1234_5678)).toBe(wanted)
        expect(crc32c(bytes, 0x1234_5678, range)).toBe(wanted)
      }
    }
    expect(loads).toBe(1)
  })

  test('crc32c over parts equals crc32c over the whole', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 100 }), fc.nat(100), (bytes, cut) => {
        const split = crc32c(bytes.subarray(cut), crc32c(bytes.subarray(0, cut)))
        expect(split).toBe(crc32c(bytes))
      }),
    )
  })
})

describe('header', () => {
  test('accessors read every field of a batch', () => {
    header.checkBatch(golden)
    expect(header.baseOffset(golden)).toBe(42)
    expect(header.batchLength(golden)).toBe(golden.length - 12)
    expect(header.batchBytes(golden)).toBe(golden.length)
    expect(header.leaderEpoch(golden)).toBe(7)
    expect(header.magic(golden)).toBe(2)
    expect(header.crc(golden)).toBe(crc32c(golden.subarray(21)))
    expect(header.attributes(golden)).toBe(header.batchAttribute.transactional)
    expect(header.lastOffsetDelta(golden)).toBe(1)
    expect(header.nextOffset(golden)).toBe(44)
    expect(header.baseTimestamp(golden)).toBe(1_700_000_000_000)
    expect(header.maxTimestamp(golden)).toBe(1_705_000_000_000)
    expect(header.producerId(golden)).toBe(4711)
    expect(header.producerEpoch(golden)).toBe(3)
    expect(header.baseSequence(golden)).toBe(99)
    expect(header.recordCount(golden)).toBe(2)
  })

  test('setBaseOffset and setLeaderEpoch change the batch in place and keep it valid', () => {
    const batch = Uint8Array.from(golden)
    for (const offset of [0, 2 ** 31, 2 ** 40 + 12_345, Number.MAX_SAFE_INTEGER - 10]) {
      header.setBaseOffset(batch, offset)
      header.setLeaderEpoch(batch, 2 ** 31 - 1)
      header.checkBatch(batch)
      expect(header.baseOffset(batch)).toBe(offset)
      expect(header.leaderEpoch(batch)).toBe(2 ** 31 - 1)
      expect(decodeRecordBatch(batch)[1]?.offset).toBe(offset + 1)
    }
  })

  test('checkBatch names what is wrong', () => {
    const faultOf = (bytes: Uint8Array) => {
      try {
        header.checkBatch(bytes)
        return 'none'
      } catch (error) {
        return (error as header.RecordBatchError).fault
      }
    }
    const changed = (at: number, value: number) => {
      const bytes = Uint8Array.from(golden)
      bytes[at] = value
      return bytes
    }
    expect(faultOf(golden)).toBe('none')
    expect(faultOf(new Uint8Array(0))).toBe('TRUNCATED')
    expect(faultOf(golden.subarray(0, 60))).toBe('TRUNCATED')
    expect(faultOf(golden.subarray(0, -1))).toBe('BAD_LENGTH')
    expect(faultOf(Buffer.concat([golden, Buffer.alloc(1)]))).toBe('BAD_LENGTH')
    expect(faultOf(changed(16, 1))).toBe('BAD_MAGIC')
    expect(faultOf(changed(0, 0x80))).toBe('MALFORMED')
    for (let at = 21; at < golden.length; at += 1) {
      expect(['BAD_CRC', 'MALFORMED']).toContain(faultOf(changed(at, (golden[at] ?? 0) ^ 0x10)))
    }
  })
})

describe('codec', () => {
  const options = {
    baseOffset: 42,
    leaderEpoch: 7,
    producerId: 4711,
    producerEpoch: 3,
    baseSequence: 99,
    attributes: header.batchAttribute.transactional,
  }

  test('encodeRecordBatch writes the bytes of the protocol', () => {
    const batch = encodeRecordBatch(goldenRecords, options)
    expect(Buffer.from(batch).toString('hex')).toBe(golden.toString('hex'))
  })

  test('decodeRecordBatch reads the bytes of the protocol, as views', () => {
    const records = decodeRecordBatch(golden)
    expect(records).toEqual(goldenRecords.map((record, at) => ({ ...record, offset: 42 + at })))
    expect(records[0]?.value?.buffer).toBe(golden.buffer)
  })

  const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array))
  const record = fc.record({
    timestamp: fc.oneof(
      fc.nat(),
      fc.maxSafeNat().map((ms) => Math.floor(ms / 2)),
    ),
    key: fc.option(bytes),
    value: fc.option(bytes),
    headers: fc.array(fc.tuple(fc.string({ unit: 'binary' }), bytes), { maxLength: 5 }),
  })

  test('a round trip is lossless', () => {
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 40 }),
        fc.maxSafeNat(),
        (records, at) => {
          const baseOffset = Math.floor(at / 2)
          const batch = encodeRecordBatch(records, { baseOffset, leaderEpoch: 0 })
          header.checkBatch(batch)
          const decoded = decodeRecordBatch(batch)
          expect(decoded).toEqual(
            records.map((input, index) => ({ ...input, offset: baseOffset + index })),
          )
          expect(header.maxTimestamp(batch)).toBe(Math.max(...records.map((r) => r.timestamp)))
        },
      ),
    )
  })

  test('decodeRecordBatch of damaged bytes throws RecordBatchError and nothing else', () => {
    fc.assert(
      fc.property(
        fc.array(record, { minLength: 1, maxLength: 5 }),
        fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 5 }),
        fc.nat(400),
        (records, changes, cut) => {
          const batch = Uint8Array.from(
            encodeRecordBatch(records, { baseOffset: 0, leaderEpoch: 0 }),
          )
          for (const [at, value] of changes) batch[at % batch.length] = value
          try {
            decodeRecordBatch(batch.subarray(0, batch.length - cut))
          } catch (error) {
            expect(error).toBeInstanceOf(header.RecordBatchError)
          }
        },
      ),
      { numRuns: 2000 },
    )
  })

  test('decodeRecordBatch of a compressed batch is COMPRESSED', () => {
    const batch = Uint8Array.from(golden)
    batch[22] = (batch[22] ?? 0) | 2
    expect(() => decodeRecordBatch(batch)).toThrow(expect.objectContaining({ fault: 'COMPRESSED' }))
  })

  test('setAppendTime gives all records the one time, and the batch its checksum', () => {
    const batch = Uint8Array.from(golden)
    header.setAppendTime(batch, 1_800_000_000_000)
    header.checkBatch(batch)
    expect(header.maxTimestamp(batch)).toBe(1_800_000_000_000)
    expect(header.attributes(batch)).toBe(
      header.batchAttribute.transactional | header.batchAttribute.logAppendTime,
    )
    expect(decodeRecordBatch(batch).map(({ timestamp }) => timestamp)).toEqual([
      1_800_000_000_000, 1_800_000_000_000,
    ])
  })

  test('decodeRecordBatch gives the append time where the batch says so', () => {
    const batch = encodeRecordBatch(goldenRecords, {
      ...options,
      attributes: header.batchAttribute.logAppendTime,
    })
    expect(decodeRecordBatch(batch).map(({ timestamp }) => timestamp)).toEqual([
      1_705_000_000_000, 1_705_000_000_000,
    ])
  })

  test('encodeRecordBatch refuses an empty batch and compression bits', () => {
    expect(() => encodeRecordBatch([], options)).toThrow(RangeError)
    expect(() => encodeRecordBatch(goldenRecords, { ...options, attributes: 1 })).toThrow(
      RangeError,
    )
  })
})

describe('encodeCompactedBatch', () => {
  const options = {
    baseOffset: 10,
    nextOffset: 20,
    leaderEpoch: 3,
    maxTimestamp: 99,
    attributes: 0,
  }
  const record = (offset: number) => ({
    offset,
    timestamp: 50 + offset,
    key: Buffer.from(`k${offset}`),
    value: offset % 2 === 0 ? Buffer.from('v') : null,
    headers: [['h', Buffer.from('x')] as const],
  })

  test('keeps the offsets of the records that are left, and covers those that are not', () => {
    const records = [record(12), record(13), record(19)]
    const batch = encodeCompactedBatch(records, options)
    header.checkBatch(batch)
    expect(header.baseOffset(batch)).toBe(10)
    expect(header.nextOffset(batch)).toBe(20)
    expect(header.maxTimestamp(batch)).toBe(69)
    expect(decodeRecordBatch(batch).map(({ offset }) => offset)).toEqual([12, 13, 19])
    expect(decodeRecordBatch(batch)).toMatchObject(records.map(({ timestamp }) => ({ timestamp })))
  })

  test('without records says how new it was', () => {
    const batch = encodeCompactedBatch([], options)
    header.checkBatch(batch)
    expect(decodeRecordBatch(batch)).toEqual([])
    expect([
      header.baseOffset(batch),
      header.nextOffset(batch),
      header.maxTimestamp(batch),
    ]).toEqual([10, 20, 99])
  })
})
