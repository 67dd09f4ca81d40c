/** Metadata and ApiVersions: what a client asks before it does anything. */
import { BrokerError } from '../../../core/errors.ts'
import type { Topic } from '../../../core/topics/topic-logs.ts'
import { CLUSTER_NAME } from '../acls.ts'
import { type Call, mayCreate, maySee, operationsOn } from '../call.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import type { API_VERSIONS, METADATA } from '../codec/log-apis.ts'
import { ERROR } from '../errors.ts'
import { DEFAULT_PARTITIONS } from '../limits.ts'
import { topicIdOf, uuidOf } from '../mapping.ts'
import { APIS } from '../packets.ts'
import { leaderOf } from './leaders.ts'
import { placed } from './placing.ts'
import { isTopicName } from './topics.ts'

type Request = RequestOf<typeof METADATA>
type Response = ResponseOf<typeof METADATA>
type TopicMetadata = Response['topics'][number]
type Asked = NonNullable<Request['topics']>[number]

/** The client did not ask what it may do: the least number says so. */
const UNKNOWN_OPERATIONS = -0x8000_0000
const NO_ID = '0'.repeat(32)

export async function metadata(call: Call, request: Request): Promise<Response> {
  const { topics, members } = call.services
  const isAll =
    request.topics === null || (call.header.version === 0 && request.topics.length === 0)
  const found = isAll
    ? topics
        .all()
        .filter(({ name }) => maySee(call, name))
        .map((topic) => describe(call, topic, request))
    : await Promise.all((request.topics ?? []).map((asked) => find(call, asked, request)))
  return {
    throttleTimeMs: 0,
    brokers: members.all().map((node) => ({ ...node, rack: null })),
    clusterId: members.clusterId,
    // Whoever is asked can do what a controller does.
    controllerId: members.self,
    topics: found,
    clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
      ? operationsOn(call, 'cluster', CLUSTER_NAME)
      : UNKNOWN_OPERATIONS,
    errorCode: ERROR.NONE,
  }
}

async function find(call: Call, asked: Asked, request: Request): Promise<TopicMetadata> {
  const { topics } = call.services
  const { name } = asked
  if (name === null || isById(asked)) {
    const topic = topics.byId(topicIdOf(asked.topicId))
    const isKnown = topic !== undefined && maySee(call, topic.name)
    return isKnown ? describe(call, topic, request) : failed(asked, ERROR.UNKNOWN_TOPIC_ID)
  }
  if (!maySee(call, name)) return failed(asked, ERROR.TOPIC_AUTHORIZATION_FAILED)
  const topic = topics.get(name)
  if (topic !== undefined) return describe(call, topic, request)
  if (!request.allowAutoTopicCreation) return failed(asked, ERROR.UNKNOWN_TOPIC_OR_PARTITION)
  if (!mayCreate(call, name)) return failed(asked, ERROR.TOPIC_AUTHORIZATION_FAILED)
  if (!isTopicName(name)) return failed(asked, ERROR.INVALID_TOPIC_EXCEPTION)
  try {
    await topics.create({ name, partitions: DEFAULT_PARTITIONS, config: {} })
  } catch (error) {
    if (!(error instanceof BrokerError)) throw error
    const isRefused = error.code === 'REFUSED'
    return failed(asked, isRefused ? ERROR.INVALID_TOPIC_EXCEPTION : ERROR.LEADER_NOT_AVAILABLE)
  }
  // Also when another client was faster.
  const made = await placed(call, name)
  return made === undefined
    ? failed(asked, ERROR.LEADER_NOT_AVAILABLE)
    : describe(call, made, request)
}

function describe(call: Call, topic: Topic, request: Request): TopicMetadata {
  const { services } = call
  const partitions = Array.from({ length: topic.partitions }, (_, index) => {
    const leader = leaderOf(services, topic, index)
    // Storage keeps the copies: to clients the owner is the one replica.
    const replicas = leader === undefined ? [] : [leader.leaderId]
    return {
      errorCode: leader === undefined ? ERROR.LEADER_NOT_AVAILABLE : ERROR.NONE,
      index,
      leaderId: leader?.leaderId ?? -1,
      leaderEpoch: leader?.leaderEpoch ?? -1,
      ...{ replicaNodes: replicas, isrNodes: replicas, offlineReplicas: [] },
    }
  })
  return {
    ...{ errorCode: ERROR.NONE, name: topic.name, topicId: uuidOf(topic), isInternal: false },
    partitions,
    authorizedOperations: request.includeTopicAuthorizedOperations
      ? operationsOn(call, 'address', topic.name)
      : UNKNOWN_OPERATIONS,
  }
}

/** Java's consumers say so with an empty name. */
function isById({ name, topicId }: Asked): boolean {
  return name === null || (name === '' && topicId !== NO_ID)
}

function failed(asked: Asked, errorCode: number): TopicMetadata {
  const { name, topicId } = asked
  return {
    ...{ errorCode, name, topicId: isById(asked) ? topicId : NO_ID, isInternal: false },
    ...{ partitions: [], authorizedOperations: UNKNOWN_OPERATIONS },
  }
}

export function apiVersions(): ResponseOf<typeof API_VERSIONS> {
  return { errorCode: ERROR.NONE, apiKeys: SPOKEN, throttleTimeMs: 0, ...FEATURES }
}

/** To a client that asked in a version that is not known here; in version 0 (KIP-511). */
export function unknownVersion(): ResponseOf<typeof API_VERSIONS> {
  return { ...apiVersions(), errorCode: ERROR.UNSUPPORTED_VERSION }
}

const SPOKEN = APIS.map(({ key, versions: [minVersion, maxVersion] }) => ({
  ...{ apiKey: key, minVersion, maxVersion },
}))

/** What clients go by besides versions of APIs, and its newest version here. */
const LEVELS: Readonly<Record<string, number>> = {
  // A new epoch with each transaction (KIP-890).
  'transaction.version': 2,
  // Groups whose coordinator assigns partitions (KIP-848).
  'group.version': 1,
  // Groups that share records (KIP-932).
  'share.version': 1,
}

const FEATURES = {
  supportedFeatures: Object.entries(LEVELS).map(([name, maxVersion]) => ({
    ...{ name, minVersion: 1, maxVersion },
  })),
  finalizedFeaturesEpoch: 0,
  finalizedFeatures: Object.entries(LEVELS).map(([name, level]) => ({
    ...{ name, maxVersionLevel: level, minVersionLevel: level },
  })),
}
