/**
 * Fetch: whole batches as they are stored, from the partitions that are owned here. It waits until there are as
 * many bytes as the client asks for, or its time is up.
 */
import type { Topic } from '../../../core/topics/topic-logs.ts'
import { type Call, mayRead } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { FETCH } from '../codec/log-apis.ts'
import { ERROR } from '../errors.ts'
import type { AskedPartition, Wanted } from '../fetch-sessions.ts'
import { FETCH_BYTES_MAX, FETCH_WAIT_MS_MAX } from '../limits.ts'
import { endpointsOf, epochError, leaderOf, topicOf } from './leaders.ts'

type Request = RequestOf<typeof FETCH>
type Response = ResponseOf<typeof FETCH>
type Partition = Response['topics'][number]['partitions'][number]

interface Told {
  readonly wanted: Wanted
  readonly partition: Partition
}

interface Looked {
  readonly told: readonly Told[]
  readonly bytes: number
  readonly records: number
  readonly hasError: boolean
}

const NO_BYTES = Buffer.alloc(0)
/** The isolation level of readers that want what was committed only. */
const COMMITTED = 1
/** From this version on topics are named by their ids. */
const IDS_FROM = 13

export async function fetch(call: Call, request: Request): Promise<Response> {
  const { clock, counts, fetchSessions } = call.services
  const opened = fetchSessions.open(request, call.header.version >= IDS_FROM)
  if ('errorCode' in opened) return { ...EMPTY, errorCode: opened.errorCode }
  const { wanted, sessionId, isIncremental, toldOf } = opened
  const untilMs = clock.nowMs() + Math.min(Math.max(0, request.maxWaitMs), FETCH_WAIT_MS_MAX)
  const errors = await findAll(call, wanted)
  const of = { request, wanted, errors, isIncremental }
  const isOver = ({ bytes, hasError }: Looked): boolean =>
    bytes >= request.minBytes || hasError || untilMs <= clock.nowMs() || call.gone.aborted
  let looked = await look(call, of)
  while (!isOver(looked)) {
    // What has come since, or comes while it is looked, must not be missed.
    const growth = growthOf(call, wanted)
    looked = await look(call, of)
    if (isOver(looked)) growth.stop()
    else await growth.within(untilMs - clock.nowMs())
  }
  counts.messagesOut += looked.records
  for (const one of looked.told) {
    const { highWatermark, lastStableOffset, logStartOffset, records } = one.partition
    // Not the records: a session outlives them.
    one.wanted.told = { highWatermark, lastStableOffset, logStartOffset }
    if (records?.length !== 0) toldOf(one.wanted)
  }
  return { ...EMPTY, sessionId, ...answerOf(call, looked.told) }
}

const EMPTY: Response = {
  throttleTimeMs: 0,
  errorCode: ERROR.NONE,
  sessionId: 0,
  topics: [],
  nodeEndpoints: undefined,
}

function answerOf({ services }: Call, told: readonly Told[]) {
  const topics = new Map<string, { name: string; topicId: string; partitions: Partition[] }>()
  for (const { wanted, partition } of told) {
    const { name, topicId } = wanted
    const topic = topics.get(name || topicId)
    if (topic === undefined) topics.set(name || topicId, { name, topicId, partitions: [partition] })
    else topic.partitions.push(partition)
  }
  const leaders = told.map(({ partition }) => partition.currentLeader)
  return { topics: [...topics.values()], nodeEndpoints: endpointsOf(services, leaders) }
}

type Errors = ReadonlyMap<Wanted, Partition>

/** What cannot be read here, or by this client, has an error; of what was found before nothing is looked up anew. */
async function findAll(call: Call, all: readonly Wanted[]): Promise<Errors> {
  const errors = new Map<Wanted, Partition>()
  const allowed = new Map<string, boolean>()
  const isAllowed = (topic: string): boolean => {
    const known = allowed.get(topic) ?? mayRead(call, topic)
    allowed.set(topic, known)
    return known
  }
  const finding: Promise<void>[] = []
  for (const wanted of all) {
    const isFound = wanted.served?.isServed === true && epochErrorOf(wanted) === undefined
    if (isFound && isAllowed(wanted.topicName)) continue
    finding.push(
      find(call, wanted, isAllowed).then((error) => {
        if (error !== undefined) errors.set(wanted, error)
      }),
    )
  }
  await Promise.all(finding)
  return errors
}

async function find(
  call: Call,
  wanted: Wanted,
  isAllowed: (topic: string) => boolean,
): Promise<Partition | undefined> {
  const { services } = call
  const { asked } = wanted
  wanted.served = undefined
  const topic = topicOf(services, wanted)
  const name = topic?.name ?? wanted.name
  const isKnown = topic !== undefined || wanted.name !== ''
  if (isKnown && !isAllowed(name)) {
    return partitionOf(asked, { errorCode: ERROR.TOPIC_AUTHORIZATION_FAILED })
  }
  if (topic === undefined || asked.index < 0 || asked.index >= topic.partitions) {
    const errorCode = isKnown ? ERROR.UNKNOWN_TOPIC_OR_PARTITION : ERROR.UNKNOWN_TOPIC_ID
    return partitionOf(asked, { errorCode })
  }
  wanted.topicName = name
  const served = await services.topics.serve(topic, asked.index)
  if (served === undefined) return elsewhere(call, topic, asked)
  wanted.served = served
  const errorCode = epochErrorOf(wanted)
  if (errorCode === undefined) return undefined
  wanted.served = undefined
  return partitionOf(asked, { errorCode, currentLeader: leaderOf(services, topic, asked.index) })
}

