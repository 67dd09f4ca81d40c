// Unmodified SQS clients against clusters of three brokers on each storage, with a broker killed in the middle: the
// official client, sqs-consumer, and Debian's boto3, which speaks the Query form.

import { execFile, execFileSync } from 'node:child_process'
import { join } from 'node:path'
import {
  CreateQueueCommand,
  DeleteMessageCommand,
  GetQueueAttributesCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs'
import { Consumer } from 'sqs-consumer'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../../support/cluster.ts'
import { thisMachine } from '../../support/debian-tools.ts'
import { startRedis } from '../../support/redis-servers.ts'

const PYTHON = '/usr/bin/python3'
const BOTO3 = join(import.meta.dirname, 'boto3-client.py')
const MESSAGES = 300
const GROUPS = ['a', 'b', 'c', 'd']

function hasBoto3(): boolean {
  try {
    execFileSync(PYTHON, ['-c', 'import boto3'], { stdio: 'ignore' })
    return true
  } catch {
    return false
  }
}

beforeAll(() => {
  if (hasBoto3()) return
  const machine = thisMachine()
  if (!machine.mayInstall) throw new Error('MISSING: boto3. Install: apt-get install python3-boto3')
  machine.say('installing python3-boto3')
  machine.run('apt-get', ['update'])
  machine.run('apt-get', ['install', '-y', '--no-install-recommends', 'python3-boto3'])
})

function boto3(...args: string[]): Promise<unknown> {
  return new Promise((resolve, reject) => {
    execFile(PYTHON, [BOTO3, ...args], { timeout: 90_000 }, (error, stdout, stderr) => {
      if (error === null) resolve(JSON.parse(stdout))
      else reject(new Error(`${error.message}\n${stderr}`))
    })
  })
}

const storages: readonly [name: string, start: () => Promise<Started>][] = [
  ['memory', () => started('--storage', 'memory:')],
  ['LevelDB', () => started()],
  [
    'Redis',
    async () => {
      const redis = await startRedis()
      const { cluster } = await started('--storage', `redis://${redis.address}/0`)
      return { cluster, stop: () => redis.remove() }
    },
  ],
]

interface Started {
  readonly cluster: TestCluster
  stop(): Promise<void> | void
}

async function started(...args: string[]): Promise<Started> {
  return { cluster: await startCluster('--nodes', '3', ...args), stop: () => undefined }
}

describe.each(storages)('over %s', (_name, start) => {
  let running: Started
  let endpoints: string[]
  let clients: SQSClient[]

  beforeAll(async () => {
    running = await start()
    endpoints = [1, 2, 3].map((node) => `http://127.0.0.1:${running.cluster.sqsPort(node)}`)
    clients = endpoints.map(
      (endpoint) =>
        new SQSClient({
          endpoint,
          region: 'eu-west-1',
          credentials: { accessKeyId: 'any', secretAccessKey: 'any' },
        }),
    )
  })

  afterAll(async () => {
    for (const client of clients ?? []) client.destroy()
    await running?.cluster.purge()
    await running?.stop()
  })

  const urlAt = (node: number, queue: string) => `${endpoints[node - 1]}/000000000000/${queue}`
  const at = (node: number) => clients[node - 1] as SQSClient

  test("Debian's boto3 finds every action that it has", async () => {
    expect(await boto3('tour', endpoints[0] as string)).toEqual({
      'same url': true,
      listed: true,
      sources: true,
      message: [true, 'one & "two" <three>\r\n\tü😀', true, true, '1'],
      again: true,
      batch: [['a', 'b'], [['c', 'InvalidMessageContents', true]]],
      changed: 2,
      deleted: 2,
      set: '1',
      tags: { more: 'x' },
      'purge again': ['PurgeQueueInProgress', 'AWS.SimpleQueueService.PurgeQueueInProgress', 403],
      'no queue': ['QueueDoesNotExist', 'AWS.SimpleQueueService.NonExistentQueue', 400],
      'bad receipt': ['ReceiptHandleIsInvalid', 'ReceiptHandleIsInvalid', 404],
      'bad value': ['ClientError', 'InvalidParameterValue', 400],
      presigned: 200,
      found: 'presigned & sent',
      gone: ['QueueDoesNotExist', 'AWS.SimpleQueueService.NonExistentQueue', 400],
    })
  })

  test('a broker that dies takes nothing acknowledged, no order and no receipt with it', async () => {
    // What was leased for an answer that the dead broker did not pass on comes back after it.
    const usual = { VisibilityTimeout: '5' }
    const ordering = { ...usual, FifoQueue: 'true' }
    await at(1).send(new CreateQueueCommand({ QueueName: 'work', Attributes: usual }))
    await at(2).send(new CreateQueueCommand({ QueueName: 'order.fifo', Attributes: ordering }))
    await at(3).send(new CreateQueueCommand({ QueueName: 'held' }))
    await at(2).send(new SendMessageCommand({ QueueUrl: urlAt(2, 'held'), MessageBody: 'held' }))
    const held = await at(2).send(new ReceiveMessageCommand({ QueueUrl: urlAt(2, 'held') }))
    const handle = held.Messages?.[0]?.ReceiptHandle

    const worked = new Set<string>()
    const consumer = Consumer.create({
      queueUrl: urlAt(3, 'work'),
      sqs: at(3),
      batchSize: 10,
      waitTimeSeconds: 1,
      handleMessage: async (message) => {
        worked.add(message.Body as string)
        return message
      },
    })
    consumer.on('error', () => undefined)
    consumer.on('processing_error', () => undefined)
    consumer.start()
    const ordered = boto3(
      ...['drain', [endpoints[2], endpoints[0]].join(',')],
      ...['order.fifo', String(MESSAGES)],
    ) as Promise<string[]>

    const acknowledged = new Set<string>()
    let killed: Promise<unknown> | undefined
    /** At the next broker when one does not answer; until it is acknowledged. */
    const send = async (body: string, order: object, queue: string): Promise<void> => {
      for (let node = (body.length % 3) + 1; ; node = (node % 3) + 1) {
        try {
          const input = { QueueUrl: urlAt(node, queue), MessageBody: body, ...order }
          await at(node).send(new SendMessageCommand(input), {
            abortSignal: AbortSignal.timeout(10_000),
          })
          return
        } catch {
          // Nobody knows whether it was stored: again.
        }
      }
    }
    const sender = async (group: string): Promise<void> => {
      for (let number = 0; number < MESSAGES / GROUPS.length; number++) {
        const body = `${group}-${number}`
        const order = { MessageGroupId: group, MessageDeduplicationId: body }
        await send(body, order, 'order.fifo')
        await send(body, {}, 'work')
        acknowledged.add(body)
        if (acknowledged.size > MESSAGES / 3) {
          killed ??= running.cluster.robust('cluster', 'kill', 'broker-2')
        }
      }
    }
    await Promise.all(GROUPS.map(sender))
    await killed
    expect(acknowledged.size).toBe(MESSAGES)

    const inOrder = await ordered
    for (const group of GROUPS) {
      const mine = inOrder.filter((body) => body.startsWith(`${group}-`))
      expect(mine).toEqual(Array.from(mine, (_, number) => `${group}-${number}`))
    }
    expect(new Set(inOrder)).toEqual(acknowledged)
    await expect.poll(() => worked.size).toBe(MESSAGES)
    consumer.stop({ abort: true })

    const QueueUrl = urlAt(1, 'held')
    await at(1).send(new DeleteMessageCommand({ QueueUrl, ReceiptHandle: handle }))
    const left = await at(3).send(
      new GetQueueAttributesCommand({ QueueUrl: urlAt(3, 'held'), AttributeNames: ['All'] }),
    )
    expect(left.Attributes).toMatchObject({
      ApproximateNumberOfMessages: '0',
      ApproximateNumberOfMessagesNotVisible: '0',
    })
  })
})
