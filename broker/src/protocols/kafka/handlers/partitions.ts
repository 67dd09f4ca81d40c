/** CreatePartitions, DeleteRecords, DescribeLogDirs, and where partitions are: that is decided elsewhere. */
import { BrokerError } from '../../../core/errors.ts'
import type { ServedPartition, Topic } from '../../../core/topics/topic-logs.ts'
import { type Call, may, maySee } from '../call.ts'
import type {
  ALTER_PARTITION_REASSIGNMENTS,
  CREATE_PARTITIONS,
  DELETE_RECORDS,
  DESCRIBE_LOG_DIRS,
  ELECT_LEADERS,
  LIST_PARTITION_REASSIGNMENTS,
} from '../codec/admin-apis.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import { ERROR } from '../errors.ts'
import { leaderOf } from './leaders.ts'
import { placed } from './placing.ts'

interface Failure {
  readonly errorCode: number
  readonly errorMessage: string | null
}

const FINE: Failure = { errorCode: ERROR.NONE, errorMessage: null }

function failed(errorCode: number, errorMessage: string): Failure {
  return { errorCode, errorMessage }
}

const NO_PARTITION = failed(ERROR.UNKNOWN_TOPIC_OR_PARTITION, 'there is no such partition')

type More = RequestOf<typeof CREATE_PARTITIONS>

export async function createPartitions(
  call: Call,
  { topics, validateOnly }: More,
): Promise<ResponseOf<typeof CREATE_PARTITIONS>> {
  const names = topics.map(({ name }) => name)
  const results = await Promise.all(
    topics.map(async (asked) => {
      const { name } = asked
      const isTwice = names.indexOf(name) !== names.lastIndexOf(name)
      if (isTwice) return { name, ...failed(ERROR.INVALID_REQUEST, 'the topic is named twice') }
      return { name, ...(await grow(call, asked, validateOnly)) }
    }),
  )
  return { throttleTimeMs: 0, results }
}

async function grow(
  call: Call,
  { name, count, assignments }: More['topics'][number],
  validateOnly: boolean,
): Promise<Failure> {
  const { topics } = call.services
  if (!may(call, 'alter', ['address', name])) {
    return failed(ERROR.TOPIC_AUTHORIZATION_FAILED, 'not allowed')
  }
  const topic = topics.get(name)
  if (topic === undefined) return failed(ERROR.UNKNOWN_TOPIC_OR_PARTITION, 'no such topic')
  if (assignments !== null && assignments.length > 0) {
    return failed(ERROR.INVALID_REPLICA_ASSIGNMENT, ASSIGNED)
  }
  if (count <= topic.partitions) {
    return failed(ERROR.INVALID_PARTITIONS, `the topic has ${topic.partitions} partitions already`)
  }
  const refusal = topics.refusal({ name, partitions: count, config: {} })
  if (refusal !== undefined) return failed(ERROR.INVALID_PARTITIONS, refusal)
  if (validateOnly) return FINE
  try {
    await topics.alter(name, (now) => {
      if (count > now.partitions) return { ...now, partitions: count }
      throw new BrokerError('REFUSED', `the topic has ${now.partitions} partitions already`)
    })
    await placed(call, name)
    return FINE
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    const code = error.code === 'REFUSED' ? ERROR.INVALID_PARTITIONS : ERROR.REQUEST_TIMED_OUT
    return failed(code, error.message)
  }
}

const ASSIGNED = 'the Placement Center assigns partitions: robust cluster move-shard'

type Records = RequestOf<typeof DELETE_RECORDS>
type Trimmed = ResponseOf<typeof DELETE_RECORDS>['topics'][number]['partitions'][number]

export async function deleteRecords(
  call: Call,
  request: Records,
): Promise<ResponseOf<typeof DELETE_RECORDS>> {
  const topics = await Promise.all(
    request.topics.map(async ({ name, partitions }) => ({
      name,
      partitions: await Promise.all(partitions.map((asked) => trim(call, name, asked))),
    })),
  )
  return { throttleTimeMs: 0, topics }
}

/** All that is there. */
const EVERYTHING = -1

async function trim(
  call: Call,
  name: string,
  { index, offset }: Records['topics'][number]['partitions'][number],
): Promise<Trimmed> {
  const failure = (errorCode: number): Trimmed => ({ index, lowWatermark: -1, errorCode })
  const { topics } = call.services
  if (!may(call, 'delete', ['address', name])) return failure(ERROR.TOPIC_AUTHORIZATION_FAILED)
  const topic = topics.get(name)
  if (topic === undefined || index < 0 || index >= topic.partitions) {
    return failure(ERROR.UNKNOWN_TOPIC_OR_PARTITION)
  }
  const cleanup = topics.shape(name)?.config['cleanup'] ?? topics.defaults['cleanup']
  // Of a compacted topic somebody counts on the newest record of each key.
  if (!String(cleanup).includes('delete')) return failure(ERROR.POLICY_VIOLATION)
  const served = await topics.serve(topic, index)
  if (served === undefined) return failure(ERROR.NOT_LEADER_OR_FOLLOWER)
  const before = offset === EVERYTHING ? served.endOffset : offset
  if (before < 0 || before > served.endOffset) return failure(ERROR.OFFSET_OUT_OF_RANGE)
  const isDurable = await served.deleteBefore(before)
  if (!isDurable) return failure(ERROR.NOT_LEADER_OR_FOLLOWER)
  return { index, lowWatermark: served.startOffset, errorCode: ERROR.NONE }
}

