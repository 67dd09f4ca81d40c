/**
 * Attributes of a queue: what the core's policy has for them is set there, so that it holds for every dialect; the
 * rest is kept with the queue as the dialect's own.
 */
import { DEFAULT_QUEUE_POLICY, type QueuePolicy } from '../../core/queues/queue-policy.ts'
import type { QueueFigures } from '../../core/queues/queue-requests.ts'
import type { KnownQueue } from '../../core/queues/queues.ts'
import { SqsError } from './errors.ts'
import { MESSAGE_BYTES_MAX } from './limits.ts'
import { arnOf, isFifo } from './mapping.ts'

export const DIALECT = 'sqs'

export type Attributes = Readonly<Record<string, string>>
type Mutable<T> = { -readonly [K in keyof T]: T[K] }
export type PolicyChange = Mutable<Partial<QueuePolicy>>

const DEDUPLICATION_MS = 300_000

interface NumberAttribute {
  readonly min: number
  readonly max: number
  readonly usual: number
  /** In the policy, as milliseconds; else it is the dialect's own. */
  readonly policy?: 'leaseMs' | 'delayMs' | 'retentionMs'
  /** Shown only where it was set. */
  readonly isOptional?: true
}

const NUMBERS: Readonly<Record<string, NumberAttribute>> = {
  VisibilityTimeout: { min: 0, max: 43_200, usual: 30, policy: 'leaseMs' },
  DelaySeconds: { min: 0, max: 900, usual: 0, policy: 'delayMs' },
  MessageRetentionPeriod: { min: 60, max: 1_209_600, usual: 345_600, policy: 'retentionMs' },
  MaximumMessageSize: { min: 1_024, max: MESSAGE_BYTES_MAX, usual: MESSAGE_BYTES_MAX },
  ReceiveMessageWaitTimeSeconds: { min: 0, max: 20, usual: 0 },
  KmsDataKeyReusePeriodSeconds: { min: 60, max: 86_400, usual: 300, isOptional: true },
}

const FIFO_ONLY: readonly string[] = [
  'FifoQueue',
  'ContentBasedDeduplication',
  'DeduplicationScope',
  'FifoThroughputLimit',
]
const READ_ONLY: readonly string[] = [
  'QueueArn',
  'ApproximateNumberOfMessages',
  'ApproximateNumberOfMessagesNotVisible',
  'ApproximateNumberOfMessagesDelayed',
  'CreatedTimestamp',
  'LastModifiedTimestamp',
]
const OTHERS: readonly string[] = [
  'Policy',
  'RedrivePolicy',
  'RedriveAllowPolicy',
  'KmsMasterKeyId',
  'SqsManagedSseEnabled',
]

export const ATTRIBUTE_NAMES: readonly string[] = [
  ...READ_ONLY,
  ...Object.keys(NUMBERS),
  ...FIFO_ONLY,
  ...OTHERS,
]

export function ownOf({ dialects }: KnownQueue): Attributes {
  return dialects[DIALECT] ?? NOTHING
}

const NOTHING: Attributes = {}

/** Throws SqsError InvalidAttributeName. */
export function checkNames(names: Iterable<string>): void {
  for (const name of names) {
    if (name !== 'All' && !ATTRIBUTE_NAMES.includes(name)) throw unknownAttribute(name)
  }
}

function unknownAttribute(name: string): SqsError {
  return new SqsError('InvalidAttributeName', `Unknown Attribute ${name}.`)
}

export function invalidAttribute(name: string, reason = ''): SqsError {
  const message = `Invalid value for the parameter ${name}.${reason && ` Reason: ${reason}`}`
  return new SqsError('InvalidAttributeValue', message)
}

/** What a new queue has where it does not say. */
export function policyOfNew(isFifoQueue: boolean): PolicyChange {
  const common: PolicyChange = {
    leaseMs: 30_000,
    delayMs: 0,
    retentionMs: 345_600_000,
    deadLetterExpired: false,
    retry: DEFAULT_QUEUE_POLICY.retry,
  }
  if (!isFifoQueue) return { ...common, retentionFrom: 'sent', order: 'none', fair: true }
  return {
    ...common,
    retentionFrom: 'arrival',
    order: 'group',
    fair: false,
    deduplicationMs: DEDUPLICATION_MS,
    deduplicationBy: 'id',
    deduplicationScope: 'queue',
  }
}

export interface AttributeChange {
  readonly policy: PolicyChange
  /** Undefined: it goes. */
  readonly own: Readonly<Record<string, string | undefined>>
}

/**
 * What the attributes ask for; those that name other queues are checked where queues are known. `before`: of the queue
 * as it is. Throws SqsError.
 */
export function changeOf(
  attributes: Attributes,
  isFifoQueue: boolean,
  before: Attributes,
): AttributeChange {
  const policy: PolicyChange = {}
  const own: Record<string, string | undefined> = {}
  for (const [name, value] of Object.entries(attributes)) {
    if (READ_ONLY.includes(name)) throw unknownAttribute(name)
    const number = Object.hasOwn(NUMBERS, name) ? NUMBERS[name] : undefined
    if (number !== undefined) {
      const seconds = wholeNumber(name, value, number)
      if (number.policy === undefined) own[name] = String(seconds)
      else policy[number.policy] = seconds * 1_000
    } else if (FIFO_ONLY.includes(name)) {
      if (!isFifoQueue) throw unknownAttribute(name)
      Object.assign(policy, fifoPolicy(name, value))
      if (name === 'FifoThroughputLimit') own[name] = value
    } else if (OTHERS.includes(name)) {
      if (name !== 'RedrivePolicy') own[name] = value === '' ? undefined : value
    } else {
      throw unknownAttribute(name)
    }
  }
  const after = { ...before, ...attributes }
  checkThroughput(after)
  checkEncryption(own, before)
  return { policy, own }
}

