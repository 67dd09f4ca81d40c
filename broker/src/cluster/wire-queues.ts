/** What is asked of queues, to and from the messages of `broker.proto`. Only shapes; no decisions. */
import { broker } from '@robust/proto'
import { decodeRecordBatch, encodeRecordBatch, type NewRecord } from '@robust/storage-adapters'
import type { QueueCall } from '../core/queues/queue-call.ts'
import type { QueueRequest, Settlement, SettlementAction } from '../core/queues/queue-requests.ts'
import type { QueueReceipt } from '../core/queues/receipt.ts'

type WireRequest = NonNullable<broker.QueueCall['request']>
type WireAction = NonNullable<broker.QueueSettlement['action']>

const NO_BYTES = new Uint8Array(0)

export function toWireRecords(records: readonly NewRecord[]): Uint8Array {
  return records.length === 0
    ? NO_BYTES
    : encodeRecordBatch(records, { baseOffset: 0, leaderEpoch: 0 })
}

export function fromWireRecords(bytes: Uint8Array): NewRecord[] {
  if (bytes.byteLength === 0) return []
  return decodeRecordBatch(bytes).map(({ timestamp, key, value, headers }) => ({
    timestamp,
    key,
    value,
    headers,
  }))
}

export function toWireReceipt(receipt: QueueReceipt): broker.QueueReceipt {
  const { lease, ...rest } = receipt
  return { ...rest, leaseEpoch: lease.epoch, leaseNumber: lease.number }
}

export function fromWireReceipt(wire: broker.QueueReceipt | undefined): QueueReceipt {
  const { leaseEpoch, leaseNumber, ...rest } = wire ?? broker.QueueReceipt.fromPartial({})
  return { ...rest, lease: { epoch: leaseEpoch, number: leaseNumber } }
}

export function toWireCall({ queue, knownAt, request }: QueueCall): broker.QueueCall {
  return { queue, knownAt, request: toWireRequest(request) }
}

/** Undefined: a request of a newer broker that this one does not know. */
export function fromWireCall({ queue, knownAt, request }: broker.QueueCall): QueueCall | undefined {
  return request && { queue, knownAt, request: fromWireRequest(request) }
}

function toWireRequest(request: QueueRequest): WireRequest {
  switch (request.kind) {
    case 'send':
      return { $case: 'send', value: { records: toWireRecords(request.records) } }
    case 'receive': {
      const { max, waitMs, leaseMs, attempt, wholeGroups, selector } = request
      const value = { max, waitMs: wholeMs(waitMs), leaseMs: optionalMs(leaseMs) }
      return { $case: 'receive', value: { ...value, attempt, wholeGroups, selector } }
    }
    case 'settle':
      return { $case: 'settle', value: { settlements: request.settlements.map(toWireSettlement) } }
    case 'peek':
      return { $case: 'peek', value: { max: request.max, after: request.after } }
    case 'figures':
    case 'purge':
      return { $case: request.kind, value: {} }
    case 'cancel':
      return { $case: 'cancel', value: { handle: request.handle } }
    case 'delayed':
      return { $case: 'delayed', value: { max: request.max, after: request.after } }
    case 'prepare': {
      const record = toWireRecords([request.record])
      return { $case: 'prepare', value: { transaction: request.transaction, record } }
    }
    case 'decide': {
      const { transaction, commit } = request
      return { $case: 'decide', value: { transaction, commit } }
    }
    case 'redrive':
      return toWireRedrive(request.redrive)
    default:
      return request satisfies never
  }
}

function toWireRedrive(
  redrive: Extract<QueueRequest, { kind: 'redrive' }>['redrive'],
): WireRequest {
  switch (redrive.kind) {
    case 'start': {
      const { to, perSecondMax } = redrive
      return { $case: 'redriveStart', value: { to, perSecondMax } }
    }
    case 'cancel':
      return { $case: 'redriveCancel', value: { task: redrive.task } }
    case 'list':
      return { $case: 'redriveList', value: {} }
    default:
      return redrive satisfies never
  }
}

function fromWireRequest(wire: WireRequest): QueueRequest {
  switch (wire.$case) {
    case 'send':
      return { kind: 'send', records: fromWireRecords(wire.value.records) }
    case 'receive': {
      const { max, waitMs, leaseMs, attempt, wholeGroups, selector } = wire.value
      return { kind: 'receive', max, waitMs, leaseMs, attempt, wholeGroups, selector }
    }
    case 'settle':
      return { kind: 'settle', settlements: wire.value.settlements.map(fromWireSettlement) }
    case 'peek':
      return { kind: 'peek', max: wire.value.max, after: wire.value.after }
    case 'figures':
    case 'purge':
      return { kind: wire.$case }
    case 'cancel':
      return { kind: 'cancel', handle: wire.value.handle }
    case 'delayed':
      return { kind: 'delayed', max: wire.value.max, after: wire.value.after }
    case 'prepare': {
      const [record = NO_RECORD] = fromWireRecords(wire.value.record)
      return { kind: 'prepare', transaction: wire.value.transaction, record }
    }
    case 'decide':
      return { kind: 'decide', ...wire.value }
    case 'redriveStart': {
      const { to, perSecondMax } = wire.value
      return { kind: 'redrive', redrive: { kind: 'start', to, perSecondMax } }
    }
    case 'redriveCancel':
      return { kind: 'redrive', redrive: { kind: 'cancel', task: wire.value.task } }
    case 'redriveList':
      return { kind: 'redrive', redrive: { kind: 'list' } }
    default:
      return wire satisfies never
  }
}

const NO_RECORD: NewRecord = { timestamp: 0, key: null, value: null, headers: [] }

function toWireSettlement({ receipt, action }: Settlement): broker.QueueSettlement {
  const heldOnly = action.kind === 'acknowledge' && action.heldOnly === true
  return { receipt: toWireReceipt(receipt), action: toWireAction(action), heldOnly }
}

function toWireAction(action: SettlementAction): WireAction {
  switch (action.kind) {
    case 'acknowledge':
    case 'reject':
      return { $case: action.kind, value: {} }
    case 'release': {
      const { delayMs, failed } = action
      return { $case: 'release', value: { delayMs: optionalMs(delayMs), failed } }
    }
    case 'extend':
      return { $case: 'extendMs', value: wholeMs(action.leaseMs) }
    default:
      return action satisfies never
  }
}

function fromWireSettlement(wire: broker.QueueSettlement): Settlement {
  const { heldOnly } = wire
  const action = fromWireAction(wire.action)
  const isHeldOnly = heldOnly && action.kind === 'acknowledge'
  return {
    receipt: fromWireReceipt(wire.receipt),
    action: isHeldOnly ? { ...action, heldOnly } : action,
  }
}

/** An action that is not known, of a newer broker, gives the message to somebody else. */
function fromWireAction(action: broker.QueueSettlement['action']): SettlementAction {
  switch (action?.$case) {
    case 'acknowledge':
    case 'reject':
      return { kind: action.$case }
    case 'release': {
      const { delayMs, failed } = action.value
      return { kind: 'release', delayMs, failed }
    }
    case 'extendMs':
      return { kind: 'extend', leaseMs: action.value }
    default:
      return { kind: 'release', delayMs: undefined, failed: false }
  }
}

/** On the wire times are whole; one that is over is 0. */
function wholeMs(ms: number): number {
  return Math.max(0, Math.round(ms))
}

function optionalMs(ms: number | undefined): number | undefined {
  return ms === undefined ? undefined : wholeMs(ms)
}
