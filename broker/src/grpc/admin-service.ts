/** What operators ask of this broker, on the wire. */
import type { admin } from '@robust/proto'
import { BrokerError } from '../core/errors.ts'
import type { Message, Subscription } from '../core/message.ts'
import type { PartitionStatus, TopicRecord } from '../core/topics/topic-reader.ts'
import { answering } from './answering.ts'
import { createGroupCalls, type GroupCallsOptions } from './group-calls.ts'
import { type Page, pageOf } from './pages.ts'
import { createQueueCalls, type QueueCallsOptions } from './queue-calls.ts'

export interface AdminOptions extends QueueCallsOptions, GroupCallsOptions {
  readonly administration: AdministrationPort & GroupCallsOptions['administration']
  readonly bridges: () => readonly admin.BridgeState[]
}

/** See administration.ts. */
export interface AdministrationPort {
  clients(page: Page): readonly AdministeredClient[]
  kick(clientId: string): boolean
  sessions(page: Page): readonly AdministeredSession[]
  endSession(clientId: string): Promise<boolean>
  subscriptions(page: Page): readonly (Subscription & { readonly clientId: string })[]
  retained(page: Page): Promise<readonly Message[]>
  retainedAt(address: string): Promise<Message | undefined>
  forgetRetained(address: string): Promise<boolean>
}

type AdministeredClient = Omit<admin.Client, 'subscriptions'> & {
  readonly subscriptions: readonly Subscription[]
}

type AdministeredSession = Omit<admin.SessionState, 'connectedTo'> & {
  readonly connectedTo: string | undefined
}

type ClientCall =
  | 'listClients'
  | 'kickClient'
  | 'listSessions'
  | 'deleteSession'
  | 'listSubscriptions'
  | 'listRetained'
  | 'getRetained'
  | 'deleteRetained'

const RECORDS_DEFAULT = 100
const RECORDS_MAX = 10_000

export function createAdminService(options: AdminOptions): admin.BrokerAdminServer {
  const { self, topics } = options
  return {
    ...createClientCalls(options),
    ...createQueueCalls(options),
    ...createGroupCalls(options),
    listBridges: answering(async (request: admin.ListRequest) => {
      const { filter, after, limit } = pageOf(request)
      const bridges = options
        .bridges()
        .filter(({ name }) => name > after && name.includes(filter))
        .toSorted((a, b) => (a.name < b.name ? -1 : 1))
      return { nodeId: self, bridges: bridges.slice(0, limit) }
    }),
    describeTopic: answering(async ({ tenant, name }: admin.DescribeTopicRequest) => {
      const partitions = await topics.describe(tenant, name)
      return { nodeId: self, partitions: partitions.map(toWirePartition) }
    }),
    readTopic: answering(async (request: admin.ReadTopicRequest) => {
      const recordsMax = Math.min(request.recordsMax || RECORDS_DEFAULT, RECORDS_MAX)
      const read = await topics.read(request, request.fromOffset, recordsMax)
      return { ...read, records: read.records.map(toWireRecord) }
    }),
  }
}

function createClientCalls({
  self: nodeId,
  administration,
}: AdminOptions): Pick<admin.BrokerAdminServer, ClientCall> {
  return {
    listClients: answering(async (request: admin.ListRequest) => ({
      nodeId,
      clients: administration.clients(pageOf(request)).map(toWireClient),
    })),
    kickClient: answering(async ({ clientId }: admin.NamedClient) => ({
      existed: administration.kick(clientId),
    })),
    listSessions: answering(async (request: admin.ListRequest) => ({
      nodeId,
      sessions: administration
        .sessions(pageOf(request))
        .map((session) => ({ ...session, connectedTo: session.connectedTo ?? '' })),
    })),
    deleteSession: answering(async ({ clientId }: admin.NamedClient) => ({
      existed: await administration.endSession(clientId),
    })),
    listSubscriptions: answering(async (request: admin.ListRequest) => ({
      nodeId,
      subscriptions: [...administration.subscriptions(pageOf(request))],
    })),
    listRetained: answering(async (request: admin.ListRequest) => {
      const messages = await administration.retained(pageOf(request))
      const noPayload = new Uint8Array(0)
      return {
        nodeId,
        messages: messages.map((message) => ({
          ...toWireRetained(message),
          payload: noPayload,
        })),
      }
    }),
    getRetained: answering(async ({ address }: admin.NamedAddress) => {
      const message = await administration.retainedAt(address)
      if (message !== undefined) return toWireRetained(message)
      throw new BrokerError('NOT_FOUND', `nothing is retained for ${address}`)
    }),
    deleteRetained: answering(async ({ address }: admin.NamedAddress) => ({
      existed: await administration.forgetRetained(address),
    })),
  }
}

function toWireClient({ subscriptions, ...client }: AdministeredClient): admin.Client {
  return { ...client, subscriptions: subscriptions.length }
}

function toWireRetained(message: Message): admin.RetainedMessage {
  const { address, guarantee, payload, timestampMs, expiresAtMs } = message
  const times = { publishedAtMs: timestampMs, expiresAtMs }
  return { address, guarantee, bytes: payload.byteLength, ...times, payload }
}

function toWirePartition({ report, ...partition }: PartitionStatus): admin.TopicPartition {
  return {
    ...partition,
    hasReport: report !== undefined,
    bytes: report?.bytes ?? 0,
    recordsPerSecond: report?.recordsPerSecond ?? 0,
    bytesPerSecond: report?.bytesPerSecond ?? 0,
  }
}

function toWireRecord({ offset, timestamp, key, value, address }: TopicRecord): admin.TopicRecord {
  return {
    ...{ offset, timestampMs: timestamp, address },
    ...(key !== null && { key }),
    ...(value !== null && { value }),
  }
}
