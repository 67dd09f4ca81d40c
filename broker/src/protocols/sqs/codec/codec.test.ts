import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
  SendMessageCommand,
  type SQSClient,
  TagQueueCommand,
} from '@aws-sdk/client-sqs'
import fc from 'fast-check'
import { XMLParser } from 'fast-xml-parser'
import { afterAll, describe, expect, test } from 'vitest'
import { clientOf, FORMS, type WireForm } from '../../../testing/sqs-client.ts'
import { attributesMd5, md5 } from '../digest.ts'
import { ACTIONS, type ActionName, type AttributeValue } from '../packets.ts'
import { CodecError } from './codec-error.ts'
import { decodeJson } from './json.ts'
import { QueryForm } from './query.ts'
import { encodeXml, encodeXmlError } from './xml.ts'

const QueueUrl = 'http://127.0.0.1:9324/000000000000/q'
const clients = new Map(
  FORMS.map((form) => [form, clientOf('http://127.0.0.1:9', { form })] as const),
)

afterAll(() => {
  for (const client of clients.values()) client.destroy()
})

/** What the client would send. */
async function serialised(form: WireForm, command: object) {
  const client = clients.get(form) as SQSClient
  let body: unknown
  client.middlewareStack.add(
    (_next) => async (args) => {
      body = (args.request as { body?: unknown }).body
      throw new Error('not sent')
    },
    { step: 'finalizeRequest', name: 'taken', priority: 'low', override: true },
  )
  await client.send(command as never).catch(() => undefined)
  client.middlewareStack.remove('taken')
  return Buffer.from(body as string)
}

function decode(form: WireForm, action: ActionName, body: Buffer): unknown {
  const { input } = ACTIONS[action]
  return form === 'json' ? decodeJson(body, input) : QueryForm.parse(body.toString()).read(input)
}

const attribute = { DataType: 'String', StringValue: 'a&b=c+d %' }
const binary = { DataType: 'Binary.x', BinaryValue: Buffer.of(0, 255) }

describe.each(FORMS)('requests in the %s form', (form) => {
  test.each([
    [
      'SendMessage',
      new SendMessageCommand({
        ...{ QueueUrl, MessageBody: 'x=1&y ü\n"', DelaySeconds: 3 },
        MessageAttributes: { attribute, binary },
      }),
      {
        ...{ QueueUrl, MessageBody: 'x=1&y ü\n"', DelaySeconds: 3 },
        MessageAttributes: { attribute, binary },
      },
    ],
    [
      'SendMessageBatch',
      new SendMessageBatchCommand({
        QueueUrl,
        Entries: Array.from({ length: 10 }, (_, at) => ({ Id: `e${at}`, MessageBody: `m${at}` })),
      }),
      {
        QueueUrl,
        Entries: Array.from({ length: 10 }, (_, at) => ({ Id: `e${at}`, MessageBody: `m${at}` })),
      },
    ],
    [
      'CreateQueue',
      new CreateQueueCommand({
        QueueName: 'q',
        Attributes: { DelaySeconds: '1', Policy: '{"a":[1]}' },
        tags: { 'k 1': 'v/1' },
      }),
      {
        QueueName: 'q',
        Attributes: { DelaySeconds: '1', Policy: '{"a":[1]}' },
        tags: { 'k 1': 'v/1' },
      },
    ],
    [
      'GetQueueAttributes',
      new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All', 'QueueArn'] }),
      { QueueUrl, AttributeNames: ['All', 'QueueArn'] },
    ],
    [
      'ReceiveMessage',
      new ReceiveMessageCommand({
        ...{ QueueUrl, MaxNumberOfMessages: 3, WaitTimeSeconds: 0 },
        MessageAttributeNames: ['All'],
      }),
      {
        ...{ QueueUrl, MaxNumberOfMessages: 3, WaitTimeSeconds: 0 },
        MessageAttributeNames: ['All'],
      },
    ],
    ['TagQueue', new TagQueueCommand({ QueueUrl, Tags: { a: '' } }), { QueueUrl, Tags: { a: '' } }],
  ] as const)('%s is read as the client wrote it', async (action, command, expected) => {
    expect(decode(form, action, await serialised(form, command))).toEqual(expected)
  })
})

