/** Where the dead letters of a queue go, and which queues may send theirs to one. */
import type { KnownQueue } from '../../core/queues/queues.ts'
import { ownOf, type PolicyChange } from './attributes.ts'
import { type Call, findQueue } from './call.ts'
import { invalidValue, type SqsError } from './errors.ts'
import { arnOf, isFifo, parseArn, tenantOf } from './mapping.ts'

type Subject = Pick<KnownQueue, 'tenant' | 'name'>

/** Throws SqsError InvalidParameterValue. */
export function redriveChange(
  text: string,
  { queue, isFifoQueue, call }: { queue: Subject; isFifoQueue: boolean; call: Call },
): PolicyChange {
  if (text === '') return { deadLetterQueue: undefined, deliveriesMax: undefined }
  const refuse = (reason: string): SqsError => invalidValue(text, 'RedrivePolicy', reason)
  const value = parseObject(text)
  if (value === undefined) throw refuse('Redrive policy is not a valid JSON map.')
  for (const name of ['maxReceiveCount', 'deadLetterTargetArn']) {
    if (value[name] === undefined) {
      throw refuse(`Redrive policy does not contain mandatory attribute: ${name}.`)
    }
  }
  const { deadLetterTargetArn, maxReceiveCount } = value
  const count = Number(maxReceiveCount)
  if (!(Number.isInteger(count) && count >= 1 && count <= 1_000)) {
    throw refuse(
      `Invalid value for maxReceiveCount: ${maxReceiveCount}, valid values are from 1 to 1000 both inclusive.`,
    )
  }
  const named = typeof deadLetterTargetArn === 'string' ? parseArn(deadLetterTargetArn) : undefined
  if (named === undefined) throw refuse('Invalid value for deadLetterTargetArn.')
  const target = findQueue(call, named)
  if (target === undefined || target.tenant !== queue.tenant) {
    throw refuse('Dead letter target does not exist.')
  }
  if (isFifo(target) !== isFifoQueue) {
    throw refuse('Dead-letter queue must be same type of queue as the source queue.')
  }
  if (!allows(target, queue)) {
    throw refuse(
      `The redrive allow policy of the queue ${target.name} does not allow this source queue.`,
    )
  }
  return { deadLetterQueue: target.name, deliveriesMax: count }
}

/** What a queue says of those that would send their dead letters to it. */
function allows(target: KnownQueue, source: Subject): boolean {
  const text = ownOf(target)['RedriveAllowPolicy']
  const { redrivePermission = 'allowAll', sourceQueueArns = [] } = text ? JSON.parse(text) : {}
  if (redrivePermission !== 'byQueue') return redrivePermission === 'allowAll'
  return (sourceQueueArns as readonly string[]).some((arn) => isArnOf(arn, source))
}

export function isArnOf(arn: string, { tenant, name }: Subject): boolean {
  const named = parseArn(arn)
  return named !== undefined && tenantOf(named.account) === tenant && named.name === name
}

const SOURCES_MAX = 10
const PERMISSIONS: readonly unknown[] = ['allowAll', 'denyAll', 'byQueue']

/** Throws SqsError InvalidParameterValue. */
export function checkRedriveAllowPolicy(text: string): void {
  const value = parseObject(text)
  const { redrivePermission, sourceQueueArns, ...unknown } = value ?? {}
  const isByQueue = redrivePermission === 'byQueue'
  const arns = Array.isArray(sourceQueueArns) ? sourceQueueArns : []
  const isList =
    sourceQueueArns === undefined
      ? !isByQueue
      : isByQueue &&
        arns.length >= 1 &&
        arns.length <= SOURCES_MAX &&
        arns.every((arn) => typeof arn === 'string' && parseArn(arn) !== undefined)
  const isGood =
    value !== undefined &&
    Object.keys(unknown).length === 0 &&
    PERMISSIONS.includes(redrivePermission) &&
    isList
  if (isGood) return
  const reason =
    "Amazon SQS can't create the redrive allow policy, as it's in an unsupported format."
  throw invalidValue(text, 'RedriveAllowPolicy', reason)
}

/** Whether two say the same, in whatever order and with whatever region. */
export function isSameRedrivePolicy(a: string, b: string): boolean {
  const [one, other] = [parseObject(a), parseObject(b)]
  if (one === undefined || other === undefined) return a === b
  const [arn, otherArn] = [one, other].map(({ deadLetterTargetArn }) => {
    const named = parseArn(String(deadLetterTargetArn))
    return named && arnOf({ tenant: tenantOf(named.account), name: named.name }, '')
  })
  return arn === otherArn && Number(one['maxReceiveCount']) === Number(other['maxReceiveCount'])
}

function parseObject(text: string): Record<string, unknown> | undefined {
  try {
    const value: unknown = JSON.parse(text)
    const isObject = typeof value === 'object' && value !== null && !Array.isArray(value)
    return isObject ? (value as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
