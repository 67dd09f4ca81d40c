/** CreateTopics and DeleteTopics. What cannot be done as it is asked for is refused, never passed over. */
import { BrokerError } from '../../../core/errors.ts'
import type { NewTopic } from '../../../core/topics/topic-logs.ts'
import { type Call, may, mayCreate, maySee } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { CREATE_TOPICS, DELETE_TOPICS } from '../codec/log-apis.ts'
import { ERROR } from '../errors.ts'
import { DEFAULT_PARTITIONS } from '../limits.ts'

type CreateRequest = RequestOf<typeof CREATE_TOPICS>
type CreateResponse = ResponseOf<typeof CREATE_TOPICS>
type Asked = CreateRequest['topics'][number]

/** -1 means as usual (KIP-464). */
const AS_USUAL = -1

/** Kafka's rule for names. Topics that were made in other ways may have others. */
export function isTopicName(name: string): boolean {
  return /^[a-zA-Z0-9._-]{1,249}$/.test(name) && name !== '.' && name !== '..'
}

export async function createTopics(call: Call, request: CreateRequest): Promise<CreateResponse> {
  const names = request.topics.map(({ name }) => name)
  const topics = await Promise.all(
    request.topics.map(async (asked) => {
      const isTwice = names.indexOf(asked.name) !== names.lastIndexOf(asked.name)
      const refusal = isTwice
        ? refuse(ERROR.INVALID_REQUEST, 'the topic is named twice')
        : await create(call, asked, request.validateOnly)
      return {
        name: asked.name,
        errorCode: refusal?.code ?? ERROR.NONE,
        errorMessage: refusal?.message ?? null,
      }
    }),
  )
  return { throttleTimeMs: 0, topics }
}

interface Refusal {
  readonly code: number
  readonly message: string
}

function refuse(code: number, message: string): Refusal {
  return { code, message }
}

/** Undefined: it is made, or could be. */
async function create(
  call: Call,
  asked: Asked,
  validateOnly: boolean,
): Promise<Refusal | undefined> {
  const { topics } = call.services
  if (!isTopicName(asked.name)) return refuse(ERROR.INVALID_TOPIC_EXCEPTION, 'no name for a topic')
  if (!mayCreate(call, asked.name)) return refuse(ERROR.TOPIC_AUTHORIZATION_FAILED, 'not allowed')
  if (topics.get(asked.name) !== undefined) return EXISTS
  const topic = newTopicOf(asked)
  if ('code' in topic) return topic
  const refusal = topics.refusal(topic)
  if (refusal !== undefined) return refuse(ERROR.INVALID_CONFIG, refusal)
  if (validateOnly) return undefined
  try {
    return (await topics.create(topic)) ? undefined : EXISTS
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    const code = error.code === 'REFUSED' ? ERROR.INVALID_CONFIG : ERROR.REQUEST_TIMED_OUT
    return refuse(code, error.message)
  }
}

const EXISTS = refuse(ERROR.TOPIC_ALREADY_EXISTS, 'there is a topic of that name')

function newTopicOf(asked: Asked): NewTopic | Refusal {
  const { name, numPartitions, replicationFactor, assignments } = asked
  if (assignments.length > 0) {
    return refuse(ERROR.INVALID_REPLICA_ASSIGNMENT, 'the Placement Center assigns partitions')
  }
  const partitions = numPartitions === AS_USUAL ? DEFAULT_PARTITIONS : numPartitions
  if (partitions < 1) return refuse(ERROR.INVALID_PARTITIONS, 'a topic has one partition or more')
  // Copies are what the storage keeps: any number that a cluster could have is taken for its promise.
  if (replicationFactor !== AS_USUAL && replicationFactor < 1) {
    return refuse(ERROR.INVALID_REPLICATION_FACTOR, 'the replication factor is 1 or more')
  }
  const config: Record<string, number | string | null> = {}
  for (const { name: setting, value } of asked.configs) {
    const read = CONFIGS[setting]
    if (read === undefined)
      return refuse(ERROR.INVALID_CONFIG, `there is no setting ${setting} here`)
    if (value !== null) Object.assign(config, read(value))
  }
  return { name, partitions, config }
}

type Config = Record<string, number | string | null>

const TIMESTAMPS: Readonly<Record<string, string>> = {
  CreateTime: 'producer',
  LogAppendTime: 'broker',
}

/** Kafka's names, and the settings that they are. */
export const CONFIGS: Readonly<Record<string, (value: string) => Config>> = {
  'cleanup.policy': (value) => ({
    cleanup: value
      .split(',')
      .map((part) => part.trim())
      .sort()
      .join(','),
  }),
  'retention.ms': (value) => ({ 'retention-ms': value === '-1' ? null : Number(value) }),
  'retention.bytes': (value) => ({ 'retention-bytes': value === '-1' ? null : Number(value) }),
  'delete.retention.ms': (value) => ({ 'tombstone-delay-ms': Number(value) }),
  'min.compaction.lag.ms': (value) => ({ 'compaction-lag-ms': Number(value) }),
  'min.cleanable.dirty.ratio': (value) => ({ 'dirty-percent': Math.round(Number(value) * 100) }),
  'segment.bytes': (value) => ({ 'segment-bytes': Number(value) }),
  'segment.ms': (value) => ({ 'segment-ms': Number(value) }),
  'message.timestamp.type': (value) => ({ timestamps: TIMESTAMPS[value] ?? value }),
}

export async function deleteTopics(
  call: Call,
  request: RequestOf<typeof DELETE_TOPICS>,
): Promise<ResponseOf<typeof DELETE_TOPICS>> {
  const topics = await Promise.all(
    request.topicNames.map(async (name) => ({ name, errorCode: await remove(call, name) })),
  )
  return { throttleTimeMs: 0, topics }
}

async function remove(call: Call, name: string): Promise<number> {
  const { topics } = call.services
  if (!maySee(call, name) || !may(call, 'delete', ['address', name])) {
    return ERROR.TOPIC_AUTHORIZATION_FAILED
  }
  if (topics.get(name) === undefined) return ERROR.UNKNOWN_TOPIC_OR_PARTITION
  try {
    return (await topics.remove(name)) ? ERROR.NONE : ERROR.REQUEST_TIMED_OUT
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    return ERROR.REQUEST_TIMED_OUT
  }
}
