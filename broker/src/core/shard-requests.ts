/** What brokers ask of the owner of a shard, besides appending messages. Every request may be repeated. */
import type { ClaimRequest } from './claims.ts'
import type { GroupLeave, GroupMember, GroupSettle } from './groups/hosted-groups.ts'
import type { Message, Subscription } from './message.ts'
import type { SessionAddress } from './ports/connections.ts'
import type { QueueCall } from './queues/queue-call.ts'
import type { QueueReply } from './queues/queue-requests.ts'
import type { ScheduleRequest } from './schedule.ts'
import type {
  Attached,
  AttachRequest,
  DetachRequest,
  ReattachRequest,
} from './sessions/attach-requests.ts'
import type { JoinOutcome, TransactionCall } from './transactions/transaction-requests.ts'

export type ShardRequest =
  | { readonly kind: 'attach'; readonly attach: AttachRequest }
  | { readonly kind: 'reattach'; readonly reattach: ReattachRequest }
  /** The client has been told that it is connected: deliveries may begin. */
  | { readonly kind: 'start'; readonly to: SessionAddress }
  | { readonly kind: 'detach'; readonly detach: DetachRequest }
  | {
      readonly kind: 'subscribe'
      readonly to: SessionAddress
      readonly subscriptions: readonly Subscription[]
    }
  | {
      readonly kind: 'unsubscribe'
      readonly to: SessionAddress
      readonly filters: readonly string[]
    }
  | {
      readonly kind: 'incoming'
      readonly to: SessionAddress
      readonly packetId: number
      /** Undefined: forget it. */
      readonly token: string | undefined
    }
  | { readonly kind: 'release'; readonly to: SessionAddress; readonly offset: number }
  | {
      /** Retained messages for a new subscription of a durable session. */
      readonly kind: 'enqueue'
      readonly to: SessionAddress
      readonly messages: readonly Enqueued[]
    }
  /** Whether the session is there and subscribed, or connected and may be. */
  | { readonly kind: 'holds'; readonly session: string; readonly filter: string }
  | { readonly kind: 'claim'; readonly claim: ClaimRequest }
  | ({ readonly kind: 'retained'; readonly filter: string } & RetainedPosition)
  | { readonly kind: 'schedule'; readonly schedule: ScheduleRequest }
  | { readonly kind: 'join'; readonly member: GroupMember }
  | { readonly kind: 'leave'; readonly leave: GroupLeave }
  | { readonly kind: 'settle'; readonly settle: GroupSettle }
  | { readonly kind: 'queue'; readonly call: QueueCall }
  | { readonly kind: 'transaction'; readonly call: TransactionCall }

export type ShardReply =
  | {
      readonly status: 'ok'
      readonly attached?: Attached
      readonly existed?: readonly boolean[]
      /** Of a claim. */
      readonly holder?: string
      readonly retained?: readonly Message[]
      readonly queue?: QueueReply
      readonly transaction?: JoinOutcome
      /** There are more retained messages than fit in one answer. */
      readonly next?: RetainedPosition
    }
  /** Ask the owner; nothing was done. */
  | { readonly status: 'not-owner' }
  | { readonly status: 'taken-over' }
  /** The outcome is unknown. */
  | { readonly status: 'failed'; readonly detail: string }
  | { readonly status: 'refused'; readonly detail: string }
  /** There is nothing of that name. */
  | { readonly status: 'not-found'; readonly detail: string }

export interface Enqueued {
  readonly message: Message
  readonly identifiers: readonly number[]
}

/** Where a search for retained messages stands. */
export interface RetainedPosition {
  readonly shards: readonly number[]
  /** In the first shard: only addresses that sort after this one. */
  readonly after: string
}
