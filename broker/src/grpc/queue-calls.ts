/** What operators ask of queues, on the wire. */
import { type admin, type QueueConfig, refusalOfQueue } from '@robust/proto'
import { configOf, policyOf } from '../cluster/queue-directory.ts'
import { BrokerError } from '../core/errors.ts'
import type { Clock } from '../core/ports/clock.ts'
import type { Directory } from '../core/ports/directory.ts'
import { HEADER, textHeader } from '../core/queues/headers.ts'
import { queueKey } from '../core/queues/queue-key.ts'
import { DEFAULT_QUEUE_POLICY } from '../core/queues/queue-policy.ts'
import type {
  Peeked,
  QueueReply,
  QueueRequest,
  RedriveTask,
} from '../core/queues/queue-requests.ts'
import type { KnownQueue, QueueChange, Queues } from '../core/queues/queues.ts'
import { decodeReceipt, encodeReceipt } from '../core/queues/receipt.ts'
import { shardOf } from '../core/shard-hash.ts'
import { answering } from './answering.ts'

export interface QueueCallsOptions {
  readonly queues: Queues
  readonly directory: Directory
  readonly clock: Clock
}

type QueueCallName =
  | 'createQueue'
  | 'changeQueue'
  | 'deleteQueue'
  | 'listQueues'
  | 'describeQueue'
  | 'sendToQueue'
  | 'peekQueue'
  | 'receiveFromQueue'
  | 'settleInQueue'
  | 'purgeQueue'
  | 'startRedrive'
  | 'listRedrives'
  | 'cancelRedrive'

const LIST_DEFAULT = 100
const LIST_MAX = 1_000
const PEEK_DEFAULT = 100
const RECEIVE_MAX = 1_000
/** So that the one who asks is still there. */
const WAIT_MAX_MS = 60_000
/** Counts are of use at once or not at all. */
const COUNTS_MS = 1_000

export function createQueueCalls(
  options: QueueCallsOptions,
): Pick<admin.BrokerAdminServer, QueueCallName> {
  return { ...definitionCalls(options), ...messageCalls(options), ...redriveCalls(options) }
}

function definitionCalls(options: QueueCallsOptions) {
  const { queues } = options
  return {
    createQueue: answering(async ({ tenant, name, ...settings }: admin.QueueSettings) => {
      const change = changeOf(name, settings, DEFAULT_QUEUE_POLICY)
      const { queue, existed } = await queues.create(name, change, tenantOf(tenant))
      return { queue: await described(options, queue), existed }
    }),
    changeQueue: answering(async ({ tenant, name, ...settings }: admin.QueueSettings) => {
      const change = ({ policy }: KnownQueue) => changeOf(name, settings, policy)
      return described(options, await queues.change(name, change, tenantOf(tenant)))
    }),
    deleteQueue: answering(async ({ tenant, name }: admin.NamedQueue) => ({
      existed: await queues.delete(name, tenantOf(tenant)),
    })),
    listQueues: answering(async ({ tenant, page }: admin.ListQueuesRequest) => {
      const { filter = '', after = '', limit = 0 } = page ?? {}
      const found = queues
        .list(tenantOf(tenant))
        .filter(({ name }) => name > after && name.includes(filter))
        .slice(0, Math.min(limit || LIST_DEFAULT, LIST_MAX))
      return { queues: await Promise.all(found.map((queue) => described(options, queue))) }
    }),
    describeQueue: answering(async ({ tenant, name }: admin.NamedQueue) => {
      const queue = queues.get(name, tenantOf(tenant))
      if (queue !== undefined) return described(options, queue)
      // Rejects: why it is not there is known by whom it is asked of.
      await ask(queues, { tenant, name }, { kind: 'figures' }, 'figures')
      throw new BrokerError('UNAVAILABLE', `queue ${name} came a moment ago`)
    }),
  }
}

function messageCalls({ queues, clock }: QueueCallsOptions) {
  return {
    sendToQueue: answering(async (request: admin.SendToQueueRequest) => {
      const headers = request.headers.map(({ name, value }) => [name, value] as const)
      const timestamp = clock.wallMs()
      const records = request.values.map((value) => ({ timestamp, key: null, value, headers }))
      const { outcomes } = await ask(queues, request, { kind: 'send', records }, 'sent')
      return { sent: outcomes.map((outcome) => ({ messageId: '', sequence: 0, ...outcome })) }
    }),
    peekQueue: answering(async (request: admin.PeekQueueRequest) => {
      const asked = { kind: 'peek', max: request.max || PEEK_DEFAULT, after: undefined } as const
      const { messages } = await ask(queues, request, asked, 'peeked')
      return {
        messages: messages.map(({ record, deliveries }) => toMessage(record, deliveries, '')),
      }
    }),
    receiveFromQueue: answering(async (request: admin.ReceiveFromQueueRequest, signal) => {
      const { name, tenant, max, waitMs, leaseMs } = request
      const asked = {
        kind: 'receive',
        max: Math.min(max || 1, RECEIVE_MAX),
        waitMs: Math.min(waitMs, WAIT_MAX_MS),
        ...{ leaseMs, attempt: undefined, wholeGroups: false, selector: undefined },
      } as const
      const reply = await queues.ask(name, asked, { tenant: tenantOf(tenant), signal })
      const messages = reply.kind === 'received' ? reply.messages : []
      return {
        messages: messages.map(({ record, deliveries, receipt }) =>
          toMessage(record, deliveries, encodeReceipt(receipt)),
        ),
      }
    }),
    settleInQueue: answering(async (request: admin.SettleInQueueRequest) => {
      const action = request.release
        ? ({ kind: 'release', delayMs: 0, failed: false } as const)
        : ({ kind: 'acknowledge' } as const)
      const settlements = request.receipts.map((text) => {
        const receipt = decodeReceipt(text)
        if (receipt === undefined) throw new BrokerError('REFUSED', `${text} is no receipt`)
        return { receipt, action }
      })
      const { outcomes } = await ask(queues, request, { kind: 'settle', settlements }, 'settled')
      return { outcomes: [...outcomes] }
    }),
    purgeQueue: answering(async (request: admin.NamedQueue) => {
      const { existed } = await ask(queues, request, { kind: 'purge' }, 'done')
      return { existed }
    }),
  }
}

