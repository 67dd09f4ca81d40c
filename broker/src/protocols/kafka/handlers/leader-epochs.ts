/** OffsetForLeaderEpoch: where an epoch of a partition ended, so that a reader finds out what is there no more. */
import { type Call, maySee } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { OFFSET_FOR_LEADER_EPOCH } from '../codec/log-apis.ts'
import { ERROR } from '../errors.ts'
import { epochError } from './leaders.ts'

type Request = RequestOf<typeof OFFSET_FOR_LEADER_EPOCH>
type Response = ResponseOf<typeof OFFSET_FOR_LEADER_EPOCH>
type Asked = Request['topics'][number]['partitions'][number]
type Partition = Response['topics'][number]['partitions'][number]

export async function offsetForLeaderEpoch(call: Call, request: Request): Promise<Response> {
  const topics = request.topics.map(async ({ name, partitions }) => ({
    name,
    partitions: await Promise.all(partitions.map((asked) => find(call, name, asked))),
  }))
  return { throttleTimeMs: 0, topics: await Promise.all(topics) }
}

async function find(call: Call, name: string, asked: Asked): Promise<Partition> {
  const { index, currentLeaderEpoch, leaderEpoch } = asked
  const failed = (errorCode: number): Partition => ({
    ...{ errorCode, index, leaderEpoch: -1, endOffset: -1 },
  })
  if (!maySee(call, name)) return failed(ERROR.TOPIC_AUTHORIZATION_FAILED)
  const { topics } = call.services
  const topic = topics.get(name)
  if (topic === undefined || index < 0 || index >= topic.partitions) {
    return failed(ERROR.UNKNOWN_TOPIC_OR_PARTITION)
  }
  const served = await topics.serve(topic, index)
  if (served === undefined) return failed(ERROR.NOT_LEADER_OR_FOLLOWER)
  const errorCode = epochError(currentLeaderEpoch, served.epoch)
  if (errorCode !== ERROR.NONE) return failed(errorCode)
  const end = leaderEpoch < 0 ? undefined : served.endOfEpoch(leaderEpoch)
  if (end === undefined) return failed(ERROR.NONE)
  return { errorCode, index, leaderEpoch: end.epoch, endOffset: end.endOffset }
}
