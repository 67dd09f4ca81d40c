/** Requests of a connection to answers, by API. It knows no socket. */

import { LongVarintError, ShortInputError } from '../shared/byte-reader.ts'
import type { Call, Caller, Services } from './call.ts'
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
  INIT_PRODUCER_ID,
  LIST_OFFSETS,
  METADATA,
  PRODUCE,
} from './codec/log-apis.ts'
import { MalformedError } from './codec/wire-types.ts'
import { FrameError } from './frames.ts'
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
import { listOffsets } from './handlers/list-offsets.ts'
import { apiVersions, initProducerId, metadata, unknownVersion } from './handlers/metadata.ts'
import { commitOffsets, deleteOffsets, fetchOffsets } from './handlers/offsets.ts'
import { produce, UnansweredError } from './handlers/produce.ts'
import { createTopics, deleteTopics } from './handlers/topics.ts'
import { decodeBody, decodeRequest, encodeResponse, type RequestFrame } from './packets.ts'

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
  [API_VERSIONS.key, apiVersions],
  [CREATE_TOPICS.key, createTopics],
  [DELETE_TOPICS.key, deleteTopics],
  [INIT_PRODUCER_ID.key, initProducerId],
])

/** The connection cannot go on: what it asks for is not spoken here. */
export class NotSpokenError extends Error {
  override readonly name = 'NotSpokenError'
}

/** What the client has sent is at fault. */
export function isOfClient(error: unknown): error is Error {
  return [
    ...[MalformedError, ShortInputError, LongVarintError],
    ...[FrameError, NotSpokenError, UnansweredError],
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

function known(services: Services, api: Api, { header, body }: RequestFrame): Asked {
  const { clientId, version, correlationId } = header
  const request = decodeBody(api, version, body)
  const handler = HANDLERS.get(api.key)
  return {
    isPipelined: api.key === PRODUCE.key,
    clientId,
    answer: async (caller) => {
      const response = await handler?.({ services, header, ...caller }, request as never)
      return response === undefined
        ? undefined
        : encodeResponse({ api, version, correlationId }, response)
    },
  }
}
