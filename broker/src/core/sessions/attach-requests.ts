/** How a connection gets a session and lets it go. */
import type { Subscription } from '../message.ts'
import type { Attachment, SessionAddress } from '../ports/connections.ts'
import type { Will } from './session.ts'

export interface AttachRequest {
  readonly session: string
  readonly node: string
  readonly nodeEpoch: number
  readonly cleanStart: boolean
  readonly user?: string
  /** Nobody but the user that has the session may take it over. */
  readonly ownerOnly?: boolean
  readonly expirySeconds: number
  /** Messages in flight towards the client. */
  readonly window: number
  readonly will: Will | undefined
}

export interface Attached {
  readonly attachment: Attachment
  readonly present: boolean
  /** The session has an inbox, whatever becomes of it when this connection ends. */
  readonly durable: boolean
  readonly subscriptions: readonly Subscription[]
  readonly incoming: ReadonlyMap<number, string>
}

export interface ReattachRequest extends Omit<AttachRequest, 'cleanStart'> {
  readonly attachment: Attachment
}

export interface DetachRequest {
  readonly to: SessionAddress
  readonly publishWill: boolean
  /** Set when the client changed it while it disconnected. */
  readonly expirySeconds: number | undefined
}
