/** Requests of a connection to answers, by API. It knows no socket. */

import { LongVarintError, ShortInputError } from '../shared/byte-reader.ts'
import type { Call, Caller, Services } from './call.ts'
import { CREATE_ACLS, DELETE_ACLS, DESCRIBE_ACLS } from './codec/acl-apis.ts'
import {
  ALTER_CONFIGS,
  ALTER_PARTITION_REASSIGNMENTS,
  CREATE_PARTITIONS,
  DELETE_RECORDS,
  DESCRIBE_CLUSTER,
  DESCRIBE_CONFIGS,
  DESCRIBE_LOG_DIRS,
  DESCRIBE_TOPIC_PARTITIONS,
  ELECT_LEADERS,
  GET_TELEMETRY_SUBSCRIPTIONS,
  INCREMENTAL_ALTER_CONFIGS,
  LIST_CONFIG_RESOURCES,
  LIST_PARTITION_REASSIGNMENTS,
  PUSH_TELEMETRY,
  UPDATE_FEATURES,
} from './codec/admin-apis.ts'
import type { Api } from './codec/api.ts'
import { CONSUMER_GROUP_DESCRIBE, CONSUMER_GROUP_HEARTBEAT } from './codec/consumer-group-apis.ts'
import {
  DELETE_GROUPS,
  DESCRIBE_GROUPS,
  FIND_COORDINATOR,
  HEARTBEAT,
  JOIN_GROUP,
  LEAVE_GROUP,
  LIST_GROUPS,
  OFFSET_COMMIT,
  OFFSET_DELETE,
  OFFSET_FETCH,
  SYNC_GROUP,
} from './codec/group-apis.ts'
import {
  API_VERSIONS,
  CREATE_TOPICS,
  DELETE_TOPICS,
  FETCH,
  LIST_OFFSETS,
  METADATA,
  OFFSET_FOR_LEADER_EPOCH,
  PRODUCE,
} from './codec/log-apis.ts'
import {
  ALTER_CLIENT_QUOTAS,
  ALTER_USER_SCRAM_CREDENTIALS,
  DESCRIBE_CLIENT_QUOTAS,
  DESCRIBE_USER_SCRAM_CREDENTIALS,
} from './codec/quota-apis.ts'
import { SASL_AUTHENTICATE, SASL_HANDSHAKE } from './codec/security-apis.ts'
import {
  ALTER_SHARE_GROUP_OFFSETS,
  DELETE_SHARE_GROUP_OFFSETS,
  DESCRIBE_SHARE_GROUP_OFFSETS,
  SHARE_ACKNOWLEDGE,
  SHARE_FETCH,
  SHARE_GROUP_DESCRIBE,
  SHARE_GROUP_HEARTBEAT,
} from './codec/share-apis.ts'
import {
  ADD_OFFSETS_TO_TXN,
  ADD_PARTITIONS_TO_TXN,
  DESCRIBE_PRODUCERS,
  DESCRIBE_TRANSACTIONS,
  END_TXN,
  INIT_PRODUCER_ID,
  LIST_TRANSACTIONS,
  TXN_OFFSET_COMMIT,
  WRITE_TXN_MARKERS,
} from './codec/transaction-apis.ts'
import { MalformedError } from './codec/wire-types.ts'
import { ERROR } from './errors.ts'
import { FrameError } from './frames.ts'
import { createAcls, deleteAcls, describeAcls } from './handlers/acls.ts'
import {
  describeCluster,
  describeTopicPartitions,
  getTelemetrySubscriptions,
  pushTelemetry,
  updateFeatures,
} from './handlers/cluster.ts'
import {
  alterConfigs,
  describeConfigs,
  incrementalAlterConfigs,
  listConfigResources,
} from './handlers/configs.ts'
import { consumerGroupHeartbeat, describeConsumerGroups } from './handlers/consumer-groups.ts'
import { fetch } from './handlers/fetch.ts'
import { deleteGroups, listGroups } from './handlers/group-list.ts'
import {
  describeGroups,
  findCoordinator,
  heartbeat,
  joinGroup,
  leaveGroup,
  syncGroup,
} from './handlers/groups.ts'
import { offsetForLeaderEpoch } from './handlers/leader-epochs.ts'
import { listOffsets } from './handlers/list-offsets.ts'
import { apiVersions, metadata, unknownVersion } from './handlers/metadata.ts'
import { commitOffsets, deleteOffsets, fetchOffsets } from './handlers/offsets.ts'
import {
  alterPartitionReassignments,
  createPartitions,
  deleteRecords,
  describeLogDirs,
  electLeaders,
  listPartitionReassignments,
} from './handlers/partitions.ts'
import { produce, UnansweredError } from './handlers/produce.ts'
import { alterClientQuotas, describeClientQuotas } from './handlers/quotas.ts'
import { saslAuthenticate, saslHandshake } from './handlers/sasl.ts'
import {
  alterUserScramCredentials,
  describeUserScramCredentials,
} from './handlers/scram-credentials.ts'
import {
  alterShareOffsets,
  deleteShareOffsets,
  describeShareGroups,
  describeShareOffsets,
  shareGroupHeartbeat,
} from './handlers/share-groups.ts'
import { shareAcknowledge, shareFetch } from './handlers/share-records.ts'
import { createTopics, deleteTopics } from './handlers/topics.ts'
import {
  describeProducers,
  describeTransactions,
  listTransactions,
  writeTxnMarkers,
} from './handlers/transaction-admin.ts'
import {
  addOffsetsToTxn,
  addPartitionsToTxn,
  endTxn,
  initProducerId,
} from './handlers/transactions.ts'
import { commitTxnOffsets } from './handlers/txn-offsets.ts'
import { decodeBody, decodeRequest, encodeResponse, type RequestFrame } from './packets.ts'
import type { Use } from './quotas.ts'
import { RIGHTS } from './rights.ts'

