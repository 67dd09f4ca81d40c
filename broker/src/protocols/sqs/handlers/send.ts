/** SendMessage, and SendMessageBatch. What is wrong with one entry fails that entry. */
import type { Message } from '../../../core/message.ts'
import type { SendOutcome } from '../../../core/queues/queue-requests.ts'
import type { KnownQueue } from '../../../core/queues/queues.ts'
import { numberOf } from '../attributes.ts'
import { checkEntries, failureOf } from '../batches.ts'
import { ask, type Call, queueAt } from '../call.ts'
import { attributesMd5, md5 } from '../digest.ts'
import { invalidParameter, invalidValue, SqsError, sqsErrorOf } from '../errors.ts'
import { DELAY_SECONDS_MAX, MESSAGE_BYTES_MAX } from '../limits.ts'
import {
  DEFAULT_ACCOUNT,
  isFifo,
  publishedProperties,
  sequenceNumber,
  toRecord,
} from '../mapping.ts'
import { checkContent, sizeOf } from '../message-rules.ts'
import type { Failure, Input, MessageContent, Output, SentContent } from '../packets.ts'
import { authorize } from '../rights.ts'

export async function sendMessage(
  input: Input<'SendMessage'>,
  call: Call,
): Promise<Output<'SendMessage'>> {
  const queue = queueAt(call, input.QueueUrl)
  authorize(call, 'SendMessage', queue)
  checkSize(sizeOf(input), queue)
  check(input, queue, call)
  const [sent] = await send([input], queue, call)
  if (sent instanceof SqsError) throw sent
  return sent as SentContent
}

export async function sendMessageBatch(
  input: Input<'SendMessageBatch'>,
  call: Call,
): Promise<Output<'SendMessageBatch'>> {
  const queue = queueAt(call, input.QueueUrl)
  authorize(call, 'SendMessageBatch', queue)
  const entries = checkEntries('SendMessageBatchRequestEntry', input.Entries)
  const bytes = entries.reduce((sum, entry) => sum + sizeOf(entry), 0)
  if (bytes > MESSAGE_BYTES_MAX) {
    const message = `Batch requests cannot be longer than ${MESSAGE_BYTES_MAX} bytes. You have sent ${bytes} bytes.`
    throw new SqsError('BatchRequestTooLong', message)
  }
  for (const entry of entries) checkOrder(entry, queue)
  const failed: Failure[] = []
  const good = entries.filter((entry) => {
    try {
      checkSize(sizeOf(entry), queue)
      check(entry, queue, call)
      return true
    } catch (error) {
      const known = sqsErrorOf(error)
      if (known === undefined) throw error
      failed.push(failureOf(entry.Id, known))
      return false
    }
  })
  const results = good.length === 0 ? [] : await send(good, queue, call)
  const successful = results.flatMap((sent, at) => {
    const { Id } = good[at] as { Id: string }
    if (!(sent instanceof SqsError)) return [{ Id, ...sent }]
    failed.push(failureOf(Id, sent))
    return []
  })
  return {
    Successful: successful,
    ...(failed.length > 0 && { Failed: failed }),
  }
}

function checkSize(bytes: number, queue: KnownQueue): void {
  const max = numberOf(queue, 'MaximumMessageSize')
  if (bytes <= max) return
  const reason = `Reason: Message must be shorter than ${max} bytes.`
  throw invalidParameter(`One or more parameters are invalid. ${reason}`)
}

/** Throws SqsError. */
function check(content: MessageContent, queue: KnownQueue, { isUnescaped }: Call): void {
  const { DelaySeconds, MessageDeduplicationId } = content
  const fifo = isFifo(queue)
  if (DelaySeconds !== undefined) {
    const reason = fifo
      ? 'The request include parameter that is not valid for this queue type.'
      : `DelaySeconds must be >= 0 and <= ${DELAY_SECONDS_MAX}.`
    const isGood = fifo
      ? DelaySeconds === 0
      : DelaySeconds >= 0 && DelaySeconds <= DELAY_SECONDS_MAX
    if (!isGood) throw invalidValue(DelaySeconds, 'DelaySeconds', reason)
  }
  if (!fifo && MessageDeduplicationId !== undefined) {
    const reason = 'The request includes a parameter that is not valid for this queue type.'
    throw invalidValue(MessageDeduplicationId, 'MessageDeduplicationId', reason)
  }
  checkOrder(content, queue)
  checkContent(content, isUnescaped)
}

