/**
 * What goes over the wire: the actions of the service, their members, and how each is written in the older of the two
 * forms. Types of requests and answers follow from the table.
 */

export type Shape =
  | { readonly kind: 'text' | 'integer' | 'boolean' | 'bytes' }
  /** `item`: its name in the Query form, where lists are numbered members. */
  | { readonly kind: 'list'; readonly item: string; readonly of: Shape }
  | {
      readonly kind: 'map'
      readonly item: string
      readonly key: string
      readonly value: string
      readonly of: Shape
    }
  | StructureShape

export interface StructureShape {
  readonly kind: 'structure'
  readonly members: Members
  readonly required?: readonly string[]
}

export type Members = Readonly<Record<string, Shape>>

export interface ActionModel {
  readonly input: StructureShape
  /** In the order in which they are written. */
  readonly output: Members
}

const text = { kind: 'text' } as const
const integer = { kind: 'integer' } as const
const boolean = { kind: 'boolean' } as const
const bytes = { kind: 'bytes' } as const

function list<const I extends string, const S extends Shape>(item: I, of: S) {
  return { kind: 'list', item, of } as const
}

function pairs<const S extends Shape>(item: string, key: string, of: S) {
  return { kind: 'map', item, key, value: 'Value', of } as const
}

function structure<const M extends Members, const R extends readonly (keyof M & string)[]>(
  members: M,
  required: R,
) {
  return { kind: 'structure', members, required } as const
}

const attributeValue = structure(
  {
    StringValue: text,
    BinaryValue: bytes,
    StringListValues: list('StringListValue', text),
    BinaryListValues: list('BinaryListValue', bytes),
    DataType: text,
  },
  ['DataType'],
)
const queueAttributes = pairs('Attribute', 'Name', text)
const messageAttributes = pairs('MessageAttribute', 'Name', attributeValue)
const systemAttributes = pairs('MessageSystemAttribute', 'Name', attributeValue)
const tags = pairs('Tag', 'Key', text)
const messageContent = {
  MessageBody: text,
  DelaySeconds: integer,
  MessageAttributes: messageAttributes,
  MessageSystemAttributes: systemAttributes,
  MessageDeduplicationId: text,
  MessageGroupId: text,
} as const
const sentContent = {
  MessageId: text,
  MD5OfMessageBody: text,
  MD5OfMessageAttributes: text,
  MD5OfMessageSystemAttributes: text,
  SequenceNumber: text,
} as const
const failures = list(
  'BatchResultErrorEntry',
  structure({ Id: text, Code: text, Message: text, SenderFault: boolean }, []),
)
const message = structure(
  {
    MessageId: text,
    ReceiptHandle: text,
    MD5OfBody: text,
    Body: text,
    Attributes: queueAttributes,
    MD5OfMessageAttributes: text,
    MessageAttributes: messageAttributes,
  },
  [],
)
const moveTask = structure(
  {
    TaskHandle: text,
    Status: text,
    SourceArn: text,
    DestinationArn: text,
    MaxNumberOfMessagesPerSecond: integer,
    ApproximateNumberOfMessagesMoved: integer,
    ApproximateNumberOfMessagesToMove: integer,
    FailureReason: text,
    StartedTimestamp: integer,
  },
  [],
)

function done(item: string) {
  return { Successful: list(item, structure({ Id: text }, [])), Failed: failures } as const
}

const queue = { QueueUrl: text } as const
const page = { NextToken: text, MaxResults: integer } as const
const queueOnly = structure(queue, ['QueueUrl'])