type Handler = (call: Call, request: never) => unknown

const HANDLERS: ReadonlyMap<number, Handler> = new Map<number, Handler>([
  [PRODUCE.key, produce],
  [FETCH.key, fetch],
  [LIST_OFFSETS.key, listOffsets],
  [METADATA.key, metadata],
  [OFFSET_COMMIT.key, commitOffsets],
  [OFFSET_FETCH.key, fetchOffsets],
  [FIND_COORDINATOR.key, findCoordinator],
  [JOIN_GROUP.key, joinGroup],
  [HEARTBEAT.key, heartbeat],
  [LEAVE_GROUP.key, leaveGroup],
  [SYNC_GROUP.key, syncGroup],
  [DESCRIBE_GROUPS.key, describeGroups],
  [LIST_GROUPS.key, listGroups],
  [DELETE_GROUPS.key, deleteGroups],
  [OFFSET_DELETE.key, deleteOffsets],
  [CONSUMER_GROUP_HEARTBEAT.key, consumerGroupHeartbeat],
  [CONSUMER_GROUP_DESCRIBE.key, describeConsumerGroups],
  [SHARE_GROUP_HEARTBEAT.key, shareGroupHeartbeat],
  [SHARE_GROUP_DESCRIBE.key, describeShareGroups],
  [SHARE_FETCH.key, shareFetch],
  [SHARE_ACKNOWLEDGE.key, shareAcknowledge],
  [DESCRIBE_SHARE_GROUP_OFFSETS.key, describeShareOffsets],
  [ALTER_SHARE_GROUP_OFFSETS.key, alterShareOffsets],
  [DELETE_SHARE_GROUP_OFFSETS.key, deleteShareOffsets],
  [SASL_HANDSHAKE.key, saslHandshake],
  [API_VERSIONS.key, apiVersions],
  [CREATE_TOPICS.key, createTopics],
  [DELETE_TOPICS.key, deleteTopics],
  [INIT_PRODUCER_ID.key, initProducerId],
  [DESCRIBE_ACLS.key, describeAcls],
  [CREATE_ACLS.key, createAcls],
  [DELETE_ACLS.key, deleteAcls],
  [SASL_AUTHENTICATE.key, saslAuthenticate],
  [DESCRIBE_CLIENT_QUOTAS.key, describeClientQuotas],
  [ALTER_CLIENT_QUOTAS.key, alterClientQuotas],
  [DESCRIBE_USER_SCRAM_CREDENTIALS.key, describeUserScramCredentials],
  [ALTER_USER_SCRAM_CREDENTIALS.key, alterUserScramCredentials],
  [DELETE_RECORDS.key, deleteRecords],
  [DESCRIBE_CONFIGS.key, describeConfigs],
  [ALTER_CONFIGS.key, alterConfigs],
  [DESCRIBE_LOG_DIRS.key, describeLogDirs],
  [CREATE_PARTITIONS.key, createPartitions],
  [ELECT_LEADERS.key, electLeaders],
  [INCREMENTAL_ALTER_CONFIGS.key, incrementalAlterConfigs],
  [ALTER_PARTITION_REASSIGNMENTS.key, alterPartitionReassignments],
  [LIST_PARTITION_REASSIGNMENTS.key, listPartitionReassignments],
  [UPDATE_FEATURES.key, updateFeatures],
  [DESCRIBE_CLUSTER.key, describeCluster],
  [GET_TELEMETRY_SUBSCRIPTIONS.key, getTelemetrySubscriptions],
  [PUSH_TELEMETRY.key, pushTelemetry],
  [LIST_CONFIG_RESOURCES.key, listConfigResources],
  [DESCRIBE_TOPIC_PARTITIONS.key, describeTopicPartitions],
  [OFFSET_FOR_LEADER_EPOCH.key, offsetForLeaderEpoch],
  [ADD_PARTITIONS_TO_TXN.key, addPartitionsToTxn],
  [ADD_OFFSETS_TO_TXN.key, addOffsetsToTxn],
  [END_TXN.key, endTxn],
  [WRITE_TXN_MARKERS.key, writeTxnMarkers],
  [TXN_OFFSET_COMMIT.key, commitTxnOffsets],
  [DESCRIBE_PRODUCERS.key, describeProducers],
  [DESCRIBE_TRANSACTIONS.key, describeTransactions],
  [LIST_TRANSACTIONS.key, listTransactions],
])

