/** How members reach each other. Loss, delay, duplication and reordering are survived; forgery is not. */
import type { RaftMember } from '../core/configuration.ts'
import type { RaftMessage, SnapshotHeader } from '../core/messages.ts'

export interface TransportReceiver {
  /** Takes a message; never throws, returns at once. */
  message(message: RaftMessage): void
  /**
   * Takes a snapshot; resolves with the answer for the sender, once it is installed durably or refused.
   * Rejects when the stream breaks or this member stops. An error thrown by `chunks` ends the attempt.
   * The transport must make `chunks` fail when its connection breaks.
   */
  snapshot(header: SnapshotHeader, chunks: AsyncIterable<Uint8Array>): Promise<RaftMessage>
}

export interface Transport {
  /** Begins to accept. Rejects when it cannot (an address in use). Called once. */
  start(receiver: TransportReceiver): Promise<void>
  /**
   * Fire and forget: never throws, may drop (a peer that is away, a full queue), keeps the order per
   * peer while connected. The messages are not changed after the call by either side.
   */
  send(to: RaftMember, messages: readonly RaftMessage[]): void
  /** Resolves with the follower's answer; rejects when the stream or the peer breaks. One per peer at a time. */
  sendSnapshot(
    to: RaftMember,
    header: SnapshotHeader,
    chunks: AsyncIterable<Uint8Array>,
  ): Promise<RaftMessage>
  /** Idempotent. After it resolves the receiver is not called any more and running streams have failed. */
  stop(): Promise<void>
}
