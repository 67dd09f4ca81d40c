/** TxnOffsetCommit: offsets that count when a transaction is committed, at the coordinator of the group. */
import type { Call } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { TXN_OFFSET_COMMIT } from '../codec/transaction-apis.ts'
import { ERROR } from '../errors.ts'
import type { CoordinatedGroup } from '../groups/coordinated-group.ts'
import { groupAt } from './groups.ts'
import { offsetErrorOf } from './offsets.ts'
import { isTransactionalId, OFFSETS_ADD_FROM, offsetsErrorOf } from './transactions.ts'

type Request = RequestOf<typeof TXN_OFFSET_COMMIT>
type Response = ResponseOf<typeof TXN_OFFSET_COMMIT>

export async function commitTxnOffsets(call: Call, request: Request): Promise<Response> {
  const found = await groupAt(call, request.groupId)
  const refusal = typeof found === 'number' ? found : refusalOf(found, request)
  const topics = request.topics.map(({ name, partitions }) => {
    const asked = { name, topicId: '' }
    const topic = call.services.topics.get(name)
    return {
      name,
      partitions: partitions.map((one) => ({
        ...{ index: one.index, errorCode: refusal || offsetErrorOf(call, { asked, topic, one }) },
      })),
    }
  })
  const isRefused = topics.some(({ partitions }) => partitions.every((one) => one.errorCode !== 0))
  if (typeof found === 'number' || refusal !== ERROR.NONE || isRefused) {
    return { throttleTimeMs: 0, topics }
  }
  const errorCode = await keep(call, { request, found, topics })
  if (errorCode === ERROR.NONE) return { throttleTimeMs: 0, topics }
  return {
    throttleTimeMs: 0,
    topics: topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map((one) => ({
        ...{ index: one.index, errorCode: one.errorCode || errorCode },
      })),
    })),
  }
}

/** Who says nothing of being a member is taken for the one that it says it is (KIP-447 came later). */
function refusalOf({ group }: CoordinatedGroup, request: Request): number {
  const { transactionalId, memberId, generationId } = request
  if (!isTransactionalId(transactionalId)) return ERROR.INVALID_REQUEST
  if (memberId === '' && generationId < 0) return ERROR.NONE
  return group.commitError(request, generationId)
}

interface Kept {
  readonly request: Request
  readonly found: CoordinatedGroup
  readonly topics: Response['topics']
}

async function keep(call: Call, { request, found, topics }: Kept): Promise<number> {
  const { services, header } = call
  const { transactionalId, groupId, producerId, producerEpoch: epoch } = request
  const adds = header.version >= OFFSETS_ADD_FROM
  const join = { producerId, epoch, partitions: [], groups: [groupId], adds }
  const about = `${epoch} ${groupId}`
  const { verifications } = found
  const asked = verifications.begin(producerId, about, () =>
    services.transactions.join(transactionalId, join),
  )
  try {
    const outcome = await asked.outcome
    if ('fault' in outcome) return offsetsErrorOf(outcome.fault, header.version)
    if (asked.isOver) return offsetsErrorOf('busy', header.version)
    const { sequence } = outcome
    const offsets = accepted(call, request, topics)
    const isKept = await found.commitWith({ producerId, sequence }, offsets)
    return isKept ? ERROR.NONE : ERROR.NOT_COORDINATOR
  } finally {
    verifications.done(producerId, about, asked)
  }
}

function accepted({ services }: Call, request: Request, topics: Response['topics']) {
  return request.topics.flatMap(({ name, partitions }, topicAt) => {
    const topicId = services.topics.get(name)?.id ?? ''
    return partitions
      .filter((_, at) => topics[topicAt]?.partitions[at]?.errorCode === ERROR.NONE)
      .map(({ index, offset, leaderEpoch, metadata }) => ({
        ...{ topicId, partition: index, offset, leaderEpoch, metadata: metadata ?? '' },
      }))
  })
}
