/** ListOffsets: where a partition begins and ends, and what came first at a time. */
import type { ServedPartition } from '../../../core/topics/topic-logs.ts'
import { type Call, maySee } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { LIST_OFFSETS } from '../codec/log-apis.ts'
import { ERROR } from '../errors.ts'
import { epochError } from './leaders.ts'

type Request = RequestOf<typeof LIST_OFFSETS>
type Response = ResponseOf<typeof LIST_OFFSETS>
type Asked = Request['topics'][number]['partitions'][number]
type Partition = Response['topics'][number]['partitions'][number]

const LATEST = -1
const EARLIEST = -2
const NEWEST = -3
const EARLIEST_LOCAL = -4
const LATEST_TIERED = -5
const EARLIEST_PENDING_UPLOAD = -6

/** First version that knows each time that is none. */
const SPECIAL_FROM: Readonly<Record<number, number>> = {
  [LATEST]: 0,
  [EARLIEST]: 0,
  [NEWEST]: 7,
  [EARLIEST_LOCAL]: 8,
  [LATEST_TIERED]: 9,
  [EARLIEST_PENDING_UPLOAD]: 11,
}

/** Nothing is found. */
const NOTHING = { offset: -1, timestamp: -1, leaderEpoch: -1 }

export async function listOffsets(call: Call, request: Request): Promise<Response> {
  const topics = await Promise.all(
    request.topics.map(async ({ name, partitions }) => ({
      name,
      partitions: await Promise.all(
        partitions.map((asked) => find(call, { name, asked, request })),
      ),
    })),
  )
  return { throttleTimeMs: 0, topics }
}

async function find(
  call: Call,
  { name, asked, request }: { name: string; asked: Asked; request: Request },
): Promise<Partition> {
  const { index } = asked
  const failed = (errorCode: number): Partition => ({
    ...{ ...NOTHING, index, errorCode },
  })
  if (!maySee(call, name)) return failed(ERROR.TOPIC_AUTHORIZATION_FAILED)
  const { topics } = call.services
  const topic = topics.get(name)
  if (topic === undefined || index < 0 || index >= topic.partitions) {
    return failed(ERROR.UNKNOWN_TOPIC_OR_PARTITION)
  }
  const served = await topics.serve(topic, index)
  if (served === undefined) return failed(ERROR.NOT_LEADER_OR_FOLLOWER)
  const errorCode = epochError(asked.currentLeaderEpoch, served.epoch)
  if (errorCode !== ERROR.NONE) return failed(errorCode)
  const { timestamp } = asked
  const from = timestamp < 0 ? (SPECIAL_FROM[timestamp] ?? Number.POSITIVE_INFINITY) : 0
  if (call.header.version < from) return failed(ERROR.UNSUPPORTED_VERSION)
  const isStable = request.isolationLevel === 1
  return { index, errorCode, ...(await offsetAt(served, timestamp, isStable)) }
}

async function offsetAt(served: ServedPartition, timestamp: number, isStable: boolean) {
  const { startOffset, endOffset, stableOffset, epoch } = served
  const until = isStable ? stableOffset : endOffset
  switch (timestamp) {
    case LATEST:
      return { offset: until, timestamp: -1, leaderEpoch: epoch }
    // Everything is where its owner is.
    case EARLIEST:
    case EARLIEST_LOCAL:
      return { offset: startOffset, timestamp: -1, leaderEpoch: served.epochAt(startOffset) }
    case LATEST_TIERED:
    case EARLIEST_PENDING_UPLOAD:
      return NOTHING
    default: {
      const isNewest = timestamp === NEWEST
      const found = await (isNewest ? served.newest() : served.offsetForTime(timestamp))
      if (found === undefined || found.offset >= until) return NOTHING
      return { ...found, leaderEpoch: served.epochAt(found.offset) }
    }
  }
}
