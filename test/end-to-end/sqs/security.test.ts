// Users of a cluster who sign their SQS requests: keys by the command line, rights at every broker.

import {
  CreateQueueCommand,
  ListQueuesCommand,
  ReceiveMessageCommand,
  SendMessageCommand,
  SQSClient,
} from '@aws-sdk/client-sqs'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { startCluster, type TestCluster } from '../../support/cluster.ts'

let cluster: TestCluster
const clients: SQSClient[] = []

beforeAll(async () => {
  cluster = await startCluster('--nodes', '2', '--storage', 'memory:')
})

afterAll(async () => {
  for (const client of clients) client.destroy()
  await cluster?.purge()
})

interface Key {
  readonly accessKeyId: string
  readonly secretAccessKey: string
}

function as(credentials: Key, node: number): SQSClient {
  const endpoint = `http://127.0.0.1:${cluster.sqsPort(node)}`
  const client = new SQSClient({ endpoint, region: 'eu-west-1', maxAttempts: 1, credentials })
  clients.push(client)
  return client
}

async function robust(...args: string[]): Promise<string> {
  const ran = await cluster.robust(...args)
  expect(ran).toMatchObject({ code: 0 })
  return ran.stdout
}

test('keys that robust makes sign at every broker, until they are deleted', async () => {
  await robust('user', 'create', 'root', '--admin', '--no-password')
  await robust('user', 'create', 'ann', '--no-password')
  const keyOf = async (user: string): Promise<Key> =>
    JSON.parse(await robust('user', 'add-key', user, '-o', 'json'))
  const [root, ann] = [await keyOf('root'), await keyOf('ann')]
  const listed = await robust('user', 'keys')
  expect(listed).toContain(ann.accessKeyId)
  expect(listed).not.toContain(ann.secretAccessKey)

  const made = new CreateQueueCommand({ QueueName: 'orders' })
  const { QueueUrl } = await as(root, 1).send(made)
  await as(root, 2).send(new CreateQueueCommand({ QueueName: 'others' }))
  const send = new SendMessageCommand({ QueueUrl, MessageBody: 'hi' })
  await expect(as(ann, 2).send(send)).rejects.toMatchObject({ name: 'AccessDenied' })
  await robust('acl', 'allow', 'ann', 'all', 'queues/orders')
  await expect
    .poll(() =>
      as(ann, 2)
        .send(send)
        .catch(() => undefined),
    )
    .toBeDefined()
  const received = await as(ann, 1).send(
    new ReceiveMessageCommand({ QueueUrl, MessageSystemAttributeNames: ['SenderId'] }),
  )
  expect(received.Messages).toMatchObject([{ Body: 'hi', Attributes: { SenderId: 'ann' } }])
  const { QueueUrls } = await as(ann, 1).send(new ListQueuesCommand({}))
  expect(QueueUrls).toEqual([QueueUrl])
  const stranger = { ...ann, secretAccessKey: 'wrong' }
  await expect(as(stranger, 1).send(send)).rejects.toMatchObject({ name: 'SignatureDoesNotMatch' })

  await robust('user', 'delete-key', ann.accessKeyId)
  await expect
    .poll(() =>
      as(ann, 1)
        .send(send)
        .catch((error: Error) => error.name),
    )
    .toBe('InvalidClientTokenId')
  expect(await cluster.robust('user', 'delete-key', 'none')).toMatchObject({ code: 66 })
})
