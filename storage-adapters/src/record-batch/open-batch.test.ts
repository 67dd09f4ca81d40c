// Against other implementations: what zstd 1.5, lz4 1.9 and Node's gzip have compressed is read here. What is damaged or
// claims too much is refused, in bounded time and memory.

import { gzipSync } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { encodeRecordBatch, type NewRecord } from './codec.ts'
import { readLz4 } from './compression/lz4.ts'
import { Output } from './compression/output.ts'
import { readSnappy } from './compression/snappy.ts'
import { readZstd } from './compression/zstd.ts'
import { crc32c } from './crc32c.ts'
import { openRecordBatch } from './open-batch.ts'
import { batchHeaderBytes, checkBatch, RecordBatchError } from './record-batch.ts'

/** Words that come again and again, the same on every machine. */
function sample(words: number): Buffer {
  let state = 1
  const next = (below: number): number => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor((state / 2 ** 32) * below)
  }
  const all = Array.from({ length: 60 }, () =>
    String.fromCharCode(...Array.from({ length: 2 + next(7) }, () => 97 + next(26))),
  )
  const text = Array.from({ length: words }, () => all[Math.min(next(60), next(60))])
  return Buffer.from(text.join(' '))
}

const packed = {
  // zstd -19: Huffman and FSE tables of its own.
  zstd: 'KLUv/QRo/RsAxtU5EbA9gSyiQ6skQ6vkTJJcxiICNAA0ADUAKT01zMX1XhfpOliNqssAWyCLIbQXyBdtyXpn1rISybenlRWXYqguuwVntrGnsVspDjeQJScKtO9NVHjGXLh6zxNPkQlEbDXbckQDEBskA94bvxepWB9Ke3iDr5vqWq7uV6BqrizkoAPKrLGSXPLwicl4p1GY93g96sMJiQnP+zAwUqUGIUBqvDSjUg0VB/axpONjKKar4BAfotdeDPHlJD8leSfvDd3b4eHoTd77MGTH5CuozG6l8epxHwxwvVd3F8c/kFKD5xliti4nOxM+gWqowY6JiKQgSaXUGCEIwkAcKzL1MQwPVcRJk3QzYlw8WBRsd8icDdg1vMO2AKclrvsdIoqoybUzBwYwa1RbANNYro5VGyPzITmHEfJpgCs3wQ/tEI2URHwKG65Q0PuO8lPLRXQ7DzoXejmtb0RKHwjNzi84Q4jhfXkR9JCBunfHLBKwDxsR0qm1voXnWeeDXMJekknTcvjQxE13KwjXMtEVTOmRUYX+lmiInSL0PY+K5eUkSuIqMXgCuZDVB9V9zYotZN3gfQqNLIRZjtvPYJqdOnCnZdLlRTvrWaE41jldbiGqdRoUCUyP+4bBkjveYMlCriMNVMvP31M+YcyRIoSOQmMYvUTfAVMalO6C8coneK4YmJ5sPnt9oxRP5tUPiCmk5j/KmjifiKjZDVpCBXpQhL6Nu4ftqbcVMhbOevJQpH1AoLCZJfY5EzCphcYYb7IXeJ2UEHxi5VWEDWmVisQLpj3SF8OewLh6t1NAgoRnSVrZeZ0oVrhIH4FxmRiwwCSSvS5/7FqYiW3GY8kn9JKdrduor58Engu6ndtgFTySpFSTrulVm+x23rrY+TE4BVqvEUVwV3iv/dtIGlmIBwMJ0AezUwm9f24sIMrACXxwNjNbwsjRF8C3RJJvm5JvW6XWCzoT467gk/3iHTfIUgGU0VbkrINcQxaCxFhFHvmkDeTcCAQAPHOpFF+c68rGzQiO2xwoOrZ/Z4q0kmnqMduiHPixmQ5ZDvPxBcxsmyn7B0O+gx/z1w2qIxiLCaY58ldYXCKRofVsZhFvBFnzaus0nlStZqAolMewmW/eviINSqL4mUwtez7NRslY/Ennzvem0gy6e9idKe3iUz1JD8HuKL9Q9XR7i4+WpD2YFXz4GyL8AdIuH0c=',
  // zstd --fast=3: literals as they are, predefined tables.
  zstdFast:
    'KLUv/QRIrRgA5CZndmFqYmlkdiBxYnBpIGVwd2lhIHFiIHprb20gcWJwaSBudG5ncGkgcnZrdiBnendpcm5mIHBkeXZhIGp4ZmhndmEgb2FvIHptaHpzcSB4dHEganUgdHFvaHh5bGxqYXVrbmcgb2FvIHFwbXNncmpqIG52anF6aHUgdWMgYmkgbGtyenRtayBqeXQganVwZGFvdmMgZGFjeGt1bnB3bWp0ZGEgemtvbSB3Zm1yZHJpIGpucyB3ZWlzeiB1bnAgdW5wIGRwdXkga2R0aXRycHJrc2p5dCBqeXQgdW5wIHVjIHFwbXNncmpqIHRxbyBiaSBqbnN6a29tem1oenNxIGRhY3hrIHFicGkgeHRxIGR6amhnYyBydmt2IGd0eWV4dmJyIGFxZ2twIHFicGltbXR3bHJlIHVjIG1rYXNjIGRhY3hrIGR6amhnYyBzcCBiaXVrbmdqdSB0bG12aGFiaSB1a25nIGp1c3ByY2hmcmNoZiBzcCByY2hmeHZicndzeXplanJlIGpucyBqdSBqdSBhcWdrcCBvZ2VsdHFvIGp1aGx0aWRwdXlqbnMgYmkgZHB1eSB2bnZsbmVrbmcgbmhteWNoIGVwd2lhIG1rYXNjIHJjaGYgcWJqbnMgeHRxIHd2dSBvYmtveWkgb2dlbCBwcmtzIHNwanl0IGxsYXJ5IG9ia295aWV0IGpucyBxdXV6dXluc2NzciB0dXp1aHYgcWIgbGxhcnkgZHB1eWRwdXkgYmkgYXogcnZrdnVucGRwdXkgb2FvIHRsbXZoYSBwcmtzcHJrc3RxbyByY2hmIG9hb3JjaGYgc3Agam5zQCAQHGMg5QP7zICHjOS6TcwmLAplfDyACbn45yWKYphzYHnZ0M5bkFhEZX9SeKDJFjyDa8hOEgFWGHEiRMI2yTpJMMvkGqmjE5Atw3kkhJKcemcSRkHwOTYzoCQITaBjwMcLfDGAynJiBzk64MuANYN1YHmyXI1juboQtUtSQYI+gJ5bPga4J9NbBk0CgqGBqnuSMgBWEpPFoUwJg7L3piiFMtcDKNpoYQ==',
  // zstd -3 of 300,000 equal bytes between words: several blocks, of every type.
  zstdBlocks:
    'KLUv/QRYPBQAttpFFpClOuR/S7aWlv6WrUX/npmZmZOzXQ4/AD4APwAnsnya2YxTy4ymHjkMsDiL8TvPuDhz8aj4NdbHMydQ5MeDwT6gDRHR/KXXjtYoq1opnrAPRKxwtIT9BYjkeCavECAXczIGZ1yQL8alv9oMXWrbGHGQDnuDr3Z0SCDuNI9a0FSAGAGnIlY7FWUEL2+NYDvPMJ8Ux5aGI/LS7+v9CKdJ2ClQHb3RJOjw9CFyp4l4OJ1fjAfBrM53Ci2FCB3hAqe0dZ2IjPPUwO9E5OvcSOqlL7SBYKU2GTbeSABE1lju/QjGRXNltVdbcx1h7yROMwBf+nG4ssZajNdYqx3HETnsJezvdGx+c8Up7NjNWIBtDMMZ5joEVyIBgK+oUYpiMyPSghSk1BgQEmIQc+gBEijDySx4tM3+//8dWPkQ07gKCI8sLsFLpuBJT+RK355SoCwwS5wTKVfeTpARhkJ4MFH7gl8zCbSQojFOkxjBxh76xXHvEkvduAADkL9BJyW9V4oT7ku/w7guWCzFJMQJQXmZuglwPANnkY9kb+uYWa/07JSCzNZiQHFASR9TeezWrosnAm9R108Npjq7zCBPMXCLvQm7+BtAIdUEbb9mIvVGp11m3VMfOQnkLebdJNpzI8xjbXVcOwhtEaddFZ+018FyUkEsQ1/xRefRlSepqTCuNolEeewRTGO2LZNzdRFwauEEaGVbXja/z845voUofcBu/AhZVBgFp7c1Xka+CLUd7OO/qK2iYolJOKFvsDBn8Z5KiExm0XZrlFaxCxQgV/O9id1FaykPnU+DKuJuvmngfQv36a00VI7xp92mWjtUVPI+YJmYCup5H8ul78TvKa4gP20e9wcCABAHlQAACAcDAJgeaoI+iFOCNADU6OAK1KTZpA==',
  // lz4 -9
  lz4: 'BCJNGGRAp50DAADyDGd2YWpiaWR2IHFicGkgZXB3aWEgcWIgemtvbRMAym50bmdwaSBydmt2IC0A9Rxnendpcm5mIHBkeXZhIGp4ZmhndmEgb2FvIHptaHpzcSB4dHEganUgdHFvLAB1aHh5bGxqYQgAQXVrbmczAIZxcG1zZ3JqamQA8Apudmpxemh1IHVjIGJpIGxrcnp0bWsganl0VAAGfAClYW92YyBkYWN4axUAAsYANnVucGcAYndtanRkYdcA8QJ3Zm1yZHJpIGpucyB3ZWlzeisAAAQAt2RwdXkga2R0aXRyiQALbABDcHJrc/QAA/oAIXl0BAABRgAWY8oAAPgAEmJnAATMAAIxAARRAAGOAAQbAAM0AQLKAAFgAQA/AWNkempoZ2N+ATV0eWXSAAJKAKJ4dmJyIGFxZ2twMwACFgBwbW10d2xyZY0ARG1rYXMfAQNMACBzcJYABkgAAkEBAhwAAksAAZUBAW4AAL4BVWxtdmhhpwACXAEFHAECWgAETQAiYmk8ACRqdVEAA1gAA90AJXNwXgFDcmNoZm8AAQsAE3MIAAKRAQHYAAObAIF3c3l6ZWpyZUkBIGp1AwACOABCb2dlbLMBBJ0AAHIBJGp1OQBDaGx0aSsABHIBAS4AAx8AAE8AImJpEwBkdm52bG5lDgIAwwBjbmhteWNo7wACRgEBoAAkcWISAQQhAQBIAACrAaJ3dnUgb2Jrb3lpmgABKAIjc3BDAAMCAQAoAlVsbGFyeSsAAgcACCQDIWV0VABjcXV1enV5wQAEPwAobnPXAJBjc3IgdHV6dWiSAwNYAAHQAAl0AAVBAQTsAQAiAFJiaSBhelgCAjgAAjsCAMQCBE4BASgAAJwDA/EAAdEAA7AAAQwABQYCAL4AAR4BAC4AARgBBLgCA9sBAWsDBIcABOgAA1cAAdAAAwcBBHsABt8AA7QABWsAIGF61wIoeWboAAamAgKPAgF/AQkDAQRzAACIAAQMAAScABZidwADLgMAWgAganVTAQr2BAKWACRzcN4AAXMDBeIBAfgABUYEAlUBJGpuKwQBHgAD5gAB3gIEhwAAMgACeAAERgMDzAAHjQAFggABtAAAMgACVQAFeAEDLAIGeAIDDAIBDwEARwEBJgACFQAkeHRmBAd/AwNPBCt0cekDBokBB+UABG0BAgYBAPgCFnNjAwX/BATqAwMnAAqbBAApAgIHAQTbAAQaAAKbAAKKA3BiaSBndHllAAAAAK1PNn4=',
}

