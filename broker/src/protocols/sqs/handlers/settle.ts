/** DeleteMessage and ChangeMessageVisibility, one or a batch: by receipts, whichever owner of the queue gave them. */
import type {
  Settlement,
  SettlementAction,
  SettlementOutcome,
} from '../../../core/queues/queue-requests.ts'
import type { KnownQueue } from '../../../core/queues/queues.ts'
import { checkEntries, failureOf } from '../batches.ts'
import { ask, type Call, queueAt } from '../call.ts'
import { invalidParameter, invalidValue, SqsError, sqsErrorOf } from '../errors.ts'
import { VISIBILITY_SECONDS_MAX } from '../limits.ts'
import { decodeHandle, isFifo } from '../mapping.ts'
import type { Failure, Input, Output } from '../packets.ts'
import { authorize } from '../rights.ts'
import { checkVisibility } from './receive.ts'

interface Order {
  readonly handle: string
  readonly action: (receivedAtMs: number) => SettlementAction
  /** Undefined: it was done. */
  readonly refusal: (outcome: SettlementOutcome) => SqsError | undefined
}

export async function deleteMessage(
  { QueueUrl, ReceiptHandle }: Input<'DeleteMessage'>,
  call: Call,
): Promise<Output<'DeleteMessage'>> {
  const queue = queueAt(call, QueueUrl)
  authorize(call, 'DeleteMessage', queue)
  await settleOne(deletion(ReceiptHandle, queue), queue, call)
  return {}
}

export function deleteMessageBatch(
  { QueueUrl, Entries }: Input<'DeleteMessageBatch'>,
  call: Call,
): Promise<Output<'DeleteMessageBatch'>> {
  const queue = queueAt(call, QueueUrl)
  authorize(call, 'DeleteMessageBatch', queue)
  const entries = checkEntries('DeleteMessageBatchRequestEntry', Entries)
  return settleAll(entries, ({ ReceiptHandle }) => deletion(ReceiptHandle, queue), { queue, call })
}

export async function changeMessageVisibility(
  { QueueUrl, ReceiptHandle, VisibilityTimeout }: Input<'ChangeMessageVisibility'>,
  call: Call,
): Promise<Output<'ChangeMessageVisibility'>> {
  const queue = queueAt(call, QueueUrl)
  authorize(call, 'ChangeMessageVisibility', queue)
  await settleOne(extension(ReceiptHandle, VisibilityTimeout, call), queue, call)
  return {}
}

export function changeMessageVisibilityBatch(
  { QueueUrl, Entries }: Input<'ChangeMessageVisibilityBatch'>,
  call: Call,
): Promise<Output<'ChangeMessageVisibilityBatch'>> {
  const queue = queueAt(call, QueueUrl)
  authorize(call, 'ChangeMessageVisibilityBatch', queue)
  const entries = checkEntries('ChangeMessageVisibilityBatchRequestEntry', Entries)
  return settleAll(
    entries,
    ({ ReceiptHandle, VisibilityTimeout }) => {
      if (VisibilityTimeout === undefined) {
        throw new SqsError(
          'MissingParameter',
          'The request must contain the parameter VisibilityTimeout.',
        )
      }
      return extension(ReceiptHandle, VisibilityTimeout, call)
    },
    { queue, call },
  )
}

/**
 * A standard queue takes an old receipt and may do nothing. An ordered one refuses it as soon as the visibility timeout
 * is over, though nobody else has the message yet: the group may go on with it at any moment.
 */
function deletion(handle: string, queue: KnownQueue): Order {
  return {
    handle,
    action: () => ({ kind: 'acknowledge', heldOnly: isFifo(queue) }),
    refusal: (outcome) =>
      outcome === 'stale' && isFifo(queue)
        ? invalidValue(handle, 'ReceiptHandle', 'The receipt handle has expired.')
        : undefined,
  }
}

function extension(handle: string, seconds: number, { services }: Call): Order {
  checkVisibility(seconds)
  return {
    handle,
    action: (receivedAtMs) => {
      const heldSeconds = (services.clock.wallMs() - receivedAtMs) / 1_000
      if (seconds > 0 && heldSeconds + seconds > VISIBILITY_SECONDS_MAX + 1) {
        const reason = `Total VisibilityTimeout for the message is beyond the limit [${VISIBILITY_SECONDS_MAX} seconds]`
        throw invalidValue(seconds, 'VisibilityTimeout', reason)
      }
      return { kind: 'extend', leaseMs: seconds * 1_000 }
    },
    refusal: (outcome) => {
      if (outcome === 'done') return undefined
      if (outcome === 'not-leased') {
        return new SqsError('MessageNotInflight', "The specified message isn't in flight.")
      }
      return invalidParameter(
        `Value ${handle} for parameter ReceiptHandle is invalid. Reason: Message does not exist or is not available for visibility timeout change.`,
      )
    },
  }
}

function settlementOf({ handle, action }: Order, queue: KnownQueue): Settlement {
  const { receipt, receivedAtMs } = decodeHandle(handle, queue)
  return { receipt, action: action(receivedAtMs) }
}

async function settleOne(order: Order, queue: KnownQueue, call: Call): Promise<void> {
  const [outcome = 'gone'] = await settle([settlementOf(order, queue)], queue, call)
  const refusal = order.refusal(outcome)
  if (refusal !== undefined) throw refusal
}

async function settleAll<E extends { readonly Id: string }>(
  entries: readonly E[],
  orderOf: (entry: E) => Order,
  { queue, call }: { readonly queue: KnownQueue; readonly call: Call },
) {
  const failed: Failure[] = []
  const asked: { readonly id: string; readonly order: Order; readonly settlement: Settlement }[] =
    []
  for (const entry of entries) {
    try {
      const order = orderOf(entry)
      asked.push({ id: entry.Id, order, settlement: settlementOf(order, queue) })
    } catch (error) {
      const known = sqsErrorOf(error)
      if (known === undefined) throw error
      failed.push(failureOf(entry.Id, known))
    }
  }
  const settlements = asked.map(({ settlement }) => settlement)
  const outcomes = asked.length === 0 ? [] : await settle(settlements, queue, call)
  const successful = asked.flatMap(({ id, order }, at) => {
    const refusal = order.refusal(outcomes[at] ?? 'gone')
    if (refusal === undefined) return [{ Id: id }]
    failed.push(failureOf(id, refusal))
    return []
  })
  return { Successful: successful, ...(failed.length > 0 && { Failed: failed }) }
}

async function settle(
  settlements: readonly Settlement[],
  queue: KnownQueue,
  call: Call,
): Promise<readonly SettlementOutcome[]> {
  const request = { kind: 'settle', settlements } as const
  const { outcomes } = await ask(call, queue, { kind: 'settled', request })
  settlements.forEach(({ action }, at) => {
    if (action.kind === 'acknowledge' && outcomes[at] === 'done')
      call.services.counts.acknowledged++
  })
  return outcomes
}
