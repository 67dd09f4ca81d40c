/** ShareFetch and ShareAcknowledge, at the owners of partitions (KIP-932). */
import { BrokerError } from '../../../core/errors.ts'
import type { SharePartition, Verdict } from '../../../core/shares/share-partitions.ts'
import type { ServedPartition } from '../../../core/topics/topic-logs.ts'
import { type Call, mayRead } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { SHARE_ACKNOWLEDGE, SHARE_FETCH } from '../codec/share-apis.ts'
import { ERROR } from '../errors.ts'
import { partitionKey } from '../groups/partition-set.ts'
import { originOf } from '../groups/share-group.ts'
import type { SharedPlace, ShareSession } from '../groups/share-sessions.ts'
import { FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX } from '../limits.ts'
import { topicIdOf, uuidOf } from '../mapping.ts'
import { leaderOf } from './leaders.ts'

type FetchRequest = RequestOf<typeof SHARE_FETCH>
type FetchResponse = ResponseOf<typeof SHARE_FETCH>
type Fetched = FetchResponse['topics'][number]['partitions'][number]
type AckRequest = RequestOf<typeof SHARE_ACKNOWLEDGE>
type AckResponse = ResponseOf<typeof SHARE_ACKNOWLEDGE>
type AskedTopics = AckRequest['topics']
type AckBatch = AskedTopics[number]['partitions'][number]['acknowledgementBatches'][number]

const BEGINS = 0
const ENDS = -1

export async function shareFetch(call: Call, request: FetchRequest): Promise<FetchResponse> {
  const { shareSessionEpoch: epoch } = request
  const session = await sessionFor(call, request, epoch === BEGINS)
  if (typeof session === 'number') return failedFetch(session)
  const settled = await settleAll(call, session, request)
  if (epoch === ENDS) {
    call.services.shares.sessions.end(session)
    return { ...answerOf(call, new Map(), settled), ...lockOf(call, request) }
  }
  name(session, request)
  const isRead = request.maxBytes > 0 && request.maxRecords > 0 && !request.isRenewAck
  const fetched = isRead ? await fetchWithin(call, { session, request, settled }) : new Map()
  return { ...answerOf(call, fetched, settled), ...lockOf(call, request) }
}

export async function shareAcknowledge(call: Call, request: AckRequest): Promise<AckResponse> {
  const { shareSessionEpoch: epoch } = request
  const session =
    epoch === BEGINS ? ERROR.INVALID_SHARE_SESSION_EPOCH : await sessionFor(call, request, false)
  const { sessions } = call.services.shares
  const rest = { throttleTimeMs: 0, errorMessage: null, ...lockOf(call, request) }
  if (typeof session === 'number') {
    return { ...rest, errorCode: session, topics: [], nodeEndpoints: [] }
  }
  const settled = await settleAll(call, session, request)
  if (epoch === ENDS) sessions.end(session)
  const { topics, nodeEndpoints } = answerOf(call, new Map(), settled)
  return {
    ...{ ...rest, errorCode: ERROR.NONE, nodeEndpoints },
    topics: topics.map(({ topicId, partitions }) => ({
      topicId,
      partitions: partitions.map(({ index, acknowledgeErrorCode: errorCode, currentLeader }) => ({
        ...{ index, errorCode, errorMessage: null, currentLeader },
      })),
    })),
  }
}

/** A number is an error. */
async function sessionFor(
  call: Call,
  request: Pick<FetchRequest, 'groupId' | 'memberId' | 'shareSessionEpoch' | 'topics'>,
  isNew: boolean,
): Promise<ShareSession | number> {
  const { sessions, recordOf } = call.services.shares
  const { groupId, memberId, shareSessionEpoch: epoch } = request
  if (groupId === null || memberId === null || memberId === '') return ERROR.INVALID_REQUEST
  const asking = { groupId, memberId, epoch, gone: call.gone }
  if (!isNew) return sessions.find(asking)
  // Who begins has nothing yet that it could acknowledge.
  const isEarly = request.topics.some(({ partitions }) =>
    partitions.some(({ acknowledgementBatches }) => acknowledgementBatches.length > 0),
  )
  if (isEarly) return ERROR.INVALID_REQUEST
  const record = await unlessDown(recordOf(groupId))
  if (typeof record === 'number') return record
  return record === undefined ? ERROR.GROUP_ID_NOT_FOUND : sessions.begin(asking, record)
}

