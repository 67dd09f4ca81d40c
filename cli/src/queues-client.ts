/** Queues, through any broker: it finds the owner. */
import type { admin } from '@robust/proto'
import { askAny } from './administration-client.ts'
import { askBroker } from './clients.ts'
import { CliError } from './errors.ts'
import { exitCodes } from './exit-codes.ts'

/** Where to ask, and for which queue. */
export interface NamedQueue {
  readonly addresses: readonly string[]
  readonly name: string
}

type Client = admin.BrokerAdminClient
/** Longer than a broker looks for the owner of a queue. */
const CALL_MS = 20_000

/** Throws NO_SUCH_QUEUE, UNREACHABLE or REFUSED, as all below. */
function ask<T>(
  { addresses, name }: NamedQueue,
  invoke: Parameters<typeof askBroker<T>>[1],
  waitMs = 0,
): Promise<T> {
  const options = { deadlineMs: CALL_MS + waitMs, missing: noSuchQueue(name) }
  return askAny(addresses, (address) => askBroker(address, invoke, options))
}

export function createQueue(
  queue: NamedQueue,
  settings: Pick<admin.QueueSettings, 'config' | 'bindings'>,
): Promise<admin.CreateQueueReply> {
  const request = { tenant: '', name: queue.name, ...settings }
  return ask(queue, (client: Client, call, done) =>
    client.createQueue(request, call.metadata, call.options, done),
  )
}

export function changeQueue(
  queue: NamedQueue,
  settings: Pick<admin.QueueSettings, 'config' | 'bindings'>,
): Promise<admin.Queue> {
  const request = { tenant: '', name: queue.name, ...settings }
  return ask(queue, (client: Client, call, done) =>
    client.changeQueue(request, call.metadata, call.options, done),
  )
}

export async function deleteQueue(queue: NamedQueue): Promise<void> {
  const reply = await ask<admin.ExistedReply>(queue, (client, call, done) =>
    client.deleteQueue({ tenant: '', name: queue.name }, call.metadata, call.options, done),
  )
  if (!reply.existed) throw noSuchQueue(queue.name)
}

export async function listQueues(
  addresses: readonly string[],
  page: admin.ListRequest,
): Promise<readonly admin.Queue[]> {
  const { queues } = await ask<admin.ListQueuesReply>(
    { addresses, name: '' },
    (client, call, done) =>
      client.listQueues({ tenant: '', page }, call.metadata, call.options, done),
  )
  return queues
}

export function describeQueue(queue: NamedQueue): Promise<admin.Queue> {
  return ask(queue, (client: Client, call, done) =>
    client.describeQueue({ tenant: '', name: queue.name }, call.metadata, call.options, done),
  )
}

export async function sendToQueue(
  queue: NamedQueue,
  { values, headers }: Pick<admin.SendToQueueRequest, 'values' | 'headers'>,
): Promise<readonly admin.SentToQueue[]> {
  const request = { tenant: '', name: queue.name, values, headers }
  const { sent } = await ask<admin.SendToQueueReply>(queue, (client, call, done) =>
    client.sendToQueue(request, call.metadata, call.options, done),
  )
  return sent
}

export async function peekQueue(
  queue: NamedQueue,
  max: number,
): Promise<readonly admin.QueueMessage[]> {
  const request = { tenant: '', name: queue.name, max }
  const { messages } = await ask<admin.QueueMessages>(queue, (client, call, done) =>
    client.peekQueue(request, call.metadata, call.options, done),
  )
  return messages
}

export async function receiveFromQueue(
  queue: NamedQueue,
  asked: Pick<admin.ReceiveFromQueueRequest, 'max' | 'waitMs' | 'leaseMs'>,
): Promise<readonly admin.QueueMessage[]> {
  const request = { tenant: '', name: queue.name, ...asked }
  const { messages } = await ask<admin.QueueMessages>(
    queue,
    (client, call, done) => client.receiveFromQueue(request, call.metadata, call.options, done),
    asked.waitMs,
  )
  return messages
}

/** Resolves with how many were acknowledged: the others had been given to somebody else. */
export async function acknowledgeInQueue(
  queue: NamedQueue,
  receipts: readonly string[],
): Promise<number> {
  const request = { tenant: '', name: queue.name, receipts: [...receipts], release: false }
  const { outcomes } = await ask<admin.SettleInQueueReply>(queue, (client, call, done) =>
    client.settleInQueue(request, call.metadata, call.options, done),
  )
  return outcomes.filter((outcome) => outcome === 'done').length
}

export async function purgeQueue(queue: NamedQueue): Promise<void> {
  await ask<admin.ExistedReply>(queue, (client, call, done) =>
    client.purgeQueue({ tenant: '', name: queue.name }, call.metadata, call.options, done),
  )
}

export function startRedrive(
  queue: NamedQueue,
  { to, perSecondMax }: { readonly to?: string; readonly perSecondMax?: number },
): Promise<admin.Redrive> {
  const request = { tenant: '', name: queue.name, to, perSecondMax }
  return ask(queue, (client: Client, call, done) =>
    client.startRedrive(request, call.metadata, call.options, done),
  )
}

/** The newest first. */
export async function listRedrives(queue: NamedQueue): Promise<readonly admin.Redrive[]> {
  const { redrives } = await ask<admin.ListRedrivesReply>(queue, (client, call, done) =>
    client.listRedrives({ tenant: '', name: queue.name }, call.metadata, call.options, done),
  )
  return redrives
}

export function cancelRedrive(queue: NamedQueue, task: string): Promise<admin.Redrive> {
  const request = { tenant: '', name: queue.name, task }
  return ask(queue, (client: Client, call, done) =>
    client.cancelRedrive(request, call.metadata, call.options, done),
  )
}

export function noSuchQueue(name: string): CliError {
  return new CliError('NO_SUCH_QUEUE', {
    message: `there is no queue ${name}`,
    hint: 'robust queue list',
    exit: exitCodes.notFound,
  })
}
