import { randomBytes } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { type Frame, FrameReader, FrameWriter, LinkViolation } from './frames.ts'

const seed = Number(process.env['ROBUST_SEED'] ?? Date.now() % 1_000_000)

/** mulberry32 */
function randomFrom(start: number): () => number {
  let state = start
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

function drain(reader: FrameReader): Frame[] {
  const frames: Frame[] = []
  for (let frame = reader.next(); frame !== undefined; frame = reader.next()) frames.push(frame)
  return frames
}

function encode(frames: readonly { kind: number; parts: Uint8Array[] }[]): Buffer {
  const writer = new FrameWriter()
  for (const { kind, parts } of frames) writer.push(kind, parts)
  const { bytes } = writer
  const out = Buffer.concat(writer.take())
  expect(out.length).toBe(bytes)
  expect(writer.bytes).toBe(0)
  return out
}

describe('FrameWriter and FrameReader', () => {
  it('agree wherever the bytes are cut in two', () => {
    const frames = [
      { kind: 16, parts: [] },
      { kind: 17, parts: [Buffer.from('a')] },
      { kind: 255, parts: [Buffer.from('bc'), Buffer.alloc(0), Buffer.from('def')] },
      { kind: 18, parts: [Buffer.alloc(300, 7)] },
    ]
    const bytes = encode(frames)
    for (let cut = 0; cut <= bytes.length; cut++) {
      const reader = new FrameReader(1_000)
      const got: Frame[] = []
      for (const chunk of [bytes.subarray(0, cut), bytes.subarray(cut)]) {
        reader.push(Buffer.from(chunk))
        got.push(...drain(reader))
      }
      const whole = frames.map(({ kind, parts }) => ({ kind, payload: Buffer.concat(parts) }))
      expect(got, `cut at ${cut}`).toEqual(whole)
      expect(reader.isBetweenFrames).toBe(true)
    }
  })

  it(`agree on any sizes in any chunks (seed ${seed})`, () => {
    const random = randomFrom(seed)
    const below = (max: number): number => Math.floor(random() * max)
    for (let round = 0; round < 60; round++) {
      const frames = Array.from({ length: 1 + below(40) }, () => ({
        kind: 16 + below(240),
        parts: Array.from({ length: below(4) }, () =>
          randomBytes(below(random() < 0.1 ? 200_000 : 300)),
        ),
      }))
      const bytes = encode(frames)
      const reader = new FrameReader(1_000_000)
      const got: Frame[] = []
      for (let at = 0; at < bytes.length; ) {
        const size = 1 + below(random() < 0.3 ? 10 : 100_000)
        reader.push(Buffer.from(bytes.subarray(at, at + size)))
        got.push(...drain(reader))
        at += size
      }
      expect(got.length).toBe(frames.length)
      for (const [at, { kind, parts }] of frames.entries()) {
        expect(got[at]?.kind).toBe(kind)
        expect(got[at]?.payload.equals(Buffer.concat(parts))).toBe(true)
      }
    }
  })

  it('does not mix up frames that are pushed while earlier ones are being written', () => {
    const writer = new FrameWriter()
    writer.push(16, [Buffer.from('one')])
    const first = writer.take()
    writer.push(17, [Buffer.from('two')])
    const second = writer.take()
    const reader = new FrameReader(100)
    reader.push(Buffer.concat([...first, ...second]))
    expect(drain(reader).map(({ kind, payload }) => [kind, payload.toString()])).toEqual([
      [16, 'one'],
      [17, 'two'],
    ])
  })

  it('does not copy a large payload to send it, nor a frame that came in one piece', () => {
    const large = Buffer.alloc(100_000, 1)
    const writer = new FrameWriter()
    writer.push(16, [Buffer.from('head'), large, Buffer.from('tail')])
    const out = writer.take()
    expect(out).toHaveLength(3)
    expect(out[1]).toBe(large)
    const reader = new FrameReader(1_000_000)
    const chunk = Buffer.concat(out)
    reader.push(chunk)
    expect(reader.next()?.payload.buffer).toBe(chunk.buffer)
  })

  it('refuses a frame above the limit by its header alone', () => {
    const reader = new FrameReader(100)
    reader.push(Buffer.from([0, 0, 0, 101, 16]))
    expect(() => reader.next()).toThrow(LinkViolation)
    const other = new FrameReader(100)
    other.push(Buffer.from([0xff, 0xff, 0xff, 0xff]))
    expect(other.next()).toBeUndefined()
    other.push(Buffer.from([16]))
    expect(() => other.next()).toThrow('4294967295 bytes, 100 are allowed')
  })

  it('takes a frame at the limit', () => {
    const reader = new FrameReader(100)
    reader.push(encode([{ kind: 16, parts: [Buffer.alloc(100)] }]))
    expect(reader.next()?.payload.length).toBe(100)
  })
})
