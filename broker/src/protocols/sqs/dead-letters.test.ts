import {
  CancelMessageMoveTaskCommand,
  ListDeadLetterSourceQueuesCommand,
  ListMessageMoveTasksCommand,
  SetQueueAttributesCommand,
  StartMessageMoveTaskCommand,
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

  describe('dead letters', () => {
    const arn = (url: string) => `arn:aws:sqs:eu-west-1:000000000000:${url.split('/').at(-1)}`
    const redrive = (url: string, maxReceiveCount: number | string = 1) =>
      JSON.stringify({ deadLetterTargetArn: arn(url), maxReceiveCount })

    async function deadLettered(count: number) {
      const dead = await user.queue()
      const source = await user.queue({ RedrivePolicy: redrive(dead), VisibilityTimeout: '0' })
      for (let at = 0; at < count; at++) await user.send(source, `m${at}`)
      await expect
        .poll(async () => {
          await user.receive(source)
          return (await user.attributes(dead))['ApproximateNumberOfMessages']
        })
        .toBe(String(count))
      return { dead, source }
    }

    test('go where the policy says, and say where they were', async () => {
      const { dead, source } = await deadLettered(1)
      const [message] = await user.receive(dead, { AttributeNames: ['All'], VisibilityTimeout: 0 })
      expect(message?.Body).toBe('m0')
      expect(message?.Attributes?.['DeadLetterQueueSourceArn']).toBe(arn(source))
      const sources = await user.client.send(
        new ListDeadLetterSourceQueuesCommand({ QueueUrl: dead }),
      )
      expect(sources.queueUrls).toEqual([source])
      expect(JSON.parse((await user.attributes(source))['RedrivePolicy'] as string)).toEqual({
        deadLetterTargetArn: arn(dead),
        maxReceiveCount: 1,
      })
    })

    test('are moved back, or elsewhere, with progress', async () => {
      const { dead, source } = await deadLettered(3)
      const started = await user.client.send(
        new StartMessageMoveTaskCommand({ SourceArn: arn(dead) }),
      )
      expect(started.TaskHandle).toBeDefined()
      const list = async () => {
        const input = { SourceArn: arn(dead), MaxResults: 10 }
        return (await user.client.send(new ListMessageMoveTasksCommand(input))).Results ?? []
      }
      await expect
        .poll(async () => (await list())[0]?.Status, { timeout: 10_000 })
        .toBe('COMPLETED')
      expect((await list())[0]).toMatchObject({
        SourceArn: arn(dead),
        ApproximateNumberOfMessagesMoved: 3,
        ApproximateNumberOfMessagesToMove: 3,
      })
      expect((await user.attributes(source))['ApproximateNumberOfMessages']).toBe('3')
    })

    test('that move are held up, by their handle, once at a time', async () => {
      const { dead } = await deadLettered(5)
      const target = await user.queue()
      const start = (MaxNumberOfMessagesPerSecond: number) =>
        user.client.send(
          new StartMessageMoveTaskCommand({
            ...{ SourceArn: arn(dead), DestinationArn: arn(target) },
            MaxNumberOfMessagesPerSecond,
          }),
        )
      const { TaskHandle } = await start(1)
      expect(await refusal(start(1))).toMatchObject({
        message:
          'There is already a task running. Only one active task is allowed for a source queue arn at a given time.',
      })
      await user.client.send(new CancelMessageMoveTaskCommand({ TaskHandle }))
      const list = new ListMessageMoveTasksCommand({ SourceArn: arn(dead) })
      await expect
        .poll(async () => (await user.client.send(list)).Results?.[0]?.Status, { timeout: 10_000 })
        .toBe('CANCELLED')
      expect((await user.client.send(list)).Results?.[0]).toMatchObject({
        DestinationArn: arn(target),
        MaxNumberOfMessagesPerSecond: 1,
      })
      const again = user.client.send(new CancelMessageMoveTaskCommand({ TaskHandle: 'nonsense' }))
      expect(await refusal(again)).toMatchObject({
        message: 'Value for parameter TaskHandle is invalid.',
      })
    })

    test('have sources and destinations that are there', async () => {
      const plain = await user.queue()
      const start = (SourceArn: string, DestinationArn?: string) =>
        refusal(user.client.send(new StartMessageMoveTaskCommand({ SourceArn, DestinationArn })))
      expect(await start(arn(plain))).toMatchObject({
        name: 'InvalidParameterValue',
        message: 'Source queue must be configured as a Dead Letter Queue.',
      })
      expect(await start('arn:aws:sqs:x:000000000000:none')).toMatchObject({
        name: 'ResourceNotFoundException',
        message: "The resource that you specified for the SourceArn parameter doesn't exist.",
      })
    })

    test.each([
      [
        '{"deadLetterTargetArn":"dummy","maxReceiveCount":42}',
        'Invalid value for deadLetterTargetArn.',
      ],
      [
        '{"maxReceiveCount":42}',
        'Redrive policy does not contain mandatory attribute: deadLetterTargetArn.',
      ],
      ['no', 'Redrive policy is not a valid JSON map.'],
      [
        '{"deadLetterTargetArn":"arn:aws:sqs:x:000000000000:none","maxReceiveCount":"1"}',
        'Dead letter target does not exist.',
      ],
    ])('refuse the policy %s', async (RedrivePolicy, reason) => {
      expect(await refusal(user.queue({ RedrivePolicy }))).toEqual({
        name: 'InvalidParameterValue',
        message: `Value ${RedrivePolicy} for parameter RedrivePolicy is invalid. Reason: ${reason}`,
      })
    })

    test('come only from queues that are let', async () => {
      const allow = (value: object) => ({ RedriveAllowPolicy: JSON.stringify(value) })
      const closed = await user.queue(allow({ redrivePermission: 'denyAll' }))
      expect((await refusal(user.queue({ RedrivePolicy: redrive(closed) })))?.name).toBe(
        'InvalidParameterValue',
      )
      const open = await user.queue(
        allow({
          redrivePermission: 'byQueue',
          sourceQueueArns: ['arn:aws:sqs:eu-west-1:000000000000:friend'],
        }),
      )
      await user.queue({ RedrivePolicy: redrive(open) }, 'friend')
      expect((await refusal(user.queue({ RedrivePolicy: redrive(open) })))?.name).toBe(
        'InvalidParameterValue',
      )
      expect(
        (await refusal(user.queue({ RedrivePolicy: redrive(await user.queue(FIFO)) })))?.message,
      ).toMatch('same type')
      const bad = refusal(user.queue(allow({ redrivePermission: 'byQueue' })))
      expect((await bad)?.message).toMatch('unsupported format')
    })

    test('stop when the policy is taken away', async () => {
      const source = await user.queue({ RedrivePolicy: redrive(await user.queue()) })
      const Attributes = { RedrivePolicy: '' }
      await user.client.send(new SetQueueAttributesCommand({ QueueUrl: source, Attributes }))
      expect((await user.attributes(source))['RedrivePolicy']).toBeUndefined()
    })
  })
})
