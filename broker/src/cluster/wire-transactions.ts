/** What is said of transactions, to and from the messages of `broker.proto`. Only shapes; no decisions. */
import { broker } from '@robust/proto'
import type { TransactionFault } from '../core/transactions/transaction.ts'
import type {
  JoinOutcome,
  TransactionCall,
  TransactionEnd,
} from '../core/transactions/transaction-requests.ts'

type WireRequest = Extract<
  NonNullable<broker.ShardRequest['kind']>,
  { readonly $case: 'transactionJoin' | 'transactionEnd' }
>

export function toWireTransaction(call: TransactionCall): WireRequest {
  if (call.kind === 'join') {
    const { producerId, epoch: producerEpoch, adds, partitions, groups } = call.join
    const who = { id: call.id, producerId, producerEpoch, adds }
    const value = { ...who, partitions: [...partitions], groups: [...groups] }
    return { $case: 'transactionJoin', value }
  }
  const { epoch: producerEpoch, logs, groups, ...rest } = call.end
  const value = { ...rest, producerEpoch, logs: [...logs], groups: [...groups] }
  return { $case: 'transactionEnd', value }
}

export function fromWireJoinCall(wire: broker.TransactionJoin): TransactionCall {
  const { id, producerEpoch: epoch, ...rest } = wire
  return { kind: 'join', id, join: { ...rest, epoch } }
}

export function fromWireEnd({ producerEpoch: epoch, ...rest }: broker.TransactionEnd) {
  const end: TransactionEnd = { ...rest, epoch }
  return { kind: 'end', end } as const
}

const FAULTS = {
  'unknown-producer': broker.TransactionFault.TRANSACTION_FAULT_UNKNOWN_PRODUCER,
  fenced: broker.TransactionFault.TRANSACTION_FAULT_FENCED,
  busy: broker.TransactionFault.TRANSACTION_FAULT_BUSY,
  'wrong-state': broker.TransactionFault.TRANSACTION_FAULT_WRONG_STATE,
  'not-in-it': broker.TransactionFault.TRANSACTION_FAULT_NOT_IN_IT,
  full: broker.TransactionFault.TRANSACTION_FAULT_FULL,
  lost: broker.TransactionFault.TRANSACTION_FAULT_LOST,
} as const satisfies Record<TransactionFault, broker.TransactionFault>

const BY_WIRE: ReadonlyMap<number, TransactionFault> = new Map(
  Object.entries(FAULTS).map(([fault, wire]) => [wire, fault as TransactionFault]),
)

export function toWireJoined(outcome: JoinOutcome): broker.TransactionJoined {
  if ('fault' in outcome) return { fault: FAULTS[outcome.fault], sequence: 0 }
  return { fault: broker.TransactionFault.TRANSACTION_FAULT_NONE, sequence: outcome.sequence }
}

export function fromWireJoined({ fault, sequence }: broker.TransactionJoined): JoinOutcome {
  if (fault === broker.TransactionFault.TRANSACTION_FAULT_NONE) return { sequence }
  return { fault: BY_WIRE.get(fault) ?? 'lost' }
}
