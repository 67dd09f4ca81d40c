/** DescribeCluster, DescribeTopicPartitions, UpdateFeatures, and the telemetry of clients, which nobody asks for. */
import { randomUUID } from 'node:crypto'
import type { Topic } from '../../../core/topics/topic-logs.ts'
import { CLUSTER_NAME } from '../acls.ts'
import { type Call, maySee, operationsOn } from '../call.ts'
import type {
  DESCRIBE_CLUSTER,
  DESCRIBE_TOPIC_PARTITIONS,
  GET_TELEMETRY_SUBSCRIPTIONS,
  PUSH_TELEMETRY,
  UPDATE_FEATURES,
} from '../codec/admin-apis.ts'
import type { RequestOf, ResponseOf } from '../codec/api.ts'
import { ERROR } from '../errors.ts'
import { PARTITIONS_OF_ANSWER_MAX } from '../limits.ts'
import { uuidOf } from '../mapping.ts'
import { leaderOf } from './leaders.ts'

/** The client did not ask what it may do: the least number says so. */
const UNKNOWN_OPERATIONS = -0x8000_0000
const NO_ID = '0'.repeat(32)
const BROKERS = 1

type Cluster = ResponseOf<typeof DESCRIBE_CLUSTER>

export function describeCluster(call: Call, request: RequestOf<typeof DESCRIBE_CLUSTER>): Cluster {
  const { members } = call.services
  const { endpointType } = request
  const isKnown = endpointType === BROKERS
  const brokers = members.all().map((node) => ({ ...node, rack: null, isFenced: false }))
  return {
    throttleTimeMs: 0,
    errorCode: isKnown ? ERROR.NONE : ERROR.UNSUPPORTED_ENDPOINT_TYPE,
    errorMessage: isKnown ? null : 'clients speak to brokers only',
    endpointType,
    clusterId: members.clusterId,
    // Whoever is asked can do what a controller does.
    controllerId: isKnown ? members.self : -1,
    brokers: isKnown ? brokers : [],
    clusterAuthorizedOperations: request.includeClusterAuthorizedOperations
      ? operationsOn(call, 'cluster', CLUSTER_NAME)
      : UNKNOWN_OPERATIONS,
  }
}

type Asked = RequestOf<typeof DESCRIBE_TOPIC_PARTITIONS>
type Response = ResponseOf<typeof DESCRIBE_TOPIC_PARTITIONS>
type Described = Response['topics'][number]

/** By name, a page at a time: the cursor is the first partition that did not fit. */
export function describeTopicPartitions(call: Call, request: Asked): Response {
  const { topics } = call.services
  const { cursor } = request
  const seen = topics.all().filter(({ name }) => maySee(call, name))
  const asked = request.topics.map(({ name }) => name)
  const names = asked.length === 0 ? seen.map(({ name }) => name) : [...new Set(asked)]
  const wanted = names.filter((name) => cursor === null || name >= cursor.name).sort()
  let left = Math.max(1, Math.min(request.partitionLimit, PARTITIONS_OF_ANSWER_MAX))
  const described: Described[] = []
  for (const name of wanted) {
    const topic = topics.get(name)
    if (topic === undefined || !maySee(call, name)) {
      described.push(unknown(call, name))
      continue
    }
    const from = cursor?.name === name ? Math.max(0, cursor.partition) : 0
    if (left === 0) return page(described, { name, partition: from })
    const until = Math.min(topic.partitions, from + left)
    described.push(describe(call, topic, [from, until]))
    left -= Math.max(0, until - from)
    if (until < topic.partitions) return page(described, { name, partition: until })
  }
  return page(described, null)
}

function page(topics: readonly Described[], nextCursor: Response['nextCursor']): Response {
  return { throttleTimeMs: 0, topics, nextCursor }
}

function unknown(call: Call, name: string): Described {
  const { TOPIC_AUTHORIZATION_FAILED, UNKNOWN_TOPIC_OR_PARTITION } = ERROR
  const errorCode = maySee(call, name) ? UNKNOWN_TOPIC_OR_PARTITION : TOPIC_AUTHORIZATION_FAILED
  const rest = { isInternal: false, partitions: [], authorizedOperations: UNKNOWN_OPERATIONS }
  return { errorCode, name, topicId: NO_ID, ...rest }
}

function describe(call: Call, topic: Topic, [from, until]: [number, number]): Described {
  const partitions: Described['partitions'][number][] = []
  for (let index = from; index < until; index++) {
    const leader = leaderOf(call.services, topic, index)
    const replicas = leader === undefined ? [] : [leader.leaderId]
    partitions.push({
      errorCode: leader === undefined ? ERROR.LEADER_NOT_AVAILABLE : ERROR.NONE,
      ...{ index, leaderId: leader?.leaderId ?? -1, leaderEpoch: leader?.leaderEpoch ?? -1 },
      ...{ replicaNodes: replicas, isrNodes: replicas, offlineReplicas: [] },
      ...{ eligibleLeaderReplicas: [], lastKnownElr: [] },
    })
  }
  const authorizedOperations = operationsOn(call, 'address', topic.name)
  const { name } = topic
  return {
    ...{ errorCode: ERROR.NONE, name, topicId: uuidOf(topic), isInternal: false },
    ...{ partitions, authorizedOperations },
  }
}

/** Features come with the program: none is raised or lowered by request. */
export function updateFeatures(
  _call: Call,
  { updates }: RequestOf<typeof UPDATE_FEATURES>,
): ResponseOf<typeof UPDATE_FEATURES> {
  const errorMessage = 'features come with the version of the brokers'
  const refusal = { errorCode: ERROR.FEATURE_UPDATE_FAILED, errorMessage }
  const results = updates.map(({ feature }) => ({ feature, ...refusal }))
  return { throttleTimeMs: 0, ...(updates.length === 0 ? FINE : refusal), results }
}

const FINE = { errorCode: ERROR.NONE, errorMessage: null }
/** Of the one set of metrics that clients may send: it is empty. */
const SUBSCRIPTION = 1
const PUSH_INTERVAL_MS = 300_000
const NO_COMPRESSION = 0

export function getTelemetrySubscriptions(
  _call: Call,
  { clientInstanceId }: RequestOf<typeof GET_TELEMETRY_SUBSCRIPTIONS>,
): ResponseOf<typeof GET_TELEMETRY_SUBSCRIPTIONS> {
  const isNew = clientInstanceId === NO_ID
  return {
    ...{ throttleTimeMs: 0, errorCode: ERROR.NONE },
    clientInstanceId: isNew ? randomUUID().replaceAll('-', '') : clientInstanceId,
    subscriptionId: SUBSCRIPTION,
    acceptedCompressionTypes: [NO_COMPRESSION],
    ...{ pushIntervalMs: PUSH_INTERVAL_MS, telemetryMaxBytes: 0, deltaTemporality: true },
    requestedMetrics: [],
  }
}

/** What was not asked for is refused, since nobody would see it. */
export function pushTelemetry(
  _call: Call,
  { subscriptionId, metrics }: RequestOf<typeof PUSH_TELEMETRY>,
): ResponseOf<typeof PUSH_TELEMETRY> {
  const { UNKNOWN_SUBSCRIPTION_ID, TELEMETRY_TOO_LARGE, NONE } = ERROR
  const errorCode = metrics.length > 0 ? TELEMETRY_TOO_LARGE : NONE
  return {
    throttleTimeMs: 0,
    errorCode: subscriptionId === SUBSCRIPTION ? errorCode : UNKNOWN_SUBSCRIPTION_ID,
  }
}
