import { describe, expect, test } from 'vitest'
import { encodeProperties } from './protocols/mqtt/codec/properties.ts'
import { recordOfMessage } from './queues.ts'
import { messageTo } from './testing/core-cluster.ts'

describe('recordOfMessage', () => {
  test('has what all dialects understand of the properties of MQTT, and the user`s own', () => {
    const properties = encodeProperties({
      contentType: 'text/plain',
      responseTopic: 'answers',
      correlationData: Buffer.from([0, 255]),
      userProperties: [
        ['colour', 'red'],
        ['colour', 'blue'],
        ['group', 'g'],
        // Not for users to say.
        ['address', 'elsewhere'],
        ['dead-letters', '[]'],
        ['moved-from', 'x'],
        ['mqtt-properties', 'y'],
      ],
    })
    const more = { dialect: 'mqtt', properties, expiresAtMs: 9, publisher: 'p' }
    const record = recordOfMessage(messageTo('a/b', 'payload', more))
    expect(Buffer.from(record.value ?? []).toString()).toBe('payload')
    expect(record.timestamp).toBe(1)
    const texts = record.headers.map(([name, value]) => [
      name,
      Buffer.from(value).toString('latin1'),
    ])
    expect(texts).toEqual([
      ['address', 'a/b'],
      ['delivery', '\u0001'],
      ['mqtt-properties', Buffer.from(properties).toString('latin1')],
      ['publisher', 'p'],
      ['expires-at', '9'],
      ['content-type', 'text/plain'],
      ['reply-to', 'answers'],
      ['correlation-id', '\u0000\u00ff'],
      ['colour', 'red'],
      ['colour', 'blue'],
      ['group', 'g'],
    ])
  })

  test('of a dialect that says nothing to others has the message alone', () => {
    const record = recordOfMessage(messageTo('a', 'x', { token: 't', guarantee: 2 }))
    const names = record.headers.map(([name]) => name)
    expect(names).toEqual(['address', 'delivery', 'test-properties', 'message-id', 'moved-from'])
  })
})