export const ACTIONS = {
  AddPermission: {
    input: structure(
      {
        ...queue,
        Label: text,
        AWSAccountIds: list('AWSAccountId', text),
        Actions: list('ActionName', text),
      },
      ['QueueUrl', 'Label', 'AWSAccountIds', 'Actions'],
    ),
    output: {},
  },
  CancelMessageMoveTask: {
    input: structure({ TaskHandle: text }, ['TaskHandle']),
    output: { ApproximateNumberOfMessagesMoved: integer },
  },
  ChangeMessageVisibility: {
    input: structure({ ...queue, ReceiptHandle: text, VisibilityTimeout: integer }, [
      'QueueUrl',
      'ReceiptHandle',
      'VisibilityTimeout',
    ]),
    output: {},
  },
  ChangeMessageVisibilityBatch: {
    input: structure(
      {
        ...queue,
        Entries: list(
          'ChangeMessageVisibilityBatchRequestEntry',
          structure({ Id: text, ReceiptHandle: text, VisibilityTimeout: integer }, [
            'Id',
            'ReceiptHandle',
          ]),
        ),
      },
      ['QueueUrl'],
    ),
    output: done('ChangeMessageVisibilityBatchResultEntry'),
  },
  CreateQueue: {
    input: structure({ QueueName: text, Attributes: queueAttributes, tags }, ['QueueName']),
    output: queue,
  },
  DeleteMessage: {
    input: structure({ ...queue, ReceiptHandle: text }, ['QueueUrl', 'ReceiptHandle']),
    output: {},
  },
  DeleteMessageBatch: {
    input: structure(
      {
        ...queue,
        Entries: list(
          'DeleteMessageBatchRequestEntry',
          structure({ Id: text, ReceiptHandle: text }, ['Id', 'ReceiptHandle']),
        ),
      },
      ['QueueUrl'],
    ),
    output: done('DeleteMessageBatchResultEntry'),
  },
  DeleteQueue: { input: queueOnly, output: {} },
  GetQueueAttributes: {
    input: structure({ ...queue, AttributeNames: list('AttributeName', text) }, ['QueueUrl']),
    output: { Attributes: queueAttributes },
  },
  GetQueueUrl: {
    input: structure({ QueueName: text, QueueOwnerAWSAccountId: text }, ['QueueName']),
    output: queue,
  },
  ListDeadLetterSourceQueues: {
    input: structure({ ...queue, ...page }, ['QueueUrl']),
    output: { queueUrls: list('QueueUrl', text), NextToken: text },
  },
  ListMessageMoveTasks: {
    input: structure({ SourceArn: text, MaxResults: integer }, ['SourceArn']),
    output: { Results: list('ListMessageMoveTasksResultEntry', moveTask) },
  },
  ListQueueTags: { input: queueOnly, output: { Tags: tags } },
  ListQueues: {
    input: structure({ QueueNamePrefix: text, ...page }, []),
    output: { QueueUrls: list('QueueUrl', text), NextToken: text },
  },
  PurgeQueue: { input: queueOnly, output: {} },
  ReceiveMessage: {
    input: structure(
      {
        ...queue,
        AttributeNames: list('AttributeName', text),
        MessageSystemAttributeNames: list('MessageSystemAttributeName', text),
        MessageAttributeNames: list('MessageAttributeName', text),
        MaxNumberOfMessages: integer,
        VisibilityTimeout: integer,
        WaitTimeSeconds: integer,
        ReceiveRequestAttemptId: text,
      },
      ['QueueUrl'],
    ),
    output: { Messages: list('Message', message) },
  },
  RemovePermission: {
    input: structure({ ...queue, Label: text }, ['QueueUrl', 'Label']),
    output: {},
  },
  SendMessage: {
    input: structure({ ...queue, ...messageContent }, ['QueueUrl', 'MessageBody']),
    output: sentContent,
  },
  SendMessageBatch: {
    input: structure(
      {
        ...queue,
        Entries: list(
          'SendMessageBatchRequestEntry',
          structure({ Id: text, ...messageContent }, ['Id', 'MessageBody']),
        ),
      },
      ['QueueUrl'],
    ),
    output: {
      Successful: list('SendMessageBatchResultEntry', structure({ Id: text, ...sentContent }, [])),
      Failed: failures,
    },
  },
  SetQueueAttributes: {
    input: structure({ ...queue, Attributes: queueAttributes }, ['QueueUrl', 'Attributes']),
    output: {},
  },
  StartMessageMoveTask: {
    input: structure(
      { SourceArn: text, DestinationArn: text, MaxNumberOfMessagesPerSecond: integer },
      ['SourceArn'],
    ),
    output: { TaskHandle: text },
  },
  TagQueue: {
    input: structure({ ...queue, Tags: tags }, ['QueueUrl', 'Tags']),
    output: {},
  },
  UntagQueue: {
    input: structure({ ...queue, TagKeys: list('TagKey', text) }, ['QueueUrl', 'TagKeys']),
    output: {},
  },
} as const satisfies Readonly<Record<string, ActionModel>>

export type ActionName = keyof typeof ACTIONS

export function isAction(name: string): name is ActionName {
  return Object.hasOwn(ACTIONS, name)
}

/** As it is read; with `bytes` as a buffer. */
export type Value<S> = S extends { readonly kind: 'text' }
  ? string
  : S extends { readonly kind: 'integer' }
    ? number
    : S extends { readonly kind: 'boolean' }
      ? boolean
      : S extends { readonly kind: 'bytes' }
        ? Buffer
        : S extends { readonly kind: 'list'; readonly of: infer I }
          ? readonly Value<I>[]
          : S extends { readonly kind: 'map'; readonly of: infer V }
            ? Readonly<Record<string, Value<V>>>
            : S extends {
                  readonly kind: 'structure'
                  readonly members: infer M
                  readonly required: readonly (infer R)[]
                }
              ? Structure<M, R>
              : never

type Structure<M, R> = { readonly [K in keyof M & R]: Value<M[K]> } & {
  readonly [K in Exclude<keyof M, R>]?: Value<M[K]> | undefined
}

/** As it is written: what is undefined is left out, `bytes` are base64. */
export type Written<S> = S extends { readonly kind: 'text' | 'bytes' }
  ? string
  : S extends { readonly kind: 'integer' }
    ? number
    : S extends { readonly kind: 'boolean' }
      ? boolean
      : S extends { readonly kind: 'list'; readonly of: infer I }
        ? readonly Written<I>[]
        : S extends { readonly kind: 'map'; readonly of: infer V }
          ? Readonly<Record<string, Written<V>>>
          : S extends { readonly kind: 'structure'; readonly members: infer M }
            ? WrittenMembers<M>
            : never

export type WrittenMembers<M> = { readonly [K in keyof M]?: Written<M[K]> | undefined }

export type Input<A extends ActionName> = Value<(typeof ACTIONS)[A]['input']>
export type Output<A extends ActionName> = WrittenMembers<(typeof ACTIONS)[A]['output']>
export type AttributeValue = Value<typeof attributeValue>
export type WrittenAttribute = Written<typeof attributeValue>
export type MessageContent = Value<{
  readonly kind: 'structure'
  readonly members: typeof messageContent
  readonly required: readonly ['MessageBody']
}>
export type WrittenMessage = Written<typeof message>
export type SentContent = WrittenMembers<typeof sentContent>
export type Failure = { Id: string; Code: string; Message: string; SenderFault: boolean }
