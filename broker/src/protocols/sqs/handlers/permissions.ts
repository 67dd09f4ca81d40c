/** AddPermission and RemovePermission: statements of the queue's Policy, by their label. */
import type { KnownQueue } from '../../../core/queues/queues.ts'
import { type AttributeChange, ownOf } from '../attributes.ts'
import { type Call, queueAt } from '../call.ts'
import { invalidValue, SqsError } from '../errors.ts'
import { PERMISSIONS_MAX } from '../limits.ts'
import { arnOf, isAccount } from '../mapping.ts'
import type { Input, Output } from '../packets.ts'
import { authorize, type PolicyDocument, parsePolicy, type Statement } from '../rights.ts'
import { changeQueue } from './queue-attributes.ts'

const ACTIONS_MAX = 7
const GRANTABLE: readonly string[] = [
  '*',
  'ChangeMessageVisibility',
  'DeleteMessage',
  'GetQueueAttributes',
  'GetQueueUrl',
  'ListDeadLetterSourceQueues',
  'PurgeQueue',
  'ReceiveMessage',
  'SendMessage',
]

export async function addPermission(
  input: Input<'AddPermission'>,
  call: Call,
): Promise<Output<'AddPermission'>> {
  const queue = queueAt(call, input.QueueUrl)
  authorize(call, 'AddPermission', queue)
  check(input)
  const { Label } = input
  await changeQueue(queue, call, (before) => {
    const policy = policyOf(before, call)
    if (policy.Statement.some(({ Sid }) => Sid === Label)) {
      throw invalidValue(Label, 'Label', 'Already exists.')
    }
    if (policy.Statement.length >= PERMISSIONS_MAX) {
      const message = `${policy.Statement.length} statements were found, maximum allowed is ${PERMISSIONS_MAX}.`
      throw new SqsError('OverLimit', message)
    }
    return withStatements(policy, [...policy.Statement, statementOf(input, before, call)])
  })
  return {}
}

export async function removePermission(
  { QueueUrl, Label }: Input<'RemovePermission'>,
  call: Call,
): Promise<Output<'RemovePermission'>> {
  const queue = queueAt(call, QueueUrl)
  authorize(call, 'RemovePermission', queue)
  await changeQueue(queue, call, (before) => {
    const policy = policyOf(before, call)
    const rest = policy.Statement.filter(({ Sid }) => Sid !== Label)
    if (rest.length === policy.Statement.length) {
      throw invalidValue(Label, 'Label', "can't find label.")
    }
    return withStatements(policy, rest)
  })
  return {}
}

function check({ Label, AWSAccountIds, Actions }: Input<'AddPermission'>): void {
  if (!/^[\w-]{1,80}$/.test(Label)) {
    const reason =
      'Can only include alphanumeric characters, hyphens, or underscores. 1 to 80 in length'
    throw invalidValue(Label, 'Label', reason)
  }
  if (Actions.length > ACTIONS_MAX) {
    const message = `${Actions.length} Actions were found, maximum allowed is ${ACTIONS_MAX}.`
    throw new SqsError('OverLimit', message)
  }
  if (Actions.length === 0) {
    throw new SqsError('MissingParameter', 'The request must contain the parameter Actions.')
  }
  for (const action of Actions) {
    if (GRANTABLE.includes(action)) continue
    const reason = 'Only the queue owner is allowed to invoke this action.'
    throw invalidValue(`SQS:${action}`, 'ActionName', reason)
  }
  if (AWSAccountIds.length === 0 || !AWSAccountIds.every(isAccount)) {
    throw invalidValue(`[${AWSAccountIds.join(', ')}]`, 'PrincipalId', 'Unable to verify.')
  }
}

function statementOf(
  { Label, AWSAccountIds, Actions }: Input<'AddPermission'>,
  queue: KnownQueue,
  { region }: Call,
): Statement {
  return {
    Sid: Label,
    Effect: 'Allow',
    Principal: { AWS: oneOrAll(AWSAccountIds.map((id) => `arn:aws:iam::${id}:root`)) },
    Action: oneOrAll(Actions.map((action) => `SQS:${action}`)),
    Resource: arnOf(queue, region),
  }
}

function oneOrAll(values: readonly string[]): string | readonly string[] {
  return values.length === 1 ? (values[0] as string) : values
}

function policyOf(queue: KnownQueue, { region }: Call): PolicyDocument {
  const known = ownOf(queue)['Policy']
  const policy = known === undefined ? undefined : parsePolicy(known)
  if (policy !== undefined) return policy
  return {
    Version: '2008-10-17',
    Id: `${arnOf(queue, region)}/SQSDefaultPolicy`,
    Statement: [],
  }
}

function withStatements(policy: PolicyDocument, Statement: readonly Statement[]): AttributeChange {
  const own =
    Statement.length === 0
      ? { Policy: undefined }
      : { Policy: JSON.stringify({ ...policy, Statement }) }
  return { policy: {}, own }
}