function redriveCalls({ queues }: QueueCallsOptions) {
  const redrives = async (
    named: admin.NamedQueue,
    redrive: Extract<QueueRequest, { kind: 'redrive' }>['redrive'],
  ): Promise<admin.Redrive[]> => {
    const { tasks } = await ask(queues, named, { kind: 'redrive', redrive }, 'redrives')
    return tasks.map(toRedrive)
  }
  const first = async (found: Promise<admin.Redrive[]>): Promise<admin.Redrive> => {
    const [redrive] = await found
    if (redrive === undefined) throw new BrokerError('NOT_FOUND', 'there is no such task')
    return redrive
  }
  return {
    startRedrive: answering(async ({ to, perSecondMax, ...named }: admin.StartRedriveRequest) => {
      const isThere = to === undefined || queues.get(to, tenantOf(named.tenant)) !== undefined
      if (!isThere) throw new BrokerError('REFUSED', `there is no queue ${to}`)
      return first(redrives(named, { kind: 'start', to, perSecondMax }))
    }),
    listRedrives: answering(async (named: admin.NamedQueue) => ({
      redrives: await redrives(named, { kind: 'list' }),
    })),
    cancelRedrive: answering(({ task, ...named }: admin.CancelRedriveRequest) =>
      first(redrives(named, { kind: 'cancel', task })),
    ),
  }
}

async function ask<K extends QueueReply['kind']>(
  queues: Queues,
  { tenant, name }: { readonly tenant: string; readonly name: string },
  ...[request, kind]: readonly [QueueRequest, K]
): Promise<Extract<QueueReply, { readonly kind: K }>> {
  const reply = await queues.ask(name, request, { tenant: tenantOf(tenant) })
  if (reply.kind !== kind) throw new BrokerError('UNAVAILABLE', `the owner answered ${reply.kind}`)
  return reply as Extract<QueueReply, { readonly kind: K }>
}

function tenantOf(tenant: string): string {
  return tenant === '' ? 'default' : tenant
}

function changeOf(
  name: string,
  { config, bindings }: Pick<admin.QueueSettings, 'config' | 'bindings'>,
  policy: KnownQueue['policy'],
): QueueChange {
  const changes = Object.fromEntries(
    Object.entries(config).map(([setting, json]) => [setting, parse(json)]),
  )
  const filters = bindings?.filters
  const value = { config: changes, ...(filters && { bindings: filters }) }
  const refusal = refusalOfQueue(name, value)
  if (refusal !== undefined) throw new BrokerError('REFUSED', refusal)
  const now = { ...configOf(policy), ...changes } as QueueConfig
  return { policy: policyOf(now), ...(filters && { bindings: filters }) }
}

/** What is no JSON is a word. */
function parse(json: string): unknown {
  try {
    return JSON.parse(json)
  } catch {
    return json
  }
}

async function described(
  { queues, directory }: QueueCallsOptions,
  queue: KnownQueue,
): Promise<admin.Queue> {
  const { tenant, name, id, version, bindings } = queue
  const shard = shardOf('queue', queueKey(tenant, name), directory.shardCount)
  const asked = queues.ask(name, { kind: 'figures' }, { tenant, waitMs: COUNTS_MS })
  const reply = await asked.catch(() => undefined)
  const config = Object.entries(configOf(queue.policy)).map(([setting, value]) => [
    setting,
    JSON.stringify(value),
  ])
  return {
    ...{ name, id, version, shard, bindings: [...bindings] },
    config: Object.fromEntries(config) as Record<string, string>,
    owner: directory.owner(shard)?.node ?? '',
    counts: reply?.kind === 'figures' ? reply.figures : undefined,
  }
}

function toMessage(
  record: Peeked['record'],
  deliveries: number,
  receipt: string,
): admin.QueueMessage {
  const { timestamp, value, headers } = record
  return {
    messageId: textHeader(record, HEADER.messageId) ?? '',
    timestampMs: timestamp,
    deliveries,
    receipt,
    value: value ?? undefined,
    headers: headers.map(([name, content]) => ({ name, value: content })),
  }
}

function toRedrive(task: RedriveTask): admin.Redrive {
  const { to, failure = '', state, moved, toMove, startedAtMs } = task
  return { task: task.task, state, to, moved, toMove, startedAtMs, failure }
}