function unpack(read: (bytes: Uint8Array, output: Output) => void, bytes: Uint8Array): Buffer {
  const output = new Output(1_000_000)
  read(bytes, output)
  return output.finish()
}

const of = (base64: string): Buffer => Buffer.from(base64, 'base64')
const twice = (bytes: Buffer): Buffer => Buffer.concat([bytes, bytes])
const words = sample(300)
const long = Buffer.concat([words, Buffer.alloc(300_000, 7), words])

const literal = (text: string): number[] => [(text.length - 1) << 2, ...Buffer.from(text)]
/** A literal, and matches whose offsets have one byte, two and four. */
const rawSnappy = Buffer.from([
  ...[26, ...literal('abcdefgh')],
  // Eight bytes from eight before, six from 16 before, four from 22 before.
  ...[0b000_100_01, 8, (5 << 2) | 2, 16, 0, (3 << 2) | 3, 22, 0, 0, 0],
])
const plainSnappy = Buffer.from('abcdefghabcdefghabcdefabcd')

function xerial(...blocks: readonly Buffer[]): Buffer {
  const head = Buffer.from('82534e41505059000000000100000001', 'hex')
  const framed = blocks.map((block) => {
    const length = Buffer.alloc(4)
    length.writeInt32BE(block.length)
    return Buffer.concat([length, block])
  })
  return Buffer.concat([head, ...framed])
}

