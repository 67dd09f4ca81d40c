/** Queues themselves: CreateQueue, DeleteQueue, GetQueueUrl, ListQueues, PurgeQueue. */
import type { KnownQueue, QueueChange } from '../../../core/queues/queues.ts'
import {
  type Attributes,
  attributesOf,
  changeOf,
  DIALECT,
  ownOf,
  policyOfNew,
} from '../attributes.ts'
import { ask, type Call, findQueue, queueAt, queueNamed } from '../call.ts'
import { invalidParameter, noSuchQueue, SqsError } from '../errors.ts'
import { PAGE_MAX, PURGE_EVERY_MS } from '../limits.ts'
import { isAccount, isQueueName, queueUrl, tenantOf } from '../mapping.ts'
import type { Input, Output } from '../packets.ts'
import { pageOf } from '../pages.ts'
import { isSameRedrivePolicy } from '../redrive-policy.ts'
import { authorize, mayUse } from '../rights.ts'
import { checkTags, taggedWith } from '../tags.ts'
import { linkedChange } from './queue-attributes.ts'

export async function createQueue(
  { QueueName, Attributes = {}, tags = {} }: Input<'CreateQueue'>,
  call: Call,
): Promise<Output<'CreateQueue'>> {
  const { services, caller, origin } = call
  const isFifoQueue = checkQueueName(QueueName, Attributes)
  const tenant = tenantOf(caller.account)
  authorize(call, 'CreateQueue', { tenant, name: QueueName })
  checkTags(tags)
  const known = findQueue(call, { account: caller.account, name: QueueName })
  if (known !== undefined) {
    checkSame(known, Attributes, call)
    return { QueueUrl: queueUrl(origin, known) }
  }
  const asked = linkedChange(Attributes, {
    ...{ queue: { tenant, name: QueueName }, isFifoQueue, call },
    change: changeOf(Attributes, isFifoQueue, {}),
  })
  const seconds = secondsOf(call)
  const times = { CreatedTimestamp: seconds, LastModifiedTimestamp: seconds }
  const change: QueueChange = {
    policy: { ...policyOfNew(isFifoQueue), ...asked.policy },
    dialects: { [DIALECT]: { ...times, ...present(asked.own), ...taggedWith(tags) } },
  }
  const { queue, existed } = await services.queues.create(QueueName, change, tenant)
  if (existed) checkSame(queue, Attributes, call)
  return { QueueUrl: queueUrl(origin, queue) }
}

/** Whether it is to be an ordered queue. Throws SqsError. */
function checkQueueName(name: string, attributes: Attributes): boolean {
  const isFifoQueue = attributes['FifoQueue']?.toLowerCase() === 'true'
  if (isFifoQueue && !(isQueueName(name) && name.endsWith('.fifo'))) {
    throw invalidParameter(
      'The name of a FIFO queue can only include alphanumeric characters, hyphens, or underscores, must end with .fifo suffix and be 1 to 80 in length.',
    )
  }
  if (!isQueueName(name) || name.endsWith('.fifo') !== isFifoQueue) {
    throw invalidParameter(
      'Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length',
    )
  }
  return isFifoQueue
}

/** A queue that is there already is as good, if it is as it was asked for. Throws SqsError QueueNameExists. */
function checkSame(queue: KnownQueue, asked: Attributes, call: Call): void {
  const has = attributesOf(queue, call.region)
  for (const [name, value] of Object.entries(asked)) {
    const own = has[name]
    const isSame =
      name === 'RedrivePolicy' && own !== undefined
        ? isSameRedrivePolicy(own, value)
        : (own ?? '').toLowerCase() === value.toLowerCase()
    if (isSame) continue
    const message = `A queue already exists with the same name and a different value for attribute ${name}`
    throw new SqsError('QueueNameExists', message)
  }
}

function present(own: Readonly<Record<string, string | undefined>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(own).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])),
  )
}

function secondsOf({ services }: Call): string {
  return String(Math.floor(services.clock.wallMs() / 1_000))
}

export async function deleteQueue(
  { QueueUrl }: Input<'DeleteQueue'>,
  call: Call,
): Promise<Output<'DeleteQueue'>> {
  const queue = queueAt(call, QueueUrl)
  authorize(call, 'DeleteQueue', queue)
  const existed = await call.services.queues.delete(queue.name, queue.tenant)
  if (!existed) throw noSuchQueue()
  return {}
}

export async function getQueueUrl(
  { QueueName, QueueOwnerAWSAccountId }: Input<'GetQueueUrl'>,
  call: Call,
): Promise<Output<'GetQueueUrl'>> {
  const account = QueueOwnerAWSAccountId ?? call.caller.account
  if (QueueOwnerAWSAccountId !== undefined && !isAccount(QueueOwnerAWSAccountId)) {
    throw invalidParameter(
      `Value ${QueueOwnerAWSAccountId} for parameter QueueOwnerAWSAccountId is invalid. Reason: Must be the 12 digits of an account.`,
    )
  }
  const queue = queueNamed(call, { account, name: QueueName })
  authorize(call, 'GetQueueUrl', queue)
  return { QueueUrl: queueUrl(call.origin, queue) }
}

export async function listQueues(
  { QueueNamePrefix = '', NextToken, MaxResults }: Input<'ListQueues'>,
  call: Call,
): Promise<Output<'ListQueues'>> {
  const { services, caller, origin } = call
  const all = services.queues
    .list(tenantOf(caller.account))
    .filter(({ name }) => name.startsWith(QueueNamePrefix) && isQueueName(name))
    .filter((queue) => mayUse(caller, 'ListQueues', queue))
  const { items, next } = pageOf(all, { token: NextToken, size: MaxResults, most: PAGE_MAX })
  if (items.length === 0) return {}
  return {
    QueueUrls: items.map((queue) => queueUrl(origin, queue)),
    ...(next !== undefined && { NextToken: next }),
  }
}

export async function purgeQueue(
  { QueueUrl }: Input<'PurgeQueue'>,
  call: Call,
): Promise<Output<'PurgeQueue'>> {
  const queue = queueAt(call, QueueUrl)
  authorize(call, 'PurgeQueue', queue)
  const nowMs = call.services.clock.wallMs()
  // Kept with the queue, so that every broker knows of it.
  await setPurged(queue, call, (before) => {
    if (nowMs - Number(before['PurgedAt'] ?? 0) < PURGE_EVERY_MS) {
      const message = `Only one PurgeQueue operation on ${queue.name} is allowed every 60 seconds.`
      throw new SqsError('PurgeQueueInProgress', message)
    }
    return { ...before, PurgedAt: String(nowMs) }
  })
  try {
    await ask(call, queue, { kind: 'done', request: { kind: 'purge' } })
  } catch (error) {
    await setPurged(queue, call, ({ PurgedAt: _, ...before }) => before)
    throw error
  }
  return {}
}

async function setPurged(
  { name, tenant }: KnownQueue,
  { services }: Call,
  edit: (own: Attributes) => Attributes,
): Promise<void> {
  await services.queues.change(
    name,
    (queue) => ({ dialects: { [DIALECT]: edit(ownOf(queue)) } }),
    tenant,
  )
}