/** What an ordered queue needs of each message; without it a whole batch is refused. */
function checkOrder(content: MessageContent, queue: KnownQueue): void {
  if (!isFifo(queue)) return
  const { MessageGroupId, MessageDeduplicationId } = content
  if (MessageGroupId === undefined) {
    throw new SqsError(
      'InvalidParameterValue',
      'The request must contain the parameter MessageGroupId.',
    )
  }
  if (MessageDeduplicationId === undefined && queue.policy.deduplicationBy !== 'content') {
    throw invalidParameter(
      'The queue should either have ContentBasedDeduplication enabled or MessageDeduplicationId provided explicitly',
    )
  }
}

/** In the order of the contents. Rejects with BrokerError: nothing is known of any. */
async function send(
  contents: readonly MessageContent[],
  queue: KnownQueue,
  call: Call,
): Promise<readonly (SentContent | SqsError)[]> {
  const { services, caller } = call
  const address = addressOf(queue)
  const isPublished = (content: MessageContent): boolean =>
    address !== undefined && !(content.DelaySeconds ?? 0)
  const sender = caller.user ?? DEFAULT_ACCOUNT
  const hashesContent = isFifo(queue) && queue.policy.deduplicationBy === 'content'
  const nowMs = services.clock.wallMs()
  const begunAtMs = services.clock.nowMs()
  const ids = contents.map(() => services.nextId())
  const direct = contents.flatMap((content, at) =>
    isPublished(content)
      ? []
      : [toRecord(content, { messageId: ids[at] as string, sender, nowMs, hashesContent })],
  )
  const published = contents.map((content, at) =>
    address === undefined || !isPublished(content)
      ? undefined
      : services.publish(
          messageOf(content, { address, sender, nowMs, messageId: ids[at] as string }),
        ),
  )
  const request = { kind: 'send', records: direct } as const
  const reply = direct.length > 0 ? await ask(call, queue, { kind: 'sent', request }) : undefined
  await Promise.all(published)
  services.latencies.publish.record(services.clock.nowMs() - begunAtMs)
  const outcomes = reply?.outcomes[Symbol.iterator]()
  return contents.map((content, at) => {
    const id = ids[at] as string
    const outcome = isPublished(content) ? undefined : outcomes?.next().value
    if (outcome?.kind === 'full') return new SqsError('RequestThrottled', 'The queue is full.')
    services.counts.messagesIn++
    return sentOf(content, { id, outcome, queue })
  })
}

function sentOf(
  content: MessageContent,
  sent: { id: string; outcome: SendOutcome | undefined; queue: KnownQueue },
): SentContent {
  const { outcome, id, queue } = sent
  const stored = outcome === undefined || outcome.kind === 'full' ? undefined : outcome
  return {
    MessageId: stored?.messageId ?? id,
    MD5OfMessageBody: md5(content.MessageBody),
    MD5OfMessageAttributes: attributesMd5(content.MessageAttributes),
    MD5OfMessageSystemAttributes: attributesMd5(content.MessageSystemAttributes),
    SequenceNumber:
      stored !== undefined && isFifo(queue) ? sequenceNumber(stored.sequence) : undefined,
  }
}

/**
 * A queue that is bound to just one address stands for it: what is sent to the queue is published there. Not for an
 * ordered queue: its answers tell what the queue has made of the message.
 */
function addressOf(queue: KnownQueue): string | undefined {
  const [only, ...more] = queue.bindings
  if (only === undefined || more.length > 0 || /[+#]/.test(only) || isFifo(queue)) return undefined
  return only
}

function messageOf(
  content: MessageContent,
  sent: { address: string; sender: string; nowMs: number; messageId: string },
): Message {
  return {
    address: sent.address,
    guarantee: 1,
    retain: false,
    payload: Buffer.from(content.MessageBody),
    dialect: 'sqs',
    properties: publishedProperties(content),
    timestampMs: sent.nowMs,
    expiresAtMs: 0,
    publisher: sent.sender,
    token: sent.messageId,
  }
}
