/** A shard that this broker owns: its writer and what lives on it, opened, served and closed together. */
import type { ClaimShard } from './claims.ts'
import { BrokerError } from './errors.ts'
import type { HostedGroups } from './groups/hosted-groups.ts'
import { RETAINED_PAGE_BYTES } from './limits.ts'
import type { LogShard } from './logs/log-shard.ts'
import type { Message } from './message.ts'
import type { Clock } from './ports/clock.ts'
import type { Place } from './ports/peers.ts'
import type { HostedQueues } from './queues/hosted-queues.ts'
import type { RetainedShard } from './retained-shard.ts'
import type { HostedSchedule } from './schedule.ts'
import type { SessionShard } from './sessions/session-shard.ts'
import type { ShardReply, ShardRequest } from './shard-requests.ts'
import type { PlaceOutcome, ShardWriter } from './shard-writer.ts'
import type { LogRelays } from './topics/log-relays.ts'
import type { TransactionCoordinator } from './transactions/transaction-coordinator.ts'
import type { TransactionParticipant } from './transactions/transaction-participant.ts'
import type { TransactionCall } from './transactions/transaction-requests.ts'

export interface HostedShard {
  readonly shard: number
  readonly epoch: number
  readonly writer: ShardWriter
  readonly sessions: SessionShard
  readonly groups: HostedGroups
  readonly schedule: HostedSchedule
  readonly retained: RetainedShard
  readonly claims: ClaimShard
  readonly logs: LogShard
  readonly queues: HostedQueues
  readonly transactions: HostedTransactions
  readonly relays: LogRelays
}

export interface HostedTransactions {
  readonly coordinator: TransactionCoordinator
  readonly participant: TransactionParticipant
}

/** The shards that this broker serves now. */
export class HostedShards {
  readonly #shards = new Map<number, HostedShard>()

  get(shard: number): HostedShard | undefined {
    return this.#shards.get(shard)
  }

  all(): IterableIterator<HostedShard> {
    return this.#shards.values()
  }

  add(hosted: HostedShard): void {
    this.#shards.set(hosted.shard, hosted)
  }

  remove(shard: number): void {
    this.#shards.delete(shard)
  }
}

/** `done` runs when the message is durable on the shard. False: the shard is not served here. */
export function appendTo(
  hosted: HostedShard | undefined,
  entry: { readonly message: Message; readonly place: Place },
  done: (outcome: PlaceOutcome) => void,
): boolean {
  if (hosted === undefined || hosted.writer.lost) return false
  const { message, place } = entry
  switch (place.kind) {
    case 'sessions':
      hosted.sessions.append(message, done)
      return true
    case 'groups':
      hosted.groups.append(message, done)
      return true
    case 'retained':
      hosted.retained.store(message, done)
      return true
    case 'log':
      hosted.logs.keep(place.log, message, done)
      return true
    case 'queue':
      hosted.queues.append(place, message, done)
      return true
    default:
      return place satisfies never
  }
}

export interface AnswerOptions {
  readonly request: ShardRequest
  readonly clock: Clock
  /** The caller has given up. */
  readonly signal?: AbortSignal | undefined
}

export async function answer(
  hosted: HostedShards,
  shard: number,
  options: AnswerOptions,
): Promise<ShardReply> {
  const target = hosted.get(shard)
  if (target === undefined || target.writer.lost) return { status: 'not-owner' }
  try {
    return await dispatch(hosted, target, options)
  } catch (error) {
    if (error instanceof BrokerError) {
      if (error.code === 'TAKEN_OVER') return { status: 'taken-over' }
      if (error.code === 'UNAVAILABLE') return { status: 'not-owner' }
      if (error.code === 'NOT_FOUND') return { status: 'not-found', detail: error.message }
      return { status: 'refused', detail: error.message }
    }
    return { status: 'failed', detail: error instanceof Error ? error.message : String(error) }
  }
}

async function dispatch(
  hosted: HostedShards,
  target: HostedShard,
  options: AnswerOptions,
): Promise<ShardReply> {
  const { request } = options
  const { sessions, groups } = target
  switch (request.kind) {
    case 'attach':
      return { status: 'ok', attached: await sessions.attach(request.attach) }
    case 'reattach':
      return { status: (await sessions.reattach(request.reattach)) ? 'ok' : 'taken-over' }
    case 'start':
      sessions.start(request.to)
      return { status: 'ok' }
    case 'detach':
      await sessions.detach(request.detach)
      return { status: 'ok' }
    case 'subscribe':
      return { status: 'ok', existed: await sessions.subscribe(request.to, request.subscriptions) }
    case 'unsubscribe':
      return { status: 'ok', existed: await sessions.unsubscribe(request.to, request.filters) }
    case 'incoming':
      await sessions.noteIncoming(request.to, request.packetId, request.token)
      return { status: 'ok' }
    case 'release':
      await sessions.release(request.to, request.offset)
      return { status: 'ok' }
    case 'enqueue':
      await sessions.enqueue(request.to, request.messages)
      return { status: 'ok' }
    case 'schedule':
      await target.schedule.schedule(request.schedule.message, request.schedule.dueAtMs)
      return { status: 'ok' }
    case 'join':
      await groups.join(request.member)
      return { status: 'ok' }
    case 'leave':
      await groups.leave(request.leave)
      return { status: 'ok' }
    case 'settle':
      await groups.settle(request.settle)
      return { status: 'ok' }
    case 'queue':
      return { status: 'ok', queue: await target.queues.handle(request.call, options.signal) }
    case 'transaction':
      return answerTransaction(target, request.call)
    case 'holds':
      return { status: 'ok', existed: [sessions.holds(request.session, request.filter)] }
    case 'claim':
      return { status: 'ok', holder: await target.claims.claim(request.claim) }
    case 'retained':
      return findRetained(hosted, request, options.clock.wallMs())
    default:
      return request satisfies never
  }
}

async function answerTransaction(
  { transactions }: HostedShard,
  call: TransactionCall,
): Promise<ShardReply> {
  if (call.kind === 'join') {
    return { status: 'ok', transaction: await transactions.coordinator.join(call.id, call.join) }
  }
  await transactions.participant.end(call.end)
  return { status: 'ok' }
}

async function findRetained(
  hosted: HostedShards,
  request: Extract<ShardRequest, { kind: 'retained' }>,
  nowMs: number,
): Promise<ShardReply> {
  const retained: Message[] = []
  let bytesMax = RETAINED_PAGE_BYTES
  let after = request.after
  for (const [index, shard] of request.shards.entries()) {
    const target = hosted.get(shard)
    if (target === undefined || target.writer.lost) return { status: 'not-owner' }
    const found = await target.retained.find(request.filter, { after, bytesMax, nowMs })
    retained.push(...found.messages)
    bytesMax -= found.bytes
    const shards = request.shards.slice(index)
    if (found.next !== undefined)
      return { status: 'ok', retained, next: { shards, after: found.next } }
    after = ''
    const rest = shards.slice(1)
    if (bytesMax <= 0 && rest.length > 0) {
      return { status: 'ok', retained, next: { shards: rest, after } }
    }
  }
  return { status: 'ok', retained }
}
