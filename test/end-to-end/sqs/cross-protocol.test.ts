// docs/cross-protocol.md, row by row: MQTT and SQS clients over the same cluster.

import {
  DeleteMessageCommand,
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs'
import { connectAsync, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../../support/cluster.ts'

let cluster: TestCluster
let sqs: SQSClient
let mqtt: MqttClient

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3', '--storage', 'memory:')
  sqs = new SQSClient({
    endpoint: `http://127.0.0.1:${cluster.sqsPort(1)}`,
    region: 'eu-west-1',
    credentials: { accessKeyId: 'any', secretAccessKey: 'any' },
  })
  mqtt = await connectAsync(`mqtt://127.0.0.1:${cluster.mqttPort(2)}`, {
    protocolVersion: 5,
    clientId: 'device-7',
  })
})

afterAll(async () => {
  sqs?.destroy()
  await mqtt?.endAsync()
  await cluster?.purge()
})

const urlOf = (queue: string) => `http://any/000000000000/${queue}`

async function bound(queue: string, filter: string, ...more: string[]): Promise<void> {
  const ran = await cluster.robust('queue', 'create', queue, '--bind', filter, ...more)
  expect(ran).toMatchObject({ code: 0 })
}

async function receive(queue: string): Promise<Message | undefined> {
  const input = { QueueUrl: urlOf(queue), WaitTimeSeconds: 10, AttributeNames: ['All' as const] }
  const { Messages } = await sqs.send(
    new ReceiveMessageCommand({ ...input, MessageAttributeNames: ['All'] }),
  )
  return Messages?.[0]
}

describe('between MQTT and SQS', () => {
  test('what is published to a bound address is received with its properties as attributes', async () => {
    await bound('readings', 'plant/+/temperature')
    await mqtt.publishAsync('plant/7/temperature', 'ünf 21.5', {
      qos: 1,
      properties: {
        contentType: 'text/plain',
        responseTopic: 'answers/7',
        correlationData: Buffer.of(0, 255),
        userProperties: { unit: 'celsius', group: 'hall-2', 'not an attribute': 'x' },
      },
    })
    const message = await receive('readings')
    expect(message).toMatchObject({
      Body: 'ünf 21.5',
      MessageAttributes: {
        unit: { DataType: 'String', StringValue: 'celsius' },
        'content-type': { DataType: 'String', StringValue: 'text/plain' },
        'reply-to': { DataType: 'String', StringValue: 'answers/7' },
        'correlation-id': { DataType: 'Binary', BinaryValue: Uint8Array.of(0, 255) },
      },
      Attributes: { SenderId: 'device-7', MessageGroupId: 'hall-2', ApproximateReceiveCount: '1' },
    })
    expect(Object.keys(message?.MessageAttributes ?? {})).toHaveLength(4)
    const { ReceiptHandle } = message as Message
    await sqs.send(new DeleteMessageCommand({ QueueUrl: urlOf('readings'), ReceiptHandle }))
  })

  test('a message of QoS 2 comes once, and one that has expired not at all', async () => {
    await bound('exact', 'exact/#')
    await mqtt.publishAsync('exact/1', 'short', {
      qos: 1,
      properties: { messageExpiryInterval: 1 },
    })
    await mqtt.publishAsync('exact/2', 'once', { qos: 2 })
    await expect
      .poll(async () => {
        const ran = await cluster.robust('queue', 'peek', 'exact', '-o', 'json')
        return ran.stdout.includes('short') || ran.stdout.includes('c2hvcnQ')
      })
      .toBe(false)
    expect((await receive('exact'))?.Body).toBe('once')
    const input = { QueueUrl: urlOf('exact'), WaitTimeSeconds: 0 }
    expect((await sqs.send(new ReceiveMessageCommand(input))).Messages).toBeUndefined()
  })

  test('what is sent to a queue that stands for an address is seen by its subscribers too', async () => {
    await bound('orders', 'shop/orders')
    const seen: [string, string, number][] = []
    const told: unknown[] = []
    mqtt.on('message', (topic, payload, packet) => {
      if (topic !== 'shop/orders') return
      seen.push([topic, payload.toString(), packet.qos])
      told.push(packet.properties)
    })
    await mqtt.subscribeAsync('shop/#', { qos: 1 })
    const attribute = { DataType: 'String', StringValue: 'red' }
    const sent = await sqs.send(
      new SendMessageCommand({
        ...{ QueueUrl: urlOf('orders'), MessageBody: 'two apples', MessageGroupId: 'ann' },
        MessageAttributes: {
          attribute,
          bytes: { DataType: 'Binary', BinaryValue: Uint8Array.of(0, 255) },
          'content-type': { DataType: 'String', StringValue: 'text/plain' },
          'reply-to': { DataType: 'String', StringValue: 'answers/7' },
          'correlation-id': { DataType: 'Binary', BinaryValue: Uint8Array.of(1, 254) },
        },
      }),
    )
    await expect.poll(() => seen).toEqual([['shop/orders', 'two apples', 1]])
    expect(told).toEqual([
      {
        contentType: 'text/plain',
        responseTopic: 'answers/7',
        correlationData: Buffer.of(1, 254),
        userProperties: expect.objectContaining({ group: 'ann', attribute: 'red', bytes: 'AP8=' }),
      },
    ])
    expect(await receive('orders')).toMatchObject({
      MessageId: sent.MessageId,
      Body: 'two apples',
      MessageAttributes: { attribute },
      Attributes: { MessageGroupId: 'ann' },
    })
  })

  test('what is delayed, or of an ordered queue, goes to the queue only', async () => {
    await bound('later', 'shop/later')
    const before = new Set<string>()
    mqtt.on('message', (topic) => before.add(topic))
    await mqtt.subscribeAsync('shop/#', { qos: 1 })
    await sqs.send(
      new SendMessageCommand({ QueueUrl: urlOf('later'), MessageBody: 'x', DelaySeconds: 1 }),
    )
    expect((await receive('later'))?.Body).toBe('x')
    expect(before.has('shop/later')).toBe(false)
  })
})
