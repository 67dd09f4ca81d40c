/** What a handler is given with each request. */
import type { Clock } from '../../core/ports/clock.ts'
import type { Latencies } from '../../core/ports/telemetry.ts'
import type { TopicLogs } from '../../core/topics/topic-logs.ts'
import type { Transactions } from '../../core/transactions/transactions.ts'
import type { Operation, Subject } from '../../security/access.ts'
import type { Permissions } from '../../security/permissions.ts'
import type { ScramUsers } from '../../security/scram-users.ts'
import { CLUSTER_NAME, operationBits } from './acls.ts'
import type { FetchSessions } from './fetch-sessions.ts'
import type { Coordinator } from './groups/coordinator.ts'
import type { GroupConfigs } from './groups/group-configs.ts'
import type { ShareServices } from './groups/share-services.ts'
import type { ClientIdentity } from './identity.ts'
import type { Members } from './mapping.ts'
import type { RequestHeader } from './packets.ts'
import type { ClientQuotas } from './quotas.ts'

export interface Counts {
  messagesIn: number
  messagesOut: number
  denied: number
}

export interface Services {
  readonly topics: TopicLogs
  readonly members: Members
  readonly coordinator: Coordinator
  readonly shares: ShareServices
  readonly groupConfigs: GroupConfigs
  /** Told when owners of shards have changed: what waits for a partition looks again. */
  readonly onOwners: Set<() => void>
  readonly clock: Clock
  readonly counts: Counts
  readonly produceLatency: Latencies
  readonly transactions: Transactions
  readonly fetchSessions: FetchSessions
  /** Never given twice in the cluster. */
  readonly nextProducerId: () => number
  readonly permissions: Permissions
  readonly scramUsers: ScramUsers
  readonly quotas: ClientQuotas
}

export interface Caller {
  /** Its address. */
  readonly remote: string
  readonly identity: ClientIdentity
  /** The client has gone, or is sent away: nothing need be waited for. */
  readonly gone: AbortSignal
  /** It is not read again before so many ms. */
  readonly hush: (ms: number) => void
}

export interface Call extends Caller {
  readonly services: Services
  readonly header: RequestHeader
}

/** Undefined rights: everything is allowed. */
export function may(call: Call, operation: Operation, [on, name]: [Subject, string]): boolean {
  const { access } = call.identity
  return counted(call, access === undefined || access.may(operation, on, name))
}

export function mayWrite(call: Call, topic: string): boolean {
  const { access } = call.identity
  return counted(call, access === undefined || access.mayPublish(topic))
}

export function mayRead(call: Call, topic: string): boolean {
  return may(call, 'subscribe', ['address', topic])
}

/** Whoever may make any topic, or this one. */
export function mayCreate(call: Call, topic: string): boolean {
  const { access } = call.identity
  const mayAny = access === undefined || access.may('create', 'cluster', CLUSTER_NAME)
  return mayAny || may(call, 'create', ['address', topic])
}

/** What is not shown is no attempt that was denied. */
export function maySee({ identity: { access } }: Call, topic: string): boolean {
  return access === undefined || access.may('describe', 'address', topic)
}

/** What the client may do there, as Kafka tells it. */
export function operationsOn({ identity: { access } }: Call, on: Subject, name: string): number {
  return operationBits(on, (operation) => access === undefined || access.may(operation, on, name))
}

function counted({ services: { counts } }: Call, isAllowed: boolean): boolean {
  if (!isAllowed) counts.denied++
  return isAllowed
}
