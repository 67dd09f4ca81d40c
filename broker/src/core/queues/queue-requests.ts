/**
 * What brokers ask of the owner of a queue. A request may be repeated when its outcome is not known: sends with a
 * deduplication id, receives with an attempt, everything else by itself.
 */
import type { NewRecord } from '@robust/storage-adapters'
import type { QueueReceipt } from './receipt.ts'

export type QueueRequest =
  | { readonly kind: 'send'; readonly records: readonly NewRecord[] }
  | ({ readonly kind: 'receive' } & ReceiveOptions)
  | { readonly kind: 'settle'; readonly settlements: readonly Settlement[] }
  | { readonly kind: 'peek'; readonly max: number; readonly after: QueuePosition | undefined }
  | { readonly kind: 'figures' }
  | { readonly kind: 'purge' }
  /** A delayed message, by what its send was answered with. */
  | { readonly kind: 'cancel'; readonly handle: string }
  | { readonly kind: 'delayed'; readonly max: number; readonly after: string }
  | { readonly kind: 'prepare'; readonly transaction: string; readonly record: NewRecord }
  | { readonly kind: 'decide'; readonly transaction: string; readonly commit: boolean }
  | { readonly kind: 'redrive'; readonly redrive: RedriveRequest }

/** Attempts that brokers make up themselves begin so: they outlive a broken stream, not a client. */
export const BROKER_ATTEMPT = '\0'

export interface ReceiveOptions {
  readonly max: number
  /** How long to wait for the first message. */
  readonly waitMs: number
  /** Undefined: the queue's. */
  readonly leaseMs: number | undefined
  /** The same again gets the same messages, while their leases hold. */
  readonly attempt: string | undefined
  /** Several messages of one group at once, in order. */
  readonly wholeGroups: boolean
  /** Of a selector; undefined everything. */
  readonly selector: string | undefined
}

export interface Settlement {
  readonly receipt: QueueReceipt
  readonly action: SettlementAction
}

export type SettlementAction =
  /** `heldOnly`: it counts only while the lease lasts; else also later, until the message is given to another. */
  | { readonly kind: 'acknowledge'; readonly heldOnly?: boolean }
  /** Back to the queue: at once, after the delay, or as the queue retries when undefined. */
  | { readonly kind: 'release'; readonly delayMs: number | undefined; readonly failed: boolean }
  /** From now on. */
  | { readonly kind: 'extend'; readonly leaseMs: number }
  /** Dead-lettered, or dropped where there is no dead-letter queue. */
  | { readonly kind: 'reject' }

/** `stale`: the lease had ended, and the message was given to another or is about to be; nothing was done. `gone`: no such message any more. */
export type SettlementOutcome = 'done' | 'stale' | 'gone' | 'not-leased'

export type SendOutcome =
  | {
      readonly kind: 'stored'
      readonly messageId: string
      readonly sequence: number
      readonly handle: string
    }
  /** Stored before, as this. */
  | { readonly kind: 'duplicate'; readonly messageId: string; readonly sequence: number }
  | { readonly kind: 'full' }

export interface Received {
  readonly receipt: QueueReceipt
  readonly record: NewRecord
  readonly sequence: number
  /** This one included. */
  readonly deliveries: number
  /** Wall clock, ms. */
  readonly firstDeliveredAtMs: number
}

export interface QueuePosition {
  readonly level: number
  readonly offset: number
}

export interface Peeked extends QueuePosition {
  readonly record: NewRecord
  readonly deliveries: number
}

export interface Delayed {
  readonly handle: string
  readonly dueAtMs: number
  readonly record: NewRecord
}

export interface QueueFigures {
  readonly ready: number
  readonly inFlight: number
  readonly delayed: number
  readonly bytes: number
  /** Age of the oldest ready message, ms; 0 when there is none. */
  readonly oldestAgeMs: number
  readonly consumers: number
}

export type RedriveRequest =
  | {
      readonly kind: 'start'
      readonly to: string | undefined
      readonly perSecondMax: number | undefined
    }
  | { readonly kind: 'cancel'; readonly task: string }
  | { readonly kind: 'list' }

export type RedriveState = 'running' | 'completed' | 'cancelling' | 'cancelled' | 'failed'

export interface RedriveTask {
  readonly task: string
  readonly state: RedriveState
  readonly to: string | undefined
  readonly perSecondMax: number | undefined
  readonly moved: number
  /** Ready when it began. */
  readonly toMove: number
  readonly startedAtMs: number
  readonly failure: string | undefined
}

export type QueueReply =
  | { readonly kind: 'sent'; readonly outcomes: readonly SendOutcome[] }
  | {
      readonly kind: 'received'
      readonly messages: readonly Received[]
      readonly overLimit: boolean
    }
  | { readonly kind: 'settled'; readonly outcomes: readonly SettlementOutcome[] }
  | { readonly kind: 'peeked'; readonly messages: readonly Peeked[] }
  | { readonly kind: 'figures'; readonly figures: QueueFigures }
  | { readonly kind: 'done'; readonly existed: boolean }
  | { readonly kind: 'delayed'; readonly messages: readonly Delayed[] }
  | { readonly kind: 'redrives'; readonly tasks: readonly RedriveTask[] }
