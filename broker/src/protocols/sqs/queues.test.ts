import {
  AddPermissionCommand,
  CreateQueueCommand,
  DeleteQueueCommand,
  GetQueueUrlCommand,
  ListQueuesCommand,
  ListQueueTagsCommand,
  RemovePermissionCommand,
  SendMessageCommand,
  SetQueueAttributesCommand,
  TagQueueCommand,
  UntagQueueCommand,
} from '@aws-sdk/client-sqs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { clientOf, FIFO, FORMS, refusal, SqsUser } from '../../testing/sqs-client.ts'
import { SqsBench } from '../../testing/sqs-fixtures.ts'

describe.each(FORMS)('in the %s form', (form) => {
  const bench = new SqsBench()
  let user: SqsUser

  beforeAll(async () => {
    await bench.start()
    user = new SqsUser(bench.endpoint, { form })
  })

  afterAll(async () => {
    user.client.destroy()
    await bench.stop()
    expect(bench.queues.errors).toEqual([])
    expect(bench.logged).toEqual([])
  })

  describe('queues', () => {
    test('are made, found by name, listed by prefix in pages and deleted', async () => {
      const urls = [
        await user.queue({}, 'list-a'),
        await user.queue({}, 'list-b'),
        await user.queue({}, 'list-c'),
      ]
      expect(urls[0]).toBe(`${bench.endpoint}/000000000000/list-a`)
      const found = await user.client.send(new GetQueueUrlCommand({ QueueName: 'list-b' }))
      expect(found.QueueUrl).toBe(urls[1])
      const first = await user.client.send(
        new ListQueuesCommand({ QueueNamePrefix: 'list-', MaxResults: 2 }),
      )
      expect(first.QueueUrls).toEqual(urls.slice(0, 2))
      const { NextToken } = first
      const rest = await user.client.send(
        new ListQueuesCommand({ QueueNamePrefix: 'list-', MaxResults: 2, NextToken }),
      )
      expect([rest.QueueUrls, rest.NextToken]).toEqual([urls.slice(2), undefined])
      await user.client.send(new DeleteQueueCommand({ QueueUrl: urls[1] }))
      expect(
        await refusal(user.client.send(new GetQueueUrlCommand({ QueueName: 'list-b' }))),
      ).toEqual({
        name: 'QueueDoesNotExist',
        message: `The specified queue does not exist${form === 'query' ? ' for this wsdl version' : ''}.`,
      })
    })

    test('made again as they are give the same URL, made otherwise an error', async () => {
      const url = await user.queue({ DelaySeconds: '3' }, 'again')
      expect(await user.queue({ DelaySeconds: '3' }, 'again')).toBe(url)
      expect(await user.queue({}, 'again')).toBe(url)
      expect(await refusal(user.queue({ DelaySeconds: '4' }, 'again'))).toMatchObject({
        name: 'QueueNameExists',
        message:
          'A queue already exists with the same name and a different value for attribute DelaySeconds',
      })
    })

    test.each([
      ['a.b', {}],
      ['x'.repeat(81), {}],
      ['plain.fifo', {}],
      ['no-suffix', { FifoQueue: 'true' }],
    ])('refuse the name %s with %o', async (name, given) => {
      expect((await refusal(user.queue(given, name)))?.name).toBe('InvalidParameterValue')
    })

    test('of another account are others', async () => {
      await user.queue({}, 'mine')
      const other = clientOf(bench.endpoint, { form, keyId: '123456789012' })
      const missing = refusal(other.send(new GetQueueUrlCommand({ QueueName: 'mine' })))
      expect((await missing)?.name).toBe('QueueDoesNotExist')
      const made = await other.send(new CreateQueueCommand({ QueueName: 'mine' }))
      expect(made.QueueUrl).toBe(`${bench.endpoint}/123456789012/mine`)
      await other.send(new SendMessageCommand({ QueueUrl: made.QueueUrl, MessageBody: 'x' }))
      expect(await user.receive(`${bench.endpoint}/000000000000/mine`)).toEqual([])
      expect(await user.receive(made.QueueUrl as string)).toHaveLength(1)
      other.destroy()
    })
  })

  describe('attributes', () => {
    test('have the defaults of the service', async () => {
      const all = await user.attributes(await user.queue({}, 'usual'))
      expect(all).toEqual({
        QueueArn: 'arn:aws:sqs:eu-west-1:000000000000:usual',
        ApproximateNumberOfMessages: '0',
        ApproximateNumberOfMessagesNotVisible: '0',
        ApproximateNumberOfMessagesDelayed: '0',
        CreatedTimestamp: expect.stringMatching(/^\d{10}$/),
        LastModifiedTimestamp: expect.stringMatching(/^\d{10}$/),
        VisibilityTimeout: '30',
        MaximumMessageSize: '1048576',
        MessageRetentionPeriod: '345600',
        DelaySeconds: '0',
        ReceiveMessageWaitTimeSeconds: '0',
        SqsManagedSseEnabled: 'true',
      })
    })

    test('are set, told and hold', async () => {
      const url = await user.queue({ VisibilityTimeout: '20', ReceiveMessageWaitTimeSeconds: '1' })
      const Attributes = { VisibilityTimeout: '69', MaximumMessageSize: '2048' }
      await user.client.send(new SetQueueAttributesCommand({ QueueUrl: url, Attributes }))
      expect(await user.attributes(url)).toMatchObject({
        ...Attributes,
        ReceiveMessageWaitTimeSeconds: '1',
      })
      expect(await refusal(user.send(url, 'x'.repeat(2_049)))).toMatchObject({
        name: 'InvalidParameterValue',
        message:
          'One or more parameters are invalid. Reason: Message must be shorter than 2048 bytes.',
      })
    })

    test.each([
      ['VisibilityTimeout', '43201'],
      ['VisibilityTimeout', '-1'],
      ['DelaySeconds', 'abc'],
      ['MaximumMessageSize', '1048577'],
      ['MessageRetentionPeriod', '59'],
      ['ReceiveMessageWaitTimeSeconds', '21'],
      ['Policy', '{"Statement":[]}'],
      ['Policy', 'no'],
    ])('refuse %s = %s', async (name, value) => {
      expect(await refusal(user.queue({ [name]: value }))).toMatchObject({
        name: 'InvalidAttributeValue',
        message: `Invalid value for the parameter ${name}.`,
      })
    })

    test.each(['ContentBasedDeduplication', 'Nonsense', 'QueueArn'])(
      'refuse the name %s for a standard queue',
      async (name) => {
        expect(await refusal(user.queue({ [name]: 'true' }))).toMatchObject({
          name: 'InvalidAttributeName',
          message: `Unknown Attribute ${name}.`,
        })
      },
    )

    test('of high throughput need each other', async () => {
      const given = { ...FIFO, FifoThroughputLimit: 'perMessageGroupId' }
      expect((await refusal(user.queue(given)))?.name).toBe('InvalidAttributeValue')
      const url = await user.queue({ ...given, DeduplicationScope: 'messageGroup' })
      expect(await user.attributes(url)).toMatchObject({
        FifoQueue: 'true',
        ContentBasedDeduplication: 'true',
        DeduplicationScope: 'messageGroup',
        FifoThroughputLimit: 'perMessageGroupId',
      })
    })

    test('of encryption exclude each other', async () => {
      const url = await user.queue({ KmsMasterKeyId: 'k', KmsDataKeyReusePeriodSeconds: '6000' })
      expect(await user.attributes(url)).toMatchObject({
        KmsMasterKeyId: 'k',
        KmsDataKeyReusePeriodSeconds: '6000',
        SqsManagedSseEnabled: 'false',
      })
      const Attributes = { SqsManagedSseEnabled: 'true' }
      const both = user.client.send(new SetQueueAttributesCommand({ QueueUrl: url, Attributes }))
      expect((await refusal(both))?.name).toBe('InvalidAttributeName')
    })

    test('are counted: ready, in flight, delayed', async () => {
      const url = await user.queue()
      await user.send(url, 'a')
      await user.send(url, 'b')
      await user.send(url, 'c', { DelaySeconds: 900 })
      await user.receive(url, { MaxNumberOfMessages: 1 })
      expect(await user.attributes(url)).toMatchObject({
        ApproximateNumberOfMessages: '1',
        ApproximateNumberOfMessagesNotVisible: '1',
        ApproximateNumberOfMessagesDelayed: '1',
      })
    })
  })

  describe('tags and permissions', () => {
    test('tags are added, listed and taken away', async () => {
      const created = await user.client.send(
        new CreateQueueCommand({ QueueName: 'tagged', tags: { a: '1' } }),
      )
      const QueueUrl = created.QueueUrl as string
      await user.client.send(new TagQueueCommand({ QueueUrl, Tags: { b: '2', c: '' } }))
      await user.client.send(new UntagQueueCommand({ QueueUrl, TagKeys: ['a', 'none'] }))
      const { Tags } = await user.client.send(new ListQueueTagsCommand({ QueueUrl }))
      expect(Tags).toEqual({ b: '2', c: '' })
      const Many = Object.fromEntries(Array.from({ length: 51 }, (_, at) => [`k${at}`, '']))
      const tooMany = user.client.send(new TagQueueCommand({ QueueUrl, Tags: Many }))
      expect((await refusal(tooMany))?.name).toBe('InvalidParameterValue')
    })

    test('permissions are statements of the policy', async () => {
      const QueueUrl = await user.queue({}, 'shared')
      const add = new AddPermissionCommand({
        QueueUrl,
        Label: 'cross',
        AWSAccountIds: ['111111111111', '222222222222'],
        Actions: ['ReceiveMessage'],
      })
      await user.client.send(add)
      expect(await refusal(user.client.send(add))).toMatchObject({
        message: 'Value cross for parameter Label is invalid. Reason: Already exists.',
      })
      const QueueArn = 'arn:aws:sqs:eu-west-1:000000000000:shared'
      expect(JSON.parse((await user.attributes(QueueUrl))['Policy'] as string)).toEqual({
        Version: '2008-10-17',
        Id: `${QueueArn}/SQSDefaultPolicy`,
        Statement: [
          {
            Sid: 'cross',
            Effect: 'Allow',
            Principal: {
              AWS: ['arn:aws:iam::111111111111:root', 'arn:aws:iam::222222222222:root'],
            },
            Action: 'SQS:ReceiveMessage',
            Resource: QueueArn,
          },
        ],
      })
      const remove = new RemovePermissionCommand({ QueueUrl, Label: 'cross' })
      await user.client.send(remove)
      expect((await user.attributes(QueueUrl))['Policy']).toBeUndefined()
      expect(await refusal(user.client.send(remove))).toMatchObject({
        message: "Value cross for parameter Label is invalid. Reason: can't find label.",
      })
      const owner = {
        QueueUrl,
        Label: 'x',
        AWSAccountIds: ['111111111111'],
        Actions: ['DeleteQueue'],
      }
      expect(await refusal(user.client.send(new AddPermissionCommand(owner)))).toMatchObject({
        message:
          'Value SQS:DeleteQueue for parameter ActionName is invalid. Reason: Only the queue owner is allowed to invoke this action.',
      })
    })
  })
})