async function unlessDown<T>(promise: Promise<T>): Promise<T | number> {
  try {
    return await promise
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    return ERROR.KAFKA_STORAGE_ERROR
  }
}

function placeOf(topicId: string, index: number): readonly [key: string, place: SharedPlace] {
  const id = topicIdOf(topicId)
  return [partitionKey(id, index), { topicId: id, index }]
}

/** What the session reads from now on. */
function name(session: ShareSession, { topics, forgottenTopicsData }: FetchRequest): void {
  for (const { topicId, partitions } of topics) {
    for (const { index } of partitions) session.places.set(...placeOf(topicId, index))
  }
  for (const { topicId, partitions } of forgottenTopicsData) {
    for (const index of partitions) session.places.delete(placeOf(topicId, index)[0])
  }
}

/** What was acknowledged, by partition, with the error or none. */
type Settled = ReadonlyMap<string, SharedPlace & { readonly errorCode: number }>

async function settleAll(
  call: Call,
  session: ShareSession,
  { topics, isRenewAck }: Pick<AckRequest, 'topics' | 'isRenewAck'>,
): Promise<Settled> {
  const asked = topics.flatMap(({ topicId, partitions }) =>
    partitions
      .filter(({ acknowledgementBatches }) => acknowledgementBatches.length > 0)
      .map(({ index, acknowledgementBatches }) => ({ topicId, index, acknowledgementBatches })),
  )
  const settled = asked.map(async ({ topicId, index, acknowledgementBatches: batches }) => {
    const [key, place] = placeOf(topicId, index)
    const share = session.opened.get(key)
    const errorCode = await settle(call, { session, share, place }, { batches, isRenewAck })
    return [key, { ...place, errorCode }] as const
  })
  return new Map(await Promise.all(settled))
}

async function settle(
  call: Call,
  {
    session,
    share,
    place,
  }: { session: ShareSession; share?: SharePartition | undefined; place: SharedPlace },
  { batches, isRenewAck }: { batches: readonly AckBatch[]; isRenewAck: boolean },
): Promise<number> {
  const topic = call.services.topics.byId(place.topicId)
  if (topic === undefined) return ERROR.UNKNOWN_TOPIC_ID
  if (!mayRead(call, topic.name)) return ERROR.TOPIC_AUTHORIZATION_FAILED
  if (share === undefined) return ERROR.INVALID_RECORD_STATE
  const verdicts = batches.map((batch) => verdictsOf(batch, isRenewAck))
  const known = verdicts.filter((one) => one !== undefined)
  if (known.length < verdicts.length) return ERROR.INVALID_REQUEST
  return OUTCOMES[await share.settle(session.member, known)]
}

const OUTCOMES = {
  done: ERROR.NONE,
  refused: ERROR.INVALID_RECORD_STATE,
  lost: ERROR.NOT_LEADER_OR_FOLLOWER,
} as const

/** A gap is an offset without a record: a control batch, or what was compacted away. */
const VERDICTS: readonly Verdict[] = ['accept', 'accept', 'release', 'reject', 'renew']
const RENEW = 4

/** Undefined: it cannot be meant. */
function verdictsOf({ firstOffset, lastOffset, acknowledgeTypes }: AckBatch, isRenewAck: boolean) {
  const count = lastOffset - firstOffset + 1
  const isWhole = acknowledgeTypes.length === 1 || acknowledgeTypes.length === count
  if (firstOffset < 0 || count < 1 || !isWhole) return undefined
  const verdicts: Verdict[] = []
  for (const type of acknowledgeTypes) {
    const verdict = VERDICTS[type]
    if (verdict === undefined || (type === RENEW && !isRenewAck)) return undefined
    verdicts.push(verdict)
  }
  return { first: firstOffset, last: lastOffset, verdicts }
}

