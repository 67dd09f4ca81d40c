import { describe, expect, test } from 'vitest'
import type { Message } from '../../core/message.ts'
import { decodePublishProperties } from './codec/properties.ts'
import { foreignProperties, type Headers, propertiesOf } from './foreign-properties.ts'

function decoded(bytes: Buffer) {
  return decodePublishProperties({ bytes, propertiesStart: 0, propertiesEnd: bytes.length })
}

function told(...headers: Headers) {
  return decoded(propertiesOf(headers))
}

describe('propertiesOf', () => {
  test('uses the words that MQTT has, and user properties for the rest, each of a name', () => {
    const text = (value: string) => Buffer.from(value)
    expect(
      told(
        ...([
          ['content-type', text('text/plain')],
          ['reply-to', text('answers/7')],
          ['correlation-id', Buffer.of(0, 255)],
          ['a', text('1')],
          ['a', text('ü')],
          ['b', Buffer.of(0, 255)],
          ['c', text('')],
        ] as const),
      ),
    ).toEqual({
      contentType: 'text/plain',
      responseTopic: 'answers/7',
      correlationData: Buffer.of(0, 255),
      userProperties: [
        ['a', '1'],
        ['a', 'ü'],
        ['b', 'AP8='],
        ['c', ''],
      ],
    })
  })

  test.each(['', 'a/+', '#'])(
    'leaves %j where to answer, which is no topic, to the client',
    (to) => {
      expect(told(['reply-to', Buffer.from(to)])).toEqual({ userProperties: [['reply-to', to]] })
    },
  )

  test('leaves out what has no room, or is no text in MQTT', () => {
    expect(propertiesOf([['a', Buffer.alloc(65_536, 'x')]])).toEqual(Buffer.alloc(0))
    expect(propertiesOf([['a\0b', Buffer.from('x')]])).toEqual(Buffer.alloc(0))
    expect(propertiesOf([])).toEqual(Buffer.alloc(0))
  })
})

describe('foreignProperties', () => {
  test('tells the rest of the time that a message has', () => {
    const shared = () => [['a', Buffer.from('1')]] as const
    const of = (expiresAtMs: number, nowMs: number) =>
      decoded(foreignProperties({ expiresAtMs } as Message, { nowMs, shared }))
    expect(of(0, 5)).toEqual({ userProperties: [['a', '1']] })
    expect(of(10_000, 7_500)).toEqual({ messageExpiryInterval: 3, userProperties: [['a', '1']] })
    expect(of(10_000, 11_000).messageExpiryInterval).toBe(0)
    expect(
      foreignProperties({ expiresAtMs: 0 } as Message, { nowMs: 0, shared: undefined }),
    ).toEqual(Buffer.alloc(0))
  })
})