describe('decodeJson', () => {
  const input = ACTIONS.SendMessage.input
  test.each([
    ['{', 'serialization'],
    ['[]', 'serialization'],
    ['"x"', 'serialization'],
    ['null', 'serialization'],
    ['{"QueueUrl":1,"MessageBody":"m"}', 'serialization'],
    ['{"QueueUrl":"q","MessageBody":"m","DelaySeconds":"1"}', 'serialization'],
    ['{"QueueUrl":"q","MessageBody":"m","DelaySeconds":1.5}', 'serialization'],
    ['{"QueueUrl":"q","MessageBody":"m","DelaySeconds":1e30}', 'serialization'],
    ['{"QueueUrl":"q","MessageBody":"m","MessageAttributes":[]}', 'serialization'],
    ['{"QueueUrl":"q","MessageBody":"m","MessageAttributes":{"a":"b"}}', 'serialization'],
    [
      '{"QueueUrl":"q","MessageBody":"m","MessageAttributes":{"a":{"DataType":"Binary","BinaryValue":"*"}}}',
      'serialization',
    ],
    ['{"QueueUrl":"q","MessageBody":"m","MessageAttributes":{"a":{}}}', 'missing-parameter'],
    ['{"QueueUrl":"q"}', 'missing-parameter'],
    ['{"QueueUrl":"q","MessageBody":null}', 'missing-parameter'],
    ['', 'missing-parameter'],
  ])('refuses %s', (body, kind) => {
    expect(() => decodeJson(Buffer.from(body), input)).toThrow(
      expect.objectContaining({ kind }) as CodecError,
    )
  })

  test('passes over what the model does not have, and is not fooled by names of objects', () => {
    const body =
      '{"QueueUrl":"q","MessageBody":"m","New":[{}],"__proto__":{"x":1},"constructor":2,"DelaySeconds":null}'
    expect(decodeJson(Buffer.from(body), input)).toEqual({ QueueUrl: 'q', MessageBody: 'm' })
    const tags = '{"QueueUrl":"q","Tags":{"__proto__":"a","b":"c"}}'
    const read = decodeJson(Buffer.from(tags), ACTIONS.TagQueue.input) as { Tags: object }
    expect(Object.entries(read.Tags)).toEqual([
      ['__proto__', 'a'],
      ['b', 'c'],
    ])
  })

  test('reads or refuses whatever comes', () => {
    fc.assert(
      fc.property(fc.oneof(fc.json(), fc.string()), (text) => {
        try {
          decodeJson(Buffer.from(text), input)
        } catch (error) {
          expect(error).toBeInstanceOf(CodecError)
        }
      }),
    )
  })
})

describe('QueryForm', () => {
  const read = (form: string, action: ActionName) =>
    QueryForm.parse(form).read(ACTIONS[action].input)

  test('takes items in the order of their numbers, with gaps, and both names of a list', () => {
    const names = { QueueUrl: 'q', AttributeNames: ['a', 'b', 'c'] }
    const form = 'QueueUrl=q&AttributeName.10=c&AttributeName.2=b&AttributeName.1=a'
    expect(read(form, 'GetQueueAttributes')).toEqual(names)
    expect(read(form.replaceAll('Name.', 'Names.'), 'GetQueueAttributes')).toEqual(names)
  })

  test.each([
    ['QueueUrl=q&AttributeName.x=a', 'malformed-input'],
    ['QueueUrl=q&AttributeName.1.2=a', 'malformed-input'],
    ['QueueUrl=%FF', 'malformed-input'],
    ['a.b.c.d.e.f.g.h.i=1', 'malformed-input'],

    ['AttributeName.1=a', 'missing-parameter'],
  ])('refuses %s', (form, kind) => {
    expect(() => read(form, 'GetQueueAttributes')).toThrow(
      expect.objectContaining({ kind }) as CodecError,
    )
  })

  test.each(['MaxNumberOfMessages=many', 'MaxNumberOfMessages=1.5', 'MaxNumberOfMessages.1=1'])(
    'refuses the number %s',
    (value) => {
      expect(() => read(`QueueUrl=q&${value}`, 'ReceiveMessage')).toThrow(CodecError)
    },
  )

  test('reads or refuses whatever comes', () => {
    const word = fc.constantFrom('MessageAttribute', '1', '2', 'Name', 'Value', 'QueueUrl', 'x', '')
    const pair = fc.tuple(fc.array(word, { maxLength: 6 }), fc.string())
    fc.assert(
      fc.property(fc.array(pair), (pairs) => {
        const form = pairs.map(([names, value]) => `${names.join('.')}=${value}`).join('&')
        try {
          read(form, 'SendMessage')
        } catch (error) {
          expect(error).toBeInstanceOf(CodecError)
        }
      }),
    )
  })
})