interface Found extends SharedPlace {
  readonly errorCode: number
  readonly served?: ServedPartition | undefined
  readonly share?: SharePartition | undefined
}

interface Fetching {
  readonly session: ShareSession
  readonly request: FetchRequest
  readonly settled: Settled
}

type FetchedByKey = ReadonlyMap<string, SharedPlace & { readonly fetched: Partial<Fetched> }>

/** Waits until there is something for the member, or its time is up. */
async function fetchWithin(call: Call, fetching: Fetching): Promise<FetchedByKey> {
  const { session, request, settled } = fetching
  const { clock } = call.services
  const waitMs = Math.min(Math.max(0, request.maxWaitMs), FETCH_WAIT_MS_MAX)
  const untilMs = clock.nowMs() + waitMs
  const found = new Map<string, Found>()
  for (const [key, place] of session.places) found.set(key, await find(call, session, place))
  for (;;) {
    const waiting = watch(call, [...found.values()])
    const fetched = await take(session, request, found)
    const leftMs = untilMs - clock.nowMs()
    const isOver = call.gone.aborted || session.isClosed
    if (fetched.size > 0 || settled.size > 0 || leftMs <= 0 || isOver) {
      waiting.stop()
      if (isOver) session.close()
      return fetched
    }
    await waiting.within(leftMs)
  }
}

async function find(call: Call, session: ShareSession, place: SharedPlace): Promise<Found> {
  const { topics, shares, groupConfigs } = call.services
  const { topicId, index } = place
  const topic = topics.byId(topicId)
  if (topic === undefined) return { ...place, errorCode: ERROR.UNKNOWN_TOPIC_ID }
  if (!mayRead(call, topic.name)) return { ...place, errorCode: ERROR.TOPIC_AUTHORIZATION_FAILED }
  if (index < 0 || index >= topic.partitions) {
    return { ...place, errorCode: ERROR.UNKNOWN_TOPIC_OR_PARTITION }
  }
  const served = await topics.serve(topic, index)
  if (served === undefined) return { ...place, errorCode: ERROR.NOT_LEADER_OR_FOLLOWER }
  const key = partitionKey(topicId, index)
  const share = await unlessDown(
    shares.partitions.open(
      { topic, partition: index, group: session.group },
      originOf(session.record, key),
      () => {
        const isAtEnd = groupConfigs.beginsAtEnd(session.group)
        return Promise.resolve(isAtEnd ? served.endOffset : served.startOffset)
      },
    ),
  )
  if (typeof share === 'number') return { ...place, errorCode: share }
  if (share === undefined) return { ...place, errorCode: ERROR.NOT_LEADER_OR_FOLLOWER }
  if (!session.isClosed) session.opened.set(key, share)
  return { ...place, errorCode: ERROR.NONE, served, share }
}

/** Of each partition in turn, until there are enough; which is first changes. */
async function take(
  session: ShareSession,
  request: FetchRequest,
  found: ReadonlyMap<string, Found>,
): Promise<FetchedByKey> {
  const fetched = new Map<string, SharedPlace & { fetched: Partial<Fetched> }>()
  let bytesLeft = Math.min(request.maxBytes, FETCH_BYTES_MAX)
  let recordsLeft = request.maxRecords
  for (const [key, { errorCode, served, share, ...place }] of found) {
    if (share === undefined || served === undefined) {
      fetched.set(key, { ...place, fetched: { errorCode } })
      continue
    }
    if (!served.isServed) {
      fetched.set(key, { ...place, fetched: { errorCode: ERROR.NOT_LEADER_OR_FOLLOWER } })
      continue
    }
    if (bytesLeft <= 0 || recordsLeft <= 0 || session.isClosed) continue
    const wanted = {
      ...{ bytesMax: bytesLeft, recordsMax: recordsLeft },
      isStrict: request.shareAcquireMode === 1,
    }
    const { batches, runs } = await share.take(session.member, served, wanted)
    // Who has gone meanwhile will not acknowledge it.
    if (session.isClosed) share.release(session.member)
    if (runs.length === 0) continue
    const records = Buffer.concat(batches)
    bytesLeft -= records.length
    for (const { first, last } of runs) recordsLeft -= last - first + 1
    const acquiredRecords = runs.map(({ first, last, count }) => ({
      ...{ firstOffset: first, lastOffset: last, deliveryCount: count },
    }))
    fetched.set(key, { ...place, fetched: { records, acquiredRecords } })
    turn(session, key)
  }
  return fetched
}

