/** The AWS client as the tests use it: short words for what they do all the time. */
import {
  CreateQueueCommand,
  GetQueueAttributesCommand,
  type Message,
  ReceiveMessageCommand,
  type ReceiveMessageCommandInput,
  SendMessageCommand,
  type SendMessageCommandInput,
  SQSClient,
} from '@aws-sdk/client-sqs'
import { AwsQueryProtocol } from '@aws-sdk/core/protocols'

/** The client speaks JSON; with the protocol of older clients it writes forms and reads XML. */
export type WireForm = 'json' | 'query'
export const FORMS: readonly WireForm[] = ['json', 'query']

export const FIFO = { FifoQueue: 'true', ContentBasedDeduplication: 'true' }

interface ClientOptions {
  readonly keyId?: string
  readonly secret?: string
  readonly form?: WireForm
}

export function clientOf(
  endpoint: string,
  { keyId = 'test', secret = 'test', form = 'json' }: ClientOptions = {},
): SQSClient {
  return new SQSClient({
    endpoint,
    region: 'eu-west-1',
    maxAttempts: 1,
    credentials: { accessKeyId: keyId, secretAccessKey: secret },
    ...(form === 'query' && { protocol: new AwsQueryProtocol(QUERY) }),
  })
}

const QUERY = {
  defaultNamespace: 'com.amazonaws.sqs',
  xmlNamespace: 'http://queue.amazonaws.com/doc/2012-11-05/',
  version: '2012-11-05',
}

/** What a client sees of a refusal. */
export async function refusal(asked: Promise<unknown>) {
  const error = await asked.then(
    () => undefined,
    (reason: unknown) => reason as { name: string; message: string },
  )
  return error && { name: error.name, message: error.message }
}

export class SqsUser {
  readonly client: SQSClient
  #names = 0

  constructor(endpoint: string, options: ClientOptions = {}) {
    this.client = clientOf(endpoint, options)
  }

  async queue(attributes: Record<string, string> = {}, name?: string): Promise<string> {
    const suffix = attributes['FifoQueue'] ? '.fifo' : ''
    const QueueName = name ?? `q-${++this.#names}${suffix}`
    const command = new CreateQueueCommand({ QueueName, Attributes: attributes })
    return (await this.client.send(command)).QueueUrl as string
  }

  send(QueueUrl: string, MessageBody: string, more: Partial<SendMessageCommandInput> = {}) {
    return this.client.send(new SendMessageCommand({ QueueUrl, MessageBody, ...more }))
  }

  async receive(
    QueueUrl: string,
    more: Partial<ReceiveMessageCommandInput> = {},
  ): Promise<Message[]> {
    const input = { QueueUrl, MaxNumberOfMessages: 10, ...more }
    return (await this.client.send(new ReceiveMessageCommand(input))).Messages ?? []
  }

  async attributes(QueueUrl: string): Promise<Partial<Record<string, string>>> {
    const command = new GetQueueAttributesCommand({ QueueUrl, AttributeNames: ['All'] })
    return (await this.client.send(command)).Attributes ?? {}
  }
}
