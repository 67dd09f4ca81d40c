/** OffsetCommit and OffsetFetch: what groups have committed, at the coordinator of each. */
import { type Call, mayRead, maySee } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { OFFSET_COMMIT, OFFSET_FETCH } from '../codec/group-apis.ts'
import { ERROR } from '../errors.ts'
import type { CoordinatedGroup } from '../groups/coordinator.ts'
import { OFFSET_METADATA_BYTES_MAX } from '../limits.ts'
import { groupAt } from './groups.ts'

type CommitRequest = RequestOf<typeof OFFSET_COMMIT>
type CommitResponse = ResponseOf<typeof OFFSET_COMMIT>
type Committing = CommitRequest['topics'][number]['partitions'][number]
type FetchRequest = RequestOf<typeof OFFSET_FETCH>
type FetchResponse = ResponseOf<typeof OFFSET_FETCH>
type Fetched = FetchResponse['topics'][number]['partitions'][number]

export async function commitOffsets(call: Call, request: CommitRequest): Promise<CommitResponse> {
  const { groupId, memberId, generationId } = request
  const found = groupAt(call, groupId)
  const refusal =
    typeof found === 'number' ? found : found.group.commitError(memberId, generationId)
  const topics = request.topics.map(({ name, partitions }) => ({
    name,
    partitions: partitions.map((one) => ({
      index: one.index,
      errorCode: refusal || offsetErrorOf(call, name, one),
      one,
    })),
  }))
  const offsets = topics.flatMap(({ name, partitions }) => {
    const topicId = call.services.topics.get(name)?.id ?? ''
    return partitions
      .filter(({ errorCode }) => errorCode === ERROR.NONE)
      .map(({ one: { index, offset, leaderEpoch, metadata } }) => ({
        ...{ topicId, partition: index, offset, leaderEpoch, metadata: metadata ?? '' },
      }))
  })
  const isLost = typeof found !== 'number' && offsets.length > 0 && !(await found.commit(offsets))
  return {
    throttleTimeMs: 0,
    topics: topics.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map(({ index, errorCode }) => ({
        ...{ index, errorCode: isLost ? ERROR.NOT_COORDINATOR : errorCode },
      })),
    })),
  }
}

export function offsetErrorOf(
  call: Call,
  name: string,
  { index, metadata }: Pick<Committing, 'index' | 'metadata'>,
): number {
  if (!mayRead(call, name)) return ERROR.TOPIC_AUTHORIZATION_FAILED
  const topic = call.services.topics.get(name)
  if (topic === undefined || index < 0 || index >= topic.partitions) {
    return ERROR.UNKNOWN_TOPIC_OR_PARTITION
  }
  const bytes = Buffer.byteLength(metadata ?? '')
  return bytes > OFFSET_METADATA_BYTES_MAX ? ERROR.OFFSET_METADATA_TOO_LARGE : ERROR.NONE
}

export async function fetchOffsets(call: Call, request: FetchRequest): Promise<FetchResponse> {
  const found = groupAt(call, request.groupId)
  if (typeof found === 'number') return failed(call, request, found)
  const { topics } = call.services
  const all = await found.committed()
  const isUnstable = await unstableIn(found, request.requireStable)
  if (request.topics === null) {
    const byTopic = topics.all().filter(({ name }) => maySee(call, name))
    const listed = byTopic.map(({ name, id }) => ({
      name,
      partitions: all
        .filter(({ topicId }) => topicId === id)
        .map((one) =>
          isUnstable(id, one.partition)
            ? { ...UNSTABLE, index: one.partition }
            : { index: one.partition, ...one, errorCode: ERROR.NONE },
        ),
    }))
    const some = listed.filter(({ partitions }) => partitions.length > 0)
    return { throttleTimeMs: 0, topics: some, errorCode: ERROR.NONE }
  }
  const answered = await Promise.all(
    request.topics.map(async ({ name, partitions }) => {
      const id = topics.get(name)?.id
      const isAllowed = maySee(call, name)
      const fetched = partitions.map(async (index): Promise<Fetched> => {
        if (!isAllowed) return { ...NOTHING, index, errorCode: ERROR.TOPIC_AUTHORIZATION_FAILED }
        if (id !== undefined && isUnstable(id, index)) return { ...UNSTABLE, index }
        const one = id === undefined ? undefined : await found.committedAt(id, index)
        return one === undefined ? { ...NOTHING, index } : { index, ...one, errorCode: ERROR.NONE }
      })
      return { name, partitions: await Promise.all(fetched) }
    }),
  )
  return { throttleTimeMs: 0, topics: answered, errorCode: ERROR.NONE }
}

/** Nothing is committed: the consumer begins where it likes. */
const NOTHING: Omit<Fetched, 'index'> = {
  ...{ offset: -1, leaderEpoch: -1, metadata: '', errorCode: ERROR.NONE as number },
}

/** A transaction that goes on will commit another offset, or not: the consumer asks again. */
const UNSTABLE: Omit<Fetched, 'index'> = { ...NOTHING, errorCode: ERROR.UNSTABLE_OFFSET_COMMIT }

async function unstableIn(found: CoordinatedGroup, isAsked: boolean) {
  const pending = isAsked ? await found.home.pending() : []
  const names = new Set(pending.map(({ topicId, partition }) => `${topicId}/${partition}`))
  return (topicId: string, partition: number) => names.has(`${topicId}/${partition}`)
}

/** Version 1 has errors in its partitions only. */
function failed({ header }: Call, { topics }: FetchRequest, errorCode: number): FetchResponse {
  const each = header.version < 2 ? (topics ?? []) : []
  return {
    throttleTimeMs: 0,
    topics: each.map(({ name, partitions }) => ({
      name,
      partitions: partitions.map((index) => ({ ...NOTHING, index, errorCode })),
    })),
    errorCode,
  }
}
