/** What brokers ask of each other about transactions. Every request may be repeated. */
import type { JoinRequest, TransactionFault } from './transaction.ts'

export type TransactionCall =
  /** Of a coordinator, by the owner of a partition or of a group. */
  | { readonly kind: 'join'; readonly id: string; readonly join: JoinRequest }
  /** Of the owner of logs and groups, by the coordinator that has decided. */
  | { readonly kind: 'end'; readonly end: TransactionEnd }

export interface TransactionEnd {
  readonly producerId: number
  readonly epoch: number
  /** Number of the transaction, see transaction.ts. */
  readonly sequence: number
  readonly commit: boolean
  /** Of the shard of the coordinator. */
  readonly coordinatorEpoch: number
  readonly logs: readonly string[]
  readonly groups: readonly string[]
}

export type JoinOutcome =
  | { readonly fault: TransactionFault }
  /** Number of the transaction. */
  | { readonly sequence: number }
