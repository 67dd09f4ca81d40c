/** OffsetCommit, OffsetFetch and OffsetDelete: what groups have committed, at the coordinator of each. */
import type { Topic } from '../../../core/topics/topic-logs.ts'
import { type Call, mayRead, maySee } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { OFFSET_COMMIT, OFFSET_DELETE, OFFSET_FETCH } from '../codec/group-apis.ts'
import { ERROR } from '../errors.ts'
import type { CoordinatedGroup } from '../groups/coordinated-group.ts'
import { OFFSET_METADATA_BYTES_MAX } from '../limits.ts'
import { topicIdOf, uuidOf } from '../mapping.ts'
import { groupAt } from './groups.ts'

type CommitRequest = RequestOf<typeof OFFSET_COMMIT>
type CommitResponse = ResponseOf<typeof OFFSET_COMMIT>
type Committing = CommitRequest['topics'][number]['partitions'][number]
type FetchRequest = RequestOf<typeof OFFSET_FETCH>
type FetchResponse = ResponseOf<typeof OFFSET_FETCH>
type AskedGroup = FetchRequest['groups'][number]
type FetchedGroup = FetchResponse['groups'][number]
type Fetched = FetchedGroup['topics'][number]['partitions'][number]
type DeleteResponse = ResponseOf<typeof OFFSET_DELETE>

interface NamedTopic {
  readonly name: string
  readonly topicId: string
}

/** Both APIs name topics by their ids from here on. */
const IDS_FROM = 10

function topicOf({ services, header }: Call, { name, topicId }: NamedTopic): Topic | undefined {
  const { topics } = services
  return header.version >= IDS_FROM ? topics.byId(topicIdOf(topicId)) : topics.get(name)
}

export async function commitOffsets(call: Call, request: CommitRequest): Promise<CommitResponse> {
  const found = await groupAt(call, request.groupId)
  const refusal = typeof found === 'number' ? found : commitError(call, request, found)
  const topics = request.topics.map((asked) => {
    const topic = topicOf(call, asked)
    const partitions = asked.partitions.map((one) => ({
      ...{ one, topic, errorCode: refusal || offsetErrorOf(call, { asked, topic, one }) },
    }))
    return { name: asked.name, topicId: asked.topicId, partitions }
  })
  const offsets = topics.flatMap(({ partitions }) =>
    partitions
      .filter(({ errorCode }) => errorCode === ERROR.NONE)
      .map(({ topic, one: { index, offset, leaderEpoch, metadata } }) => ({
        ...{ topicId: topic?.id ?? '', partition: index, offset, leaderEpoch },
        metadata: metadata ?? '',
      })),
  )
  const isLost = typeof found !== 'number' && offsets.length > 0 && !(await found.commit(offsets))
  return {
    throttleTimeMs: 0,
    topics: topics.map(({ partitions, ...named }) => ({
      ...named,
      partitions: partitions.map(({ one: { index }, errorCode }) => ({
        ...{ index, errorCode: isLost ? ERROR.NOT_COORDINATOR : errorCode },
      })),
    })),
  }
}

/** Whether the group lets the member commit. */
function commitError(call: Call, request: CommitRequest, found: CoordinatedGroup): number {
  const { generationId } = request
  if (generationId >= 0 && !found.isKnown) {
    return call.header.version >= 9 ? ERROR.GROUP_ID_NOT_FOUND : ERROR.ILLEGAL_GENERATION
  }
  return found.group.commitError(request, generationId)
}

export function offsetErrorOf(
  call: Call,
  {
    asked,
    topic,
    one: { index, metadata },
  }: { asked: NamedTopic; topic: Topic | undefined; one: Pick<Committing, 'index' | 'metadata'> },
): number {
  const name = topic?.name ?? asked.name
  if (name === '') return ERROR.UNKNOWN_TOPIC_ID
  if (!mayRead(call, name)) return ERROR.TOPIC_AUTHORIZATION_FAILED
  if (topic === undefined || index < 0 || index >= topic.partitions) {
    return ERROR.UNKNOWN_TOPIC_OR_PARTITION
  }
  const bytes = Buffer.byteLength(metadata ?? '')
  return bytes > OFFSET_METADATA_BYTES_MAX ? ERROR.OFFSET_METADATA_TOO_LARGE : ERROR.NONE
}

/** Versions from here on ask for several groups. */
const SEVERAL_FROM = 8

export async function fetchOffsets(call: Call, request: FetchRequest): Promise<FetchResponse> {
  if (call.header.version >= SEVERAL_FROM) {
    const { requireStable } = request
    const groups = await Promise.all(
      request.groups.map((asked) => fetchOf(call, asked, requireStable)),
    )
    return { throttleTimeMs: 0, topics: [], errorCode: ERROR.NONE, groups }
  }
  const { groupId } = request
  const topics = request.topics?.map((topic) => ({ ...topic, topicId: '' })) ?? null
  const asked = { groupId, memberId: null, memberEpoch: -1, topics }
  const fetched = await fetchOf(call, asked, request.requireStable)
  return { throttleTimeMs: 0, topics: fetched.topics, errorCode: fetched.errorCode, groups: [] }
}

