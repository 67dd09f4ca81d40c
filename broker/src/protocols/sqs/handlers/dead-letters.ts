/** ListDeadLetterSourceQueues, and the tasks that move dead letters back or elsewhere. */
import { BrokerError } from '../../../core/errors.ts'
import type { RedriveRequest, RedriveTask } from '../../../core/queues/queue-requests.ts'
import type { KnownQueue } from '../../../core/queues/queues.ts'
import { ask, type Call, findQueue, queueAt } from '../call.ts'
import { invalidParameter, invalidValue, SqsError } from '../errors.ts'
import { MOVE_TASKS_LISTED_MAX, MOVES_PER_SECOND_MAX, PAGE_MAX } from '../limits.ts'
import { arnOf, parseArn, queueUrl } from '../mapping.ts'
import type { Input, Output } from '../packets.ts'
import { pageOf } from '../pages.ts'
import { authorize } from '../rights.ts'

export async function listDeadLetterSourceQueues(
  { QueueUrl, NextToken, MaxResults }: Input<'ListDeadLetterSourceQueues'>,
  call: Call,
): Promise<Output<'ListDeadLetterSourceQueues'>> {
  const queue = queueAt(call, QueueUrl)
  authorize(call, 'ListDeadLetterSourceQueues', queue)
  const page = { token: NextToken, size: MaxResults, most: PAGE_MAX }
  const { items, next } = pageOf(sourcesOf(queue, call), page)
  return {
    queueUrls: items.map((source) => queueUrl(call.origin, source)),
    ...(next !== undefined && { NextToken: next }),
  }
}

function sourcesOf({ tenant, name }: KnownQueue, { services }: Call): readonly KnownQueue[] {
  return services.queues.list(tenant).filter(({ policy }) => policy.deadLetterQueue === name)
}

export async function startMessageMoveTask(
  input: Input<'StartMessageMoveTask'>,
  call: Call,
): Promise<Output<'StartMessageMoveTask'>> {
  const { SourceArn, DestinationArn, MaxNumberOfMessagesPerSecond: perSecondMax } = input
  const source = queueByArn(SourceArn, 'SourceArn', call)
  authorize(call, 'StartMessageMoveTask', source)
  if (perSecondMax !== undefined && (perSecondMax < 1 || perSecondMax > MOVES_PER_SECOND_MAX)) {
    const reason = `Must be between 1 and ${MOVES_PER_SECOND_MAX}, if provided.`
    throw invalidValue(perSecondMax, 'MaxNumberOfMessagesPerSecond', reason)
  }
  if (sourcesOf(source, call).length === 0) {
    throw invalidParameter('Source queue must be configured as a Dead Letter Queue.')
  }
  const target =
    DestinationArn === undefined ? undefined : queueByArn(DestinationArn, 'DestinationArn', call)
  if (target !== undefined) {
    authorize(call, 'SendMessage', target)
    if (target.tenant !== source.tenant) throw noResource('DestinationArn')
    if (target.id === source.id) {
      throw invalidParameter('Source queue arn and destination queue arn cannot be the same.')
    }
  }
  const request = { kind: 'start', to: target?.name, perSecondMax } as const
  try {
    const [task] = await redrive(request, source, call)
    if (task === undefined) throw new Error('a task was started without a name')
    return { TaskHandle: encodeTask(task.task, SourceArn) }
  } catch (error) {
    if (!(error instanceof BrokerError) || error.code !== 'REFUSED') throw error
    throw invalidParameter(
      'There is already a task running. Only one active task is allowed for a source queue arn at a given time.',
    )
  }
}

export async function cancelMessageMoveTask(
  { TaskHandle }: Input<'CancelMessageMoveTask'>,
  call: Call,
): Promise<Output<'CancelMessageMoveTask'>> {
  const { task, sourceArn } = decodeTask(TaskHandle)
  const source = queueByArn(sourceArn, 'SourceArn', call)
  authorize(call, 'CancelMessageMoveTask', source)
  try {
    const [cancelled] = await redrive({ kind: 'cancel', task }, source, call)
    return { ApproximateNumberOfMessagesMoved: cancelled?.moved ?? 0 }
  } catch (error) {
    if (!(error instanceof BrokerError) || error.code !== 'NOT_FOUND') throw error
    throw new SqsError('ResourceNotFoundException', 'Task does not exist.')
  }
}

export async function listMessageMoveTasks(
  { SourceArn, MaxResults = 1 }: Input<'ListMessageMoveTasks'>,
  call: Call,
): Promise<Output<'ListMessageMoveTasks'>> {
  const source = queueByArn(SourceArn, 'SourceArn', call)
  authorize(call, 'ListMessageMoveTasks', source)
  if (MaxResults < 1 || MaxResults > MOVE_TASKS_LISTED_MAX) {
    const reason = `Must be between 1 and ${MOVE_TASKS_LISTED_MAX}, if provided.`
    throw invalidValue(MaxResults, 'MaxResults', reason)
  }
  const tasks = await redrive({ kind: 'list' }, source, call)
  return {
    Results: tasks
      .slice(0, MaxResults)
      .map((task) => writtenTask(task, { source, call, SourceArn })),
  }
}

function writtenTask(
  task: RedriveTask,
  { source, call, SourceArn }: { source: KnownQueue; call: Call; SourceArn: string },
) {
  const { state, to, perSecondMax, moved, toMove, startedAtMs, failure } = task
  return {
    ...(state === 'running' && { TaskHandle: encodeTask(task.task, SourceArn) }),
    Status: state.toUpperCase(),
    SourceArn,
    ...(to !== undefined && {
      DestinationArn: arnOf({ tenant: source.tenant, name: to }, call.region),
    }),
    ...(perSecondMax !== undefined && { MaxNumberOfMessagesPerSecond: perSecondMax }),
    ApproximateNumberOfMessagesMoved: moved,
    ApproximateNumberOfMessagesToMove: toMove,
    // The one cause there is: the queue to move to has gone.
    ...(failure !== undefined && { FailureReason: 'AWS.SimpleQueueService.NonExistentQueue' }),
    StartedTimestamp: Math.round(startedAtMs),
  }
}

async function redrive(
  request: RedriveRequest,
  source: KnownQueue,
  call: Call,
): Promise<readonly RedriveTask[]> {
  const asked = { kind: 'redrives', request: { kind: 'redrive', redrive: request } } as const
  return (await ask(call, source, asked)).tasks
}

function queueByArn(arn: string, parameter: string, call: Call): KnownQueue {
  const named = parseArn(arn)
  if (named === undefined) {
    throw invalidParameter(
      `You must use this format to specify the ${parameter}: arn:<partition>:<service>:<region>:<account-id>:<resource-id>`,
    )
  }
  const queue = findQueue(call, named)
  if (queue === undefined) throw noResource(parameter)
  return queue
}

function noResource(parameter: string): SqsError {
  const message = `The resource that you specified for the ${parameter} parameter doesn't exist.`
  return new SqsError('ResourceNotFoundException', message)
}

/** It says where its task is, so any broker can be asked. */
function encodeTask(task: string, sourceArn: string): string {
  return Buffer.from(JSON.stringify({ taskId: task, sourceArn })).toString('base64')
}

function decodeTask(handle: string): { readonly task: string; readonly sourceArn: string } {
  try {
    const { taskId, sourceArn } = JSON.parse(Buffer.from(handle, 'base64').toString())
    if (typeof taskId === 'string' && typeof sourceArn === 'string') {
      return { task: taskId, sourceArn }
    }
  } catch {
    // As what follows.
  }
  throw invalidParameter('Value for parameter TaskHandle is invalid.')
}
