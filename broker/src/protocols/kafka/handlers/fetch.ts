/**
 * Fetch: whole batches as they are stored, from the partitions that are owned here. It waits until there are as
 * many bytes as the client asks for, or its time is up. Sessions (KIP-227) are not kept: each request says all.
 */
import type { ServedPartition } from '../../../core/topics/topic-logs.ts'
import { type Call, mayRead } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { FETCH } from '../codec/log-apis.ts'
import { ERROR } from '../errors.ts'
import { FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX } from '../limits.ts'
import { epochError, leaderOf } from './leaders.ts'

type Request = RequestOf<typeof FETCH>
type Response = ResponseOf<typeof FETCH>
type Asked = Request['topics'][number]['partitions'][number]
type Partition = Response['topics'][number]['partitions'][number]

interface Found {
  readonly asked: Asked
  readonly served: ServedPartition | undefined
  readonly error: Partition | undefined
}

interface Looked {
  readonly topics: Response['topics']
  readonly bytes: number
  readonly records: number
  readonly hasError: boolean
}

const NO_BYTES = Buffer.alloc(0)
/** The isolation level of readers that want what was committed only. */
const COMMITTED = 1
/** A session of version 7 that begins, or none at all. */
const NO_SESSION = 0

export async function fetch(call: Call, request: Request): Promise<Response> {
  const { clock, counts } = call.services
  if (request.sessionId !== NO_SESSION) {
    return { ...EMPTY, errorCode: ERROR.FETCH_SESSION_ID_NOT_FOUND }
  }
  const waitMs = Math.min(Math.max(0, request.maxWaitMs), FETCH_WAIT_MS_MAX)
  const untilMs = clock.nowMs() + waitMs
  const topics = await Promise.all(
    request.topics.map(async ({ name, partitions }) => ({
      name,
      partitions: await Promise.all(partitions.map((asked) => find(call, name, asked))),
    })),
  )
  const served = topics.flatMap(({ partitions }) => partitions.flatMap((one) => one.served ?? []))
  for (;;) {
    // What comes while it is looked must not be missed.
    const growth = growthOf(call, served)
    const looked = await look(request, topics)
    const leftMs = untilMs - clock.nowMs()
    const isEnough = looked.bytes >= request.minBytes || looked.hasError
    if (isEnough || leftMs <= 0 || call.gone.aborted) {
      growth.stop()
      counts.messagesOut += looked.records
      return { ...EMPTY, topics: looked.topics }
    }
    await growth.within(leftMs)
  }
}

const EMPTY: Response = {
  throttleTimeMs: 0,
  errorCode: ERROR.NONE,
  sessionId: NO_SESSION,
  topics: [],
}

async function find(call: Call, name: string, asked: Asked): Promise<Found> {
  const { services } = call
  const failed = (errorCode: number): Found => ({
    ...{ asked, served: undefined },
    error: partitionOf(asked, { errorCode }),
  })
  if (!mayRead(call, name)) return failed(ERROR.TOPIC_AUTHORIZATION_FAILED)
  const topic = services.topics.get(name)
  if (topic === undefined || asked.index < 0 || asked.index >= topic.partitions) {
    return failed(ERROR.UNKNOWN_TOPIC_OR_PARTITION)
  }
  const served = await services.topics.serve(topic, asked.index)
  const currentLeader = leaderOf(services, topic, asked.index)
  if (served === undefined) {
    const errorCode = ERROR.NOT_LEADER_OR_FOLLOWER
    return { asked, served, error: partitionOf(asked, { errorCode, currentLeader }) }
  }
  const errorCode = epochError(asked.currentLeaderEpoch, served.epoch)
  if (errorCode === ERROR.NONE) return { asked, served, error: undefined }
  return { asked, served: undefined, error: partitionOf(asked, { errorCode, currentLeader }) }
}

/** What there is now, in the order of the request; at least one batch, however large it is. */
async function look(
  request: Request,
  topics: readonly { readonly name: string; readonly partitions: readonly Found[] }[],
): Promise<Looked> {
  let bytesLeft = Math.min(Math.max(0, request.maxBytes), FETCH_BYTES_MAX)
  let bytes = 0
  let records = 0
  let hasError = false
  const found: { name: string; partitions: Partition[] }[] = []
  for (const { name, partitions } of topics) {
    const read: Partition[] = []
    for (const one of partitions) {
      const bytesMax = Math.min(one.asked.maxBytes, bytesLeft)
      const isFirst = bytes === 0
      const { partition, count } = await lookAt(one, { bytesMax, isFirst, request })
      const length = partition.records?.length ?? 0
      read.push(partition)
      bytes += length
      bytesLeft -= length
      records += count
      hasError ||= partition.errorCode !== ERROR.NONE
    }
    found.push({ name, partitions: read })
  }
  return { topics: found, bytes, records, hasError }
}

async function lookAt(
  { asked, served, error }: Found,
  { bytesMax, isFirst, request }: { bytesMax: number; isFirst: boolean; request: Request },
): Promise<{ partition: Partition; count: number }> {
  if (served === undefined || error !== undefined) {
    return { partition: error ?? partitionOf(asked, {}), count: 0 }
  }
  if (!served.isServed) {
    return { partition: partitionOf(asked, { errorCode: ERROR.NOT_LEADER_OR_FOLLOWER }), count: 0 }
  }
  const { startOffset, endOffset, stableOffset } = served
  const ends = {
    highWatermark: endOffset,
    lastStableOffset: stableOffset,
    logStartOffset: startOffset,
  }
  if (asked.fetchOffset < startOffset || asked.fetchOffset > endOffset) {
    return {
      partition: partitionOf(asked, { ...ends, errorCode: ERROR.OFFSET_OUT_OF_RANGE }),
      count: 0,
    }
  }
  const until = request.isolationLevel === COMMITTED ? stableOffset : endOffset
  if (bytesMax <= 0 && !isFirst) return { partition: partitionOf(asked, ends), count: 0 }
  const {
    batches,
    bytes,
    records: count,
    nextOffset,
  } = await served.read(asked.fetchOffset, { bytesMax, endOffset: until })
  // A single batch may be larger than what is left: only the first of an answer comes nevertheless.
  if (bytes > bytesMax && !isFirst) return { partition: partitionOf(asked, ends), count: 0 }
  const records = batches.length === 0 ? NO_BYTES : Buffer.concat(batches, bytes)
  const isCommitted = request.isolationLevel === COMMITTED
  const abortedTransactions = isCommitted ? served.abortedWithin(asked.fetchOffset, nextOffset) : []
  return { partition: partitionOf(asked, { ...ends, records, abortedTransactions }), count }
}

function partitionOf({ index }: Asked, more: Partial<Partition>): Partition {
  return {
    index,
    errorCode: ERROR.NONE,
    highWatermark: -1,
    lastStableOffset: -1,
    logStartOffset: -1,
    abortedTransactions: [],
    preferredReadReplica: -1,
    records: NO_BYTES,
    currentLeader: undefined,
    ...more,
  }
}

/** Begins at once to watch for more in any of the partitions. */
function growthOf({ services, gone }: Call, served: readonly ServedPartition[]) {
  let tell: () => void = () => undefined
  const grown = new Promise<void>((resolve) => {
    tell = resolve
  })
  const forget = served.map((one) => one.onGrowth(tell))
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
      await grown
      timer.cancel()
      stop()
    },
  }
}
