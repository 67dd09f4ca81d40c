/** What operators see of transactions and end by hand: DescribeProducers, DescribeTransactions, ListTransactions, WriteTxnMarkers. */
import type { Transaction, TransactionState } from '../../../core/transactions/transactions.ts'
import { type Call, mayRead } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type {
  DESCRIBE_PRODUCERS,
  DESCRIBE_TRANSACTIONS,
  LIST_TRANSACTIONS,
  WRITE_TXN_MARKERS,
} from '../codec/transaction-apis.ts'
import { ERROR } from '../errors.ts'
import { namePattern } from '../name-pattern.ts'
import { coordinatorAt } from './transactions.ts'

type DescribedProducers = ResponseOf<typeof DESCRIBE_PRODUCERS>
type DescribedPartition = DescribedProducers['topics'][number]['partitions'][number]

export async function describeProducers(
  call: Call,
  request: RequestOf<typeof DESCRIBE_PRODUCERS>,
): Promise<DescribedProducers> {
  const topics = request.topics.map(async ({ name, partitions }) => ({
    name,
    partitions: await Promise.all(partitions.map((index) => producersOf(call, name, index))),
  }))
  return { throttleTimeMs: 0, topics: await Promise.all(topics) }
}

async function producersOf(call: Call, name: string, index: number): Promise<DescribedPartition> {
  const failed = (errorCode: number): DescribedPartition => ({
    ...{ index, errorCode, errorMessage: null, activeProducers: [] },
  })
  if (!mayRead(call, name)) return failed(ERROR.TOPIC_AUTHORIZATION_FAILED)
  const { topics } = call.services
  const topic = topics.get(name)
  if (topic === undefined || index < 0 || index >= topic.partitions) {
    return failed(ERROR.UNKNOWN_TOPIC_OR_PARTITION)
  }
  const served = await topics.serve(topic, index)
  if (served === undefined) return failed(ERROR.NOT_LEADER_OR_FOLLOWER)
  const activeProducers = served.producers().map((producer) => ({
    producerId: producer.producerId,
    producerEpoch: producer.epoch,
    lastSequence: producer.lastSequence,
    lastTimestamp: producer.lastTimestamp,
    coordinatorEpoch: producer.coordinatorEpoch,
    currentTxnStartOffset: producer.firstOpenOffset,
  }))
  return { index, errorCode: ERROR.NONE, errorMessage: null, activeProducers }
}

/** The words of Kafka's tools. */
const STATES: Readonly<Record<TransactionState, string>> = {
  empty: 'Empty',
  ongoing: 'Ongoing',
  committing: 'PrepareCommit',
  aborting: 'PrepareAbort',
  committed: 'CompleteCommit',
  aborted: 'CompleteAbort',
}

/** Of Kafka, that no transaction here is ever seen in. */
const OTHER_STATES = ['Dead', 'PrepareEpochFence']

type DescribedTransactions = ResponseOf<typeof DESCRIBE_TRANSACTIONS>
type DescribedTransaction = DescribedTransactions['transactionStates'][number]

export function describeTransactions(
  call: Call,
  { transactionalIds }: RequestOf<typeof DESCRIBE_TRANSACTIONS>,
): DescribedTransactions {
  return { throttleTimeMs: 0, transactionStates: transactionalIds.map((id) => describe(call, id)) }
}

function describe(call: Call, id: string): DescribedTransaction {
  const coordinator = coordinatorAt(call, id)
  if (typeof coordinator === 'number') return unknown(id, coordinator)
  const transaction = coordinator.get(id)
  if (transaction === undefined) return unknown(id, ERROR.TRANSACTIONAL_ID_NOT_FOUND)
  const { partitions, startedAtMs, producerId, epoch, timeoutMs, state } = transaction
  const seen = partitions.filter(({ topic }) => mayRead(call, topic))
  const names = [...new Set(seen.map(({ topic }) => topic))]
  return {
    ...{ errorCode: ERROR.NONE, transactionalId: id, transactionState: STATES[state] },
    transactionTimeoutMs: timeoutMs,
    transactionStartTimeMs: state === 'ongoing' ? startedAtMs : -1,
    ...{ producerId, producerEpoch: epoch },
    topics: names.map((name) => ({
      name,
      partitions: seen.flatMap(({ topic, partition }) => (topic === name ? partition : [])),
    })),
  }
}

