/** CreateTopics and DeleteTopics. What cannot be done as it is asked for is refused, never passed over. */
import { BrokerError } from '../../../core/errors.ts'
import type { NewTopic, TopicSettings } from '../../../core/topics/topic-logs.ts'
import { type Call, may, mayCreate, maySee } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { CREATE_TOPICS, DELETE_TOPICS } from '../codec/log-apis.ts'
import { topicConfigs, withConfig } from '../configs.ts'
import { ERROR } from '../errors.ts'
import { DEFAULT_PARTITIONS } from '../limits.ts'
import { topicIdOf, uuidOf } from '../mapping.ts'
import { placed } from './placing.ts'

type CreateRequest = RequestOf<typeof CREATE_TOPICS>
type CreateResponse = ResponseOf<typeof CREATE_TOPICS>
type Asked = CreateRequest['topics'][number]
type Created = CreateResponse['topics'][number]

/** -1 means as usual (KIP-464). */
const AS_USUAL = -1
const NO_ID = '0'.repeat(32)
/** Storage keeps the copies: to clients the owner is the one replica. */
const REPLICAS = 1

/** Kafka's rule for names. Topics that were made in other ways may have others. */
export function isTopicName(name: string): boolean {
  return /^[a-zA-Z0-9._-]{1,249}$/.test(name) && name !== '.' && name !== '..'
}

export async function createTopics(call: Call, request: CreateRequest): Promise<CreateResponse> {
  const names = request.topics.map(({ name }) => name)
  const topics = await Promise.all(
    request.topics.map((asked) => {
      const isTwice = names.indexOf(asked.name) !== names.lastIndexOf(asked.name)
      return isTwice
        ? refused(asked.name, refuse(ERROR.INVALID_REQUEST, 'the topic is named twice'))
        : create(call, asked, request.validateOnly)
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

function refused(name: string, { code, message }: Refusal): Created {
  return {
    ...{ name, topicId: NO_ID, errorCode: code, errorMessage: message },
    ...{ configErrorCode: undefined, numPartitions: -1, replicationFactor: -1, configs: [] },
  }
}

async function create(call: Call, asked: Asked, validateOnly: boolean): Promise<Created> {
  const { topics } = call.services
  const { name } = asked
  if (!isTopicName(name)) {
    return refused(name, refuse(ERROR.INVALID_TOPIC_EXCEPTION, 'no name for a topic'))
  }
  if (!mayCreate(call, name)) {
    return refused(name, refuse(ERROR.TOPIC_AUTHORIZATION_FAILED, 'not allowed'))
  }
  if (topics.get(name) !== undefined) return refused(name, EXISTS)
  const topic = newTopicOf(asked)
  if ('code' in topic) return refused(name, topic)
  const wrong = topics.refusal(topic)
  if (wrong !== undefined) return refused(name, refuse(ERROR.INVALID_CONFIG, wrong))
  if (validateOnly) return created(call, topic)
  try {
    return (await topics.create(topic)) ? created(call, topic) : refused(name, EXISTS)
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    const code = error.code === 'REFUSED' ? ERROR.INVALID_CONFIG : ERROR.REQUEST_TIMED_OUT
    return refused(name, refuse(code, error.message))
  }
}

const EXISTS = refuse(ERROR.TOPIC_ALREADY_EXISTS, 'there is a topic of that name')

/** With its settings, for whoever may see them (KIP-525). */
async function created(call: Call, { name, partitions, config }: NewTopic): Promise<Created> {
  const { topics } = call.services
  const made = topics.get(name) && (await placed(call, name))
  const isShown = may(call, 'describe-configs', ['address', name])
  return {
    name,
    topicId: made === undefined ? NO_ID : uuidOf(made),
    ...{ errorCode: ERROR.NONE, errorMessage: null },
    configErrorCode: isShown ? undefined : ERROR.TOPIC_AUTHORIZATION_FAILED,
    numPartitions: isShown ? partitions : -1,
    replicationFactor: isShown ? REPLICAS : -1,
    configs: isShown ? topicConfigs(config, topics.defaults) : null,
  }
}

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
  let config: TopicSettings = {}
  for (const { name: setting, value } of asked.configs) {
    const next = withConfig(config, [setting, value])
    if (typeof next === 'string') return refuse(ERROR.INVALID_CONFIG, next)
    config = next
  }
  return { name, partitions, config }
}

type DeleteRequest = RequestOf<typeof DELETE_TOPICS>
type DeleteResponse = ResponseOf<typeof DELETE_TOPICS>

/** By name, and from version 6 on by name or id. */
export async function deleteTopics(call: Call, request: DeleteRequest): Promise<DeleteResponse> {
  const byName = request.topicNames.map((name) => ({ name, topicId: NO_ID }))
  const topics = await Promise.all(
    [...byName, ...request.topics].map(({ name, topicId }) =>
      name === null ? removeById(call, topicId) : removeByName(call, name),
    ),
  )
  return { throttleTimeMs: 0, topics }
}

type Deleted = DeleteResponse['topics'][number]

async function removeByName(call: Call, name: string): Promise<Deleted> {
  const { topics } = call.services
  const known = topics.get(name)
  const topicId = known === undefined ? NO_ID : uuidOf(known)
  return { name, topicId, errorCode: await remove(call, name), errorMessage: null }
}

/** Whoever may not see it learns nothing of its name. */
async function removeById(call: Call, topicId: string): Promise<Deleted> {
  const known = call.services.topics.byId(topicIdOf(topicId))
  if (known === undefined || !maySee(call, known.name)) {
    const errorCode =
      known === undefined ? ERROR.UNKNOWN_TOPIC_ID : ERROR.TOPIC_AUTHORIZATION_FAILED
    return { name: null, topicId, errorCode, errorMessage: null }
  }
  return removeByName(call, known.name)
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
