import {
  ChangeMessageVisibilityBatchCommand,
  ChangeMessageVisibilityCommand,
  DeleteMessageBatchCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  PurgeQueueCommand,
  ReceiveMessageCommand,
  SendMessageBatchCommand,
} from '@aws-sdk/client-sqs'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { FIFO, FORMS, refusal, SqsUser } from '../../testing/sqs-client.ts'
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

  describe('messages', () => {
    test('go through with their attributes, both digests right', async () => {
      const url = await user.queue()
      const MessageAttributes = {
        text: { DataType: 'String', StringValue: 'ünï' },
        count: { DataType: 'Number.int', StringValue: '42' },
        raw: { DataType: 'Binary.png', BinaryValue: Uint8Array.of(0, 255, 1) },
      }
      const AWSTraceHeader = { DataType: 'String', StringValue: 'Root=1-5759e988-bd862e3f' }
      // The client checks the digests of what it sends and of what it gets.
      const sent = await user.send(url, 'héllo <&> "x"', {
        MessageAttributes,
        MessageSystemAttributes: { AWSTraceHeader },
      })
      const [message] = await user.receive(url, {
        MessageAttributeNames: ['All'],
        MessageSystemAttributeNames: ['All'],
      })
      expect(message).toMatchObject({
        MessageId: sent.MessageId,
        Body: 'héllo <&> "x"',
        MessageAttributes,
        MD5OfMessageAttributes: sent.MD5OfMessageAttributes,
        Attributes: {
          SenderId: '000000000000',
          ApproximateReceiveCount: '1',
          SentTimestamp: expect.stringMatching(/^\d{13}$/),
          ApproximateFirstReceiveTimestamp: expect.stringMatching(/^\d{13}$/),
          AWSTraceHeader: 'Root=1-5759e988-bd862e3f',
        },
      })
      expect(sent.MD5OfMessageSystemAttributes).toMatch(/^[0-9a-f]{32}$/)
    })

    test.each([
      [['Hello', 'Help.Me', 'General'], ['All']],
      [['Hello', 'Help.Me', 'General'], ['.*']],
      [['Hello', 'Help.Me'], ['Hel.*']],
      [['Hello'], ['Hello', 'none']],
      [[], ['none']],
      [[], []],
    ])('are received with attributes %o when asked for %o', async (expected, asked) => {
      const url = await user.queue()
      const value = { DataType: 'String', StringValue: 'v' }
      const MessageAttributes = { Hello: value, 'Help.Me': value, General: value }
      await user.send(url, 'm', { MessageAttributes })
      const [message] = await user.receive(url, { MessageAttributeNames: asked })
      expect(Object.keys(message?.MessageAttributes ?? {}).sort()).toEqual([...expected].sort())
      expect(message?.MD5OfMessageAttributes !== undefined).toBe(expected.length > 0)
    })

    test('wait for the visibility timeout, and count their deliveries', async () => {
      const url = await user.queue({ VisibilityTimeout: '1' })
      await user.send(url, 'm')
      expect(await user.receive(url)).toHaveLength(1)
      expect(await user.receive(url)).toHaveLength(0)
      const [again] = await user.receive(url, { WaitTimeSeconds: 5, AttributeNames: ['All'] })
      expect(again?.Attributes?.['ApproximateReceiveCount']).toBe('2')
    })

    test('are made visible at once, or hidden for longer', async () => {
      const url = await user.queue()
      await user.send(url, 'm')
      const [{ ReceiptHandle } = {}] = await user.receive(url)
      const change = (VisibilityTimeout: number) =>
        user.client.send(
          new ChangeMessageVisibilityCommand({ QueueUrl: url, ReceiptHandle, VisibilityTimeout }),
        )
      await change(60)
      expect(await user.receive(url)).toHaveLength(0)
      expect((await refusal(change(43_201)))?.name).toBe('InvalidParameterValue')
      await change(0)
      expect((await refusal(change(10)))?.name).toBe('MessageNotInflight')
      expect(await user.receive(url)).toHaveLength(1)
      // The receipt is an old one now.
      expect((await refusal(change(10)))?.name).toBe('InvalidParameterValue')
    })

    test('that wait are given to who waits', async () => {
      const url = await user.queue()
      const waiting = user.receive(url, { WaitTimeSeconds: 20 })
      await expect.poll(() => bench.server.connections).toBeGreaterThan(0)
      await user.send(url, 'late')
      expect((await waiting).map(({ Body }) => Body)).toEqual(['late'])
    })

    test('are not given to a client that went away', async () => {
      const url = await user.queue()
      const going = new AbortController()
      const command = new ReceiveMessageCommand({ QueueUrl: url, WaitTimeSeconds: 20 })
      const waiting = user.client.send(command, { abortSignal: going.signal })
      const before = bench.server.connections
      await expect.poll(() => bench.server.connections).toBeGreaterThanOrEqual(before)
      going.abort()
      await expect(waiting).rejects.toThrow()
      await user.send(url, 'for another')
      const [message] = await user.receive(url, { WaitTimeSeconds: 5 })
      expect(message?.Body).toBe('for another')
    })

    test('are deleted by any receipt, twice as well', async () => {
      const url = await user.queue()
      await user.send(url, 'm')
      const [{ ReceiptHandle } = {}] = await user.receive(url)
      const command = new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle })
      await user.client.send(command)
      await user.client.send(command)
      const [left] = [await user.attributes(url)]
      expect(left?.['ApproximateNumberOfMessagesNotVisible']).toBe('0')
      for (const handle of ['garbage', `${ReceiptHandle}x`.slice(4)]) {
        const wrong = new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: handle })
        expect(await refusal(user.client.send(wrong))).toMatchObject({
          name: 'ReceiptHandleIsInvalid',
          message: `The input receipt handle "${handle}" is not a valid receipt handle.`,
        })
      }
      const other = new DeleteMessageCommand({ QueueUrl: await user.queue(), ReceiptHandle })
      expect((await refusal(user.client.send(other)))?.name).toBe('ReceiptHandleIsInvalid')
    })

    test('are acknowledged at another owner of the queue by the receipt of the one before', async () => {
      const url = await user.queue()
      await user.send(url, 'm')
      const [{ ReceiptHandle } = {}] = await user.receive(url)
      await bench.queues.own()
      await user.client.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle }))
      await bench.queues.own()
      expect(await user.attributes(url)).toMatchObject({
        ApproximateNumberOfMessages: '0',
        ApproximateNumberOfMessagesNotVisible: '0',
      })
    })

    test('are delayed by the queue and by themselves', async () => {
      const url = await user.queue({ DelaySeconds: '1' })
      await user.send(url, 'by the queue')
      await user.send(url, 'at once', { DelaySeconds: 0 })
      expect((await user.receive(url)).map(({ Body }) => Body)).toEqual(['at once'])
      expect((await user.receive(url, { WaitTimeSeconds: 5 })).map(({ Body }) => Body)).toEqual([
        'by the queue',
      ])
      expect(await refusal(user.send(url, 'm', { DelaySeconds: 901 }))).toMatchObject({
        message:
          'Value 901 for parameter DelaySeconds is invalid. Reason: DelaySeconds must be >= 0 and <= 900.',
      })
    })

    test('are purged, once a minute', async () => {
      const url = await user.queue({}, 'purged')
      await user.send(url, 'a')
      await user.client.send(new PurgeQueueCommand({ QueueUrl: url }))
      expect(await user.receive(url)).toEqual([])
      expect(
        await refusal(user.client.send(new PurgeQueueCommand({ QueueUrl: url }))),
      ).toMatchObject({
        name: 'PurgeQueueInProgress',
        message: 'Only one PurgeQueue operation on purged is allowed every 60 seconds.',
      })
    })

    test.each([
      ['', 'MissingParameter'],
      ['\u0001', 'InvalidMessageContents'],
      ['\ufffe', 'InvalidMessageContents'],
    ])('refuse the body %j', async (body, name) => {
      expect((await refusal(user.send(await user.queue(), body)))?.name).toBe(name)
    })

    const text = { DataType: 'String', StringValue: 'v' }
    test.each([
      [{ 'AWS.x': text }],
      [{ 'a..b': text }],
      [{ 'a b': text }],
      [{ x: { DataType: 'Float', StringValue: '1' } }],
      [{ x: { DataType: 'String', StringValue: '' } }],
      [{ x: { DataType: 'Number', StringValue: 'one' } }],
      [{ x: { DataType: 'Binary', StringValue: 'one' } }],
      [Object.fromEntries(Array.from({ length: 11 }, (_, at) => [`a${at}`, text]))],
    ])('refuse the attributes %j', async (MessageAttributes) => {
      expect((await refusal(user.send(await user.queue(), 'm', { MessageAttributes })))?.name).toBe(
        'InvalidParameterValue',
      )
    })
  })

  describe('batches', () => {
    test('succeed and fail entry by entry', async () => {
      const url = await user.queue({ MaximumMessageSize: '1024' })
      const sent = await user.client.send(
        new SendMessageBatchCommand({
          QueueUrl: url,
          Entries: [
            { Id: 'a', MessageBody: 'A' },
            { Id: 'long', MessageBody: 'x'.repeat(1_025) },
            { Id: 'b', MessageBody: 'B' },
          ],
        }),
      )
      expect(sent.Successful?.map(({ Id }) => Id)).toEqual(['a', 'b'])
      expect(sent.Failed).toMatchObject([
        { Id: 'long', Code: 'InvalidParameterValue', SenderFault: true },
      ])
      const messages = await user.receive(url)
      const handle = (at: number) => messages[at]?.ReceiptHandle as string
      const changed = await user.client.send(
        new ChangeMessageVisibilityBatchCommand({
          QueueUrl: url,
          Entries: [
            { Id: 'one', ReceiptHandle: handle(0), VisibilityTimeout: 60 },
            { Id: 'two', ReceiptHandle: 'nonsense', VisibilityTimeout: 60 },
          ],
        }),
      )
      expect(changed.Successful).toEqual([{ Id: 'one' }])
      expect(changed.Failed).toMatchObject([{ Id: 'two', Code: 'ReceiptHandleIsInvalid' }])
      const deleted = await user.client.send(
        new DeleteMessageBatchCommand({
          QueueUrl: url,
          Entries: [
            { Id: 'one', ReceiptHandle: handle(0) },
            { Id: 'two', ReceiptHandle: handle(1) },
            { Id: 'three', ReceiptHandle: 'nonsense' },
          ],
        }),
      )
      expect(deleted.Successful).toEqual([{ Id: 'one' }, { Id: 'two' }])
      expect(deleted.Failed).toMatchObject([{ Id: 'three', Code: 'ReceiptHandleIsInvalid' }])
    })

    const entry = (Id: string, MessageBody = 'm') => ({ Id, MessageBody })
    test.each([
      ['EmptyBatchRequest', []],
      ['TooManyEntriesInBatchRequest', Array.from({ length: 11 }, (_, at) => entry(`e${at}`))],
      ['BatchEntryIdsNotDistinct', [entry('a'), entry('a')]],
      ['InvalidBatchEntryId', [entry('a:b')]],
      ['BatchRequestTooLong', [entry('a', 'x'.repeat(600_000)), entry('b', 'x'.repeat(600_000))]],
    ])('are refused as a whole: %s', async (name, Entries) => {
      const command = new SendMessageBatchCommand({ QueueUrl: await user.queue(), Entries })
      expect((await refusal(user.client.send(command)))?.name).toBe(name)
    })
  })

  describe('ordered queues', () => {
    test('give the messages of a group one after the other, and other groups meanwhile', async () => {
      const url = await user.queue(FIFO)
      for (const body of ['1', '2', '3']) await user.send(url, `a${body}`, { MessageGroupId: 'a' })
      await user.send(url, 'b1', { MessageGroupId: 'b' })
      const first = await user.receive(url, { MaxNumberOfMessages: 1 })
      const second = await user.receive(url, { MaxNumberOfMessages: 10 })
      expect([first, second].map((each) => each.map(({ Body }) => Body))).toEqual([['a1'], ['b1']])
      await user.client.send(
        new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: first[0]?.ReceiptHandle }),
      )
      expect((await user.receive(url)).map(({ Body }) => Body)).toEqual(['a2', 'a3'])
    })

    test('store a message once, by its id or its content, and number them', async () => {
      const url = await user.queue(FIFO)
      const one = await user.send(url, 'm', { MessageGroupId: 'a' })
      const same = await user.send(url, 'm', { MessageGroupId: 'a' })
      const other = await user.send(url, 'm', { MessageGroupId: 'a', MessageDeduplicationId: 'x' })
      expect(same).toMatchObject({ MessageId: one.MessageId, SequenceNumber: one.SequenceNumber })
      expect(other.SequenceNumber).toMatch(/^\d{20}$/)
      expect(BigInt(other.SequenceNumber as string)).toBeGreaterThan(
        BigInt(one.SequenceNumber as string),
      )
      const [first] = await user.receive(url, { AttributeNames: ['All'] })
      expect(first?.Attributes).toMatchObject({
        MessageGroupId: 'a',
        SequenceNumber: one.SequenceNumber,
        MessageDeduplicationId: '62c66a7a5dd70c3146618063c344e531e6d4b59e379808443ce962b3abd63c5a',
      })
    })

    test('ask for what they need', async () => {
      const url = await user.queue({ FifoQueue: 'true' })
      expect(await refusal(user.send(url, 'm'))).toMatchObject({
        name: 'InvalidParameterValue',
        message: 'The request must contain the parameter MessageGroupId.',
      })
      expect(await refusal(user.send(url, 'm', { MessageGroupId: 'a' }))).toMatchObject({
        message:
          'The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly',
      })
      const delayed = { MessageGroupId: 'a', MessageDeduplicationId: 'x', DelaySeconds: 2 }
      expect(await refusal(user.send(url, 'm', delayed))).toMatchObject({
        message:
          'Value 2 for parameter DelaySeconds is invalid. Reason: The request include parameter that is not valid for this queue type.',
      })
      const standard = await user.queue()
      expect((await refusal(user.send(standard, 'm', { MessageDeduplicationId: 'x' })))?.name).toBe(
        'InvalidParameterValue',
      )
    })

    test('give an attempt that is repeated the same messages', async () => {
      const url = await user.queue(FIFO)
      await user.send(url, 'm', { MessageGroupId: 'a' })
      const attempt = { ReceiveRequestAttemptId: 'attempt-1' }
      const [first] = await user.receive(url, attempt)
      const [again] = await user.receive(url, attempt)
      expect(again?.MessageId).toBe(first?.MessageId)
      expect(await user.receive(url, { ReceiveRequestAttemptId: 'attempt-2' })).toEqual([])
    })

    test('refuse a receipt whose time is over, though nobody else has the message', async () => {
      const url = await user.queue(FIFO)
      await user.send(url, 'm', { MessageGroupId: 'a' })
      const [{ ReceiptHandle } = {}] = await user.receive(url, { VisibilityTimeout: 1 })
      const entry = { QueueUrl: url, ReceiptHandle }
      // Until its time is over it cannot be received by another.
      const look = new GetQueueAttributesCommand({
        ...{ QueueUrl: url, AttributeNames: ['ApproximateNumberOfMessages'] },
      })
      await expect
        .poll(async () => (await user.client.send(look)).Attributes, { timeout: 5_000 })
        .toEqual({ ApproximateNumberOfMessages: '1' })
      const message = `Value ${ReceiptHandle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.`
      expect(await refusal(user.client.send(new DeleteMessageCommand(entry)))).toMatchObject({
        ...{ name: 'InvalidParameterValue', message },
      })
      const batch = await user.client.send(
        new DeleteMessageBatchCommand({ QueueUrl: url, Entries: [{ Id: 'x', ReceiptHandle }] }),
      )
      expect(batch.Failed).toMatchObject([{ Id: 'x', Code: 'InvalidParameterValue' }])
      const [again] = await user.receive(url)
      expect(again?.Body).toBe('m')
      const { ReceiptHandle: last } = again ?? {}
      await user.client.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: last }))
      await user.client.send(new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle: last }))
    })

    test('refuse a receipt that is not the last one', async () => {
      const url = await user.queue({ ...FIFO, VisibilityTimeout: '1' })
      await user.send(url, 'm', { MessageGroupId: 'a' })
      const [{ ReceiptHandle } = {}] = await user.receive(url)
      expect(await user.receive(url, { WaitTimeSeconds: 5 })).toHaveLength(1)
      const command = new DeleteMessageCommand({ QueueUrl: url, ReceiptHandle })
      expect(await refusal(user.client.send(command))).toMatchObject({
        name: 'InvalidParameterValue',
        message: `Value ${ReceiptHandle} for parameter ReceiptHandle is invalid. Reason: The receipt handle has expired.`,
      })
    })
  })
})
