/** What a handler is given with each request. */
import type { Clock } from '../../core/ports/clock.ts'
import type { Latencies } from '../../core/ports/telemetry.ts'
import type { TopicLogs } from '../../core/topics/topic-logs.ts'
import type { Transactions } from '../../core/transactions/transactions.ts'
import type { Access } from '../../security/access.ts'
import type { FetchSessions } from './fetch-sessions.ts'
import type { Coordinator } from './groups/coordinator.ts'
import type { Members } from './mapping.ts'
import type { RequestHeader } from './packets.ts'

export interface Counts {
  messagesIn: number
  messagesOut: number
  denied: number
}

export interface Services {
  readonly topics: TopicLogs
  readonly members: Members
  readonly coordinator: Coordinator
  /** Told when owners of shards have changed: what waits for a partition looks again. */
  readonly onOwners: Set<() => void>
  readonly clock: Clock
  readonly counts: Counts
  readonly produceLatency: Latencies
  readonly transactions: Transactions
  readonly fetchSessions: FetchSessions
  /** Never given twice in the cluster. */
  readonly nextProducerId: () => number
}

export interface Caller {
  /** Its address. */
  readonly remote: string
  /** Undefined: everything is allowed. */
  readonly access: Access | undefined
  /** The client has gone, or is sent away: nothing need be waited for. */
  readonly gone: AbortSignal
}

export interface Call extends Caller {
  readonly services: Services
  readonly header: RequestHeader
}

export function mayWrite({ access, services }: Call, topic: string): boolean {
  return counted(services, access === undefined || access.mayPublish(topic))
}

export function mayRead({ access, services }: Call, topic: string): boolean {
  return counted(services, access === undefined || access.maySubscribe(topic))
}

/** Whoever may do both. */
export function mayManage(call: Call, topic: string): boolean {
  return mayWrite(call, topic) && mayRead(call, topic)
}

export function maySee({ access }: Call, topic: string): boolean {
  return access === undefined || access.mayPublish(topic) || access.maySubscribe(topic)
}

function counted({ counts }: Services, isAllowed: boolean): boolean {
  if (!isAllowed) counts.denied++
  return isAllowed
}
