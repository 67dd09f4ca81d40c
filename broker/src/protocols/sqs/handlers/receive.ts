/** ReceiveMessage. */
import type { Received } from '../../../core/queues/queue-requests.ts'
import type { KnownQueue } from '../../../core/queues/queues.ts'
import { numberOf } from '../attributes.ts'
import { ask, type Call, queueAt, type SqsServices } from '../call.ts'
import { attributesMd5, md5 } from '../digest.ts'
import { invalidValue, SqsError } from '../errors.ts'
import { BATCH_ENTRIES_MAX, VISIBILITY_SECONDS_MAX, WAIT_SECONDS_MAX } from '../limits.ts'
import {
  bodyOf,
  encodeHandle,
  isFifo,
  messageAttributes,
  messageIdOf,
  systemAttributes,
  writtenAttributes,
} from '../mapping.ts'
import { checkId } from '../message-rules.ts'
import type { AttributeValue, Input, Output, WrittenMessage } from '../packets.ts'
import { authorize } from '../rights.ts'

const SYSTEM_NAMES: readonly string[] = [
  'SenderId',
  'SentTimestamp',
  'ApproximateReceiveCount',
  'ApproximateFirstReceiveTimestamp',
  'SequenceNumber',
  'MessageDeduplicationId',
  'MessageGroupId',
  'AWSTraceHeader',
  'DeadLetterQueueSourceArn',
]

export async function receiveMessage(
  input: Input<'ReceiveMessage'>,
  call: Call,
): Promise<Output<'ReceiveMessage'>> {
  const queue = queueAt(call, input.QueueUrl)
  authorize(call, 'ReceiveMessage', queue)
  const wanted = wantedOf(input)
  const { VisibilityTimeout, ReceiveRequestAttemptId } = input
  const max = within(input.MaxNumberOfMessages ?? 1, 'MaxNumberOfMessages', {
    ...{ min: 1, max: BATCH_ENTRIES_MAX },
    reason: `Must be between 1 and ${BATCH_ENTRIES_MAX}, if provided.`,
  })
  const waitSeconds = within(
    input.WaitTimeSeconds ?? numberOf(queue, 'ReceiveMessageWaitTimeSeconds'),
    'WaitTimeSeconds',
    {
      ...{ min: 0, max: WAIT_SECONDS_MAX },
      reason: `Must be >= 0 and <= ${WAIT_SECONDS_MAX}, if provided.`,
    },
  )
  if (VisibilityTimeout !== undefined) checkVisibility(VisibilityTimeout)
  const attempt = attemptOf(ReceiveRequestAttemptId, queue)
  const request = {
    kind: 'receive',
    max,
    waitMs: waitSeconds * 1_000,
    leaseMs: VisibilityTimeout === undefined ? undefined : VisibilityTimeout * 1_000,
    attempt,
    wholeGroups: isFifo(queue),
    selector: undefined,
  } as const
  // Only what waits can be left waiting.
  const signal = waitSeconds > 0 ? call.signal() : undefined
  const asked = { kind: 'received', request, ...(signal && { signal }) } as const
  const { messages, overLimit } = await ask(call, queue, asked)
  // An ordered queue says nothing: what is in flight holds its group back anyway.
  if (overLimit && !isFifo(queue) && waitSeconds === 0) {
    throw new SqsError('OverLimit', 'Too many messages in flight for the queue.')
  }
  const nowMs = call.services.clock.wallMs()
  count(messages, call.services, nowMs)
  const written = messages.map((received) => messageOf(received, { wanted, call, nowMs }))
  return written.length === 0 ? {} : { Messages: written }
}

function count(messages: readonly Received[], services: SqsServices, nowMs: number): void {
  const { counts, latencies } = services
  counts.messagesOut += messages.length
  for (const { deliveries, record } of messages) {
    if (deliveries > 1) counts.redelivered++
    else latencies.delivery.record(Math.max(0, nowMs - record.timestamp))
  }
}

interface Bounds {
  readonly min: number
  readonly max: number
  readonly reason: string
}

function within(value: number, parameter: string, { min, max, reason }: Bounds): number {
  if (value < min || value > max) throw invalidValue(value, parameter, reason)
  return value
}

/** Throws SqsError. */
export function checkVisibility(seconds: number): void {
  within(seconds, 'VisibilityTimeout', {
    ...{ min: 0, max: VISIBILITY_SECONDS_MAX },
    reason: `VisibilityTimeout must be an integer between 0 and ${VISIBILITY_SECONDS_MAX}`,
  })
}

function attemptOf(id: string | undefined, queue: KnownQueue): string | undefined {
  if (id === undefined) return undefined
  if (!isFifo(queue)) {
    const reason = 'The request include parameter that is not valid for this queue type.'
    throw invalidValue(id, 'ReceiveRequestAttemptId', reason)
  }
  checkId('ReceiveRequestAttemptId', id)
  return id
}

interface Wanted {
  readonly system: readonly string[]
  readonly attributes: readonly string[]
}

/** Throws SqsError InvalidAttributeName. */
function wantedOf(input: Input<'ReceiveMessage'>): Wanted {
  const { AttributeNames = [], MessageSystemAttributeNames = [] } = input
  const names = [...AttributeNames, ...MessageSystemAttributeNames]
  for (const name of names) {
    if (name === 'All' || SYSTEM_NAMES.includes(name)) continue
    throw new SqsError('InvalidAttributeName', `Unknown Attribute ${name}.`)
  }
  const system = names.includes('All') ? SYSTEM_NAMES : names
  return { system, attributes: input.MessageAttributeNames ?? [] }
}

function messageOf(
  received: Received,
  { wanted, call, nowMs }: { wanted: Wanted; call: Call; nowMs: number },
): WrittenMessage {
  const { record, receipt } = received
  const body = bodyOf(record)
  const attributes =
    wanted.attributes.length === 0
      ? NO_ATTRIBUTES
      : chosen(messageAttributes(record), wanted.attributes)
  const digest = attributesMd5(attributes)
  const system = wanted.system.length === 0 ? undefined : systemAttributes(received, call.region)
  return {
    MessageId: messageIdOf(record),
    ReceiptHandle: encodeHandle(receipt, nowMs),
    MD5OfBody: md5(body),
    Body: body,
    ...(system && { Attributes: named(system, wanted.system) }),
    ...(digest !== undefined && {
      MD5OfMessageAttributes: digest,
      MessageAttributes: writtenAttributes(attributes),
    }),
  }
}

type AttributeMap = Readonly<Record<string, AttributeValue>>

const NO_ATTRIBUTES: AttributeMap = {}

function named(
  values: Readonly<Record<string, string | undefined>>,
  names: readonly string[],
): Record<string, string> {
  const found: Record<string, string> = {}
  for (const name of names) {
    const value = values[name]
    if (value !== undefined) found[name] = value
  }
  return found
}

/** `All`, a name, or the beginning of names: `bar.*`. */
function chosen(attributes: AttributeMap, names: readonly string[]): AttributeMap {
  if (names.includes('All') || names.includes('.*')) return attributes
  const beginnings = names.filter((name) => name.endsWith('.*')).map((name) => name.slice(0, -2))
  return Object.fromEntries(
    Object.entries(attributes).filter(
      ([name]) =>
        names.includes(name) || beginnings.some((beginning) => name.startsWith(beginning)),
    ),
  )
}