describe('what others have compressed', () => {
  test.each([
    ['zstd', readZstd, of(packed.zstd), sample(500)],
    ['zstd, fast', readZstd, of(packed.zstdFast), sample(200)],
    ['zstd, many blocks', readZstd, of(packed.zstdBlocks), long],
    ['zstd, two frames', readZstd, twice(of(packed.zstd)), twice(sample(500))],
    ['lz4', readLz4, of(packed.lz4), words],
    ['snappy', readSnappy, rawSnappy, plainSnappy],
    ['snappy, xerial', readSnappy, xerial(rawSnappy, rawSnappy), twice(plainSnappy)],
  ] as const)('%s', (_, read, bytes, wanted) => {
    expect(unpack(read, bytes).equals(wanted)).toBe(true)
  })
})

describe('damaged data', () => {
  const subjects = [
    ['zstd', readZstd, of(packed.zstd)],
    ['zstd, many blocks', readZstd, of(packed.zstdBlocks)],
    ['lz4', readLz4, of(packed.lz4)],
    ['snappy', readSnappy, rawSnappy],
    ['snappy, xerial', readSnappy, xerial(rawSnappy)],
  ] as const

  test.each(subjects)('%s is refused when it is cut anywhere', (_, read, bytes) => {
    for (let length = 1; length < bytes.length; length++) {
      const run = () => unpack(read, bytes.subarray(0, length))
      expect(run, String(length)).toThrow(RecordBatchError)
    }
  })

  test.each(subjects)('%s gives something or an error, and soon', (_, read, bytes) => {
    const change = fc.record({ at: fc.nat(bytes.length - 1), to: fc.nat(255) })
    fc.assert(
      fc.property(fc.array(change, { minLength: 1, maxLength: 4 }), (changes) => {
        const damaged = Buffer.from(bytes)
        for (const { at, to } of changes) damaged[at] = to
        try {
          expect(unpack(read, damaged).length).toBeLessThanOrEqual(1_000_000)
        } catch (error) {
          if (!(error instanceof RecordBatchError)) throw error
        }
      }),
      { numRuns: 1_000 },
    )
  })
})

