/** Produce: batches as they come, each partition at its owner. */
import type { Topic, VerifyTransaction } from '../../../core/topics/topic-logs.ts'
import { type Call, may, mayWrite } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { PRODUCE } from '../codec/log-apis.ts'
import { APPEND_FAULT, ERROR } from '../errors.ts'
import { endpointsOf, leaderOf, topicOf } from './leaders.ts'
import { isTransactionalId, PRODUCE_ADDS_FROM, produceErrorOf } from './transactions.ts'

type Request = RequestOf<typeof PRODUCE>
type Response = ResponseOf<typeof PRODUCE>
type Partition = Response['topics'][number]['partitions'][number]
type Batches = Request['topics'][number]['partitions'][number]

/** A producer that wants no answers learns of a refusal by the end of its connection. */
export class UnansweredError extends Error {
  override readonly name = 'UnansweredError'
}

/** Undefined: the client wants no answer. Rejects with UnansweredError. */
export async function produce(call: Call, request: Request): Promise<Response | undefined> {
  const { services, header } = call
  const startedAtMs = services.clock.nowMs()
  const topics = await Promise.all(
    request.topics.map(async ({ name, topicId, partitions }) => {
      const topic = topicOf(services, { name, topicId })
      const to = { request, topic, name: topic?.name ?? name }
      const appended = partitions.map((one) => append(call, { ...to, one }))
      return { name, topicId, partitions: await Promise.all(appended) }
    }),
  )
  services.produceLatency.record(services.clock.nowMs() - startedAtMs)
  const wrong = topics
    .flatMap(({ partitions }) => partitions)
    .filter(({ errorCode }) => errorCode !== 0)
  if (request.acks !== 0 || header.version < 3) return responseOf(call, topics)
  if (wrong.length > 0) throw new UnansweredError('what wants no answer was refused')
  return undefined
}

function responseOf({ services }: Call, topics: Response['topics']): Response {
  const leaders = topics.flatMap(({ partitions }) => partitions.map((one) => one.currentLeader))
  return { topics, throttleTimeMs: 0, nodeEndpoints: endpointsOf(services, leaders) }
}

interface Appending {
  readonly request: Request
  readonly topic: Topic | undefined
  /** Empty: named by an id that is of no topic. */
  readonly name: string
  readonly one: Batches
}

async function append(call: Call, { request, topic, name, one }: Appending): Promise<Partition> {
  const { services, header } = call
  if (header.version < 3) return refused(one, ERROR.UNSUPPORTED_VERSION)
  if (request.acks < -1 || request.acks > 1) return refused(one, ERROR.INVALID_REQUIRED_ACKS)
  const { transactionalId } = request
  if (transactionalId !== null && !isTransactionalId(transactionalId)) {
    return refused(one, ERROR.INVALID_REQUEST)
  }
  if (transactionalId !== null && !may(call, 'publish', ['transactional-id', transactionalId])) {
    return refused(one, ERROR.TRANSACTIONAL_ID_AUTHORIZATION_FAILED)
  }
  if (name === '') return refused(one, ERROR.UNKNOWN_TOPIC_ID)
  if (!mayWrite(call, name)) return refused(one, ERROR.TOPIC_AUTHORIZATION_FAILED)
  if (topic === undefined || one.index < 0 || one.index >= topic.partitions) {
    return refused(one, ERROR.UNKNOWN_TOPIC_OR_PARTITION)
  }
  if (one.records === null) return refused(one, ERROR.INVALID_RECORD)
  const place = { topic, partition: one.index }
  const served = await services.topics.serve(topic, one.index)
  const elsewhere = (): Partition => {
    const currentLeader = leaderOf(services, topic, one.index)
    return { ...refused(one, ERROR.NOT_LEADER_OR_FOLLOWER), currentLeader }
  }
  if (served === undefined) return elsewhere()
  const verify = transactionalId === null ? undefined : verifier(call, transactionalId, place)
  const appended = await served.append(one.records, verify)
  if ('baseOffset' in appended) {
    services.counts.messagesIn += appended.records
    const { baseOffset, timestamp: logAppendTimeMs = -1 } = appended
    const { startOffset: logStartOffset } = served
    return { ...refused(one, ERROR.NONE), baseOffset, logAppendTimeMs, logStartOffset }
  }
  if ('refusedBy' in appended) {
    return refused(one, produceErrorOf(appended.refusedBy, header.version))
  }
  if (appended.fault === 'lost') return elsewhere()
  const { fault, records = [] } = appended
  const refusal = refused(one, APPEND_FAULT[fault])
  if (records.length === 0) return refusal
  const recordErrors = records.map((batchIndex) => ({ batchIndex, message: NO_KEY }))
  return { ...refusal, recordErrors, errorMessage: NO_KEY }
}

const NO_KEY = 'in a compacted topic every record needs a key'

function verifier(
  { services, header }: Call,
  id: string,
  { topic, partition }: { topic: Topic; partition: number },
): VerifyTransaction {
  const { transactions } = services
  const adds = header.version >= PRODUCE_ADDS_FROM
  return (producer) => {
    const partitions = [transactions.placeOf(topic, partition)]
    return transactions.join(id, { ...producer, partitions, groups: [], adds })
  }
}

function refused({ index }: Batches, errorCode: number): Partition {
  return {
    index,
    errorCode,
    baseOffset: -1,
    logAppendTimeMs: -1,
    logStartOffset: -1,
    recordErrors: [],
    errorMessage: null,
    currentLeader: undefined,
  }
}
