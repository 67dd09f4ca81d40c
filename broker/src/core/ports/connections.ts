/**
 * How the owner of a session reaches the broker that has its client's socket. Sends to one node arrive in
 * order; a send to a node that is gone is dropped, since its connections are gone with it.
 */
import type { GroupDelivery } from '../groups/hosted-groups.ts'
import type { InboxEntry } from '../record.ts'

/** Which connection a session has now. Ids of one session only grow: shard epoch first, then counter. */
export interface Attachment {
  readonly epoch: number
  readonly counter: number
}

export interface Delivery extends InboxEntry {
  readonly redelivered: boolean
  /** Only the release is owed: the client has the message. */
  readonly released: boolean
}

export interface SessionAddress {
  readonly session: string
  readonly attachment: Attachment
}

export interface Connections {
  push(node: string, to: SessionAddress, deliveries: readonly Delivery[]): void
  /** Messages of groups that the session is in, in order. */
  pushShared(node: string, to: SessionAddress, deliveries: readonly GroupDelivery[]): void
  /** Resolves when the connection is closed, or its broker is gone or does not answer in time. */
  evict(node: string, to: SessionAddress): Promise<void>
  /** Whether this incarnation of the broker is a member of the cluster. */
  isMember(node: string, nodeEpoch: number): boolean
}

export function sameAttachment(a: Attachment | undefined, b: Attachment): boolean {
  return a !== undefined && a.epoch === b.epoch && a.counter === b.counter
}

/** True: `a` was given out after `b`. */
export function isNewer(a: Attachment, b: Attachment): boolean {
  return a.epoch > b.epoch || (a.epoch === b.epoch && a.counter > b.counter)
}
