/** What a handler is given besides its input: who asks, by which name it came here, and what it may use. */
import type { Message } from '../../core/message.ts'
import type { Clock } from '../../core/ports/clock.ts'
import type { QueueReply, QueueRequest } from '../../core/queues/queue-requests.ts'
import type { AskOptions, KnownQueue, Queues } from '../../core/queues/queues.ts'
import type { Access } from '../../security/access.ts'
import type { ProtocolLatencies } from '../shared/protocol-server.ts'
import { noSuchQueue } from './errors.ts'
import { parseQueueUrl, type QueueName, tenantOf } from './mapping.ts'

export interface Caller {
  /** Undefined: nobody in particular, while there are no users. */
  readonly user: string | undefined
  /** Undefined: everything is allowed. */
  readonly access: Access | undefined
  /** Whose queues are meant by a name alone. */
  readonly account: string
}

export interface SqsCounts {
  messagesIn: number
  messagesOut: number
  acknowledged: number
  redelivered: number
  denied: number
}

export interface SqsServices {
  readonly queues: Queues
  readonly clock: Clock
  /** Resolves when its guarantee holds. */
  readonly publish: (message: Message) => Promise<void>
  /** A UUID. */
  readonly nextId: () => string
  readonly counts: SqsCounts
  readonly latencies: ProtocolLatencies
}

export interface Call {
  readonly services: SqsServices
  readonly caller: Caller
  /** Scheme, host and port as the client knows them. */
  readonly origin: string
  readonly region: string
  /** The request came without escapes: none of its texts has a character that JSON would have had to escape. */
  readonly isUnescaped: boolean
  /** Aborted when the client has gone away; made when it is asked for. */
  readonly signal: () => AbortSignal
}

/** Throws SqsError: InvalidAddress, QueueDoesNotExist. */
export function queueAt(call: Call, url: string): KnownQueue {
  return queueNamed(call, parseQueueUrl(url))
}

/** Throws SqsError QueueDoesNotExist. */
export function queueNamed(call: Call, { account, name }: QueueName): KnownQueue {
  const queue = findQueue(call, { account, name })
  if (queue === undefined) throw noSuchQueue()
  return queue
}

export function findQueue(
  { services }: Call,
  { account, name }: QueueName,
): KnownQueue | undefined {
  return services.queues.get(name, tenantOf(account))
}

/** Rejects with BrokerError. The reply is of the kind that the request asks for. */
export async function ask<K extends QueueReply['kind']>(
  { services }: Call,
  queue: KnownQueue,
  { kind, request, signal }: { kind: K; request: QueueRequest; signal?: AbortSignal },
): Promise<Extract<QueueReply, { kind: K }>> {
  const options: AskOptions = { tenant: queue.tenant, ...(signal && { signal }) }
  const reply = await services.queues.ask(queue.name, request, options)
  if (reply.kind !== kind) throw new Error(`a queue answered ${reply.kind} instead of ${kind}`)
  return reply as Extract<QueueReply, { kind: K }>
}
