import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Message, type Packet, withDelivery } from '../core/message.ts'
import { LiveFrameError, LiveReader, LiveWriter } from './live-frames.ts'

const text = fc.oneof(fc.constantFrom('a/b', 'c', ''), fc.string({ unit: 'binary' }))
const bytes = fc.uint8Array({ maxLength: 300 }).map((array) => Buffer.from(array))
const message: fc.Arbitrary<Message> = fc.record({
  address: text,
  guarantee: fc.constant(0 as const),
  retain: fc.boolean(),
  payload: bytes,
  dialect: fc.constantFrom('mqtt', 'sqs'),
  properties: bytes,
  timestampMs: fc.integer({ min: 0, max: 2 ** 45 }),
  expiresAtMs: fc.oneof(fc.constant(0), fc.integer({ min: 1, max: 2 ** 45 })),
  publisher: text,
  token: fc.constant(''),
})

/** What a message is, whichever way it is kept. */
function plain(each: Message): Message {
  return withDelivery(each, each.guarantee, each.retain)
}

function through(frames: readonly (readonly Message[])[]): Message[] {
  const [writer, reader] = [new LiveWriter(), new LiveReader()]
  const found: Message[] = []
  for (const messages of frames) {
    for (const each of messages) writer.push(each)
    reader.read(writer.take(), (each) => found.push(each))
  }
  return found
}

describe('live frames', () => {
  test('carry every message as it is, over many frames', () => {
    fc.assert(
      fc.property(fc.array(fc.array(message, { maxLength: 20 }), { maxLength: 5 }), (frames) => {
        expect(through(frames).map(plain)).toEqual(frames.flat())
      }),
    )
  })

  test('carry packets as they are, and those that came in a row in a row', () => {
    const came = Buffer.from('xxAABBBBccccAADDDDeeeezz')
    const packetAt = (start: number): Packet => ({
      ...{ bytes: came, start, end: start + 10, layout: 5 },
      ...{ propertiesStart: start + 2, propertiesEnd: start + 6, payloadStart: start + 6 },
    })
    const first = { ...(fc.sample(message, 1)[0] as Message), expiresAtMs: 0 }
    const sent = [2, 12].map((start) => {
      const [properties, payload] = [start + 2, start + 6].map((at) => came.subarray(at, at + 4))
      return { ...(first as Message), properties, payload, packet: packetAt(start) } as Message
    })
    const all = [...sent, first as Message, ...sent.slice().reverse()]
    const found = through([all])
    expect(found.map(plain)).toEqual(all.map(plain))
    const packets = found.flatMap(({ packet }) => packet ?? [])
    expect(packets.map(({ bytes, start, end }) => String(bytes.subarray(start, end)))).toEqual([
      'AABBBBcccc',
      'AADDDDeeee',
      'AADDDDeeee',
      'AABBBBcccc',
    ])
    expect(packets[1]).toMatchObject({ bytes: packets[0]?.bytes, start: packets[0]?.end })
    expect(packets.map(({ layout }) => layout)).toEqual([5, 5, 5, 5])

    // A packet that expires would tell its receiver the time that it had before it waited.
    const [mortal] = through([[{ ...(sent[0] as Message), expiresAtMs: 5 }]])
    expect(mortal?.packet).toBeUndefined()
    expect(plain(mortal as Message)).toEqual(plain({ ...(sent[0] as Message), expiresAtMs: 5 }))
  })

  test('begin to count texts anew when there are too many', () => {
    const [first] = fc.sample(message, 1)
    const many = Array.from({ length: 40_000 }, (_, at) => ({
      ...(first as Message),
      address: `a/${at % 30_000}`,
    }))
    const found = through([many.slice(0, 25_000), many.slice(25_000)])
    expect(found.map(plain)).toEqual(many)
  })

  test('that are damaged are refused, and take no more memory than they have', () => {
    const writer = new LiveWriter()
    for (const each of fc.sample(message, 5)) writer.push(each)
    const whole = Buffer.from(writer.take())
    fc.assert(
      fc.property(fc.nat(whole.length - 1), fc.nat(255), fc.boolean(), (at, value, cut) => {
        const spoiled = Buffer.from(whole)
        spoiled[at] = value
        try {
          new LiveReader().read(cut ? spoiled.subarray(0, at) : spoiled, () => undefined)
        } catch (error) {
          expect(error).toBeInstanceOf(LiveFrameError)
        }
      }),
      { numRuns: 1_000 },
    )
  })
})