describe('encodeXml', () => {
  const parser = new XMLParser({ parseTagValue: false, trimValues: false, htmlEntities: true })
  const character = fc.constantFrom('a', 'ü', '<', '>', '&', '"', "'", '\r', '\n', '\t', ' ', '😀')

  test('writes any text so that a parser reads it again', () => {
    fc.assert(
      fc.property(fc.string({ unit: character, minLength: 1 }), (body) => {
        const members = ACTIONS.ReceiveMessage.output
        const output = { Messages: [{ Body: body, MessageAttributes: { [body]: attribute } }] }
        const xml = encodeXml('ReceiveMessage', output, { members, requestId: 'r' })
        const { ReceiveMessageResult, ResponseMetadata } =
          parser.parse(xml)['ReceiveMessageResponse']
        expect(ReceiveMessageResult.Message).toEqual({
          Body: body,
          MessageAttribute: { Name: body, Value: attribute },
        })
        expect(ResponseMetadata).toEqual({ RequestId: 'r' })
      }),
    )
  })

  test('writes errors', () => {
    const error = { fault: 'Sender', code: 'A.B', message: '<no>' } as const
    expect(parser.parse(encodeXmlError(error, 'r'))['ErrorResponse']).toMatchObject({
      Error: { Type: 'Sender', Code: 'A.B', Message: '<no>' },
      RequestId: 'r',
    })
  })
})

describe('attributesMd5', () => {
  test('is what the service answers', () => {
    const timestamp = { DataType: 'Number.java.lang.Long', StringValue: '1493147359900' }
    expect(attributesMd5({ timestamp })).toBe('2e2e4876d8e0bd6b8c2c8f556831c349')
    const text = (StringValue: string): AttributeValue => ({ DataType: 'String', StringValue })
    const three = { Help: text('x'), General: text('Kenobi'), Hello: text('There') }
    const { Help: _, ...two } = three
    expect(attributesMd5({ ...two, 'Help.Me': text('Me') })).toBe(
      '4c360f3fdafd970e05fae2f149d997f5',
    )
    expect(attributesMd5(two)).toBe('fca026605781cb4126a1e9044df24232')
    expect([attributesMd5({}), attributesMd5(undefined)]).toEqual([undefined, undefined])
  })

  /** Written again from the service's description, in one piece. */
  function described(attributes: Record<string, AttributeValue>): string {
    const parts: Buffer[] = []
    for (const name of Object.keys(attributes).sort()) {
      const { DataType, StringValue, BinaryValue } = attributes[name] as AttributeValue
      const value = BinaryValue ?? Buffer.from(StringValue as string)
      for (const bytes of [Buffer.from(name), Buffer.from(DataType)]) {
        parts.push(Buffer.from(bytes.length.toString(16).padStart(8, '0'), 'hex'), bytes)
      }
      parts.push(Buffer.of(BinaryValue === undefined ? 1 : 2))
      parts.push(Buffer.from(value.length.toString(16).padStart(8, '0'), 'hex'), value)
    }
    return md5(Buffer.concat(parts))
  }

  test('follows the description for any attributes', () => {
    const value = fc.oneof(
      fc.record({ DataType: fc.constantFrom('String', 'Number.x'), StringValue: fc.string() }),
      fc.record({
        DataType: fc.constant('Binary'),
        BinaryValue: fc.uint8Array().map((bytes) => Buffer.from(bytes)),
      }),
    )
    const attributes = fc.dictionary(fc.stringMatching(/^[\w.-]{1,20}$/), value, { minKeys: 1 })
    fc.assert(
      fc.property(attributes, (given) => {
        expect(attributesMd5(given)).toBe(described(given))
      }),
    )
  })
})