describe('bombs', () => {
  /** A frame without a size, of blocks that repeat one byte 131,072 times. */
  const repeating = Buffer.concat([
    Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58]),
    ...new Array<Buffer>(1_000).fill(Buffer.from([0x02, 0x00, 0x10, 0x61])),
  ])
  /** One literal, then a match that goes on for 255 bytes a byte. */
  const matching = Buffer.concat([
    Buffer.from('04224d18604082', 'hex'),
    Buffer.from([0xff, 0x01, 0x00, 0x00, 0x1f, 0x61, 0x01, 0x00]),
    Buffer.alloc(100_000, 255),
  ])

  test.each([
    ['zstd that repeats', readZstd, repeating],
    ['zstd that says so', readZstd, Buffer.from('28b52ffde0ffffffffffff0f00010000', 'hex')],
    ['lz4', readLz4, matching],
    ['snappy', readSnappy, Buffer.from([0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x61])],
  ] as const)('%s', (_, read, bytes) => {
    expect(() => unpack(read, bytes)).toThrow(RecordBatchError)
  })

  test('a block of sequences is stopped where a block must end', () => {
    // 98,047 sequences, each of 65,539 bytes, in some twenty bytes: all tables have one symbol.
    const block = Buffer.from([0x08, 0x61, 0xff, 0xff, 0xff, 0x54, 0x00, 0x00, 0x34, 0x01])
    const head = Buffer.alloc(3)
    head.writeUIntLE((block.length << 3) | 4 | 1, 0, 3)
    const frame = Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd, 0x00, 0x58]), head, block])
    const startedAtMs = performance.now()
    expect(() => unpack(readZstd, frame)).toThrow(RecordBatchError)
    expect(performance.now() - startedAtMs).toBeLessThan(500)
  })
})