function unknown(transactionalId: string, errorCode: number): DescribedTransaction {
  return {
    ...{ errorCode, transactionalId, transactionState: '', transactionTimeoutMs: 0 },
    ...{ transactionStartTimeMs: -1, producerId: -1, producerEpoch: -1, topics: [] },
  }
}

export function listTransactions(
  { services }: Call,
  request: RequestOf<typeof LIST_TRANSACTIONS>,
): ResponseOf<typeof LIST_TRANSACTIONS> {
  const known: readonly string[] = [...Object.values(STATES), ...OTHER_STATES]
  const nowMs = services.clock.wallMs()
  const { transactionalIdPattern: pattern } = request
  const matches = pattern === null || pattern === '' ? () => true : namePattern(pattern)
  if (matches === undefined) {
    const errorCode = ERROR.INVALID_REGULAR_EXPRESSION
    return { throttleTimeMs: 0, errorCode, unknownStateFilters: [], transactionStates: [] }
  }
  const found = services.transactions
    .coordinators()
    .flatMap((coordinator) => [...coordinator.all()])
    .filter((transaction) => isWanted(transaction, request, nowMs) && matches(transaction.id))
  return {
    ...{ throttleTimeMs: 0, errorCode: ERROR.NONE },
    unknownStateFilters: request.stateFilters.filter((state) => !known.includes(state)),
    transactionStates: found.map(({ id, producerId, state }) => ({
      ...{ transactionalId: id, producerId, transactionState: STATES[state] },
    })),
  }
}

function isWanted(
  { state, producerId, startedAtMs }: Transaction,
  request: RequestOf<typeof LIST_TRANSACTIONS>,
  nowMs: number,
): boolean {
  const { stateFilters, producerIdFilters, durationFilterMs } = request
  if (stateFilters.length > 0 && !stateFilters.includes(STATES[state])) return false
  if (producerIdFilters.length > 0 && !producerIdFilters.includes(producerId)) return false
  if (durationFilterMs < 0) return true
  const isRunning = state === 'ongoing' || state === 'committing' || state === 'aborting'
  return isRunning && nowMs - startedAtMs > durationFilterMs
}

type Markers = ResponseOf<typeof WRITE_TXN_MARKERS>['markers']
type MarkedTopic = Markers[number]['topics'][number]
type AskedMarker = RequestOf<typeof WRITE_TXN_MARKERS>['markers'][number]

/** By an operator: a transaction that nobody coordinates any more is ended where it hangs. */
export async function writeTxnMarkers(
  call: Call,
  request: RequestOf<typeof WRITE_TXN_MARKERS>,
): Promise<ResponseOf<typeof WRITE_TXN_MARKERS>> {
  const markers = request.markers.map(async (marker) => ({
    producerId: marker.producerId,
    topics: await Promise.all(
      marker.topics.map(async ({ name, partitions }): Promise<MarkedTopic> => {
        const marked = partitions.map(async (index) => ({
          ...{ index, errorCode: await mark(call, marker, { name, index }) },
        }))
        return { name, partitions: await Promise.all(marked) }
      }),
    ),
  }))
  return { markers: await Promise.all(markers) }
}

async function mark(
  call: Call,
  asked: AskedMarker,
  { name, index }: { name: string; index: number },
): Promise<number> {
  const { topics } = call.services
  const topic = topics.get(name)
  if (topic === undefined || index < 0 || index >= topic.partitions) {
    return ERROR.UNKNOWN_TOPIC_OR_PARTITION
  }
  const served = await topics.serve(topic, index)
  if (served === undefined) return ERROR.NOT_LEADER_OR_FOLLOWER
  const { producerId, producerEpoch: epoch, committed: commit, coordinatorEpoch } = asked
  const marker = { producerId, epoch, commit, coordinatorEpoch, sequence: undefined }
  const isMarked = await served.mark(marker)
  if (isMarked) return ERROR.NONE
  return served.isServed ? ERROR.INVALID_PRODUCER_EPOCH : ERROR.NOT_LEADER_OR_FOLLOWER
}
