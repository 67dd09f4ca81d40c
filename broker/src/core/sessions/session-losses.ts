/** Messages that a durable session will not get: somebody is told, and may keep them elsewhere. */
import type { Message } from '../message.ts'

export type LossReason = 'expired' | 'inbox-full' | 'session-ended'

export interface Loss {
  readonly reason: LossReason
  readonly session: string
}

export interface SessionLosses {
  /** In one inbox, those under way to the client included; more are lost. */
  messagesMax(): number
  /**
   * Undefined: nobody wants it. Else it resolves when the message is safe elsewhere; until then it stays, and is
   * told of again by the shard's next owner.
   */
  lost(message: Message, loss: Loss): Promise<void> | undefined
  /** A session has ended since its client was away for too long. */
  sessionExpired(): void
}
