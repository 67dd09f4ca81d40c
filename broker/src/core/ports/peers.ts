/**
 * The other brokers. One ordered, batched stream to each; a lost stream is made again by itself. A reply
 * of `undefined` says that the stream broke: the outcome is unknown.
 */
import type { Message } from '../message.ts'
import type { BoundQueue } from '../queues/queue-table.ts'
import type { FilterChange } from '../router.ts'
import type { ShardReply, ShardRequest } from '../shard-requests.ts'
import type { SessionAddress } from './connections.ts'

/**
 * Where a shard puts a message: into the inboxes of its sessions that want it, to its groups that want it, to the
 * retained, into a log, or into a queue that is bound to its address.
 */
export type Place =
  | { readonly kind: 'sessions' | 'groups' | 'retained'; readonly shard: number }
  | { readonly kind: 'log'; readonly shard: number; readonly log: string }
  | ({ readonly kind: 'queue' } & BoundQueue)

export interface PublishItem {
  readonly message: Message
  /** Deliver to live subscribers. */
  readonly live: boolean
  readonly places: readonly Place[]
}

/** Places by their position. */
export interface PublishReply {
  /** The peer does not serve them. */
  readonly refused: readonly number[]
  /** Queues that take no more: the message is not in them. */
  readonly full: readonly number[]
  /** It was to be retained, and a limit is reached. */
  readonly unkept: boolean
}

export interface Peers {
  /** False: there is no stream now and nothing was sent. `onReply` undefined: no reply is wanted. */
  publish(
    node: string,
    item: PublishItem,
    onReply: ((reply: PublishReply | undefined) => void) | undefined,
  ): boolean
  /** `signal`: the caller has given up, and the owner is told; the answer comes nevertheless. */
  request(
    node: string,
    shard: number,
    asked: { readonly request: ShardRequest; readonly signal?: AbortSignal | undefined },
  ): Promise<ShardReply | undefined>
  acknowledge(node: string, to: SessionAddress, offsets: readonly number[]): void
  /** Resolves when every peer that is a member has it, or is no member any more. */
  announceLive(change: FilterChange): Promise<void>
  announceShard(shard: number, epoch: number, change: FilterChange): Promise<void>
}
