import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FrameError, Frames } from './frames.ts'
import { REQUEST_BYTES_MAX } from './limits.ts'

function framed(content: Uint8Array): Buffer {
  const head = Buffer.alloc(4)
  head.writeInt32BE(content.length)
  return Buffer.concat([head, content])
}

describe('frames', () => {
  test('are found however the bytes are cut', () => {
    const contents = fc.array(fc.uint8Array({ maxLength: 40 }), { maxLength: 8 })
    fc.assert(
      fc.property(
        contents,
        fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 1 }),
        (all, cuts) => {
          const bytes = Buffer.concat(all.map(framed))
          const frames = new Frames(() => REQUEST_BYTES_MAX)
          const found: Buffer[] = []
          for (let at = 0, turn = 0; at < bytes.length; turn++) {
            const length = cuts[turn % cuts.length] as number
            found.push(...frames.take(bytes.subarray(at, at + length)))
            at += length
          }
          expect(found.map((frame) => [...frame])).toEqual(all.map((content) => [...content]))
        },
      ),
    )
  })

  test('have memory of their own: what is written into one is in no other', () => {
    const chunk = Buffer.concat([framed(Buffer.from('a')), framed(Buffer.from('b'))])
    const [first, second] = new Frames(() => REQUEST_BYTES_MAX).take(chunk)
    first?.fill(0)
    chunk.fill(0)
    expect(String(second)).toBe('b')
  })

  test.each([[-1], [REQUEST_BYTES_MAX + 1], [0x7fff_ffff]])(
    'a length of %i is refused at once',
    (length) => {
      const head = Buffer.alloc(4)
      head.writeInt32BE(length)
      expect(() => new Frames(() => REQUEST_BYTES_MAX).take(head)).toThrow(FrameError)
    },
  )
})