function elsewhere({ services }: Call, topic: Topic, asked: AskedPartition): Partition {
  const currentLeader = leaderOf(services, topic, asked.index)
  return partitionOf(asked, { errorCode: ERROR.NOT_LEADER_OR_FOLLOWER, currentLeader })
}

function epochErrorOf({ asked, served }: Wanted): number | undefined {
  return epochError(asked.currentLeaderEpoch, served?.epoch ?? -1) || undefined
}

interface Looking {
  readonly request: Request
  readonly wanted: readonly Wanted[]
  readonly errors: Errors
  readonly isIncremental: boolean
}

/** What there is now, in the order of the request; at least one batch, however large it is. */
async function look(call: Call, { request, wanted: all, ...of }: Looking): Promise<Looked> {
  let bytesLeft = Math.min(Math.max(0, request.maxBytes), FETCH_BYTES_MAX)
  let bytes = 0
  let records = 0
  let hasError = false
  const told: Told[] = []
  for (const wanted of all) {
    const error = of.errors.get(wanted)
    const bytesMax = Math.min(wanted.asked.maxBytes, bytesLeft)
    const found = error ?? lookAt(call, wanted, { bytesMax, isFirst: bytes === 0, request })
    const { partition, count } =
      'index' in found ? { partition: found, count: 0 } : await readOf(wanted, found)
    const length = partition.records?.length ?? 0
    bytes += length
    bytesLeft -= length
    records += count
    hasError ||= partition.errorCode !== ERROR.NONE
    if (!of.isIncremental || isNews(wanted, partition)) told.push({ wanted, partition })
  }
  return { told, bytes, records, hasError }
}

function isNews({ told }: Wanted, partition: Partition): boolean {
  if (partition.errorCode !== ERROR.NONE || partition.records?.length !== 0) return true
  return (
    told?.highWatermark !== partition.highWatermark ||
    told.lastStableOffset !== partition.lastStableOffset ||
    told.logStartOffset !== partition.logStartOffset ||
    partition.divergingEpoch !== undefined
  )
}

interface Room {
  readonly bytesMax: number
  /** Nothing is in the answer yet. */
  readonly isFirst: boolean
  readonly request: Request
}

interface ToRead extends Room {
  readonly served: NonNullable<Wanted['served']>
  readonly ends: Partial<Partition>
  readonly until: number
}

/** What is said of the partition, or what is to be read of it. */
function lookAt(call: Call, { asked, served, topicName }: Wanted, room: Room): Partition | ToRead {
  if (served?.isServed !== true) {
    const topic = call.services.topics.get(topicName)
    if (topic !== undefined) return elsewhere(call, topic, asked)
    return partitionOf(asked, { errorCode: ERROR.NOT_LEADER_OR_FOLLOWER })
  }
  const { startOffset, endOffset, stableOffset } = served
  const ends = {
    highWatermark: endOffset,
    lastStableOffset: stableOffset,
    logStartOffset: startOffset,
  }
  if (asked.fetchOffset < startOffset || asked.fetchOffset > endOffset) {
    return partitionOf(asked, { ...ends, errorCode: ERROR.OFFSET_OUT_OF_RANGE })
  }
  if (asked.lastFetchedEpoch >= 0) {
    const end = served.endOfEpoch(asked.lastFetchedEpoch)
    if (end === undefined) {
      return partitionOf(asked, { ...ends, errorCode: ERROR.OFFSET_OUT_OF_RANGE })
    }
    const isDiverging = end.endOffset < asked.fetchOffset || end.epoch < asked.lastFetchedEpoch
    if (isDiverging) return partitionOf(asked, { ...ends, divergingEpoch: end })
  }
  const until = room.request.isolationLevel === COMMITTED ? stableOffset : endOffset
  if (asked.fetchOffset >= until || (room.bytesMax <= 0 && !room.isFirst)) {
    return partitionOf(asked, ends)
  }
  return { ...room, served, ends, until }
}

async function readOf(
  { asked }: Wanted,
  { served, ends, until, bytesMax, isFirst, request }: ToRead,
): Promise<{ partition: Partition; count: number }> {
  const read = await served.read(asked.fetchOffset, { bytesMax, endOffset: until })
  const { batches, bytes, records: count, nextOffset } = read
  // A single batch may be larger than what is left: only the first of an answer comes nevertheless.
  if (bytes > bytesMax && !isFirst) return { partition: partitionOf(asked, ends), count: 0 }
  const records = batches.length === 0 ? NO_BYTES : Buffer.concat(batches, bytes)
  const isCommitted = request.isolationLevel === COMMITTED
  const abortedTransactions = isCommitted ? served.abortedWithin(asked.fetchOffset, nextOffset) : []
  return { partition: partitionOf(asked, { ...ends, records, abortedTransactions }), count }
}

function partitionOf({ index }: AskedPartition, more: Partial<Partition>): Partition {
  return {
    index,
    errorCode: ERROR.NONE,
    highWatermark: -1,
    lastStableOffset: -1,
    logStartOffset: -1,
    abortedTransactions: [],
    preferredReadReplica: -1,
    records: NO_BYTES,
    divergingEpoch: undefined,
    currentLeader: undefined,
    ...more,
  }
}

/** Begins at once to watch for more in any of the partitions. */
function growthOf({ services, gone }: Call, wanted: readonly Wanted[]) {
  let tell: () => void = () => undefined
  const grown = new Promise<void>((resolve) => {
    tell = resolve
  })
  const forget = wanted.flatMap(({ served }) => served?.onGrowth(tell) ?? [])
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
      const timer = services.clock.after(Math.max(0, ms), tell)
      await grown
      timer.cancel()
      stop()
    },
  }
}
