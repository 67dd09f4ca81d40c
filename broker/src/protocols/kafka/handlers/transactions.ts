/** What a transactional producer asks of its coordinator: InitProducerId, AddPartitionsToTxn, AddOffsetsToTxn, EndTxn. */
import type {
  TransactionCoordinator,
  TransactionFault,
  TransactionPartition,
} from '../../../core/transactions/transactions.ts'
import { type Call, mayWrite } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type {
  ADD_OFFSETS_TO_TXN,
  ADD_PARTITIONS_TO_TXN,
  END_TXN,
  INIT_PRODUCER_ID,
} from '../codec/transaction-apis.ts'
import { ERROR } from '../errors.ts'
import { TRANSACTION_MS_MAX, TRANSACTIONAL_ID_BYTES_MAX } from '../limits.ts'
import { isGroupName } from './groups.ts'

export function isTransactionalId(id: string): boolean {
  return id !== '' && !id.includes('\0') && Buffer.byteLength(id) <= TRANSACTIONAL_ID_BYTES_MAX
}

/** The coordinator, or why it cannot be worked with here. */
export function coordinatorAt({ services }: Call, id: string): TransactionCoordinator | number {
  if (!isTransactionalId(id)) return ERROR.INVALID_REQUEST
  return services.transactions.at(id) ?? ERROR.NOT_COORDINATOR
}

/** First version of each API whose clients know PRODUCER_FENCED for INVALID_PRODUCER_EPOCH. */
const KNOWS_FENCED_FROM = 2

const FAULT: Readonly<Record<TransactionFault, number>> = {
  'unknown-producer': ERROR.INVALID_PRODUCER_ID_MAPPING,
  fenced: ERROR.PRODUCER_FENCED,
  busy: ERROR.CONCURRENT_TRANSACTIONS,
  'wrong-state': ERROR.INVALID_TXN_STATE,
  'not-in-it': ERROR.INVALID_TXN_STATE,
  full: ERROR.KAFKA_STORAGE_ERROR,
  lost: ERROR.NOT_COORDINATOR,
}

function errorOf(fault: TransactionFault, knowsFenced: boolean): number {
  return fault === 'fenced' && !knowsFenced ? ERROR.INVALID_PRODUCER_EPOCH : FAULT[fault]
}

export async function initProducerId(
  call: Call,
  request: RequestOf<typeof INIT_PRODUCER_ID>,
): Promise<ResponseOf<typeof INIT_PRODUCER_ID>> {
  const { transactionalId: id, transactionTimeoutMs: timeoutMs } = request
  const { services, header } = call
  if (id === null) {
    const producerId = services.nextProducerId()
    return { throttleTimeMs: 0, errorCode: ERROR.NONE, producerId, producerEpoch: 0 }
  }
  const failed = (errorCode: number) => ({
    ...{ throttleTimeMs: 0, errorCode, producerId: -1, producerEpoch: -1 },
  })
  const coordinator = coordinatorAt(call, id)
  if (typeof coordinator === 'number') return failed(coordinator)
  if (timeoutMs < 1 || timeoutMs > TRANSACTION_MS_MAX) {
    return failed(ERROR.INVALID_TRANSACTION_TIMEOUT)
  }
  const { producerId, producerEpoch: epoch } = request
  const isNew = producerId < 0 || epoch < 0
  const expected = isNew ? undefined : { producerId, epoch }
  const outcome = await coordinator.init(id, { timeoutMs, expected })
  // Clients know it here from version 4 on.
  if ('fault' in outcome) return failed(errorOf(outcome.fault, header.version >= 4))
  const identity = { producerId: outcome.producerId, producerEpoch: outcome.epoch }
  return { throttleTimeMs: 0, errorCode: ERROR.NONE, ...identity }
}

type AddRequest = RequestOf<typeof ADD_PARTITIONS_TO_TXN>

export async function addPartitionsToTxn(
  call: Call,
  request: AddRequest,
): Promise<ResponseOf<typeof ADD_PARTITIONS_TO_TXN>> {
  const asked = request.topics.flatMap(({ name, partitions }) =>
    partitions.map((index) => placeOf(call, name, index)),
  )
  const errorCode = await addAll(call, request, asked)
  let at = 0
  return {
    throttleTimeMs: 0,
    topics: request.topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map((index) => {
        const place = asked[at++]
        return { index, errorCode: typeof place === 'number' ? place : errorCode }
      }),
    })),
  }
}

/** All or none. */
async function addAll(
  call: Call,
  request: AddRequest,
  asked: readonly (TransactionPartition | number)[],
): Promise<number> {
  const coordinator = coordinatorAt(call, request.transactionalId)
  if (typeof coordinator === 'number') return coordinator
  const partitions = asked.flatMap((place) => (typeof place === 'number' ? [] : [place]))
  if (partitions.length < asked.length) return ERROR.OPERATION_NOT_ATTEMPTED
  const { transactionalId, producerId, producerEpoch: epoch } = request
  const join = { producerId, epoch, partitions, groups: [], adds: true }
  const outcome = await coordinator.join(transactionalId, join)
  if (!('fault' in outcome)) return ERROR.NONE
  return errorOf(outcome.fault, call.header.version >= KNOWS_FENCED_FROM)
}

