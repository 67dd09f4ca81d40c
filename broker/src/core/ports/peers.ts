/**
 * The other brokers. One ordered, batched stream to each; a lost stream is made again by itself. A reply
 * of `undefined` says that the stream broke: the outcome is unknown.
 */
import type { Message } from '../message.ts'
import type { FilterChange } from '../router.ts'
import type { ShardReply, ShardRequest } from '../shard-requests.ts'
import type { SessionAddress } from './connections.ts'

/**
 * Where a shard puts a message: into the inboxes of its sessions that want it, to its groups that want it, to the
 * retained, or into a log.
 */
export type Place =
  | { readonly kind: 'sessions' | 'groups' | 'retained'; readonly shard: number }
  | { readonly kind: 'log'; readonly shard: number; readonly log: string }

export interface PublishItem {
  readonly message: Message
  /** Deliver to live subscribers. */
  readonly live: boolean
  readonly places: readonly Place[]
}

export interface PublishReply {
  /** Which of the places, by their position, the peer does not serve. */
  readonly refused: readonly number[]
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
  request(node: string, shard: number, request: ShardRequest): Promise<ShardReply | undefined>
  acknowledge(node: string, to: SessionAddress, offsets: readonly number[]): void
  /** Resolves when every peer that is a member has it, or is no member any more. */
  announceLive(change: FilterChange): Promise<void>
  announceShard(shard: number, epoch: number, change: FilterChange): Promise<void>
}