describe('openRecordBatch', () => {
  const records: NewRecord[] = ['a', 'b', 'c'].map((name, at) => ({
    ...{ timestamp: 1_000 + at, key: Buffer.from(name), value: Buffer.from(name.repeat(50)) },
    headers: [['h', Buffer.from('v')] as const],
  }))
  const plain = encodeRecordBatch(records, { baseOffset: 7, leaderEpoch: 1 })

  function compressed(codec: number, content: Uint8Array, count = records.length): Buffer {
    const batch = Buffer.concat([plain.subarray(0, batchHeaderBytes), content])
    batch.writeInt32BE(batch.length - 12, 8)
    batch.writeInt16BE(codec, 21)
    batch.writeInt32BE(count, 57)
    batch.writeUInt32BE(crc32c(batch, 0, { from: 21 }), 17)
    checkBatch(batch)
    return batch
  }

  const content = plain.subarray(batchHeaderBytes)

  test('gives the records of a compressed batch, and of any other', () => {
    const wanted = records.map((record, at) => ({ ...record, offset: 7 + at }))
    expect(openRecordBatch(plain)).toMatchObject(wanted)
    expect(openRecordBatch(compressed(1, gzipSync(content)))).toMatchObject(wanted)
    const length = content.length
    const asLiteral = Buffer.concat([
      Buffer.from([
        (length & 0x7f) | 0x80,
        length >> 7,
        61 << 2,
        (length - 1) & 0xff,
        (length - 1) >> 8,
      ]),
      content,
    ])
    expect(openRecordBatch(compressed(2, asLiteral))).toMatchObject(wanted)
    const raw = Buffer.alloc(9)
    raw.writeUInt32LE(0xfd2fb528, 0)
    raw.writeUIntLE((length << 3) | 1, 6, 3)
    expect(openRecordBatch(compressed(4, Buffer.concat([raw, content])))).toMatchObject(wanted)
  })

  test.each([
    ['a codec that there is not', 5, content, 'MALFORMED'],
    ['no gzip', 1, content, 'MALFORMED'],
    ['a gzip bomb', 1, gzipSync(Buffer.alloc(32 * 1024 * 1024)), 'TOO_LARGE'],
    [
      'bytes behind the records',
      1,
      gzipSync(Buffer.concat([content, Buffer.from([0])])),
      'MALFORMED',
    ],
  ] as const)('refuses %s', (_, codec, bytes, fault) => {
    expect(() => openRecordBatch(compressed(codec, bytes))).toThrow(
      expect.objectContaining({ fault }),
    )
  })

  test('refuses more records than are worth looking at', () => {
    const many = compressed(1, gzipSync(content), 200_001)
    expect(() => openRecordBatch(many)).toThrow(expect.objectContaining({ fault: 'TOO_LARGE' }))
  })
})
