/** Requests and responses as bytes: the headers, and the bodies by their schemas. No socket, no service. */
import { ByteReader } from '../shared/byte-reader.ts'
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
import { type Api, isFlexible } from './codec/api.ts'
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
import {
  decode,
  encode,
  int16,
  int32,
  nullableString,
  readTags,
  struct,
  type WireType,
} from './codec/wire-types.ts'

/** What is spoken here, by key. */
export const APIS: readonly Api[] = [
  PRODUCE,
  FETCH,
  LIST_OFFSETS,
  METADATA,
  OFFSET_COMMIT,
  OFFSET_FETCH,
  FIND_COORDINATOR,
  JOIN_GROUP,
  HEARTBEAT,
  LEAVE_GROUP,
  SYNC_GROUP,
  DESCRIBE_GROUPS,
  LIST_GROUPS,
  SASL_HANDSHAKE,
  API_VERSIONS,
  CREATE_TOPICS,
  DELETE_TOPICS,
  DELETE_RECORDS,
  INIT_PRODUCER_ID,
  OFFSET_FOR_LEADER_EPOCH,
  ADD_PARTITIONS_TO_TXN,
  ADD_OFFSETS_TO_TXN,
  END_TXN,
  WRITE_TXN_MARKERS,
  TXN_OFFSET_COMMIT,
  DESCRIBE_ACLS,
  CREATE_ACLS,
  DELETE_ACLS,
  DESCRIBE_CONFIGS,
  ALTER_CONFIGS,
  DESCRIBE_LOG_DIRS,
  SASL_AUTHENTICATE,
  CREATE_PARTITIONS,
  DELETE_GROUPS,
  ELECT_LEADERS,
  INCREMENTAL_ALTER_CONFIGS,
  ALTER_PARTITION_REASSIGNMENTS,
  LIST_PARTITION_REASSIGNMENTS,
  OFFSET_DELETE,
  DESCRIBE_CLIENT_QUOTAS,
  ALTER_CLIENT_QUOTAS,
  DESCRIBE_USER_SCRAM_CREDENTIALS,
  ALTER_USER_SCRAM_CREDENTIALS,
  UPDATE_FEATURES,
  DESCRIBE_CLUSTER,
  DESCRIBE_PRODUCERS,
  DESCRIBE_TRANSACTIONS,
  LIST_TRANSACTIONS,
  CONSUMER_GROUP_HEARTBEAT,
  CONSUMER_GROUP_DESCRIBE,
  GET_TELEMETRY_SUBSCRIPTIONS,
  PUSH_TELEMETRY,
  LIST_CONFIG_RESOURCES,
  DESCRIBE_TOPIC_PARTITIONS,
  SHARE_GROUP_HEARTBEAT,
  SHARE_GROUP_DESCRIBE,
  SHARE_FETCH,
  SHARE_ACKNOWLEDGE,
  DESCRIBE_SHARE_GROUP_OFFSETS,
  ALTER_SHARE_GROUP_OFFSETS,
  DELETE_SHARE_GROUP_OFFSETS,
] as readonly unknown[] as readonly Api[]

const BY_KEY: ReadonlyMap<number, Api> = new Map(APIS.map((api) => [api.key, api]))

export interface RequestHeader {
  readonly apiKey: number
  readonly version: number
  readonly correlationId: number
  readonly clientId: string
}

export interface RequestFrame {
  readonly header: RequestHeader
  /** Undefined: it is not spoken here, or not in this version. */
  readonly api: Api | undefined
  /** At the body. */
  readonly body: ByteReader
}

const requestHead = struct({ apiKey: int16, version: int16, correlationId: int32 })
const clientName: WireType<string | null> = nullableString()
const PLAIN = { version: 0, flexible: false }

/** A frame without its length. Throws MalformedError, ShortInputError or LongVarintError. */
export function decodeRequest(frame: Buffer): RequestFrame {
  const body = new ByteReader(frame)
  const { apiKey, version, correlationId } = decode(requestHead, body, PLAIN)
  // The client's name is classic in every header, also of flexible versions (KIP-482).
  const clientId = decode(clientName, body, PLAIN) ?? ''
  const known = BY_KEY.get(apiKey)
  const isSpoken =
    known !== undefined && version >= known.versions[0] && version <= known.versions[1]
  if (isSpoken && isFlexible(known, version)) {
    readTags({ reader: body, version, flexible: true, elementsLeft: 0 }, () => undefined)
  }
  const header = { apiKey, version, correlationId, clientId }
  return { header, api: isSpoken ? known : undefined, body }
}

export function decodeBody<Request>(
  api: Pick<Api<Request>, 'request' | 'flexible'>,
  version: number,
  body: ByteReader,
): Request {
  return decode(api.request, body, { version, flexible: isFlexible(api, version) })
}

export interface ResponseTo {
  readonly api: Api
  readonly version: number
  readonly correlationId: number
}

/** A whole frame, its length included. */
export function encodeResponse({ api, version, correlationId }: ResponseTo, body: unknown): Buffer {
  const flexible = isFlexible(api, version)
  const encoded = encode(api.response, body, { version, flexible })
  // The header of ApiVersions never has tags: a client must read it before it knows what is spoken (KIP-511).
  const tags = flexible && api.key !== API_VERSIONS.key ? 1 : 0
  const head = Buffer.alloc(8 + tags)
  head.writeInt32BE(4 + tags + encoded.length, 0)
  head.writeInt32BE(correlationId, 4)
  return Buffer.concat([head, encoded])
}