/** There is one storage; a broker tells of the partitions that it owns. */
const LOG_DIR = '/robust'
/** Partitions that are opened at once to be measured. */
const TOGETHER = 32

export async function describeLogDirs(
  call: Call,
  request: RequestOf<typeof DESCRIBE_LOG_DIRS>,
): Promise<ResponseOf<typeof DESCRIBE_LOG_DIRS>> {
  const { topics } = call.services
  const asked = request.topics?.flatMap(({ name, partitions }) => {
    const topic = topics.get(name)
    return topic === undefined ? [] : [{ topic, partitions }]
  })
  const all = topics.all().map((topic) => ({ topic, partitions: numbersOf(topic) }))
  const found: { name: string; partitions: Measured[] }[] = []
  for (const { topic, partitions } of asked ?? all) {
    const measured = await measure(call, topic, partitions)
    if (measured.length > 0) found.push({ name: topic.name, partitions: measured })
  }
  const dir = { errorCode: ERROR.NONE, logDir: LOG_DIR, topics: found }
  const results = [{ ...dir, totalBytes: -1, usableBytes: -1 }]
  return { throttleTimeMs: 0, errorCode: ERROR.NONE, results }
}

interface Measured {
  readonly index: number
  readonly size: number
  readonly offsetLag: number
  readonly isFuture: boolean
}

function numbersOf({ partitions }: Topic): number[] {
  return Array.from({ length: partitions }, (_, index) => index)
}

async function measure(call: Call, topic: Topic, partitions: readonly number[]) {
  const { topics } = call.services
  const known = partitions.filter((index) => index >= 0 && index < topic.partitions)
  const measured: Measured[] = []
  for (let from = 0; from < known.length; from += TOGETHER) {
    const some = known.slice(from, from + TOGETHER)
    const served = await Promise.all(some.map((index) => topics.serve(topic, index)))
    for (const [at, one] of served.entries()) measured.push(...sizeOf(some[at] ?? 0, one))
  }
  return measured
}

function sizeOf(index: number, served: ServedPartition | undefined): Measured[] {
  if (served === undefined) return []
  return [{ index, size: served.bytes, offsetLag: 0, isFuture: false }]
}

/** An owner is elected as soon as there is none: there is never one to be preferred. */
export function electLeaders(
  call: Call,
  { topics: asked }: RequestOf<typeof ELECT_LEADERS>,
): ResponseOf<typeof ELECT_LEADERS> {
  const { services } = call
  const results = (asked ?? []).map(({ name, partitions }) => {
    const topic = maySee(call, name) ? services.topics.get(name) : undefined
    const outcomes = partitions.map((index) => {
      if (topic === undefined || index < 0 || index >= topic.partitions) {
        return { index, ...NO_PARTITION }
      }
      const hasLeader = leaderOf(services, topic, index) !== undefined
      return { index, ...(hasLeader ? NOT_NEEDED : NO_LEADER) }
    })
    return { name, partitions: outcomes }
  })
  return { throttleTimeMs: 0, errorCode: ERROR.NONE, results }
}

const NOT_NEEDED = failed(ERROR.ELECTION_NOT_NEEDED, 'the owner of the partition is its leader')
const NO_LEADER = failed(ERROR.PREFERRED_LEADER_NOT_AVAILABLE, 'nobody owns the partition just now')

export function alterPartitionReassignments(
  call: Call,
  request: RequestOf<typeof ALTER_PARTITION_REASSIGNMENTS>,
): ResponseOf<typeof ALTER_PARTITION_REASSIGNMENTS> {
  const { services } = call
  const topics = request.topics.map(({ name, partitions }) => {
    const topic = services.topics.get(name)
    const outcomes = partitions.map(({ index, replicas }) => {
      if (topic === undefined || index < 0 || index >= topic.partitions) {
        return { index, ...NO_PARTITION }
      }
      if (replicas === null) return { index, ...NOT_MOVING }
      const isThere =
        replicas.length === 1 && replicas[0] === leaderOf(services, topic, index)?.leaderId
      const refusal = failed(ERROR.INVALID_REPLICA_ASSIGNMENT, ASSIGNED)
      return { index, ...(isThere ? FINE : refusal) }
    })
    return { name, partitions: outcomes }
  })
  const { allowReplicationFactorChange } = request
  return { throttleTimeMs: 0, allowReplicationFactorChange, ...FINE, topics }
}

const NOT_MOVING = failed(ERROR.NO_REASSIGNMENT_IN_PROGRESS, 'the partition is not moving')

/** A partition moves in one step: there is nothing under way to be told of. */
export function listPartitionReassignments(): ResponseOf<typeof LIST_PARTITION_REASSIGNMENTS> {
  return { throttleTimeMs: 0, ...FINE, topics: [] }
}
