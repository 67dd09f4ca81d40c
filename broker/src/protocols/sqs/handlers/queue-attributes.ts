/** GetQueueAttributes and SetQueueAttributes, and the tags of a queue. */
import type { KnownQueue } from '../../../core/queues/queues.ts'
import {
  type AttributeChange,
  type Attributes,
  attributesOf,
  changeOf,
  checkNames,
  DIALECT,
  figuresOf,
  invalidAttribute,
  ownOf,
} from '../attributes.ts'
import { ask, type Call, queueAt } from '../call.ts'
import { isFifo } from '../mapping.ts'
import type { Input, Output } from '../packets.ts'
import { checkRedriveAllowPolicy, redriveChange } from '../redrive-policy.ts'
import { authorize, parsePolicy } from '../rights.ts'
import { checkTags, taggedWith, tagName, tagsOf } from '../tags.ts'

export async function getQueueAttributes(
  { QueueUrl, AttributeNames = [] }: Input<'GetQueueAttributes'>,
  call: Call,
): Promise<Output<'GetQueueAttributes'>> {
  const queue = queueAt(call, QueueUrl)
  authorize(call, 'GetQueueAttributes', queue)
  checkNames(AttributeNames)
  if (AttributeNames.length === 0) return {}
  const isAll = AttributeNames.includes('All')
  const wantsFigures = isAll || AttributeNames.some((name) => name.startsWith('Approximate'))
  const request = { kind: 'figures' } as const
  const figures = wantsFigures
    ? figuresOf((await ask(call, queue, { kind: 'figures', request })).figures)
    : {}
  const all = { ...attributesOf(queue, call.region), ...figures }
  if (isAll) return { Attributes: all }
  const chosen = AttributeNames.flatMap((name) => {
    const value = (all as Record<string, string | undefined>)[name]
    return value === undefined ? [] : [[name, value] as const]
  })
  return chosen.length === 0 ? {} : { Attributes: Object.fromEntries(chosen) }
}

export async function setQueueAttributes(
  { QueueUrl, Attributes }: Input<'SetQueueAttributes'>,
  call: Call,
): Promise<Output<'SetQueueAttributes'>> {
  const queue = queueAt(call, QueueUrl)
  authorize(call, 'SetQueueAttributes', queue)
  await changeQueue(queue, call, (before) => {
    const isFifoQueue = isFifo(before)
    const { policy, own } = linkedChange(Attributes, {
      ...{ queue: before, isFifoQueue, call },
      change: changeOf(Attributes, isFifoQueue, attributesOf(before, call.region)),
    })
    return { policy, own }
  })
  return {}
}

interface Linked {
  readonly queue: Pick<KnownQueue, 'tenant' | 'name'>
  readonly isFifoQueue: boolean
  readonly call: Call
  readonly change: AttributeChange
}

/** With the attributes that name other queues or users. Throws SqsError. */
export function linkedChange(
  attributes: Attributes,
  { queue, isFifoQueue, call, change }: Linked,
): AttributeChange {
  const { RedrivePolicy, RedriveAllowPolicy, Policy } = attributes
  if (Policy && parsePolicy(Policy) === undefined) throw invalidAttribute('Policy')
  if (RedriveAllowPolicy) checkRedriveAllowPolicy(RedriveAllowPolicy)
  if (RedrivePolicy === undefined) return change
  const redrive = redriveChange(RedrivePolicy, { queue, isFifoQueue, call })
  return { ...change, policy: { ...change.policy, ...redrive } }
}

/** By compare-and-set; `edit` may be asked again. Rejects with what it throws, and with BrokerError. */
export async function changeQueue(
  { name, tenant }: KnownQueue,
  { services }: Call,
  edit: (before: KnownQueue) => AttributeChange,
): Promise<void> {
  const seconds = String(Math.floor(services.clock.wallMs() / 1_000))
  await services.queues.change(
    name,
    (before) => {
      const { policy, own } = edit(before)
      const after: Record<string, string> = { ...ownOf(before), LastModifiedTimestamp: seconds }
      for (const [key, value] of Object.entries(own)) {
        if (value === undefined) delete after[key]
        else after[key] = value
      }
      return { policy, dialects: { [DIALECT]: after } }
    },
    tenant,
  )
}

export async function tagQueue(
  { QueueUrl, Tags }: Input<'TagQueue'>,
  call: Call,
): Promise<Output<'TagQueue'>> {
  const queue = queueAt(call, QueueUrl)
  authorize(call, 'TagQueue', queue)
  await changeQueue(queue, call, (before) => {
    checkTags({ ...tagsOf(before), ...Tags })
    return { policy: {}, own: taggedWith(Tags) }
  })
  return {}
}

export async function untagQueue(
  { QueueUrl, TagKeys }: Input<'UntagQueue'>,
  call: Call,
): Promise<Output<'UntagQueue'>> {
  const queue = queueAt(call, QueueUrl)
  authorize(call, 'UntagQueue', queue)
  const gone = Object.fromEntries(TagKeys.map((key) => [tagName(key), undefined]))
  await changeQueue(queue, call, () => ({ policy: {}, own: gone }))
  return {}
}

export async function listQueueTags(
  { QueueUrl }: Input<'ListQueueTags'>,
  call: Call,
): Promise<Output<'ListQueueTags'>> {
  const queue = queueAt(call, QueueUrl)
  authorize(call, 'ListQueueTags', queue)
  const tags = tagsOf(queue)
  return Object.keys(tags).length === 0 ? {} : { Tags: tags }
}