/** The connection cannot go on: what it asks for is not spoken here. */
export class NotSpokenError extends Error {
  override readonly name = 'NotSpokenError'
}

/** It must say first who it is, or again. */
export class NotAuthenticatedError extends Error {
  override readonly name = 'NotAuthenticatedError'
}

/** What whoever it is may ask. */
const FOR_ANYBODY: readonly number[] = [API_VERSIONS.key, SASL_HANDSHAKE.key, SASL_AUTHENTICATE.key]

/** What the client has sent is at fault. */
export function isOfClient(error: unknown): error is Error {
  return [
    ...[MalformedError, ShortInputError, LongVarintError],
    ...[FrameError, NotSpokenError, NotAuthenticatedError, UnansweredError],
  ].some((kind) => error instanceof kind)
}

export interface Asked {
  /** What comes behind it may begin before this is answered. */
  readonly isPipelined: boolean
  readonly clientId: string
  /** The frame of the answer; undefined: none is wanted. Rejects when the connection cannot go on. */
  answer(caller: Caller): Promise<Buffer | undefined>
}

/** A frame without its length. Throws what `decodeRequest` throws, and NotSpokenError. */
export function ask(services: Services, frame: Buffer): Asked {
  const request = decodeRequest(frame)
  const { header, api } = request
  const { clientId, correlationId } = header
  if (api !== undefined) return known(services, api, request)
  // A client learns from the answer what is spoken; any other request it would not have made, had it asked.
  if (header.apiKey !== API_VERSIONS.key) {
    throw new NotSpokenError(`API ${header.apiKey} is not spoken in version ${header.version}`)
  }
  const to = { api: API_VERSIONS as unknown as Api, version: 0, correlationId }
  const answer = () => Promise.resolve(encodeResponse(to, unknownVersion()))
  return { isPipelined: false, clientId, answer }
}

/** A message of a SASL mechanism that came by itself, and is answered by one. */
export function askRaw(message: Buffer, clientId: string): Asked {
  return {
    ...{ isPipelined: false, clientId },
    answer: async ({ identity }) => {
      const { errorCode, errorMessage, authBytes } = await identity.authenticate(message)
      if (errorCode !== ERROR.NONE) throw new NotAuthenticatedError(errorMessage ?? '')
      const length = Buffer.alloc(4)
      length.writeInt32BE(authBytes.length)
      return Buffer.concat([length, authBytes])
    },
  }
}

function known(services: Services, api: Api, { header, body }: RequestFrame): Asked {
  const { clientId, version, correlationId } = header
  const { clock, quotas } = services
  const beganMs = clock.nowMs()
  const bytesIn = body.end
  const request = decodeBody(api, version, body)
  const handler = HANDLERS.get(api.key)
  const right = RIGHTS.get(api.key)
  if (right === undefined) throw new NotSpokenError(`${api.name} has no right that is asked for`)
  const decodedMs = clock.nowMs() - beganMs
  return {
    isPipelined: api.key === PRODUCE.key,
    clientId,
    answer: async (caller) => {
      if (!caller.identity.isCurrent && !FOR_ANYBODY.includes(api.key)) {
        throw new NotAuthenticatedError(`${api.name} before authentication`)
      }
      const call: Call = { services, header, ...caller }
      const startMs = clock.nowMs()
      const answer = (about: object) => handler?.(call, about as never)
      const answered = right.guard(call, api, answer)(request as Record<string, unknown>)
      const handledMs = decodedMs + clock.nowMs() - startMs
      const response = await answered
      const encoded = (body: unknown) => encodeResponse({ api, version, correlationId }, body)
      const { isOpen } = quotas
      const frame = response === undefined ? undefined : encoded(response)
      if (isOpen) return frame
      const uses = usesOf(api, { bytesIn, bytesOut: frame?.length ?? 0, handledMs })
      const waitMs = quotas.spend({ user: caller.identity.user, client: clientId }, uses)
      if (waitMs === 0) return frame
      caller.hush(waitMs)
      return frame && encoded({ ...(response as object), throttleTimeMs: waitMs })
    },
  }
}

const READING: readonly number[] = [FETCH.key, SHARE_FETCH.key]

/** The first part of the work alone is measured: what waits for storage is no work of this thread. */
function usesOf(
  { key }: Api,
  { bytesIn, bytesOut, handledMs }: { bytesIn: number; bytesOut: number; handledMs: number },
): readonly Use[] {
  const time: Use = ['requestPercentage', handledMs]
  if (key === PRODUCE.key) return [time, ['producerByteRate', bytesIn]]
  return READING.includes(key) ? [time, ['consumerByteRate', bytesOut]] : [time]
}
