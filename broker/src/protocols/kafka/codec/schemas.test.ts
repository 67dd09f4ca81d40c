// Every API in every version: what is encoded is decoded again, what is cut short or claims too much is refused.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { invent } from '../../../testing/kafka-inventor.ts'
import { ByteReader, LongVarintError, ShortInputError } from '../../shared/byte-reader.ts'
import { APIS } from '../packets.ts'
import { isFlexible } from './api.ts'
import {
  array,
  decode,
  encode,
  int8,
  MalformedError,
  string,
  struct,
  tagged,
  type WireType,
} from './wire-types.ts'

function isRefusal(error: unknown): boolean {
  return (
    error instanceof MalformedError ||
    error instanceof ShortInputError ||
    error instanceof LongVarintError
  )
}

const bodies = APIS.flatMap((api) => {
  const [first, last] = api.versions
  return Array.from({ length: last - first + 1 }, (_, at) => first + at).flatMap((version) => {
    const form = { version, flexible: isFlexible(api, version) }
    return [
      { name: `${api.name} ${version} request`, type: api.request, form },
      { name: `${api.name} ${version} response`, type: api.response, form },
    ]
  })
})

describe.each(bodies)('$name', ({ type, form }) => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(fc.nat(), (seed) => {
        const value = invent(type, seed, form)
        const reader = new ByteReader(encode(type, value, form))
        expect(decode(type, reader, form)).toEqual(value)
        expect(reader.remaining).toBe(0)
      }),
      { numRuns: 20 },
    )
  })

  test('is refused when it is cut short, and anything else is refused or read', () => {
    fc.assert(
      fc.property(fc.nat(), fc.nat(), fc.nat(255), (seed, place, byte) => {
        const whole = encode(type, invent(type, seed, form), form)
        if (whole.length === 0) return
        const at = place % whole.length
        const cut = () => decode(type, new ByteReader(whole.subarray(0, at)), form)
        expect(cut).toThrow()
        try {
          cut()
        } catch (error) {
          expect(isRefusal(error)).toBe(true)
        }
        const damaged = Buffer.from(whole)
        damaged[at] = byte
        try {
          decode(type, new ByteReader(damaged), form)
        } catch (error) {
          expect(isRefusal(error)).toBe(true)
        }
      }),
      { numRuns: 20 },
    )
  })
})

const CLASSIC = { version: 0, flexible: false }
const FLEXIBLE = { version: 0, flexible: true }

describe('hostile input', () => {
  test.each([
    ['a classic count', array(string), CLASSIC, [0x7f, 0xff, 0xff, 0xff]],
    ['a compact count', array(string), FLEXIBLE, [0xff, 0xff, 0xff, 0x7f, 0]],
    ['a negative count', array(int8), CLASSIC, [0xff, 0xff, 0xff, 0xfe]],
    ['elements without bytes', array(struct({})), CLASSIC, [0, 0, 0x10, 0]],
    ['a length', string, CLASSIC, [0x7f, 0xff]],
    ['a negative length', string, CLASSIC, [0xff, 0xfe]],
    ['null where there is none', string, CLASSIC, [0xff, 0xff]],
    ['a number of tags', struct({}), FLEXIBLE, [0xff, 0xff, 0xff, 0x7f]],
    ['a tag that is longer than what is left', struct({}), FLEXIBLE, [1, 0, 9, 1]],
    ['a number that does not end', string, FLEXIBLE, [0xff, 0xff, 0xff, 0xff, 0xff]],
  ] as const)('%s is refused', (_, type, form, input) => {
    const read = () => decode(type as WireType<unknown>, new ByteReader(Buffer.from(input)), form)
    expect(read).toThrow()
    try {
      read()
    } catch (error) {
      expect(isRefusal(error)).toBe(true)
    }
  })

  test('more elements than anybody needs are refused, however they are nested', () => {
    const rows = Buffer.concat(
      Array.from({ length: 300 }, () =>
        Buffer.concat([Buffer.from([0, 0, 1, 144]), Buffer.alloc(400)]),
      ),
    )
    const input = Buffer.concat([Buffer.from([0, 0, 1, 44]), rows])
    expect(() => decode(array(array(int8)), new ByteReader(input), CLASSIC)).toThrow(MalformedError)
  })

  test('a tag that no schema names is passed over', () => {
    const type = struct({ known: tagged(0, 1, int8) })
    const input = Buffer.from([3, 1, 1, 5, 2, 2, 8, 8, 9, 0])
    const reader = new ByteReader(input)
    expect(decode(type, reader, FLEXIBLE)).toEqual({ known: 5 })
    expect(reader.remaining).toBe(0)
  })
})