/** Where the partition is, or why it cannot be written to. */
function placeOf(call: Call, name: string, index: number): TransactionPartition | number {
  const { topics, transactions } = call.services
  if (!mayWrite(call, name)) return ERROR.TOPIC_AUTHORIZATION_FAILED
  const topic = topics.get(name)
  if (topic === undefined || index < 0 || index >= topic.partitions) {
    return ERROR.UNKNOWN_TOPIC_OR_PARTITION
  }
  return transactions.placeOf(topic, index)
}

export async function addOffsetsToTxn(
  call: Call,
  request: RequestOf<typeof ADD_OFFSETS_TO_TXN>,
): Promise<ResponseOf<typeof ADD_OFFSETS_TO_TXN>> {
  return { throttleTimeMs: 0, errorCode: await addGroup(call, request) }
}

async function addGroup(
  call: Call,
  request: RequestOf<typeof ADD_OFFSETS_TO_TXN>,
): Promise<number> {
  const { transactionalId, groupId, producerId, producerEpoch: epoch } = request
  const coordinator = coordinatorAt(call, transactionalId)
  if (typeof coordinator === 'number') return coordinator
  if (!isGroupName(groupId)) return ERROR.INVALID_GROUP_ID
  const join = { producerId, epoch, partitions: [], groups: [groupId], adds: true }
  const outcome = await coordinator.join(transactionalId, join)
  if (!('fault' in outcome)) return ERROR.NONE
  return errorOf(outcome.fault, call.header.version >= KNOWS_FENCED_FROM)
}

/** From here on the producer gets a new epoch with each transaction (KIP-890). */
const BUMPS_FROM = 5

export async function endTxn(
  call: Call,
  request: RequestOf<typeof END_TXN>,
): Promise<ResponseOf<typeof END_TXN>> {
  const failed = (errorCode: number) => ({
    ...{ throttleTimeMs: 0, errorCode, producerId: -1, producerEpoch: -1 },
  })
  const { version } = call.header
  const { transactionalId, producerId, producerEpoch: epoch, committed: commit } = request
  const coordinator = coordinatorAt(call, transactionalId)
  if (typeof coordinator === 'number') return failed(coordinator)
  const end = { producerId, epoch, commit, bumps: version >= BUMPS_FROM }
  const outcome = await coordinator.end(transactionalId, end)
  if ('fault' in outcome) return failed(errorOf(outcome.fault, version >= KNOWS_FENCED_FROM))
  const identity = { producerId: outcome.producerId, producerEpoch: outcome.epoch }
  return { throttleTimeMs: 0, errorCode: ERROR.NONE, ...identity }
}

/** First version of Produce, and of TxnOffsetCommit, in which a producer need not say beforehand what it writes to. */
export const PRODUCE_ADDS_FROM = 12
export const OFFSETS_ADD_FROM = 5

/** First versions that know TRANSACTION_ABORTABLE. */
const PRODUCE_KNOWS_ABORTABLE_FROM = 11
const OFFSETS_KNOW_ABORTABLE_FROM = 4

/** Why a batch is not taken into a transaction, in the words that producers of the version know. */
export function produceErrorOf(fault: TransactionFault, version: number): number {
  const isNew = version >= PRODUCE_KNOWS_ABORTABLE_FROM
  switch (fault) {
    case 'not-in-it':
    case 'wrong-state':
      return isNew ? ERROR.TRANSACTION_ABORTABLE : ERROR.INVALID_TXN_STATE
    case 'fenced':
      return ERROR.INVALID_PRODUCER_EPOCH
    case 'unknown-producer':
      return ERROR.INVALID_PRODUCER_ID_MAPPING
    case 'busy':
      // Older producers ask again when they hear this.
      return version >= PRODUCE_ADDS_FROM
        ? ERROR.CONCURRENT_TRANSACTIONS
        : ERROR.NOT_ENOUGH_REPLICAS
    case 'full':
    case 'lost':
      return ERROR.NOT_ENOUGH_REPLICAS
    default:
      return fault satisfies never
  }
}

export function offsetsErrorOf(fault: TransactionFault, version: number): number {
  switch (fault) {
    case 'not-in-it':
    case 'wrong-state':
      return version >= OFFSETS_KNOW_ABORTABLE_FROM
        ? ERROR.TRANSACTION_ABORTABLE
        : ERROR.INVALID_TXN_STATE
    case 'fenced':
      return ERROR.INVALID_PRODUCER_EPOCH
    case 'unknown-producer':
      return ERROR.INVALID_PRODUCER_ID_MAPPING
    case 'busy':
      return version >= OFFSETS_ADD_FROM
        ? ERROR.CONCURRENT_TRANSACTIONS
        : ERROR.COORDINATOR_LOAD_IN_PROGRESS
    case 'full':
    case 'lost':
      return ERROR.COORDINATOR_NOT_AVAILABLE
    default:
      return fault satisfies never
  }
}
