// docs/cross-protocol.md, the rows of Kafka: kafkajs, MQTT and SQS clients over the same three brokers.

import {
  type Message,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs'
import { Kafka, logLevel } from 'kafkajs'
import { connectAsync, type IClientOptions, type IPublishPacket, type MqttClient } from 'mqtt'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../../support/cluster.ts'
import { kcatOf } from './kcat.ts'

let cluster: TestCluster
let kafka: Kafka
let sqs: SQSClient

beforeAll(async () => {
  cluster = await startCluster('--nodes', '3', '--storage', 'memory:')
  const brokers = [1, 2, 3].map((node) => `127.0.0.1:${cluster.kafkaPort(node)}`)
  kafka = new Kafka({
    ...{ clientId: 'cross', brokers, logLevel: logLevel.NOTHING },
    retry: { initialRetryTime: 50, maxRetryTime: 500, retries: 60 },
  })
  sqs = new SQSClient({
    endpoint: `http://127.0.0.1:${cluster.sqsPort(1)}`,
    region: 'eu-west-1',
    credentials: { accessKeyId: 'any', secretAccessKey: 'any' },
  })
})

afterAll(async () => {
  sqs?.destroy()
  await cluster?.purge()
})

interface Subscriber {
  readonly client: MqttClient
  readonly got: IPublishPacket[]
}

const textsOf = ({ got }: Subscriber): string[] => got.map(({ payload }) => String(payload))

async function subscriber(filter: string, more: IClientOptions = {}): Promise<Subscriber> {
  const client = await connectAsync(`mqtt://127.0.0.1:${cluster.mqttPort(3)}`, {
    ...{ protocolVersion: 5, ...more },
  })
  const got: IPublishPacket[] = []
  client.on('message', (_topic, _payload, packet) => got.push(packet))
  await client.subscribeAsync(filter, { qos: 1 })
  return { client, got }
}

const DURABLE: IClientOptions = {
  ...{ clientId: 'sensor-9', clean: false, properties: { sessionExpiryInterval: 600 } },
}

async function topic(name: string, partitions: number): Promise<void> {
  const admin = kafka.admin()
  await admin.connect()
  await admin.createTopics({ topics: [{ topic: name, numPartitions: partitions }] })
  await admin.disconnect()
}

const urlOf = (queue: string) => `http://any/000000000000/${queue}`

async function receive(queue: string): Promise<Message | undefined> {
  const input = { QueueUrl: urlOf(queue), WaitTimeSeconds: 10, MessageAttributeNames: ['All'] }
  const { Messages } = await sqs.send(new ReceiveMessageCommand(input))
  return Messages?.[0]
}

describe('from Kafka', () => {
  test('records reach live and durable subscribers and queues, with their keys and headers', async () => {
    await topic('alarms', 3)
    const bound = await cluster.robust('queue', 'create', 'alarm-queue', '--bind', 'alarms')
    expect(bound).toMatchObject({ code: 0 })
    const live = await subscriber('alarms')
    const away = await subscriber('alarms', DURABLE)
    await away.client.endAsync()
    const producer = kafka.producer()
    await producer.connect()
    const headers = { unit: 'celsius', 'content-type': 'text/plain', raw: Buffer.of(0, 255) }
    await producer.send({ topic: 'alarms', messages: [{ key: 'hall-2', value: '21.5', headers }] })
    await expect.poll(() => textsOf(live)).toEqual(['21.5'])
    expect(live.got[0]).toMatchObject({
      ...{ topic: 'alarms', qos: 1, retain: false },
      properties: {
        contentType: 'text/plain',
        userProperties: { key: 'hall-2', unit: 'celsius', raw: 'AP8=' },
      },
    })
    const back = await subscriber('alarms', DURABLE)
    await expect.poll(() => textsOf(back)).toEqual(['21.5'])
    expect(await receive('alarm-queue')).toMatchObject({
      Body: '21.5',
      MessageAttributes: {
        key: { DataType: 'String', StringValue: 'hall-2' },
        unit: { DataType: 'String', StringValue: 'celsius' },
      },
    })
    await Promise.all([producer.disconnect(), live.client.endAsync(), back.client.endAsync()])
  })

  test('compressed records too, whatever the codec', async () => {
    await topic('packed', 1)
    const live = await subscriber('packed')
    const kcat = await kcatOf(cluster)
    const wanted: string[] = []
    for (const codec of ['gzip', 'snappy', 'lz4', 'zstd']) {
      const lines = Array.from({ length: 50 }, (_, at) => `${codec} ${'ab'.repeat(at)} ${at}`)
      await kcat(['-P', '-t', 'packed', '-z', codec], lines.join('\n'))
      wanted.push(...lines)
      // And by operators.
      const from = ['--from', String(wanted.length - 50), '--max', '50', '-o', 'json']
      const { stdout } = await cluster.robust('topic', 'read', 'packed', ...from)
      for (const line of lines) expect(stdout).toContain(line)
    }
    await expect.poll(() => textsOf(live)).toEqual(wanted)
    await live.client.endAsync()
  })

  test('of transactions what was committed, when it is, and nothing else', async () => {
    await topic('moves', 1)
    const live = await subscriber('moves')
    const producer = kafka.producer({
      transactionalId: 'mover',
      maxInFlightRequests: 1,
      idempotent: true,
    })
    await producer.connect()
    for (const [value, commits] of [
      ['one', true],
      ['two', false],
      ['three', true],
    ] as const) {
      const transaction = await producer.transaction()
      await transaction.send({ topic: 'moves', messages: [{ value }] })
      expect(textsOf(live)).not.toContain(value)
      await (commits ? transaction.commit() : transaction.abort())
    }
    await expect.poll(() => textsOf(live)).toEqual(['one', 'three'])
    await Promise.all([producer.disconnect(), live.client.endAsync()])
  })

  test('no record is lost to a durable subscriber when the owner of the partition is killed', {
    timeout: 90_000,
  }, async () => {
    await topic('ticks', 4)
    const away = await subscriber('ticks', { ...DURABLE, clientId: 'watcher' })
    await away.client.endAsync()
    const producer = kafka.producer({ idempotent: true, maxInFlightRequests: 1 })
    await producer.connect()
    const wanted: string[] = []
    for (let round = 0; round < 40; round++) {
      if (round === 20) await cluster.robust('cluster', 'kill', 'broker-2')
      const messages = [0, 1, 2, 3].map((partition) => ({
        partition,
        value: `${partition}-${round}`,
      }))
      for (const message of messages) await producer.send({ topic: 'ticks', messages: [message] })
      wanted.push(...messages.map(({ value }) => value))
    }
    const back = await subscriber('ticks', { ...DURABLE, clientId: 'watcher' })
    await expect
      .poll(() => [...new Set(textsOf(back))].sort(), { timeout: 60_000 })
      .toEqual([...wanted].sort())
    await Promise.all([producer.disconnect(), back.client.endAsync()])
  })
})

interface Read {
  readonly key: string
  readonly value: string
  readonly headers: Readonly<Record<string, string>>
}

/** As kcat tells it: a record a line, headers as pairs in one list. */
async function readAll(name: string): Promise<Read[]> {
  const kcat = await kcatOf(cluster)
  const lines = (await kcat(['-C', '-t', name, '-e', '-q', '-J'])).trim().split('\n')
  return lines.map((line) => {
    const { key, payload, headers = [] } = JSON.parse(line)
    const pairs = headers.flatMap((text: string, at: number) =>
      at % 2 === 0 ? [[text, headers[at + 1]]] : [],
    )
    return { key, value: payload, headers: Object.fromEntries(pairs) }
  })
}

describe('to Kafka', () => {
  test('what MQTT and SQS publish to the address of a topic, with properties as headers', async () => {
    await topic('readings', 2)
    const bound = await cluster.robust('queue', 'create', 'readings-queue', '--bind', 'readings')
    expect(bound).toMatchObject({ code: 0 })
    const mqtt = await subscriber('unrelated')
    await mqtt.client.publishAsync('readings', 'from mqtt', {
      qos: 1,
      properties: { contentType: 'text/plain', userProperties: { key: 'hall-2', unit: 'celsius' } },
    })
    await sqs.send(
      new SendMessageCommand({
        ...{ QueueUrl: urlOf('readings-queue'), MessageBody: 'from sqs' },
        MessageAttributes: { unit: { DataType: 'String', StringValue: 'kelvin' } },
      }),
    )
    await expect.poll(async () => (await readAll('readings')).length).toBe(2)
    expect(await readAll('readings')).toMatchObject([
      {
        ...{ key: 'hall-2', value: 'from mqtt' },
        headers: { address: 'readings', unit: 'celsius', 'content-type': 'text/plain' },
      },
      { key: 'readings', value: 'from sqs', headers: { unit: 'kelvin' } },
    ])
    await mqtt.client.endAsync()
  })

  test('a topic that captures an address has what Kafka writes to a topic of that name, and no echo', async () => {
    const capture = await cluster.robust('topic', 'create', 'archive', '--capture', 'sourced')
    expect(capture).toMatchObject({ code: 0 })
    await topic('sourced', 1)
    const live = await subscriber('sourced')
    const producer = kafka.producer()
    await producer.connect()
    await producer.send({ topic: 'sourced', messages: [{ key: 'k', value: 'once' }] })
    await live.client.publishAsync('sourced', 'by mqtt', { qos: 1 })
    await expect.poll(() => textsOf(live)).toEqual(['once', 'by mqtt'])
    expect(await readAll('archive')).toMatchObject([
      { key: 'k', value: 'once' },
      { key: 'sourced', value: 'by mqtt' },
    ])
    expect(await readAll('sourced')).toHaveLength(2)
    await Promise.all([producer.disconnect(), live.client.endAsync()])
  })
})
