/** What owners of queues answer, to and from the messages of `broker.proto`. Only shapes; no decisions. */
import { broker } from '@robust/proto'
import type { NewRecord } from '@robust/storage-adapters'
import type {
  QueueReply,
  RedriveState,
  RedriveTask,
  SendOutcome,
  SettlementOutcome,
} from '../core/queues/queue-requests.ts'
import { fromWireReceipt, fromWireRecords, toWireReceipt, toWireRecords } from './wire-queues.ts'

type WireReply = NonNullable<broker.QueueAnswer['reply']>

export function toWireAnswer(reply: QueueReply): broker.QueueAnswer {
  return { reply: toWireReply(reply) }
}

function toWireReply(reply: QueueReply): WireReply {
  switch (reply.kind) {
    case 'sent':
      return { $case: 'sent', value: { outcomes: reply.outcomes.map(toWireSendOutcome) } }
    case 'received': {
      const { messages, overLimit } = reply
      const deliveries = messages.map(({ receipt, sequence, deliveries: count, ...rest }) => ({
        receipt: toWireReceipt(receipt),
        sequence,
        deliveries: count,
        firstDeliveredAtMs: rest.firstDeliveredAtMs,
      }))
      return { $case: 'received', value: { records: recordsOf(messages), deliveries, overLimit } }
    }
    case 'settled': {
      const outcomes = reply.outcomes.map((outcome) => SETTLED[outcome])
      return { $case: 'settled', value: { outcomes } }
    }
    case 'peeked': {
      const places = reply.messages.map(({ level, offset, deliveries }) => ({
        level,
        offset,
        deliveries,
      }))
      return { $case: 'peeked', value: { records: recordsOf(reply.messages), places } }
    }
    case 'figures':
      return { $case: 'figures', value: { ...reply.figures } }
    case 'done':
      return { $case: 'existed', value: reply.existed }
    case 'delayed': {
      const places = reply.messages.map(({ handle, dueAtMs }) => ({ handle, dueAtMs }))
      return { $case: 'delayed', value: { records: recordsOf(reply.messages), places } }
    }
    case 'redrives':
      return { $case: 'redrives', value: { tasks: reply.tasks.map((task) => ({ ...task })) } }
    default:
      return reply satisfies never
  }
}

/** Undefined: an answer of a newer broker that this one does not know. */
export function fromWireAnswer({ reply }: broker.QueueAnswer): QueueReply | undefined {
  switch (reply?.$case) {
    case 'sent':
      return { kind: 'sent', outcomes: reply.value.outcomes.map(fromWireSendOutcome) }
    case 'received': {
      const records = fromWireRecords(reply.value.records)
      const messages = reply.value.deliveries.map(({ receipt, ...rest }, at) => ({
        ...rest,
        receipt: fromWireReceipt(receipt),
        record: recordAt(records, at),
      }))
      return { kind: 'received', messages, overLimit: reply.value.overLimit }
    }
    case 'settled':
      return { kind: 'settled', outcomes: reply.value.outcomes.map(fromWireSettleOutcome) }
    case 'peeked': {
      const records = fromWireRecords(reply.value.records)
      const messages = reply.value.places.map((place, at) => ({
        ...place,
        record: recordAt(records, at),
      }))
      return { kind: 'peeked', messages }
    }
    case 'figures':
      return { kind: 'figures', figures: reply.value }
    case 'existed':
      return { kind: 'done', existed: reply.value }
    case 'delayed': {
      const records = fromWireRecords(reply.value.records)
      const messages = reply.value.places.map((place, at) => ({
        ...place,
        record: recordAt(records, at),
      }))
      return { kind: 'delayed', messages }
    }
    case 'redrives':
      return { kind: 'redrives', tasks: reply.value.tasks.map(fromWireTask) }
    case undefined:
      return undefined
    default:
      return reply satisfies never
  }
}

function recordsOf(messages: readonly { readonly record: NewRecord }[]): Uint8Array {
  return toWireRecords(messages.map(({ record }) => record))
}

function recordAt(records: readonly NewRecord[], at: number): NewRecord {
  const record = records[at]
  if (record === undefined) throw new RangeError('an answer has fewer records than places')
  return record
}

const SENT = {
  stored: broker.QueueSendKind.QUEUE_SEND_KIND_STORED,
  duplicate: broker.QueueSendKind.QUEUE_SEND_KIND_DUPLICATE,
  full: broker.QueueSendKind.QUEUE_SEND_KIND_FULL,
} as const satisfies Record<SendOutcome['kind'], broker.QueueSendKind>

function toWireSendOutcome(outcome: SendOutcome): broker.QueueSendOutcome {
  const { kind } = outcome
  if (kind === 'full') return { kind: SENT.full, messageId: '', sequence: 0, handle: '' }
  const { messageId, sequence } = outcome
  return { kind: SENT[kind], messageId, sequence, handle: kind === 'stored' ? outcome.handle : '' }
}

function fromWireSendOutcome(wire: broker.QueueSendOutcome): SendOutcome {
  const { kind, messageId, sequence, handle } = wire
  if (kind === SENT.stored) return { kind: 'stored', messageId, sequence, handle }
  if (kind === SENT.duplicate) return { kind: 'duplicate', messageId, sequence }
  return { kind: 'full' }
}

const SETTLED = {
  done: broker.QueueSettleOutcome.QUEUE_SETTLE_OUTCOME_DONE,
  stale: broker.QueueSettleOutcome.QUEUE_SETTLE_OUTCOME_STALE,
  gone: broker.QueueSettleOutcome.QUEUE_SETTLE_OUTCOME_GONE,
  'not-leased': broker.QueueSettleOutcome.QUEUE_SETTLE_OUTCOME_NOT_LEASED,
} as const satisfies Record<SettlementOutcome, broker.QueueSettleOutcome>

function fromWireSettleOutcome(wire: broker.QueueSettleOutcome): SettlementOutcome {
  switch (wire) {
    case SETTLED.done:
      return 'done'
    case SETTLED.stale:
      return 'stale'
    case SETTLED.gone:
      return 'gone'
    default:
      return 'not-leased'
  }
}

function fromWireTask(wire: broker.QueueRedrive): RedriveTask {
  const { to, perSecondMax, failure, state, ...rest } = wire
  return { ...rest, to, perSecondMax, failure, state: state as RedriveState }
}