/** It comes last the next time. */
function turn(session: ShareSession, key: string): void {
  const place = session.places.get(key)
  if (place === undefined) return
  session.places.delete(key)
  session.places.set(key, place)
}

/** Begins at once to watch for records that may be given. */
function watch({ services, gone }: Call, found: readonly Found[]) {
  let tell: () => void = () => undefined
  const told = new Promise<void>((resolve) => {
    tell = resolve
  })
  const forget = found.flatMap(({ served, share }) =>
    served === undefined || share === undefined
      ? []
      : [served.onGrowth(tell), share.onAvailable(tell)],
  )
  services.onOwners.add(tell)
  gone.addEventListener('abort', tell)
  const stop = (): void => {
    for (const each of forget) each()
    services.onOwners.delete(tell)
    gone.removeEventListener('abort', tell)
  }
  return {
    stop,
    within: async (ms: number): Promise<void> => {
      const timer = services.clock.after(ms, tell)
      await told
      timer.cancel()
      stop()
    },
  }
}

/** How long what is given out is the member's. */
function lockOf({ services }: Call, { groupId }: { readonly groupId: string | null }) {
  return { acquisitionLockTimeoutMs: services.groupConfigs.lockMs(groupId ?? '') }
}

function answerOf(
  call: Call,
  fetched: FetchedByKey,
  settled: Settled,
): Omit<FetchResponse, 'acquisitionLockTimeoutMs'> {
  const { topics: known, members } = call.services
  const byTopic = new Map<string, Fetched[]>()
  const endpoints = new Map<number, FetchResponse['nodeEndpoints'][number]>()
  for (const [key, place] of new Map<string, SharedPlace>([...settled, ...fetched])) {
    const { topicId, index } = place
    const acknowledgeErrorCode = settled.get(key)?.errorCode ?? ERROR.NONE
    const given = fetched.get(key)?.fetched ?? {}
    const isMoved = [given.errorCode, acknowledgeErrorCode].includes(ERROR.NOT_LEADER_OR_FOLLOWER)
    const topic = known.byId(topicId)
    const leader = isMoved && topic ? leaderOf(call.services, topic, index) : undefined
    const node = members.all().find(({ nodeId }) => nodeId === leader?.leaderId)
    if (node !== undefined) endpoints.set(node.nodeId, { ...node, rack: null })
    const partitions = byTopic.get(topicId) ?? []
    partitions.push({
      ...{ index, errorCode: ERROR.NONE, errorMessage: null, acknowledgeErrorCode },
      ...{ acknowledgeErrorMessage: null, currentLeader: leader ?? NO_LEADER },
      ...{ records: NO_BYTES, acquiredRecords: [], ...given },
    })
    byTopic.set(topicId, partitions)
  }
  return {
    ...{ throttleTimeMs: 0, errorCode: ERROR.NONE, errorMessage: null },
    topics: [...byTopic].map(([id, partitions]) => ({ topicId: uuidOf({ id }), partitions })),
    nodeEndpoints: [...endpoints.values()],
  }
}

const NO_BYTES = Buffer.alloc(0)
const NO_LEADER = { leaderId: -1, leaderEpoch: -1 }

function failedFetch(errorCode: number): FetchResponse {
  return {
    ...{ throttleTimeMs: 0, errorCode, errorMessage: null, acquisitionLockTimeoutMs: 0 },
    ...{ topics: [], nodeEndpoints: [] },
  }
}