function wholeNumber(name: string, value: string, { min, max }: NumberAttribute): number {
  const number = /^\d{1,10}$/.test(value.trim()) ? Number(value) : Number.NaN
  if (!(number >= min && number <= max)) throw invalidAttribute(name)
  return number
}

function fifoPolicy(name: string, value: string): PolicyChange {
  switch (name) {
    case 'FifoQueue':
      if (value.toLowerCase() !== 'true') {
        throw invalidAttribute(name, 'Modifying queue type is not supported.')
      }
      return {}
    case 'ContentBasedDeduplication':
      return { deduplicationBy: isTrue(name, value) ? 'content' : 'id' }
    case 'DeduplicationScope':
      if (value !== 'queue' && value !== 'messageGroup') throw invalidAttribute(name)
      return { deduplicationScope: value === 'queue' ? 'queue' : 'group' }
    default:
      if (value !== 'perQueue' && value !== 'perMessageGroupId') throw invalidAttribute(name)
      return {}
  }
}

function isTrue(name: string, value: string): boolean {
  const word = value.toLowerCase()
  if (word !== 'true' && word !== 'false') throw invalidAttribute(name)
  return word === 'true'
}

function checkThroughput(after: Attributes): void {
  const { FifoThroughputLimit, DeduplicationScope } = after
  if (FifoThroughputLimit === 'perMessageGroupId' && DeduplicationScope !== 'messageGroup') {
    const message =
      'The perMessageGroupId value is allowed only when the value for DeduplicationScope is messageGroup.'
    throw new SqsError('InvalidAttributeValue', message)
  }
}

/** One kind at a time: setting one ends the other. */
function checkEncryption(own: Record<string, string | undefined>, before: Attributes): void {
  const { SqsManagedSseEnabled, KmsMasterKeyId } = own
  if (SqsManagedSseEnabled !== undefined) {
    own['SqsManagedSseEnabled'] = String(isTrue('SqsManagedSseEnabled', SqsManagedSseEnabled))
  }
  const key = KmsMasterKeyId ?? before['KmsMasterKeyId']
  if (own['SqsManagedSseEnabled'] === 'true' && key !== undefined && key !== '') {
    const message =
      'You can use one type of server-side encryption (SSE) at one time. You can either enable KMS SSE or SQS SSE.'
    throw new SqsError('InvalidAttributeName', message)
  }
  if (KmsMasterKeyId !== undefined) own['SqsManagedSseEnabled'] = 'false'
}

/** Everything but the figures. */
export function attributesOf(queue: KnownQueue, region: string): Record<string, string> {
  const own = ownOf(queue)
  const { policy } = queue
  const shown: Record<string, string> = {
    QueueArn: arnOf(queue, region),
    CreatedTimestamp: own['CreatedTimestamp'] ?? '0',
    LastModifiedTimestamp: own['LastModifiedTimestamp'] ?? own['CreatedTimestamp'] ?? '0',
  }
  for (const [name, number] of Object.entries(NUMBERS)) {
    if (number.policy !== undefined) {
      const ms = policy[number.policy]
      // A queue of another dialect may have more than can be told here.
      const seconds = ms === undefined ? number.max : Math.min(number.max, Math.round(ms / 1_000))
      shown[name] = String(seconds)
    } else if (own[name] !== undefined || number.isOptional !== true) {
      shown[name] = own[name] ?? String(number.usual)
    }
  }
  shown['SqsManagedSseEnabled'] = own['SqsManagedSseEnabled'] ?? 'true'
  if (isFifo(queue)) {
    shown['FifoQueue'] = 'true'
    shown['ContentBasedDeduplication'] = String(policy.deduplicationBy === 'content')
    shown['DeduplicationScope'] = policy.deduplicationScope === 'group' ? 'messageGroup' : 'queue'
    shown['FifoThroughputLimit'] = own['FifoThroughputLimit'] ?? 'perQueue'
  }
  for (const name of ['Policy', 'RedriveAllowPolicy', 'KmsMasterKeyId']) {
    if (own[name] !== undefined) shown[name] = own[name]
  }
  const { deadLetterQueue, deliveriesMax } = policy
  if (deadLetterQueue !== undefined && deliveriesMax !== undefined) {
    const deadLetterTargetArn = arnOf({ tenant: queue.tenant, name: deadLetterQueue }, region)
    shown['RedrivePolicy'] = JSON.stringify({ deadLetterTargetArn, maxReceiveCount: deliveriesMax })
  }
  return shown
}

export function figuresOf({ ready, inFlight, delayed }: QueueFigures): Record<string, string> {
  return {
    ApproximateNumberOfMessages: String(ready),
    ApproximateNumberOfMessagesNotVisible: String(inFlight),
    ApproximateNumberOfMessagesDelayed: String(delayed),
  }
}

export function numberOf(
  queue: KnownQueue,
  name: 'MaximumMessageSize' | 'ReceiveMessageWaitTimeSeconds',
) {
  const stored = ownOf(queue)[name]
  return stored === undefined ? (NUMBERS[name] as NumberAttribute).usual : Number(stored)
}
