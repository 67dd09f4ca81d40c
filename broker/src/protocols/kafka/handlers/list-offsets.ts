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
    ...{ index, errorCode, timestamp: -1, offset: -1, leaderEpoch: -1 },
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
  if (asked.timestamp < EARLIEST) return failed(ERROR.INVALID_REQUEST)
  const isStable = request.isolationLevel === 1
  const { offset, timestamp } = await offsetAt(served, asked.timestamp, isStable)
  return { index, errorCode, timestamp, offset, leaderEpoch: served.epoch }
}

async function offsetAt(served: ServedPartition, timestamp: number, isStable: boolean) {
  if (timestamp === EARLIEST) return { offset: served.startOffset, timestamp: -1 }
  if (timestamp === LATEST) {
    return { offset: isStable ? served.stableOffset : served.endOffset, timestamp: -1 }
  }
  return (await served.offsetForTime(timestamp)) ?? { offset: -1, timestamp: -1 }
}
