/**
 * Groups of sessions that share a filter, as the core uses them. A group lives on the shard of its name; its owner
 * decides who gets which message. How is in `functions/group-shard.ts`.
 */
import type { Guarantee, Message, Subscription } from '../message.ts'
import type { SessionAddress } from '../ports/connections.ts'
import type { QueuePosition } from '../queues/queue-requests.ts'
import type { Lease } from '../queues/receipt.ts'
import type { CommitOutcome } from '../shard-writer.ts'

export interface GroupMember {
  /** The shared filter, as it was subscribed to. */
  readonly group: string
  readonly to: SessionAddress
  readonly node: string
  readonly nodeEpoch: number
  /** It stays a member while it is not connected. */
  readonly durable: boolean
  readonly subscription: Subscription
  /** Messages under way to it at most. */
  readonly window: number
}

export interface GroupLeave {
  readonly group: string
  readonly to: SessionAddress
  /** Else only the connection has ended. */
  readonly forever: boolean
}

/** Names one giving of a message of a group. */
export interface GroupReceipt extends QueuePosition {
  /** Of the group's making. */
  readonly id: number
  readonly lease: Lease
}

export interface GroupDelivery {
  readonly group: string
  readonly message: Message
  /** As the member gets it. */
  readonly guarantee: Guarantee
  readonly retain: boolean
  readonly identifier: number
  readonly redelivered: boolean
  /** Undefined: nothing is to be said of it. */
  readonly receipt: GroupReceipt | undefined
}

export interface GroupSettle {
  readonly group: string
  readonly to: SessionAddress
  /** The member has these: nobody else gets them. */
  readonly done: readonly GroupReceipt[]
  /** Messages that are not under way to it any more. */
  readonly credit: number
}

export interface HostedGroups {
  /** Rejects with a StorageError. */
  load(): Promise<void>
  start(): void
  /** Shared filters, as they were subscribed to. */
  groups(): string[]
  /** Gives the message to every group that it matches. `done` runs when that is durable, or the shard is lost. */
  append(message: Message, done: (outcome: CommitOutcome) => void): void
  /** Resolves when no publish acknowledged from then on can miss the group. */
  join(member: GroupMember): Promise<void>
  leave(leave: GroupLeave): Promise<void>
  settle(settle: GroupSettle): Promise<void>
  /** After the load, and whenever the members of the cluster change. */
  checkMembers(): void
  stop(): void
}