async function fetchOf(
  call: Call,
  asked: AskedGroup,
  requireStable: boolean,
): Promise<FetchedGroup> {
  const { groupId } = asked
  const found = await groupAt(call, groupId)
  if (typeof found === 'number') return failed(call, asked, found)
  const refusal = memberError(asked, found)
  if (refusal !== ERROR.NONE) return failed(call, asked, refusal)
  const all = await found.committed()
  const isUnstable = await unstableIn(found, requireStable)
  if (asked.topics === null) {
    return { groupId, topics: listed(call, all, isUnstable), errorCode: ERROR.NONE }
  }
  const topics = asked.topics.map((named) => {
    const topic = topicOf(call, named)
    const name = topic?.name ?? named.name
    const unread =
      name === ''
        ? ERROR.UNKNOWN_TOPIC_ID
        : maySee(call, name)
          ? ERROR.NONE
          : ERROR.TOPIC_AUTHORIZATION_FAILED
    const partitions = named.partitions.map((index): Fetched => {
      if (unread !== ERROR.NONE) return { ...NOTHING, index, errorCode: unread }
      if (isUnstable(topic?.id ?? '', index)) return { ...UNSTABLE, index }
      const one = all.find(({ topicId, partition }) => topicId === topic?.id && partition === index)
      return one === undefined ? { ...NOTHING, index } : { index, ...one, errorCode: ERROR.NONE }
    })
    return { name: named.name, topicId: named.topicId, partitions }
  })
  return { groupId, topics, errorCode: ERROR.NONE }
}

/** A member that says who it is must be one, at the epoch that it says (KIP-848). */
function memberError({ memberId, memberEpoch }: AskedGroup, { group }: CoordinatedGroup): number {
  if (memberId === null || memberEpoch < 0 || group.kind !== 'consumer') return ERROR.NONE
  return group.epochError({ memberId }, memberEpoch)
}

type Committed = Awaited<ReturnType<CoordinatedGroup['committed']>>

type IsUnstable = Awaited<ReturnType<typeof unstableIn>>

function listed(call: Call, all: Committed, isUnstable: IsUnstable): FetchedGroup['topics'] {
  return call.services.topics
    .all()
    .filter(({ name }) => maySee(call, name))
    .map((topic) => ({
      ...{ name: topic.name, topicId: uuidOf(topic) },
      partitions: all
        .filter(({ topicId }) => topicId === topic.id)
        .map((one) =>
          isUnstable(topic.id, one.partition)
            ? { ...UNSTABLE, index: one.partition }
            : { index: one.partition, ...one, errorCode: ERROR.NONE },
        ),
    }))
    .filter(({ partitions }) => partitions.length > 0)
}

/** Nothing is committed: the consumer begins where it likes. */
const NOTHING: Omit<Fetched, 'index'> = {
  ...{ offset: -1, leaderEpoch: -1, metadata: '', errorCode: ERROR.NONE as number },
}

/** A transaction that goes on will commit another offset, or not: the consumer asks again. */
const UNSTABLE: Omit<Fetched, 'index'> = { ...NOTHING, errorCode: ERROR.UNSTABLE_OFFSET_COMMIT }

async function unstableIn(found: CoordinatedGroup, isAsked: boolean) {
  const pending = isAsked ? await found.pending() : []
  const names = new Set(pending.map(({ topicId, partition }) => `${topicId}/${partition}`))
  return (topicId: string, partition: number) => names.has(`${topicId}/${partition}`)
}

/** Version 1 has errors in its partitions only. */
function failed(
  { header }: Call,
  { groupId, topics }: AskedGroup,
  errorCode: number,
): FetchedGroup {
  const each = header.version < 2 ? (topics ?? []) : []
  return {
    ...{ groupId, errorCode },
    topics: each.map(({ name, topicId, partitions }) => ({
      ...{ name, topicId },
      partitions: partitions.map((index) => ({ ...NOTHING, index, errorCode })),
    })),
  }
}

/** Of topics that no member reads; of a group without members, of any (KIP-496). */
export async function deleteOffsets(
  call: Call,
  { groupId, topics }: RequestOf<typeof OFFSET_DELETE>,
): Promise<DeleteResponse> {
  const found = await groupAt(call, groupId)
  if (typeof found === 'number') return { errorCode: found, throttleTimeMs: 0, topics: [] }
  if (!found.isKnown) {
    return { errorCode: ERROR.GROUP_ID_NOT_FOUND, throttleTimeMs: 0, topics: [] }
  }
  const all = await found.committed()
  const answered = topics.map(({ name, partitions }) => {
    const topic = call.services.topics.get(name)
    const errorCode = deleteError(call, found, name)
    return {
      name,
      partitions: partitions.map(({ index }) => ({ index, errorCode })),
      offsets: all.filter(
        ({ topicId, partition }) =>
          errorCode === ERROR.NONE &&
          topicId === topic?.id &&
          partitions.some(({ index }) => index === partition),
      ),
    }
  })
  const forgotten = await found.forget(answered.flatMap(({ offsets }) => offsets))
  return {
    errorCode: forgotten ? ERROR.NONE : ERROR.NOT_COORDINATOR,
    throttleTimeMs: 0,
    topics: forgotten ? answered.map(({ name, partitions }) => ({ name, partitions })) : [],
  }
}

function deleteError(call: Call, group: CoordinatedGroup, name: string): number {
  if (!mayRead(call, name)) return ERROR.TOPIC_AUTHORIZATION_FAILED
  if (call.services.topics.get(name) === undefined) return ERROR.UNKNOWN_TOPIC_OR_PARTITION
  return group.reads(name) ? ERROR.GROUP_SUBSCRIBED_TO_TOPIC : ERROR.NONE
}
